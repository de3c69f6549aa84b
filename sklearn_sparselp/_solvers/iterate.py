"""What the gradient solvers share: iterates, when to ask for a certificate, and the sweep over violators."""

from __future__ import annotations

import math

import numpy as np

from .._core._cd import QuadraticModel, sweep
from .._core._penalty import total, updates
from .certificate import Certificate, move_alone
from .design import ColumnBlock
from .problem import Problem, SolveResult
from .support_newton import POLISH_STEPS, POLISHED, ROUNDING, polished

# Violators of one sweep, at least; beyond that as many as the support has.
SMALLEST_SWEEP = 100
# Non-convex problems: a step this far below the largest violation has nothing left to win, a sweep has.
SWEEP_FACTOR = 0.1
# Iterations between two certificates, at first and at most. One costs two or three walks over the features.
FIRST_WAIT = 3
LONGEST_WAIT = 10


class Iterate:
    """Coefficients, their predictions with the intercept at its optimum, and the derivative of the loss there.

    Parameters
    ----------
    problem : Problem
    w : ndarray of shape (n_features,)
    prediction : ndarray of shape (n_samples,)
        ``X w`` or ``X w`` plus any constant; the intercept is brought to its optimum in place.
    intercept : float
        The constant that is already in ``prediction``.

    Attributes
    ----------
    raw_gradient : ndarray of shape (n_samples,)
        Derivative of the weighted loss in each prediction.
    smooth_gradient : ndarray of shape (n_features,), or None
        ``X.T @ raw_gradient``, once it is known.
    """

    __slots__ = ("_loss", "_objective", "intercept", "prediction", "problem", "raw_gradient", "smooth_gradient", "w")

    def __init__(self, problem: Problem, w: np.ndarray, prediction: np.ndarray, intercept: float):
        self.problem = problem
        self.w = w
        self.prediction, change = problem.profile(prediction, 0.0)
        self.intercept = intercept + change
        self._loss, self.raw_gradient, _ = problem.evaluate(self.prediction)
        self.smooth_gradient: np.ndarray | None = None
        self._objective: float | None = None

    @classmethod
    def at(cls, problem: Problem, w: np.ndarray, start: float) -> Iterate:
        """Return the iterate at w, for one product with X; the intercept is searched from ``start``."""
        prediction = problem.design.matvec(w[np.newaxis])[0]
        start = start if problem.fit_intercept else problem.no_intercept
        problem.shift(prediction, start)
        return cls(problem, w, prediction, start)

    def beyond(self, old: Iterate, momentum: float) -> Iterate:
        """Return ``w + momentum (w - old.w)`` as the predictions see it: neither a product with X nor coefficients.

        A quadratic loss has a linear gradient and asks for none.
        """
        prediction = self.prediction - old.prediction
        prediction *= momentum
        prediction += self.prediction
        intercept = self.intercept + momentum * (self.intercept - old.intercept)
        point = Iterate(self.problem, self.w[:0], prediction, intercept)
        if self.problem.loss.quadratic:
            point.smooth_gradient = self.w[:0]
        return point

    @property
    def objective(self) -> float:
        """F_tau, worked out on first use."""
        if self._objective is None:
            self._objective = self._loss + total(self.problem.penalty, self.w)
        return self._objective


def admissible(problem: Problem, coef: np.ndarray) -> np.ndarray:
    """Return a start moved to where the penalty is finite: 0 for unusable features and below the mask."""
    if not coef.any():
        return np.zeros(coef.shape)
    w = np.where(problem.usable, coef, 0.0)
    w[np.abs(w) < problem.penalty.sparsity_threshold] = 0.0
    if problem.penalty.positive:
        w[w < 0.0] = 0.0
    return w


class Schedule:
    """When the next certificate pays: half-way to where the decay of the last two predicts success."""

    def __init__(self, problem: Problem, tol: float):
        self._problem = problem
        self._tol = tol
        self._next = 0
        self._last: tuple[int, float] | None = None

    def due(self, iteration: int) -> bool:
        """Whether to make a certificate now."""
        return iteration >= self._next

    def now(self) -> None:
        """Ask for a certificate at the next opportunity."""
        self._next = 0

    def record(self, iteration: int, certificate: Certificate) -> None:
        """Plan from a certificate that did not hold."""
        excess = self._excess(certificate)
        wait = FIRST_WAIT if self._last is None else LONGEST_WAIT
        if self._last is not None and 1.0 < excess < self._last[1] < math.inf:
            steps = iteration - self._last[0]
            # Both logarithms may round to the same number.
            decay = math.log(self._last[1]) - math.log(excess)
            if decay > 0.0:
                wait = int(min(max(0.5 * steps * math.log(excess) / decay, 1.0), wait))
        self._next = iteration + wait
        self._last = (iteration, excess)

    def _excess(self, certificate: Certificate) -> float:
        problem = self._problem
        if problem.convex and np.isfinite(certificate.dual_gap):
            value, limit = certificate.dual_gap, self._tol * problem.null_objective
        else:
            value, limit = certificate.residual, self._tol
        return value / limit if limit > 0.0 else math.inf


