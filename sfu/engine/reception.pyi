# SPDX-License-Identifier: Apache-2.0
"""Reception of one RTP stream: extended sequence numbers, loss, jitter, rates (RFC 3550 §6. For Cython only: `reception.pxd` is its interface."""
