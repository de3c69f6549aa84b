# The elastic net on a Gram matrix, for one strength after the other: Newton steps on the support, each followed by a
# visit of the other coordinates. X is not touched: a visit reads a row of the matrix for each coefficient that changes.

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, fabs, fmax, fmin, sqrt
from libc.string cimport memcpy
from scipy.linalg.cython_lapack cimport dpotrf

from ._columns cimport axpy_double  # no-cython-lint: its file defines SPARSELP_CLONES
from ._factor cimport factor_append, factor_append_many, factor_remove, factor_solve
from ._types cimport int32_t

cdef extern from *:
    """
    /* Four rows at once: what they add to is read and written once. */
    SPARSELP_CLONES static void sparselp_axpy_four(const double *a, const double *const *x, double *v, Py_ssize_t n) {
        const double *p = x[0], *q = x[1], *r = x[2], *s = x[3];
        double e = a[0], f = a[1], g = a[2], h = a[3];
        _Pragma("omp simd")
        for (Py_ssize_t i = 0; i < n; i++) v[i] += (e * p[i] + f * q[i]) + (g * r[i] + h * s[i]);
    }
    """
    void axpy_four "sparselp_axpy_four"(const double*, const double**, double*, Py_ssize_t) noexcept nogil

# Epochs after a step that was cut until the signs stand still, at most, and rounds of steps for one strength.
cdef int EPOCHS_PER_ROUND = 5
cdef int MOST_ROUNDS = 200
# A step that would take more coefficients through 0 than so and than a quarter of them is cut at the first, not more
# often than so in a row: of as many coefficients as samples epochs fill the support anew, and minima on it lie far off.
cdef int MOST_LEGS = 10
cdef int MOST_CUTS = 3
# A walk of epochs ends where the largest violation is this share of what it was; where it falls less than so in an
# epoch that is given up.
cdef int LONGEST_WALK = 12
cdef double SETTLED = 0.1
cdef double SLOW = 0.85
# A factor of n rows is made anew where the rows that leave, so many times each, and those that join are more than n.
cdef int LEAVINGS_PER_FACTOR = 12
cdef int JOINS_PER_FACTOR = 3
# Rows that join a factor in one product, and by how much that is faster than one after the other.
cdef int FEWEST_AT_ONCE = 4
cdef int ROWS_AT_ONCE = 64
cdef int SPEED_OF_MANY = 4
# Entries of the matrix that are read between two looks at pending signals, about: 50 ms of work; a call that has done
# more ends with the strength. A thread that is not the main one learns of an interrupt between calls only.
cdef Py_ssize_t WORK_PER_CALL = 50_000_000
# Of a matrix scaled to unit diagonal: a smaller pivot is rounding.
cdef double SMALLEST_PIVOT = 1e-11
# Of the largest gradient at w = 0.
cdef double ROUNDING = 1e-13
# Columns are multiples of each other where the square of the cosine between them is more: the rounding of products.
cdef double ALIKE = 1.0 - 1e-13
# Of a strength: by so much less a gradient beyond it is rounding.
cdef double SMALLEST_EXCESS = 1e-12


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


cdef int look(Fit* m) except -1 nogil:
    # Raise what a signal asks for.
    if m.work - m.looked > WORK_PER_CALL:
        m.looked = m.work
        with gil:
            PyErr_CheckSignals()
    return 0


cdef void change(Fit* m, Py_ssize_t k, double by) noexcept nogil:
    # What a change of coefficient k does to the gradient.
    axpy_double(by, m.matrix + k * m.stride, m.gradient, m.size)
    m.work += m.size
    m.fresh = False


cdef void find_twins(Fit* m) noexcept nogil:
    # Look at the columns that nobody has looked at. A ridge tells them apart.
    cdef Py_ssize_t k
    if m.twins == NULL or m.l2_reg > 0.0:
        return
    for k in range(m.twins[m.room_size], m.size):
        m.twins[k] = is_twin(m, k)
    m.twins[m.room_size] = <int32_t> m.size


