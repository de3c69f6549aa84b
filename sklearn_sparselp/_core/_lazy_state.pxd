# What a lazy model keeps, and the penalty of the steps that a weight has missed.
# Nothing but `settle_all` and `tick` writes to it here. Each rule has its own closed form, see `_lazy.pyx`.

from libc.math cimport copysign, expm1, fabs, isfinite, log1p, pow
from libc.stdint cimport int64_t, uint64_t

from ._prox cimport LpProx, lp_prox
from ._sample_loss cimport SampleLoss

cdef enum Rate:
    CONSTANT
    OPTIMAL
    INVSCALING
    ADAGRAD

cdef enum Rule:
    CLOSED     # one clock for all features
    REPEATED   # the rates of missed steps are kept, the proximal map is repeated
    OWN_STEP   # each feature has a step of its own, which changes with its gradients only

# What a step reads of a feature lies in one cache line.
cdef struct Own:
    double weight             # after the steps up to `clock`
    double squares            # sum of squared gradients
    double rate               # eta0 / sqrt(squares), 0 for a feature without gradient
    double clock

cdef struct Lazy:
    SampleLoss loss
    Rate rate
    Rule rule
    LpProx prox
    double epsilon, alpha, ridge, eta0, power_t, optimal_start, dropout, sparsity_threshold
    const double* factor      # NULL for ones
    uint64_t seed
    int64_t mask_interval     # 0 for never
    int64_t average           # the first step that is averaged, 0 for none
    bint fit_intercept
    Py_ssize_t n_features
    double* stored            # c of the closed rule, the weight after step `last` of the repeated one
    Own* own                  # instead, where features have steps of their own
    int64_t* last             # the last step whose penalty is in the weight; NULL where nobody asks
    double* sums              # sums of weights over the averaged steps
    double* rates             # history since step `base`: rate (own steps: visit weight), A, sum 1/P, sum A/P
    double* shifts
    double* inverses
    double* ratios
    int64_t room, base, done
    double shift, growth, inverse, ratio  # A, P and their sums
    double clock              # sum of the visit weights since step `base`
    bint uneven               # whether some visit weight since step `base` was not 1
    double intercept, intercept_squares, intercept_sum
    int64_t touched
    double loss_sum, weight_sum


cdef inline double rate_of(const Lazy* m, int64_t step) noexcept nogil:
    if m.rate == OPTIMAL:
        return 1.0 / (m.alpha * (m.optimal_start + step - 1))
    if m.rate == INVSCALING:
        return m.eta0 / pow(<double>step, m.power_t)
    return m.eta0


