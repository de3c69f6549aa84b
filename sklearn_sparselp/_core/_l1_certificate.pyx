# Along a path for p = 1 and squared error: the certificates of several fits at once, from the gradients of a pass over
# X, and the strengths at which features will enter.

from libc.math cimport fabs, fmax

import numpy as np

from cython.parallel cimport prange

from ._columns cimport axpy_double  # no-cython-lint: its file defines SPARSELP_CLONES
from ._types cimport int64_t

cdef extern from *:
    """
    /* The largest gradient of the features that may have a coefficient; with a sign only where it is negative. */
    SPARSELP_CLONES static double sparselp_largest(const double *g, const double *l, int positive, Py_ssize_t n) {
        double largest = 0.0;
        if (positive) {
            _Pragma("omp simd reduction(max : largest)")
            for (Py_ssize_t i = 0; i < n; i++) {
                double pull = l[i] > 0.0 ? -g[i] : 0.0;
                largest = pull > largest ? pull : largest;
            }
        } else {
            _Pragma("omp simd reduction(max : largest)")
            for (Py_ssize_t i = 0; i < n; i++) {
                double pull = l[i] > 0.0 ? __builtin_fabs(g[i]) : 0.0;
                largest = pull > largest ? pull : largest;
            }
        }
        return largest;
    }
    /* Where the gradient, extrapolated from the strength `former` over `last`, meets the strength. */
    SPARSELP_CLONES static void sparselp_entering(const double *g, const double *f, const double *l, const double *u,
                                                  double least, double last, double former, double steepest,
                                                  int positive, double *out, Py_ssize_t n) {
        double per_step = former > last ? 1.0 / (last - former) : 0.0;
        _Pragma("omp simd")
        for (Py_ssize_t i = 0; i < n; i++) {
            double per_strength = l[i] > 0.0 ? (u ? 1.0 / (u[i] > least ? u[i] : least) : 1.0) : 0.0;
            double now = g[i] * per_strength, slope = (now - f[i] * per_strength) * per_step;
            slope = slope > steepest ? steepest : slope < -steepest ? -steepest : slope;
            double rest = slope * last - now, below = rest / (1.0 + slope), above = -rest / (1.0 - slope);
            out[i] = positive || below > above ? below : above;
        }
    }
    """
    double largest "sparselp_largest"(
        const double* g, const double* l, int positive, Py_ssize_t n) noexcept nogil
    void extrapolate "sparselp_entering"(
        const double* g, const double* f, const double* l, const double* u, double least, double last, double former,
        double steepest, int positive, double* out, Py_ssize_t n) noexcept nogil

# A gradient that is taken to change faster than so, against its strength, would never meet it.
cdef double STEEPEST = 0.9
# Smaller factors count as this one: with a ridge they may be 0.
cdef double LEAST_FACTOR = 1e-100
# Features that a thread looks at before it takes others.
cdef Py_ssize_t FEATURES_AT_ONCE = 32_768


def entering_strengths(
    const double[::1] gradient not None,      # IN, (n_features,)
    const double[::1] former not None,        # IN, (n_features,)
    const double[::1] factor not None,        # IN, (n_features,), or empty for ones
    const double[::1] lipschitz not None,     # IN, (n_features,)
    double last,
    double last_but_one,
    bint positive,
    double[::1] out not None,                 # OUT, (n_features,)
    int n_threads,
):
    """Fill the strengths at which gradients, linear in the strength, reach it: the secant in place of the Hessian.

    Larsson and Wallin, The Hessian screening rule, NeurIPS 2022, has the derivative in place of the secant.

    Parameters
    ----------
    gradient, former : ndarray of shape (n_features,)
        At the solutions for ``last`` and ``last_but_one``.
    factor : ndarray of shape (n_features,)
        The u_j.
    lipschitz : ndarray of shape (n_features,)
        0 marks a feature that never enters.
    last, last_but_one : float
        Descending strengths; equal ones stand for a gradient that does not change.
    positive : bool
        Whether only a negative gradient lets a feature enter.
    out : ndarray of shape (n_features,)
    n_threads : int
        The result does not depend on it.
    """
    cdef Py_ssize_t piece, n_features = out.shape[0]
    cdef Py_ssize_t n_pieces = (n_features + FEATURES_AT_ONCE - 1) // FEATURES_AT_ONCE
    for piece in prange(n_pieces, nogil=True, schedule="static", num_threads=n_threads):
        _extrapolate_some(
            gradient, former, factor, lipschitz, last, last_but_one, positive, piece * FEATURES_AT_ONCE,
            min((piece + 1) * FEATURES_AT_ONCE, n_features), out,
        )


cdef void _extrapolate_some(
    const double[::1] gradient, const double[::1] former, const double[::1] factor, const double[::1] lipschitz,
    double last, double last_but_one, bint positive, Py_ssize_t first, Py_ssize_t end, double[::1] out,
) noexcept nogil:
    extrapolate(
        &gradient[first], &former[first], &lipschitz[first], &factor[first] if factor.shape[0] else NULL, LEAST_FACTOR,
        last, last_but_one, STEEPEST, positive, &out[first], end - first,
    )


