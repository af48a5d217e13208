# SPDX-License-Identifier: Apache-2.0
"""Loss-based estimate; see loss.pxd. Names of the method's parts follow loss_based_bwe_v2.cc of branch-heads/7204."""

from libc.math cimport INFINITY, fabs, isfinite, log, pow

from sfu.engine.bwe.parameters cimport LOSS_OBSERVATIONS_MAX

cdef enum:
    CANDIDATES_MAX = 6
    SPIKE_OBSERVATIONS = 3      # with more of them the worst and the best are left out of the average

cdef double PROBABILITY_MIN = 1e-6
cdef double CURVATURE_DEFAULT = -1e6
cdef double KNOWN = 0.7                 # own: of a known inherent loss, what it is never thought to fall below
cdef double RATE_MIN_BPS = 5_000.0      # kCongestionControllerMinBitrate


cdef inline int64_t window(const LossEstimator *l) noexcept nogil:
    return min(max(l.p.observations, <uint32_t>2), <uint32_t>LOSS_OBSERVATIONS_MAX)


cdef inline bint limited(const LossEstimator *l) noexcept nogil:
    return l.state != LOSS_DELAY_BASED


cdef inline bint increasing(const LossEstimator *l) noexcept nogil:
    return l.state == LOSS_INCREASING or l.state == LOSS_INCREASING_PADDED


cdef void clear_partial(LossEstimator *l) noexcept nogil:
    l.partial.size = 0.0
    l.partial.lost_size = 0.0
    l.partial.packets = 0.0
    l.partial.lost_packets = 0.0


cdef void loss_init(LossEstimator *l, const LossParameters *p, double min_bps, double max_bps) noexcept nogil:
    cdef uint32_t i
    l.p = p
    for i in range(<uint32_t>LOSS_OBSERVATIONS_MAX):
        l.observations[i].id = -1
        l.weights[i] = pow(p.temporal_weight, i)
        l.instant_weights[i] = pow(p.instant_weight, i)
    l.count = 0
    clear_partial(l)
    l.any = False
    l.started = False
    l.observed_us = 0
    l.best.inherent_loss = p.inherent_start
    l.best.capacity_bps = -1.0
    l.average_loss = 0.0
    l.acknowledged_bps = -1.0
    l.delay_based_bps = INFINITY
    l.recovering = False
    l.window_limit_bps = INFINITY
    l.rate_bps = 0.0
    l.state = LOSS_DELAY_BASED
    l.padding_bps = -1.0
    l.padding_known = False
    l.inherent = 0.0
    l.tolerated = 0.0
    l.known_bps = INFINITY
    l.instant_upper_bps = INFINITY
    end_hold(l)
    loss_set_bounds(l, min_bps, max_bps)


cdef void end_hold(LossEstimator *l) noexcept nogil:
    l.hold_until_us = 0
    l.hold_us = l.p.hold_us
    l.hold_bps = INFINITY


cdef void loss_set_bounds(LossEstimator *l, double min_bps, double max_bps) noexcept nogil:
    l.min_bps = min_bps
    l.max_bps = max_bps
    set_lower_bound(l)


cdef void set_lower_bound(LossEstimator *l) noexcept nogil:
    """What has arrived is not too much."""
    l.instant_lower_bps = l.min_bps
    if l.acknowledged_bps >= 0 and l.p.lower_bound_factor > 0:
        l.instant_lower_bps = max(l.min_bps, l.p.lower_bound_factor * l.acknowledged_bps)


cdef void loss_set_acknowledged(LossEstimator *l, double bps) noexcept nogil:
    l.acknowledged_bps = bps
    set_lower_bound(l)


cdef void loss_set_rate(LossEstimator *l, double bps) noexcept nogil:
    l.best.capacity_bps = bps
    l.rate_bps = bps
    l.state = LOSS_DELAY_BASED


cdef void loss_packet(LossEstimator *l, int64_t sent_us, uint32_t size, bint received) noexcept nogil:
    l.partial.packets += 1
    l.partial.size += size
    if not received:
        l.partial.lost_packets += 1
        l.partial.lost_size += size
    if not l.any:
        l.any = True
        l.first_sent_us = sent_us
        l.last_sent_us = sent_us
    l.first_sent_us = min(l.first_sent_us, sent_us)
    l.last_sent_us = max(l.last_sent_us, sent_us)