cdef inline bint is_dropped(const Lazy* m, int64_t step, Py_ssize_t j) noexcept nogil:
    # SplitMix64 of step and feature: the same for every way to cut a stream into chunks.
    cdef uint64_t bits = m.seed + <uint64_t>step * <uint64_t>0x9E3779B97F4A7C15
    bits += <uint64_t>j * <uint64_t>0xD1B54A32D192ED03
    bits = (bits ^ (bits >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    bits = (bits ^ (bits >> 27)) * <uint64_t>0x94D049BB133111EB
    bits ^= bits >> 31
    return <double>(bits >> 11) * 1.1102230246251565e-16 < m.dropout


cdef inline double strength_of(const Lazy* m, Py_ssize_t j) noexcept nogil:
    return m.alpha if m.factor == NULL else (m.alpha * m.factor[j] if m.alpha > 0.0 else 0.0)


cdef inline double closed_weight(const Lazy* m, double c, double strength) noexcept nogil:
    cdef double size = fabs(c) - strength * m.shift
    return copysign(size / m.growth, c) if size > 0.0 else 0.0


cdef inline double closed_sum(const Lazy* m, Py_ssize_t j, double strength) noexcept nogil:
    # The weight is not zero while |c| > strength A: A rises, so the end is searched for.
    cdef double size = fabs(m.stored[j])
    cdef int64_t low = m.last[j] - m.base, high = m.done - m.base, middle, begin
    begin = max(m.last[j], m.average - 1) - m.base
    if not size > strength * m.shifts[high]:
        while high - low > 1:
            middle = (low + high) // 2
            if size > strength * m.shifts[middle]:
                low = middle
            else:
                high = middle
        high = low
    if high <= begin:
        return 0.0
    return copysign(
        size * (m.inverses[high] - m.inverses[begin]) - strength * (m.ratios[high] - m.ratios[begin]), m.stored[j]
    )


cdef inline double one_prox(const Lazy* m, double w, double strength, double rate) noexcept nogil:
    cdef double shrink = 1.0 + rate * m.ridge
    return lp_prox(&m.prox, w / shrink, rate * strength / shrink)


cdef inline double own_steps_later(
    const Lazy* m, double w, double rate, double strength, double missed,
) noexcept nogil:
    """Return a weight after steps of one rate, p = 1 or 2. It adds up in time: a visit of weight v is v steps."""
    cdef double ridge = m.ridge, lost, size = fabs(w)
    if w == 0.0 or missed == 0.0 or rate == 0.0:
        return w
    if m.prox.p == 2.0:
        ridge += 2.0 * strength
        strength = 0.0
    if ridge == 0.0:
        size -= missed * (rate * strength)
    else:
        lost = -expm1(-missed * log1p(rate * ridge))
        size -= (size + strength / ridge) * lost
    return copysign(size, w) if size > 0.0 else 0.0


cdef inline double repeated_weight(const Lazy* m, Py_ssize_t j, double strength, double* total) noexcept nogil:
    """Apply the missed steps one by one; ``total`` gets the sum over those that are averaged."""
    cdef double w = m.own[j].weight if m.rule == OWN_STEP else m.stored[j], rate = 1.0
    cdef int64_t step = m.last[j]
    cdef bint closed = m.rule == OWN_STEP and (m.prox.p == 1.0 or m.prox.p == 2.0)
    if m.rule == OWN_STEP:
        rate = m.own[j].rate
    while step < m.done and w != 0.0:
        step += 1
        if closed:
            w = own_steps_later(m, w, rate, strength, m.rates[step - m.base])
        else:
            w = one_prox(m, w, strength, rate * m.rates[step - m.base])
        if 0 < m.average <= step:
            total[0] += w
        if (m.prox.p == 0.0 and m.ridge == 0.0 and not m.uneven) or rate == 0.0:
            # Rates fall: what is above the first threshold is above the others.
            if 0 < m.average <= m.done:
                total[0] += w * <double>(m.done - max(step, m.average - 1))
            break
    return w


cdef inline double own_weight(const Lazy* m, Py_ssize_t j, double strength) noexcept nogil:
    """Apply the missed steps, all of one size, in closed form for p = 1 and 2."""
    cdef const Own* own = &m.own[j]
    return own_steps_later(m, own.weight, own.rate, strength, m.clock - own.clock)


cdef inline double caught_up(const Lazy* m, Py_ssize_t j, double* total) noexcept nogil:
    """Return weight j after all steps done, its missed penalties applied; nothing is written but ``total``."""
    cdef double strength = strength_of(m, j)
    total[0] = 0.0
    if m.factor != NULL and not isfinite(m.factor[j]):
        return 0.0
    if m.rule == CLOSED:
        if m.prox.p == 2.0:
            strength = 0.0  # in the ridge
        if m.average > 0:
            total[0] = closed_sum(m, j, strength)
        return closed_weight(m, m.stored[j], strength)
    if m.rule == OWN_STEP and m.average == 0 and (m.prox.p == 1.0 or m.prox.p == 2.0):
        return own_weight(m, j, strength)
    return repeated_weight(m, j, strength, total)


cdef inline void settle_all(Lazy* m, double sparsity_threshold) noexcept nogil:
    """Apply what every feature missed, then the mask, and start the clock again."""
    cdef Py_ssize_t j
    cdef double total, w
    for j in range(m.n_features):
        w = caught_up(m, j, &total)
        if m.sums != NULL:
            m.sums[j] += total
        w = 0.0 if fabs(w) <= sparsity_threshold else w
        if m.rule == OWN_STEP:
            m.own[j].weight = w
            m.own[j].clock = 0.0
        else:
            m.stored[j] = w
        if m.last != NULL:
            m.last[j] = m.done
    m.base = m.done
    m.clock = 0.0
    m.uneven = False
    m.shift = m.inverse = m.ratio = 0.0
    m.growth = 1.0


cdef inline void tick(Lazy* m, double rate, double weight) noexcept nogil:
    """Count a visit of this weight, whose penalty every feature has yet to get."""
    cdef int64_t slot
    m.done += 1
    rate *= weight
    m.clock += weight
    m.uneven = m.uneven or weight != 1.0
    if m.rule == CLOSED:
        m.shift += rate * m.growth
        m.growth *= 1.0 + rate * m.ridge
    if m.room > 0:
        slot = m.done - m.base
        m.rates[slot] = weight if m.rule == OWN_STEP else rate
        if m.rule == CLOSED:
            m.inverse += 1.0 / m.growth
            m.ratio += m.shift / m.growth
            m.shifts[slot] = m.shift
            m.inverses[slot] = m.inverse
            m.ratios[slot] = m.ratio
        if slot == m.room:
            settle_all(m, 0.0)
    # Long before rounding or overflow could tell.
    if m.growth > 1e100 or m.alpha * m.shift > 1e6 * m.growth:
        settle_all(m, 0.0)
    if m.mask_interval > 0 and m.done % m.mask_interval == 0:
        settle_all(m, m.sparsity_threshold)
