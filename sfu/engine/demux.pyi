# SPDX-License-Identifier: Apache-2.0
"""First look at each datagram (RFC 7983): STUN is answered here, DTLS goes to Python, SRTP on to the router. For Cython only: `demux.pxd` is its interface."""
