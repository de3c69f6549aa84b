"""The masked Lp operator on a parameter array, for people who train their own models.

Nothing is written before everything is checked: after an error the array is as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import _operator
from ._core._matvec import effective_n_threads

__all__ = ["SparseLpRegularizer"]

Param = TypeVar("Param", bound=np.ndarray)

# Weights a thread should get at least, about 50 us of work: waking a thread costs some 10 us.
WEIGHTS_A_THREAD = 250_000
WEIGHTS_A_THREAD_PROX = 2_000

UPDATES = ("proximal", "decay")


@dataclass(frozen=True)
class SparseLpRegularizer:
    r"""The Lp penalty and its masked update on the rows of a parameter array.

    With the strength :math:`\alpha`, the order p and the threshold :math:`\tau`,

    .. math::

        \mathrm{loss}(w) = \alpha \sum_j |w_j|^p, \qquad
        \mathrm{mask}(w)_j = \left[\,|w_j| > \tau\,\right],

    and :meth:`apply` replaces each weight of the named rows, with
    :math:`\lambda = \mathrm{step} \cdot \alpha`, by

    .. math::

        w \leftarrow v \cdot \left[\,|v| > \tau\,\right], \qquad v = \begin{cases}
            \operatorname{argmin}_t \tfrac12 (t - w)^2 + \lambda |t|^p & \text{proximal} \\
            w\,(1 - \lambda) & \text{decay}, p = 2 \\
            \operatorname{sign}(w) \max(|w| - \lambda, 0) & \text{decay}, p = 1 .
        \end{cases}

    The comparison with the threshold is strict: a weight of modulus :math:`\tau` becomes exactly
    0, so a larger threshold is sparser.

    Parameters
    ----------
    p : float, default=2.0
        Order of the norm, ``p >= 0``. ``|w|**0`` is 1 for a weight other than 0.
    alpha : float, default=1e-5
        Strength, ``alpha >= 0``.
    sparsity_threshold : float, default=0.0
        The threshold of the mask, at least 0.
    update : {"proximal", "decay"}, default="proximal"
        How :meth:`apply` moves a weight. "proximal" minimises the penalty and the distance to the
        old weight together, for any p. "decay" is the first-order form for p = 1 and p = 2 only;
        in float32 and without a threshold it gives the bits of the SparseLpRegularizer operator of
        Caffe2 [1]_ with ``reg_lambda = step * alpha``.

    See Also
    --------
    prox_lp : The proximal operator as a function of arrays.

    Notes
    -----
    Instances do not change; ``dataclasses.replace(regularizer, alpha=0.1)`` makes a new one. A
    schedule of strengths is written with ``step``.

    :math:`\lambda` and :math:`\tau` are rounded to the type of ``param`` where they are compared
    with weights (the mask, p = 1) and in the decay factor :math:`1 - \lambda`. Elsewhere a weight
    is computed in double precision and rounded once.

    Weights are not looked at before the update: NaN stays NaN. (For p = 1 the code of Caffe2's
    operator makes it 0, its published definition does not.)

    References
    ----------
    .. [1] Caffe2, operator ``SparseLpRegularizer``,
       https://caffe2.ai/docs/operators-catalogue.html#sparselpregularizer

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_sparselp import SparseLpRegularizer
    >>> param = np.array([[0.5, -2.0], [1.0, 0.25], [3.0, -0.75]], dtype=np.float32)
    >>> touched = np.array([2, 0])
    >>> regularizer = SparseLpRegularizer(p=1, alpha=0.5)
    >>> regularizer.apply(param, touched)
    array([[ 0.  , -1.5 ],
           [ 1.  ,  0.25],
           [ 2.5 , -0.25]], dtype=float32)
    >>> regularizer.loss(param)
    2.75
    """

    p: float = 2.0
    alpha: float = 1e-5
    sparsity_threshold: float = 0.0
    update: Literal["proximal", "decay"] = field(default="proximal", kw_only=True)

    def __post_init__(self) -> None:
        for name in ("p", "alpha", "sparsity_threshold"):
            object.__setattr__(self, name, _non_negative(name, getattr(self, name)))
        if self.update not in UPDATES:
            raise ValueError(f"update must be one of {UPDATES}; got {self.update!r}.")
        if self.update == "decay" and self.p not in (1.0, 2.0):
            raise ValueError(
                f'update="decay" is defined for p = 1 and p = 2 only; got p={self.p}. '
                'Use update="proximal".'
            )

    def loss(self, param: NDArray[np.floating[Any]]) -> float:
        """Compute the penalty ``alpha * sum(|w|**p)``, without the mask.

        Parameters
        ----------
        param : ndarray of shape (n_rows,) or (n_rows, n_columns), float32 or float64
            The weights, in any memory layout. They are not changed.

        Returns
        -------
        float
            The penalty, summed in double precision.
        """
        rows, _ = _readable_rows(param)
        return self.alpha * float(_operator.sum_powers(rows, self.p))

    def mask(self, param: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Tell which weights are above the threshold: ``|w| > sparsity_threshold``.

        Parameters
        ----------
        param : ndarray of shape (n_rows,) or (n_rows, n_columns), float32 or float64
            The weights, in any memory layout. They are not changed.

        Returns
        -------
        ndarray of bool, the shape of ``param``
            False where the mask makes a weight 0.
        """
        rows, transposed = _readable_rows(param)
        above = np.empty(rows.shape, dtype=np.bool_)
        _operator.mask_rows(rows, above.view(np.uint8), self.sparsity_threshold)
        return above.T if transposed else above.reshape(param.shape)

    def gradient(self, param: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Compute the gradient of the penalty, ``alpha * p * sign(w) * |w|**(p - 1)``, 0 at 0.

        Parameters
        ----------
        param : ndarray of shape (n_rows,) or (n_rows, n_columns), float32 or float64
            The weights, in any memory layout. They are not changed.

        Returns
        -------
        ndarray, the shape and dtype of ``param``
            The gradient. For p < 1 it grows without bound next to 0.
        """
        rows, transposed = _readable_rows(param)
        slopes = np.empty(rows.shape, dtype=rows.dtype)
        _operator.gradient_rows(rows, slopes, self.p, self.alpha)
        return slopes.T if transposed else slopes.reshape(param.shape)

    def apply(self, param: Param, indices: ArrayLike | None = None, *, step: float = 1.0) -> Param:
        r"""Update the rows ``indices`` of ``param`` in place.

        Parameters
        ----------
        param : ndarray of shape (n_rows,) or (n_rows, n_columns), float32 or float64
            The weights: the only output. A row must be contiguous in memory, the distance between
            rows is free, so slices of rows or columns of a C-ordered array will do.
        indices : ndarray of shape (n_indices,), int32 or int64, default=None
            The rows to update, in any order, each at most once, from 0 to ``n_rows - 1``. No index
            does nothing; None means every row.
        step : float, default=1.0
            Multiplies ``alpha``, not the threshold: the learning rate of the step after which the
            penalty is applied.

        Returns
        -------
        ndarray
            ``param`` itself.

        Raises
        ------
        TypeError
            If ``param`` is not an array of float32 or float64, or ``indices`` are not int32 or
            int64.
        ValueError
            If ``param`` is read-only, has rows that are not contiguous or another number of
            dimensions than 1 or 2; if an index is repeated (the message names the first repeat);
            if ``step`` is negative, not finite or so large that ``step * alpha`` is not finite;
            for "decay" with p = 2 if ``step * alpha > 1``, which would flip signs.
        IndexError
            If an index is negative or not below ``n_rows``.

        Notes
        -----
        After an error ``param`` is as it was. The global interpreter lock is released: threads may
        apply updates to disjoint rows at the same time.
        """
        rows = _writable_rows(param)
        rule, amount = self._rule(rows.dtype, step)
        chosen = None
        if indices is not None:
            chosen = _check_indices(indices, rows.shape[0])
            if np.may_share_memory(chosen, rows):
                raise ValueError("indices and param share memory; pass a copy of the indices.")
        if step * self.alpha == 0.0 and self.sparsity_threshold == 0.0:
            return param
        if chosen is None:
            n_threads = _n_threads(rows.size, rule)
            _operator.update_all(rows, rule, amount, self.p, self.sparsity_threshold, n_threads)
        else:
            n_threads = _n_threads(chosen.size * rows.shape[1], rule)
            _operator.update_rows(
                rows, chosen, rule, amount, self.p, self.sparsity_threshold, n_threads
            )
        return param

    def _rule(self, dtype: np.dtype[Any], step: float) -> tuple[int, float]:
        """Choose the kernel's rule and its one number."""
        amount = _non_negative("step", step) * self.alpha
        if not math.isfinite(amount):
            raise ValueError(
                f"step * alpha must be finite; got step={step} and alpha={self.alpha}."
            )
        if self.p == 1.0:
            return _operator.RULE_SOFT, amount
        if self.p != 2.0:
            return _operator.RULE_PROX, amount
        if self.update == "proximal":
            return _operator.RULE_SHRINK, 1.0 / (1.0 + 2.0 * amount)
        if amount > 1.0:
            raise ValueError(
                'update="decay" with p=2 multiplies by 1 - step * alpha, which must not be '
                f"negative; got step={step} and alpha={self.alpha}. Use a smaller step or "
                'update="proximal".'
            )
        # in the type of the weights, as the operator of Caffe2 does
        return _operator.RULE_SCALE, float(dtype.type(1.0) - dtype.type(amount))


def _n_threads(n_weights: int, rule: int) -> int:
    """Use as many threads as OpenMP may, but none for less work than is worth waking it."""
    share = WEIGHTS_A_THREAD_PROX if rule == _operator.RULE_PROX else WEIGHTS_A_THREAD
    return max(min(n_weights // share, int(effective_n_threads())), 1)


def _non_negative(name: str, value: float) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number; got {value!r}.")
    number = float(value)
    if not (math.isfinite(number) and number >= 0.0):
        raise ValueError(f"{name} must be finite and at least 0; got {value!r}.")
    return number


def _check_numbers(param: np.ndarray) -> np.ndarray:
    """Return ``param`` as a plain array, after the checks that reading it needs."""
    if not isinstance(param, np.ndarray):
        raise TypeError(
            f"param must be a NumPy array of float32 or float64; got {type(param).__name__}."
        )
    if param.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"param must be float32 or float64 in native byte order; got {param.dtype!r}."
        )
    if param.ndim not in (1, 2):
        raise ValueError(f"param must have 1 or 2 dimensions; got shape {param.shape}.")
    return np.asarray(param)


def _as_rows(weights: np.ndarray) -> np.ndarray | None:
    """View 1-D or 2-D weights as rows, each contiguous and apart from the others, or None."""
    rows = weights[:, np.newaxis] if weights.ndim == 1 else weights
    n_rows, n_columns = rows.shape
    if rows.size == 0:
        return rows  # strides mean nothing
    if not rows.flags.aligned or (n_columns > 1 and rows.strides[1] != rows.itemsize):
        return None
    distance = abs(rows.strides[0])
    if n_rows > 1 and (distance < n_columns * rows.itemsize or distance % rows.itemsize):
        return None
    return rows


def _readable_rows(param: np.ndarray) -> tuple[np.ndarray, bool]:
    """View (or, for a scattered layout, copy) weights as rows; True if transposed."""
    weights = _check_numbers(param)
    rows = _as_rows(weights)
    if rows is not None:
        return rows, False
    rows = _as_rows(weights.T)
    if rows is not None:
        return rows, True
    return np.ascontiguousarray(weights).reshape(weights.shape[0], -1), False


def _writable_rows(param: np.ndarray) -> np.ndarray:
    """View weights as rows that may be written."""
    weights = _check_numbers(param)
    if not weights.flags.writeable:
        raise ValueError("param is read-only; it is updated in place. Pass a writable array.")
    rows = _as_rows(weights)
    if rows is None:
        raise ValueError(
            f"the rows of param must be contiguous, aligned and apart; got shape {param.shape} "
            f"with strides {param.strides}. Pass a C-ordered array."
        )
    return rows


def _check_indices(indices: ArrayLike, n_rows: int) -> NDArray[np.signedinteger[Any]]:
    """Return indices that are in range and distinct, without a copy of an int32 or int64 array."""
    chosen = np.asarray(indices)
    if chosen.size == 0 and not isinstance(indices, np.ndarray):
        chosen = chosen.astype(np.int64)  # [] is float64
    if chosen.dtype not in (np.int32, np.int64):
        raise TypeError(f"indices must be int32 or int64; got {chosen.dtype!r}.")
    if chosen.ndim != 1:
        raise ValueError(f"indices must have 1 dimension; got shape {chosen.shape}.")
    chosen = np.ascontiguousarray(chosen)
    outside, increasing = _operator.scan_indices(chosen, n_rows)
    if outside >= 0:
        raise IndexError(
            f"indices[{outside}] = {chosen[outside]} is out of range for param with {n_rows} rows: "
            f"an index must be at least 0 and below {n_rows}."
        )
    if not increasing:
        repeat = _first_repeat(chosen, n_rows)
        if repeat >= 0:
            first = int(np.flatnonzero(chosen[:repeat] == chosen[repeat])[0])
            raise ValueError(
                f"indices[{repeat}] = {chosen[repeat]} repeats indices[{first}]: a row is updated "
                "at most once. Pass np.unique(indices)."
            )
    return chosen


def _first_repeat(chosen: NDArray[np.signedinteger[Any]], n_rows: int) -> int:
    """Find the first repeat with the smaller scratch space: a bit a row, or a table of indices."""
    log2_size = max((2 * chosen.size - 1).bit_length(), 1)
    n_words = (n_rows + 63) // 64
    if n_words <= 2**log2_size:
        return int(_operator.first_repeat_bitmap(chosen, np.zeros(n_words, dtype=np.uint64)))
    table = np.zeros(2**log2_size, dtype=np.int64)
    return int(_operator.first_repeat_hashed(chosen, table, log2_size))