cdef bint is_twin(const Fit* m, Py_ssize_t k) noexcept nogil:
    # Whether an earlier column that is no twin makes the same predictions at no higher penalty.
    cdef Py_ssize_t j
    cdef const double* row = m.matrix + k * m.stride
    cdef double square
    for j in range(k):
        square = m.matrix[j * m.stride + j]
        if m.twins[j] or (m.positive and row[j] < 0.0) or not row[j] * row[j] >= ALIKE * square * row[k]:
            continue
        if ALIKE * m.factor[j] * sqrt(row[k]) <= m.factor[k] * sqrt(square):
            return True
    return False


cdef inline bint stays(Fit* m, Py_ssize_t k) noexcept nogil:
    # Whether a coefficient of 0 stays there, as its column has a twin.
    if m.twins == NULL or m.twins_enter or k >= m.twins[m.room_size] or not m.twins[k]:
        return False
    m.passed_over = True
    return True


cdef void refresh(Fit* m) noexcept nogil:
    # The gradient anew, free of the rounding of updates.
    cdef Py_ssize_t k
    cdef int n = 0
    cdef double scales[4]
    cdef const double* rows[4]
    memcpy(m.gradient, m.null_gradient, m.size * sizeof(double))
    for k in range(m.size):
        if m.w[k] == 0.0:
            continue
        scales[n], rows[n] = m.w[k], m.matrix + k * m.stride
        n += 1
        if n == 4:
            axpy_four(scales, rows, m.gradient, m.size)
            m.work += 4 * m.size
            n = 0
    while n > 0:
        n -= 1
        axpy_double(scales[n], rows[n], m.gradient, m.size)
        m.work += m.size
    m.fresh = True


cdef bint epoch(Fit* m) noexcept nogil:
    # Visit every coordinate once; return whether no coefficient has changed its sign.
    cdef Py_ssize_t k
    cdef double old, new
    cdef bint stable = True
    for k in range(m.size):
        old = m.w[k]
        new = moved(m, k)
        if new == old or (old == 0.0 and stays(m, k)):
            continue
        if (new > 0.0) != (old > 0.0) or (new < 0.0) != (old < 0.0):
            stable = False
        m.w[k] = new
        change(m, k, new - old)
    m.work += m.size
    return stable


cdef bint enter(Fit* m) noexcept nogil:
    # Visit the coordinates at 0 once; return whether none has left it.
    cdef Py_ssize_t k
    cdef double pull, strength
    cdef bint stable = True
    for k in range(m.size):
        strength = m.alpha * m.factor[k]
        pull = -m.gradient[k] if m.positive else fabs(m.gradient[k])
        if m.w[k] != 0.0 or pull <= strength + fmax(strength * SMALLEST_EXCESS, m.noise) or stays(m, k):
            continue
        m.w[k] = moved(m, k)
        if m.w[k] != 0.0:
            change(m, k, m.w[k])
            stable = False
    m.work += m.size
    return stable


