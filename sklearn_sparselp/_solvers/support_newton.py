"""Newton steps on the support: once signs stand still the problem is smooth there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from .._core._penalty import smooth_terms, total_on
from .design import ColumnBlock

# A Cholesky factor of this size takes about as long as 30 conjugate gradient steps on text data.
LARGEST_FACTOR = 2000
# Sparse columns: a new Gram column costs a walk over the whole support, as much as half a conjugate gradient step.
LARGEST_NEW_SPARSE = 100
MAX_CG_STEPS = 200
# phi'' is unbounded near 0 for 1 < p < 2; beyond this a coordinate stands still anyway.
LARGEST_CURVATURE = 1e150


class GramCache:
    """``X_S.T diag(curvature) X_S`` of every column that was ever in a support, grown on demand."""

    def __init__(self, design, curvature: np.ndarray):
        self._design = design
        self._curvature = curvature
        self._slot: dict[int, int] = {}
        self._features = np.empty(0, dtype=np.int64)
        self._matrix = np.empty((0, 0))

    def missing(self, features: np.ndarray) -> np.ndarray:
        """Return those of the features that have no column yet."""
        slot = self._slot
        return np.array([j for j in features.tolist() if j not in slot], dtype=np.int64)

    def get(self, features: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Return the Gram matrix of these features, of which ``new`` are still missing."""
        if new.size:
            self._grow(new)
        slots = np.array([self._slot[j] for j in features.tolist()])
        return self._matrix[np.ix_(slots, slots)]

    def _grow(self, new: np.ndarray) -> None:
        if self._features.size + new.size > 2 * LARGEST_FACTOR:
            self._slot, self._features = {}, np.empty(0, dtype=np.int64)
        old = self._features.size
        size = old + new.size
        if size > self._matrix.shape[0]:
            capacity = max(size, 2 * self._matrix.shape[0])
            matrix = np.empty((capacity, capacity))
            matrix[:old, :old] = self._matrix[:old, :old]
            self._matrix = matrix
        self._features = np.concatenate([self._features, new])
        self._slot.update(zip(new.tolist(), range(old, size), strict=True))
        columns = self._design.columns(new)
        # One block holds old and new, so that gathered storage is gathered once.
        both = self._design.columns(self._features)
        cross = columns.gram(both, self._curvature) if columns.rows.size else both.take(
            np.arange(old, size)
        ).gram(both, self._curvature)
        self._matrix[old:size, :size] = cross
        self._matrix[:size, old:size] = cross.T


@dataclass(frozen=True)
class SupportModel:
    """The quadratic model on the support.

    Attributes
    ----------
    block : ColumnBlock
        The columns of the support.
    features : ndarray of shape (n_support,), dtype int64
        Which coordinates they are.
    w : ndarray of shape (n_support,)
        Their coefficients, none of them 0.
    raw_gradient, curvature : ndarray of shape (n_samples,)
        Derivatives in each prediction at w, the intercept at its optimum.
    column_curvature : ndarray of shape (n_support,)
        ``sum_i curvature_i (x_ij - mean_j)^2``.
    sums : ndarray of shape (n_support,) or None
        ``sum_i curvature_i x_ij``; None without intercept.
    total : float
        ``sum_i curvature_i``.
    """

    block: ColumnBlock
    features: np.ndarray
    w: np.ndarray
    raw_gradient: np.ndarray
    curvature: np.ndarray
    column_curvature: np.ndarray
    sums: np.ndarray | None
    total: float


