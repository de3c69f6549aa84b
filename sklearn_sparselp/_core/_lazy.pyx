# Stochastic gradient steps whose penalty is applied lazily.
# A step reads and writes the stored values of one sample. The penalty of the steps that a feature missed is applied
# when it is next seen: in closed form for p = 1 and 2, else one proximal map a step while the weight is not zero.
#
# Step t with rate r visits a sample with weight v, mostly 1: w -= r v g x on the sample's
# features, then w = prox of r v (alpha u |w|^p + ridge w^2 / 2) on all. Below r stands for r v.
# With P_t = (1 + r_1 ridge) ... (1 + r_t ridge) and A_t = sum_s r_s P_(s-1), a weight that p = 1 leaves alone is
# |w_t| = max(|c| - alpha u A_t, 0) / P_t for a constant c: c is what `stored` holds, so that the clock A, P is all
# that a step without gradient moves. p = 2 is the same with a larger ridge.

import numpy as np

from libc.math cimport copysign, fabs, fmax, fmin, isfinite, sqrt
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from ._lazy_state cimport (
    ADAGRAD, CLOSED, CONSTANT, INVSCALING, Lazy, OPTIMAL, OWN_STEP, Own, REPEATED, Rate, caught_up, is_dropped,
    own_weight, rate_of, settle_all, strength_of, tick,
)
from ._prox cimport lp_prox_init
from ._sample_loss cimport (
    EPSILON_INSENSITIVE, HINGE, HUBER, LOG_LOSS, MODIFIED_HUBER, SQUARED_ERROR, SQUARED_HINGE, SampleLoss, slope_of,
)
from ._steps cimport SPARSELP_FETCH, gather_closed, gather_own, step_closed, step_own
from ._types cimport index_t, real_t

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
# Steps that are kept at least; with n_features of them a look at all features costs one feature a step.
SHORTEST_HISTORY = 4096

cdef double implicit_slope(
    const Lazy* m, double y, double f, double slope, double step, const double* values, const index_t* indices,
    Py_ssize_t n_stored,
) noexcept nogil:
    """Return g = loss'(f - step g |x|^2), between 0 and ``slope``: a heavy step ends no further than its sample.

    Implicit steps: Toulis and Airoldi, Annals of Statistics 45 (2017).
    """
    cdef double reach = 1.0 if m.fit_intercept else 0.0, low = 0.0, high = 1.0, middle, value, there
    cdef Py_ssize_t k
    for k in range(n_stored):
        if m.factor == NULL or isfinite(m.factor[indices[k]]):
            reach += values[k] * values[k]
    reach *= step
    for _ in range(100):
        middle = 0.5 * (low + high)
        there = slope_of(m.loss, m.epsilon, y, f - reach * middle * slope, &value)
        if middle * slope * slope > there * slope:
            high = middle
        else:
            low = middle
    return low * slope


cdef bint learn(
    Lazy* m,
    const real_t* data,        # IN, the sample
    const index_t* indices,    # IN
    Py_ssize_t n_stored,
    double y,
    double weight,             # of the visit
    double* values,            # OUT, (n_stored,): the sample after dropout, where it is not ``data`` itself
    double* weights,           # OUT, (n_stored,)
    double* squares,           # OUT, (n_stored,)
    double* rates,             # OUT, (n_stored,)
    const index_t* coming,     # IN, features of the next sample
    Py_ssize_t n_coming,
) noexcept nogil:
    """Take one step; False, and nothing written, where the prediction is not finite."""
    cdef:
        Py_ssize_t k
        bint wide = sizeof(index_t) == 8
        bint simple = m.average == 0 and m.factor == NULL
        bint plain = simple and m.rule == CLOSED
        bint own = simple and m.rule == OWN_STEP and (m.prox.p == 1.0 or m.prox.p == 2.0)
        double strength = 0.0 if m.prox.p == 2.0 else m.alpha
        double shift = strength * m.shift, growth = m.growth
        double f = m.intercept, value, slope, rate, step, w, total
        double scale = 1.0 / (1.0 - m.dropout)
    if real_t is double and m.dropout == 0.0:
        values = <double*>data
    elif m.dropout > 0.0:
        for k in range(n_stored):
            values[k] = 0.0 if is_dropped(m, m.done + 1, indices[k]) else data[k] * scale
    else:
        for k in range(n_stored):
            values[k] = data[k]
    if plain:
        f += gather_closed(m.stored, indices, wide, values, n_stored, shift, 1.0 / growth, weights)
    elif own and m.prox.p == 1.0 and m.ridge == 0.0:
        f += gather_own(<double*>m.own, indices, wide, values, n_stored, m.alpha, m.clock, weights, squares)
    elif own:
        for k in range(n_stored):
            w = own_weight(m, indices[k], m.alpha)
            squares[k] = m.own[indices[k]].squares
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
    slope = fmin(fmax(slope, -LARGEST_SLOPE), LARGEST_SLOPE)
    rate = rate_of(m, m.done + 1)
    if weight > 1.0 and m.rule != OWN_STEP:
        slope = implicit_slope(m, y, f, slope, rate * weight, values, indices, n_stored)
    slope *= weight
    if slope != 0.0:
        if plain:
            step = rate * slope
            step_closed(m.stored, indices, wide, values, n_stored, step, growth, shift, weights, coming, n_coming)
        elif own:
            step_own(
                <double*>m.own, indices, wide, values, n_stored, slope, m.eta0, m.clock, weights, squares, rates,
                coming, n_coming,
            )
        else:
            for k in range(n_coming):
                SPARSELP_FETCH(<void*>(m.own + coming[k]) if m.rule == OWN_STEP else <void*>(m.stored + coming[k]))
            for k in range(n_stored):
                if values[k] != 0.0:
                    write_back(m, indices[k], weights[k], slope * values[k], rate)
        if m.fit_intercept:
            if m.rule == OWN_STEP:
                m.intercept_squares += slope * slope
                m.intercept -= own_rate(m.eta0, m.intercept_squares) * slope
            else:
                m.intercept -= rate * slope
    if 0 < m.average <= m.done + 1:
        m.intercept_sum += m.intercept
    tick(m, rate, weight)
    return True


