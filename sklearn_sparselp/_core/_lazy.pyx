# Stochastic gradient steps whose penalty is applied lazily.
# A step reads and writes the stored values of one sample. The penalty of the steps that a feature missed is applied
# when it is next seen: in closed form for p = 1 and 2, else one proximal map a step while the weight is not zero.
#
# Step t with rate r: w -= r g x on the sample's features, then w = prox of r (alpha u |w|^p + ridge w^2 / 2) on all.
# With P_t = (1 + r_1 ridge) ... (1 + r_t ridge) and A_t = sum_s r_s P_(s-1), a weight that p = 1 leaves alone is
# |w_t| = max(|c| - alpha u A_t, 0) / P_t for a constant c: c is what `stored` holds, so that the clock A, P is all
# that a step without gradient moves. p = 2 is the same with a larger ridge.

import numpy as np

from libc.math cimport copysign, expm1, fabs, fmax, fmin, isfinite, log1p, pow, sqrt
from libc.stdint cimport int64_t, uint64_t

from ._prox cimport LpProx, lp_prox, lp_prox_init
from ._sample_loss cimport (
    EPSILON_INSENSITIVE, HINGE, HUBER, LOG_LOSS, MODIFIED_HUBER, SQUARED_ERROR, SQUARED_HINGE, SampleLoss, slope_of,
)
from ._types cimport index_t, real_t

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define SPARSELP_FETCH(address) __builtin_prefetch((address), 1, 3)
    #else
    #define SPARSELP_FETCH(address) ((void)(address))
    #endif
    """
    void SPARSELP_FETCH(const void* address) noexcept nogil

cdef enum Rate:
    CONSTANT
    OPTIMAL
    INVSCALING
    ADAGRAD

cdef enum Rule:
    CLOSED     # one clock for all features
    REPEATED   # the rates of missed steps are kept, the proximal map is repeated
    OWN_STEP   # each feature has a step of its own, which changes with its gradients only

LOSSES = {
    "squared_error": SQUARED_ERROR,
    "huber": HUBER,
    "epsilon_insensitive": EPSILON_INSENSITIVE,
    "log_loss": LOG_LOSS,
    "hinge": HINGE,
    "squared_hinge": SQUARED_HINGE,
    "modified_huber": MODIFIED_HUBER,
}
RATES = {
    "constant": CONSTANT, "adaptive": CONSTANT, "optimal": OPTIMAL, "invscaling": INVSCALING, "adagrad": ADAGRAD,
}

# As in scikit-learn: a gradient beyond it is cut.
cdef double LARGEST_SLOPE = 1e12
# The clock starts again beyond these, long before rounding or overflow could tell.
cdef double LARGEST_GROWTH = 1e100, LARGEST_SHIFT = 1e6
cdef double TINY = 1e-300  # instead of dividing by 0
# Steps that are kept at least; with n_features of them a look at all features costs one feature a step.
SHORTEST_HISTORY = 4096

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
    double* stored            # c of the closed rule, else the weight after step `last`
    int64_t* last             # the last step whose penalty is in `stored`; NULL where nobody asks
    double* squares           # sums of squared gradients, adagrad
    double* sums              # sums of weights over the averaged steps
    double* rates             # history since step `base`: rate, A, sum 1/P, sum A/P
    double* shifts
    double* inverses
    double* ratios
    int64_t room, base, done
    double shift, growth, inverse, ratio  # A, P and their sums
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


cdef inline double unshifted(double c, double shift) noexcept nogil:
    # A comparison, not fmax: that is a call.
    cdef double size = fabs(c) - shift
    return copysign(size if size > 0.0 else 0.0, c)


cdef inline double fmax_of(double a, double b) noexcept nogil:
    return a if a > b else b


cdef inline double closed_weight(const Lazy* m, double c, double strength) noexcept nogil:
    cdef double size = fabs(c) - strength * m.shift
    return copysign(size / m.growth, c) if size > 0.0 else 0.0


cdef double closed_sum(const Lazy* m, Py_ssize_t j, double strength) noexcept nogil:
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


cdef double repeated_weight(const Lazy* m, Py_ssize_t j, double strength, double* total) noexcept nogil:
    """Apply the missed steps one by one; ``total`` gets the sum over those that are averaged."""
    cdef double w = m.stored[j], rate = 0.0
    cdef int64_t step = m.last[j]
    cdef bint own = m.rule == OWN_STEP
    if own:
        rate = m.eta0 / sqrt(m.squares[j]) if m.squares[j] > 0.0 else 0.0
    while step < m.done and w != 0.0:
        step += 1
        w = one_prox(m, w, strength, rate if own else m.rates[step - m.base])
        if 0 < m.average <= step:
            total[0] += w
        if (m.prox.p == 0.0 and m.ridge == 0.0) or (own and rate == 0.0):
            # Rates fall: what is above the first threshold is above the others.
            if 0 < m.average <= m.done:
                total[0] += w * <double>(m.done - max(step, m.average - 1))
            break
    return w


cdef double own_weight(const Lazy* m, Py_ssize_t j, double strength) noexcept nogil:
    """Apply the missed steps, all of one size, in closed form for p = 1 and 2."""
    cdef double w = m.stored[j], missed = <double>(m.done - m.last[j])
    cdef double rate, ridge = m.ridge, lost, size = fabs(w)
    if w == 0.0 or missed == 0.0 or m.squares[j] == 0.0:
        return w
    rate = m.eta0 / sqrt(m.squares[j])
    if m.prox.p == 2.0:
        ridge += 2.0 * strength
        strength = 0.0
    if ridge == 0.0:
        size -= missed * (rate * strength)
    else:
        lost = -expm1(-missed * log1p(rate * ridge))
        size -= (size + strength / ridge) * lost
    return copysign(size, w) if size > 0.0 else 0.0


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


cdef void settle_all(Lazy* m, double sparsity_threshold) noexcept nogil:
    """Apply what every feature missed, then the mask, and start the clock again."""
    cdef Py_ssize_t j
    cdef double total, w
    for j in range(m.n_features):
        w = caught_up(m, j, &total)
        if m.sums != NULL:
            m.sums[j] += total
        m.stored[j] = 0.0 if fabs(w) <= sparsity_threshold else w
        if m.last != NULL:
            m.last[j] = m.done
    m.base = m.done
    m.shift = m.inverse = m.ratio = 0.0
    m.growth = 1.0


cdef inline void tick(Lazy* m, double rate) noexcept nogil:
    """Count a step, whose penalty every feature has yet to get."""
    cdef int64_t slot
    m.done += 1
    if m.rule == CLOSED:
        m.shift += rate * m.growth
        m.growth *= 1.0 + rate * m.ridge
    if m.room > 0:
        slot = m.done - m.base
        m.rates[slot] = rate
        if m.rule == CLOSED:
            m.inverse += 1.0 / m.growth
            m.ratio += m.shift / m.growth
            m.shifts[slot] = m.shift
            m.inverses[slot] = m.inverse
            m.ratios[slot] = m.ratio
        if slot == m.room:
            settle_all(m, 0.0)
    if m.growth > LARGEST_GROWTH or m.alpha * m.shift > LARGEST_SHIFT * m.growth:
        settle_all(m, 0.0)
    if m.mask_interval > 0 and m.done % m.mask_interval == 0:
        settle_all(m, m.sparsity_threshold)


cdef inline double own_step(double eta0, double* squares, double gradient) noexcept nogil:
    squares[0] += gradient * gradient
    return eta0 / sqrt(squares[0]) * gradient if squares[0] > 0.0 else 0.0


cdef bint learn(
    Lazy* m,
    const real_t* data,        # IN, the sample
    const index_t* indices,    # IN
    Py_ssize_t n_stored,
    double y,
    double weight,
    double* values,            # OUT, (n_stored,): the sample after dropout
    double* weights,           # OUT, (n_stored,)
) noexcept nogil:
    """Take one step; False, and nothing written, where the prediction is not finite."""
    cdef:
        Py_ssize_t k, j
        bint simple = m.average == 0 and m.factor == NULL
        bint plain = simple and m.rule == CLOSED
        bint own = simple and m.rule == OWN_STEP and (m.prox.p == 1.0 or m.prox.p == 2.0)
        double strength = 0.0 if m.prox.p == 2.0 else m.alpha
        double shift = strength * m.shift, growth = m.growth, inverse = 1.0 / m.growth
        double f = m.intercept, rest = 0.0, value, slope, rate, step, w, other, total
        double scale = 1.0 / (1.0 - m.dropout)
        double* stored = m.stored
    if m.dropout > 0.0:
        for k in range(n_stored):
            values[k] = 0.0 if is_dropped(m, m.done + 1, indices[k]) else data[k] * scale
    else:
        for k in range(n_stored):
            values[k] = data[k]
    if plain:
        # Two sums: an addition waits 4 cycles for the one before.
        for k in range(0, n_stored - 1, 2):
            w = unshifted(stored[indices[k]], shift) * inverse
            other = unshifted(stored[indices[k + 1]], shift) * inverse
            weights[k] = w
            weights[k + 1] = other
            f += w * values[k]
            rest += other * values[k + 1]
        if n_stored % 2 == 1:
            k = n_stored - 1
            w = unshifted(stored[indices[k]], shift) * inverse
            weights[k] = w
            f += w * values[k]
        f += rest
    elif own and m.prox.p == 1.0 and m.ridge == 0.0:
        # The same as own_weight, without its branches.
        step = m.alpha * m.eta0
        for k in range(n_stored):
            j = indices[k]
            w = stored[j]
            shift = step * <double>(m.done - m.last[j]) / sqrt(fmax_of(m.squares[j], TINY))
            weights[k] = unshifted(w, shift if m.squares[j] > 0.0 else 0.0)
            f += weights[k] * values[k]
    elif own:
        for k in range(n_stored):
            w = own_weight(m, indices[k], m.alpha)
            weights[k] = w
            f += w * values[k]
    else:
        for k in range(n_stored):
            w = 0.0
            if values[k] != 0.0:
                w = caught_up(m, indices[k], &total)
            weights[k] = w
            f += w * values[k]
    if not isfinite(f):
        return False
    slope = slope_of(m.loss, m.epsilon, y, f, &value)
    m.loss_sum += weight * value
    m.weight_sum += weight
    m.touched += n_stored
    slope = fmin(fmax(slope, -LARGEST_SLOPE), LARGEST_SLOPE) * weight
    rate = rate_of(m, m.done + 1)
    if slope != 0.0:
        if plain:
            step = rate * slope
            for k in range(n_stored):
                w = weights[k] - step * values[k]
                # A weight of 0 stays so: |c| = shift is no weight yet.
                stored[indices[k]] = copysign(fabs(w) * growth + shift, w)
        elif own:
            for k in range(n_stored):
                if values[k] != 0.0:
                    j = indices[k]
                    m.last[j] = m.done
                    stored[j] = weights[k] - own_step(m.eta0, &m.squares[j], slope * values[k])
        else:
            for k in range(n_stored):
                if values[k] != 0.0:
                    write_back(m, indices[k], weights[k], slope * values[k], rate)
        if m.fit_intercept:
            if m.rule == OWN_STEP:
                m.intercept -= own_step(m.eta0, &m.intercept_squares, slope)
            else:
                m.intercept -= rate * slope
    if 0 < m.average <= m.done + 1:
        m.intercept_sum += m.intercept
    tick(m, rate)
    return True


cdef inline void write_back(Lazy* m, Py_ssize_t j, double w, double gradient, double rate) noexcept nogil:
    cdef double total, strength = 0.0 if m.prox.p == 2.0 else strength_of(m, j)
    if m.factor != NULL and not isfinite(m.factor[j]):
        return
    if m.sums != NULL:
        caught_up(m, j, &total)
        m.sums[j] += total
    if m.last != NULL:
        m.last[j] = m.done
    if m.rule == OWN_STEP:
        m.stored[j] = w - own_step(m.eta0, &m.squares[j], gradient)
        return
    w -= rate * gradient
    if m.rule == CLOSED:
        w = copysign(fabs(w) * m.growth + strength * m.shift, w)
    m.stored[j] = w


cdef class LazyModel:
    """Coefficients and an intercept that learn from one sample after the other.

    Parameters
    ----------
    coef : ndarray of shape (n_features,), dtype float64
        The start; copied.
    intercept : float
    penalty_factor : ndarray of shape (n_features,), dtype float64, or None
    settings : dict
        ``loss``, ``learning_rate``, ``p``, ``alpha``, ``l2_reg``, ``epsilon``, ``eta0``, ``power_t``, ``dropout``,
        ``seed``, ``mask_interval``, ``sparsity_threshold``, ``average``, ``fit_intercept``. Not checked.
    """

    cdef Lazy m
    cdef readonly dict settings
    cdef readonly object penalty_factor
    cdef object arrays

    def __init__(self, coef, double intercept, penalty_factor, dict settings):
        cdef Py_ssize_t n_features = coef.shape[0]
        self.m.n_features = n_features
        self.arrays = {"stored": np.array(coef, dtype=np.float64)}
        self.m.intercept = intercept
        self.m.intercept_squares = self.m.intercept_sum = 0.0
        self.m.base = self.m.done = self.m.touched = 0
        self.m.shift = self.m.inverse = self.m.ratio = 0.0
        self.m.growth = 1.0
        self.m.loss_sum = self.m.weight_sum = 0.0
        self.penalty_factor = penalty_factor
        self.settings = dict(settings)
        self._configure()
        if penalty_factor is not None:
            self.arrays["stored"][np.isinf(penalty_factor)] = 0.0

    def __reduce__(self):
        cdef Lazy* m = &self.m
        clock = (m.average, m.base, m.done, m.touched, m.shift, m.growth, m.inverse, m.ratio)
        rest = (m.intercept, m.intercept_squares, m.intercept_sum, m.loss_sum, m.weight_sum)
        return (_restored, (self.arrays, clock, rest, self.penalty_factor, self.settings))

    def _configure(self):
        """Set up the rule and its arrays; weights are as they are after step ``done``."""
        settings, n_features = self.settings, self.m.n_features
        factors = self.penalty_factor
        lp_prox_init(&self.m.prox, settings["p"])
        self.m.loss = <SampleLoss><int>LOSSES[settings["loss"]]
        self.m.rate = <Rate><int>RATES[settings["learning_rate"]]
        self.m.alpha = settings["alpha"]
        self.m.ridge = settings["l2_reg"]
        for_all = 1.0 if factors is None else (factors[0] if n_features and (factors == factors[0]).all() else None)
        if self.m.rate == ADAGRAD:
            self.m.rule = OWN_STEP
        elif settings["p"] == 1.0 or (settings["p"] == 2.0 and for_all is not None):
            self.m.rule = CLOSED
            if settings["p"] == 2.0 and np.isfinite(for_all):
                self.m.ridge += 2.0 * self.m.alpha * for_all
        else:
            self.m.rule = REPEATED
        self.m.epsilon = settings["epsilon"]
        self.m.eta0 = settings["eta0"]
        self.m.power_t = settings["power_t"]
        self.m.dropout = settings["dropout"]
        self.m.seed = settings["seed"]
        self.m.mask_interval = settings["mask_interval"]
        self.m.sparsity_threshold = settings["sparsity_threshold"]
        self.m.average = settings["average"]
        self.m.fit_intercept = settings["fit_intercept"]
        self.m.optimal_start = 0.0
        if self.m.rate == OPTIMAL:
            # Bottou's heuristic, as scikit-learn has it: the first step fits a weight of typical size.
            typical = self.m.alpha ** -0.25
            self.m.optimal_start = max(1.0, self._steepest(typical)) / (typical * self.m.alpha)
        keeps = self.m.rule == REPEATED or (self.m.rule == CLOSED and self.m.average > 0)
        self.m.room = max(n_features, SHORTEST_HISTORY) if keeps else 0
        wanted = {"last": keeps or self.m.rule == OWN_STEP, "squares": self.m.rule == OWN_STEP,
                  "sums": self.m.average > 0}
        for name in wanted:
            if not wanted[name]:
                self.arrays.pop(name, None)
            elif name not in self.arrays:
                kind = np.int64 if name == "last" else np.float64
                self.arrays[name] = np.full(n_features, self.m.done if name == "last" else 0, dtype=kind)
        for name in ("rates", "shifts", "inverses", "ratios"):
            if not keeps or (name != "rates" and self.m.rule == REPEATED):
                self.arrays.pop(name, None)
            elif name not in self.arrays:
                self.arrays[name] = np.zeros(self.m.room + 1)
        self._point()

    cdef double _steepest(self, double size):
        cdef double value
        return fabs(slope_of(self.m.loss, self.m.epsilon, 1.0, -size, &value))

    cdef void _point(self):
        cdef const double[::1] factor
        cdef int64_t[::1] last
        self.m.factor = NULL
        self.m.last = NULL
        if self.penalty_factor is not None and self.m.n_features:
            factor = self.penalty_factor
            self.m.factor = &factor[0]
        if "last" in self.arrays and self.m.n_features:
            last = self.arrays["last"]
            self.m.last = &last[0]
        self.m.stored = self._array("stored")
        self.m.squares = self._array("squares")
        self.m.sums = self._array("sums")
        self.m.rates = self._array("rates")
        self.m.shifts = self._array("shifts")
        self.m.inverses = self._array("inverses")
        self.m.ratios = self._array("ratios")

    cdef double* _array(self, str name):
        cdef double[::1] values
        if name not in self.arrays or not self.m.n_features:
            return NULL
        values = self.arrays[name]
        return &values[0]

    def configure(self, penalty_factor, dict settings):
        """Go on with other settings; equal ones change nothing, not even a bit.

        Sums of an average that goes on are kept, and so are the steps of adagrad.
        """
        same = self.penalty_factor is penalty_factor or np.array_equal(self.penalty_factor, penalty_factor)
        if self.settings == settings and same:
            return
        with nogil:
            settle_all(&self.m, 0.0)
        averaged = "sums" in self.arrays
        self.settings, self.penalty_factor = dict(settings), penalty_factor
        self._configure()
        if self.m.average > 0 and not averaged:
            self.m.average = max(self.m.average, self.m.done + 1)
            self.m.intercept_sum = 0.0

    def settle(self, double sparsity_threshold):
        """Apply the penalties that features missed, and the mask."""
        with nogil:
            settle_all(&self.m, sparsity_threshold)

    def coefficients(self, double sparsity_threshold):
        """Return coefficients and intercept after all steps, averaged where that has begun, and masked."""
        cdef double[::1] out = np.empty(self.m.n_features)
        cdef Py_ssize_t j
        cdef double total, w, intercept = self.m.intercept
        cdef double n_averaged = self.m.done - self.m.average + 1 if 0 < self.m.average <= self.m.done else 0
        with nogil:
            for j in range(self.m.n_features):
                w = caught_up(&self.m, j, &total)
                if n_averaged > 0.0:
                    w = (self.m.sums[j] + total) / n_averaged
                out[j] = 0.0 if fabs(w) <= sparsity_threshold else w
        if n_averaged > 0.0:
            intercept = self.m.intercept_sum / n_averaged
        return np.asarray(out), intercept

    def mean_loss(self):
        """Return the mean loss of the samples since the last call, each before its step."""
        mean = self.m.loss_sum / self.m.weight_sum if self.m.weight_sum > 0.0 else 0.0
        self.m.loss_sum = self.m.weight_sum = 0.0
        return mean

    @property
    def n_steps(self):
        """Steps so far."""
        return self.m.done

    @property
    def n_touched(self):
        """Stored values that steps have read so far."""
        return self.m.touched


def _restored(arrays, clock, rest, penalty_factor, settings):
    cdef LazyModel model = LazyModel(arrays["stored"], 0.0, penalty_factor, settings)
    cdef Lazy* m = &model.m
    model.arrays = {name: np.array(values) for name, values in arrays.items()}
    m.average, m.base, m.done, m.touched, m.shift, m.growth, m.inverse, m.ratio = clock
    m.intercept, m.intercept_squares, m.intercept_sum, m.loss_sum, m.weight_sum = rest
    model._point()
    return model


def run(
    LazyModel model not None,
    const real_t[::1] data not None,       # IN
    const index_t[::1] indices not None,   # IN
    const index_t[::1] indptr not None,    # IN
    const double[::1] y not None,          # IN, (n_samples,)
    const double[::1] weights not None,    # IN, (n_samples,), or empty for ones
    const int64_t[::1] order not None,     # IN, samples in their order, or empty for all in turn
    double[:, ::1] scratch not None,       # OUT, (2, longest row)
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Learn from samples ``order[start:stop]``; return how far it came: less where a prediction overflowed.

    Not checked: X is canonical CSR with the features of the model.
    """
    cdef:
        Lazy* m = &model.m
        Py_ssize_t n, i, following, k, first
        bint shuffled = order.shape[0] > 0, weighted = weights.shape[0] > 0
        const real_t* values = &data[0] if data.shape[0] else NULL
        const index_t* columns = &indices[0] if indices.shape[0] else NULL
    with nogil:
        for n in range(start, stop):
            i = order[n] if shuffled else n
            if n + 1 < stop:
                # The misses of the next sample overlap with this one.
                following = order[n + 1] if shuffled else n + 1
                for k in range(indptr[following], indptr[following + 1]):
                    SPARSELP_FETCH(m.stored + columns[k])
                if m.rule == OWN_STEP:
                    for k in range(indptr[following], indptr[following + 1]):
                        SPARSELP_FETCH(m.squares + columns[k])
                        SPARSELP_FETCH(m.last + columns[k])
            first = indptr[i]
            if not learn(
                m, values + first, columns + first, indptr[i + 1] - first, y[i],
                weights[i] if weighted else 1.0, &scratch[0, 0], &scratch[1, 0],
            ):
                stop = n
                break
    return stop
