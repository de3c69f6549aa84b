"""Accelerated proximal gradient: products with X only, so rows serve as well as columns."""

from __future__ import annotations

import math

import numpy as np

from .._core._gradient import proximal_step
from .certificate import Certifier
from .coordinate_descent import Requests
from .iterate import SWEEP_FACTOR, Iterate, Polisher, Schedule, admissible, finish, sweep_violators
from .problem import Problem

# What a step that was short enough leaves of its inverse length: the curvature on the support that is left in the
# end is often a tenth of the first one, and a step that turns out too long costs one product with X.
SHRINK = 0.9
# A loss of unbounded curvature may bend so many times more than at the null model.
STEEPEST = 1e15
# Over the curvature that was met on the way, so that rounding does not repeat a step.
MARGIN = 1.05
EPS = float(np.finfo(np.float64).eps)


def proximal_gradient(
    problem: Problem, *, max_iter: int, tol: float, coef: np.ndarray, intercept: float
) -> Requests:
    """Minimise F_tau by ``w <- prox_{P/(s L)}(v - g(v) / (s L))`` with momentum, L the vector of the L_j.

    Parameters
    ----------
    problem : Problem
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
    FISTA (Beck, Teboulle 2009) restarted where the momentum leads uphill (O'Donoghue,
    Candès 2015). An extrapolated step that does not lower F_tau gives way to a plain one, so
    F_tau never increases, for non-convex penalties (Li, Lin 2015) as for convex ones. The
    intercept is at its optimum in every point. s is found by backtracking and shrinks
    again (Scheinberg, Goldfarb, Bai 2014).

    With squared error gradients are linear in w: only those at iterates are asked for,
    which are also what a certificate needs. Other losses pay one more product for it.

    Where the problem is not convex a step with s > 1 can rest where T_j would still
    move a coordinate; `sweep_violators` leaves such points.
    """
    if problem.gradient_scale is None and coef.any():
        problem.set_gradient_scale((yield problem.null_raw_gradient))
    quadratic = problem.loss.quadratic
    certifier, schedule, stepper = Certifier(problem), Schedule(problem, tol), _Stepper(problem)
    polisher = Polisher(problem)
    history: list[float] = []
    point = old = Iterate.at(problem, admissible(problem, coef), intercept)
    iteration, last, reach, momentum = 0, max_iter, 1.0, 0.0
    while True:
        due = schedule.due(iteration) or iteration >= last
        if (due or quadratic) and point.smooth_gradient is None:
            point.smooth_gradient = yield point.raw_gradient
        if problem.gradient_scale is None:
            problem.set_gradient_scale(point.smooth_gradient)
        if due:
            certificate = certifier.certify(point.w, point.prediction, point.raw_gradient, point.smooth_gradient)
            history.append(certificate.objective)
            converged = certificate.holds(problem, tol)
            if converged and (polished := polisher.step(point, certificate)) is not None:
                point = old = polished
                reach, momentum = 1.0, 0.0
                schedule.now()
                continue
            if converged or iteration >= last:
                return finish("pg", point, certificate, iteration, converged, history)
            schedule.record(iteration, certificate)
            if not problem.convex and stepper.largest <= SWEEP_FACTOR * certificate.violation:
                iteration += 1
                swept = sweep_violators(problem, point, certificate, 0.5 * tol * problem.gradient_scale)
                if swept is None:
                    last = iteration
                else:
                    point = old = swept
                    reach, momentum, stepper.largest = 1.0, 0.0, math.inf
                schedule.now()
                continue
        iteration += 1
        start = point.beyond(old, momentum) if momentum > 0.0 else point
        if start.smooth_gradient is None:
            start.smooth_gradient = yield start.raw_gradient
        new = stepper.step(point, old, momentum, start)
        if momentum > 0.0 and not stepper.lowers(point, new):
            reach, momentum = 1.0, 0.0
            if point.smooth_gradient is None:
                point.smooth_gradient = yield point.raw_gradient
            new = stepper.step(point, point, 0.0, point)
        if momentum == 0.0:
            new = stepper.insist(point, new)
        if stepper.largest == 0.0 and momentum == 0.0 and problem.convex:
            last = iteration
        if stepper.largest == 0.0 or stepper.uphill:
            reach, momentum = 1.0, 0.0
        else:
            former, reach = reach, 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * reach * reach))
            momentum = (former - 1.0) / reach
        if not problem.convex and stepper.largest <= SWEEP_FACTOR * certificate.violation:
            schedule.now()
        old, point = point, new


