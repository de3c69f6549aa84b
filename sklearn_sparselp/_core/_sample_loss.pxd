# Losses of one sample: value and derivative, inline, chosen by a number once a sample.

from libc.math cimport copysign, exp, fabs, fmax, log1p


cdef enum SampleLoss:
    SQUARED_ERROR
    HUBER
    EPSILON_INSENSITIVE
    LOG_LOSS
    HINGE
    SQUARED_HINGE
    MODIFIED_HUBER


cdef inline double slope_of(SampleLoss loss, double epsilon, double y, double f, double* value) noexcept nogil:
    """Return the derivative of the loss at f; ``value`` gets the loss. Classes are y = -1 and 1."""
    cdef double z
    if loss == LOG_LOSS:
        z = y * f
        if z > 0.0:
            z = exp(-z)
            value[0] = log1p(z)
            return -y * z / (1.0 + z)
        value[0] = log1p(exp(z)) - z
        return -y / (1.0 + exp(z))
    if loss == SQUARED_ERROR:
        value[0] = 0.5 * (f - y) * (f - y)
        return f - y
    if loss == HUBER:
        z = f - y
        if fabs(z) <= epsilon:
            value[0] = 0.5 * z * z
            return z
        value[0] = epsilon * (fabs(z) - 0.5 * epsilon)
        return copysign(epsilon, z)
    if loss == EPSILON_INSENSITIVE:
        z = f - y
        value[0] = fmax(fabs(z) - epsilon, 0.0)
        return copysign(1.0, z) if fabs(z) > epsilon else 0.0
    z = 1.0 - y * f
    if z <= 0.0:
        value[0] = 0.0
        return 0.0
    if loss == HINGE:
        value[0] = z
        return -y
    if loss == MODIFIED_HUBER and z > 2.0:
        value[0] = 4.0 * (z - 1.0)
        return -4.0 * y
    value[0] = z * z
    return -2.0 * y * z
