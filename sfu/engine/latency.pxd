# SPDX-License-Identifier: Apache-2.0
"""How long packets stay in the server: from the kernel's receive timestamp to the return of the send call.

A histogram with log-linear buckets (as HdrHistogram's): exact below 32 µs, above in 32 equal steps of each octave up to
16.8 s; so a value read from it is off by 3.1 % at most. 5 kB, nothing allocated, a few ns a packet.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef enum:
    LATENCY_STEP_BITS = 5       # steps of one octave: 32
    LATENCY_TOP_BITS = 24       # longer is counted in the last bucket
    LATENCY_BUCKETS = 640       # (LATENCY_TOP_BITS - LATENCY_STEP_BITS + 1) << LATENCY_STEP_BITS

cdef enum LatencyClass:         # of an outgoing datagram
    LATENCY_NONE = 0            # no media, or it had to wait for its receiver's link
    LATENCY_AUDIO = 1
    LATENCY_VIDEO = 2
    LATENCY_CLASSES = 3

cdef extern from *:
    """
    #define PYSFU_TOP_BIT(value) (63 - __builtin_clzll(value))
    """
    int top_bit "PYSFU_TOP_BIT"(uint64_t value) nogil

cdef struct Latency:
    uint64_t counts[640]
    uint64_t sum_us

cdef inline uint32_t latency_bucket(int64_t duration_us) noexcept nogil:
    cdef int octave
    if duration_us < 1 << LATENCY_STEP_BITS:
        return <uint32_t>duration_us if duration_us > 0 else 0
    if duration_us >= 1 << LATENCY_TOP_BITS:
        return LATENCY_BUCKETS - 1
    octave = top_bit(<uint64_t>duration_us) - LATENCY_STEP_BITS
    # The top bit of the shifted value is the step that leads into this octave.
    return <uint32_t>((octave << LATENCY_STEP_BITS) + (duration_us >> octave))

cdef inline void latency_add(Latency *latency, int64_t duration_us) noexcept nogil:
    latency.counts[latency_bucket(duration_us)] += 1
    if duration_us > 0:
        latency.sum_us += <uint64_t>duration_us

cdef object latency_statistics(const Latency *latency)     # a sfu.engine.statistics.LatencyStatistics