def newton_step(
    penalty, model: SupportModel, gram: GramCache | None, tol: float
) -> tuple[np.ndarray, float] | None:
    """Return a step that lowers the quadratic model on the support, or None.

    With ``H = X_S^T D X_S + phi''(w_S) + l2_reg`` (centred with an intercept) the step
    solves ``H d = -grad_S``. Coordinates that would change sign, or fall below the mask,
    go to 0; if that does not lower the objective the step is shortened to the first
    such coordinate, and halved while the objective rises.

    Parameters
    ----------
    penalty : Penalty
        Bound.
    model : SupportModel
    gram : GramCache or None
        For curvature that does not change.
    tol : float
        Size of gradient that is as good as zero.

    Returns
    -------
    new : ndarray of shape (n_support,)
        New coefficients.
    change : float
        Of the model, negative.
    """
    w, features = model.w, model.features
    slope, bend = np.empty_like(w), np.empty_like(w)
    smooth_terms(penalty, features, w, slope, bend)
    np.clip(bend, -LARGEST_CURVATURE, LARGEST_CURVATURE, out=bend)
    smooth = model.block.products(model.raw_gradient)
    gradient = smooth + slope
    size = np.abs(gradient).max()
    if not np.isfinite(size) or size == 0.0:
        return None
    hessian = _Hessian(model, gram)
    direction = hessian.solve(bend, -gradient, min(0.1, max(0.1 * tol / size, 1e-12)))
    if direction is None or not np.isfinite(direction).all() or gradient @ direction >= 0.0:
        return None
    start = total_on(penalty, features, w)

    def change(new):
        d = new - w
        return smooth @ d + 0.5 * hessian.square(d) + total_on(penalty, features, new) - start

    smallest = penalty.sparsity_threshold
    crossing = penalty.p <= 1.0 or smallest > 0.0
    new = w + direction
    if crossing or penalty.positive:
        out = (np.abs(new) < smallest) | (new * w <= 0.0) if crossing else new < 0.0
        new[out] = 0.0
    else:
        out = np.zeros(w.shape, dtype=bool)
    value = change(new)
    if value < 0.0:
        return new, value
    step = 1.0
    if out.any():
        reach = (np.abs(w[out]) - smallest) / np.abs(direction[out])
        step = min(1.0, float(reach.min()))
    for _ in range(5):
        if step <= 1e-10:
            return None
        new = w + step * direction
        if smallest > 0.0:
            new = np.copysign(np.maximum(np.abs(new), smallest), w)
        elif crossing or penalty.positive:
            new[new * w < 0.0] = 0.0
        value = change(new)
        if value < 0.0:
            return new, value
        step *= 0.5
    return None


class _Hessian:
    """The smooth part's second derivative on the support: a matrix where that is cheap, else products."""

    def __init__(self, model: SupportModel, gram: GramCache | None):
        self._block, self._curvature, self._sums = model.block, model.curvature, model.sums
        self._total, self._column_curvature = model.total, model.column_curvature
        self._matrix = None
        size = len(self._block)
        if size > LARGEST_FACTOR:
            return
        dense = self._block.rows.shape[0] == 0
        if gram is not None:
            new = gram.missing(model.features)
            if dense or new.size <= LARGEST_NEW_SPARSE:
                self._matrix = gram.get(model.features, new)
        elif dense or size <= LARGEST_NEW_SPARSE:
            self._matrix = self._block.gram(self._block, self._curvature)
        if self._matrix is not None and self._sums is not None:
            self._matrix = self._matrix - np.outer(self._sums, self._sums / self._total)

    def times(self, v):
        if self._matrix is not None:
            return self._matrix @ v
        product = self._block.products(self._curvature * self._block.combine(v))
        if self._sums is not None:
            product -= self._sums * (self._sums @ v / self._total)
        return product

    def square(self, v):
        if self._matrix is not None:
            return v @ (self._matrix @ v)
        prediction = self._block.combine(v)
        square = prediction @ (self._curvature * prediction)
        if self._sums is not None:
            square -= (self._sums @ v) ** 2 / self._total
        return square

    def solve(self, bend, right, tol):
        if self._matrix is None:
            return self._conjugate_gradient(bend, right, tol)
        # Scaled to unit diagonal: columns of any size, and coordinates with unbounded phi'', factor alike.
        diagonal = np.abs(self._matrix.diagonal() + bend)
        scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
        scaled = self._matrix * np.outer(scale, scale)
        ridge = 0.0
        for _ in range(8):
            trial = scaled.copy()
            trial.flat[:: trial.shape[0] + 1] += bend * scale * scale + ridge
            factor, info = linalg.lapack.dpotrf(trial, lower=1, overwrite_a=1, clean=0)
            if info == 0:
                solution, _ = linalg.lapack.dpotrs(factor, scale * right, lower=1)
                return scale * solution
            ridge = max(1e-12, 30.0 * ridge)
            if ridge > 1e-9:
                ridge = max(ridge, 1e-3)
        return None

    def _conjugate_gradient(self, bend, right, tol):
        diagonal = bend + self._column_curvature
        inverse = 1.0 / np.where(diagonal > 0.0, diagonal, 1.0)
        solution = np.zeros_like(right)
        residual = right.copy()
        preconditioned = inverse * residual
        direction = preconditioned.copy()
        product = residual @ preconditioned
        limit = tol * np.abs(right).max()
        for _ in range(MAX_CG_STEPS):
            image = self.times(direction) + bend * direction
            bending = direction @ image
            if bending <= 0.0:
                # Negative curvature: what has been found so far, or else steepest descent.
                return solution if solution.any() else None
            step = product / bending
            solution += step * direction
            residual -= step * image
            if np.abs(residual).max() <= limit:
                break
            preconditioned = inverse * residual
            new_product = residual @ preconditioned
            direction = preconditioned + (new_product / product) * direction
            product = new_product
        return solution