cdef double _largest(
    const double* g, const double[::1] lipschitz, bint positive, double[::1] pieces, int n_threads
) noexcept nogil:
    cdef Py_ssize_t piece, n_features = lipschitz.shape[0]
    cdef Py_ssize_t n_pieces = (n_features + FEATURES_AT_ONCE - 1) // FEATURES_AT_ONCE
    cdef double most = 0.0
    for piece in prange(n_pieces, schedule="static", num_threads=n_threads):
        pieces[piece] = largest(
            g + piece * FEATURES_AT_ONCE, &lipschitz[piece * FEATURES_AT_ONCE], positive,
            min(FEATURES_AT_ONCE, n_features - piece * FEATURES_AT_ONCE),
        )
    for piece in range(n_pieces):
        most = fmax(most, pieces[piece])
    return most


def largest_gradient(
    const double[::1] gradient not None,   # IN, (n_features,)
    const double[::1] lipschitz not None,  # IN, (n_features,)
    int n_threads,
):
    """Return ``max_j |gradient_j|`` over the features whose curvature bound is not 0; 0 if there are none."""
    cdef Py_ssize_t n_features = lipschitz.shape[0]
    if n_features == 0:
        return 0.0
    if n_features <= FEATURES_AT_ONCE:
        return largest(&gradient[0], &lipschitz[0], False, n_features)
    return _largest(&gradient[0], lipschitz, False, np.empty(n_features // FEATURES_AT_ONCE + 1), n_threads)


def l1_certificates(
    double[:, ::1] gradients not None,      # IN/OUT, (n_fits, n_features)
    const double[::1] factor not None,      # IN, (n_features,), or empty for ones
    const double[::1] lipschitz not None,   # IN, (n_features,)
    const double[::1] alphas not None,      # IN, (n_fits,), above 0
    double l2_reg,
    bint positive,
    const int64_t[::1] features not None,   # IN, (n_columns,)
    const double[:, ::1] coefs not None,    # IN, (n_fits, n_columns)
    const double[::1] linear not None,      # IN, (n_fits,)
    const double[::1] squares not None,     # IN, (n_fits,)
    double[:, ::1] figures not None,        # OUT, (n_fits, 3)
    int n_threads,
):
    """Fill objective, duality gap and largest violation of each fit, as `Certifier` has them.

    Parameters
    ----------
    gradients : ndarray of shape (n_fits, n_features)
        Of the loss; that of the ridge is added.
    factor : ndarray of shape (n_features,)
        The u_j, above 0.
    lipschitz : ndarray of shape (n_features,)
        The bounds L_j; 0 marks a coordinate that stays at 0.
    alphas : ndarray of shape (n_fits,)
    l2_reg : float
    positive : bool
    features, coefs : ndarray of shape (n_columns,) and (n_fits, n_columns)
        The features that may have a coefficient, and these coefficients.
    linear, squares : ndarray of shape (n_fits,)
        ``<raw gradient, y>`` and ``sum_i s_i (y_i - f_i)^2``.
    figures : ndarray of shape (n_fits, 3)
    n_threads : int
        The result does not depend on it.
    """
    cdef Py_ssize_t r, j, k, n_features = lipschitz.shape[0]
    cdef bint uniform = factor.shape[0] == 0
    cdef double alpha, bound, worst, conjugate, total, ridge, dual, scale, strength, pull, w, step
    cdef double* g
    cdef double[::1] pieces = np.empty((n_features + FEATURES_AT_ONCE - 1) // FEATURES_AT_ONCE)
    for r in range(alphas.shape[0] if n_features else 0):
        with nogil:
            alpha, g = alphas[r], &gradients[r, 0]
            conjugate, total, ridge = 0.0, 0.0, 0.0
            if l2_reg > 0.0:
                for j in range(n_features):
                    pull = -g[j] if positive else fabs(g[j])
                    strength = alpha if uniform else alpha * factor[j]
                    if pull > strength and lipschitz[j] > 0.0:
                        conjugate += (pull - strength) * (pull - strength)
                for k in range(features.shape[0]):
                    g[features[k]] += l2_reg * coefs[r, k]
                    ridge += coefs[r, k] * coefs[r, k]
            # Over coefficients too: there the violation below is no less.
            if uniform:
                bound = _largest(g, lipschitz, positive, pieces, n_threads)
                worst = fmax(bound - alpha, 0.0)
                bound /= alpha
            else:
                bound, worst = 0.0, 0.0
                for j in range(n_features):
                    pull = -g[j] if positive else fabs(g[j])
                    if lipschitz[j] > 0.0 and pull > bound * factor[j]:
                        bound = pull / factor[j]
                    if lipschitz[j] > 0.0 and pull - alpha * factor[j] > worst:
                        worst = pull - alpha * factor[j]
                bound /= alpha
            for k in range(features.shape[0]):
                w, j = coefs[r, k], features[k]
                if w == 0.0:
                    continue
                strength = alpha if uniform else alpha * factor[j]
                total += strength * fabs(w)
                step = w - g[j] / lipschitz[j]
                strength /= lipschitz[j]
                if step > strength:
                    step -= strength
                elif step < -strength and not positive:
                    step += strength
                else:
                    step = 0.0
                worst = fmax(worst, lipschitz[j] * fabs(w - step))
            figures[r, 0] = 0.5 * squares[r] + total + 0.5 * l2_reg * ridge
            if l2_reg > 0.0:
                dual = -linear[r] - 0.5 * squares[r] - conjugate / (2.0 * l2_reg)
            else:
                scale = fmax(-linear[r] / squares[r], 0.0) if squares[r] > 0.0 else 0.0
                if scale * bound > 1.0:
                    scale = 1.0 / bound
                dual = -scale * linear[r] - 0.5 * scale * scale * squares[r]
            figures[r, 1] = fmax(figures[r, 0] - dual, 0.0)
            figures[r, 2] = worst