def sweep_violators(problem: Problem, point: Iterate, certificate: Certificate, tol: float) -> Iterate | None:
    """Update the largest violators one after the other by the exact rule T_j; F_tau never increases.

    A gradient step moves all coordinates at once by a length that is safe for all of
    them together, and may stay where one of them alone would move. The sweep walks on a
    quadratic that touches the smooth part and is nowhere below it, with the curvature
    bounds L_j of the problem, so the rule of each coordinate is T_j as it stands. Where
    the loss has no curvature bound each coordinate moves only if that lowers the objective.

    Parameters
    ----------
    problem : Problem
    point : Iterate
    certificate : Certificate
        Of the point.
    tol : float
        Violations up to this one, in gradient units, are left alone.

    Returns
    -------
    Iterate or None
        None where no coordinate moves.
    """
    some = certificate.violations > tol
    features, values = certificate.candidates[some], certificate.violations[some]
    most = max(SMALLEST_SWEEP, int(np.count_nonzero(point.w)))
    if features.size > most:
        features = np.sort(features[np.argpartition(values, features.size - most)[-most:]])
    if np.isinf(problem.loss.curvature_bound):
        return _improve_each(problem, point, features)
    moved = None
    for part, block, samples in problem.parts(features):
        moved = _sweep(problem, moved or point, part, block, samples) or moved
    return moved


def _sweep(
    problem: Problem, point: Iterate, features: np.ndarray, block: ColumnBlock, samples: slice
) -> Iterate | None:
    """Sweep over features whose columns hold the same predictions; None where none moves."""
    bound = problem.curvature
    curvature = bound * problem.weights[samples]
    w = point.w[features]
    model = QuadraticModel(
        problem.penalty,
        features,
        w,
        point.raw_gradient[samples].copy(),
        float(curvature[0]) if (curvature == curvature[0]).all() else curvature,
        problem.lipschitz[features],
        bound * problem.sums[features] if problem.fit_intercept else None,
        bound,
        True,
    )
    sweep(block.data, block.rows, block.start, block.stop, model, 1, 0.0, -1, block.places)
    if np.array_equal(w, point.w[features]):
        return None
    new = point.w.copy()
    new[features] = w
    return Iterate.at(problem, new, point.intercept)


def _improve_each(problem: Problem, point: Iterate, features: np.ndarray) -> Iterate | None:
    """Update coefficients by T_j one after the other, each where that lowers the objective; None where none does.

    For a loss without a curvature bound: no quadratic is nowhere below it.
    """
    penalty = problem.penalty
    block = problem.design.few_columns(features)
    w, prediction, raw_gradient, objective = point.w.copy(), point.prediction, point.raw_gradient, point.objective
    moved = False
    for k, j in enumerate(features):
        column, feature, old = block.take(np.array([k])), features[k : k + 1], w[j : j + 1].copy()
        gradient = column.products(raw_gradient) + penalty.l2_reg * old
        new = updates(penalty, feature, old, gradient, problem.lipschitz[feature])
        if new[0] == old[0]:
            continue
        trial, after, _ = move_alone(problem, column, feature, old, new, w, prediction)
        if after < objective:
            w[j], prediction, objective, moved = new[0], trial, after, True
            raw_gradient, _ = problem.derivatives(prediction)
    return Iterate.at(problem, w, point.intercept) if moved else None


class Polisher:
    """Newton steps on a small support once the certificate holds, so that the solution hardly depends on tol."""

    def __init__(self, problem: Problem):
        self._problem = problem
        self._left = POLISH_STEPS

    def step(self, point: Iterate, certificate: Certificate) -> Iterate | None:
        """Return the end of such a step, None where there is nothing left to win or no cheap way."""
        problem = self._problem
        support = np.flatnonzero(point.w)
        # Gathering the columns is dear already where rows are stored.
        affordable = support.size**2 <= max(2 * problem.design.n_stored, 100_000)
        if self._left == 0 or certificate.residual <= POLISHED or not affordable:
            return None
        self._left -= 1
        raw_gradient, curvature = problem.derivatives(point.prediction)
        block = problem.design.few_columns(support)
        w = point.w[support]
        coef = polished(problem, problem.support_model(block, support, w, point.prediction, raw_gradient, curvature))
        if coef is None:
            return None
        w = point.w.copy()
        w[support] = coef
        new = Iterate.at(problem, w, point.intercept)
        return new if new.objective <= point.objective * (1.0 + ROUNDING) else None


def finish(
    solver: str, point: Iterate, certificate: Certificate, n_iter: int, converged: bool, history: list[float]
) -> SolveResult:
    """Return the result at a point and its certificate."""
    return SolveResult(
        coef=point.w,
        intercept=point.intercept,
        objective=certificate.objective,
        dual_gap=certificate.dual_gap,
        fixed_point_residual=certificate.residual,
        n_iter=max(n_iter, 1),
        converged=converged,
        history=history,
        solver=solver,
    )
