"""How far a point is from a solution: the duality gap and the fixed-point residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import lsmr

from .._core._penalty import (
    conjugate_total,
    dual_bound,
    dual_bound_on,
    smooth_terms,
    total_on,
    updates,
)
from .._core._violations import violations
from .._threads import threads_for_features
from .design import ColumnBlock
from .problem import Problem

# Differences of objectives below this fraction are rounding.
ROUNDING = 1e-15
# A zero coefficient is near to entering when its gradient is within this fraction of what it takes.
NEAR = 0.1


@dataclass(frozen=True)
class Certificate:
    """The certificate of one point.

    Attributes
    ----------
    objective : float
        F_tau.
    dual_gap : float
        F - D at the best dual point seen, NaN where the problem is not convex.
    residual : float
        ``max_j L_j |w_j - T_j(w_j - g_j/L_j)| / max_j |g_j(0)|``.
    violation : float
        The largest of these terms, in gradient units.
    candidates : ndarray of shape (n_candidates,), dtype int64
        In ascending order the features that have a coefficient, and those that are near to entering.
    violations : ndarray of shape (n_candidates,)
        Their terms; at most 0 for a coefficient that stays zero, and near 0 where it is near to entering.
    """

    objective: float
    dual_gap: float
    residual: float
    violation: float
    candidates: np.ndarray
    violations: np.ndarray

    def holds(self, problem: Problem, tol: float) -> bool:
        """Whether the stopping rule is met: the gap where the problem is convex, else the residual.

        An unpenalised feature whose dual constraint cannot be met to rounding leaves
        the gap infinite; the residual decides then.
        """
        if problem.convex and np.isfinite(self.dual_gap):
            return self.dual_gap <= tol * problem.null_objective
        return self.residual <= tol


class Certifier:
    """Makes certificates along one run and keeps the best dual value seen.

    Parameters
    ----------
    problem : Problem
    overwrite_gradient : bool
        Whether `certify` may write over the gradient that it is given.
    """

    def __init__(self, problem: Problem, *, overwrite_gradient: bool = False):
        self.problem = problem
        self._best_dual = -np.inf
        self._free = np.flatnonzero(problem.free)
        # An L1 norm alone: the dual constraints are bounds on the gradient.
        self._box = problem.penalty.absolute and problem.penalty.l2_reg == 0.0
        # Dropped and constant columns hold no dual constraint: their coefficient is 0 by definition.
        self._skip = None
        if self._free.size or not self._box:
            self._skip = (problem.free | ~problem.usable).view(np.uint8)
        self._overwrite = overwrite_gradient and self._box and not self._free.size

    def certify(
        self, w: np.ndarray, prediction: np.ndarray, raw_gradient: np.ndarray, smooth_gradient: np.ndarray
    ) -> Certificate:
        """Return the certificate of w.

        Parameters
        ----------
        w : ndarray of shape (n_features,)
        prediction, raw_gradient : ndarray of shape (n_samples,)
            ``X w + b`` with b at its optimum, and the derivative of the loss there.
        smooth_gradient : ndarray of shape (n_features,)
            ``X.T @ raw_gradient``.
        """
        problem = self.problem
        penalty = problem.penalty
        gradient = smooth_gradient + penalty.l2_reg * w if penalty.l2_reg else smooth_gradient
        room, values = np.empty(w.size, dtype=np.int64), gradient if self._overwrite else np.empty_like(w)
        violation, bound, n_found = violations(
            penalty, w, gradient, problem.lipschitz, problem.entry, NEAR, room, values, threads_for_features(w.size)
        )
        candidates, values = room[:n_found].copy(), values[:n_found].copy()
        objective = problem.objective(w[candidates], prediction, candidates)
        if not problem.convex and np.isinf(problem.loss.curvature_bound) and violation > 0.0:
            violation = self._true_violation(w, prediction, gradient, objective, candidates, values)
        scale = problem.gradient_scale
        residual = violation / scale if scale > 0.0 else 0.0
        gap = np.nan
        if problem.convex:
            self._best_dual = max(self._best_dual, self._dual_value(w, raw_gradient, smooth_gradient, bound))
            # A dual value above the primal one is rounding.
            gap = max(objective - self._best_dual, 0.0)
        return Certificate(objective, gap, residual, violation, candidates, values)

    def _true_violation(
        self, w: np.ndarray, prediction: np.ndarray, gradient: np.ndarray, objective: float, candidates: np.ndarray,
        values: np.ndarray,
    ) -> float:  # fmt: skip
        """Leave out violations that only a steeper curvature than L_j would not show; return the largest that stays.

        Where the loss has no curvature bound a point that no coordinate can improve need
        not be a fixed point of T_j. A jump to or from 0 counts where it lowers the
        objective, another move no more than the derivative.
        """
        problem, penalty = self.problem, self.problem.penalty
        places = np.flatnonzero(values > 0.0)
        # The largest first: once a jump lowers the objective the smaller ones do not matter.
        places = places[np.argsort(-values[places], kind="stable")]
        features = candidates[places]
        old, pull = w[features], gradient[features]
        new = updates(penalty, features, old, pull, problem.lipschitz[features])
        slopes, bends = np.empty_like(old), np.empty_like(old)
        smooth_terms(penalty, features, old, slopes, bends)
        # Both hold the ridge.
        slopes += pull - penalty.l2_reg * old
        slopes[(np.abs(old) <= penalty.sparsity_threshold) & (old * slopes > 0.0)] = 0.0
        slopes[old == 0.0] = 0.0
        jumps = (old == 0.0) | (new == 0.0)
        values[places[~jumps]] = np.minimum(values[places], np.abs(slopes))[~jumps]
        block = problem.design.few_columns(features[jumps])
        for column, k in enumerate(np.flatnonzero(jumps)):
            one = slice(k, k + 1)
            alone = block.take(np.array([column]))
            _, after, _ = move_alone(problem, alone, features[one], old[one], new[one], w, prediction)
            if after < objective - ROUNDING * abs(objective):
                break
            values[places[k]] = abs(slopes[k])
        return max(float(values.max()), 0.0)

    def _dual_value(
        self, w: np.ndarray, raw_gradient: np.ndarray, smooth_gradient: np.ndarray, bound: float
    ) -> float:
        problem, penalty, box = self.problem, self.problem.penalty, self._box
        if self._free.size:
            free = self._free
            if penalty.positive:
                # Held at its bound by the sign of its gradient: an inequality, checked after the projection.
                held = (w[free] == 0.0) & (smooth_gradient[free] >= 0.0)
                free, held = free[~held], free[held]
            raw_gradient = self._project(raw_gradient, free) if free.size else raw_gradient
            if raw_gradient is None:
                return -np.inf
            smooth_gradient = problem.design.rmatvec(raw_gradient[np.newaxis])[0]
            if penalty.positive and (smooth_gradient[held] < 0.0).any():
                return -np.inf
        if self._free.size or not box:
            slope = np.where(self._skip, 0.0, -smooth_gradient) if self._skip.any() else -smooth_gradient
            bound = dual_bound(penalty, slope) if box else 0.0
        # A projected point may be as small as its own rounding: it must not be scaled up.
        limit = 1.0 if self._free.size else np.inf
        if bound > 0.0:
            limit = min(limit, 1.0 / bound)
        scale = problem.loss.best_scale(problem.y, raw_gradient, problem.weights, limit) if box else 1.0
        value = -problem.loss.conjugate(problem.y, raw_gradient, scale, problem.weights)
        if not box:
            value -= conjugate_total(penalty, slope, scale, self._skip)
        return value if np.isfinite(value) else -np.inf

    def _project(self, raw_gradient: np.ndarray, free: np.ndarray) -> np.ndarray | None:
        """Return the nearest dual point orthogonal to the unpenalised columns, None if rounding forbids it.

        Nearest in the metric ``sum_i . / s_i``, in which the intercept's constraint is orthogonality
        to the weights and the dual of squared error is a sphere.
        """
        problem, design = self.problem, self.problem.design
        root = np.sqrt(problem.weights)
        columns = design.columns(free)
        scaled = np.divide(raw_gradient, root, out=np.zeros_like(root), where=root > 0)
        centre = problem.fit_intercept
        means = problem.sums[free] if centre else np.zeros(free.size)
        sizes = np.sqrt(np.maximum(problem.lipschitz[free] / problem.curvature, 0.0))

        def forward(v):
            v = v.ravel() / sizes
            return root * (columns.combine(v) - means @ v)

        def backward(u):
            return (columns.products(root * u) - means * (root @ u)) / sizes

        operator = sparse.linalg.LinearOperator(
            (design.n_samples, free.size), matvec=forward, rmatvec=backward, dtype=np.float64
        )
        solution = lsmr(operator, scaled, atol=1e-15, btol=1e-15, conlim=0.0)[0]
        projected = scaled - forward(solution)
        reference = max(np.linalg.norm(projected), np.linalg.norm(np.sqrt(problem.weights) * problem.y) * 1e-3)
        if np.abs(backward(projected)).max(initial=0.0) > 1e-9 * reference:
            return None
        return projected * root


def move_alone(
    problem: Problem, column: ColumnBlock, feature: np.ndarray, old: np.ndarray, new: np.ndarray, w: np.ndarray,
    prediction: np.ndarray,
) -> tuple[np.ndarray, float, float]:  # fmt: skip
    """Return predictions, F_tau and the intercept's change once one coefficient of w has gone from old to new."""
    trial, shift = problem.profile(prediction + column.combine(new - old), 0.0)
    change = total_on(problem.penalty, feature, new) - total_on(problem.penalty, feature, old)
    return trial, problem.objective(w, trial) + change, shift


