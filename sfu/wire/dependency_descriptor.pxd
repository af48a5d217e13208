# SPDX-License-Identifier: Apache-2.0
"""Dependency descriptor header extension (AV1 RTP specification v1.0, appendix A).

Templates and masks are those of the last structure that was attached: the caller keeps it per source and hands it in.
Frame numbers may only be moved by one offset per source: references and chains are differences of frame numbers.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    DD_TEMPLATES_MAX = 64
    DD_TARGETS_MAX = 32             # decode targets
    DD_CHAINS_MAX = 32
    DD_LAYERS_MAX = 8               # spatial ids and temporal ids; the syntax has no limit (AV1 allows 4 and 8, VP9 8 and 8)
    DD_FDIFFS_MAX = 16              # frames one frame may refer to; the syntax has no limit (AV1 allows 7, H.264 16)


cdef enum DependencyStatus:
    DD_OK = 0
    DD_MALFORMED = -1
    DD_UNKNOWN_TEMPLATE = 1         # its structure is not the one at hand; only the first five fields of *out count


cdef enum DecodeTargetIndication:   # table A.1
    DTI_NOT_PRESENT = 0
    DTI_DISCARDABLE = 1             # no frame of the target refers to it
    DTI_SWITCH = 2                  # if it can be decoded, so can all later frames of the target
    DTI_REQUIRED = 3


cdef struct TargetIndications:      # bit i belongs to decode target i and is set in at most one of them
    uint32_t discardable
    uint32_t switching
    uint32_t required


cdef struct DependencyTemplate:
    uint8_t spatial
    uint8_t temporal
    uint8_t fdiff_count
    uint8_t fdiffs[DD_FDIFFS_MAX]           # 1..16
    uint8_t chain_fdiffs[DD_CHAINS_MAX]     # 0..15
    TargetIndications targets


cdef struct DependencyStructure:
    uint8_t template_id_offset
    uint8_t template_count          # ≥ 1, so that all 0 is "no structure"
    uint8_t target_count
    uint8_t chain_count             # 0 = chains are not used
    uint8_t layer_count             # spatial layers
    bint has_resolutions
    uint32_t width[DD_LAYERS_MAX]   # up to 65536
    uint32_t height[DD_LAYERS_MAX]
    uint8_t target_spatial[DD_TARGETS_MAX]
    uint8_t target_temporal[DD_TARGETS_MAX]
    uint8_t protected_by[DD_TARGETS_MAX]    # decode target → chain
    DependencyTemplate templates[DD_TEMPLATES_MAX]


cdef struct DescriptorLayout:       # what dd_write() has to know of a descriptor; valid after DD_OK
    uint16_t mask_at                # bit where the active decode targets' mask stands, or would stand; 0 = no such fields
    uint16_t end                    # bits up to the padding
    uint8_t target_count
    bint has_mask


cdef struct FrameDependency:
    bint start_of_frame
    bint end_of_frame
    uint8_t template_id
    uint16_t frame_number
    bint structure_attached         # on the first packet of a coded video sequence
    uint8_t spatial
    uint8_t temporal
    uint32_t active_targets         # explicit (layout.has_mask), or all where a structure is attached; else 0 = unchanged
    TargetIndications targets
    uint8_t fdiff_count
    uint16_t fdiffs[DD_FDIFFS_MAX]          # frame_number - fdiff is a frame it refers to; 1..4096
    uint8_t chain_count
    uint8_t chain_fdiffs[DD_CHAINS_MAX]     # frame_number - fdiff is the chain's previous frame; 0 = the chain starts here
    uint32_t width                  # 0 where the structure has no resolutions
    uint32_t height
    DescriptorLayout layout


# `last` is the structure at hand, or NULL. A structure in the descriptor goes to *attached (that may be garbage after
# anything but DD_OK, and may not be *last), so that a malformed descriptor harms no state.
cdef DependencyStatus dd_parse(
    const uint8_t *data, uint32_t size, const DependencyStructure *last, DependencyStructure *attached,
    FrameDependency *out,
) noexcept nogil

# Copies a descriptor with another frame number and, where `set_mask`, another mask of active decode targets; adds the
# mask where there was none. All else is kept bit by bit. `out` may be `data` itself where dd_written_size() is `size`.
# Returns the bytes written; 0 where they are more than capacity, or the layout is not of DD_OK.
cdef uint32_t dd_write(
    uint8_t *out, uint32_t capacity, const uint8_t *data, uint32_t size, const DescriptorLayout *layout,
    uint16_t frame_number, bint set_mask, uint32_t active_targets,
) noexcept nogil
cdef uint32_t dd_written_size(uint32_t size, const DescriptorLayout *layout, bint set_mask) noexcept nogil

# The decode targets with no layer above these: what to announce as active where these are the highest to be forwarded.
cdef uint32_t dd_targets_within(const DependencyStructure *s, uint8_t spatial, uint8_t temporal) noexcept nogil


cdef inline uint32_t dd_present(const TargetIndications *t) noexcept nogil:
    """The decode targets that a frame belongs to."""
    return t.discardable | t.switching | t.required


cdef inline DecodeTargetIndication dd_indication(const TargetIndications *t, uint32_t target) noexcept nogil:
    if (t.required >> target) & 1:
        return DTI_REQUIRED
    if (t.switching >> target) & 1:
        return DTI_SWITCH
    return DTI_DISCARDABLE if (t.discardable >> target) & 1 else DTI_NOT_PRESENT
