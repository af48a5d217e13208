# SPDX-License-Identifier: Apache-2.0
"""Groups, trend and overuse; see trendline.pxd."""

from libc.math cimport fabs

from sfu.engine.bwe.parameters cimport TRENDLINE_WINDOW_MAX

# libwebrtc delay_based_bwe.cc, inter_arrival_delta.{h,cc} of branch-heads/7204
cdef enum:
    GROUP_US = 5_000                # packets sent within this are one group
    BURST_GAP_US = 5_000            # what arrives faster than it was sent, within this, belongs to the group as well
    BURST_MAX_US = 100_000          # but a group does not grow longer than this
    CLOCK_JUMP_US = 3_000_000       # arrivals that move so far against our clock: another clock
    REORDERED_MAX = 3               # groups
    DELTAS_MAX = 1000

# trendline_estimator.cc
cdef double ADAPT_STEP_MAX_MS = 100.0

cdef double JITTER_WEIGHT = 1.0 / 16    # RFC 3550 6.4.1


cdef void inter_arrival_init(InterArrival *a) noexcept nogil:
    a.current.filled = False
    a.previous.filled = False
    a.reordered = 0


cdef bint belongs_to_burst(const PacketGroup *group, int64_t sent_us, int64_t arrival_us) noexcept nogil:
    """A queue that was emptied at once delivers what was sent further apart."""
    cdef int64_t arrival_delta = arrival_us - group.arrival_us
    cdef int64_t sent_delta = sent_us - group.sent_us
    if sent_delta == 0:
        return True
    return (arrival_delta < sent_delta and arrival_delta <= BURST_GAP_US
            and arrival_us - group.first_arrival_us < BURST_MAX_US)


cdef void begin_group(PacketGroup *group, int64_t sent_us, int64_t arrival_us) noexcept nogil:
    group.filled = True
    group.first_sent_us = sent_us
    group.sent_us = sent_us
    group.first_arrival_us = arrival_us


cdef bint compare_groups(InterArrival *a, int64_t *sent_delta_us, int64_t *arrival_delta_us,
                         bint *usable) noexcept nogil:
    """True: the two groups stand. False: everything, or this packet, is to be forgotten."""
    cdef int64_t system_delta
    usable[0] = False
    if not a.previous.filled:
        return True
    sent_delta_us[0] = a.current.sent_us - a.previous.sent_us
    arrival_delta_us[0] = a.current.arrival_us - a.previous.arrival_us
    system_delta = a.current.system_us - a.previous.system_us
    if arrival_delta_us[0] - system_delta >= CLOCK_JUMP_US:
        inter_arrival_init(a)
        return False
    if arrival_delta_us[0] < 0:
        a.reordered += 1
        if a.reordered >= REORDERED_MAX:
            inter_arrival_init(a)
        return False
    a.reordered = 0
    usable[0] = True
    return True


cdef bint inter_arrival_packet(InterArrival *a, int64_t sent_us, int64_t arrival_us, int64_t system_us,
                               int64_t *sent_delta_us, int64_t *arrival_delta_us) noexcept nogil:
    cdef bint usable = False
    if not a.current.filled:
        begin_group(&a.current, sent_us, arrival_us)
    elif sent_us < a.current.first_sent_us:
        return False
    elif (not belongs_to_burst(&a.current, sent_us, arrival_us)
            and sent_us - a.current.first_sent_us > GROUP_US):
        if not compare_groups(a, sent_delta_us, arrival_delta_us, &usable):
            return False
        a.previous = a.current
        begin_group(&a.current, sent_us, arrival_us)
    else:
        a.current.sent_us = max(a.current.sent_us, sent_us)
    a.current.arrival_us = arrival_us
    a.current.system_us = system_us
    return usable


cdef void trendline_init(Trendline *t, const TrendlineParameters *p) noexcept nogil:
    t.at = 0
    t.filled = 0
    t.deltas = 0
    t.started = False
    t.first_arrival_us = 0
    t.accumulated_ms = 0.0
    t.jitter_ms = 0.0
    t.smoothed_ms = 0.0
    t.trend = 0.0
    t.modified_ms = 0.0
    t.threshold_ms = p.threshold_ms
    t.updated = False
    t.updated_ms = 0.0
    t.overusing_ms = -1.0
    t.overuses = 0
    t.usage = USAGE_NORMAL


