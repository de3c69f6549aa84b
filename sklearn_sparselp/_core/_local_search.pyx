# Squared error under a penalty that is not convex, on a Gram matrix: descent to a local solution, then to lower ones by
# exchanges of two coefficients and by trials without one. X is not touched: a visit reads a row of the matrix for each
# coefficient that changes.
# Invariant: gradient = null_gradient + matrix w.

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, fabs, fmax
from libc.string cimport memcpy
from scipy.linalg.cython_lapack cimport dpotrf

from ._columns cimport axpy_double  # no-cython-lint: its file defines SPARSELP_CLONES
from ._factor cimport factor_solve
from ._penalty cimport Penalty
from ._types cimport int32_t, int64_t

# Epochs between two steps on the support, at most, and after one that has failed.
cdef int EPOCHS_PER_ROUND = 10
# Lengths of a step that are tried, each half of the one before.
cdef int LENGTHS = 3
# Of the objective: a smaller gain is rounding.
cdef double ROUNDING = 1e-12
# From so many coefficients on a factor is kept, for as long as no more than one in so many is not in it: to make one
# costs 1 ms at 320.
cdef int SMALLEST_KEPT = 64
cdef int MISSING_PER_FACTOR = 8
# Conjugate gradients that it preconditions end at this share of the error, or after so many steps without.
cdef double NEAR = 0.1
cdef int MOST_ITERATIONS = 6
# Of L_j: a coordinate that is not in the factor bends no less.
cdef double SMALLEST_SHARE = 0.1
# How far a trial is followed, against the gradient at which its coefficient enters.
cdef double TRIAL_TOL = 1e-2
# Entries of the matrix between two looks at pending signals: about 20 ms of work.
cdef Py_ssize_t WORK_BETWEEN_SIGNALS = 20_000_000

cdef struct Model:
    const double* matrix
    Py_ssize_t stride, size
    const int64_t* features
    const double* lipschitz
    const double* entry
    const double* null_gradient
    double* w
    double* gradient
    double* bend          # (size,) of the support: what the second derivative adds to the matrix
    double* pull          # minus the derivative
    double* step
    double* moved
    double* change        # (size,) matrix moved
    double* rest          # of the equation for a step
    double* near          # its solution by the factor
    double* solved
    int32_t* support      # (size,)
    double* factor        # (n_rows, n_rows) of the second derivative at a former step
    int32_t* order        # (n_rows,) coordinates of its rows
    int32_t* place        # (size,) rows of coordinates, or -1
    int n_rows
    Py_ssize_t barred     # a coordinate that stays at 0, or -1
    Py_ssize_t work       # entries of the matrix that were read
    Py_ssize_t looked     # as many at the last look at signals


cdef inline void change(Model* m, Py_ssize_t k, double new) noexcept nogil:
    axpy_double(new - m.w[k], m.matrix + k * m.stride, m.gradient, m.size)
    m.w[k] = new
    m.work += m.size


cdef void refresh(Model* m) noexcept nogil:
    # The gradient anew, free of the rounding of updates.
    cdef Py_ssize_t k
    memcpy(m.gradient, m.null_gradient, m.size * sizeof(double))
    for k in range(m.size):
        if m.w[k] != 0.0:
            axpy_double(m.w[k], m.matrix + k * m.stride, m.gradient, m.size)


cdef double value(const Model* m, Penalty penalty) noexcept nogil:
    # F_tau less that of w = 0.
    cdef Py_ssize_t k
    cdef double total = 0.0
    for k in range(m.size):
        if m.w[k] != 0.0:
            total += 0.5 * m.w[k] * (m.gradient[k] + m.null_gradient[k] + penalty.l2_reg * m.w[k])
            total += penalty.value(m.w[k], m.features[k])
    return total


cdef inline double rise(const Model* m, Penalty penalty, Py_ssize_t k) noexcept nogil:
    # Of F_tau when coefficient k becomes 0 and the others stay.
    cdef double w = m.w[k]
    return (
        0.5 * m.lipschitz[k] * w * w - w * (m.gradient[k] + penalty.l2_reg * w) - penalty.value(w, m.features[k])
    )


cdef double epoch(Model* m, Penalty penalty, bint* stable) noexcept nogil:
    # Visit every coordinate once by T_j; return the largest violation met.
    cdef Py_ssize_t k
    cdef double old, new, largest = 0.0
    stable[0] = True
    for k in range(m.size):
        old = m.w[k]
        if (old == 0.0 and fabs(m.gradient[k]) <= m.entry[k]) or k == m.barred:
            continue
        new = penalty.update(
            old - (m.gradient[k] + penalty.l2_reg * old) / m.lipschitz[k], m.lipschitz[k], m.features[k]
        )
        if new == old:
            continue
        if (new > 0.0) != (old > 0.0) or (new < 0.0) != (old < 0.0):
            stable[0] = False
        largest = fmax(largest, fabs(new - old) * m.lipschitz[k])
        change(m, k, new)
    m.work += m.size
    return largest


