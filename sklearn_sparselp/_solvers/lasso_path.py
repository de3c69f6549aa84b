"""The path for p = 1 and squared error on a Gram matrix of the few columns that matter, its loops compiled."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from threading import Event

import numpy as np

from .._core._gram_path import lasso_on_gram
from .certificate import Certificate, Certifier
from .gram import GRAM_GAIN, GramCache
from .problem import Problem, SolveResult
from .support_newton import POLISHED

# Up to so many features the matrix holds all of them, and X is not touched again.
WHOLE = 300
# Up to so many columns an epoch on the matrix is cheap.
LARGEST = 2000
# Room for a factor of more columns.
FACTOR_ROOM = 1.5
# Passes over X for one strength, at most.
MOST_PASSES = 20
# Columns that join at once, at least; half the support if that is more.
SMALLEST_GROWTH = 20
# A mean of more standard deviations than so would leave rounding in a centred product.
FARTHEST_MEAN = 300.0
# Fits that may be left to others before all are.
MOST_FAILURES = 3
# So many multiplications cost less than the calls of a fit that does without the matrix.
CHEAP = 2_000_000
# The matrix knows a gap to the rounding of its products: to much less than this where means are within so many standard
# deviations, whose square makes it larger.
SMALLEST_TOL = 1e-10
NEAR_MEAN = 30.0
# Below so much of tol the problem of the matrix is solved: the other columns add to its gap.
INNER = 0.3


@dataclass(frozen=True)
class Batch:
    """Fits at many strengths, converged, as arrays.

    Attributes
    ----------
    n_features : int
    features : ndarray of shape (n_columns,), dtype int64
        Those that may have a coefficient.
    coefs : ndarray of shape (n_alphas, n_columns)
        Of these features.
    intercepts, objectives, dual_gaps, residuals : ndarray of shape (n_alphas,)
    violations : ndarray of shape (n_alphas,)
        What ``residuals`` are in gradient units.
    n_iters : ndarray of shape (n_alphas,), dtype int64
    """

    n_features: int
    features: np.ndarray
    coefs: np.ndarray
    intercepts: np.ndarray
    objectives: np.ndarray
    dual_gaps: np.ndarray
    residuals: np.ndarray
    violations: np.ndarray
    n_iters: np.ndarray

    def __len__(self) -> int:
        return self.coefs.shape[0]

    def result(self, k: int) -> SolveResult:
        """Return the fit at position k."""
        coef = np.zeros(self.n_features)
        coef[self.features] = self.coefs[k]
        figures = self.objectives, self.dual_gaps, self.residuals
        objective, gap, residual = (float(values[k]) for values in figures)
        certificate = Certificate(objective, gap, residual, coef, float(self.violations[k]))
        return result_of(coef, float(self.intercepts[k]), certificate, int(self.n_iters[k]))


def joined(parts: list[Batch]) -> Batch:
    """Return the fits of batches of the same features as one."""
    if len(parts) == 1:
        return parts[0]
    arrays = [entry.name for entry in fields(Batch) if entry.name not in ("n_features", "features")]
    return replace(parts[0], **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays})


class LassoPath:
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
        Whether fits end with a Newton step, so that they hardly depend on tol.
    """

    def __init__(self, problem: Problem, null_gradient: np.ndarray, alphas: np.ndarray, polish: bool):
        design = problem.design
        self._problem, self._alphas, self._polish = problem, np.ascontiguousarray(alphas), polish
        self._null_gradient = null_gradient
        self._nearness: np.ndarray | None = None
        self._last = np.inf
        self._gram = GramCache(design, problem.weights, problem.sums if problem.fit_intercept else None)
        self._place = np.full(design.n_features, -1)
        self._w = np.empty(0)
        self._failures = 0
        # Fits that are ready, by their strength.
        self._ahead: dict[float, SolveResult] = {}
        self._whole = problem.n_usable <= WHOLE
        if self._whole:
            self._take_whole()
        self._factor_anew()

    def _take_whole(self) -> None:
        """Take the matrix of all features, which problems of the same weights share: the outputs of a fit."""
        problem, design, features = self._problem, self._problem.design, np.flatnonzero(self._problem.usable)
        weights, centred, gram = design.whole_gram or (None, False, None)
        if weights is problem.weights and centred == problem.fit_intercept and np.array_equal(gram.features, features):
            self._gram = gram
        else:
            self._gram.grow(features)
            design.whole_gram = problem.weights, problem.fit_intercept, self._gram
        self._place[features] = np.arange(features.size)
        self._w = np.zeros(features.size)

    @staticmethod
    def applies(problem: Problem, farthest: float = FARTHEST_MEAN) -> bool:
        """Whether this path can be followed here; ``farthest`` in standard deviations."""
        penalty = problem.penalty
        if not (problem.loss.quadratic and penalty.absolute) or problem.free.any() or not problem.n_usable:
            return False
        return not far_from_origin(problem, farthest)

    @classmethod
    def pays(cls, problem: Problem, tol: float) -> bool:
        """Whether a single fit is done soonest on the matrix of all features."""
        size, design = problem.n_usable, problem.design
        cheap = max(design.n_stored // GRAM_GAIN, CHEAP // design.n_samples)
        return size <= WHOLE and size * size <= cheap and tol >= SMALLEST_TOL and cls.applies(problem, NEAR_MEAN)

    def fit(self, alpha: float, tol: float, max_iter: int) -> SolveResult | None:
        """Return the fit at a strength, None where that is left to others."""
        if alpha not in self._ahead and alpha > 0.0 and self._failures < MOST_FAILURES:
            self._ahead = {}
            (self._on_all if self._whole else self._on_some)(alpha, tol, max_iter)
            self._failures += alpha not in self._ahead
        return self._ahead.get(alpha)

    def move(self, coef: np.ndarray) -> None:
        """Go on from these coefficients, which others have found."""
        self._ahead = {}
        support = np.flatnonzero(coef)
        self._add(support[self._place[support] < 0])
        self._nearness = None
        self._w[:] = coef[self._gram.features]

    def _add(self, features: np.ndarray) -> None:
        """Let columns join, in the room of others where there are too many."""
        if self._gram.features.size + features.size > LARGEST:
            kept = self._gram.features[self._w != 0.0]
            w = self._w[self._w != 0.0]
            if kept.size + features.size > LARGEST:
                self._failures = MOST_FAILURES
                return
            self._gram = self._gram.restricted(self._w != 0.0)
            self._factor_anew()
            self._w = w
            self._place[:] = -1
            self._place[kept] = np.arange(kept.size)
        if not features.size:
            return
        self._gram.grow(features)
        if self._gram.features.size > self._cholesky.shape[0]:
            self._grow_factor()
        self._place[features] = np.arange(self._w.size, self._w.size + features.size)
        self._w = np.concatenate([self._w, np.zeros(features.size)])

    def _factor_anew(self) -> None:
        """Forget the factor: the columns have moved."""
        self._cholesky, self._order = np.empty((0, 0)), np.zeros(1, dtype=np.int32)
        self._grow_factor()

    def _grow_factor(self) -> None:
        """Make room for more columns."""
        old, size = self._order[-1], self._gram.features.size
        room = size if self._whole else int(FACTOR_ROOM * size)
        cholesky, order = np.empty((room, room)), np.zeros(room + 1, dtype=np.int32)
        cholesky[:old, :old] = self._cholesky[:old, :old]
        order[:old], order[-1] = self._order[:old], old
        self._cholesky, self._order = cholesky, order

    def _solve(self, alphas: np.ndarray, tol: float, max_iter: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Return how many strengths the columns of the matrix were solved for, coefficients and figures."""
        problem, features, size = self._problem, self._gram.features, self._w.size
        coefs, figures = np.empty((alphas.size, size)), np.zeros((alphas.size, 4))
        polished = POLISHED * problem.gradient_scale if self._polish else np.inf
        n_done = lasso_on_gram(
            self._gram.matrix, self._factors(features), self._null_gradient[features], 2.0 * problem.null_objective,
            alphas, problem.penalty.l2_reg, problem.penalty.positive, max_iter, tol * problem.null_objective, polished,
            self._w, coefs, figures, np.empty(4 * size), self._cholesky, self._order,
        )  # fmt: skip
        return n_done, coefs, figures

    def at_once(self, tol: float, max_iter: int, cancelled: Event | None = None) -> Batch | None:
        """Return the fits at all strengths, None where not all of them are done together or another thread says so."""
        if not self._whole or self._alphas[-1] <= 0.0:
            return None
        parts: list[Batch] = []
        n_left = self._alphas.size
        while n_left and not (cancelled is not None and cancelled.is_set()):
            # A call that has taken long ends before the last strength.
            parts.append(self._batch(self._alphas[-n_left:], tol, max_iter))
            if not len(parts[-1]):
                return None
            n_left -= len(parts[-1])
        return None if n_left else joined(parts)

    def _batch(self, alphas: np.ndarray, tol: float, max_iter: int) -> Batch:
        """Return the fits at strengths until one fails; the matrix, which holds all features, certifies them."""
        problem, features = self._problem, self._gram.features
        n_done, coefs, figures = self._solve(alphas, tol, max_iter)
        coefs, (objectives, gaps, violations, epochs) = coefs[:n_done], figures[:n_done].T
        intercepts = np.full(n_done, problem.null_intercept)
        if problem.fit_intercept:
            intercepts -= coefs @ problem.sums[features]
        scale = problem.gradient_scale
        residuals = violations / scale if scale > 0.0 else np.zeros(n_done)
        n_iters = np.maximum(epochs, 1.0).astype(np.int64)
        n_features = problem.design.n_features
        return Batch(n_features, features, coefs, intercepts, objectives, gaps, residuals, violations, n_iters)

    def _on_all(self, alpha: float, tol: float, max_iter: int) -> None:
        """Fit this strength and all after it."""
        alphas = self._alphas[(self._alphas <= alpha) & (self._alphas > 0.0)]
        batch = self._batch(alphas, tol, max_iter)
        self._ahead = {float(alphas[k]): batch.result(k) for k in range(len(batch))}

    def _on_some(self, alpha: float, tol: float, max_iter: int) -> None:
        """Fit this strength; a pass over X certifies it."""
        problem, design = self._problem.at(alpha), self._problem.design
        certifier = Certifier(problem)
        if self._nearness is not None:
            # The strong rule of Tibshirani and others, J. R. Statist. Soc. B 74 (2012), on |gradient| / strength - 1.
            self._join(self._nearness, 2.0 * (alpha / self._last - 1.0))
        self._last = alpha
        inner, epochs = INNER * tol, 0
        for _ in range(MOST_PASSES):
            if self._failures >= MOST_FAILURES:
                return
            coef, features = np.zeros(design.n_features), self._gram.features
            if features.size:
                n_done, coefs, figures = self._solve(np.array([alpha]), inner, max_iter - epochs)
                if n_done == 0:
                    return
                epochs += int(figures[0, 3])
                coef[features] = coefs[0]
            support = features[self._w != 0.0]
            prediction = design.columns(support).combine(coef[support])
            prediction, intercept = problem.profile(prediction, 0.0)
            raw = problem.derivatives(prediction)[0]
            gradient = design.rmatvec(raw[np.newaxis])[0]
            certificate = certifier.certify(coef, prediction, raw, gradient)
            self._nearness = certificate.violations
            if certificate.holds(problem, tol):
                self._ahead[alpha] = result_of(coef, intercept, certificate, epochs)
                return
            if not self._join(certificate.violations, 0.0):
                inner *= 0.1

    def _join(self, scores: np.ndarray, above: float) -> bool:
        """Let the columns of the largest scores join, of those above a bound; return whether there were any."""
        candidates = np.flatnonzero(scores > above)
        candidates = candidates[(self._place[candidates] < 0) & self._problem.usable[candidates]]
        growth = max(SMALLEST_GROWTH, np.count_nonzero(self._w) // 2)
        if candidates.size > growth:
            candidates = candidates[np.argpartition(scores[candidates], -growth)[-growth:]]
        self._add(candidates)
        return bool(candidates.size)

    def _factors(self, features: np.ndarray) -> np.ndarray:
        factor = self._problem.penalty.penalty_factor
        return np.ones(features.size) if factor is None else factor[features]


def far_from_origin(problem: Problem, farthest: float = FARTHEST_MEAN) -> bool:
    """Whether a mean is of more standard deviations than so."""
    if not problem.fit_intercept:
        return False
    usable, bound = problem.usable, farthest**2 / problem.curvature
    return bool((problem.sums[usable] ** 2 > bound * problem.lipschitz[usable]).any())


def result_of(
    coef: np.ndarray, intercept: float, certificate: Certificate, epochs: int
) -> SolveResult:
    """Return a converged fit."""
    return SolveResult(
        coef=coef,
        intercept=float(intercept),
        objective=float(certificate.objective),
        dual_gap=float(certificate.dual_gap),
        fixed_point_residual=float(certificate.residual),
        n_iter=max(epochs, 1),
        converged=True,
        history=[float(certificate.objective)],
        solver="cd",
    )