cdef void loss_recovered(LossEstimator *l, uint32_t size) noexcept nogil:
    l.partial.lost_packets = max(l.partial.lost_packets - 1, 0.0)
    l.partial.lost_size = max(l.partial.lost_size - size, 0.0)


cdef bint loss_ready(const LossEstimator *l) noexcept nogil:
    return l.best.capacity_bps >= 0 and l.count >= l.p.observations_min


cdef double loss_rate_bps(const LossEstimator *l) noexcept nogil:
    return l.rate_bps if loss_ready(l) else l.delay_based_bps


# --- observations

cdef double median_rate(const LossEstimator *l) noexcept nogil:
    cdef double rates[LOSS_OBSERVATIONS_MAX]
    cdef double rate
    cdef int64_t n = 0, i, j
    for i in range(window(l)):
        rate = l.observations[i].rate_bps
        if l.observations[i].id < 0 or rate <= 0:
            continue
        j = n
        while j > 0 and rates[j - 1] > rate:
            rates[j] = rates[j - 1]
            j -= 1
        rates[j] = rate
        n += 1
    if n == 0:
        return 0.0
    return (rates[(n - 1) // 2] + rates[n // 2]) / 2.0


cdef double average_by_packets(const LossEstimator *l) noexcept nogil:
    cdef double packets = 0.0, lost = 0.0, weight
    cdef int64_t i
    for i in range(window(l)):
        if l.observations[i].id >= 0:
            weight = l.instant_weights[l.count - 1 - l.observations[i].id]
            packets += weight * l.observations[i].packets
            lost += weight * l.observations[i].lost_packets
    return lost / packets


cdef double average_by_bytes(const LossEstimator *l) noexcept nogil:
    """Without the worst and the best observation, unless much more was sent in the worst one than usual."""
    cdef double total = 0.0, lost = 0.0, weight, ratio, lowest = 1.0, highest = 0.0
    cdef double lowest_lost = 0.0, lowest_size = 0.0, highest_lost = 0.0, highest_size = 0.0, highest_rate = 0.0
    cdef int64_t i
    cdef const Observation *o
    for i in range(window(l)):
        o = &l.observations[i]
        if o.id < 0:
            continue
        weight = l.instant_weights[l.count - 1 - o.id]
        total += weight * o.size
        lost += weight * o.lost_size
        if l.count <= SPIKE_OBSERVATIONS:
            continue
        ratio = o.lost_size / o.size if o.size > 0 else 0.0
        if ratio > highest:
            highest = ratio
            highest_lost = weight * o.lost_size
            highest_size = weight * o.size
            highest_rate = o.rate_bps
        if ratio < lowest:
            lowest = ratio
            lowest_lost = weight * o.lost_size
            lowest_size = weight * o.size
    if median_rate(l) * l.p.median_rate_factor <= highest_rate or total <= highest_size + lowest_size:
        return lost / total
    return (lost - lowest_lost - highest_lost) / (total - highest_size - lowest_size)


cdef void set_upper_bound(LossEstimator *l) noexcept nogil:
    cdef double excess = l.average_loss - l.p.instant_offset - l.tolerated
    l.instant_upper_bps = min(l.max_bps, l.known_bps)
    if excess > 0:
        l.instant_upper_bps = min(l.instant_upper_bps, l.p.instant_balance_bps / excess)


cdef void loss_tolerate(LossEstimator *l, double inherent, double tolerated, double capacity_bps) noexcept nogil:
    l.inherent = inherent
    l.tolerated = tolerated
    l.known_bps = capacity_bps
    set_upper_bound(l)
    if inherent > 0 and isfinite(l.delay_based_bps) and l.best.capacity_bps >= 0:
        # What the losses have cost so far is taken back.
        l.best.inherent_loss = inherent
        l.best.capacity_bps = max(l.best.capacity_bps, l.delay_based_bps)
        l.rate_bps = l.best.capacity_bps
        l.state = LOSS_DELAY_BASED
        l.recovering = False
        end_hold(l)


cdef bint push_observation(LossEstimator *l) noexcept nogil:
    """Closes the observation if it is long enough."""
    cdef int64_t duration_us
    cdef double rate_bps
    if not l.any:
        return False
    l.any = False
    if not l.started:
        l.started = True
        l.observed_us = l.first_sent_us
    duration_us = l.last_sent_us - l.observed_us
    if duration_us <= 0 or duration_us < l.p.observation_us:
        return False
    l.observed_us = l.last_sent_us
    rate_bps = l.partial.size * 8e6 / duration_us
    if l.count:
        rate_bps = (l.p.sending_rate_smoothing * l.observations[(l.count - 1) % window(l)].rate_bps
                    + (1.0 - l.p.sending_rate_smoothing) * rate_bps)
    l.partial.rate_bps = rate_bps
    l.partial.id = l.count
    l.observations[l.count % window(l)] = l.partial
    l.count += 1
    clear_partial(l)
    l.average_loss = average_by_packets(l) if l.p.by_packets else average_by_bytes(l)
    set_upper_bound(l)
    return True


# --- likelihood

cdef double loss_probability(double inherent, double capacity_bps, double rate_bps) noexcept nogil:
    cdef double probability = min(max(inherent, 0.0), 1.0)
    if capacity_bps >= 0 and rate_bps > capacity_bps:
        probability += (1.0 - probability) * (rate_bps - capacity_bps) / rate_bps
    return min(max(probability, PROBABILITY_MIN), 1.0 - PROBABILITY_MIN)


cdef double inherent_upper_bound(const LossEstimator *l, double capacity_bps) noexcept nogil:
    if capacity_bps <= 0:
        return 1.0
    return min(l.p.inherent_offset + l.tolerated + l.p.inherent_balance_bps / capacity_bps, 1.0)


cdef double feasible_inherent(const LossEstimator *l, const Channel *c) noexcept nogil:
    return min(max(c.inherent_loss, max(l.p.inherent_min, KNOWN * l.inherent)),
               inherent_upper_bound(l, c.capacity_bps))


cdef double biased(const LossEstimator *l, double factor) noexcept nogil:
    cdef double distance = l.p.loss_threshold - l.average_loss
    return factor * distance / (l.p.preference_smoothing + fabs(distance))


cdef double high_rate_bias(const LossEstimator *l, double capacity_bps) noexcept nogil:
    cdef double kbps = capacity_bps / 1000.0
    return biased(l, l.p.bandwidth_bias) * kbps + biased(l, l.p.bandwidth_log_bias) * log(1.0 + kbps)


cdef void amounts(const LossEstimator *l, const Observation *o, double *lost, double *received) noexcept nogil:
    if l.p.by_packets:
        lost[0] = o.lost_packets
        received[0] = o.packets - o.lost_packets
    else:
        lost[0] = o.lost_size / 1000.0
        received[0] = (o.size - o.lost_size) / 1000.0


cdef double objective(const LossEstimator *l, const Channel *c) noexcept nogil:
    cdef double bias = high_rate_bias(l, c.capacity_bps), value = 0.0, weight, probability, lost, received
    cdef int64_t i
    cdef const Observation *o
    for i in range(window(l)):
        o = &l.observations[i]
        if o.id < 0:
            continue
        probability = loss_probability(c.inherent_loss, c.capacity_bps, o.rate_bps)
        weight = l.weights[l.count - 1 - o.id]
        amounts(l, o, &lost, &received)
        value += weight * (lost * log(probability) + received * log(1.0 - probability))
        value += weight * bias * (lost + received)
    return value


cdef void newton(const LossEstimator *l, Channel *c) noexcept nogil:
    """Moves the inherent loss towards its likeliest value."""
    cdef double first, second, weight, probability, lost, received
    cdef int64_t i, step
    cdef const Observation *o
    for step in range(<int64_t>l.p.newton_iterations):
        first = 0.0
        second = 0.0
        for i in range(window(l)):
            o = &l.observations[i]
            if o.id < 0:
                continue
            probability = loss_probability(c.inherent_loss, c.capacity_bps, o.rate_bps)
            weight = l.weights[l.count - 1 - o.id]
            amounts(l, o, &lost, &received)
            first += weight * (lost / probability - received / (1.0 - probability))
            second -= weight * (lost / (probability * probability)
                                + received / ((1.0 - probability) * (1.0 - probability)))
        if second >= 0.0:
            second = CURVATURE_DEFAULT
        c.inherent_loss -= l.p.newton_step * first / second
        c.inherent_loss = feasible_inherent(l, c)


# --- search

cdef int candidates(const LossEstimator *l, bint application_limited, Channel *out) noexcept nogil:
    cdef double upper_bps = l.max_bps
    cdef int n = 3, i
    out[0].capacity_bps = l.p.candidate_up * l.best.capacity_bps
    out[1].capacity_bps = l.p.candidate_same * l.best.capacity_bps
    out[2].capacity_bps = l.p.candidate_down * l.best.capacity_bps
    if limited(l) and isfinite(l.window_limit_bps):
        upper_bps = l.window_limit_bps
    if l.acknowledged_bps >= 0 and l.p.acknowledged_candidate > 0 and (
            l.p.acknowledged_in_alr or not application_limited
            or (l.p.padding_us > 0 and l.padding_known
                and l.padding_since_us + l.p.padding_us >= l.observed_us)):
        out[n].capacity_bps = l.p.acknowledged_candidate * l.acknowledged_bps
        n += 1
    if isfinite(l.delay_based_bps) and l.delay_based_bps > l.best.capacity_bps:
        out[n].capacity_bps = l.delay_based_bps
        n += 1
    if application_limited and l.p.upper_bound_in_alr and l.best.capacity_bps > l.instant_upper_bps:
        out[n].capacity_bps = l.instant_upper_bps
        n += 1
    for i in range(n):
        out[i].capacity_bps = min(out[i].capacity_bps, max(l.best.capacity_bps, upper_bps))
        out[i].inherent_loss = l.best.inherent_loss
        out[i].inherent_loss = feasible_inherent(l, &out[i])
    return n


cdef Channel best_candidate(const LossEstimator *l, bint application_limited) noexcept nogil:
    cdef Channel found[CANDIDATES_MAX]
    cdef Channel best = l.best
    cdef double value, highest = -INFINITY
    cdef int i
    for i in range(candidates(l, application_limited, found)):
        newton(l, &found[i])
        value = objective(l, &found[i])
        if value > highest:
            highest = value
            best = found[i]
    return best


cdef bint rising(const LossEstimator *l, double before_bps, double after_bps) noexcept nogil:
    """While loss limits: higher than before, or as high in an increasing state."""
    return limited(l) and (before_bps < after_bps or (before_bps == after_bps and increasing(l)))


cdef void bound_increase(LossEstimator *l, Channel *best) noexcept nogil:
    cdef double factor
    if l.average_loss > max(best.inherent_loss, l.tolerated) and not l.p.rise_above_average_loss:
        best.capacity_bps = min(best.capacity_bps, max(l.best.capacity_bps, 0.0))
    if not limited(l):
        return
    if l.recovering and l.recovering_us + l.p.increase_window_us > l.observed_us:
        best.capacity_bps = min(best.capacity_bps, l.window_limit_bps)
    if not rising(l, l.best.capacity_bps, best.capacity_bps) or l.acknowledged_bps < 0:
        return
    factor = l.p.rampup_factor
    if isfinite(l.hold_bps) and l.acknowledged_bps < l.p.rampup_hold_threshold * l.hold_bps:
        factor = l.p.rampup_factor_hold
    best.capacity_bps = max(l.best.capacity_bps, min(best.capacity_bps, factor * l.acknowledged_bps))
    # At least one more, so that the state leaves "decreasing".
    if l.state == LOSS_DECREASING and best.capacity_bps == l.best.capacity_bps:
        best.capacity_bps = l.best.capacity_bps + 1.0


cdef bint may_keep_increasing(const LossEstimator *l, double bounded_bps) noexcept nogil:
    if l.p.padding_us == 0 or l.state != LOSS_INCREASING_PADDED:
        return True
    return l.padding_since_us + l.p.padding_us >= l.observed_us or l.padding_bps < bounded_bps


cdef void change_state(LossEstimator *l, double bounded_bps) noexcept nogil:
    cdef bint below = bounded_bps < l.delay_based_bps and bounded_bps < l.max_bps
    if below and rising(l, l.rate_bps, bounded_bps) and may_keep_increasing(l, bounded_bps):
        if l.p.padding_us > 0:
            if bounded_bps > l.padding_bps:
                l.padding_bps = bounded_bps
                l.padding_since_us = l.observed_us
                l.padding_known = True
            l.state = LOSS_INCREASING_PADDED
        else:
            l.state = LOSS_INCREASING
    elif below:
        if l.state != LOSS_DECREASING and l.p.hold_factor > 0:
            l.hold_until_us = l.observed_us + l.hold_us
            l.hold_us = min(l.p.hold_max_us, <int64_t>(l.hold_us * l.p.hold_factor))
            l.hold_bps = bounded_bps
        l.state = LOSS_DECREASING
    else:
        # The delay-based estimate works: what was held must not keep the rate down later.
        end_hold(l)
        l.state = LOSS_DELAY_BASED


cdef void loss_update(LossEstimator *l, double delay_based_bps, bint application_limited) noexcept nogil:
    cdef Channel best
    cdef double bounded_bps
    l.delay_based_bps = delay_based_bps
    if not push_observation(l):
        return
    if l.best.capacity_bps < 0:
        if not isfinite(delay_based_bps):
            return
        l.best.capacity_bps = delay_based_bps
        l.rate_bps = delay_based_bps
        l.state = LOSS_DELAY_BASED
    best = best_candidate(l, application_limited)
    bound_increase(l, &best)
    bounded_bps = max(l.instant_lower_bps,
                      min(min(best.capacity_bps, l.instant_upper_bps), delay_based_bps))
    if bounded_bps < best.capacity_bps:
        l.best.capacity_bps = bounded_bps
        l.best.inherent_loss = l.inherent
    else:
        l.best = best
        if l.p.lower_bound_factor > 0:
            l.best.capacity_bps = max(best.capacity_bps, l.instant_lower_bps)
    if l.state == LOSS_DECREASING and l.hold_until_us > l.observed_us and bounded_bps < delay_based_bps:
        # The rate is held for a while where it came to rest, and not at once raised to where it is lost again.
        if l.p.lower_bound_factor > 0:
            l.hold_bps = max(l.instant_lower_bps, l.hold_bps)
        l.rate_bps = min(l.hold_bps, bounded_bps)
        return
    change_state(l, bounded_bps)
    l.rate_bps = bounded_bps
    if limited(l) and (not l.recovering or l.recovering_us + l.p.increase_window_us < l.observed_us):
        l.recovering = True
        l.recovering_us = l.observed_us
        l.window_limit_bps = max(RATE_MIN_BPS, l.best.capacity_bps * l.p.increase_factor)


# --- an application that sends less than it may

cdef bint loss_is_over(const LossEstimator *l) noexcept nogil:
    return limited(l) and l.average_loss <= max(l.best.inherent_loss, l.tolerated)


cdef void loss_shown(LossEstimator *l, double probed_bps, double delay_based_bps) noexcept nogil:
    cdef double shown_bps = min(probed_bps, min(l.instant_upper_bps, l.max_bps))
    if not loss_is_over(l) or shown_bps <= l.best.capacity_bps:
        return
    l.best.capacity_bps = shown_bps
    l.window_limit_bps = max(l.window_limit_bps, shown_bps)
    l.delay_based_bps = delay_based_bps
    l.rate_bps = min(shown_bps, delay_based_bps)
    l.state = LOSS_INCREASING
    if isfinite(l.hold_bps):
        l.hold_bps = max(l.hold_bps, shown_bps)
    if l.rate_bps >= delay_based_bps:
        end_hold(l)
        l.state = LOSS_DELAY_BASED
