"""The path for p = 1 and two classes, counts or positive numbers: Newton models on the features that matter, each solved on its Gram matrix."""

from __future__ import annotations

import numpy as np

from .._core._gram_path import lasso_on_gram
from .._core._log_link import Gamma, Poisson
from .._core._loss import LogLoss
from .._core._penalty import total_on
from .certificate import Certificate, Certifier
from .design import ColumnBlock
from .gram import subtract_outer
from .lasso_path import INNER, MOST_FAILURES, MOST_PASSES, WHOLE, far_from_origin, result_of
from .problem import Problem, SolveResult
from .support_newton import POLISH_PASSES, POLISH_STEPS, POLISHED, SMALL

# Columns of one model, at most: its factor is made anew each time.
LARGEST = 1000
# Features that join at once, at least; as many as the support has if that is more.
SMALLEST_GROWTH = 100
# Models between two certificates, and points that are tried on the way to the end of one, at most.
MOST_MODELS = 20
HALVINGS = 6
# A column that a model bends less than so, against the bound L_j, is taken to bend so much.
FLAT = 1e-4
# Differences of objectives below this fraction are rounding.
ROUNDING = 4e-15
# That of one feature or of each.
Strength = float | np.ndarray


class LogLossPath:
    """Fits at one strength after the other.

    Parameters
    ----------
    problem : Problem
        At any alpha; `applies` to it.
    null_gradient : ndarray of shape (n_features,)
        Gradient at w = 0.
    alphas : ndarray of shape (n_alphas,)
        Descending.
    polish : bool
        Whether fits end with Newton steps, so that they hardly depend on tol; may be changed between fits.
    """

    def __init__(self, problem: Problem, null_gradient: np.ndarray, alphas: np.ndarray, polish: bool):
        problem.design.prefer_columns()
        self._problem, self.polish = problem, polish
        # At w and the intercept: predictions, loss and its derivatives, and the gradient where it is known.
        self._w = np.zeros(problem.design.n_features)
        self._go_to(np.zeros(problem.design.n_samples), 0.0)
        self._gradient: np.ndarray | None = null_gradient
        self._last = np.inf
        self._features = np.empty(0, dtype=np.int64)
        self._block = problem.design.columns(self._features)
        self._inside = np.zeros(problem.design.n_features, dtype=bool)
        self._failures = 0

    @staticmethod
    def applies(problem: Problem) -> bool:
        """Whether this path can be followed here."""
        penalty = problem.penalty
        if type(problem) is not Problem or not problem.n_usable:
            return False
        # Where features are many, models of a log link mislead: 0.6 to 0.8 of the speed of working sets on 100 x 2000.
        log_link = isinstance(problem.loss, (Poisson, Gamma)) and problem.n_usable <= WHOLE
        if not log_link and not isinstance(problem.loss, LogLoss):
            return False
        if not penalty.absolute or penalty.positive or problem.free.any():
            return False
        return not far_from_origin(problem)

    def fit(self, alpha: float, tol: float, max_iter: int) -> SolveResult | None:
        """Return the fit at a strength, None where that is left to others."""
        if alpha <= 0.0 or self._failures >= MOST_FAILURES:
            return None
        result = self._fit(self._problem.at(alpha), alpha, tol, max_iter)
        self._failures += result is None
        return result

    def move(self, coef: np.ndarray) -> None:
        """Go on from these coefficients, which others have found."""
        self._w = np.array(coef)
        block = self._problem.design.columns(support := np.flatnonzero(coef))
        self._go_to(block.combine(coef[support]), 0.0)
        self._gradient = None

    def _go_to(self, prediction: np.ndarray, intercept: float) -> None:
        """Take over predictions, which hold an intercept, and bring that to its optimum."""
        self._prediction, change = self._problem.profile(prediction, 0.0)
        self._intercept = intercept + change
        self._loss, self._raw, self._curvature = self._problem.evaluate(self._prediction)

    def _fit(self, problem: Problem, alpha: float, tol: float, max_iter: int) -> SolveResult | None:
        certifier, design = Certifier(problem), problem.design
        self._choose(problem, alpha)
        inner, epochs = INNER * tol, 0
        for _ in range(MOST_PASSES):
            done = self._descend(problem, inner, max_iter - epochs)
            if done is None:
                return None
            epochs += done
            if problem.fit_intercept:
                self._go_to(self._prediction, self._intercept)
            self._gradient = design.rmatvec(self._raw[np.newaxis])[0]
            certificate = certifier.certify(self._w, self._prediction, self._raw, self._gradient)
            if certificate.holds(problem, tol):
                return result_of(self._w.copy(), self._intercept, certificate, epochs)
            if not self._join(certificate):
                inner *= 0.1
        return None

    def _choose(self, problem: Problem, alpha: float) -> None:
        """Start the working set anew: the support and what the sequential strong rule lets in."""
        chosen = self._w != 0.0
        if self._gradient is not None:
            size, bound = np.abs(self._gradient), max(2.0 * alpha - self._last, 0.0) if self._last < np.inf else alpha
            factor = problem.penalty.penalty_factor
            near = np.flatnonzero((size > (bound if factor is None else bound * factor)) & problem.usable)
            chosen[self._largest(near, size)] = True
        self._last = alpha
        self._take(chosen)

    def _join(self, certificate: Certificate) -> bool:
        """Let the largest violators join; return whether there are any."""
        violators = np.flatnonzero((certificate.violations > 0.0) & ~self._inside)
        self._inside[self._largest(violators, certificate.violations)] = True
        self._take(self._inside)
        return bool(violators.size)

    def _largest(self, features: np.ndarray, scores: np.ndarray) -> np.ndarray:
        growth = max(SMALLEST_GROWTH, np.count_nonzero(self._w))
        if features.size <= growth:
            return features
        return features[np.argpartition(scores[features], -growth)[-growth:]]

    def _take(self, chosen: np.ndarray) -> None:
        features = np.flatnonzero(chosen)
        if features.size != self._features.size or (features != self._features).any():
            self._features = features
            self._block = self._problem.design.columns(features)
        self._inside = chosen

    def _descend(self, problem: Problem, tol: float, max_epochs: int) -> int | None:
        """Solve the problem of the working set; return the epochs it took, None where that was given up."""
        features, block, penalty = self._features, self._block, problem.penalty
        if not features.size:
            return 0
        strength: Strength = penalty.alpha if penalty.penalty_factor is None else penalty.alpha * penalty.penalty_factor[features]
        w, epochs, polishes = self._w[features], 0, POLISH_STEPS if self.polish else 0
        for _ in range(MOST_MODELS):
            gradient = block.products(self._raw)
            pull = np.abs(gradient)
            active = (w != 0.0) | (pull > strength)
            on = np.flatnonzero(active)
            if not on.size:
                return epochs
            if self._near_enough(problem, features, w, gradient, strength, tol):
                if not polishes or not self._worth_polishing(problem, block, on, w, gradient, strength):
                    return epochs
                polishes -= 1
            if on.size > LARGEST or epochs >= max_epochs:
                return None
            done = self._step(problem, block.take(on), features[on], w[on], gradient[on], max_epochs - epochs)
            if done is None:
                # Rounding leaves nothing to win: the certificate tells whether that is enough.
                return epochs if polishes < POLISH_STEPS and self.polish else None
            epochs += done
            w = self._w[features]
        return None

    def _near_enough(
        self, problem: Problem, features: np.ndarray, w: np.ndarray, gradient: np.ndarray, strength: Strength, tol: float
    ) -> bool:
        """Whether the gap of the problem of the working set is small; with a ridge the violation."""
        if problem.penalty.l2_reg:
            return _violation(problem, w, gradient, strength) <= tol * problem.gradient_scale
        scale = 1.0 / max(float((np.abs(gradient) / strength).max()), 1.0)
        dual = -problem.loss.conjugate(problem.y, self._raw, scale, problem.weights)
        gap = self._loss + total_on(problem.penalty, features, w) - dual
        return bool(gap <= tol * problem.null_objective)

    def _worth_polishing(
        self, problem: Problem, block: ColumnBlock, on: np.ndarray, w: np.ndarray, gradient: np.ndarray,
        strength: Strength,
    ) -> bool:  # fmt: skip
        if _violation(problem, w, gradient, strength) <= POLISHED * problem.gradient_scale:
            return False
        return on.size * block.take(on).n_stored <= max(POLISH_PASSES * problem.design.n_stored, SMALL)

    def _step(
        self, problem: Problem, block: ColumnBlock, features: np.ndarray, w: np.ndarray, gradient: np.ndarray,
        max_epochs: int,
    ) -> int | None:  # fmt: skip
        """Go to the minimum of the model on these columns, or nearer; return its epochs, None without success."""
        penalty, size = problem.penalty, features.size
        matrix = block.gram(self._curvature)
        shift, sums, total = 0.0, None, 1.0
        if problem.fit_intercept:
            total = float(self._curvature.sum())
            if total <= 0.0:
                return None
            sums = block.products(self._curvature)
            subtract_outer(matrix, sums / np.sqrt(total))
            shift = -float(self._raw.sum()) / total
            gradient = gradient + shift * sums
        diagonal = matrix.reshape(-1)[:: size + 1]
        np.maximum(diagonal, FLAT * (problem.lipschitz[features] - penalty.l2_reg), out=diagonal)
        coefs, figures, new = np.empty((1, size)), np.empty((1, 4)), w.copy()
        factor = np.ones(size) if penalty.penalty_factor is None else penalty.penalty_factor[features]
        solved = lasso_on_gram(
            matrix, factor, gradient - matrix @ w, 0.0, np.array([penalty.alpha]), penalty.l2_reg, False, max_epochs,
            np.inf, np.inf, new, coefs, figures, np.empty(4 * size), np.empty((size, size)),
            np.zeros(size + 1, dtype=np.int32),
        )  # fmt: skip
        if not solved:
            return None
        moved = block.combine(new - w)
        if sums is not None:
            shift -= float((new - w) @ sums) / total
            moved += shift
        limit = (self._loss + total_on(penalty, features, w)) * (1.0 + ROUNDING)
        length, end = 1.0, new
        for _ in range(HALVINGS):
            prediction = self._prediction + moved
            loss, raw, curvature = problem.evaluate(prediction)
            if loss + total_on(penalty, features, new) <= limit:
                self._w[features] = new
                self._prediction, self._loss, self._raw, self._curvature = prediction, loss, raw, curvature
                self._intercept += length * shift
                return int(figures[0, 3])
            length *= 0.5
            moved *= 0.5
            new = w + length * (end - w)
        return None


def _violation(problem: Problem, w: np.ndarray, gradient: np.ndarray, strength: Strength) -> float:
    """Return by how much the gradients miss the strengths, at most."""
    slope = np.abs(gradient + problem.penalty.l2_reg * w + np.sign(w) * strength)
    return float(np.where(w != 0.0, slope, np.abs(gradient) - strength).max())
