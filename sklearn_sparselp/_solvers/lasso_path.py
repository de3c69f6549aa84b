"""The path for p = 1 and squared error on a Gram matrix of the few columns that matter, its loops compiled."""

from __future__ import annotations

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
        self._problem, self._alphas, self._polish = problem, alphas, polish
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
        self._factor_anew()
        if self._whole:
            self._add(np.flatnonzero(problem.usable))

    @staticmethod
    def applies(problem: Problem, farthest: float = FARTHEST_MEAN) -> bool:
        """Whether this path can be followed here; ``farthest`` in standard deviations."""
        penalty = problem.penalty
        if not (problem.loss.quadratic and penalty.absolute) or problem.free.any() or not problem.n_usable:
            return False
        if not problem.fit_intercept:
            return True
        far = problem.sums[problem.usable] ** 2 > farthest**2 * problem.lipschitz[problem.usable]
        return not far.any()

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

    def _on_all(self, alpha: float, tol: float, max_iter: int) -> None:
        """Fit this strength and all after it; the matrix certifies them."""
        problem, features = self._problem, self._gram.features
        alphas = self._alphas[(self._alphas <= alpha) & (self._alphas > 0.0)]
        n_done, coefs, figures = self._solve(alphas, tol, max_iter)
        scale = problem.gradient_scale
        for k in range(n_done):
            coef = np.zeros(problem.design.n_features)
            coef[features] = coefs[k]
            intercept = problem.null_intercept
            if problem.fit_intercept:
                intercept -= float(problem.sums[features] @ coefs[k])
            objective, gap, violation, epochs = figures[k].tolist()
            residual = violation / scale if scale > 0.0 else 0.0
            certificate = Certificate(objective, gap, residual, coef, violation)
            self._ahead[float(alphas[k])] = _result(coef, intercept, certificate, int(epochs))

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
                self._ahead[alpha] = _result(coef, intercept, certificate, epochs)
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


def _result(
    coef: np.ndarray, intercept: float, certificate: Certificate, epochs: int
) -> SolveResult:
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
