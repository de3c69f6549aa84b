# Losses on whole vectors: value, gradient, curvature, conjugate.
# y: targets, f: predictions, s: weights that sum to one; every sum runs in double.

from libc.math cimport INFINITY, NAN, exp, fabs, log, log1p


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

    def best_shift(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return the b at which ``value`` of ``f + b`` is smallest, where that has a closed form."""
        return NAN

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


cdef class LogLoss(Loss):
    """``loss(y, f) = log(1 + exp(f)) - y f`` for y in {0, 1}: binary cross-entropy of the log-odds f."""

    def __init__(self):
        self.quadratic = False
        self.curvature_bound = 0.25

    def value(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return the weighted sum of the losses, to full accuracy however small they are."""
        cdef Py_ssize_t i
        cdef double total = 0.0, against
        with nogil:
            for i in range(y.shape[0]):
                # What speaks against the label: loss = log(1 + exp(against)).
                against = -f[i] if y[i] > 0.5 else f[i]
                if s[i] > 0.0:
                    total += s[i] * ((against if against > 0.0 else 0.0) + log1p(exp(-fabs(against))))
        return total

    def derivatives(self, const double[::1] y not None, const double[::1] f not None,
                    const double[::1] s not None, double[::1] gradient not None, double[::1] curvature not None):
        """Fill ``s_i (sigma(f_i) - y_i)`` and ``s_i sigma(f_i) sigma(-f_i)``, without cancellation."""
        cdef Py_ssize_t i
        cdef double small, likely, unlikely, against
        with nogil:
            for i in range(y.shape[0]):
                small = exp(-fabs(f[i]))
                likely = 1.0 / (1.0 + small)
                unlikely = small * likely
                against = likely if (f[i] > 0.0) != (y[i] > 0.5) else unlikely
                gradient[i] = -s[i] * against if y[i] > 0.5 else s[i] * against
                curvature[i] = s[i] * likely * unlikely

    def conjugate(self, const double[::1] y not None, const double[::1] dual not None, double scale,
                  const double[::1] s not None):
        """Return ``sum_i s_i (a_i log a_i + (1 - a_i) log(1 - a_i))``, ``a_i = |scale dual_i| / s_i`` in [0, 1].

        Infinite where a_i is above 1 or dual_i does not have the sign of ``1 - 2 y_i``.
        """
        cdef Py_ssize_t i
        cdef double total = 0.0, a
        with nogil:
            for i in range(y.shape[0]):
                if s[i] > 0.0:
                    a = scale * dual[i] / s[i]
                    a = -a if y[i] > 0.5 else a
                    if a < 0.0 or a > 1.0 + 1e-14:
                        total = INFINITY
                        break
                    if 0.0 < a < 1.0:
                        total += s[i] * (a * log(a) + (1.0 - a) * log1p(-a))
        return total


cdef class Multinomial(Loss):
    """``loss = log(sum_k exp(f_k)) - f_y``: cross-entropy of a softmax over classes.

    Predictions come class by class: ``f[k * n_samples + i]``, with weights repeated for each class and y 1 where
    k is the class of sample i and 0 elsewhere.

    Parameters
    ----------
    n_classes : int
    """

    cdef readonly Py_ssize_t n_classes

    def __init__(self, Py_ssize_t n_classes):
        self.quadratic = False
        self.curvature_bound = 0.25
        self.n_classes = n_classes

    def __reduce__(self):
        return (type(self), (self.n_classes,))

    def value(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return the weighted sum of the losses, to full accuracy however small they are."""
        cdef Py_ssize_t i, k, at, label, n = y.shape[0] // self.n_classes
        cdef double total = 0.0, highest, others
        with nogil:
            for i in range(n):
                if s[i] <= 0.0:
                    continue
                label = 0
                for k in range(self.n_classes):
                    if y[k * n + i] > 0.5:
                        label = k
                highest = -INFINITY
                for k in range(self.n_classes):
                    at = k * n + i
                    if k != label and f[at] - f[label * n + i] > highest:
                        highest = f[at] - f[label * n + i]
                others = 0.0
                for k in range(self.n_classes):
                    if k != label:
                        others += exp(f[k * n + i] - f[label * n + i] - highest)
                # log(1 + exp(highest) others)
                if highest > 0.0:
                    total += s[i] * (highest + log(others + exp(-highest)))
                else:
                    total += s[i] * log1p(exp(highest) * others)
        return total

    def derivatives(self, const double[::1] y not None, const double[::1] f not None,
                    const double[::1] s not None, double[::1] gradient not None, double[::1] curvature not None):
        """Fill ``s_i (p_ki - y_ki)`` and ``s_i p_ki (1 - p_ki)``, p the softmax of f."""
        cdef Py_ssize_t i, k, at, likely, n = y.shape[0] // self.n_classes
        cdef double highest, total, rest
        with nogil:
            for i in range(n):
                likely = 0
                highest = f[i]
                for k in range(1, self.n_classes):
                    if f[k * n + i] > highest:
                        highest = f[k * n + i]
                        likely = k
                rest = 0.0
                for k in range(self.n_classes):
                    at = k * n + i
                    gradient[at] = exp(f[at] - highest)
                    if k != likely:
                        rest += gradient[at]
                total = 1.0 + rest
                # 1 - p_k is summed for the likely class, and far from 0 for the others.
                for k in range(self.n_classes):
                    at = k * n + i
                    gradient[at] /= total
                    if k == likely:
                        curvature[at] = s[i] * gradient[at] * (rest / total)
                        gradient[at] = -s[i] * (rest / total) if y[at] > 0.5 else s[i] * gradient[at]
                    else:
                        curvature[at] = s[i] * gradient[at] * (1.0 - gradient[at])
                        gradient[at] = s[i] * (gradient[at] - 1.0) if y[at] > 0.5 else s[i] * gradient[at]

    def conjugate(self, const double[::1] y not None, const double[::1] dual not None, double scale,
                  const double[::1] s not None):
        """Return ``sum_ik s_i v_ki log(v_ki)``, ``v_ki = y_ki + scale dual_ki / s_i``; infinite for a negative v.

        The duals of a sample are taken to sum to 0.
        """
        cdef Py_ssize_t at
        cdef double total = 0.0, v
        with nogil:
            for at in range(y.shape[0]):
                if s[at] > 0.0:
                    v = scale * dual[at] / s[at]
                    if y[at] > 0.5:
                        if v < -1.0 - 1e-14:
                            total = INFINITY
                            break
                        if v > -1.0:
                            total += s[at] * (1.0 + v) * log1p(v)
                    else:
                        if v < -1e-14:
                            total = INFINITY
                            break
                        if v > 0.0:
                            total += s[at] * v * log(v)
        return total


cdef class SquaredHinge(Loss):
    """``loss(y, f) = max(0, 1 - t f)^2`` with t = 2 y - 1, for y in {0, 1}."""

    def __init__(self):
        self.quadratic = False
        self.curvature_bound = 2.0

    def value(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return the weighted sum of the losses."""
        cdef Py_ssize_t i
        cdef double total = 0.0, short
        with nogil:
            for i in range(y.shape[0]):
                short = 1.0 - f[i] if y[i] > 0.5 else 1.0 + f[i]
                if short > 0.0 and s[i] > 0.0:
                    total += s[i] * short * short
        return total

    def derivatives(self, const double[::1] y not None, const double[::1] f not None,
                    const double[::1] s not None, double[::1] gradient not None, double[::1] curvature not None):
        """Fill ``-2 t_i s_i max(0, 1 - t_i f_i)``, and ``2 s_i`` where that is not 0."""
        cdef Py_ssize_t i
        cdef double short
        with nogil:
            for i in range(y.shape[0]):
                short = 1.0 - f[i] if y[i] > 0.5 else 1.0 + f[i]
                if short > 0.0:
                    gradient[i] = -2.0 * s[i] * short if y[i] > 0.5 else 2.0 * s[i] * short
                    curvature[i] = 2.0 * s[i]
                else:
                    gradient[i] = 0.0
                    curvature[i] = 0.0

    def conjugate(self, const double[::1] y not None, const double[::1] dual not None, double scale,
                  const double[::1] s not None):
        """Return ``sum_i s_i (c_i^2 / 4 - c_i)`` with ``c_i = |scale dual_i| / s_i``.

        Infinite where dual_i does not have the sign of ``1 - 2 y_i``.
        """
        cdef double linear = 0.0, square = 0.0
        if not _hinge_terms(y, dual, s, &linear, &square):
            return INFINITY
        return scale * (0.25 * scale * square - linear)

    def best_scale(self, const double[::1] y not None, const double[::1] dual not None,
                   const double[::1] s not None, double limit):
        """Return the minimiser of `conjugate` over [0, limit]."""
        cdef double linear = 0.0, square = 0.0
        if not _hinge_terms(y, dual, s, &linear, &square) or square == 0.0:
            return min(limit, 1.0)
        return min(2.0 * linear / square, limit)


cdef bint _hinge_terms(const double[::1] y, const double[::1] dual, const double[::1] s,
                       double* linear, double* square) noexcept nogil:
    # Sums of s c and s c^2; whether every dual value has the sign that it may have.
    cdef Py_ssize_t i
    cdef double size
    for i in range(y.shape[0]):
        if s[i] > 0.0:
            size = -dual[i] if y[i] > 0.5 else dual[i]
            if size < 0.0:
                return False
            linear[0] += size
            square[0] += size * size / s[i]
    return True


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

    def derivatives(self, const double[::1] y not None, const double[::1] f not None,
                    const double[::1] s not None, double[::1] gradient not None, double[::1] curvature not None):
        """Fill ``s_i (exp(f_i) - y_i)`` and ``s_i exp(f_i)``."""
        cdef Py_ssize_t i
        cdef double mean
        with nogil:
            for i in range(y.shape[0]):
                mean = exp(f[i])
                gradient[i] = s[i] * (mean - y[i]) if s[i] > 0.0 else 0.0
                curvature[i] = s[i] * mean if s[i] > 0.0 else 0.0

    def best_shift(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return ``log(sum_i s_i y_i) - log(sum_i s_i exp(f_i))``, minus infinity where every y_i is 0."""
        cdef Py_ssize_t i
        cdef double targets = 0.0, means = 0.0, highest = -INFINITY
        with nogil:
            for i in range(y.shape[0]):
                if s[i] > 0.0 and f[i] > highest:
                    highest = f[i]
            for i in range(y.shape[0]):
                if s[i] > 0.0:
                    targets += s[i] * y[i]
                    means += s[i] * exp(f[i] - highest)
        return log(targets) - log(means) - highest if targets > 0.0 else -INFINITY

    def majoriser(self, const double[::1] y not None, const double[::1] f not None,
                  const double[::1] s not None, double[::1] curvature not None):
        """Fill ``s_i max(exp(f_i), y_i)``; no quadratic is nowhere below, this one is good for short steps."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(y.shape[0]):
                curvature[i] = s[i] * max(exp(f[i]), y[i]) if s[i] > 0.0 else 0.0

    def conjugate(self, const double[::1] y not None, const double[::1] dual not None, double scale,
                  const double[::1] s not None):
        """Return ``sum_i s_i (m_i log m_i - m_i - y_i log y_i + y_i)``, ``m_i = y_i + scale dual_i / s_i``.

        Infinite where an m_i is negative.
        """
        cdef Py_ssize_t i
        cdef double total = 0.0, mean
        with nogil:
            for i in range(y.shape[0]):
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

    def derivatives(self, const double[::1] y not None, const double[::1] f not None,
                    const double[::1] s not None, double[::1] gradient not None, double[::1] curvature not None):
        """Fill ``s_i (1 - y_i exp(-f_i))`` and ``s_i y_i exp(-f_i)``."""
        cdef Py_ssize_t i
        cdef double ratio
        with nogil:
            for i in range(y.shape[0]):
                ratio = exp(log(y[i]) - f[i])
                gradient[i] = s[i] * (1.0 - ratio) if s[i] > 0.0 else 0.0
                curvature[i] = s[i] * ratio if s[i] > 0.0 else 0.0

    def best_shift(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None):
        """Return ``log(sum_i s_i y_i exp(-f_i) / sum_i s_i)``."""
        cdef Py_ssize_t i
        cdef double total = 0.0, weight = 0.0, highest = -INFINITY
        with nogil:
            for i in range(y.shape[0]):
                if s[i] > 0.0 and log(y[i]) - f[i] > highest:
                    highest = log(y[i]) - f[i]
            for i in range(y.shape[0]):
                if s[i] > 0.0:
                    weight += s[i]
                    total += s[i] * exp(log(y[i]) - f[i] - highest)
        return highest + log(total / weight)

    def majoriser(self, const double[::1] y not None, const double[::1] f not None,
                  const double[::1] s not None, double[::1] curvature not None):
        """Fill ``s_i max(y_i exp(-f_i), 1)``; no quadratic is nowhere below, this one is good for short steps."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(y.shape[0]):
                curvature[i] = s[i] * max(exp(log(y[i]) - f[i]), 1.0) if s[i] > 0.0 else 0.0

    def conjugate(self, const double[::1] y not None, const double[::1] dual not None, double scale,
                  const double[::1] s not None):
        """Return ``sum_i s_i (v_i log(y_i) + (1 - v_i) log(1 - v_i) + v_i)``, ``v_i = scale dual_i / s_i <= 1``.

        Infinite where a v_i is above 1.
        """
        cdef Py_ssize_t i
        cdef double total = 0.0, v
        with nogil:
            for i in range(y.shape[0]):
                if s[i] > 0.0:
                    v = scale * dual[i] / s[i]
                    if v > 1.0 + 1e-14:
                        total = INFINITY
                        break
                    total += s[i] * (v * (log(y[i]) + 1.0) + ((1.0 - v) * log1p(-v) if v < 1.0 else 0.0))
        return total