cdef inline double own_rate(double eta0, double squares) noexcept nogil:
    return eta0 / sqrt(squares) if squares > 0.0 else 0.0


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
        m.own[j].squares += gradient * gradient
        m.own[j].rate = own_rate(m.eta0, m.own[j].squares)
        m.own[j].weight = w - m.own[j].rate * gradient
        m.own[j].clock = m.clock
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
        self.m.shift = self.m.inverse = self.m.ratio = self.m.clock = 0.0
        self.m.growth = 1.0
        self.m.uneven = False
        self.m.loss_sum = self.m.weight_sum = 0.0
        self.penalty_factor = penalty_factor
        self.settings = dict(settings)
        if penalty_factor is not None:
            self.arrays["stored"][np.isinf(penalty_factor)] = 0.0
        self._configure()

    def __reduce__(self):
        cdef Lazy* m = &self.m
        clock = (m.average, m.base, m.done, m.touched, m.shift, m.growth, m.inverse, m.ratio, m.clock, m.uneven)
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
        keeps = self.m.rule == REPEATED or self.m.average > 0 or settings["p"] not in (1.0, 2.0)
        self.m.room = max(n_features, SHORTEST_HISTORY) if keeps else 0
        if self.m.rule == OWN_STEP:
            if "own" not in self.arrays:
                self.arrays["own"] = aligned(n_features)
                stored = self.arrays.pop("stored")
                # Pages of zeros that nobody has touched cost nothing: a tenth of five epochs over news20.binary.
                if stored.any():
                    self.arrays["own"][:, 0] = stored
            else:
                roots = np.sqrt(self.arrays["own"][:, 1])
                self.arrays["own"][:, 2] = np.divide(self.m.eta0, roots, out=np.zeros(n_features), where=roots > 0.0)
        elif "own" in self.arrays:
            self.arrays["stored"] = self.arrays.pop("own")[:, 0].copy()
        wanted = {"last": keeps, "sums": self.m.average > 0}
        for name in wanted:
            if not wanted[name]:
                self.arrays.pop(name, None)
            elif name not in self.arrays:
                kind = np.int64 if name == "last" else np.float64
                self.arrays[name] = np.full(n_features, self.m.done if name == "last" else 0, dtype=kind)
        for name in ("rates", "shifts", "inverses", "ratios"):
            if not keeps or (name != "rates" and self.m.rule != CLOSED):
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
        self.m.own = <Own*>self._array("own")
        self.m.sums = self._array("sums")
        self.m.rates = self._array("rates")
        self.m.shifts = self._array("shifts")
        self.m.inverses = self._array("inverses")
        self.m.ratios = self._array("ratios")

    cdef double* _array(self, str name):
        cdef double[::1] values
        if name not in self.arrays or not self.m.n_features:
            return NULL
        values = self.arrays[name].reshape(-1)
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
        cdef double[::1] out = np.zeros(self.m.n_features)
        cdef Py_ssize_t j
        cdef double total, w, intercept = self.m.intercept
        cdef double n_averaged = self.m.done - self.m.average + 1 if 0 < self.m.average <= self.m.done else 0
        with nogil:
            for j in range(self.m.n_features):
                # Most features of a sparse model; a penalty leaves 0 as it is.
                if self.m.own != NULL and self.m.own[j].weight == 0.0 and n_averaged == 0.0:
                    continue
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


