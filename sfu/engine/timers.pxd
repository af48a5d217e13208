# SPDX-License-Identifier: Apache-2.0
"""What is due by time: reports, feedback to publishers, NACKs, layers that fell silent, consent that ran out."""
from libc.stdint cimport int64_t, uint32_t
from sfu.engine.tables cimport RouterState

cdef uint32_t run_timers(RouterState *s, int64_t now_us) noexcept nogil
