# SPDX-License-Identifier: Apache-2.0
"""First look at each datagram (RFC 7983): STUN is answered here, DTLS goes to Python, SRTP on to the router."""
from libc.stdint cimport int64_t, uint32_t
from sfu.engine.address cimport Datagram
from sfu.engine.tables cimport RouterState

cdef enum:
    UFRAG_SIZE = 18            # prefix 6, handle 8, random 4; all hexadecimal digits
    UFRAG_HANDLE = 6

cdef void receive_datagram(RouterState *s, Datagram *datagram, int64_t now_us) noexcept nogil