class _Stepper:
    """Takes proximal steps and finds how long they may be.

    Attributes
    ----------
    largest : float
        ``max_j s L_j |change of w_j|`` of the last step.
    uphill : bool
        Whether the last step went against the momentum.
    """

    def __init__(self, problem: Problem):
        self._problem = problem
        self._inverse_step = 1.0
        # The curvature of all columns together, each scaled to 1, is at most their number.
        # (Classes bend each other at most twice as much.)
        self._longest = 2.0 * max(1, np.count_nonzero(problem.usable))
        if np.isinf(problem.loss.curvature_bound):
            self._longest *= STEEPEST
        self._scale = math.sqrt(problem.weights @ problem.y**2)
        squares = (problem.lipschitz - problem.penalty.l2_reg) / problem.curvature
        # Root mean squares of the columns.
        self._sizes = np.sqrt(np.maximum(squares, 0.0) + (problem.sums**2 if problem.fit_intercept else 0.0))
        self.largest, self.uphill = math.inf, False

    def step(self, point: Iterate, old: Iterate, momentum: float, start: Iterate) -> Iterate:
        """Step from ``start``, which is ``point + momentum (point - old)``; backtrack while the step is too long.

        It is short enough when ``(g(new) - g(start)) . change <= s sum_j L_j change_j^2``,
        which for squared error says that the quadratic that the step minimises lies
        above the smooth part at its end. The left side comes from predictions.
        """
        problem = self._problem
        # Squared error: the gradient at the start is that combination of the two, like everything else.
        gradient, old_gradient = (
            (point.smooth_gradient, old.smooth_gradient)
            if problem.loss.quadratic
            else (start.smooth_gradient, start.smooth_gradient)
        )
        while True:
            w = np.empty_like(point.w)
            size, square, along, self.largest = proximal_step(
                problem.penalty, point.w, old.w, momentum, gradient, old_gradient,
                problem.lipschitz, self._inverse_step, w,
            )  # fmt: skip
            self.uphill = along > 0.0
            new = Iterate.at(problem, w, start.intercept)
            if size == 0.0:
                return new
            bent = (new.prediction - start.prediction) @ (new.raw_gradient - start.raw_gradient)
            bent += problem.penalty.l2_reg * square
            needed = MARGIN * bent / size
            if bent <= self._inverse_step * size:
                self._inverse_step = max(SHRINK * self._inverse_step, needed)
                return new
            # Predictions that differ by rounding alone say nothing about curvature.
            noise = 32.0 * EPS * math.sqrt(bent) * self._size(new)
            if bent <= self._inverse_step * size + noise or self._inverse_step >= self._longest:
                return new
            self._inverse_step = min(max(needed, 1.2 * self._inverse_step), self._longest)

    def lowers(self, point: Iterate, new: Iterate) -> bool:
        """Whether F_tau is no higher at ``new`` than at ``point``, rounding of predictions apart."""
        value = point.objective
        return new.objective <= value + 8.0 * EPS * (value + math.sqrt(value) * self._size(new))

    def _size(self, point: Iterate) -> float:
        """Return the size of the numbers whose rounding the predictions of a point carry.

        Columns far from the origin add up to numbers that are much larger than predictions and intercept.
        """
        terms = math.sqrt(float(np.sum((self._sizes * point.w) ** 2)))
        return self._scale + terms + float(np.abs(point.intercept).max())

    def insist(self, point: Iterate, new: Iterate) -> Iterate:
        """Shorten a plain step until F_tau does not rise; stay where rounding leaves no such step."""
        tried = self._inverse_step
        while not self.lowers(point, new):
            if tried >= self._longest:
                self.largest = 0.0
                return point
            # A step that was short enough has shrunk the one to come: it does not shrink this search.
            tried = self._inverse_step = min(2.0 * max(tried, self._inverse_step), self._longest)
            new = self.step(point, point, 0.0, point)
        return new
