# Losses on whole vectors: value, gradient, curvature, conjugate.
# y: targets, f: predictions, s: weights that sum to one; every sum runs in double.

from libc.float cimport DBL_EPSILON as EPS
from libc.math cimport INFINITY, NAN, exp, fabs, fmax, fmin, log, log1p, tanh

from ._logistic cimport log_loss, log_loss_bent, log_loss_conjugate, log_loss_slopes

# Steps of the search for an intercept, at most: a bracket of any size is then down to rounding.
cdef int MAX_SEARCH = 100


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
        """Fill ``s_i loss'(y_i, f_i)`` and ``s_i loss''(y_i, f_i)``; return `value`."""
        cdef double total
        with nogil:
            total = self.differentiate(&y[0], &f[0], &s[0], y.shape[0], &gradient[0], &curvature[0])
        return total

    cdef double differentiate(self, const double* y, const double* f, const double* s, Py_ssize_t n,
                              double* gradient, double* curvature) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(n):
            gradient[i] = curvature[i] = NAN
        return NAN

    def majoriser(self, const double[::1] y not None, const double[::1] f not None,
                  const double[::1] s not None, const double[::1] reach not None, double[::1] curvature not None):
        """Fill curvatures of a quadratic that touches the loss at f and is not below it within ``f_i +- reach_i``."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(y.shape[0]):
                curvature[i] = self.curvature_bound * s[i]

    cdef void slopes(self, const double* y, const double* f, const double* s, Py_ssize_t n, double shift,
                     double* sums) noexcept nogil:
        sums[0] = sums[1] = sums[2] = NAN

    def best_shift(self, const double[::1] y not None, const double[::1] f not None, const double[::1] s not None,
                   double start=0.0):
        """Return the b at which ``value`` of ``f + b`` is smallest, searched from ``start``.

        Newton's steps within a shrinking bracket, up to rounding of the slope.
        """
        cdef double shift
        with nogil:
            shift = self.search_shift(&y[0], &f[0], &s[0], y.shape[0], start)
        return shift

    cdef double search_shift(self, const double* y, const double* f, const double* s, Py_ssize_t n,
                             double start) noexcept nogil:
        cdef double sums[3]
        cdef double low = -INFINITY, high = INFINITY, b = start, new, reach = 0.0, slope
        cdef int _
        for _ in range(MAX_SEARCH):
            self.slopes(y, f, s, n, b, sums)
            slope = sums[0]
            if not fabs(slope) > 4.0 * EPS * sums[2]:
                break
            if slope < 0.0:
                low = b
            else:
                high = b
            new = b - slope / sums[1] if 1e300 * sums[1] > fabs(slope) else INFINITY
            if low > -INFINITY and high < INFINITY:
                if not low < new < high:
                    new = 0.5 * (low + high)
            else:
                # Not bracketed yet: where the slope has levelled out Newton's step has no bound of its own.
                reach = fmax(4.0 * reach, fabs(slope) / self.curvature_bound)
                new = b + (fmin(fabs(new - b), reach) if slope < 0.0 else -fmin(fabs(new - b), reach))
            if fabs(new - b) <= 4.0 * EPS * fabs(new):
                b = new
                break
            b = new
        return b if sums[0] == sums[0] else NAN

    def conjugate(self, const double[::1] y not None, const double[::1] dual not None, double scale,
                  const double[::1] s not None):
        """Return ``sup_f <scale dual, f> - sum_i s_i loss(y_i, f_i)``, infinite where that is."""
        cdef double total
        with nogil:
            total = self.conjugate_of(&y[0], &dual[0], scale, &s[0], y.shape[0])
        return total

    cdef double conjugate_of(self, const double* y, const double* dual, double scale, const double* s,
                             Py_ssize_t n) noexcept nogil:
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
        """Fill ``s_i (f_i - y_i)`` and ``s_i``; return `value`."""
        cdef Py_ssize_t i
        cdef double total = 0.0
        with nogil:
            for i in range(y.shape[0]):
                gradient[i] = s[i] * (f[i] - y[i])
                curvature[i] = s[i]
                total += gradient[i] * (f[i] - y[i])
        return 0.5 * total

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
        """Fill ``s_i clip(f_i - y_i, -epsilon, epsilon)`` and ``s_i`` inside, 0 outside; return `value`."""
        cdef Py_ssize_t i
        cdef double residual, total = 0.0, epsilon = self.epsilon
        with nogil:
            for i in range(y.shape[0]):
                residual = f[i] - y[i]
                if fabs(residual) <= epsilon:
                    gradient[i] = s[i] * residual
                    curvature[i] = s[i]
                    total += 0.5 * gradient[i] * residual
                else:
                    gradient[i] = s[i] * (epsilon if residual > 0.0 else -epsilon)
                    curvature[i] = 0.0
                    total += gradient[i] * residual - 0.5 * s[i] * epsilon * epsilon
        return total

    def majoriser(self, const double[::1] y not None, const double[::1] f not None,
                  const double[::1] s not None, const double[::1] reach not None, double[::1] curvature not None):
        """Fill ``s_i min(1, epsilon / |f_i - y_i|)``, 0 for a linear piece longer than ``reach_i``.

        The loss is concave in the squared residual.
        """
        cdef Py_ssize_t i
        cdef double size, epsilon = self.epsilon
        with nogil:
            for i in range(y.shape[0]):
                size = fabs(f[i] - y[i])
                if size <= epsilon:
                    curvature[i] = s[i]
                else:
                    curvature[i] = s[i] * epsilon / size if size - reach[i] <= epsilon else 0.0

    cdef void slopes(self, const double* y, const double* f, const double* s, Py_ssize_t n, double shift,
                     double* sums) noexcept nogil:
        cdef Py_ssize_t i
        cdef double residual, slope = 0.0, bend = 0.0, size = 0.0, epsilon = self.epsilon
        for i in range(n):
            residual = f[i] + shift - y[i]
            if fabs(residual) <= epsilon:
                slope += s[i] * residual
                bend += s[i]
                size += s[i] * fabs(residual)
            else:
                slope += s[i] * epsilon if residual > 0.0 else -s[i] * epsilon
                size += s[i] * epsilon
        sums[0], sums[1], sums[2] = slope, bend, size

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
        cdef double total
        with nogil:
            total = log_loss(&y[0], &f[0], &s[0], y.shape[0])
        return total

    cdef double differentiate(self, const double* y, const double* f, const double* s, Py_ssize_t n,
                              double* gradient, double* curvature) noexcept nogil:
        # Fill s_i (sigma(f_i) - y_i) and s_i sigma(f_i) sigma(-f_i), without cancellation; return value.
        return log_loss_bent(y, f, s, n, gradient, curvature)

    def majoriser(self, const double[::1] y not None, const double[::1] f not None,
                  const double[::1] s not None, const double[::1] reach not None, double[::1] curvature not None):
        """Fill the smaller of ``loss''`` at its largest within ``reach_i`` and ``s_i tanh(|f_i|/2) / (2 |f_i|)``.

        The second is the least curvature of a quadratic that is nowhere below (Jaakkola and Jordan,
        "Bayesian parameter estimation via variational methods", Stat. Comput. 10 (2000)).
        """
        cdef Py_ssize_t i
        cdef double size, small, bend
        with nogil:
            for i in range(y.shape[0]):
                size = fabs(f[i])
                bend = 0.25
                if size > reach[i]:
                    small = exp(reach[i] - size)
                    bend = small / ((1.0 + small) * (1.0 + small))
                # Within a short reach the other is no smaller.
                if reach[i] > 0.5 and size > 1e-4:
                    bend = fmin(bend, 0.5 * tanh(0.5 * size) / size)
                curvature[i] = s[i] * bend

    cdef void slopes(self, const double* y, const double* f, const double* s, Py_ssize_t n, double shift,
                     double* sums) noexcept nogil:
        log_loss_slopes(y, f, s, n, shift, sums)

    cdef double conjugate_of(self, const double* y, const double* dual, double scale, const double* s,
                             Py_ssize_t n) noexcept nogil:
        return log_loss_conjugate(y, dual, scale, s, n)


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
        """Fill ``s_i (p_ki - y_ki)`` and ``s_i p_ki (1 - p_ki)``, p the softmax of f; return `value`."""
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
        return self.value(y, f, s)

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
        """Fill ``-2 t_i s_i max(0, 1 - t_i f_i)``, and ``2 s_i`` where that is not 0; return `value`."""
        cdef Py_ssize_t i
        cdef double short, total = 0.0
        with nogil:
            for i in range(y.shape[0]):
                short = 1.0 - f[i] if y[i] > 0.5 else 1.0 + f[i]
                if short > 0.0:
                    gradient[i] = -2.0 * s[i] * short if y[i] > 0.5 else 2.0 * s[i] * short
                    curvature[i] = 2.0 * s[i]
                    if s[i] > 0.0:
                        total += s[i] * short * short
                else:
                    gradient[i] = 0.0
                    curvature[i] = 0.0
        return total

    def majoriser(self, const double[::1] y not None, const double[::1] f not None,
                  const double[::1] s not None, const double[::1] reach not None, double[::1] curvature not None):
        """Fill ``2 s_i``, 0 where the loss is 0 within ``reach_i``."""
        cdef Py_ssize_t i
        cdef double short
        with nogil:
            for i in range(y.shape[0]):
                short = 1.0 - f[i] if y[i] > 0.5 else 1.0 + f[i]
                curvature[i] = 2.0 * s[i] if short + reach[i] > 0.0 else 0.0

    cdef void slopes(self, const double* y, const double* f, const double* s, Py_ssize_t n, double shift,
                     double* sums) noexcept nogil:
        cdef Py_ssize_t i
        cdef double short, slope = 0.0, bend = 0.0, size = 0.0
        for i in range(n):
            short = 1.0 - f[i] - shift if y[i] > 0.5 else 1.0 + f[i] + shift
            if short > 0.0:
                bend += 2.0 * s[i]
                size += 2.0 * s[i] * short
                slope += -2.0 * s[i] * short if y[i] > 0.5 else 2.0 * s[i] * short
        sums[0], sums[1], sums[2] = slope, bend, size

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