cdef void factorise(Fit* m, bint anew) noexcept nogil:
    # Bring the factor to the support, less the coordinates that leave it where columns depend on each other.
    cdef int n = 0, info = 0, missing = 0, a, b, room = m.room_size
    cdef Py_ssize_t k
    cdef const double* row
    cdef double pivot
    for k in range(m.size):
        n += m.w[k] != 0.0
        m.room[k] = m.w[k]
    for a in range(m.n_rows):
        missing += m.w[m.order[a]] == 0.0
        # What is left there are the coordinates that join.
        m.room[m.order[a]] = 0.0
    if anew or (n - m.n_rows + missing) * JOINS_PER_FACTOR + missing * LEAVINGS_PER_FACTOR > n:
        m.n_rows, a = 0, 0
        for k in range(m.size):
            if m.w[k] != 0.0:
                m.order[a] = <int32_t> k
                a += 1
        for a in range(n):
            row = m.matrix + m.order[a] * m.stride
            for b in range(a, n):
                m.cholesky[a * <Py_ssize_t> room + b] = row[m.order[b]]
            m.cholesky[a * <Py_ssize_t> room + a] += m.l2_reg
        m.work += n * <Py_ssize_t> n * (n // 6 + 1)
        dpotrf(b"L", &n, m.cholesky, &room, &info)
        for a in range(n if info == 0 else 0):
            k = m.order[a]
            pivot = m.cholesky[a * <Py_ssize_t> room + a]
            if pivot * pivot <= SMALLEST_PIVOT * (m.matrix[k * m.stride + k] + m.l2_reg):
                info = 1
                break
        if info == 0:
            m.n_rows = n
        else:
            join(m, 0, n)
        return
    for a in range(m.n_rows - 1, -1, -1):
        if m.w[m.order[a]] == 0.0:
            leave(m, a)
    # Their places are taken before `room` is needed for other things.
    n = m.n_rows
    for k in range(m.size):
        if m.room[k] != 0.0 and m.w[k] != 0.0:
            m.order[n] = <int32_t> k
            n += 1
    join(m, m.n_rows, n)


cdef void join(Fit* m, int first, int last) noexcept nogil:
    # The coordinates in these places become rows of the factor, which then holds all of the support.
    cdef int a = first, b, end, at_once = ROWS_AT_ONCE
    cdef Py_ssize_t k
    cdef const double* row
    cdef double pivot
    cdef bint slid = False
    while a < last:
        if at_once < FEWEST_AT_ONCE:
            at_once += 1
        else:
            end = min(last, a + at_once)
            a = join_many(m, a, end)
            if a == end:
                at_once = min(2 * at_once, ROWS_AT_ONCE)
                continue
            # This one depends on others, and what the product has found for those after it was in vain.
            at_once //= 4
        k = m.order[a]
        a += 1
        row = m.matrix + k * m.stride
        pivot = row[k] + m.l2_reg
        while m.w[k] != 0.0:
            for b in range(m.n_rows):
                m.room[b] = row[m.order[b]]
            m.work += m.n_rows * <Py_ssize_t> m.n_rows
            if factor_append(m.cholesky, m.room_size, m.n_rows, m.room, pivot, SMALLEST_PIVOT * pivot):
                m.order[m.n_rows] = <int32_t> k
                m.n_rows += 1
                break
            slide(m, k)
            slid = True
    if slid:
        find_twins(m)
        refresh(m)


cdef int join_many(Fit* m, int first, int last) noexcept nogil:
    # The same in one product; return the first place that is not done with: of a coordinate without a pivot, or `last`.
    # One that a slide has brought to 0 is passed over.
    cdef int a, b, c, n = m.n_rows, more = 0, joined
    cdef Py_ssize_t k, stride = m.room_size
    cdef const double* row
    cdef double* column
    for a in range(first, last):
        k = m.order[a]
        if m.w[k] == 0.0:
            continue
        row = m.matrix + k * m.stride
        column = m.cholesky + n + more
        for b in range(n):
            column[b * stride] = row[m.order[b]]
        c = n
        for b in range(first, a):
            if m.w[m.order[b]] != 0.0:
                column[c * stride] = row[m.order[b]]
                c += 1
        column[c * stride] = row[k] + m.l2_reg
        m.direction[more] = SMALLEST_PIVOT * (row[k] + m.l2_reg)
        more += 1
    if more == 0:
        return last
    m.work += more * <Py_ssize_t> (n + more) * (n + more) // SPEED_OF_MANY
    joined = factor_append_many(m.cholesky, m.room_size, n, more, m.direction)
    for a in range(first, last):
        k = m.order[a]
        if m.w[k] != 0.0:
            if m.n_rows == n + joined:
                return a
            m.order[m.n_rows] = <int32_t> k
            m.n_rows += 1
    return last


cdef void slide(Fit* m, Py_ssize_t k) noexcept nogil:
    # Column k is a combination c of those of the factor: along w_k + t, w_j - t c_j predictions stand still, and the
    # penalty is linear up to where the first coefficient reaches 0. Go there downhill.
    cdef int a, first
    cdef Py_ssize_t j
    cdef const double* row = m.matrix + k * m.stride
    cdef double slope = tangent(m, k), size = m.alpha * m.factor[k], length, by
    for a in range(m.n_rows):
        m.direction[a] = row[m.order[a]]
    factor_solve(m.cholesky, m.room_size, m.n_rows, m.direction)
    for a in range(m.n_rows):
        j = m.order[a]
        slope -= m.direction[a] * tangent(m, j)
        size += fabs(m.direction[a]) * m.alpha * m.factor[j]
    # On the level the coefficient leaves that the factor has no room for.
    if fabs(slope) <= SMALLEST_EXCESS * size:
        slope = m.w[k]
    by = -1.0 if slope > 0.0 else 1.0
    length = way_to_zero(m, k, by, &first)
    if length == INFINITY:
        # No penalty falls without end: the slope is rounding, and nothing is lost by going the other way.
        by = -by
        length = way_to_zero(m, k, by, &first)
    by *= length
    m.w[k] = m.w[k] + by if first >= 0 else 0.0
    for a in range(m.n_rows):
        j = m.order[a]
        m.w[j] = 0.0 if a == first else m.w[j] - by * m.direction[a]
    if first >= 0:
        leave(m, first)


cdef double way_to_zero(const Fit* m, Py_ssize_t k, double by, int* first) noexcept nogil:
    # How far it is, along a slide of coordinate k in this direction, to where a coefficient reaches 0: that in place
    # `first` of the factor, or k itself at -1.
    cdef int a
    cdef double w, length = fabs(m.w[k]) if by * m.w[k] < 0.0 else INFINITY
    first[0] = -1
    for a in range(m.n_rows):
        w = m.w[m.order[a]]
        if w * by * m.direction[a] > 0.0 and fabs(w) < length * fabs(m.direction[a]):
            length = fabs(w / m.direction[a])
            first[0] = a
    return length


cdef inline double tangent(const Fit* m, Py_ssize_t k) noexcept nogil:
    # The derivative of the objective in a coefficient that is not 0.
    return m.gradient[k] + m.l2_reg * m.w[k] + (m.alpha if m.w[k] > 0.0 else -m.alpha) * m.factor[k]


cdef void leave(Fit* m, int place) noexcept nogil:
    # A row leaves the factor.
    cdef int a
    factor_remove(m.cholesky, m.room_size, m.n_rows, place, m.direction)
    m.n_rows -= 1
    for a in range(place, m.n_rows):
        m.order[a] = m.order[a + 1]
    m.work += m.n_rows * <Py_ssize_t> m.n_rows


cdef int newton(Fit* m, bint anew, bint patient) except -1 nogil:
    # Go to the minimum on the support, from where the first coefficient reaches 0 on with one less; return False where
    # the step is cut, which it is not if `patient`.
    cdef int a, first, crossing, leg = 0
    cdef Py_ssize_t k
    cdef double length, left = 1.0, w
    factorise(m, anew)
    # The gradient on the support, penalty included: it shrinks in proportion on the way to a minimum.
    for a in range(m.n_rows):
        m.room[a] = -tangent(m, m.order[a])
    while m.n_rows > 0:
        first, crossing, length = -1, 0, 1.0
        for a in range(m.n_rows):
            m.direction[a] = left * m.room[a]
        factor_solve(m.cholesky, m.room_size, m.n_rows, m.direction)
        m.work += m.n_rows * <Py_ssize_t> m.n_rows
        for a in range(m.n_rows):
            w = m.w[m.order[a]]
            if (w > 0.0) != (w + m.direction[a] > 0.0):
                crossing += 1
                if fabs(w) < length * fabs(m.direction[a]) or first < 0:
                    length = fmin(fabs(w / m.direction[a]), 1.0)
                    first = a
        for a in range(m.n_rows):
            k = m.order[a]
            m.w[k] = 0.0 if a == first else m.w[k] + length * m.direction[a]
        if first < 0:
            break
        leg += 1
        look(m)
        if leg == 1 and not patient and crossing > MOST_LEGS and 4 * crossing > m.n_rows:
            leg = -1
            break
        left *= 1.0 - length
        leave(m, first)
        for a in range(first, m.n_rows):
            m.room[a] = m.room[a + 1]
    # Nearly all coefficients have changed: anew costs no more.
    refresh(m)
    return leg >= 0


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
) except? -1 nogil:
    # Return the epochs it took, -1 less these where it gave up.
    cdef Py_ssize_t epochs = 0
    cdef int _round, visits, cuts = 0
    cdef bint there, stable, anew = False, tried = False
    m.twins_enter = m.passed_over = False
    for _round in range(MOST_ROUNDS):
        look(m)
        there = newton(m, anew, cuts >= MOST_CUTS)
        cuts = 0 if there else cuts + 1
        anew = stable = False
        visits = 0
        # Beyond a minimum there is only to see who enters.
        while visits < (1 if there else EPOCHS_PER_ROUND) and not stable:
            if epochs >= max_epochs:
                return -1 - epochs
            stable = enter(m) if there else epoch(m)
            epochs += 1
            visits += 1
        if not (there and stable):
            continue
        if not m.fresh:
            refresh(m)
        certify(m, objective, gap, violation)
        if gap[0] <= tol:
            if violation[0] <= polished or tried:
                return epochs
            # By a factor that no update has touched.
            tried = anew = True
        else:
            # They may differ from their twins by more than the rounding of products after all.
            m.twins_enter = m.passed_over
    return -1 - epochs


