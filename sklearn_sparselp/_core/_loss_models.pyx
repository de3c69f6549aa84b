# Newton models of a smooth loss on some columns, each solved on its Gram matrix, for one strength after the other.
# The matrix is made outside, where threads and storage are known: a call ends where it wants one. Between two
# matrices the models keep the curvature of the first: a step then costs two passes over the columns and the loss.

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, fabs, fmax, log
from libc.string cimport memcpy

import numpy as np

from ._columns cimport axpy_double  # no-cython-lint: its file defines SPARSELP_CLONES
from ._gram_path cimport Fit, descend, walk
from ._loss cimport Loss
from ._newton cimport accumulate_of, products_of
from ._types cimport int32_t, int64_t, minor_t, real_t

# How a call ends.
cdef enum:
    ENDED, WANTS_MATRIX, GAVE_UP, INTERRUPTED
DONE, MATRIX, LOST, PAUSED = ENDED, WANTS_MATRIX, GAVE_UP, INTERRUPTED

# Models for one strength, and points that are tried on the way to the end of one, at most.
cdef int MOST_MODELS = 40
cdef int HALVINGS = 6
# Differences of objectives below this fraction are rounding.
cdef double ROUNDING = 4e-15
# What rounding makes of a gradient of 0, of the largest at w = 0 of a model.
cdef double NOISE = 1e-13
# Steps on an old matrix that may be needed still, at most, before a new one is worth its price.
cdef double MOST_CHORDS = 2.0
# A fit starts on the matrix of the former one where curvatures have changed by no more than this share.
cdef double FARTHEST = 0.5
# Columns whose gradient is at least so much of the strength are in the matrix with the support.
cdef double NEAR = 0.9
# With so many columns a factor takes longer than some epochs, which may do.
cdef Py_ssize_t WALK_FROM = 128
# Inner tolerances for one strength.
cdef int MOST_TRIES = 20
# Additions in one call, about: 50 ms of work.
cdef Py_ssize_t WORK_PER_CALL = 50_000_000
# What the loss of a sample takes.
cdef Py_ssize_t LOSS_WORK = 20


