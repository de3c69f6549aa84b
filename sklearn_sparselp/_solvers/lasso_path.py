"""The path for p = 1 and squared error on a Gram matrix of the few columns that matter, its loops compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from threading import Event

import numpy as np

from .._core._gram_path import lasso_on_gram
from .._core._l1_certificate import entering_strengths, l1_certificates
from .._threads import threads_for_features
from .design import FEW_FEATURES, GRAM_GAIN
from .gram import GramCache
from .problem import Problem, SolveResult
from .support_newton import POLISHED

# Up to so many features the matrix holds all of them, and X is not touched again.
WHOLE = FEW_FEATURES
# Up to so many columns an epoch on the matrix is cheap.
LARGEST = 2000
# Room for a factor of more columns.
FACTOR_ROOM = 1.5
# Passes over X that certify no fit, one after the other, at most.
MOST_PASSES = 20
# Fits that a pass certifies together, and values of their gradients, at most; half as many as X stores if that is more.
MOST_AT_ONCE = 8
VALUES_AT_ONCE = 500_000
FIRST_STEP = 2.0
# Columns join as far as they would enter within so much of the way more than the strengths go.
MARGIN = 0.2
# Columns that join at once, at least; half the support if that is more.
SMALLEST_GROWTH = 70
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
# On the matrix, strengths are at most so many times the next one: from afar too many columns enter, and leave again.
# Each takes so many epochs at most, and all of them half of those that a fit may take; so near the minimum, of the
# objective at zero, is enough for them.
RUNG, EPOCHS_OF_RUNG, TOL_OF_RUNG = 1.4, 20, 1e-6
# Below so much of tol the problem of the matrix is solved: the other columns add to its gap.
INNER = 0.3
NO_FACTOR = np.empty(0)
# Features that are looked at together: where they enter takes half a MB.
FEATURES_AT_ONCE = 65_536


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
    n_iters : ndarray of shape (n_alphas,), dtype int64
    """

    n_features: int
    features: np.ndarray
    coefs: np.ndarray
    intercepts: np.ndarray
    objectives: np.ndarray
    dual_gaps: np.ndarray
    residuals: np.ndarray
    n_iters: np.ndarray

    def __len__(self) -> int:
        return self.coefs.shape[0]

    def result(self, k: int) -> SolveResult:
        """Return the fit at position k."""
        coef = np.zeros(self.n_features)
        coef[self.features] = self.coefs[k]
        arrays = self.intercepts, self.objectives, self.dual_gaps, self.residuals
        return result_of(coef, *(float(values[k]) for values in arrays), int(self.n_iters[k]))


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
        Whether fits end with a Newton step, so that they hardly depend on tol; may be changed between fits.
    overwrite_gradient : bool
        Whether ``null_gradient`` may be written over.
    """

    def __init__(
        self, problem: Problem, null_gradient: np.ndarray, alphas: np.ndarray, polish: bool,
        overwrite_gradient: bool = False,
    ):  # fmt: skip
        design = problem.design
        self._problem, self._alphas, self.polish = problem, np.ascontiguousarray(alphas), polish
        # Of the columns of the matrix alone, as far as they are known.
        self._null_gradient = np.empty(0)
        self._gradient: np.ndarray | None = null_gradient
        # Whether that is still the one at w = 0.
        self._starting = True
        # The strength for which the matrix was solved last, 0 where others have moved the coefficients.
        self._stands = 0.0
        # A vector over the features that has served, for the next gradient; one that belongs to others is left alone.
        self._spare: np.ndarray | None = None
        self._given = None if overwrite_gradient else null_gradient
        self._gram = GramCache(design, problem.weights, problem.sums if problem.fit_intercept else None)
        self._failures = 0
        # Epochs of the last fit if it was left to others.
        self.given_up = 0
        # Fits that are ready, by their strength: a vector over the features is made of one that is asked for.
        self._ahead: dict[float, Callable[[], SolveResult]] = {}
        # Whether the next fit is the last one, which needs no gradient beside its own.
        self.ending = False
        farthest = problem.farthest_mean
        self._whole = problem.n_usable <= WHOLE and farthest <= NEAR_MEAN
        # Below this gap the matrix of all features is not trusted, and X certifies its fits.
        self._trusted = SMALLEST_TOL * max(1.0, farthest**2)
        if self._whole:
            self._take_whole()
        else:
            self._take_none(null_gradient)
        self._factor_anew()

    def _take_none(self, null_gradient: np.ndarray) -> None:
        """Start without columns."""
        self._w, self._inside = np.empty(0), np.zeros(self._problem.design.n_features, dtype=np.bool_)
        # At the last fit: its strength, and the gradient where it is known. From far above the first strength, or
        # beside a factor of 0, all features would seem about to enter.
        farthest = max((reach.max() for _, reach in self._reaches(null_gradient, null_gradient, 1.0, 1.0)), default=0.0)
        self._last = min(max(float(farthest), 0.0), FIRST_STEP * float(self._alphas[0]))
        self._stands = self._last
        # The fit before that, until it has told where features enter.
        self._former: tuple[float, np.ndarray] | None = None
        # How many fits share a pass, at most.
        self._at_once = 1

    def _take_whole(self) -> None:
        """Take the matrix of all features, which problems of the same weights share: the outputs of a fit."""
        problem, design, features = self._problem, self._problem.design, np.flatnonzero(self._problem.usable)
        weights, centred, gram = design.whole_gram or (None, False, None)
        if weights is problem.weights and centred == problem.fit_intercept and np.array_equal(gram.features, features):
            self._gram = gram
        else:
            self._gram.grow(features)
            design.whole_gram = problem.weights, problem.fit_intercept, self._gram
        self._w, self._null_gradient = np.zeros(features.size), self._gradient[features]

    @staticmethod
    def applies(problem: Problem, farthest: float = FARTHEST_MEAN) -> bool:
        """Whether this path can be followed here; ``farthest`` in standard deviations."""
        penalty = problem.penalty
        if not (problem.loss.quadratic and penalty.absolute) or problem.free.any() or not problem.n_usable:
            return False
        return problem.farthest_mean <= farthest

    @classmethod
    def pays(cls, problem: Problem, tol: float) -> bool:
        """Whether a single fit is done soonest on the matrix of all features."""
        size, design = problem.n_usable, problem.design
        cheap = max(design.n_stored // GRAM_GAIN, CHEAP // design.n_samples)
        return size <= WHOLE and size * size <= cheap and tol >= SMALLEST_TOL and cls.applies(problem, NEAR_MEAN)

    def fit(self, alpha: float, tol: float, max_iter: int) -> SolveResult | None:
        """Return the fit at a strength, None where that is left to others."""
        self.given_up = 0
        if alpha not in self._ahead and alpha > 0.0 and self._failures < MOST_FAILURES:
            self._ahead = {}
            (self._on_all if self._whole else self._on_some)(alpha, tol, max_iter)
            self._failures += alpha not in self._ahead
        make = self._ahead.get(alpha)
        if self.ending:
            self._gradient = self._former = self._spare = self._given = None
        return None if make is None else make()

    @property
    def coef(self) -> np.ndarray:
        """Where it has got to: also a fit that is left to others begins there."""
        coef = np.zeros(self._problem.design.n_features)
        coef[self._gram.features] = self._w
        return coef

    def move(self, coef: np.ndarray) -> None:
        """Go on from these coefficients, which others have found."""
        self._ahead, self._stands = {}, 0.0
        if not self._whole:
            support = np.flatnonzero(coef)
            self._add(support[~self._inside[support]])
            self._gradient, self._starting = None, False
        self._w[:] = coef[self._gram.features]

    def _add(self, features: np.ndarray) -> None:
        """Let columns join, in the room of others where there are too many."""
        if self._gram.features.size + features.size > LARGEST:
            kept = self._w != 0.0
            if np.count_nonzero(kept) + features.size > LARGEST:
                self._failures = MOST_FAILURES
                return
            self._inside[self._gram.features[~kept]] = False
            self._gram = self._gram.restricted(kept)
            self._factor_anew()
            self._w, self._null_gradient = self._w[kept], self._null_gradient[kept]
        if not features.size:
            return
        self._gram.grow(features)
        if self._gram.features.size > self._cholesky.shape[0]:
            self._grow_factor()
        self._inside[features] = True
        if self._starting:
            null_gradient = self._gradient[features]
        else:
            null_gradient = self._problem.design.columns(features).products(self._problem.null_raw_gradient)
        self._null_gradient = np.concatenate([self._null_gradient, null_gradient])
        self._w = np.concatenate([self._w, np.zeros(features.size)])

    def _factor_anew(self) -> None:
        """Forget the factor: the columns have moved."""
        self._cholesky = np.empty((0, 0))
        self._order, self._twins = np.zeros((2, 1), dtype=np.int32)
        self._grow_factor()

    def _grow_factor(self) -> None:
        """Make room for more columns."""
        old, size = self._order[-1], self._gram.features.size
        room = size if self._whole else min(int(FACTOR_ROOM * size), LARGEST)
        cholesky, order, twins = np.empty((room, room)), *np.zeros((2, room + 1), dtype=np.int32)
        cholesky[:old, :old] = self._cholesky[:old, :old]
        for now, former in (order, self._order), (twins, self._twins):
            now[: former.size - 1], now[-1] = former[:-1], former[-1]
        self._cholesky, self._order, self._twins = cholesky, order, twins

    def _solve(self, alphas: np.ndarray, tol: float, max_iter: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Return how many strengths the columns of the matrix were solved for, coefficients and figures."""
        problem, features, size = self._problem, self._gram.features, self._w.size
        coefs, figures = np.empty((alphas.size, size)), np.zeros((alphas.size, 4))
        if not size:
            return alphas.size, coefs, figures
        factors, room, spent = self._factors(features), np.empty(3 * size), 0

        def run(
            strengths: np.ndarray, coefs: np.ndarray, figures: np.ndarray, most: int, tol: float, polished: float
        ) -> int:
            return lasso_on_gram(
                self._gram.matrix, factors, self._null_gradient, 2.0 * problem.null_objective, strengths,
                problem.penalty.l2_reg, problem.penalty.positive, most, tol * problem.null_objective, polished,
                self._w, coefs, figures, room, self._cholesky, self._order, self._twins,
            )  # fmt: skip

        rungs = self._rungs(float(alphas[0]), max_iter // (2 * EPOCHS_OF_RUNG))
        while rungs.size:
            # A call that has taken long ends before the last one; where one fails the others are left out.
            passing = np.zeros((rungs.size, 4))
            most = min(EPOCHS_OF_RUNG, max_iter // 2 - spent)
            n_done = run(rungs, np.empty((rungs.size, size)), passing, most, max(tol, TOL_OF_RUNG), np.inf)
            spent += int(passing[:, 3].sum())
            rungs = rungs[n_done:] if n_done else NO_FACTOR
        polished = POLISHED * problem.gradient_scale if self.polish else np.inf
        n_done = run(alphas, coefs, figures, max_iter - spent, tol, polished)
        figures[0, 3] += spent
        self._stands = float(alphas[n_done - 1]) if n_done else 0.0
        return n_done, coefs, figures

    def _rungs(self, alpha: float, most: int) -> np.ndarray:
        """Return strengths on the way to this one, from where the matrix was solved last; a ridge needs none."""
        if self._whole or self._problem.penalty.l2_reg > 0.0 or self._stands <= RUNG * alpha:
            return NO_FACTOR
        way = np.log(self._stands) - np.log(alpha)
        n_steps = min(int(np.ceil(way / np.log(RUNG))), most + 1)
        return np.exp(np.log(alpha) + way * (np.arange(n_steps - 1, 0, -1) / n_steps))

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
        """Return the fits at strengths until one fails; the matrix, which holds all features, certifies them.

        X does where their gap is to be so small that the matrix does not know it.
        """
        problem, features = self._problem, self._gram.features
        n_done, coefs, figures = self._solve(alphas, tol, max_iter)
        if n_done < alphas.size:
            self.given_up = int(figures[n_done, 3])
        coefs, (objectives, gaps, violations, epochs) = coefs[:n_done], figures[:n_done].T
        if tol < self._trusted:
            for first in range(0, n_done, MOST_AT_ONCE):
                some = slice(first, first + MOST_AT_ONCE)
                figures[some, :3][: n_done - first] = self._certified(alphas[:n_done][some], features, coefs[some])[2]
            met = gaps <= tol * problem.null_objective
            if not met.all():
                n_done = int(met.argmin())
                self.given_up = int(epochs[n_done])
                self._w[:] = coefs[n_done]
                coefs, (objectives, gaps, violations, epochs) = coefs[:n_done], figures[:n_done].T
        intercepts = np.empty(n_done)
        intercepts.fill(problem.null_intercept)
        if problem.fit_intercept:
            intercepts -= coefs @ problem.sums[features]
        scale = problem.gradient_scale
        residuals = violations / scale if scale > 0.0 else np.zeros(n_done)
        n_iters = np.maximum(epochs, 1.0).astype(np.int64)
        n_features = problem.design.n_features
        return Batch(n_features, features, coefs, intercepts, objectives, gaps, residuals, n_iters)

    def _on_all(self, alpha: float, tol: float, max_iter: int) -> None:
        """Fit this strength and all after it."""
        alphas = self._from(alpha)
        batch = self._batch(alphas, tol, max_iter)
        self._ahead = {float(alphas[k]): partial(batch.result, k) for k in range(len(batch))}

    def _on_some(self, alpha: float, tol: float, max_iter: int) -> None:
        """Fit this strength and those after it for which few columns have to join; a pass over X certifies them all."""
        alphas = self._block(alpha)
        if self.ending and not self._starting and self._gradient is not self._given:
            self._spare, self._gradient = self._gradient, None
        n_block, inner, n_idle, epochs = alphas.size, INNER * tol, 0, 0
        while alphas.size and n_idle < MOST_PASSES and self._failures < MOST_FAILURES:
            features = self._gram.features
            n_done, coefs, figures = self._solve(alphas, inner, max_iter - epochs)
            if n_done == 0:
                self.given_up = epochs + int(figures[0, 3])
                return
            coefs, n_epochs = coefs[:n_done], figures[:n_done, 3].astype(np.int64)
            intercepts, gradients, figures = self._certified(alphas[:n_done], features, coefs)
            met = figures[:, 1] <= tol * self._problem.null_objective
            n_met = n_done if met.all() else int(met.argmin())
            order = features.argsort()
            ascending, values = features[order], coefs[:n_met, order]
            for k in range(n_met):
                present = values[k].nonzero()[0]
                objective, gap, violation = figures[k].tolist()
                self._ahead[float(alphas[k])] = partial(
                    expanded, self._problem.design.n_features, ascending[present], values[k, present], intercepts[k],
                    objective, gap, self._residual(violation), epochs + int(n_epochs[k]),
                )  # fmt: skip
                epochs = 0
            if n_met:
                if n_met > 1:
                    self._former = float(alphas[n_met - 2]), gradients[n_met - 2].copy()
                else:
                    self._former = None if self._gradient is None else (self._last, self._gradient)
                self._last = float(alphas[n_met - 1])
                # One of several would keep all of them.
                self._gradient = gradients[0] if n_done == 1 else gradients[n_met - 1].copy()
                n_idle, inner, self._starting = 0, INNER * tol, False
            if n_met < n_done:
                self._w[:] = coefs[n_met]
                epochs += int(n_epochs[n_met])
                n_idle += 1
                self._at_once = max(n_block - alphas.size + n_met, 1)
                if not self._join(*self._violators(gradients[n_met:n_done], alphas[n_met:n_done])):
                    inner *= 0.1
                if n_done == 1:
                    self._spare = gradients[0]
            elif n_met == n_block:
                self._at_once = min(2 * n_block, MOST_AT_ONCE)
            # Vectors over the features: the next ones need their room.
            del gradients
            alphas, self.given_up = alphas[n_met:], epochs

    def _from(self, alpha: float) -> np.ndarray:
        """Return this strength and those after it, as far as they are known."""
        if self._alphas.size == 1 and self._alphas[0] == alpha:
            return self._alphas
        ahead = self._alphas[(self._alphas <= alpha) & (self._alphas > 0.0)]
        return ahead if ahead.size and ahead[0] == alpha else np.array([alpha])

    def _block(self, alpha: float) -> np.ndarray:
        """Return the strengths to fit next, as many as let few columns in; these join."""
        if self._gradient is None:
            return np.array([alpha])
        ahead = self._from(alpha)
        values = max(VALUES_AT_ONCE, self._problem.design.n_stored // 2)
        ahead = ahead[: min(self._at_once, max(values // self._inside.size, 1))]
        limits = ahead - MARGIN * (self._last - ahead)
        found, reach = self._entering(float(limits[-1]))
        if found.size > (growth := self._growth()):
            # As far as the columns near enough to enter are few.
            bound = np.partition(reach, -growth)[-growth]
            ahead = ahead[: max(int((limits >= bound).sum()), 1)]
            near = reach > limits[ahead.size - 1]
            found, reach = found[near], reach[near]
        self._join(found, reach)
        return ahead

    def _certified(
        self, alphas: np.ndarray, features: np.ndarray, coefs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return intercepts, gradients, and objective, gap and violation of fits; one pass over X."""
        problem, design, y = self._problem, self._problem.design, self._problem.y
        present = np.flatnonzero(coefs.any(axis=0))
        block = design.columns(features[present])
        away = block.combine_many(coefs[:, present])
        away -= y
        intercepts = np.zeros(alphas.size)
        # Twice: columns far from the origin leave a rounding error that their gradients would multiply.
        for _ in range(2 if problem.fit_intercept else 0):
            shifts = -(away @ problem.weights)
            away += shifts[:, np.newaxis]
            intercepts += shifts
        raw = away * problem.weights
        room, self._spare = self._spare, None
        gradients = design.rmatvec(raw, room[np.newaxis] if room is not None and alphas.size == 1 else None)
        factor, figures = problem.penalty.penalty_factor, np.empty((alphas.size, 3))
        l1_certificates(
            gradients, NO_FACTOR if factor is None else factor, problem.lipschitz, alphas, problem.penalty.l2_reg,
            problem.penalty.positive, features, coefs, raw @ y, np.einsum("ij,ij->i", raw, away), figures,
            threads_for_features(design.n_features),
        )  # fmt: skip
        return intercepts, gradients, figures

    def _entering(self, above: float) -> tuple[np.ndarray, np.ndarray]:
        """Return features that will enter above a strength, as far as the last two fits tell, and at which strengths."""
        strength, former = self._former or (self._last, self._gradient)
        # The fit before the last one has served.
        self._former = None
        entering = self._outside(self._reaches(self._gradient, former, self._last, strength), above)
        if former is not self._gradient and former is not self._given:
            self._spare = former
        return entering

    def _violators(self, gradients: np.ndarray, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return features that enter at some of these fits, and at how many times the strength, at most."""
        found, times = [], []
        for gradient, alpha in zip(gradients, alphas.tolist(), strict=True):
            some, strengths = self._outside(self._reaches(gradient, gradient, 1.0, 1.0), alpha)
            found.append(some)
            times.append(strengths / alpha)
        if len(found) == 1:
            return found[0], times[0]
        features, where = np.unique(np.concatenate(found), return_inverse=True)
        most = np.zeros(features.size)
        np.maximum.at(most, where, np.concatenate(times))
        return features, most

    def _outside(self, reaches: Iterator[tuple[int, np.ndarray]], above: float) -> tuple[np.ndarray, np.ndarray]:
        """Return features beyond the matrix that enter above a strength, and at which strengths."""
        found, values = [], []
        for first, reach in reaches:
            some = (reach > above).nonzero()[0]
            some = some[~self._inside[first:][some]]
            found.append(first + some)
            values.append(reach[some])
        return np.concatenate(found), np.concatenate(values)

    def _reaches(
        self, gradient: np.ndarray, former: np.ndarray, last: float, last_but_one: float
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the strengths at which features enter, some features at a time: the first of them, and a room of strengths."""
        factor, lipschitz = self._problem.penalty.penalty_factor, self._problem.lipschitz
        room, n_threads = np.empty(min(gradient.size, FEATURES_AT_ONCE)), threads_for_features(gradient.size)
        for first in range(0, gradient.size, FEATURES_AT_ONCE):
            some = slice(first, first + FEATURES_AT_ONCE)
            reach = room[: gradient.size - first]
            entering_strengths(
                gradient[some], former[some], NO_FACTOR if factor is None else factor[some], lipschitz[some], last,
                last_but_one, self._problem.penalty.positive, reach, n_threads,
            )  # fmt: skip
            yield first, reach

    def _growth(self) -> int:
        size = np.count_nonzero(self._w)
        return max(min(max(SMALLEST_GROWTH, size // 2), LARGEST - size), 1)

    def _join(self, features: np.ndarray, reach: np.ndarray) -> bool:
        """Let the features join that reach farthest; return whether there are any."""
        if features.size > (growth := self._growth()):
            features = features[np.argpartition(reach, -growth)[-growth:]]
        self._add(features)
        return bool(features.size)

    def _residual(self, violation: float) -> float:
        scale = self._problem.gradient_scale
        return violation / scale if scale > 0.0 else 0.0

    def _factors(self, features: np.ndarray) -> np.ndarray:
        factor = self._problem.penalty.penalty_factor
        if factor is not None:
            return factor[features]
        # A fifth of the time of numpy.ones.
        ones = np.empty(features.size)
        ones.fill(1.0)
        return ones


def expanded(n_features: int, support: np.ndarray, values: np.ndarray, *figures: float) -> SolveResult:
    """Return a converged fit with these coefficients and figures, in the order of `result_of`."""
    coef = np.zeros(n_features)
    coef[support] = values
    return result_of(coef, *figures, support=support)


def result_of(
    coef: np.ndarray, intercept: float, objective: float, dual_gap: float, residual: float, epochs: int,
    support: np.ndarray | None = None,
) -> SolveResult:  # fmt: skip
    """Return a converged fit."""
    return SolveResult(
        coef, float(intercept), objective, dual_gap, residual, max(epochs, 1), True, [objective], "cd", support
    )
