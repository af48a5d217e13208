# SPDX-License-Identifier: Apache-2.0
"""Probes of losses; see loss_probe.pxd."""

from libc.stdint cimport INT64_MIN

cdef enum:
    CLUSTER_MASK = 0x7FFF           # what the send history keeps of an id
    JUDGE_US = 1_000_000            # feedback has come by then
    RETRY_US = 1_000_000

cdef double RECEIVED_SHARE = 0.7        # of the packets, before there is a verdict


cdef void loss_probe_init(LossProbe *l) noexcept nogil:
    l.verdict = VERDICT_NONE
    l.inherent = 0.0
    l.capacity_bps = 0.0
    l.judged_us = INT64_MIN
    l.begun_us = INT64_MIN
    l.lossy_since_us = INT64_MIN
    l.cluster = -1
    l.last_cluster = -1


cdef bint loss_probe_due(LossProbe *l, const LossProbeParameters *p, double average_loss, double rate_bps,
                         bint idle_queue, int64_t now_us) noexcept nogil:
    if p.packets == 0 or average_loss < p.loss or rate_bps < p.rate_min_bps or not idle_queue:
        l.lossy_since_us = INT64_MIN
        return False
    if l.lossy_since_us == INT64_MIN:
        l.lossy_since_us = now_us
    return (l.cluster < 0 and now_us - l.lossy_since_us >= p.patience_us
            and (l.begun_us == INT64_MIN or now_us - l.begun_us >= p.interval_us))


cdef void loss_probe_begin(LossProbe *l, int32_t cluster, double average_loss, int64_t now_us) noexcept nogil:
    l.cluster = cluster & CLUSTER_MASK
    l.last_cluster = l.cluster
    l.begun_us = now_us
    l.average = average_loss
    l.received = 0
    l.lost = 0
    l.bytes = 0


cdef void loss_probe_packet(LossProbe *l, int32_t cluster, uint32_t size, int64_t arrival_us) noexcept nogil:
    if cluster != l.cluster:
        return
    if arrival_us == INT64_MIN:
        l.lost += 1
        return
    if l.received == 0:
        l.first_arrival_us = arrival_us
        l.last_arrival_us = arrival_us
        l.bytes = 0
    else:
        l.bytes += size
    l.received += 1
    l.first_arrival_us = min(l.first_arrival_us, arrival_us)
    l.last_arrival_us = max(l.last_arrival_us, arrival_us)


cdef bint loss_probe_judge(LossProbe *l, const LossProbeParameters *p, int64_t now_us) noexcept nogil:
    cdef double share, span_us
    if l.judged_us != INT64_MIN and now_us - l.judged_us > p.valid_us and l.verdict != VERDICT_NONE:
        l.verdict = VERDICT_NONE
        return True
    if l.cluster < 0 or now_us - l.begun_us < JUDGE_US:
        return False
    l.cluster = -1
    span_us = l.last_arrival_us - l.first_arrival_us
    if l.received + l.lost < RECEIVED_SHARE * p.packets or l.received < 2 or span_us <= 0:
        # The feedback was lost: once more, and soon.
        l.begun_us = now_us - p.interval_us + RETRY_US
        return False
    share = l.lost / <double>(l.lost + l.received)
    l.judged_us = now_us
    if share <= p.share_factor * l.average + p.share_margin:
        l.verdict = VERDICT_INHERENT
        l.inherent = l.average
    else:
        l.verdict = VERDICT_CAPACITY
        l.capacity_bps = l.bytes * 8e6 / span_us
    return True
