"""prox_lp: the proximal map of the Lp penalty, element by element."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from ._core._prox import prox_array


def prox_lp(
    z: ArrayLike, scale: ArrayLike, p: float = 1.0, *, positive: bool = False
) -> np.ndarray:
    """Proximal map of ``scale |.|^p``, element by element.

    Computes ``argmin_t (t - z)^2 / 2 + scale |t|^p`` to about 4 units in the last place times the
    condition number of the root, over the whole range of floating point numbers. Where two
    points attain the minimum (p < 1, at the threshold) the answer is 0.

    Parameters
    ----------
    z : array-like
        Points.
    scale : array-like
        Strengths, scale >= 0; infinity gives 0. Broadcast against ``z``.
    p : float, default=1.0
        Order, p >= 0 and finite; ``|t|^0`` is 1 for t != 0.
    positive : bool, default=False
        Whether to minimise over t >= 0 only.

    Returns
    -------
    ndarray
        Of the broadcast shape; float32 if both arrays are float32 (computed in float64), else
        float64. NaN where ``z`` is NaN.

    Raises
    ------
    ValueError
        If p is negative or not finite, or a scale is negative or NaN.
    TypeError
        If p is not a number.

    References
    ----------
    .. [1] Z. Xu, X. Chang, F. Xu, H. Zhang, "L1/2 regularization: a thresholding
       representation theory and a fast solver", IEEE TNNLS 23 (2012).
    .. [2] W. Cao, J. Sun, Z. Xu, "Fast image deconvolution using closed-form thresholding
       formulas of Lq (q = 1/2, 2/3) regularization", JVCIR 24 (2013).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_sparselp import prox_lp
    >>> prox_lp([-3.0, 0.5, 2.0], 1.0)
    array([-2.,  0.,  1.])
    >>> prox_lp([1.4, 1.5], 1.0, p=0)
    array([0. , 1.5])
    """
    if isinstance(p, bool) or not isinstance(p, Real):
        raise TypeError(f"p must be a number, got {type(p).__name__}.")
    if not (math.isfinite(p) and p >= 0):
        raise ValueError(f"p must be finite and >= 0, got p={p}.")
    z, scale = np.asarray(z), np.asarray(scale)
    dtype = np.float32 if z.dtype == np.float32 and scale.dtype == np.float32 else np.float64
    for name, array in (("z", z), ("scale", scale)):
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}.")
    z, scale = z.astype(dtype, copy=False), scale.astype(dtype, copy=False)
    if not (scale >= 0).all():
        worst = scale[~(scale >= 0)].flat[0]
        raise ValueError(f"scale must be >= 0, got {worst}.")
    shape = np.broadcast_shapes(z.shape, scale.shape)
    flat = np.ascontiguousarray(np.broadcast_to(z, shape)).reshape(-1)
    if scale.size > 1:
        scale = np.ascontiguousarray(np.broadcast_to(scale, shape))
    out = np.empty(shape, dtype=dtype)
    prox_array(flat, scale.reshape(-1), float(p), bool(positive), out.reshape(-1))
    return out
