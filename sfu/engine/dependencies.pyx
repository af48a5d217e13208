# SPDX-License-Identifier: Apache-2.0
"""Dependency descriptors of one source; see `dependencies.pxd`. AV1 RTP specification v1.0, appendix A."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from sfu.engine.history cimport frame_name
from sfu.wire.dependency_descriptor cimport DD_OK, DependencyStatus, DependencyStructure, FrameDependency, dd_parse


cdef Dependencies *dependencies_open() noexcept nogil:
    """NULL without memory."""
    return <Dependencies *>calloc(1, sizeof(Dependencies))


cdef inline bint overtaken(const FrameDependency *frame, uint16_t by) noexcept nogil:
    """Whether `frame` lies a little before frame number `by`."""
    cdef uint16_t behind = by - frame.frame_number
    return 0 < behind < DEPENDENCY_FRAMES


cdef DependencyStatus dependencies_read(Dependencies *d, const uint8_t *data, uint32_t size, uint32_t timestamp,
                                        FrameDependency *frame) noexcept nogil:
    """Parse one packet's descriptor and remember its frame; unless malformed, or of a structure that is not at hand."""
    cdef DependencyStructure attached
    cdef DescribedFrame *described
    cdef DependencyStatus status = dd_parse(data, size, &d.structure if d.has_structure else NULL, &attached, frame)
    if status != DD_OK:
        return status
    # What comes late, out of its turn, may not put aside what is newer.
    if frame.structure_attached and (not d.has_structure or not overtaken(frame, d.structure_frame)):
        d.structure = attached
        d.has_structure = True
        d.structure_frame = frame.frame_number
    if frame.active_targets and (not d.active_targets or not overtaken(frame, d.active_frame)):
        d.active_targets = frame.active_targets
        d.active_frame = frame.frame_number
    # A frame's first packet tells most of it; the others repeat the template.
    described = &d.frames[frame.frame_number & (DEPENDENCY_FRAMES - 1)]
    if frame.start_of_frame or not described.used or described.frame.frame_number != frame.frame_number:
        described.used = True
        described.name = frame_name(timestamp, frame.frame_number)
        described.frame = frame[0]
        if not frame.active_targets:
            described.frame.active_targets = d.active_targets
    return DD_OK


cdef bint dependencies_superseded(const Dependencies *d, const FrameDependency *frame) noexcept nogil:
    """Whether `frame` begins a coded video sequence that is over: a newer structure came before it."""
    return frame.structure_attached and overtaken(frame, d.structure_frame)


cdef const FrameDependency *dependencies_frame(const Dependencies *d, uint64_t name) noexcept nogil:
    """What is known of a frame, or NULL."""
    cdef const DescribedFrame *described = &d.frames[name & (DEPENDENCY_FRAMES - 1)]
    return &described.frame if described.used and described.name == name else NULL
