# How far each coordinate is from a fixed point, and which ones have a coefficient or are near to getting one.

from libc.math cimport fabs, isinf

import numpy as np

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint32_t

from ._columns cimport axpy_double  # no-cython-lint: its file defines SPARSELP_CLONES
from ._penalty cimport Penalty

cdef extern from *:
    """
    /* Which of 32 coefficients are not zero, or have a gradient of `far` at least, as bits; the span is widened to the
       gradients of the others. */
    SPARSELP_CLONES static uint32_t sparselp_near_ones(const double *g, const double *w, double far, double *span) {
        double low = span[0], high = span[1];
        uint32_t near = 0;
        _Pragma("omp simd reduction(min : low) reduction(max : high) reduction(| : near)")
        for (int i = 0; i < 32; i++) {
            int is_near = !(w[i] == 0.0) | !(__builtin_fabs(g[i]) < far);
            double pull = is_near ? 0.0 : g[i];
            near |= (uint32_t)is_near << i;
            low = pull < low ? pull : low;
            high = pull > high ? pull : high;
        }
        span[0] = low;
        span[1] = high;
        return near;
    }
    static inline int sparselp_first_one(uint32_t bits) { return __builtin_ctz(bits); }
    """
    uint32_t near_ones "sparselp_near_ones"(const double* g, const double* w, double far, double* span) noexcept nogil
    int first_one "sparselp_first_one"(uint32_t bits) noexcept nogil

# Features that are looked at together, as the loop above does.
cdef Py_ssize_t FAR_AT_ONCE = 32
# Share of the gradient that it takes to enter below which a coefficient is far from entering.
cdef double FAR = 0.5
# Features that a thread looks at before it takes others.
cdef Py_ssize_t FEATURES_AT_ONCE = 32_768


def violations(Penalty penalty not None, const double[::1] w not None, const double[::1] gradient not None,
               const double[::1] lipschitz not None, const double[::1] entry not None, double near,
               int64_t[::1] found not None, double[::1] values not None, int n_threads):
    """Find the ``L_j |w_j - T_j(w_j - gradient_j / L_j)|`` of the features that have a coefficient or are near to one.

    A coefficient that is zero and stays zero has ``|gradient_j| / entry_j - 1``, at most 0, instead: how near it is to
    entering.

    Parameters
    ----------
    penalty : Penalty
        Bound to ``lipschitz``.
    w, gradient : ndarray of shape (n_features,), dtype float64
        Coefficients and gradient of the smooth part, ridge included.
    lipschitz : ndarray of shape (n_features,), dtype float64
        The bounds L_j; 0 marks a coordinate that stays at 0.
    entry : ndarray of shape (n_features,), dtype float64
        From `entry_gradients`: zero coordinates below it are not evaluated. Empty: they are computed, for penalties
        where that is cheap.
    near : float
        Above 0 and at most 0.5.
    found : ndarray of shape (n_features,), dtype int64
        Takes, ascending, the features that have a coefficient or whose value is above ``-near``. Only what it takes is
        written, in two places of it.
    values : ndarray of shape (n_features,), dtype float64
        Takes their values, likewise; may be ``gradient`` itself.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    largest : float
        Largest violation, at least 0.
    bound : float
        ``max_j |gradient_j| / entry_j``, `dual_bound` where the ``entry_j`` are strengths: an L1 norm without a ridge.
    n_found : int
    """
    cdef Py_ssize_t piece, n_features = w.shape[0], n_pieces = (n_features + FEATURES_AT_ONCE - 1) // FEATURES_AT_ONCE
    cdef Py_ssize_t k, n_found = 0
    cdef double largest = 0.0, bound = 0.0
    cdef double[:, ::1] most = np.empty((n_pieces, 2))
    cdef int64_t[::1] counts = np.empty(n_pieces, dtype=np.int64)
    for piece in prange(n_pieces, nogil=True, schedule="static", num_threads=n_threads):
        _violations_of(
            penalty, w, gradient, lipschitz, entry, piece * FEATURES_AT_ONCE,
            min((piece + 1) * FEATURES_AT_ONCE, n_features), near, &most[piece, 0], found, values, &counts[piece],
        )
    for piece in range(n_pieces):
        for k in range(counts[piece]):
            found[n_found] = found[piece * FEATURES_AT_ONCE + k]
            values[n_found] = values[piece * FEATURES_AT_ONCE + k]
            n_found += 1
        largest = max(largest, most[piece, 0])
        bound = max(bound, most[piece, 1])
    return largest, bound, n_found


cdef void _violations_of(
    Penalty penalty, const double[::1] w, const double[::1] gradient, const double[::1] lipschitz,
    const double[::1] entry, Py_ssize_t first, Py_ssize_t last, double near, double* most, int64_t[::1] found,
    double[::1] values, int64_t* count,
) noexcept nogil:
    # What is found takes places up to the feature itself, whose gradient has been read.
    cdef Py_ssize_t j, head = first, n_found = 0
    cdef uint32_t left
    cdef double largest = 0.0, violation, pull, size, limit, bound = 0.0, far = FAR * penalty.least_entry()
    # The lowest and the highest gradient of the coordinates that are far from entering.
    cdef double[2] span
    cdef bint positive = penalty.positive, kept = entry.shape[0] > 0
    span[0], span[1] = 0.0, 0.0
    while head < last:
        if last - head < FAR_AT_ONCE:
            left = (<uint32_t> 1 << (last - head)) - 1
        else:
            left = near_ones(&gradient[head], &w[head], far, span) if far > 0.0 else <uint32_t> 0xFFFFFFFF
        while left:
            j = head + first_one(left)
            left &= left - 1
            pull = gradient[j]
            limit = entry[j] if kept else penalty.entry_gradient(lipschitz[j], j)
            size = -pull if positive else fabs(pull)
            # No division where it does not matter.
            if size > bound * limit and limit > 0.0:
                bound = size / limit
            size = fabs(pull)
            violation = -1.0
            if w[j] == 0.0 and size <= limit:
                if size > FAR * limit and limit > 0.0:
                    violation = size / limit - 1.0
            elif not isinf(limit):
                violation = lipschitz[j] * fabs(w[j] - penalty.update(w[j] - pull / lipschitz[j], lipschitz[j], j))
            if w[j] != 0.0 or violation > -near:
                found[first + n_found] = j
                values[first + n_found] = violation
                n_found += 1
            if violation > largest:
                largest = violation
        head += FAR_AT_ONCE
    if far > 0.0:
        size = -span[0] if positive or -span[0] > span[1] else span[1]
        if size * FAR > bound * far:
            bound = size * FAR / far
    most[0], most[1], count[0] = largest, bound, n_found


def violation_on(Penalty penalty not None, const int64_t[::1] features not None, const double[::1] w not None,
                 const double[::1] gradient not None, const double[::1] lipschitz not None):
    """Return ``max_k L_j |w_k - T_j(w_k - gradient_k / L_j)|`` over some features, ``j = features[k]``, L_j above 0."""
    cdef Py_ssize_t j, k
    cdef double largest = 0.0, violation
    with nogil:
        for k in range(w.shape[0]):
            j = features[k]
            violation = lipschitz[j] * fabs(w[k] - penalty.update(w[k] - gradient[k] / lipschitz[j], lipschitz[j], j))
            if violation > largest:
                largest = violation
    return largest
