# The elastic net on a Gram matrix, for one strength after the other: Newton steps on the support, each followed by
# epochs of coordinate descent. X is not touched: an epoch reads a row of the matrix for each coefficient that changes.

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport fabs, fmax
from scipy.linalg.cython_lapack cimport dpotrf, dpotrs

from ._columns cimport column_axpy  # no-cython-lint: its file defines SPARSELP_CLONES
from ._types cimport int32_t

# Epochs after a step until the signs stand still, at most, and rounds of both for one strength.
cdef int EPOCHS_PER_ROUND = 5
cdef int MOST_ROUNDS = 200
# Steps of one fit that meet a singular matrix, at most; epochs alone go on.
cdef int MOST_SINGULAR = 3
# Entries of the matrix that are read between two looks at pending signals: about 50 ms of work.
cdef Py_ssize_t WORK_BETWEEN_SIGNALS = 50_000_000
# Of a matrix scaled to unit diagonal: a smaller pivot is rounding.
cdef double SMALLEST_PIVOT = 1e-11

cdef struct Fit:
    const double* matrix
    Py_ssize_t stride, size
    const double* factor
    const double* null_gradient
    double null_square, alpha, l2_reg
    bint positive
    double* w
    double* gradient      # of the loss at w
    int32_t* support      # (size,)
    double* hessian       # (size, size)
    double* direction     # (size,)
    Py_ssize_t work


cdef inline double soft(double z, double threshold, bint positive) noexcept nogil:
    if z > threshold:
        return z - threshold
    if z < -threshold and not positive:
        return z + threshold
    return 0.0


cdef inline double moved(const Fit* m, Py_ssize_t k) noexcept nogil:
    # Where the minimum along coordinate k lies.
    cdef double lipschitz = m.matrix[k * m.stride + k] + m.l2_reg
    return soft(m.w[k] - (m.gradient[k] + m.l2_reg * m.w[k]) / lipschitz, m.alpha * m.factor[k] / lipschitz, m.positive)


cdef void refresh(Fit* m) noexcept nogil:
    # The gradient anew, free of the rounding of updates.
    cdef Py_ssize_t k
    for k in range(m.size):
        m.gradient[k] = m.null_gradient[k]
    for k in range(m.size):
        if m.w[k] != 0.0:
            column_axpy(m.w[k], m.matrix + k * m.stride, <const int32_t*> NULL, m.size, m.gradient)
            m.work += m.size


cdef bint epoch(Fit* m) noexcept nogil:
    # Visit every coordinate once; return whether no coefficient has changed its sign.
    cdef Py_ssize_t k
    cdef double old, new
    cdef bint stable = True
    for k in range(m.size):
        old = m.w[k]
        new = moved(m, k)
        if new == old:
            continue
        if (new > 0.0) != (old > 0.0) or (new < 0.0) != (old < 0.0):
            stable = False
        m.w[k] = new
        column_axpy(new - old, m.matrix + k * m.stride, <const int32_t*> NULL, m.size, m.gradient)
        m.work += m.size
    m.work += m.size
    return stable


