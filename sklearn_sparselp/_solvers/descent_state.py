"""The working-set state of coordinate descent: quadratic models, their epochs and Newton steps in between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._core._cd import QuadraticModel, sweep
from .._core._gram_path import lasso_on_gram
from .._core._penalty import smooth_terms, total_on
from .._core._violations import violation_on
from .certificate import Certificate, has_gap_on_gram, has_restricted_gap, restricted_gap
from .design import GRAM_GAIN, ColumnBlock
from .gram import SMALL_BLOCK, GramBlock, GramCache
from .iterate import Iterate, admissible, sweep_violators
from .problem import Carry, Problem
from .support_newton import (
    FIXED_COST,
    LARGEST_AT_ONCE,
    POLISH_STEPS,
    POLISHED,
    SupportModel,
    arranged,
    factor_cost,
    most_factored,
    newton_step,
    polished,
)

# Epochs of one call of the kernel, at most.
EPOCHS_PER_ROUND = 10
# Coordinate descent alone finds the support of a new working set faster; where minima are many it finds a better one.
EPOCHS_BEFORE_NEWTON = 3
EPOCHS_BEFORE_NEWTON_NONCONVEX = 10
# On small data a step costs as much as hundreds of epochs; the bound also keeps decisions there independent of the
# number of rows, so that a weight and repeated rows take the same course.
EPOCHS_BETWEEN_NEWTON = 60
# Signs that have not stood still for so many epochs get a step all the same where squared error is convex: of 1640 on
# mice_bmi, 1222 of its columns repeated, some always change.
EPOCHS_OF_UNREST = 20
# Where a step is left to conjugate gradients: news20bin_bydate at alpha_max/1000, most of whose columns are repeated, had
# a gap of 1e-2 after 1000 epochs without one.
EPOCHS_OF_MUCH_UNREST = 100
# So few that change, of all that are not 0, are as good as none where a step, its calls included, costs no more than so
# many epochs. news20bin_bydate at alpha_max/100: 33 epochs in place of 82, 405 ms in place of 490; where columns are
# short, as on rcv1_1500, it would cost a third more.
STEADY = 0.01
EPOCHS_PER_STEP = 20
CALLS_OF_STEP = 1_000_000.0
# On the Gram matrix of a few features so many are still cheaper: 442 x 10 values took 160 at alpha_max/100.
EPOCHS_OF_FEW_FEATURES = 300
# Losses that are not quadratic: models in one working set, epochs in one model, and how far a model is solved
# below the violation that its first epoch met.
MODELS_PER_ROUND = 20
EPOCHS_PER_MODEL = 50
MODEL_FACTOR = 0.05
# Fewer where the loss is constant around some predictions: models of it lead astray.
EPOCHS_PER_FLAT_MODEL = 20
# How far a prediction is expected to move, against its move in the last model.
REACH = 0.5
# What is left of the reach of a model that misled after each model that did not.
GUARD = 0.25
# Points that are tried on the way to the end of a model; how steep a model that misleads is made, by factors of 4.
HALVINGS = 4
# A search along a convex model's step ends where so much of the first slope is left, and a step that it cuts shorter
# than so comes of a model that misled: it bends less than the loss does on the way.
SLOPE_LEFT = 0.1
MISLED = 0.03
SEARCHES = 30
ROUNDING = 4e-15
STEEPEST = 1e24
# Where a model has misled, Newton steps on the support follow the loss itself, so many at most; samples around which
# it is constant bend so much, against the bound, and each step is halved so often, at most.
# Squared hinge, 200 x 1000 normal values, p = 0.9, alpha_max/10000: 2478 epochs without, 759 with them.
SUPPORT_STEPS = 30
SUPPORT_FLAT = 1e-4
SHORTENINGS = 10
# A column that a model bends less than so, against the bound L_j, is taken to bend so much: the samples that hold the
# column lie where the loss is linear, or all but one do.
FLAT = 1e-4
# Epochs walk the Gram matrix that Newton steps have made where it has at most so many entries for each value of the
# columns, if these are sparse: news20 at alpha_max/100 55 ms in place of 67. Beyond that it leaves the cache.
GRAM_WORTH = 2.5
# A gap on that matrix is a difference of numbers of the size of the null objective: below so much of it there is rounding.
SMALLEST_GAP = 1e-13


class DescentState:
    """Coefficients, intercept, predictions and derivatives, always consistent between rounds."""

    def __init__(self, problem: Problem, coef: np.ndarray, intercept: float, carry: Carry | None = None):
        self.problem = problem
        self.w = admissible(problem, coef)
        self.intercept = intercept
        fixed = problem.loss.quadratic
        self._gram = carry.gram if carry is not None else None
        if self._gram is None and fixed:
            self._gram = GramCache(problem.design, problem.weights, problem.sums if problem.fit_intercept else None)
        if carry is not None:
            carry.gram = self._gram
        self._uniform = problem.uniform_curvature
        self._reach = self._guard = np.zeros(problem.design.n_samples)
        self.violation = self.met = np.inf
        # Whether the way to the end of the last model was cut short.
        self._misled = False
        # Whether the last round had nothing to do.
        self.idle = False
        self._precision = 1.0
        self.refresh()

    @property
    def flat(self) -> bool:
        """Whether the loss is constant around some prediction; it is so for a weight and for repeated rows alike."""
        return bool(((self.curvature == 0.0) & (self.raw_gradient == 0.0) & (self.problem.weights > 0.0)).any())

    def refresh(self, block: ColumnBlock | None = None, features: np.ndarray | None = None) -> None:
        """Recompute predictions and derivatives from the coefficients, the intercept at its optimum.

        With the columns of all features that have a coefficient, maybe more, X is not walked.
        """
        problem = self.problem
        if block is None:
            self.prediction, self.intercept = problem.predict(self.w, self.intercept)
        else:
            prediction = block.combine(self.w[features]) + problem.offset
            self.prediction, self.intercept = problem.profile(prediction, self.intercept)
        self._loss, self.raw_gradient, self.curvature = problem.evaluate(self.prediction)

    def resume(self, prediction: np.ndarray, intercept: float) -> None:
        """Take over the predictions of the coefficients and an intercept, which need not be at its optimum."""
        self.prediction, self.intercept = prediction, intercept
        self._loss, self.raw_gradient, self.curvature = self.problem.evaluate(prediction)

    def jump(self, certificate: Certificate, tol: float) -> bool:
        """Move single coefficients where models of many have come to rest; return whether one has moved."""
        problem = self.problem
        self.idle = False
        point = Iterate.at(problem, self.w, self.intercept)
        point = sweep_violators(problem, point, certificate, tol * problem.gradient_scale)
        if point is None:
            return False
        self.w, self.intercept = point.w, point.intercept
        self.refresh()
        return True

    def descend(self, features: np.ndarray, tol: float, gap_limit: float, max_epochs: int) -> int:
        """Minimise over the features of a working set; return the epochs used.

        Ends when the violation is within ``tol``, or the duality gap of the problem
        restricted to the working set within ``gap_limit``, where that costs nothing to know.
        """
        if not self.problem.loss.quadratic:
            return self.descend_models(features, tol, max_epochs)
        block = self.problem.design.columns(features)
        w, epochs = None, 0
        gram = self._gram.block(features) if self._on_gram(block) else None
        if gram is not None and self._small(block) and gap_limit > 0.0 and has_gap_on_gram(self.problem):
            w, epochs = self._compiled(block, features, gram.matrix, gap_limit, max_epochs)
        if w is None:
            w, epochs, _, _ = self._descend_model(
                block, features, self.curvature, True, tol, max_epochs, gap_limit, gram
            )
        self.w[features] = w
        self.refresh(block, features)
        return epochs

    def _compiled(
        self, block: ColumnBlock, features: np.ndarray, matrix: np.ndarray, gap_limit: float, max_epochs: int
    ) -> tuple[np.ndarray | None, int]:
        """Solve by compiled loops on the Gram matrix; return coefficients, None where they gave up, and epochs."""
        problem, penalty = self.problem, self.problem.penalty
        w, gradient = self.w[features], block.products(self.raw_gradient)
        square = 2.0 * self._loss
        if w.any():
            # At w = 0, as the matrix sees it.
            null_gradient = gradient - matrix @ w
            square -= w @ (gradient + null_gradient)
        else:
            null_gradient = gradient
        factor = np.ones(features.size) if penalty.penalty_factor is None else penalty.penalty_factor[features]
        size = features.size
        coefs, figures = np.empty((1, size)), np.empty((1, 4))
        n_done = lasso_on_gram(
            matrix, factor, null_gradient, square, np.array([penalty.alpha]), penalty.l2_reg, penalty.positive,
            max_epochs, max(gap_limit, SMALLEST_GAP * problem.null_objective), POLISHED * problem.gradient_scale,
            w, coefs, figures, np.empty(3 * size), np.empty((size, size)), *np.zeros((2, size + 1), dtype=np.int32),
        )  # fmt: skip
        return (coefs[0], int(figures[0, 3])) if n_done else (None, 0)

    def _square_of(self, raw_gradient: np.ndarray) -> float:
        """Return ``sum_i s_i (y_i - f_i)^2`` of squared error."""
        if self._uniform is not None:
            return float(raw_gradient @ raw_gradient) / self._uniform
        weights = self.problem.weights
        return float(raw_gradient @ np.divide(raw_gradient, weights, out=np.zeros_like(weights), where=weights > 0.0))

    def polish(self) -> bool:
        """Take Newton steps on the support while that is cheap; return whether they have won anything."""
        problem, penalty, quadratic = self.problem, self.problem.penalty, self.problem.loss.quadratic
        support = np.flatnonzero(self.w)
        block, start = problem.design.columns(support), self.w[support]
        won = False
        for _ in range(1 if quadratic else POLISH_STEPS):
            model = problem.support_model(block, support, start, self.prediction, self.raw_gradient, self.curvature)
            coef = polished(problem, model, self._gram)
            if coef is None:
                break
            limit = (self._loss + total_on(penalty, support, start)) * (1.0 + ROUNDING)
            intercept = self.intercept
            self.w[support] = coef
            self.refresh(block, support)
            if not quadratic and not self._loss + total_on(penalty, support, coef) <= limit:
                self.w[support], self.intercept = start, intercept
                self.refresh(block, support)
                break
            won, start = True, coef
            slope, bend = np.empty_like(coef), np.empty_like(coef)
            smooth_terms(penalty, support, coef, slope, bend)
            slope += block.products(self.raw_gradient)
            if not coef.all() or np.abs(slope).max() <= POLISHED * problem.gradient_scale:
                break
        return won

    def descend_models(
        self, features: np.ndarray, tol: float, max_epochs: int, n_models: int = MODELS_PER_ROUND, fresh: bool = True
    ) -> int:
        """Descend one quadratic model after another; return the epochs used.

        A model bends in each prediction as the loss does at most as far as the last model has moved it. Where
        the loss is constant around some, and one has misled, Newton steps of the loss itself follow (not for p = 0 and 1).
        ``violation`` is what the first epoch of the last model has met, ``met`` that of the first one.
        Predictions are recomputed at the end, free of rounding, if ``fresh``.
        """
        problem = self.problem
        block = problem.design.columns(features)
        used, models, steepness, goal = 0, 0, 1.0, tol
        self.idle = False
        while models < n_models and used < max_epochs:
            curvature = np.empty_like(self.curvature)
            problem.loss.majoriser(problem.y, self.prediction, problem.weights, self._reach, curvature)
            curvature *= steepness
            # At p = 0 rounding alone would decide where steps on the support end.
            flat = not (problem.penalty.absolute or problem.penalty.counting) and self.flat
            limit = min(EPOCHS_PER_FLAT_MODEL if flat else EPOCHS_PER_MODEL, max_epochs - used)
            w, epochs, self.violation, shift = self._descend_model(block, features, curvature, False, goal, limit)
            if used == 0:
                self.met = self.violation
            used += epochs
            fits = self._step(block, features, w, shift, curvature)
            if self._misled and flat and used < max_epochs:
                used += self._along_support(block, features, tol, max_epochs - used)
            if fits:
                models, steepness = models + 1, 1.0
                if problem.convex:
                    self.violation = self._violation(block, features)
                if self.violation <= tol:
                    self.idle = models == 1 and not problem.convex
                    break
                if epochs == 1:
                    # What coordinates do one after the other looks better than what they do at once.
                    goal *= 0.1
            else:
                steepness *= 4.0
                if steepness > STEEPEST:
                    break
        if fresh:
            self.refresh(block, features)
        return used

    def _violation(self, block: ColumnBlock, features: np.ndarray) -> float:
        w = self.w[features]
        gradient = block.products(self.raw_gradient)
        if self.problem.penalty.l2_reg:
            gradient += self.problem.penalty.l2_reg * w
        return violation_on(self.problem.penalty, features, w, gradient, self.problem.lipschitz)

    def _step(
        self, block: ColumnBlock, features: np.ndarray, w: np.ndarray, shift: float, curvature: np.ndarray
    ) -> bool:
        """Go to the end of a model, or to a nearer point on the way there; return whether F_tau allows one."""
        problem, penalty = self.problem, self.problem.penalty
        start, end = self.w[features], w
        before = total_on(penalty, features, start)
        limit = (self._loss + before) * (1.0 + ROUNDING)
        length = 1.0
        reach = None
        for _ in range(HALVINGS):
            moved = block.combine(w - start)
            moved += length * shift
            if reach is None:
                reach = np.abs(moved)
            prediction = self.prediction + moved
            loss, raw_gradient, bend = problem.evaluate(prediction)
            after = total_on(penalty, features, w)
            if problem.convex and length == 1.0:
                # A convex penalty lies below its chord: F_tau falls where the loss plus the chord does. A model that
                # is nearly flat ends where exp overflows: the search comes back from there.
                rise = after - before
                with np.errstate(over="ignore", invalid="ignore"):
                    length = self._best_length(moved, lambda _, gradient, moved=moved, rise=rise: float(gradient @ moved) + rise)
                if length < 1.0:
                    moved *= length
                    w = start + length * (end - start)
                    prediction = self.prediction + moved
                    loss, raw_gradient, bend = problem.evaluate(prediction)
                    after = total_on(penalty, features, w)
            if loss + after <= limit:
                self.w[features] = w
                self.prediction, self._loss, self.raw_gradient, self.curvature = prediction, loss, raw_gradient, bend
                self.intercept += length * shift
                self._misled = length < 1.0
                self._guard = np.maximum(self._guard, reach) if length < MISLED else GUARD * self._guard
                self._reach = np.maximum(REACH * reach, self._guard)
                return True
            length *= 0.5
            w = self._on_line(start, end, length * (end - start))
        self._guard = self._reach = np.maximum(self._reach, reach)
        self._misled = True
        return False

    def _along_support(self, block: ColumnBlock, features: np.ndarray, tol: float, max_steps: int) -> int:
        """Take Newton steps of the loss itself on the support, each to a minimum on its way; return how many."""
        problem, penalty = self.problem, self.problem.penalty
        flat = SUPPORT_FLAT * problem.curvature * problem.weights
        most = min(max_steps, SUPPORT_STEPS)
        for taken in range(most):
            on = np.flatnonzero(self.w[features])
            if not 0 < on.size <= most_factored(self.problem.design.n_samples):
                return taken
            part, where = block.take(on), features[on]
            start, curvature = self.w[where], np.maximum(self.curvature, flat)
            sums, squares = part.moments(curvature, problem.fit_intercept)
            sums, total = sums if problem.fit_intercept else None, float(curvature.sum())
            slope, bend = np.empty_like(start), np.empty_like(start)
            smooth_terms(penalty, where, start, slope, bend)
            slope += part.products(self.raw_gradient)
            if np.abs(slope).max() <= tol:
                return taken
            model = SupportModel(part, where, start, self.raw_gradient, curvature, squares, sums, total)
            step = newton_step(penalty, model, None, tol)
            if step.coef is None:
                return taken
            shift = 0.0 if sums is None else -float((step.coef - start) @ sums) / total
            if not self._search(where, step.coef, step.moved, shift):
                return taken
        return most

    def _search(self, features: np.ndarray, end: np.ndarray, moved: np.ndarray, shift: float) -> bool:
        """Go to a minimum of F_tau on the way to the end of a step on the support; return whether it lies lower."""
        problem, penalty = self.problem, self.problem.penalty
        start = self.w[features]
        change = end - start
        slopes, bends = np.empty_like(start), np.empty_like(start)

        def slope(length: float, raw_gradient: np.ndarray) -> float:
            smooth_terms(penalty, features, start + length * change, slopes, bends)
            return float(raw_gradient @ moved + slopes @ change)

        limit = self._loss + total_on(penalty, features, start)
        length = self._best_length(moved, slope)
        for _ in range(SHORTENINGS):
            # Not from the change at the end: rounding would leave the threshold of a mask.
            new = end if length == 1.0 else self._on_line(start, end, length * change)
            prediction, more = problem.profile(self.prediction + length * moved, 0.0)
            loss, raw_gradient, bend = problem.evaluate(prediction)
            if loss + total_on(penalty, features, new) < limit:
                self.w[features] = new
                self.prediction, self._loss, self.raw_gradient, self.curvature = prediction, loss, raw_gradient, bend
                self.intercept += length * shift + more
                return True
            length *= 0.5
        return False

    def _best_length(self, moved: np.ndarray, slope: Callable[[float, np.ndarray], float]) -> float:
        """Return where on the way to the end of a step F_tau is smallest: regula falsi with the Illinois rule.

        ``slope`` takes a length and the gradient of the loss there.
        """
        low, high = 0.0, 1.0
        slope_low, slope_high = slope(low, self.raw_gradient), self._slope_at(moved, slope, high)
        enough, last = -SLOPE_LEFT * slope_low, 0.0
        if not (slope_low < 0.0 and slope_high > enough):
            return 1.0
        for _ in range(SEARCHES):
            part = -slope_low / (slope_high - slope_low)
            length = low + (high - low) * (part if part > 0.01 else 0.01)
            here = self._slope_at(moved, slope, length)
            if abs(here) <= enough:
                return length
            if here < 0.0:
                low, slope_low = length, here
                slope_high *= 0.5 if last < 0.0 else 1.0
            else:
                high, slope_high = length, here
                slope_low *= 0.5 if last > 0.0 else 1.0
            last = here
        return low or high

    def _slope_at(self, moved: np.ndarray, slope: Callable[[float, np.ndarray], float], length: float) -> float:
        return slope(length, self.problem.evaluate(self.prediction + length * moved)[1])

    def _on_line(self, start: np.ndarray, end: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return ``start + step`` on the admissible set {0} and |t| >= threshold."""
        new = end if np.array_equal(start + step, end) else start + step
        smallest = self.problem.penalty.sparsity_threshold
        if smallest > 0.0:
            new = np.where((np.abs(new) < smallest) & (new != 0.0), start, new)
        return new

    def _descend_model(
        self, block: ColumnBlock, features: np.ndarray, curvature: np.ndarray, exact: bool, tol: float,
        max_epochs: int, gap_limit: float = np.nan, gram_block: GramBlock | None = None,
    ) -> tuple[np.ndarray, int, float, float]:  # fmt: skip
        """Minimise the quadratic model over the features.

        Returns their coefficients, the epochs used, the violation that the first of them met, and the
        change of the intercept.
        """
        problem, penalty = self.problem, self.problem.penalty
        w = self.w[features]
        raw = self.raw_gradient.copy()
        if exact:
            lipschitz = problem.lipschitz[features]
            sums = problem.sums[features] * problem.curvature if problem.fit_intercept else None
        else:
            sums, squares = block.moments(curvature, problem.fit_intercept)
            bound = problem.lipschitz[features]
            lipschitz = np.where(bound > 0.0, np.maximum(squares + penalty.l2_reg, FLAT * bound), 0.0)
            sums = sums if problem.fit_intercept else None
        total = float(curvature.sum()) or 1.0
        shift = 0.0
        if sums is not None and not exact:
            # The intercept is at its optimum in the model, not yet in the loss.
            shift = -float(raw.sum()) / total
            raw += shift * curvature
        start = None
        square = self._square_of(raw) if exact and gap_limit > 0.0 and has_restricted_gap(problem) else None
        if gram_block is not None:
            if self._small(block):
                tol = min(tol, POLISHED * problem.gradient_scale)
            start = w.copy(), block.products(raw)
            raw = gram_block.combine(start[1])
            block, curvature, sums, total, uniform = gram_block, None, None, 1.0, 1.0
        else:
            uniform = self._uniform if exact else None
        model = QuadraticModel(
            penalty, features, w, raw, curvature if uniform is None else uniform, lipschitz, sums, total, exact
        )
        gram = self._gram
        waiting = EPOCHS_BEFORE_NEWTON if problem.convex else EPOCHS_BEFORE_NEWTON_NONCONVEX
        if start is not None:
            # Epochs on a small matrix, of which each visits a part, cost less than the calls of a step.
            steps = FIXED_COST / max(block.n_stored, 1)
            waiting = max(waiting, min(4.0 * steps, EPOCHS_BETWEEN_NEWTON), min(steps, EPOCHS_OF_FEW_FEATURES))
        epochs, few, first, restless = 0, 0, np.inf, exact and problem.convex
        while epochs < max_epochs:
            limit = EPOCHS_PER_ROUND if waiting <= 0 else int(np.ceil(waiting))
            if start is None:
                limit = min(limit, EPOCHS_PER_ROUND) if epochs > 0 or exact else 1
            limit = min(limit, max_epochs - epochs)
            done, violation, changes = sweep(
                block.data, block.rows, block.start, block.stop, model, limit, tol, few if waiting <= 0 else -1,
                block.places,
            )  # fmt: skip
            few = self._few_changes(block, w) if restless else 0
            stable = changes <= few
            shift += model.fold_shift()
            if epochs == 0:
                first = violation if done == 1 else np.inf
                tol = tol if exact else max(tol, MODEL_FACTOR * violation)
            epochs += done
            waiting -= done
            # No step after the last epoch: a fit with a smaller max_iter then is the beginning of this one.
            if violation <= tol or epochs >= max_epochs:
                break
            if square is not None:
                gradient = block.products(raw)
                if start is None:
                    now = self._square_of(raw)
                else:
                    now = square + (start[1] + gradient) @ (w - start[0])
                if restricted_gap(problem, features, w, gradient, now) <= gap_limit:
                    break
            if waiting > 0 or not (stable or (restless and waiting <= -EPOCHS_OF_UNREST)):
                continue
            on = np.flatnonzero(w)
            if not stable and waiting > -EPOCHS_OF_MUCH_UNREST and on.size > most_factored(problem.design.n_samples):
                continue
            if gram is not None:
                on = on[arranged(gram, features[on], np.abs(w[on]) * np.sqrt(lipschitz[on]))]
            support = SupportModel(
                block.take(on), features[on], w[on], raw, curvature,
                lipschitz[on] - penalty.l2_reg, None if sums is None else sums[on], total,
            )  # fmt: skip
            step = newton_step(penalty, support, gram, tol * self._precision)
            waiting = 0
            if step.cut:
                # Next time only when coordinate descent has done as much work as this step.
                # A direction along which X hardly bends shows in the gradient last: solve more exactly.
                self._precision = max(0.1 * self._precision, 1e-6)
                waiting = min(step.work / max(block.n_stored, 1), EPOCHS_BETWEEN_NEWTON)
            if step.coef is None:
                continue
            if sums is not None:
                shift -= float((step.coef - w[on]) @ sums[on]) / total
            w[on] = step.coef
            raw += step.bent
        return w, epochs, first, shift

    @staticmethod
    def _few_changes(block: ColumnBlock | GramBlock, w: np.ndarray) -> int:
        """Return how many signs may change in an epoch that a Newton step follows."""
        size = np.count_nonzero(w)
        cost = CALLS_OF_STEP + factor_cost(block, size)
        cheap = cost <= EPOCHS_PER_STEP * block.n_stored
        return int(STEADY * size) if cheap else 0

    @staticmethod
    def _small(block: ColumnBlock) -> bool:
        """Whether a Gram matrix of these columns is small, and much smaller than they are."""
        size = len(block)
        return size <= SMALL_BLOCK and GRAM_GAIN * size * size <= block.n_stored

    def _on_gram(self, block: ColumnBlock) -> bool:
        """Whether epochs walk a Gram matrix: where it is small, or is made for Newton steps anyway."""
        if self._gram is None:
            return False
        if self._small(block):
            return True
        size, made = len(block), self._gram.features.size > 0
        # Of dense columns those that do not stay in the support cost more than the epochs: gisette_1000 7 %.
        return made and block.rows.size > 0 and size <= LARGEST_AT_ONCE and size * size <= GRAM_WORTH * block.n_stored