cdef bint newton(Model* m, Penalty penalty) noexcept nogil:
    # A step on the support that lowers F_tau; return whether there is one.
    # Coefficients that it would take through 0, or below the mask, become 0.
    cdef int n = 0, missing = 0, a, _trial
    cdef Py_ssize_t k
    cdef double new, length = 1.0, change_of_value
    for k in range(m.size):
        if m.w[k] != 0.0:
            m.support[n] = <int32_t> k
            n += 1
            missing += m.place[k] < 0
    if n == 0:
        return False
    for a in range(n):
        k = m.support[a]
        m.bend[a] = penalty.l2_reg + penalty.curvature(m.w[k], m.features[k])
        m.pull[a] = -m.gradient[k] - penalty.l2_reg * m.w[k] - penalty.derivative(m.w[k], m.features[k])
    if n < SMALLEST_KEPT or missing * MISSING_PER_FACTOR > n or not nearly(m, n):
        if not factorise(m, n):
            return False
    for _trial in range(LENGTHS):
        for k in range(m.size):
            m.change[k] = 0.0
        for a in range(n):
            k = m.support[a]
            new = m.w[k] + length * m.step[a]
            if new * m.w[k] <= 0.0 or fabs(new) <= penalty.smallest():
                new = 0.0
            m.moved[a] = new - m.w[k]
            if m.moved[a] != 0.0:
                axpy_double(m.moved[a], m.matrix + k * m.stride, m.change, m.size)
        change_of_value = 0.0
        for a in range(n):
            k = m.support[a]
            new = m.w[k] + m.moved[a]
            change_of_value += m.moved[a] * (
                m.gradient[k] + penalty.l2_reg * (m.w[k] + 0.5 * m.moved[a]) + 0.5 * m.change[k]
            )
            change_of_value += penalty.value(new, m.features[k]) - penalty.value(m.w[k], m.features[k])
        m.work += n * m.size
        if change_of_value < 0.0:
            for a in range(n):
                m.w[m.support[a]] += m.moved[a]
            axpy_double(1.0, m.change, m.gradient, m.size)
            return True
        length *= 0.5
    return False


