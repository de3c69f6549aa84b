"""Coordinate descent on working sets, with Newton steps on the support.

A solver is a generator: it yields a vector g of shape (n_samples,) and is sent
``X.T @ g``; it returns its SolveResult. The driver answers the requests of all
problems of one design in a single pass over X.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from .._core._cd import QuadraticModel, sweep
from .certificate import Certificate, Certifier
from .problem import Problem, SolveResult
from .support_newton import GramCache, SupportModel, newton_step

Requests = Generator[np.ndarray, np.ndarray, SolveResult]

# Violators that join a working set at once, at least.
SMALLEST_GROWTH = 100
# Epochs of one call of the kernel, at most.
EPOCHS_PER_ROUND = 10
# Losses that are not quadratic: models in one working set, epochs in one model, and how far a model is solved
# below the violation that its first epoch met.
MODELS_PER_ROUND = 20
EPOCHS_PER_MODEL = 50
MODEL_FACTOR = 0.05
# How far below the outer violation the working set is solved.
INNER_FACTOR = 0.1


def coordinate_descent(
    problem: Problem, *, max_iter: int, tol: float, coef: np.ndarray, intercept: float
) -> Requests:
    """Minimise F_tau by cyclic updates ``w_j <- T_j(w_j - g_j / L_j)``.

    Parameters
    ----------
    problem : Problem
    max_iter : int
        Epochs over working sets, at most.
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
    """
    state = _State(problem, coef, intercept)
    certifier = Certifier(problem)
    history: list[float] = []
    epochs, inner_tol, last_violation = 0, np.inf, np.inf
    if problem.gradient_scale is None and coef.any():
        problem.set_gradient_scale((yield problem.null_raw_gradient))
    while True:
        smooth_gradient = yield state.raw_gradient
        if problem.gradient_scale is None:
            problem.set_gradient_scale(smooth_gradient)
        certificate = certifier.certify(state.w, state.prediction, state.raw_gradient, smooth_gradient)
        history.append(certificate.objective)
        converged = certificate.holds(problem, tol)
        if converged or epochs >= max_iter:
            break
        features = working_set(problem, state.w, certificate)
        stalled = certificate.violation >= 0.5 * last_violation
        last_violation = certificate.violation
        inner_tol = INNER_FACTOR * min(certificate.violation, inner_tol if stalled else np.inf)
        used = state.descend(features, max(inner_tol, 1e-300), max_iter - epochs)
        epochs += used
    return SolveResult(
        coef=state.w,
        intercept=state.intercept,
        objective=certificate.objective,
        dual_gap=certificate.dual_gap,
        fixed_point_residual=certificate.residual,
        n_iter=epochs,
        converged=converged,
        history=history,
        solver="cd",
    )


def working_set(problem: Problem, w: np.ndarray, certificate: Certificate) -> np.ndarray:
    """Return the support and the largest violators, sorted: at most twice the support, or 100 more."""
    support = w != 0.0
    candidates = np.flatnonzero((certificate.violations > 0.0) & ~support)
    growth = max(SMALLEST_GROWTH, int(np.count_nonzero(support)))
    if candidates.size > growth:
        chosen = np.argpartition(certificate.violations[candidates], candidates.size - growth)
        candidates = candidates[chosen[candidates.size - growth :]]
    return np.sort(np.concatenate([np.flatnonzero(support), candidates])).astype(np.int64, copy=False)


class _State:
    """Coefficients, intercept, predictions and derivatives, always consistent between rounds."""

    def __init__(self, problem: Problem, coef: np.ndarray, intercept: float):
        self.problem = problem
        self.w = np.where(problem.usable, coef, 0.0)
        smallest = problem.penalty.sparsity_threshold
        self.w[np.abs(self.w) < smallest] = 0.0
        if problem.penalty.positive:
            self.w[self.w < 0.0] = 0.0
        self.intercept = intercept
        fixed = problem.loss.quadratic
        self._gram = GramCache(problem.design, problem.weights) if fixed else None
        self._uniform = problem.uniform_curvature
        self._failures = self._rests = 0
        self.refresh()

    def refresh(self) -> None:
        """Recompute predictions and derivatives from the coefficients, the intercept at its optimum."""
        problem = self.problem
        offset = problem.design.matvec(self.w[np.newaxis])[0]
        self.intercept = problem.best_intercept(offset, self.intercept)
        offset += self.intercept
        self.prediction = offset
        self.raw_gradient, self.curvature = problem.derivatives(self.prediction)

    def descend(self, features: np.ndarray, tol: float, max_epochs: int) -> int:
        """Minimise over the features of a working set to within ``tol``; return the epochs used."""
        if not self.problem.loss.quadratic:
            return self._descend_models(features, tol, max_epochs)
        w, epochs, _ = self._descend_model(features, self.curvature, True, tol, max_epochs)
        self.w[features] = w
        self.refresh()
        return epochs

    def _descend_models(self, features: np.ndarray, tol: float, max_epochs: int) -> int:
        """Descend one quadratic model after another: the Newton model while it is good, else a majoriser."""
        used = 0
        for _ in range(MODELS_PER_ROUND):
            left = min(EPOCHS_PER_MODEL, max_epochs - used)
            if left <= 0:
                break
            if self._rests > 0:
                self._rests -= 1
                epochs, first = self._majorised_step(features, tol, left)
            else:
                epochs, first = self._newton_model_step(features, tol, left)
            used += epochs
            if first <= tol:
                break
        return used

    def _majorised_step(self, features: np.ndarray, tol: float, max_epochs: int) -> tuple[int, float]:
        problem = self.problem
        curvature = np.empty_like(self.curvature)
        problem.loss.majoriser(problem.y, self.prediction, problem.weights, curvature)
        w, epochs, first = self._descend_model(features, curvature, False, tol, max_epochs)
        self.w[features] = w
        self.refresh()
        return epochs, first

    def _newton_model_step(self, features: np.ndarray, tol: float, max_epochs: int) -> tuple[int, float]:
        """Prox-Newton with a line search on F_tau; a model that misleads gives way to majorisers for a while."""
        problem = self.problem
        before = problem.objective(self.w, self.prediction)
        start = self.w[features]
        w, epochs, first = self._descend_model(features, self.curvature, False, tol, max_epochs)
        step = w - start
        for halvings in range(4):
            self.w[features] = self._on_line(start, w, step)
            self.refresh()
            if problem.objective(self.w, self.prediction) <= before:
                if halvings:
                    self._rests = 2
                else:
                    self._failures = 0
                return epochs, first
            step = 0.5 * step
        self.w[features] = start
        self.refresh()
        self._failures += 1
        self._rests = 2**min(self._failures, 10)
        return epochs, np.inf

    def _on_line(self, start: np.ndarray, end: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return ``start + step`` on the admissible set {0} and |t| >= threshold."""
        new = end if np.array_equal(start + step, end) else start + step
        smallest = self.problem.penalty.sparsity_threshold
        if smallest > 0.0:
            new = np.where(np.abs(new) < smallest, start, new)
        return new

    def _descend_model(
        self, features: np.ndarray, curvature: np.ndarray, exact: bool, tol: float, max_epochs: int
    ) -> tuple[np.ndarray, int, float]:
        """Minimise the quadratic model over the features.

        Returns their coefficients, the epochs used, and the violation that the first of them met.
        """
        problem, penalty = self.problem, self.problem.penalty
        block = problem.design.columns(features)
        w = self.w[features]
        raw = self.raw_gradient.copy()
        if exact:
            lipschitz = problem.lipschitz[features]
            sums = problem.sums[features] * problem.loss.curvature_bound if problem.fit_intercept else None
        else:
            sums, squares = block.moments(curvature, problem.fit_intercept)
            lipschitz = np.where(problem.lipschitz[features] > 0.0, squares + penalty.l2_reg, 0.0)
            sums = sums if problem.fit_intercept else None
        total = float(curvature.sum()) or 1.0
        uniform = self._uniform if exact and problem.loss.quadratic else None
        model = QuadraticModel(
            penalty, features, w, raw, curvature if uniform is None else uniform, lipschitz, sums, total, exact
        )
        gram = self._gram
        epochs, patience, waited, first = 0, 1, 0, np.inf
        while epochs < max_epochs:
            limit = 1 if epochs == 0 else min(EPOCHS_PER_ROUND, max_epochs - epochs)
            done, violation, stable = sweep(
                block.data, block.rows, block.start, block.stop, model, limit, tol, waited + 1 >= patience
            )
            model.fold_shift()
            if epochs == 0:
                first = violation if done == 1 else np.inf
                tol = tol if exact else max(tol, MODEL_FACTOR * violation)
            epochs += done
            if violation <= tol:
                break
            waited += done
            if not stable or waited < patience:
                continue
            waited = 0
            on = np.flatnonzero(w)
            support = SupportModel(
                block.take(on), features[on], w[on], raw, curvature,
                lipschitz[on] - penalty.l2_reg, None if sums is None else sums[on], total,
            )  # fmt: skip
            step = newton_step(penalty, support, gram, tol)
            if step is None:
                patience = min(2 * patience, 64)
                continue
            change = step[0] - w[on]
            w[on] = step[0]
            moved = support.block.combine(change)
            if sums is not None:
                moved -= change @ sums[on] / total
            raw += curvature * moved
        return w, epochs, first
