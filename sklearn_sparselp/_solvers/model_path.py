"""The path for p = 1 and log loss, Poisson or gamma: Newton models on the features that matter, on Gram matrices."""

from __future__ import annotations

from threading import Event

import numpy as np

from .._core._log_link import Gamma, Poisson
from .._core._loss_models import MATRIX, PAUSED, LossModels, follow
from .._core._loss import LogLoss
from .certificate import Certificate, Certifier
from .lasso_path import FARTHEST_MEAN, INNER, MOST_FAILURES, MOST_PASSES, WHOLE, Batch, result_of
from .problem import NO_ENTRIES, Problem, SolveResult
from .support_newton import POLISH_PASSES, POLISH_STEPS, POLISHED, SMALL

# Columns of one model, at most: its factor is made anew for each matrix.
LARGEST = 1000
# Features that join at once, at least; as many as the support has if that is more, or as hold so many values.
SMALLEST_GROWTH = 50
GROWTH_VALUES = 4000
# Of so many stored values a pass and a model more take 0.1 ms.
LITTLE = 50_000
# A column that a model bends less than so, against the bound L_j, is taken to bend so much.
FLAT = 1e-4
# With few features a step is cheap: solved to so much of tol, but not below rounding, fits hardly depend on it.
INNER_WHOLE = 1e-3
SMALLEST_INNER = 1e-13
# What a working set that lacks features is solved to, of the gap that others leave.
ROUGH = 0.1
NO_FIGURES = np.empty((0, 5))


