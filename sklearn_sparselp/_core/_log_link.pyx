# Losses of targets with the mean exp(f): Poisson and gamma, half their deviance.
# Their curvature has no bound; no quadratic is nowhere below them.

from libc.math cimport INFINITY, exp, fmax, fmin, log, log1p

from ._loss cimport Loss


cdef class Poisson(Loss):
    """``loss(y, f) = exp(f) - y f + y log(y) - y`` for y >= 0: half the deviance at the mean exp(f)."""

    def __init__(self):
        self.quadratic = False
        self.curvature_bound = INFINITY

    def value(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return the weighted sum of the losses; infinite where exp(f_i) is."""
        cdef Py_ssize_t i
        cdef double total = 0.0
        with nogil:
            for i in range(y.shape[0]):
                if s[i] > 0.0:
                    total += s[i] * (exp(f[i]) + (y[i] * (log(y[i]) - f[i] - 1.0) if y[i] > 0.0 else 0.0))
        return total

    cdef double differentiate(self, const double* y, const double* f, const double* s, Py_ssize_t n,
                              double* gradient, double* curvature) noexcept nogil:
        # Fill s_i (exp(f_i) - y_i) and s_i exp(f_i); return value.
        cdef Py_ssize_t i
        cdef double mean, total = 0.0
        for i in range(n):
            if s[i] > 0.0:
                mean = exp(f[i])
                gradient[i] = s[i] * (mean - y[i])
                curvature[i] = s[i] * mean
                total += s[i] * (mean + (y[i] * (log(y[i]) - f[i] - 1.0) if y[i] > 0.0 else 0.0))
            else:
                gradient[i] = 0.0
                curvature[i] = 0.0
        return total

    cdef double search_shift(self, const double* y, const double* f, const double* s, Py_ssize_t n,
                             double start) noexcept nogil:
        # log(sum_i s_i y_i) - log(sum_i s_i exp(f_i)), minus infinity where every y_i is 0.
        cdef Py_ssize_t i
        cdef double targets = 0.0, means = 0.0, highest = -INFINITY
        for i in range(n):
            if s[i] > 0.0 and f[i] > highest:
                highest = f[i]
        for i in range(n):
            if s[i] > 0.0:
                targets += s[i] * y[i]
                means += s[i] * exp(f[i] - highest)
        return log(targets) - log(means) - highest if targets > 0.0 else -INFINITY

    def majoriser(self, const double[::1] y not None, const double[::1] f not None,
                  const double[::1] s not None, const double[::1] reach not None, double[::1] curvature not None):
        """Fill ``s_i exp(f_i + reach_i)``, but no more than ``s_i max(exp(f_i), y_i)``.

        No quadratic is nowhere below. The second is not below on the way to ``f = log(y)``.
        """
        cdef Py_ssize_t i
        with nogil:
            for i in range(y.shape[0]):
                curvature[i] = s[i] * fmin(exp(f[i] + reach[i]), fmax(exp(f[i]), y[i])) if s[i] > 0.0 else 0.0

    cdef double conjugate_of(self, const double* y, const double* dual, double scale, const double* s,
                             Py_ssize_t n) noexcept nogil:
        # Return sum_i s_i (m_i log m_i - m_i - y_i log y_i + y_i), m_i = y_i + scale dual_i / s_i.
        # Infinite where an m_i is negative.
        cdef Py_ssize_t i
        cdef double total = 0.0, mean
        for i in range(n):
            if s[i] > 0.0:
                mean = y[i] + scale * dual[i] / s[i]
                if mean < -1e-14 * y[i]:
                    total = INFINITY
                    break
                if mean > 0.0:
                    total += s[i] * mean * (log(mean) - 1.0)
                if y[i] > 0.0:
                    total -= s[i] * y[i] * (log(y[i]) - 1.0)
        return total


cdef class Gamma(Loss):
    """``loss(y, f) = y exp(-f) + f - log(y) - 1`` for y > 0: half the deviance at the mean exp(f)."""

    def __init__(self):
        self.quadratic = False
        self.curvature_bound = INFINITY

    def value(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return the weighted sum of the losses; infinite where y_i exp(-f_i) is."""
        cdef Py_ssize_t i
        cdef double total = 0.0, log_ratio
        with nogil:
            for i in range(y.shape[0]):
                if s[i] > 0.0:
                    log_ratio = log(y[i]) - f[i]
                    total += s[i] * (exp(log_ratio) - log_ratio - 1.0)
        return total

    cdef double differentiate(self, const double* y, const double* f, const double* s, Py_ssize_t n,
                              double* gradient, double* curvature) noexcept nogil:
        # Fill s_i (1 - y_i exp(-f_i)) and s_i y_i exp(-f_i); return value.
        cdef Py_ssize_t i
        cdef double ratio, log_ratio, total = 0.0
        for i in range(n):
            if s[i] > 0.0:
                log_ratio = log(y[i]) - f[i]
                ratio = exp(log_ratio)
                gradient[i] = s[i] * (1.0 - ratio)
                curvature[i] = s[i] * ratio
                total += s[i] * (ratio - log_ratio - 1.0)
            else:
                gradient[i] = 0.0
                curvature[i] = 0.0
        return total

    cdef double search_shift(self, const double* y, const double* f, const double* s, Py_ssize_t n,
                             double start) noexcept nogil:
        # log(sum_i s_i y_i exp(-f_i) / sum_i s_i).
        cdef Py_ssize_t i
        cdef double total = 0.0, weight = 0.0, highest = -INFINITY
        for i in range(n):
            if s[i] > 0.0 and log(y[i]) - f[i] > highest:
                highest = log(y[i]) - f[i]
        for i in range(n):
            if s[i] > 0.0:
                weight += s[i]
                total += s[i] * exp(log(y[i]) - f[i] - highest)
        return highest + log(total / weight)

    def majoriser(self, const double[::1] y not None, const double[::1] f not None,
                  const double[::1] s not None, const double[::1] reach not None, double[::1] curvature not None):
        """Fill ``s_i y_i exp(reach_i - f_i)``, but no more than ``s_i max(y_i exp(-f_i), 1)``.

        No quadratic is nowhere below. The second is not below on the way to ``f = log(y)``.
        """
        cdef Py_ssize_t i
        cdef double log_ratio
        with nogil:
            for i in range(y.shape[0]):
                curvature[i] = 0.0
                if s[i] > 0.0:
                    log_ratio = log(y[i]) - f[i]
                    curvature[i] = s[i] * fmin(exp(log_ratio + reach[i]), fmax(exp(log_ratio), 1.0))

    cdef double conjugate_of(self, const double* y, const double* dual, double scale, const double* s,
                             Py_ssize_t n) noexcept nogil:
        # Return sum_i s_i (v_i log(y_i) + (1 - v_i) log(1 - v_i) + v_i), v_i = scale dual_i / s_i <= 1.
        # Infinite where a v_i is above 1.
        cdef Py_ssize_t i
        cdef double total = 0.0, v
        for i in range(n):
            if s[i] > 0.0:
                v = scale * dual[i] / s[i]
                if v > 1.0 + 1e-14:
                    total = INFINITY
                    break
                total += s[i] * (v * (log(y[i]) + 1.0) + ((1.0 - v) * log1p(-v) if v < 1.0 else 0.0))
        return total
