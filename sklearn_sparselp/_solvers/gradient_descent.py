"""Conjugate gradient descent with line search, for p > 1."""

from __future__ import annotations

import math

import numpy as np

from .._core._gradient import descent_terms, slope_along, turn_direction
from .certificate import Certifier
from .coordinate_descent import Requests
from .iterate import SWEEP_FACTOR, Iterate, Polisher, Schedule, admissible, finish, sweep_violators
from .problem import Problem

# Evaluations of one line search, and the slope, against the first one, that is as good as zero.
MAX_EVALUATIONS = 40
FLAT = 0.1
# Predictions move along with w; rounding adds up over so many iterations before they are made anew.
REFRESH_EVERY = 50


def gradient_descent(
    problem: Problem, *, max_iter: int, tol: float, coef: np.ndarray, intercept: float
) -> Requests:
    """Minimise F_tau along ``d = -g / (L + c) + beta d``, g its gradient, L the L_j, c the penalty's curvature.

    Parameters
    ----------
    problem : Problem
        With p > 1.
    max_iter : int
        Gradient iterations, at most.
    tol : float
        Of the stopping rule, see `Certificate.holds`.
    coef : ndarray of shape (n_features,), dtype float64
        Start.
    intercept : float
        Start; moved to its optimum at once.

    Returns
    -------
    generator
        Yields vectors to multiply, returns a SolveResult.

    Notes
    -----
    Nonlinear conjugate gradients (beta of Polak and Ribière, at least 0), preconditioned by
    the diagonal that `descent_terms` describes: it follows the penalty, whose curvature is
    unbounded at 0 for p < 2. An iteration costs one product with X.T and one with X;
    the line search walks on predictions. F_tau never increases.

    With a mask, coordinate sweeps (`sweep_violators`) decide the support, and descent moves what is
    on it, never below the threshold. ``positive`` and the threshold are bounds: a step
    beyond is cut, coordinate by coordinate, and searched again (projected gradient).
    """
    if problem.gradient_scale is None and coef.any():
        problem.set_gradient_scale((yield problem.null_raw_gradient))
    masked = problem.penalty.sparsity_threshold > 0.0
    certifier, schedule, descent = Certifier(problem), Schedule(problem, tol), _Descent(problem)
    polisher = Polisher(problem)
    history: list[float] = []
    point = Iterate.at(problem, admissible(problem, coef), intercept)
    iteration, last, moved = 0, max_iter, 0
    while True:
        point.smooth_gradient = yield point.raw_gradient
        if problem.gradient_scale is None:
            problem.set_gradient_scale(point.smooth_gradient)
        descent.look(point)
        if masked and history and descent.largest <= SWEEP_FACTOR * certificate.violation:
            schedule.now()
        if schedule.due(iteration) or iteration >= last or moved >= REFRESH_EVERY:
            certificate = certifier.certify(point.w, point.prediction, point.raw_gradient, point.smooth_gradient)
            converged = certificate.holds(problem, tol)
            stop = converged or iteration >= last
            if moved and (stop or moved >= REFRESH_EVERY):
                moved = 0
                point = Iterate.at(problem, point.w, point.intercept)
                continue
            history.append(certificate.objective)
            if converged and (polished := polisher.step(point, certificate)) is not None:
                point = polished
                descent.forget()
                schedule.now()
                continue
            if stop:
                return finish("gd", point, certificate, iteration, converged, history)
            schedule.record(iteration, certificate)
            if masked and descent.largest <= SWEEP_FACTOR * certificate.violation:
                iteration += 1
                swept = sweep_violators(problem, point, certificate, 0.5 * tol * problem.gradient_scale)
                if swept is None:
                    last = iteration
                else:
                    point, moved = swept, 0
                    descent.forget()
                schedule.now()
                continue
        iteration += 1
        new = descent.step(point)
        if new is None:
            last = iteration
        else:
            point, moved = new, moved + 1