cdef bint factorise(Model* m, int n) noexcept nogil:
    # Make the factor anew and the step by it; return whether the matrix has one.
    cdef int info = 0, a, b
    cdef Py_ssize_t k
    cdef const double* row
    for a in range(m.n_rows):
        m.place[m.order[a]] = -1
    m.n_rows = 0
    for a in range(n):
        row = m.matrix + m.support[a] * m.stride
        for b in range(a, n):
            m.factor[a * <Py_ssize_t> n + b] = row[m.support[b]]
        m.factor[a * <Py_ssize_t> n + a] += m.bend[a]
    m.work += n * <Py_ssize_t> n * (n // 6 + 1)
    dpotrf(b"L", &n, m.factor, &n, &info)
    if info != 0:
        return False
    for a in range(n):
        k = m.support[a]
        m.order[a], m.place[k], m.step[a] = <int32_t> k, a, m.pull[a]
    m.n_rows = n
    factor_solve(m.factor, n, n, m.step)
    return True


cdef bint nearly(Model* m, int n) noexcept nogil:
    # Make the step by conjugate gradients, which the factor of a former step preconditions; return whether they get
    # there soon.
    cdef int a, _iteration
    cdef Py_ssize_t k
    cdef double slope, first = 0.0, last = 0.0, bend, length
    memcpy(m.rest, m.pull, n * sizeof(double))
    for a in range(n):
        m.step[a] = m.moved[a] = 0.0
    for _iteration in range(MOST_ITERATIONS + 1):
        slope = divide(m, n)
        # Not a number either.
        if not slope > 0.0:
            return False
        if _iteration == 0:
            first = slope
        elif slope <= NEAR * NEAR * first:
            return True
        for k in range(m.size):
            m.change[k] = 0.0
        for a in range(n):
            m.moved[a] = m.near[a] + (slope / last * m.moved[a] if _iteration else 0.0)
            axpy_double(m.moved[a], m.matrix + m.support[a] * m.stride, m.change, m.size)
        bend = 0.0
        for a in range(n):
            bend += m.moved[a] * (m.change[m.support[a]] + m.bend[a] * m.moved[a])
        m.work += n * (m.size + <Py_ssize_t> n)
        if not bend > 0.0:
            return False
        length, last = slope / bend, slope
        for a in range(n):
            m.step[a] += length * m.moved[a]
            m.rest[a] -= length * (m.change[m.support[a]] + m.bend[a] * m.moved[a])
    return False


cdef double divide(Model* m, int n) noexcept nogil:
    # Solve for what is left, in the factor where it has the coordinate; return their product.
    cdef int a
    cdef Py_ssize_t k
    cdef double total = 0.0
    for a in range(m.n_rows):
        m.solved[a] = 0.0
    for a in range(n):
        if m.place[m.support[a]] >= 0:
            m.solved[m.place[m.support[a]]] = m.rest[a]
    factor_solve(m.factor, m.n_rows, m.n_rows, m.solved)
    for a in range(n):
        k = m.support[a]
        if m.place[k] >= 0:
            m.near[a] = m.solved[m.place[k]]
        else:
            m.near[a] = m.rest[a] / fmax(m.matrix[k * m.stride + k] + m.bend[a], SMALLEST_SHARE * m.lipschitz[k])
        total += m.near[a] * m.rest[a]
    return total


cdef Py_ssize_t settle(Model* m, Penalty penalty, double tol, Py_ssize_t max_epochs) except -1 nogil:
    # Descend to where an epoch meets no violation above tol; return the epochs it took. An interrupt ends it.
    cdef Py_ssize_t epochs = 0
    cdef int since = 0
    cdef bint stable = False
    while epochs < max_epochs:
        if m.work - m.looked > WORK_BETWEEN_SIGNALS:
            m.looked = m.work
            with gil:
                PyErr_CheckSignals()
        epochs += 1
        since += 1
        if epoch(m, penalty, &stable) <= tol:
            break
        if (stable and since > 1) or since >= EPOCHS_PER_ROUND:
            since = 0 if newton(m, penalty) else -EPOCHS_PER_ROUND
    return epochs


cdef bint exchange(Model* m, Penalty penalty) noexcept nogil:
    # Let one coefficient become 0 and another enter, those that lower F_tau most while the others stay; return whether
    # any do.
    cdef Py_ssize_t k, j, leaving = -1, entering = -1
    cdef double w, gradient, new, change_of_value, least, best, size = 0.0
    cdef const double* row
    best = -ROUNDING * fabs(value(m, penalty))
    for j in range(m.size):
        w = m.w[j]
        if w == 0.0:
            continue
        row = m.matrix + j * m.stride
        least = rise(m, penalty, j)
        m.work += m.size
        for k in range(m.size):
            gradient = m.gradient[k] - w * row[k]
            # No penalty lets a coefficient gain more than g^2 / 2L.
            if m.w[k] != 0.0 or fabs(gradient) <= m.entry[k] or (
                least - 0.5 * gradient * gradient / m.lipschitz[k] >= best
            ):
                continue
            new = penalty.update(-gradient / m.lipschitz[k], m.lipschitz[k], m.features[k])
            change_of_value = least + new * (gradient + 0.5 * m.lipschitz[k] * new)
            change_of_value += penalty.value(new, m.features[k])
            if change_of_value < best:
                best, leaving, entering, size = change_of_value, j, k, new
    if leaving < 0:
        return False
    change(m, leaving, 0.0)
    change(m, entering, size)
    return True


cdef Py_ssize_t without(Model* m, Penalty penalty, const int32_t* tried) noexcept nogil:
    # The coefficient not yet tried whose end costs least, -1 where there is none.
    cdef Py_ssize_t k, best = -1
    cdef double cost, least = INFINITY
    for k in range(m.size):
        if m.w[k] != 0.0 and not tried[k]:
            cost = rise(m, penalty, k)
            if cost < least:
                best, least = k, cost
    return best


cdef int trials(
    Model* m, Penalty penalty, Py_ssize_t max_epochs, Py_ssize_t max_work, double* kept, int32_t* tried,
) except -1 nogil:
    # Descend without one coefficient, then with it; go on from where that ends lower.
    cdef Py_ssize_t k, size = m.size * sizeof(double), start = m.work
    cdef double now = value(m, penalty), after, tol
    for k in range(m.size):
        tried[k] = 0
    while m.work - start < max_work:
        k = without(m, penalty, tried)
        if k < 0:
            break
        memcpy(kept, m.w, size)
        memcpy(kept + m.size, m.gradient, size)
        tol = TRIAL_TOL * m.entry[k]
        change(m, k, 0.0)
        m.barred = k
        settle(m, penalty, tol, max_epochs)
        m.barred = -1
        settle(m, penalty, tol, max_epochs)
        after = value(m, penalty)
        if after < now - ROUNDING * fabs(now):
            now = after
            for k in range(m.size):
                tried[k] = 0
        else:
            memcpy(m.w, kept, size)
            memcpy(m.gradient, kept + m.size, size)
            tried[k] = 1
    return 0


def local_search(
    const double[:, ::1] matrix not None,      # IN, (capacity, capacity)
    const int64_t[::1] features not None,      # IN, (size,)
    const double[::1] lipschitz not None,      # IN, (size,), above 0
    const double[::1] entry not None,          # IN, (size,)
    const double[::1] null_gradient not None,  # IN, (size,)
    Penalty penalty not None,
    double tol,
    Py_ssize_t max_epochs,
    Py_ssize_t max_work,
    double[::1] w not None,                    # IN/OUT, (size,)
    double[::1] work not None,                 # WORK, (11 size,)
    double[:, ::1] factor not None,            # IN/OUT, (room, room), room at least size
    int32_t[::1] order not None,               # IN/OUT, (room + 1,)
    int32_t[::1] support not None,             # WORK, (3 size,)
):
    """Descend on ``1/2 w.T G w + g.w + l2_reg/2 ||w||^2 + sum_k P_j(w_k)``, j = features[k], to a low local solution.

    Epochs of ``w_k <- T_j(w_k - g_k / L_j)``, with Newton steps on the support in between, lead to a fixed point.
    Two coefficients are then exchanged, one for 0, as long as that lowers the objective while all others stay
    (Hazimeh and Mazumder, "Fast best subset selection", Operations Research 2020, section 4, for p = 0). At last the
    descent goes on without one coefficient, then with it again, and starts from there where that ends lower: the
    coefficient whose end costs least first.

    Parameters
    ----------
    matrix : ndarray of shape (capacity, capacity)
        Its first ``size`` rows and columns hold ``X.T diag(s) X``, centred where there is an intercept.
    features : ndarray of shape (size,)
        Which coordinates of the penalty they are.
    lipschitz : ndarray of shape (size,)
        Their L_j: the diagonal of the matrix plus ``l2_reg``.
    entry : ndarray of shape (size,)
        Largest gradients at which zero stays zero.
    null_gradient : ndarray of shape (size,)
        Gradient at w = 0.
    penalty : Penalty
        Bound.
    tol : float
        Of the last epoch: its largest ``L_j |change of w_j|``.
    max_epochs : int
        Beside those of trials.
    max_work : int
        Entries of the matrix that exchanges and trials read, about; 0 for none.
    w : ndarray of shape (size,)
        Start and end.
    work, support : ndarray
        Room.
    factor, order : ndarray of shape (room, room) and (room + 1,)
        The factor of a step and which coordinates its rows are, their number at the end: 0 before the first call.
        They can be handed to the next one as long as the matrix, apart from columns that join at the end, stays.

    Returns
    -------
    epochs : int
        ``max_epochs`` where ``tol`` was not reached.
    gain : float
        By how much the objective is lower at the end than at w = 0.
    n_read : int
        Entries of the matrix that they have read.
    """
    cdef Model m
    cdef Py_ssize_t epochs, first, k, room = factor.shape[0]
    cdef bint tried = False
    cdef double gain
    m.stride, m.size = matrix.shape[1], w.shape[0]
    if m.size == 0:
        return 0, 0.0, 0
    m.matrix, m.features, m.lipschitz, m.entry = &matrix[0, 0], &features[0], &lipschitz[0], &entry[0]
    m.null_gradient, m.w, m.gradient = &null_gradient[0], &w[0], &work[0]
    m.bend, m.pull, m.step, m.moved = &work[m.size], &work[2 * m.size], &work[3 * m.size], &work[4 * m.size]
    m.change, m.rest, m.near, m.solved = &work[5 * m.size], &work[6 * m.size], &work[7 * m.size], &work[8 * m.size]
    m.support, m.place, m.barred = &support[0], &support[m.size], -1
    m.work = m.looked = 0
    m.factor, m.order, m.n_rows = &factor[0, 0], &order[0], order[room]
    with nogil:
        for k in range(m.size):
            m.place[k] = -1
        for k in range(m.n_rows):
            m.place[m.order[k]] = <int32_t> k
        refresh(&m)
        epochs = settle(&m, penalty, tol, max_epochs)
        first = m.work
        while epochs < max_epochs and m.work - first < max_work:
            if not exchange(&m, penalty):
                if tried:
                    break
                tried = True
                trials(&m, penalty, max_epochs, max_work - (m.work - first), &work[9 * m.size], &support[2 * m.size])
                refresh(&m)
            epochs += settle(&m, penalty, tol, max_epochs - epochs)
        refresh(&m)
        gain = -value(&m, penalty)
    order[room] = m.n_rows
    return epochs, gain, m.work - first
