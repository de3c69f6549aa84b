# Scalar proximal maps of scale |.|^p.

from libc.math cimport fabs, pow, sqrt


cdef struct LpProx:
    double p


cdef inline void lp_prox_init(LpProx* self, double p) noexcept nogil:
    self.p = p


cdef inline double lp_prox(const LpProx* self, double z, double scale) noexcept nogil:
    cdef double p = self.p, size = fabs(z), t, jump, power, step
    cdef int _
    if p == 1.0:
        t = size - scale
        if t <= 0.0:
            return 0.0
        return t if z > 0.0 else -t
    if scale == 0.0:
        return z
    if p == 2.0:
        return z / (1.0 + 2.0 * scale)
    if p == 0.0:
        return z if size > sqrt(2.0 * scale) else 0.0
    if size == 0.0:
        return 0.0
    if p < 1.0:
        jump = pow(2.0 * scale * (1.0 - p), 1.0 / (2.0 - p))
        if size <= jump * (2.0 - p) / (2.0 * (1.0 - p)):
            return 0.0
        t = size
    else:
        t = pow(size / (scale * p), 1.0 / (p - 1.0))
        if t > size:
            t = size
        if p < 2.0:
            t *= 0.5
    for _ in range(60):
        power = scale * p * pow(t, p - 2.0)
        step = (t + power * t - size) / (1.0 + (p - 1.0) * power)
        t -= step
        if fabs(step) <= 1e-16 * t:
            break
    return t if z > 0.0 else -t