class _Descent:
    """Directions and line searches.

    Attributes
    ----------
    largest : float
        ``max_j L_j |change of w_j|`` of the step to the minimiser of each coordinate's model.
    """

    def __init__(self, problem: Problem):
        n_features = problem.design.n_features
        self._problem = problem
        self._gradient = np.zeros(n_features)
        self._bend = np.empty(n_features)
        self._direction = np.zeros(n_features)
        self._bounded = problem.penalty.positive or problem.penalty.sparsity_threshold > 0.0
        self._slope = math.inf
        self._memory = 0.0
        self.largest = math.inf

    def look(self, point: Iterate) -> None:
        """Take gradient and curvature at a point, and how much of the last direction to keep."""
        former = self._slope
        self._slope, turn, self.largest = descent_terms(
            self._problem.penalty, point.w, point.smooth_gradient, self._problem.lipschitz,
            self._problem.penalty.positive, self._gradient, self._bend,
        )  # fmt: skip
        self._memory = max(turn / former, 0.0) if former > 0.0 else 0.0

    def forget(self) -> None:
        """Begin with the gradient alone."""
        self._slope = math.inf

    def step(self, point: Iterate) -> Iterate | None:
        """Return the end of a line search, None where none leads down."""
        new = self._search(point, self._memory)
        if new is None and self._memory > 0.0:
            new = self._search(point, 0.0)
        return new

    def _search(self, point: Iterate, memory: float) -> Iterate | None:
        problem = self._problem
        l2_reg = problem.penalty.l2_reg
        along, bending = turn_direction(
            self._gradient, problem.lipschitz, self._bend, l2_reg, memory, self._direction
        )
        if not along < 0.0:
            return None
        line = _Line(point, self._direction, along)
        step = line.minimise(bending, math.inf)
        if step is None:
            return None
        if self._bounded:
            # Compared as coefficients: as a change, rounding would decide whether the step has been cut.
            end = self._inside(point.w, line.end.w)
            if not np.array_equal(end, line.end.w):
                cut = end - point.w
                along = float(self._gradient @ cut)
                if not along < 0.0:
                    return None
                self._direction = cut
                moves = cut != 0.0
                bending = float((self._bend[moves] + l2_reg) @ cut[moves] ** 2)
                line = _Line(point, cut, along, end)
                step = line.minimise(bending, 1.0)
        return None if step is None else line.end

    def _inside(self, w: np.ndarray, new: np.ndarray) -> np.ndarray:
        smallest = self._problem.penalty.sparsity_threshold
        if smallest > 0.0:
            return np.where(w != 0.0, np.copysign(np.maximum(new * np.sign(w), smallest), w), 0.0)
        return np.maximum(new, 0.0)


class _Line:
    """F_tau along ``w + t d``: predictions are linear in t, so X is not read again.

    ``target`` is ``w + d`` free of rounding: coefficients at the threshold of a mask are exactly there.
    """

    def __init__(self, point: Iterate, direction: np.ndarray, along: float, target: np.ndarray | None = None):
        self._point, self._direction, self._along, self._target = point, direction, along, target
        self._moved = point.problem.design.matvec(direction[np.newaxis])[0]
        self.end: Iterate | None = None

    def _at(self, step: float) -> float:
        """Go to t = step and return the slope there."""
        point, problem = self._point, self._point.problem
        w = point.w + step * self._direction if self._target is None or step < 1.0 else self._target
        self.end = Iterate(problem, w, point.prediction + step * self._moved, point.intercept)
        slope = self.end.raw_gradient @ self._moved
        return float(slope) + slope_along(problem.penalty, point.w, self._direction, step)

    def minimise(self, bending: float, longest: float) -> float | None:
        """Find a t where the slope is nearly zero and F_tau lower, None where rounding hides it.

        The slope grows with t: secant steps inside a bracket.
        """
        step = min(self._first(bending), longest)
        low, low_slope, high, high_slope = 0.0, self._along, math.inf, math.inf
        for _ in range(MAX_EVALUATIONS):
            slope = self._at(step)
            if slope <= 0.0:
                low, low_slope = step, slope
                if slope >= FLAT * self._along or step >= longest:
                    return step
            else:
                high, high_slope = step, slope
                if slope <= -FLAT * self._along and self.end.objective <= self._point.objective:
                    return step
            if high == math.inf:
                step = min(3.0 * step, longest)
            else:
                inner = low - low_slope * (high - low) / (high_slope - low_slope)
                step = min(max(inner, low + 0.1 * (high - low)), high - 0.1 * (high - low))
        if low == 0.0:
            return None
        self._at(low)
        return low

    def _first(self, bending: float) -> float:
        problem = self._point.problem
        moved = self._moved
        _, curvature = problem.derivatives(self._point.prediction)
        total = float(curvature.sum())
        if problem.fit_intercept and total > 0.0:
            moved = moved - (curvature @ moved) / total
        with np.errstate(over="ignore"):
            bending += float(curvature @ (moved * moved))
        return -self._along / bending if 0.0 < bending < math.inf else 1.0