cdef double steepest(const Fit* m) noexcept nogil:
    # The largest violation: how far a derivative is from 0, or beyond the strength.
    cdef Py_ssize_t k
    cdef double worst = 0.0, strength
    for k in range(m.size):
        strength = m.alpha * m.factor[k]
        if m.w[k] != 0.0:
            worst = fmax(worst, fabs(tangent(m, k)))
        else:
            worst = fmax(worst, fabs(m.gradient[k]) - strength)
    return worst


cdef Py_ssize_t walk(Fit* m, Py_ssize_t max_epochs) noexcept nogil:
    # Epochs until the largest violation is a share of what it was; return how many, negative where that is not reached.
    cdef double first = steepest(m), now = first, last
    cdef Py_ssize_t n = 0
    while n < LONGEST_WALK and n < max_epochs:
        epoch(m)
        n += 1
        last, now = now, steepest(m)
        if now <= SETTLED * first:
            return n
        if n > 2 and now > SLOW * last:
            break
    return -n


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
    double[::1] work not None,                 # WORK, (3 size,)
    double[:, ::1] cholesky not None,          # IN/OUT, (room, room), room at least size
    int32_t[::1] order not None,               # IN/OUT, (room + 1,)
    int32_t[::1] twins not None,               # IN/OUT, (room + 1,)
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
    work : ndarray of shape (3 size,)
        Room.
    cholesky, order : ndarray of shape (room, room) and (room + 1,)
        The factor of the last step and which coordinates its rows are, their number at the end: 0 before the first
        call. They can be handed to the next one as long as the matrix, apart from columns that join at the end, and
        the ridge stay.
    twins : ndarray of shape (room + 1,)
        Which columns are multiples of earlier ones and stay at 0, and of how many that is known at the end: 0 until
        some depend on each other. Good for as long as the factor, ``factor`` and ``positive`` are.

    Returns
    -------
    n_done : int
        How many fits have reached ``tol``; the rest of ``coefs`` and ``figures`` is not written, but for the epochs
        of the fit that gave up. Fewer than all also where they have taken long: another call goes on from w.
    """
    cdef Fit m
    cdef Py_ssize_t k, j, epochs
    cdef double objective = 0.0, gap = 0.0, violation = 0.0
    m.stride, m.size = matrix.shape[1], w.shape[0]
    if m.size == 0:
        return 0
    m.matrix, m.factor, m.null_gradient = &matrix[0, 0], &factor[0], &null_gradient[0]
    m.null_square, m.l2_reg, m.positive = null_square, l2_reg, positive
    m.w, m.gradient, m.direction, m.room = &w[0], &work[0], &work[m.size], &work[2 * m.size]
    m.cholesky, m.order, m.twins, m.room_size = &cholesky[0, 0], &order[0], &twins[0], <int> cholesky.shape[0]
    m.n_rows, m.work, m.looked, m.noise = order[m.room_size], 0, 0, 0.0
    for k in range(m.size):
        m.noise = fmax(m.noise, ROUNDING * fabs(m.null_gradient[k]))
    with nogil:
        if m.twins[m.room_size] > 0:
            find_twins(&m)
        refresh(&m)
        for k in range(alphas.shape[0]):
            m.alpha = alphas[k]
            epochs = descend(&m, max_epochs, tol, polished, &objective, &gap, &violation)
            order[m.room_size] = m.n_rows
            if epochs < 0:
                figures[k, 3] = <double> (-1 - epochs)
                with gil:
                    return k
            for j in range(m.size):
                coefs[k, j] = w[j]
            figures[k, 0] = objective
            figures[k, 1] = gap
            figures[k, 2] = violation
            figures[k, 3] = <double> epochs
            if m.work > WORK_PER_CALL:
                with gil:
                    return k + 1
    return alphas.shape[0]