cdef class LossModels:
    """Where a sequence of fits stands: predictions, coefficients of some columns, and the last matrix.

    Parameters
    ----------
    loss : Loss
    y, weights : ndarray of shape (n_samples,)
        Targets, labels 0 and 1 for log loss, and weights that sum to one.
    fit_intercept : bool
    l2_reg : float

    Attributes
    ----------
    prediction, raw_gradient, curvature : ndarray of shape (n_samples,)
        ``X w + b`` and the derivatives of the loss there; views that hold until the next step.
    members : ndarray of shape (n_members,), dtype int64
        The columns of the matrix that a call wants.
    intercept : float
        The b of the predictions.
    n_epochs : int
        Epochs of the last fit.
    """

    cdef Loss loss
    cdef const double[::1] y, weights
    cdef bint fit_intercept
    cdef double l2_reg
    # Rows: predictions, gradients and curvatures here and there (3 each, from `here` and `there`), the curvatures of
    # the matrix, and the way of the predictions.
    cdef double[:, ::1] samples
    cdef int here, there
    cdef readonly double intercept
    cdef double value
    cdef const int64_t[::1] features
    # Rows: w, gradient, factor of the strength, least curvature, bound L_j.
    cdef double[:, ::1] columns
    cdef Py_ssize_t n_columns
    # Of the matrix, rows: sums weighted by curvature, w, gradient, gradient at 0, factor, change, room of a fit (3).
    cdef double[:, ::1] inner
    cdef int64_t[::1] places, starts, stops
    cdef unsigned char[::1] inside
    cdef double[:, ::1] matrix, cholesky
    cdef int32_t[::1] order
    cdef Py_ssize_t n_members
    cdef double total
    cdef bint wanted, complete, aged
    # Of the fit that is under way.
    cdef bint begun
    cdef Py_ssize_t n_models, epochs, polishes, tries
    cdef double accuracy, gap, violation, gap_before, violation_before, away
    cdef bint judged, outside, by_chord, profiled
    cdef Py_ssize_t n_on, n_stored, n_all, work

    def __init__(self, Loss loss not None, const double[::1] y not None, const double[::1] weights not None,
                 bint fit_intercept, double l2_reg):
        self.loss, self.y, self.weights = loss, y, weights
        self.fit_intercept, self.l2_reg = fit_intercept, l2_reg
        self.samples = np.empty((8, y.shape[0]))
        self.cholesky, self.order = np.empty((0, 0)), np.zeros(1, dtype=np.int32)
        self.here, self.there = 0, 3
        self.n_columns = self.n_members = 0
        self.begun = self.judged = self.wanted = False
        self.inner, self.places = np.empty((8, 0)), np.empty(0, dtype=np.int64)
        self.grow(0)

    @property
    def prediction(self):
        """``X w + b``."""
        return np.asarray(self.samples[self.here])

    @property
    def raw_gradient(self):
        """The derivatives of the weighted loss in the predictions."""
        return np.asarray(self.samples[self.here + 1])

    @property
    def curvature(self):
        """The second derivatives."""
        return np.asarray(self.samples[self.here + 2])

    @property
    def members(self):
        """The columns of the matrix."""
        return np.asarray(self.places[:self.n_members])

    @property
    def n_epochs(self):
        """Epochs of the last fit."""
        return self.epochs

    def go_to(self, const double[::1] prediction not None, double intercept):
        """Take over predictions, which hold an intercept, and bring that to its optimum."""
        self.samples[self.here, :] = prediction
        self.intercept = intercept
        with nogil:
            profile(self)
        self.judged = False

    def take_columns(
        self,
        const int64_t[::1] features not None,    # IN, (n_columns,), ascending
        const double[::1] w not None,            # IN, (n_features,)
        const double[::1] factor not None,       # IN, (n_features,), or empty for ones
        const double[::1] lipschitz not None,    # IN, (n_features,)
        double flat,
    ):
        """Take over columns: their coefficients, which the predictions hold, and what is known of each.

        No matrix bends one less than ``flat`` times the bound L_j. The last matrix stays where all its columns are
        among these.
        """
        cdef Py_ssize_t k, j, place = 0, size = features.shape[0], capacity = self.columns.shape[1]
        if size > capacity:
            self.grow(size + size // 2)
        if self.wanted:
            # It has not come.
            self.n_members, self.wanted = 0, False
        for k in range(self.n_members):
            j = self.features[self.places[k]]
            while place < size and features[place] < j:
                place += 1
            if place == size or features[place] != j:
                self.n_members = 0
                break
            self.places[k] = place
        for k in range(size):
            j = features[k]
            self.columns[0, k] = w[j]
            self.columns[2, k] = factor[j] if factor.shape[0] else 1.0
            self.columns[3, k] = flat * (lipschitz[j] - self.l2_reg)
            self.columns[4, k] = lipschitz[j]
            self.inside[k] = False
        for k in range(self.n_members):
            self.inside[self.places[k]] = True
        self.features, self.n_columns = features, size
        self.judged = self.begun = False

    cdef grow(self, Py_ssize_t capacity):
        # Make room for more columns; the members of the matrix stay.
        cdef double[:, ::1] inner = self.inner
        cdef int64_t[::1] places = self.places
        cdef Py_ssize_t k
        self.columns, self.inner = np.empty((5, capacity)), np.empty((8, capacity))
        self.places, self.starts, self.stops = np.empty((3, capacity), dtype=np.int64)
        self.inside = np.empty(capacity, dtype=np.uint8)
        for k in range(self.n_members):
            self.inner[0, k], self.places[k] = inner[0, k], places[k]

    def put(self, double[::1] w not None):
        """Write the coefficients of the columns where they belong."""
        cdef Py_ssize_t k
        for k in range(self.n_columns):
            w[self.features[k]] = self.columns[0, k]

    def take_matrix(self, double[:, ::1] matrix not None):
        """Take over the matrix of the `members` at the present curvature; it is centred in place."""
        cdef Py_ssize_t size = self.n_members, room
        self.matrix = matrix
        if self.cholesky.shape[0] < size:
            room = size + size // 2
            self.cholesky = np.empty((room, room))
            self.order = np.zeros(room + 1, dtype=np.int32)
        self.order[self.cholesky.shape[0]] = 0
        self.samples[6, :] = self.samples[self.here + 2, :]
        self.wanted = self.complete = self.aged = False


cdef void profile(LossModels m) noexcept nogil:
    # Bring the intercept to its optimum, and loss and derivatives to the predictions.
    cdef Py_ssize_t i, n = m.samples.shape[1]
    cdef double* f = &m.samples[m.here, 0]
    cdef double shift
    if m.fit_intercept:
        shift = m.loss.search_shift(&m.y[0], f, &m.weights[0], n, 0.0)
        if shift != 0.0:
            for i in range(n):
                f[i] += shift
            m.intercept = m.intercept + shift
    m.value = m.loss.differentiate(
        &m.y[0], f, &m.weights[0], n, &m.samples[m.here + 1, 0], &m.samples[m.here + 2, 0]
    )
    m.profiled = True


cdef void judge(LossModels m, const int64_t* start, const int64_t* stop, double alpha) noexcept nogil:
    # How far the problem of the columns is from its solution, and what a model of it would hold.
    # With f the predictions and g the derivatives the gap at the dual point t g is P(w) + t <g, f> + (1 - t)^2 q / 2,
    # q the curvature of the conjugate, to third order in 1 - t: no logarithm. The certificate decides.
    cdef Py_ssize_t k, i, n = m.samples.shape[1]
    cdef double* w = &m.columns[0, 0]
    cdef double* gradient = &m.columns[1, 0]
    cdef double* factor = &m.columns[2, 0]
    cdef double* f = &m.samples[m.here, 0]
    cdef double* raw = &m.samples[m.here + 1, 0]
    cdef double* curvature = &m.samples[m.here + 2, 0]
    cdef double* old = &m.samples[6, 0]
    cdef double bound = 1.0, penalty = 0.0, pull, strength, miss, linear = 0.0, bend = 0.0, slope = 0.0, total = 0.0
    m.violation, m.n_on, m.n_stored, m.outside = -INFINITY, 0, 0, False
    for k in range(m.n_columns):
        strength = alpha * factor[k]
        pull = fabs(gradient[k])
        if pull > bound * strength:
            bound = pull / strength
        miss = pull - strength
        if w[k] != 0.0:
            miss = fabs(gradient[k] + m.l2_reg * w[k] + (strength if w[k] > 0.0 else -strength))
            penalty += strength * fabs(w[k])
        m.violation = fmax(m.violation, miss)
        if w[k] != 0.0 or pull > strength:
            m.n_on = m.n_on + 1
            m.n_stored = m.n_stored + stop[k] - start[k]
            m.outside = m.outside or not m.inside[k]
    m.away = 0.0 if m.n_members else INFINITY
    if m.n_members and m.aged:
        for i in range(n):
            bend += fabs(curvature[i] - old[i])
            total += old[i]
        m.away = bend / total if total > 0.0 else INFINITY
    bend, total = 0.0, 0.0
    for i in range(n):
        linear += raw[i] * f[i]
        slope += raw[i]
        total += curvature[i]
        if curvature[i] > 0.0:
            bend += raw[i] * (raw[i] / curvature[i])
    pull = 1.0 / bound
    m.gap = penalty + pull * linear + 0.5 * (1.0 - pull) * (1.0 - pull) * bend
    if m.fit_intercept and total > 0.0:
        m.gap = m.gap + 0.5 * slope * slope / total


cdef bint worn(LossModels m, bint by_gap, double target) noexcept nogil:
    # Whether the matrix is too old to reach the target soon. A gap is as small as the square of a gradient.
    cdef double measure = m.gap if by_gap else m.violation
    cdef double before = m.gap_before if by_gap else m.violation_before
    cdef double rate = m.away * m.away if by_gap else m.away
    if not m.aged:
        return False
    if m.by_chord and before > 0.0:
        rate = measure / before
    if not rate < 1.0:
        return True
    if rate <= 0.0 or not measure > target:
        return False
    return log(measure / target) > -MOST_CHORDS * log(rate)


cdef bint ask(LossModels m, double alpha, Py_ssize_t most) noexcept nogil:
    # List the columns that a new matrix is wanted of; return whether these are few enough.
    if m.n_on > most:
        return False
    list_members(m, NEAR * alpha)
    if m.n_members > most:
        list_members(m, alpha)
    m.outside = m.complete = m.by_chord = False
    m.wanted = True
    return True


cdef void list_members(LossModels m, double near) noexcept nogil:
    cdef Py_ssize_t k
    m.n_members = 0
    for k in range(m.n_columns):
        m.inside[k] = m.columns[0, k] != 0.0 or fabs(m.columns[1, k]) > near * m.columns[2, k]
        if m.inside[k]:
            m.places[m.n_members] = k
            m.n_members = m.n_members + 1


cdef bint finish(LossModels m, const real_t* data, const minor_t* rows, int n_threads) noexcept nogil:
    # Centre the matrix, and let no column bend it less than a little; return whether it bends at all.
    cdef Py_ssize_t k, i, size = m.n_members
    cdef double* sums = &m.inner[0, 0]
    m.total, m.complete = 0.0, True
    if m.fit_intercept:
        for i in range(m.samples.shape[1]):
            m.total = m.total + m.samples[6, i]
        if not m.total > 0.0:
            return False
        products_of(data, rows, &m.starts[0], &m.stops[0], size, &m.samples[6, 0], sums, n_threads)
        for k in range(size):
            axpy_double(-sums[k] / m.total, sums, &m.matrix[k, 0], size)
    for k in range(size):
        m.matrix[k, k] = fmax(m.matrix[k, k], m.columns[3, m.places[k]])
    return True


cdef int step(
    LossModels m, const real_t* data, const minor_t* rows, double alpha, Py_ssize_t max_epochs, bint exact,
    int n_threads,
) except -1 nogil:
    # Go to the minimum of the model, or nearer; return whether that lowers the objective.
    cdef Py_ssize_t k, i, size = m.n_members, n = m.samples.shape[1], epochs, walked = 0
    cdef double objective = 0.0, gap = 0.0, violation = 0.0, shift = 0.0, length = 1.0, limit, value, penalty, old, new
    cdef double* sums = &m.inner[0, 0]
    cdef double* w = &m.inner[1, 0]
    cdef double* change = &m.inner[5, 0]
    cdef double* f = &m.samples[m.here, 0]
    cdef double* raw = &m.samples[m.here + 1, 0]
    cdef double* trial = &m.samples[m.there, 0]
    cdef double* way = &m.samples[7, 0]
    cdef Fit fit
    if m.fit_intercept:
        for i in range(n):
            shift -= raw[i]
        shift /= m.total
    fit.matrix, fit.stride, fit.size = &m.matrix[0, 0], m.matrix.shape[1], size
    fit.factor, fit.w, fit.gradient, fit.null_gradient = &m.inner[4, 0], w, &m.inner[2, 0], &m.inner[3, 0]
    fit.null_square, fit.alpha, fit.l2_reg, fit.positive, fit.noise = 0.0, alpha, m.l2_reg, False, 0.0
    fit.direction, fit.room = &m.inner[6, 0], &m.inner[7, 0]
    fit.cholesky, fit.order, fit.room_size = &m.cholesky[0, 0], &m.order[0], <int> m.cholesky.shape[0]
    fit.n_rows, fit.work, fit.looked, fit.fresh, fit.twins = m.order[fit.room_size], 0, 0, False, NULL
    limit = m.value
    for k in range(size):
        w[k] = m.columns[0, m.places[k]]
        fit.gradient[k] = m.columns[1, m.places[k]] + (shift * sums[k] if m.fit_intercept else 0.0)
        limit += penalty_of(m, alpha, fit.factor[k], w[k])
    memcpy(&m.inner[3, 0], fit.gradient, size * sizeof(double))
    for k in range(size):
        if w[k] != 0.0:
            axpy_double(-w[k], &m.matrix[k, 0], &m.inner[3, 0], size)
    for k in range(size):
        fit.noise = fmax(fit.noise, NOISE * fabs(fit.null_gradient[k]))
    if size > WALK_FROM and fit.n_rows == 0 and not exact:
        walked = walk(&fit, max_epochs)
    epochs = walked
    if walked <= 0:
        epochs = descend(&fit, max_epochs + walked, INFINITY, INFINITY, &objective, &gap, &violation)
        if epochs >= 0:
            epochs -= walked
    m.order[fit.room_size] = fit.n_rows
    m.work = m.work + fit.work + size * size
    if epochs < 0:
        return False
    for k in range(size):
        change[k] = w[k] - m.columns[0, m.places[k]]
        if m.fit_intercept:
            shift -= change[k] * sums[k] / m.total
    for i in range(n):
        way[i] = shift
    accumulate_of(data, rows, &m.starts[0], &m.stops[0], size, change, way, n, n_threads)
    for _ in range(HALVINGS):
        for i in range(n):
            trial[i] = f[i] + length * way[i]
        value = m.loss.differentiate(
            &m.y[0], trial, &m.weights[0], n, &m.samples[m.there + 1, 0], &m.samples[m.there + 2, 0]
        )
        m.work = m.work + LOSS_WORK * n
        penalty = 0.0
        for k in range(size):
            old = m.columns[0, m.places[k]]
            new = w[k] if length == 1.0 else old + length * change[k]
            penalty += penalty_of(m, alpha, fit.factor[k], new)
        if value + penalty <= limit + ROUNDING * fabs(limit):
            for k in range(size):
                old = m.columns[0, m.places[k]]
                m.columns[0, m.places[k]] = w[k] if length == 1.0 else old + length * change[k]
            m.value = value
            m.intercept = m.intercept + length * shift
            m.here, m.there = m.there, m.here
            m.by_chord = m.aged and length == 1.0
            m.aged, m.profiled = True, not m.fit_intercept
            m.epochs = m.epochs + epochs
            m.n_models = m.n_models + 1
            if length < 1.0:
                m.n_members = 0
            return True
        length *= 0.5
    return False


cdef inline double penalty_of(LossModels m, double alpha, double factor, double w) noexcept nogil:
    return alpha * factor * fabs(w) + 0.5 * m.l2_reg * w * w


cdef struct Aim:
    # See `follow`.
    double null_objective, gradient_scale, polished, budget
    Py_ssize_t most_columns, max_epochs
    int n_threads


cdef int fit_columns(
    LossModels m, const real_t* data, const minor_t* rows, const int64_t* start, const int64_t* stop, double alpha,
    const Aim* aim,
) except -1 nogil:
    # Solve the problem of the columns at one strength; return how that ends.
    cdef double target
    cdef bint by_gap, near
    while m.work <= WORK_PER_CALL:
        if not m.judged:
            products_of(
                data, rows, start, stop, m.n_columns, &m.samples[m.here + 1, 0], &m.columns[1, 0], aim.n_threads
            )
            judge(m, start, stop, alpha)
            m.work = m.work + m.n_all + LOSS_WORK * m.samples.shape[1]
            m.judged = True
        if m.n_on == 0:
            return ENDED
        by_gap = m.l2_reg == 0.0
        target = m.accuracy * (aim.null_objective if by_gap else aim.gradient_scale)
        near = (m.gap if by_gap else m.violation) <= target
        if near and not m.profiled:
            # Without the best intercept the gap is known to the size of a step only.
            profile(m)
            m.judged = False
            continue
        if near:
            if m.polishes == 0 or m.violation <= aim.polished or m.n_on * <double> m.n_stored > aim.budget:
                return ENDED
            by_gap, target = False, aim.polished
        if m.n_models >= MOST_MODELS or m.epochs >= aim.max_epochs:
            return GAVE_UP
        # First to where the old columns lead: of those that want to join at a new strength half would leave again.
        if m.n_members == 0 or (m.n_models > 0 or m.away > FARTHEST) and (m.outside or worn(m, by_gap, target)):
            return WANTS_MATRIX if ask(m, alpha, aim.most_columns) else GAVE_UP
        if not m.complete and not finish(m, data, rows, aim.n_threads):
            return GAVE_UP
        m.polishes = m.polishes - near
        m.gap_before, m.violation_before = m.gap, m.violation
        if step(m, data, rows, alpha, aim.max_epochs - m.epochs, near, aim.n_threads):
            m.judged = False
        elif m.aged:
            m.n_members = 0
        else:
            # Rounding leaves nothing to win: the certificate tells whether that is enough.
            return ENDED if near else GAVE_UP
    return INTERRUPTED


cdef void certify(LossModels m, double alpha, double* figures) noexcept nogil:
    # Objective, gap and largest violation of the problem of the columns, its gradients known.
    cdef Py_ssize_t k
    cdef double w, pull, strength, lipschitz, moved, bound = 1.0, excess = 0.0, objective = m.value, worst = 0.0
    for k in range(m.n_columns):
        w, pull, strength, lipschitz = m.columns[0, k], m.columns[1, k], alpha * m.columns[2, k], m.columns[4, k]
        objective += penalty_of(m, alpha, m.columns[2, k], w)
        bound = fmax(bound, fabs(pull) / strength)
        excess += fmax(fabs(pull) - strength, 0.0) ** 2
        moved = w - (pull + m.l2_reg * w) / lipschitz
        moved = fmax(fabs(moved) - strength / lipschitz, 0.0) * (1.0 if moved > 0.0 else -1.0)
        worst = fmax(worst, lipschitz * fabs(w - moved))
    figures[0] = objective
    figures[1] = objective + m.loss.conjugate_of(
        &m.y[0], &m.samples[m.here + 1, 0], 1.0 / bound if m.l2_reg == 0.0 else 1.0, &m.weights[0], m.samples.shape[1]
    )
    if m.l2_reg > 0.0:
        figures[1] += excess / (2.0 * m.l2_reg)
    figures[1] = fmax(figures[1], 0.0)
    figures[2] = worst


def follow(
    LossModels models not None,
    const real_t[::1] data not None,      # IN
    const minor_t[::1] rows not None,     # IN
    const int64_t[::1] start not None,    # IN, (n_columns,)
    const int64_t[::1] stop not None,     # IN, (n_columns,)
    const double[::1] alphas not None,    # IN, (n_alphas,), above 0
    Py_ssize_t n_done,
    double[:, ::1] coefs not None,        # OUT, (n_alphas, n_columns)
    double[:, ::1] figures not None,      # OUT, (n_alphas, 5), or (0, 5)
    double null_objective,
    double gradient_scale,
    double tol,
    double inner,
    double polished,
    Py_ssize_t n_polishes,
    double budget,
    Py_ssize_t most_columns,
    Py_ssize_t max_epochs,
    int n_threads,
):
    """Go on with the fits of some columns, from that at ``alphas[n_done]`` on.

    Parameters
    ----------
    models : LossModels
        Which holds these columns.
    data, rows, start, stop : ndarray
        The columns, as in a `ColumnBlock`.
    alphas : ndarray of shape (n_alphas,)
    n_done : int
        Fits that former calls have made.
    coefs : ndarray of shape (n_alphas, n_columns)
    figures : ndarray of shape (n_alphas, 5)
        Intercept, epochs, objective, duality gap and largest violation of each fit; with no rows none is certified.
    null_objective, gradient_scale, tol, inner : float
        Units of gaps and violations, of the certificate, and what the problem of the columns is solved to at first.
    polished, n_polishes, budget : float, int and float
        A fit goes on where its largest violation is above the first, for so many steps at most, where columns times
        their stored values are no more than the last.
    most_columns, max_epochs, n_threads : int
        Of one model, of one fit, and for products with the columns.

    Returns
    -------
    status : int
        DONE, MATRIX where `LossModels.take_matrix` has to be called next, LOST where a fit was given up, PAUSED
        where the call has taken long.
    n_done : int
    """
    cdef Aim aim
    cdef int status = ENDED
    cdef Py_ssize_t k
    cdef const real_t* values = &data[0]
    cdef const minor_t* where = NULL
    cdef bint certified = figures.shape[0] > 0
    if rows.shape[0]:
        where = &rows[0]
    aim.null_objective, aim.gradient_scale, aim.polished, aim.budget = null_objective, gradient_scale, polished, budget
    aim.most_columns, aim.max_epochs, aim.n_threads = most_columns, max_epochs, n_threads
    models.work, models.n_all = 0, 0
    with nogil:
        for k in range(models.n_columns):
            models.n_all += stop[k] - start[k]
        for k in range(models.n_members):
            models.starts[k], models.stops[k] = start[models.places[k]], stop[models.places[k]]
            models.inner[4, k] = models.columns[2, models.places[k]]
        while n_done < alphas.shape[0]:
            if not models.begun:
                models.begun, models.judged, models.accuracy = True, False, inner
                models.n_models, models.epochs, models.polishes, models.tries = 0, 0, n_polishes, 0
                models.by_chord = False
            status = fit_columns(models, values, where, &start[0], &stop[0], alphas[n_done], &aim)
            if status != ENDED:
                break
            if not models.profiled:
                profile(models)
                models.judged = False
            if certified:
                if not models.judged:
                    products_of(
                        values, where, &start[0], &stop[0], models.n_columns, &models.samples[models.here + 1, 0],
                        &models.columns[1, 0], n_threads,
                    )
                certify(models, alphas[n_done], &figures[n_done, 2])
                if figures[n_done, 3] > tol * null_objective:
                    models.tries += 1
                    models.accuracy *= 0.1
                    if models.tries == MOST_TRIES:
                        status = GAVE_UP
                        break
                    continue
                figures[n_done, 0] = models.intercept
                figures[n_done, 1] = <double> models.epochs
                for k in range(models.n_columns):
                    coefs[n_done, k] = models.columns[0, k]
            models.begun = False
            n_done += 1
    if status == GAVE_UP:
        models.begun = False
    PyErr_CheckSignals()
    return status, n_done