class ModelPath:
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
        self._problem, self._alphas, self.polish = problem, np.ascontiguousarray(alphas, dtype=np.float64), polish
        self._models = LossModels(
            problem.loss, problem.y, problem.weights, problem.fit_intercept, problem.penalty.l2_reg
        )
        self._models.go_to(np.zeros(problem.design.n_samples), 0.0)
        self._w = np.zeros(problem.design.n_features)
        self._gradient: np.ndarray | None = null_gradient
        self._last = np.inf
        self._growth = max(SMALLEST_GROWTH, GROWTH_VALUES * problem.design.n_features // problem.design.n_stored)
        # Whether the working set is known to lack features.
        self._lacking = False
        self._room = np.empty(0)
        self._failures = 0
        # Few features are all in one block, whose problem is the problem.
        self._whole = problem.n_usable <= WHOLE
        self._take(problem.usable.copy() if self._whole else np.zeros(problem.design.n_features, dtype=bool))

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
        return problem.farthest_mean <= FARTHEST_MEAN

    def fit(self, alpha: float, tol: float, max_iter: int) -> SolveResult | None:
        """Return the fit at a strength, None where that is left to others."""
        if alpha <= 0.0 or self._failures >= MOST_FAILURES:
            return None
        if self._whole:
            batch = self._batch(np.array([alpha]), tol, max_iter)
            result = batch.result(0) if len(batch) else None
        else:
            result = self._fit(self._problem.at(alpha), alpha, tol, max_iter)
        self._failures += result is None
        return result

    def at_once(self, tol: float, max_iter: int, cancelled: Event | None = None) -> Batch | None:
        """Return the fits at all strengths, None where not all of them are done together or another thread says so."""
        if not self._whole or self._alphas[-1] <= 0.0:
            return None
        batch = self._batch(self._alphas, tol, max_iter, cancelled)
        return batch if len(batch) == self._alphas.size else None

    def move(self, coef: np.ndarray) -> None:
        """Go on from these coefficients, which others have found."""
        self._w = np.array(coef)
        block = self._problem.design.columns(support := np.flatnonzero(coef))
        self._models.go_to(block.combine(coef[support]), 0.0)
        self._gradient = None
        self._hand_over()

    def _batch(self, alphas: np.ndarray, tol: float, max_iter: int, cancelled: Event | None = None) -> Batch:
        """Return the fits at strengths until one fails; the block, which holds all features, certifies them."""
        problem, features = self._problem, self._features
        coefs, figures = np.empty((alphas.size, features.size)), np.empty((alphas.size, 5))
        inner = max(INNER_WHOLE * tol, min(INNER * tol, SMALLEST_INNER))
        n_done = self._follow(alphas, coefs, figures, tol, inner, max_iter, cancelled)
        self._models.put(self._w)
        intercepts, epochs, objectives, gaps, violations = np.ascontiguousarray(figures[:n_done].T)
        scale = problem.gradient_scale
        residuals = violations / scale if scale > 0.0 else np.zeros(n_done)
        n_iters = np.maximum(epochs, 1.0).astype(np.int64)
        n_features = problem.design.n_features
        return Batch(n_features, features, coefs[:n_done], intercepts, objectives, gaps, residuals, n_iters)

    def _follow(
        self, alphas: np.ndarray, coefs: np.ndarray, figures: np.ndarray, tol: float, inner: float, max_epochs: int,
        cancelled: Event | None = None,
    ) -> int:  # fmt: skip
        """Fit the columns of the block at strengths; return at how many."""
        problem, block, models = self._problem, self._block, self._models
        n_done, status = 0, PAUSED
        while status == PAUSED or status == MATRIX:
            if cancelled is not None and cancelled.is_set():
                models.put(self._w)
                self._hand_over()
                break
            if status == MATRIX:
                size = models.members.size
                if self._room.size < size * size:
                    self._room = np.empty(2 * size * size)
                matrix = self._room[: size * size].reshape(size, size)
                models.take_matrix(block.take(models.members).gram(models.curvature, out=matrix))
            status, n_done = follow(
                models, block.data, block.rows, block.start, block.stop, alphas, n_done, coefs, figures,
                problem.null_objective, problem.gradient_scale, tol, inner, POLISHED * problem.gradient_scale,
                POLISH_STEPS if self.polish else 0, max(POLISH_PASSES * problem.design.n_stored, SMALL), LARGEST,
                max_epochs, block.n_threads,
            )  # fmt: skip
        return n_done

    def _fit(self, problem: Problem, alpha: float, tol: float, max_iter: int) -> SolveResult | None:
        certifier, design, models = Certifier(problem), problem.design, self._models
        # After a long step the strong rule does not know what a working set lacks.
        rough = 1.0 if 2.0 * alpha < self._last else 0.0
        self._choose(problem, alpha)
        inner, epochs, strength = INNER * tol, 0, np.array([alpha])
        # Of little data a fit that ends with Newton steps also sees that no other feature wants to join.
        finishing, found = self.polish and design.n_stored <= LITTLE, None
        for _ in range(MOST_PASSES):
            accuracy = max(inner, ROUGH * rough) if self._lacking else inner
            if self._features.size:
                done = self._follow(strength, NO_FIGURES, NO_FIGURES, tol, accuracy, max_iter - epochs)
                models.put(self._w)
                if not done:
                    return found
                epochs += models.n_epochs
            raw = models.raw_gradient
            self._gradient = design.rmatvec(raw[np.newaxis])[0]
            certificate = certifier.certify(self._w, models.prediction, raw, self._gradient)
            rough = certificate.dual_gap / problem.null_objective
            if certificate.holds(problem, tol):
                figures = float(certificate.objective), float(certificate.dual_gap), float(certificate.residual)
                found = result_of(self._w.copy(), models.intercept, *figures, epochs)
                if not finishing or certificate.residual <= POLISHED or not self._join(certificate):
                    return found
                finishing, rough = False, 0.0
            elif not self._join(certificate) and accuracy == inner:
                inner *= 0.1
        return found

    def _choose(self, problem: Problem, alpha: float) -> None:
        """Start the working set anew: the support and what the sequential strong rule lets in."""
        chosen = self._w != 0.0
        # The matrix serves on where all its columns do; of a long step little is left of it.
        if 2.0 * alpha >= self._last:
            chosen[self._features[self._models.members]] = True
        if self._gradient is not None:
            size, bound = np.abs(self._gradient), max(2.0 * alpha - self._last, 0.0) if self._last < np.inf else alpha
            factor = problem.penalty.penalty_factor
            near = np.flatnonzero((size > (bound if factor is None else bound * factor)) & problem.usable)
            chosen[self._largest(near, size[near])] = True
        self._last = alpha
        self._take(chosen)

    def _join(self, certificate: Certificate) -> bool:
        """Let the largest violators join; return whether there are any."""
        some = (certificate.violations > 0.0) & ~self._inside[certificate.candidates]
        violators = certificate.candidates[some]
        self._inside[self._largest(violators, certificate.violations[some])] = True
        self._take(self._inside)
        return bool(violators.size)

    def _largest(self, features: np.ndarray, scores: np.ndarray) -> np.ndarray:
        growth = max(self._growth, np.count_nonzero(self._w))
        self._lacking = features.size > growth
        if not self._lacking:
            return features
        return features[np.argpartition(scores, -growth)[-growth:]]

    def _take(self, chosen: np.ndarray) -> None:
        features = np.flatnonzero(chosen)
        self._inside = chosen
        if self._last == np.inf or features.size != self._features.size or (features != self._features).any():
            self._features = features
            self._block = self._problem.design.columns(features)
            self._hand_over()

    def _hand_over(self) -> None:
        """Tell the models of the features and their coefficients."""
        problem = self._problem
        factor = problem.penalty.penalty_factor
        factor = NO_ENTRIES if factor is None else factor
        self._models.take_columns(self._features, self._w, factor, problem.lipschitz, FLAT)
