"""The state of coordinate descent on a multinomial problem: classes in turn, Newton steps on all together."""

from __future__ import annotations

import numpy as np

from .certificate import Certificate
from .descent_state import EPOCHS_PER_MODEL, MODELS_PER_ROUND, DescentState
from .iterate import Iterate, sweep_violators
from .multinomial import MultinomialProblem
from .support_newton import ROUNDING, SupportModel, newton_step, polished

# Visits of all classes in one working set, and models of a class in one visit.
VISITS = MODELS_PER_ROUND
MODELS_PER_VISIT = 1
# Visits before a first Newton step on all classes.
VISITS_BEFORE_NEWTON = 2
HALVINGS = 4
# A Newton step is solved for so far below the violation of the last visit: a later one has another curvature.
NEWTON_FACTOR = 0.1
# Of exponentials beside the highest one, with all digits.
SMALLEST_SUM = 1e-280


class ClassStates:
    """Coefficients, intercepts, predictions and derivatives of all classes, consistent between rounds.

    Attributes
    ----------
    w : ndarray of shape (n_classes * n_features,)
    intercept : ndarray of shape (n_classes,)
    prediction, raw_gradient : ndarray of shape (n_classes * n_samples,)
    """

    def __init__(self, problem: MultinomialProblem, coef: np.ndarray, intercept: np.ndarray):
        self.problem = problem
        starts = problem.by_class(coef)
        self._states = [
            DescentState(one, start, float(b))
            for one, start, b in zip(problem.class_problems(), starts, intercept, strict=True)
        ]
        self.w = np.concatenate([state.w for state in self._states])
        for state, row in zip(self._states, problem.by_class(self.w), strict=True):
            state.w = row
        self.intercept = np.asarray(intercept, dtype=np.float64)
        self.idle = False
        self.refresh()

    def refresh(self) -> None:
        """Recompute predictions and derivatives from the coefficients, the intercepts at their optimum."""
        problem = self.problem
        self.prediction, self.intercept = problem.predict(self.w, self.intercept)
        self.raw_gradient, self.curvature = problem.derivatives(self.prediction)

    def _support_model(self, support: np.ndarray) -> SupportModel:
        block = self.problem.design.columns(support)
        w = self.w[support]
        return self.problem.support_model(block, support, w, self.prediction, self.raw_gradient, self.curvature)

    def polish(self) -> bool:
        """Take a Newton step on the support if that is cheap; return whether it has won anything."""
        support = np.flatnonzero(self.w)
        coef = polished(self.problem, self._support_model(support))
        if coef is None:
            return False
        before, start = self.problem.objective(self.w, self.prediction), self.w[support]
        self.w[support] = coef
        self.refresh()
        if self.problem.objective(self.w, self.prediction) <= before * (1.0 + ROUNDING):
            return True
        self.w[support] = start
        self.refresh()
        return False

    def jump(self, certificate: Certificate, tol: float) -> bool:
        """Move single coefficients where models of many have come to rest; return whether one has moved."""
        problem = self.problem
        point = Iterate.at(problem, self.w, self.intercept)
        point = sweep_violators(problem, point, certificate, tol * problem.gradient_scale)
        if point is None:
            return False
        self.w[:] = point.w
        self.intercept = point.intercept
        self.refresh()
        return True

    def descend(self, features: np.ndarray, tol: float, gap_limit: float, max_epochs: int) -> int:
        """Minimise over the features of a working set to a violation of ``tol``; return the epochs used."""
        parts = self.problem.design.split(features)
        active = [k for k, part in enumerate(parts) if part.size]
        used = 0
        for visit in range(VISITS):
            signs = np.sign(self.w[features])
            worst, cost = 0.0, 0
            others = OtherClasses(self.problem.by_class(self.prediction))
            for k in active:
                left = min(EPOCHS_PER_MODEL, max_epochs - used)
                if left <= 0:
                    break
                cost = max(cost, self._visit(k, parts[k], others, tol, left))
                worst = max(worst, self._states[k].met)
            # An epoch of all classes is one over the working set.
            used += max(cost, 1)
            if worst <= tol or used >= max_epochs:
                break
            if visit + 1 >= VISITS_BEFORE_NEWTON and np.array_equal(np.sign(self.w[features]), signs):
                self._newton(max(tol, NEWTON_FACTOR * worst))
        self.refresh()
        return used

    def _visit(self, k: int, features: np.ndarray, others: OtherClasses, tol: float, max_epochs: int) -> int:
        """Descend one class while the others stand still."""
        state, rows = self._states[k], self.problem.by_class(self.prediction)
        offset = -others.log_sum(k)
        state.problem.offset = offset
        state.resume(rows[k] + offset, float(self.intercept[k]))
        epochs = state.descend_models(features, tol, max_epochs, MODELS_PER_VISIT, False)
        rows[k] = state.prediction - offset
        self.intercept[k] = state.intercept
        return epochs

    def _newton(self, tol: float) -> None:
        """Step on the support of all classes together, shortened until the objective falls."""
        problem = self.problem
        self.refresh()
        support = np.flatnonzero(self.w)
        if not support.size:
            return
        step = newton_step(problem.penalty, self._support_model(support), None, tol)
        if step.coef is None:
            return
        before, start, intercept = problem.objective(self.w, self.prediction), self.w[support], self.intercept
        change = step.coef - start
        smallest = problem.penalty.sparsity_threshold
        for halving in range(HALVINGS):
            new = step.coef if halving == 0 else start + change
            self.w[support] = np.where((np.abs(new) < smallest) & (new != 0.0), start, new)
            self.refresh()
            if problem.objective(self.w, self.prediction) <= before:
                return
            self.intercept = intercept
            change = 0.5 * change
        self.w[support] = start
        self.refresh()


class OtherClasses:
    """The log of the sum of ``exp(prediction_l)`` over all classes l but one, which change in their order.

    Sums over the classes before and after each one cost one exponential for each prediction of a round.

    Parameters
    ----------
    prediction : ndarray of shape (n_classes, n_samples)
        Looked at again as classes change.
    """

    def __init__(self, prediction: np.ndarray):
        self._prediction = prediction
        self._highest = prediction.max(axis=0)
        terms = np.exp(prediction - self._highest)
        self._after = np.zeros_like(terms)
        np.cumsum(terms[:0:-1], axis=0, out=self._after[-2::-1])
        self._before = np.zeros(prediction.shape[1])
        self._done = 0

    def log_sum(self, k: int) -> np.ndarray:
        """Return ``log(sum_(l != k) exp(prediction_l))``; k may not fall from call to call."""
        with np.errstate(over="ignore"):
            while self._done < k:
                self._before += np.exp(self._prediction[self._done] - self._highest)
                self._done += 1
            rest = self._before + self._after[k]
        if rest.min() > SMALLEST_SUM and rest.max() < 1.0 / SMALLEST_SUM:
            return self._highest + np.log(rest)
        others = np.delete(self._prediction, k, axis=0)
        highest = others.max(axis=0)
        return highest + np.log(np.exp(others - highest).sum(axis=0))
