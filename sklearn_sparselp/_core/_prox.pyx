# The scalar proximal maps over arrays: block by block and stage by stage, so that the compiler makes vector code of a
# stage, or the processor at least works on several entries at once. What a stage leaves open is NaN and done alone.

from libc.math cimport copysign, fabs, isnan

from ._prox cimport (
    PROX_CONCAVE,
    PROX_CONVEX,
    PROX_HALF,
    PROX_TWO_THIRDS,
    LpProx,
    general_log2,
    general_power,
    general_rough,
    general_start,
    general_step,
    lp_prox,
    lp_prox_init,
    ordinary_half,
    two_thirds_start,
    two_thirds_step,
)
from ._types cimport real_t

cdef enum:
    BLOCK = 128


def prox_array(
    const real_t[::1] z not None,      # IN
    const real_t[::1] scale not None,  # IN, one value or as many as z
    double p,
    bint positive,
    real_t[::1] out not None,          # OUT
):
    """Fill ``out_i = argmin_t (t - z_i)^2 / 2 + scale_i |t|^p``, over t >= 0 if positive; in double throughout."""
    cdef LpProx rule
    cdef Py_ssize_t i, first = 0, size, stride = 1 if scale.shape[0] == z.shape[0] else 0
    cdef double[BLOCK] sizes, scales, roots
    cdef bint staged
    lp_prox_init(&rule, p)
    staged = rule.rule in (PROX_HALF, PROX_TWO_THIRDS, PROX_CONCAVE, PROX_CONVEX)
    with nogil:
        while first < z.shape[0]:
            size = min(<Py_ssize_t> BLOCK, z.shape[0] - first)
            if staged:
                for i in range(size):
                    sizes[i] = fabs(z[first + i])
                    scales[i] = scale[(first + i) * stride]
                ordinary_block(&rule, sizes, scales, size, roots)
            for i in range(first, first + size):
                if positive and z[i] <= 0.0:
                    out[i] = 0.0
                elif staged and not isnan(roots[i - first]):
                    out[i] = <real_t> (copysign(roots[i - first], z[i]) + 0.0)
                else:
                    out[i] = <real_t> lp_prox(&rule, z[i], scale[i * stride])
            first += size


cdef void ordinary_block(
    const LpProx* rule, const double* z, const double* scale, Py_ssize_t size, double* t
) noexcept nogil:
    # The maps of z >= 0, NaN where the ordinary case does not hold.
    cdef double[BLOCK] log2_a, v, power
    cdef Py_ssize_t i
    if rule.rule == PROX_HALF:
        for i in range(size):
            t[i] = ordinary_half(z[i], scale[i])
        return
    if rule.rule == PROX_TWO_THIRDS:
        for i in range(size):
            v[i] = two_thirds_start(z[i], scale[i])
        for i in range(size):
            t[i] = two_thirds_step(z[i], scale[i], v[i])
        return
    for i in range(size):
        log2_a[i] = general_log2(rule, z[i], scale[i])
    for i in range(size):
        v[i] = general_rough(rule, log2_a[i])
    for i in range(size):
        t[i] = general_start(rule, z[i], scale[i], log2_a[i], v[i])
    for i in range(size):
        # A power costs more than a branch that is hard to predict.
        power[i] = general_power(rule, t[i]) if t[i] > 0.0 else 1.0
    for i in range(size):
        t[i] = general_step(rule, z[i], scale[i], t[i], power[i])