cdef bint fit_slope(const Trendline *t, double *slope) noexcept nogil:
    """Least squares over the window; False where all arrived at one time."""
    cdef double x_mean = 0.0, y_mean = 0.0, numerator = 0.0, denominator = 0.0, x
    cdef uint32_t i
    for i in range(t.filled):
        x_mean += t.arrival_ms[i]
        y_mean += t.delay_ms[i]
    x_mean /= t.filled
    y_mean /= t.filled
    for i in range(t.filled):
        x = t.arrival_ms[i] - x_mean
        numerator += x * (t.delay_ms[i] - y_mean)
        denominator += x * x
    if denominator == 0.0:
        return False
    slope[0] = numerator / denominator
    return True


cdef void adapt_threshold(Trendline *t, const TrendlineParameters *p, double now_ms) noexcept nogil:
    cdef double size = fabs(t.modified_ms), step
    if not t.updated:
        t.updated = True
        t.updated_ms = now_ms
    # A leap, as a capacity that drops makes it, must not desensitise the detector.
    if size <= t.threshold_ms + p.spike_ms:
        step = min(now_ms - t.updated_ms, ADAPT_STEP_MAX_MS)
        t.threshold_ms += (
            (p.threshold_fall if size < t.threshold_ms else p.threshold_rise) * (size - t.threshold_ms) * step)
        t.threshold_ms = min(max(t.threshold_ms, p.threshold_min_ms), p.threshold_max_ms)
    t.updated_ms = now_ms


cdef void detect(Trendline *t, const TrendlineParameters *p, double trend, double sent_delta_ms,
                 double now_ms) noexcept nogil:
    if t.deltas < 2:
        t.usage = USAGE_NORMAL
        return
    t.modified_ms = min(t.deltas, p.settled_samples) * trend * p.gain
    if t.modified_ms > t.threshold_ms:
        # At the first sample above it, half of the time since the sample before counts.
        t.overusing_ms = sent_delta_ms / 2 if t.overusing_ms < 0 else t.overusing_ms + sent_delta_ms
        t.overuses += 1
        if t.overusing_ms > p.overuse_ms and t.overuses > 1 and trend >= t.trend:
            t.overusing_ms = 0.0
            t.overuses = 0
            t.usage = USAGE_OVERUSING
    else:
        t.overusing_ms = -1.0
        t.overuses = 0
        t.usage = USAGE_UNDERUSING if t.modified_ms < -t.threshold_ms else USAGE_NORMAL
    t.trend = trend
    adapt_threshold(t, p, now_ms)


cdef void trendline_update(Trendline *t, const TrendlineParameters *p, double sent_delta_ms, double arrival_delta_ms,
                           int64_t arrival_us) noexcept nogil:
    cdef uint32_t window = min(max(p.window, <uint32_t>2), <uint32_t>TRENDLINE_WINDOW_MAX)
    cdef double trend = t.trend, arrival_ms
    if not t.started:
        t.started = True
        t.first_arrival_us = arrival_us
    t.deltas = min(t.deltas + 1, <uint32_t>DELTAS_MAX)
    t.accumulated_ms += arrival_delta_ms - sent_delta_ms
    t.jitter_ms += (fabs(arrival_delta_ms - sent_delta_ms) - t.jitter_ms) * JITTER_WEIGHT
    t.smoothed_ms = p.smoothing * t.smoothed_ms + (1.0 - p.smoothing) * t.accumulated_ms
    arrival_ms = (arrival_us - t.first_arrival_us) / 1000.0
    t.arrival_ms[t.at] = arrival_ms
    t.delay_ms[t.at] = t.smoothed_ms
    t.at = (t.at + 1) % window
    t.filled = min(t.filled + 1, window)
    if t.filled == window:
        fit_slope(t, &trend)
    detect(t, p, trend, sent_delta_ms, arrival_ms)
