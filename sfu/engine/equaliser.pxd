# SPDX-License-Identifier: Apache-2.0
"""Equal sizes for the packets of one frame, so that they leave in one UDP GSO send.

An encoder cuts a frame into packets that differ by a few bytes; the kernel takes a run of equal ones as a whole. So packets
get up to EQUALISE_LIMIT bytes of RTP padding (RFC 3550 §5.1) before they are encrypted. Only where it makes a run: of the
packets that fan-out offers at once, those of one frame, to one receiver; the last of a run may be shorter and stays as it is.
"""
from libc.stdint cimport uint8_t, uint32_t
from sfu.engine.tables cimport RouterState, Track

cdef enum:
    EQUALISE_LIMIT = 16        # bytes of padding
    EQUALISE_NOT = 255         # as `Pending.ahead`: leave the packet as it is
    EQUALISE_DATAGRAM = 1200   # bytes, with SRTP's tag: what padding may not pass

# Once a job: how much longer than each waiting packet the longest one of its run is.
cdef void equalise_job(Track *track) noexcept nogil

# The packet of `size` bytes in plaintext, about to be sent; returns its size with padding. `s.run_ahead` tells about it
# what equalise_job found, `s.run_size` is kept from packet to packet of one receiver, 0 at its first.
cdef uint32_t equalise(RouterState *s, uint8_t *packet, uint32_t size) noexcept nogil