cdef int newton(Fit* m) noexcept nogil:
    # Go to the minimum on the support with these signs, or to where the first coefficient reaches 0.
    # 1 at the minimum, 0 where the step is cut, -1 where the matrix has no factor.
    cdef int n = 0, one = 1, info = 0, a, b, first = -1
    cdef Py_ssize_t k, j
    cdef double length = 1.0, w
    cdef char lower = c"L"
    cdef const double* row
    for k in range(m.size):
        if m.w[k] != 0.0:
            m.support[n] = <int32_t> k
            n += 1
    if n == 0:
        return 1
    for a in range(n):
        k = m.support[a]
        row = m.matrix + k * m.stride
        w = m.w[k]
        m.direction[a] = -(m.gradient[k] + m.l2_reg * w + (m.alpha if w > 0.0 else -m.alpha) * m.factor[k])
        # Columns of LAPACK: its lower triangle is that above the diagonal here.
        for b in range(a, n):
            m.hessian[a * n + b] = row[m.support[b]]
        m.hessian[a * n + a] += m.l2_reg
    m.work += n * n * (n // 6 + 1)
    dpotrf(&lower, &n, m.hessian, &n, &info)
    if info != 0:
        return -1
    for a in range(n):
        k = m.support[a]
        w = m.hessian[a * n + a]
        if w * w <= SMALLEST_PIVOT * (m.matrix[k * m.stride + k] + m.l2_reg):
            return -1
    dpotrs(&lower, &n, &one, m.hessian, &n, m.direction, &n, &info)
    for a in range(n):
        w = m.w[m.support[a]]
        if (w > 0.0) != (w + m.direction[a] > 0.0) and fabs(w) < length * fabs(m.direction[a]):
            length = fabs(w / m.direction[a])
            first = a
    for a in range(n):
        j = m.support[a]
        w = 0.0 if a == first else m.w[j] + length * m.direction[a]
        column_axpy(w - m.w[j], m.matrix + j * m.stride, <const int32_t*> NULL, m.size, m.gradient)
        m.w[j] = w
    m.work += n * m.size
    return 1 if first < 0 else 0


cdef void certify(Fit* m, double* objective, double* gap, double* violation) noexcept nogil:
    # The certificate of the problem of these columns.
    cdef Py_ssize_t k
    cdef double square = m.null_square, linear = 0.0, total = 0.0, ridge = 0.0, bound = 0.0, conjugate = 0.0
    cdef double strength, pull, scale, dual, worst = 0.0, excess
    for k in range(m.size):
        strength = m.alpha * m.factor[k]
        pull = -m.gradient[k] if m.positive else fabs(m.gradient[k])
        bound = fmax(bound, pull / strength)
        excess = pull - strength
        if excess > 0.0:
            conjugate += excess * excess
        if m.w[k] == 0.0 and excess <= 0.0:
            continue
        square += m.w[k] * (m.gradient[k] + m.null_gradient[k])
        linear += m.w[k] * m.gradient[k]
        total += strength * fabs(m.w[k])
        ridge += m.w[k] * m.w[k]
        worst = fmax(worst, fabs(m.w[k] - moved(m, k)) * (m.matrix[k * m.stride + k] + m.l2_reg))
    square = fmax(square, 0.0)
    objective[0] = 0.5 * square + total + 0.5 * m.l2_reg * ridge
    # <raw gradient, y> = <gradient, w> - square: the dual point is the raw gradient, scaled.
    linear -= square
    if m.l2_reg > 0.0:
        dual = -linear - 0.5 * square - conjugate / (2.0 * m.l2_reg)
    else:
        scale = fmax(-linear / square, 0.0) if square > 0.0 else 0.0
        if scale * bound > 1.0:
            scale = 1.0 / bound
        dual = -scale * linear - 0.5 * scale * scale * square
    gap[0] = fmax(objective[0] - dual, 0.0)
    violation[0] = worst


cdef Py_ssize_t descend(
    Fit* m, Py_ssize_t max_epochs, double tol, double polished, double* objective, double* gap, double* violation,
) noexcept nogil:
    # Return the epochs it took, -1 where it gave up.
    cdef Py_ssize_t epochs = 0
    cdef int _round, step, visits, singular = 0
    cdef bint stable, factored, tried = False
    for _round in range(MOST_ROUNDS):
        step = newton(m) if singular < MOST_SINGULAR else -1
        factored = step >= 0
        singular += not factored
        stable = False
        visits = 0
        # Without a step epochs are all there is.
        while visits < EPOCHS_PER_ROUND and not (stable and factored):
            if epochs >= max_epochs:
                return -1
            stable = epoch(m)
            epochs += 1
            visits += 1
        if factored and (step == 0 or not stable or visits > 1):
            continue
        refresh(m)
        certify(m, objective, gap, violation)
        if gap[0] <= tol:
            if violation[0] <= polished or tried or not factored:
                return epochs
            tried = True
    return -1


def lasso_on_gram(
    const double[:, ::1] matrix not None,      # IN, (capacity, capacity)
    const double[::1] factor not None,         # IN, (size,), above 0
    const double[::1] null_gradient not None,  # IN, (size,)
    double null_square,
    const double[::1] alphas not None,         # IN, (n_alphas,), above 0
    double l2_reg,
    bint positive,
    Py_ssize_t max_epochs,
    double tol,
    double polished,
    double[::1] w not None,                    # IN/OUT, (size,)
    double[:, ::1] coefs not None,             # OUT, (n_alphas, size)
    double[:, ::1] figures not None,           # OUT, (n_alphas, 4)
    double[::1] work not None,                 # WORK, (size * size + 2 size,)
    int32_t[::1] places not None,              # WORK, (size,)
):
    """Minimise ``1/2 sum_i s_i (y_i - x_i w - b)^2 + alpha sum_j u_j |w_j| + l2_reg/2 ||w||^2`` for each alpha in turn.

    Parameters
    ----------
    matrix : ndarray of shape (capacity, capacity)
        Its first ``size`` rows and columns hold ``X.T diag(s) X``, centred where there is an intercept, with a
        positive diagonal.
    factor : ndarray of shape (size,)
        The u_j, finite.
    null_gradient : ndarray of shape (size,)
        Gradient at w = 0.
    null_square : float
        ``sum_i s_i (y_i - b)^2`` there.
    alphas : ndarray of shape (n_alphas,)
    l2_reg : float
    positive : bool
        Whether w >= 0.
    max_epochs : int
        For each alpha.
    tol : float
        The duality gap of these columns at which a fit ends.
    polished : float
        A fit goes on for one more step where its largest violation is above.
    w : ndarray of shape (size,)
        Where the first fit starts, and where the last one ends.
    coefs : ndarray of shape (n_alphas, size)
    figures : ndarray of shape (n_alphas, 4)
        Objective, duality gap, largest violation and epochs of each fit.
    work, places : ndarray
        Room.

    Returns
    -------
    n_done : int
        How many fits have reached ``tol``; the rest of ``coefs`` and ``figures`` is not written.
    """
    cdef Fit m
    cdef Py_ssize_t k, j, epochs
    cdef double objective = 0.0, gap = 0.0, violation = 0.0
    m.stride, m.size = matrix.shape[1], w.shape[0]
    if m.size == 0:
        return 0
    m.matrix, m.factor, m.null_gradient = &matrix[0, 0], &factor[0], &null_gradient[0]
    m.null_square, m.l2_reg, m.positive = null_square, l2_reg, positive
    m.w, m.gradient, m.direction, m.hessian = &w[0], &work[0], &work[m.size], &work[2 * m.size]
    m.support = &places[0]
    m.work = 0
    with nogil:
        refresh(&m)
        for k in range(alphas.shape[0]):
            m.alpha = alphas[k]
            epochs = descend(&m, max_epochs, tol, polished, &objective, &gap, &violation)
            if epochs < 0:
                with gil:
                    return k
            for j in range(m.size):
                coefs[k, j] = w[j]
            figures[k, 0] = objective
            figures[k, 1] = gap
            figures[k, 2] = violation
            figures[k, 3] = <double> epochs
            if m.work > WORK_BETWEEN_SIGNALS:
                m.work = 0
                with gil:
                    PyErr_CheckSignals()
    return alphas.shape[0]