def aligned(n_features):
    """Return zeros for records of features, each within one cache line."""
    memory = np.zeros(4 * n_features + 8)
    start = -memory.ctypes.data // 8 % 8
    return memory[start : start + 4 * n_features].reshape(n_features, 4)


def _restored(arrays, clock, rest, penalty_factor, settings):
    coef = arrays["own"][:, 0] if "own" in arrays else arrays["stored"]
    cdef LazyModel model = LazyModel(coef, 0.0, penalty_factor, settings)
    cdef Lazy* m = &model.m
    model.arrays = {name: np.array(values) for name, values in arrays.items() if name != "own"}
    if "own" in arrays:
        model.arrays["own"] = aligned(coef.shape[0])
        model.arrays["own"][:] = arrays["own"]
    m.average, m.base, m.done, m.touched, m.shift, m.growth, m.inverse, m.ratio, m.clock, m.uneven = clock
    m.intercept, m.intercept_squares, m.intercept_sum, m.loss_sum, m.weight_sum = rest
    model._point()
    return model


cdef inline uint64_t scrambled(uint64_t bits) noexcept nogil:
    # The finisher of SplitMix64.
    bits = (bits ^ (bits >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    bits = (bits ^ (bits >> 27)) * <uint64_t>0x94D049BB133111EB
    return bits ^ (bits >> 31)


cdef inline uint64_t bits_of(double value) noexcept nogil:
    cdef uint64_t bits = 0
    memcpy(&bits, &value, sizeof(double))
    return bits


def sample_keys(
    const real_t[::1] data not None,       # IN
    const index_t[::1] indices not None,   # IN
    const index_t[::1] indptr not None,    # IN
    bint shared,                           # whether all rows have the same indices, stored once
    const double[::1] y not None,          # IN, (n_samples,)
    const double[::1] weights not None,    # IN, (n_samples,), or empty for ones
):
    """Return a number for each sample, dtype uint64, that depends on its values, target and weight only."""
    cdef:
        uint64_t[::1] keys = np.empty(y.shape[0], dtype=np.uint64)
        Py_ssize_t i, k, skipped
        uint64_t key, bits
        bint weighted = weights.shape[0] > 0
    with nogil:
        for i in range(y.shape[0]):
            key = 0
            skipped = indptr[i] if shared else 0
            for k in range(indptr[i], indptr[i + 1]):
                if data[k] != 0.0:
                    # The high bits of a double are few: products bring them down.
                    bits = bits_of(data[k]) + <uint64_t>indices[k - skipped] * <uint64_t>0xD1B54A32D192ED03
                    bits = (bits ^ (bits >> 32)) * <uint64_t>0x9E3779B97F4A7C15
                    key += bits ^ (bits >> 29)
            key = scrambled(key + bits_of(y[i]))
            keys[i] = scrambled(key + bits_of(weights[i] if weighted else 1.0))
    return np.asarray(keys)


def run(
    LazyModel model not None,
    const real_t[::1] data not None,       # IN
    const index_t[::1] indices not None,   # IN
    const index_t[::1] indptr not None,    # IN
    bint shared,                           # whether all rows have the same indices, stored once
    const double[::1] y not None,          # IN, (n_samples,)
    const double[::1] weights not None,    # IN, (n_samples,), of visits, or empty for ones
    const int64_t[::1] order not None,     # IN, samples as they are visited
    double[:, ::1] scratch not None,       # OUT, (4, longest row)
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Learn from samples ``order[start:stop]``; return how far it came: less where a prediction overflowed.

    Not checked: X is canonical CSR with the features of the model.
    """
    cdef:
        Lazy* m = &model.m
        Py_ssize_t n, i, k, following, first, n_coming
        bint weighted = weights.shape[0] > 0
        const real_t* values = &data[0] if data.shape[0] else NULL
        const index_t* columns = &indices[0] if indices.shape[0] else NULL
        const index_t* coming = columns
    with nogil:
        for n in range(start, stop):
            i = order[n]
            # In a random order nothing is in the caches: without the rows to come a step takes twice the time.
            if n + 4 < stop:
                following = order[n + 4]
                first = indptr[following]
                # The processor sees for itself how a long row goes on.
                for k in range(first, first + min(indptr[following + 1] - first, 128), 8):
                    SPARSELP_FETCH(values + k)
                    if not shared:
                        SPARSELP_FETCH(columns + k)
            n_coming = 0
            if n + 1 < stop and not shared:
                coming = columns + indptr[order[n + 1]]
                n_coming = indptr[order[n + 1] + 1] - indptr[order[n + 1]]
            first = indptr[i]
            if not learn(
                m, values + first, columns if shared else columns + first, indptr[i + 1] - first, y[i],
                weights[i] if weighted else 1.0, &scratch[0, 0], &scratch[1, 0], &scratch[2, 0], &scratch[3, 0],
                coming, n_coming,
            ):
                stop = n
                break
    return stop
