# Squared error under a penalty that is not convex, on a Gram matrix: descent to a local solution, then to lower ones by
# exchanges of two coefficients and by trials without one. X is not touched: a visit reads a row of the matrix for each
# coefficient that changes.
# Invariant: gradient = null_gradient + matrix w.

from libc.math cimport INFINITY, fabs, fmax
from libc.string cimport memcpy
from scipy.linalg.cython_lapack cimport dpotrf, dpotrs

from ._columns cimport axpy_double  # no-cython-lint: its file defines SPARSELP_CLONES
from ._penalty cimport Penalty
from ._types cimport int32_t, int64_t

# Epochs between two steps on the support, at most, and after one that has failed.
cdef int EPOCHS_PER_ROUND = 10
# Lengths of a step that are tried, each half of the one before.
cdef int LENGTHS = 3
# Of the objective: a smaller gain is rounding.
cdef double ROUNDING = 1e-12
# How far a trial is followed, against the gradient at which its coefficient enters.
cdef double TRIAL_TOL = 1e-2

cdef struct Model:
    const double* matrix
    Py_ssize_t stride, size
    const int64_t* features
    const double* lipschitz
    const double* entry
    const double* null_gradient
    double* w
    double* gradient
    double* step          # (size,)
    int32_t* support      # (size,)
    double* hessian       # (size, size)
    Py_ssize_t barred     # a coordinate that stays at 0, or -1
    Py_ssize_t work       # entries of the matrix that were read


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
    cdef int n = 0, info = 0, one = 1, a, b, _trial
    cdef Py_ssize_t k
    cdef double new, length = 1.0, slope, change_of_value
    cdef const double* row
    cdef double* moved
    for k in range(m.size):
        if m.w[k] != 0.0:
            m.support[n] = <int32_t> k
            n += 1
    if n == 0:
        return False
    for a in range(n):
        k = m.support[a]
        row = m.matrix + k * m.stride
        for b in range(a, n):
            m.hessian[a * <Py_ssize_t> n + b] = row[m.support[b]]
        m.hessian[a * <Py_ssize_t> n + a] += penalty.l2_reg + penalty.curvature(m.w[k], m.features[k])
        m.step[a] = -m.gradient[k] - penalty.l2_reg * m.w[k] - penalty.derivative(m.w[k], m.features[k])
    m.work += n * <Py_ssize_t> n * (n // 6 + 1)
    dpotrf(b"L", &n, m.hessian, &n, &info)
    if info != 0:
        return False
    dpotrs(b"L", &n, &one, m.hessian, &n, m.step, &n, &info)
    # The factor has done its work.
    moved = m.hessian
    for _trial in range(LENGTHS):
        for a in range(n):
            k = m.support[a]
            new = m.w[k] + length * m.step[a]
            if new * m.w[k] <= 0.0 or fabs(new) <= penalty.smallest():
                new = 0.0
            moved[a] = new - m.w[k]
        change_of_value = 0.0
        for a in range(n):
            k = m.support[a]
            row = m.matrix + k * m.stride
            new = m.w[k] + moved[a]
            slope = m.gradient[k] + penalty.l2_reg * (m.w[k] + 0.5 * moved[a])
            for b in range(n):
                slope += 0.5 * row[m.support[b]] * moved[b]
            change_of_value += moved[a] * slope
            change_of_value += penalty.value(new, m.features[k]) - penalty.value(m.w[k], m.features[k])
        m.work += n * <Py_ssize_t> n
        if change_of_value < 0.0:
            for a in range(n):
                if moved[a] != 0.0:
                    k = m.support[a]
                    change(m, k, m.w[k] + moved[a])
            return True
        length *= 0.5
    return False


cdef Py_ssize_t settle(Model* m, Penalty penalty, double tol, Py_ssize_t max_epochs) noexcept nogil:
    # Descend to where an epoch meets no violation above tol; return the epochs it took.
    cdef Py_ssize_t epochs = 0
    cdef int since = 0
    cdef bint stable = False
    while epochs < max_epochs:
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


cdef void trials(
    Model* m, Penalty penalty, Py_ssize_t max_epochs, Py_ssize_t max_work, double* kept, int32_t* tried,
) noexcept nogil:
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
    double[::1] work not None,                 # WORK, (4 size,)
    double[:, ::1] hessian not None,           # WORK, (size, size)
    int32_t[::1] support not None,             # WORK, (2 size,)
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
    work, hessian, support : ndarray
        Room.

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
    cdef Py_ssize_t epochs, first
    cdef bint tried = False
    cdef double gain
    m.stride, m.size = matrix.shape[1], w.shape[0]
    if m.size == 0:
        return 0, 0.0, 0
    m.matrix, m.features, m.lipschitz, m.entry = &matrix[0, 0], &features[0], &lipschitz[0], &entry[0]
    m.null_gradient, m.w, m.gradient, m.step = &null_gradient[0], &w[0], &work[0], &work[m.size]
    m.support, m.hessian, m.barred, m.work = &support[0], &hessian[0, 0], -1, 0
    with nogil:
        refresh(&m)
        epochs = settle(&m, penalty, tol, max_epochs)
        first = m.work
        while epochs < max_epochs and m.work - first < max_work:
            if not exchange(&m, penalty):
                if tried:
                    break
                tried = True
                trials(&m, penalty, max_epochs, max_work - (m.work - first), &work[2 * m.size], &support[m.size])
                refresh(&m)
            epochs += settle(&m, penalty, tol, max_epochs - epochs)
        refresh(&m)
        gain = -value(&m, penalty)
    return epochs, gain, m.work - first
