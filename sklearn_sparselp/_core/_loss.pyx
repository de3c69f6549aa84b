# Losses on whole vectors: value, gradient, curvature, conjugate.
# y: targets, f: predictions, s: weights that sum to one; every sum runs in double.

from libc.math cimport INFINITY, NAN, fabs


cdef class Loss:
    """Sample loss, ``sum_i s_i loss(y_i, f_i)``; what a subclass does not define is NaN.

    Attributes
    ----------
    quadratic : bool
        Whether the second derivative is 1 everywhere, so that steps are exact.
    curvature_bound : float
        Upper bound of the second derivative.
    """

    def __init__(self):
        self.quadratic = False
        self.curvature_bound = NAN

    def __reduce__(self):
        return (type(self), ())

    def value(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return ``sum_i s_i loss(y_i, f_i)``."""
        return NAN

    def derivatives(self, const double[::1] y not None, const double[::1] f not None,
                    const double[::1] s not None, double[::1] gradient not None, double[::1] curvature not None):
        """Fill ``s_i loss'(y_i, f_i)`` and ``s_i loss''(y_i, f_i)``."""
        gradient[:] = NAN
        curvature[:] = NAN

    def majoriser(self, const double[::1] y not None, const double[::1] f not None,
                  const double[::1] s not None, double[::1] curvature not None):
        """Fill curvatures of a quadratic that touches the loss at f and is nowhere below it."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(y.shape[0]):
                curvature[i] = self.curvature_bound * s[i]

    def conjugate(self, const double[::1] y not None, const double[::1] dual not None, double scale,
                  const double[::1] s not None):
        """Return ``sup_f <scale dual, f> - sum_i s_i loss(y_i, f_i)``."""
        return NAN

    def best_scale(self, const double[::1] y not None, const double[::1] dual not None,
                   const double[::1] s not None, double limit):
        """Return the scale in [0, limit] at which `conjugate` is smallest, or a good one."""
        return limit if limit < 1.0 else 1.0


cdef class SquaredError(Loss):
    """``loss(y, f) = (y - f)^2 / 2``."""

    def __init__(self):
        self.quadratic = True
        self.curvature_bound = 1.0

    def value(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return ``sum_i s_i (y_i - f_i)^2 / 2``."""
        cdef Py_ssize_t i
        cdef double total = 0.0
        with nogil:
            for i in range(y.shape[0]):
                total += s[i] * (y[i] - f[i]) * (y[i] - f[i])
        return 0.5 * total

    def derivatives(self, const double[::1] y not None, const double[::1] f not None,
                    const double[::1] s not None, double[::1] gradient not None, double[::1] curvature not None):
        """Fill ``s_i (f_i - y_i)`` and ``s_i``."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(y.shape[0]):
                gradient[i] = s[i] * (f[i] - y[i])
                curvature[i] = s[i]

    def conjugate(self, const double[::1] y not None, const double[::1] dual not None, double scale,
                  const double[::1] s not None):
        """Return ``sum_i scale dual_i y_i + (scale dual_i)^2 / (2 s_i)`` over the samples with weight."""
        cdef Py_ssize_t i
        cdef double linear = 0.0, square = 0.0
        with nogil:
            for i in range(y.shape[0]):
                if s[i] > 0.0:
                    linear += dual[i] * y[i]
                    square += dual[i] * dual[i] / s[i]
        return scale * linear + 0.5 * scale * scale * square

    def best_scale(self, const double[::1] y not None, const double[::1] dual not None,
                   const double[::1] s not None, double limit):
        """Return the minimiser of `conjugate` over [0, limit]."""
        cdef Py_ssize_t i
        cdef double linear = 0.0, square = 0.0, best
        with nogil:
            for i in range(y.shape[0]):
                if s[i] > 0.0:
                    linear += dual[i] * y[i]
                    square += dual[i] * dual[i] / s[i]
        best = -linear / square if square > 0.0 else 0.0
        return min(max(best, 0.0), limit)


cdef class Huber(Loss):
    """``loss(y, f) = r^2 / 2`` for ``|r| <= epsilon``, ``epsilon |r| - epsilon^2 / 2`` beyond, r = f - y.

    Parameters
    ----------
    epsilon : float
        Where the loss turns linear, in units of y.

    References
    ----------
    P. J. Huber, "Robust Estimation of a Location Parameter", Ann. Math. Statist. 35 (1964).
    """

    cdef readonly double epsilon

    def __init__(self, double epsilon=1.35):
        self.quadratic = False
        self.curvature_bound = 1.0
        self.epsilon = epsilon

    def __reduce__(self):
        return (type(self), (self.epsilon,))

    def value(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return the weighted sum of the losses."""
        cdef Py_ssize_t i
        cdef double total = 0.0, size, epsilon = self.epsilon
        with nogil:
            for i in range(y.shape[0]):
                size = fabs(f[i] - y[i])
                if size <= epsilon:
                    total += s[i] * 0.5 * size * size
                else:
                    total += s[i] * epsilon * (size - 0.5 * epsilon)
        return total

    def derivatives(self, const double[::1] y not None, const double[::1] f not None,
                    const double[::1] s not None, double[::1] gradient not None, double[::1] curvature not None):
        """Fill ``s_i clip(f_i - y_i, -epsilon, epsilon)`` and ``s_i`` inside, 0 outside."""
        cdef Py_ssize_t i
        cdef double residual, epsilon = self.epsilon
        with nogil:
            for i in range(y.shape[0]):
                residual = f[i] - y[i]
                if fabs(residual) <= epsilon:
                    gradient[i] = s[i] * residual
                    curvature[i] = s[i]
                else:
                    gradient[i] = s[i] * (epsilon if residual > 0.0 else -epsilon)
                    curvature[i] = 0.0

    def majoriser(self, const double[::1] y not None, const double[::1] f not None,
                  const double[::1] s not None, double[::1] curvature not None):
        """Fill ``s_i min(1, epsilon / |f_i - y_i|)``: the loss is concave in the squared residual."""
        cdef Py_ssize_t i
        cdef double size, epsilon = self.epsilon
        with nogil:
            for i in range(y.shape[0]):
                size = fabs(f[i] - y[i])
                curvature[i] = s[i] if size <= epsilon else s[i] * epsilon / size

    def conjugate(self, const double[::1] y not None, const double[::1] dual not None, double scale,
                  const double[::1] s not None):
        """Return the conjugate; infinite where ``|scale dual_i| > s_i epsilon``."""
        cdef Py_ssize_t i
        cdef double total = 0.0, value, epsilon = self.epsilon
        with nogil:
            for i in range(y.shape[0]):
                if s[i] > 0.0:
                    value = scale * dual[i]
                    if fabs(value) > s[i] * epsilon * (1.0 + 1e-14):
                        total = INFINITY
                        break
                    total += value * y[i] + 0.5 * value * value / s[i]
        return total
