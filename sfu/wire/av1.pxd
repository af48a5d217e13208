# SPDX-License-Identifier: Apache-2.0
"""AV1 payloads (AV1 RTP specification §4.4, §4.5): what can be told without a dependency descriptor.

Only for payloads in the clear: of one that is encrypted end to end nothing but the aggregation header means anything
(av1_aggregation_header), and elements may look malformed.
"""

from libc.stdint cimport uint8_t, uint32_t


cdef struct Av1Payload:
    bint starts_with_fragment       # Z: goes on with an OBU of the packet before
    bint ends_with_fragment         # Y: its last OBU goes on in the next packet
    bint new_sequence               # N: first packet of a coded video sequence: a keyframe's start
    uint8_t elements                # OBU elements found; 0 from av1_aggregation_header
    bint has_sequence_header        # may also come without a keyframe, repeated for each spatial layer
    bint has_layers                 # an OBU has an extension header; the next two are 0 without
    uint8_t temporal
    uint8_t spatial
    uint32_t width                  # largest of the sequence, from its header, else 0
    uint32_t height


# Both: 0, or -1 where it is malformed. The end of a frame is the RTP marker; its start is a new RTP timestamp.
cdef int av1_aggregation_header(const uint8_t *payload, uint32_t size, Av1Payload *out) noexcept nogil
cdef int av1_parse(const uint8_t *payload, uint32_t size, Av1Payload *out) noexcept nogil