def has_restricted_gap(problem: Problem) -> bool:
    """Whether the gap of a problem restricted to some features costs no more than their gradients."""
    penalty = problem.penalty
    return bool(penalty.absolute and penalty.l2_reg == 0.0 and not problem.free.any())


def has_gap_on_gram(problem: Problem) -> bool:
    """Whether the compiled loops on a Gram matrix know the gap: an L1 norm, maybe a ridge, that leaves nothing free."""
    return bool(problem.penalty.absolute and not problem.free.any())


def restricted_gap(
    problem: Problem, features: np.ndarray, w: np.ndarray, gradient: np.ndarray, square: float
) -> float:
    """Return the duality gap of the problem restricted to ``features``; squared error, `has_restricted_gap`.

    Parameters
    ----------
    problem : Problem
    features : ndarray of shape (n_features,), dtype int64
        All that have a coefficient, and maybe more.
    w, gradient : ndarray of shape (n_features,)
        Their coefficients, and ``X.T @ raw_gradient`` there with the intercept at its optimum.
    square : float
        ``sum_i s_i (y_i - f_i)^2``.
    """
    penalty = problem.penalty
    bound = dual_bound_on(penalty, features, -gradient)
    # <raw_gradient, y> = <gradient, w> - square: the dual point is the raw gradient, scaled.
    linear = gradient @ w - square
    best = -linear / square if square > 0.0 else 0.0
    scale = min(max(best, 0.0), 1.0 / bound if bound > 0.0 else np.inf)
    dual = -scale * linear - 0.5 * scale * scale * square
    return 0.5 * square + total_on(penalty, features, w) - dual
