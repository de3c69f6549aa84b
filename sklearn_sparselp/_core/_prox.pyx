# The scalar proximal maps over arrays.

from ._prox cimport LpProx, lp_prox, lp_prox_init
from ._types cimport real_t


def prox_array(
    const real_t[::1] z not None,      # IN
    const real_t[::1] scale not None,  # IN, one value or as many as z
    double p,
    bint positive,
    real_t[::1] out not None,          # OUT
):
    """Fill ``out_i = argmin_t (t - z_i)^2 / 2 + scale_i |t|^p``, over t >= 0 if positive; in double throughout."""
    cdef LpProx rule
    cdef Py_ssize_t i, stride = 1 if scale.shape[0] == z.shape[0] else 0
    lp_prox_init(&rule, p)
    with nogil:
        for i in range(z.shape[0]):
            if positive and z[i] <= 0.0:
                out[i] = 0.0
            else:
                out[i] = <real_t> lp_prox(&rule, z[i], scale[i * stride])
