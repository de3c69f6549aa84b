"""Newton steps on the support: once signs stand still the problem is smooth there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._core._dense import factor
from .._core._faces import along_faces
from .._core._penalty import smooth_terms, total_on
from .._core._support_factor import divide, factor_in_place, scaled_part, update
from .._threads import threads_for
from .design import ColumnBlock
from .gram import GramBlock, GramCache, among

# Supports up to the first size are factored at once; up to the second, and to the number of samples, where so many
# conjugate gradient steps have not got there and a factor costs no more than so many times the most steps. news20 at
# alpha_max/1000, 4214 features kept: 150 epochs and 2.5 s in place of 490 and 4.2.
LARGEST_AT_ONCE = 2000
LARGEST_FACTOR = 5000
LARGE_TRIAL = 60
LARGE_PATIENCE = 2.0
# A Gram matrix of sparse columns is bought at once when it costs no more than so many conjugate gradient steps;
# a dearer one when as much has been spent on such steps.
CHEAP_GRAM_STEPS = 200
# Rows of a support are not equally long: their squares add up to more than those of the mean.
ROW_SKEW = 1.3
MAX_CG_STEPS = 200
# With a ridge the first system is tried by so many: elastic net on rcv1_1500 and sparse_counts, alpha_max/100, takes
# 0.5 to 0.6 of the time.
TRIAL_STEPS = 30
# Smaller matrices are factored by one thread: panels of fifty columns leave little to share. Two threads take 0.7 of the
# time for 300 columns, 0.54 for 1000.
FACTOR_THREADED_FROM = 250
FACTOR_SPEED = 25.0
# Coordinates that reach 0 on the way of one step, at most; of a large support a quarter.
MOST_LEGS = 50
# The calls of one step, in stored values that an epoch visits meanwhile; a multiplication of matrices likewise, beside
# epochs over dense columns and, slower for each value, over sparse ones.
FIXED_COST = 100_000.0
DENSE_SPEED = 0.2
SPARSE_SPEED = 0.015
# What rounding leaves, against w, of a coordinate that a step takes to 0.
AT_ZERO = 4e-16
# Of a matrix scaled to unit diagonal.
SMALLEST_PIVOT = 1e-11
# A small support gets one more Newton step at the end, unless its residual is this small: the solution then hardly
# depends on tol. It may cost at most so many passes over X. For p = 1 and 2 with squared error one step is exact,
# else each of some squares the error.
POLISHED = 1e-10
POLISH_PASSES = 2
POLISH_STEPS = 5
SMALL = 500_000
# Such a step wins less than the rounding of the objective in the end.
ROUNDING = 1e-15
# phi'' is unbounded near 0 for 1 < p < 2; beyond this a coordinate stands still anyway.
LARGEST_CURVATURE = 1e150
# A row that joins or leaves costs at most so much of a new factor: 0.1 ms of 30 at 1450 rows.
CHANGES_PER_FACTOR = 8
# Smaller factors are made anew.
KEPT_FROM = 300
# Room beside a factor for rows that join.
FACTOR_ROOM = 64
# Of that matrix where columns depend on each other. Where its smallest pivot is so many times as large they do not.
FIRST_RIDGE = 1e-9
CLEAR = 100.0
REFINEMENTS = 2
NO_FEATURES, NO_SUMS = np.empty(0, dtype=np.int64), np.empty(0)


@dataclass(frozen=True)
class SupportModel:
    """The quadratic model on the support.

    Attributes
    ----------
    block : ColumnBlock or GramBlock
        The columns of the support.
    features : ndarray of shape (n_support,), dtype int64
        Which coordinates they are.
    w : ndarray of shape (n_support,)
        Their coefficients, none of them 0.
    raw_gradient, curvature : ndarray of shape (n_samples,)
        Derivatives in each prediction at w, the intercept at its optimum; the gradient and None with a GramBlock.
    column_curvature : ndarray of shape (n_support,)
        ``sum_i curvature_i (x_ij - mean_j)^2``.
    sums : ndarray of shape (n_support,) or None
        ``sum_i curvature_i x_ij``; None without intercept.
    total : float
        ``sum_i curvature_i``.
    """

    block: ColumnBlock | GramBlock
    features: np.ndarray
    w: np.ndarray
    raw_gradient: np.ndarray
    curvature: np.ndarray | None
    column_curvature: np.ndarray
    sums: np.ndarray | None
    total: float


@dataclass(frozen=True)
class NewtonStep:
    """The outcome of a step.

    Attributes
    ----------
    coef : ndarray of shape (n_support,) or None
        New coefficients of the support; None where no decrease was found.
    moved : ndarray of shape (n_samples,) or None
        Change of the predictions, the intercept's included; of all coefficients with a GramBlock.
    bent : ndarray of shape (n_samples,) or None
        Change of the raw gradient; of the gradient with a GramBlock.
    cut : bool
        Whether the step is shorter than Newton's.
    work : float
        What it cost, in stored values that an epoch could have visited instead.
    regular : bool
        Whether the Hessian was factored as it is, or its system solved to the end.
    change : float
        Of the model.
    """

    coef: np.ndarray | None
    moved: np.ndarray | None
    bent: np.ndarray | None
    cut: bool
    work: float
    regular: bool
    change: float = 0.0


def newton_step(
    penalty, model: SupportModel, gram: GramCache | None, tol: float, slack: float = 0.0
) -> NewtonStep:
    """Return a step that lowers the quadratic model on the support, or None.

    With ``H = X_S^T D X_S + phi''(w_S) + l2_reg`` (centred with an intercept) the step
    solves ``H d = -grad_S``. For p = 1 it follows the model along the faces of the orthant
    where H is factored, else the better of two steps is taken: with the coordinates that
    would change sign at 0, or as far along d as the model falls, kinks included. For other p
    coordinates that would change sign, or fall below the mask, go to 0; if that does not
    lower the model the step is shortened to the first such coordinate, and halved while the
    model rises.

    Parameters
    ----------
    penalty : Penalty
        Bound.
    model : SupportModel
    gram : GramCache or None
        For curvature that does not change.
    tol : float
        Size of gradient that is as good as zero.
    slack : float
        By how much of the penalty the model may rise: by rounding, or not at all.

    Returns
    -------
    NewtonStep
    """
    w, features = model.w, model.features
    slope, bend = np.empty_like(w), np.empty_like(w)
    smooth_terms(penalty, features, w, slope, bend)
    np.clip(bend, -LARGEST_CURVATURE, LARGEST_CURVATURE, out=bend)
    smooth = model.block.products(model.raw_gradient)
    gradient = smooth + slope
    size = np.abs(gradient).max()
    if not np.isfinite(size) or size == 0.0:
        return NewtonStep(None, None, None, True, 0.0, False)
    hessian = _Hessian(model, gram, damped=bool((bend > 0.0).all()))
    direction = hessian.solve(bend, -gradient, min(0.1, max(0.1 * tol / size, 1e-12)))
    if direction is None or not np.isfinite(direction).all() or gradient @ direction >= 0.0:
        return NewtonStep(None, None, None, True, hessian.work, False)
    start = total_on(penalty, features, w)

    def attempt(new, cut):
        # The change of the model from the predictions: a sum of squares, where d.T H d may lose its sign to rounding.
        d = new - w
        moved = model.block.combine(d)
        if model.sums is not None:
            moved -= d @ model.sums / model.total
        bent = model.block.bend(moved, model.curvature)
        change = smooth @ d + 0.5 * (moved @ bent) + total_on(penalty, features, new) - start
        if not change < slack * start:
            return None
        return NewtonStep(new, moved, bent, cut, hessian.work, hessian.regular, change)

    failed = NewtonStep(None, None, None, True, hessian.work, False)
    smallest = penalty.sparsity_threshold
    crossing = penalty.kinked
    new = w + direction
    if penalty.absolute:
        strengths = np.abs(slope - penalty.l2_reg * w)
        kinked = (strengths > 0.0) | penalty.positive
        taken, crossed = None, (new * w <= 0.0) & kinked
        if crossed.any():
            if hessian.factored:
                taken = attempt(*_along_faces(w, new, kinked, hessian))
            else:
                taken = attempt(np.where(crossed, 0.0, new), False)
            if taken is not None and (hessian.factored or penalty.positive):
                return taken
        if not penalty.positive and (crossed.any() or not hessian.regular):
            step = _kinked_line_search(w, direction, smooth @ direction + penalty.l2_reg * (w @ direction),
                                       hessian.square(direction) + penalty.l2_reg * (direction @ direction),
                                       strengths)  # fmt: skip
            new = w + step * direction
            new[np.abs(new) <= AT_ZERO * np.abs(w)] = 0.0
            found = attempt(new, abs(step - 1.0) > 1e-6)
            if found is None or (taken is not None and taken.change < found.change):
                return taken or failed
            return found
    if crossing or penalty.positive:
        out = (np.abs(new) < smallest) | (new * w <= 0.0) if crossing else new < 0.0
        new[out] = 0.0
    else:
        out = np.zeros(w.shape, dtype=bool)
    if taken := attempt(new, bool(out.any())):
        return taken
    step = 1.0
    if out.any():
        reach = (np.abs(w[out]) - smallest) / np.abs(direction[out])
        step = min(1.0, float(reach.min()))
    for _ in range(5):
        if step <= 1e-10:
            break
        new = w + step * direction
        if smallest > 0.0:
            new = np.copysign(np.maximum(np.abs(new), smallest), w)
        elif crossing or penalty.positive:
            # The coordinate that the step was cut for is at 0, not at what rounding leaves of it.
            new[(new * w < 0.0) | (np.abs(new) <= AT_ZERO * np.abs(w))] = 0.0
        if taken := attempt(new, True):
            return taken
        step *= 0.5
    return failed


def most_factored(n_samples: int) -> int:
    """Return how large a support is factored at most: columns beyond the samples depend on each other."""
    return min(max(n_samples, LARGEST_AT_ONCE), LARGEST_FACTOR)


def factor_cost(block: ColumnBlock | GramBlock, size: int) -> float:
    """Return what a factor of so many of the columns costs, in stored values that an epoch visits meanwhile."""
    return (SPARSE_SPEED if block.rows.shape[0] else DENSE_SPEED) * float(size) ** 3 / 3.0


def polished(problem, model: SupportModel | None, gram: GramCache | None = None) -> np.ndarray | None:
    """Return the end of a full, well-determined Newton step on the support, None where that is dear or there is none.

    Parameters
    ----------
    problem : Problem
    model : SupportModel or None
        From `Problem.support_model`.
    gram : GramCache or None
    """
    budget = max(POLISH_PASSES * problem.design.n_stored, SMALL)
    if model is None or len(model.block) == 0 or len(model.block) * model.block.n_stored > budget:
        return None
    step = newton_step(problem.penalty, model, gram, 0.0, ROUNDING)
    return step.coef if step.regular and not step.cut else None


def _kinked_line_search(w, direction, slope, bend, strengths):
    """Return the t > 0 that minimises ``slope t + bend t^2/2 + sum_k strengths_k |w_k + t direction_k|``.

    The slope of that function jumps by ``2 strengths_k |direction_k|`` where coordinate k changes sign.
    """
    towards = np.flatnonzero(w * direction < 0.0)
    kinks = -w[towards] / direction[towards]
    order = np.argsort(kinks)
    kinks = kinks[order]
    jumps = 2.0 * (strengths * np.abs(direction))[towards[order]]
    start = slope + strengths @ (np.sign(w) * direction)
    before = start + np.concatenate([[0.0], np.cumsum(jumps)])
    # Slope just after each kink; the minimum lies at the first that is not negative, or before it.
    after = before[1:] + bend * kinks
    first = int(np.searchsorted(after >= 0.0, True))
    if bend <= 0.0 and first == kinks.size:
        return 0.0
    inside = -before[first] / bend if bend > 0.0 else np.inf
    return float(min(inside, kinks[first])) if first < kinks.size else float(inside)


def _along_faces(w, target, kinked, hessian):
    """Return where the way from w along faces to the minimum on its orthant ends, and whether that is not yet it.

    ``target`` is Newton's point, ``hessian`` factored; see `along_faces`.
    """
    size = w.size
    most = min(size, max(MOST_LEGS, size // 4))
    capacity = min(size, 2 * most)
    here = np.empty(size)
    _, n_columns, complete = along_faces(
        w, target, kinked.view(np.uint8), hessian.factor, hessian.scale, np.empty((size, capacity), order="F"),
        np.empty((2, size)), np.empty((2, size), dtype=np.int64), np.empty(most, dtype=np.int64), here,
        threads_for(size * size),
    )  # fmt: skip
    hessian.work += DENSE_SPEED * n_columns * size * size
    return here, not complete


def cholesky(room: np.ndarray, size: int) -> int:
    """Put the lower Cholesky factor of the first rows and columns in their place; return 0 if there is one."""
    n_threads = threads_for(size**3 / FACTOR_SPEED) if size >= FACTOR_THREADED_FROM else 1
    return factor_in_place(room, size) if n_threads == 1 else factor(room, size, n_threads)


@dataclass(frozen=True)
class KeptFactor:
    """The factor of the last step, and what it is of.

    Attributes
    ----------
    features : ndarray of shape (n_support,), dtype int64
        In the order of its rows.
    scale : ndarray of shape (n_support,)
    room : ndarray of shape (capacity, capacity)
        Fortran order.
    bend, ridge : float
    """

    features: np.ndarray
    scale: np.ndarray
    room: np.ndarray
    bend: float
    ridge: float

    def staying(self, features: np.ndarray) -> np.ndarray | None:
        """Return which of its rows stay where the support is this; None where a new factor costs less."""
        stay = among(self.features, np.sort(features))
        changes = stay.size + features.size - 2 * np.count_nonzero(stay)
        return stay if changes * CHANGES_PER_FACTOR <= features.size <= self.room.shape[0] else None


def arranged(gram: GramCache, features: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return an order of a support: the rows of the last factor where that is kept, then the largest coefficients first.

    The first to reach 0 then come last, where their columns of the inverse cost half as much.

    Parameters
    ----------
    gram : GramCache
    features : ndarray of shape (n_support,), dtype int64
        Ascending.
    sizes : ndarray of shape (n_support,)
    """
    order = np.argsort(-sizes, kind="stable")
    stay = None if gram.kept is None else gram.kept.staying(features)
    if stay is None:
        return order
    first = np.searchsorted(features, gram.kept.features[stay])
    new = np.ones(features.size, dtype=bool)
    new[first] = False
    return np.concatenate([first, order[new[order]]])


class _Hessian:
    """The smooth part's second derivative on the support: a matrix where that is cheap, else products."""

    def __init__(self, model: SupportModel, gram: GramCache | None, *, damped: bool):
        self._model, self._block, self._gram = model, model.block, gram
        # Whether a ridge, or what else bends each coordinate, bounds the condition.
        self._damped, self._most_steps = damped, MAX_CG_STEPS
        self.work = FIXED_COST
        self.regular = False
        self.factor = self.scale = None
        # Which rows of the last factor stay, if it is kept.
        self._stay = self._staying()
        # Which columns the cache lacks; None where no matrix is made.
        self._new = self._affordable()

    def _staying(self) -> np.ndarray | None:
        kept, features = None if self._gram is None else self._gram.kept, self._model.features
        stay = None if kept is None else kept.staying(features)
        if stay is None or not np.array_equal(kept.features[stay], features[: np.count_nonzero(stay)]):
            return None
        return stay

    def _affordable(self) -> np.ndarray | None:
        block, gram, features = self._block, self._gram, self._model.features
        if isinstance(block, GramBlock):
            return NO_FEATURES
        if not block.factored:
            return None
        dense, size = block.rows.shape[0] == 0, len(block)
        factor, spent = factor_cost(block, size), 0.0 if gram is None else gram.spent
        if self._stay is not None:
            changes = self._stay.size + size - 2 * np.count_nonzero(self._stay)
            self.work += 3.0 * factor * (changes + 1) / size
            return gram.missing(features)
        if gram is not None and self._damped and not gram.tried and factor > 2.0 * block.n_stored * TRIAL_STEPS:
            gram.tried, self._most_steps = True, TRIAL_STEPS
            return None
        # Conjugate gradient steps have been few: so they will be.
        if gram is not None and gram.easy > 0 and factor > 2.0 * block.n_stored * gram.easy:
            return None
        # Both a matrix and its factor are bought once conjugate gradient steps have cost as much.
        large = size > LARGEST_AT_ONCE
        patience = 2.0 * block.n_stored * (LARGE_PATIENCE if large else 1.0)
        if large and (gram is None or size > most_factored(block.n_samples)):
            return None
        if factor > patience * MAX_CG_STEPS + spent:
            return None
        if large and not gram.hard:
            self._most_steps = LARGE_TRIAL
            return None
        new = features if gram is None else gram.missing(features)
        if not isinstance(block, ColumnBlock):
            cost = float(len(block) * (block.n_samples + block.n_stored))
        elif dense:
            cost = DENSE_SPEED * new.size * block.n_stored
        else:
            cost = ROW_SKEW * new.size / len(block) * block.n_stored**2 / block.n_samples
            if cost + factor > FIXED_COST + patience * CHEAP_GRAM_STEPS + spent:
                return None
        self.work += cost + factor
        if gram is not None:
            gram.spent = 0.0
        return new

    def _matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a matrix, the penalty and the means left out, and where in it the support is."""
        block = self._block
        if isinstance(block, GramBlock):
            return block.matrix, block.places
        if self._gram is None:
            return block.gram(self._model.curvature), np.arange(len(block))
        places = self._gram.places(self._model.features, self._new)
        return self._gram.matrix, places

    def times(self, v):
        model = self._model
        product = self._block.products(self._block.bend(self._block.combine(v), model.curvature))
        if model.sums is not None:
            product -= model.sums * (model.sums @ v / model.total)
        return product

    def square(self, v):
        model = self._model
        prediction = self._block.combine(v)
        if model.sums is not None:
            prediction -= v @ model.sums / model.total
        return prediction @ self._block.bend(prediction, model.curvature)

    def solve(self, bend, right, tol):
        if self._new is None:
            solution = self._conjugate_gradient(bend, right, tol)
            if self._most_steps != LARGE_TRIAL or self.regular:
                return solution
            self._new = self._affordable()
            if self._new is None:
                return solution
        (matrix, places), model, size = self._matrix(), self._model, right.size
        sums = NO_SUMS if model.sums is None or (self._gram is not None and self._gram.centred) else model.sums
        # More columns than samples depend on each other, and where columns did those of the next step may, too: without a
        # ridge the factor would come to nothing, which takes as long as one that is there.
        flat, gram = not bend.any(), self._gram
        rank = model.raw_gradient.size - (model.sums is not None)
        ridge = FIRST_RIDGE if flat and (size > rank or (gram is not None and gram.dependent)) else 0.0
        even = float(bend[0]) if (bend == bend[0]).all() else np.nan
        if self._updated(matrix, places, sums, bend, even, ridge):
            return self._solved(bend, right, ridge)
        room = size + FACTOR_ROOM if gram is not None and size >= KEPT_FROM else size
        self.factor = np.empty((room, room), order="F") if gram is None else gram.room_of_factor(room)
        self.scale = np.empty(size)
        for _ in range(6):
            # Scaled to unit diagonal: columns of any size, and coordinates with unbounded phi'', factor alike.
            scaled_part(matrix, places, sums, model.total, bend, ridge, self.scale, self.factor, threads_for(size * size))
            # A pivot this small is rounding: the step would be noise along directions that X does not see.
            if cholesky(self.factor, size) == 0 and self._pivot(size) > SMALLEST_PIVOT:
                self._keep(even, ridge)
                return self._solved(bend, right, ridge)
            if gram is not None and flat:
                gram.dependent = True
            ridge = FIRST_RIDGE if ridge == 0.0 else max(1e-3, 10.0 * ridge)
        self.factor = None
        return None

    def _updated(self, matrix, places, sums, bend, even, ridge) -> bool:
        """Bring the factor of the last step to this support; return whether there is one."""
        stay, gram, size = self._stay, self._gram, bend.size
        if stay is None or gram.kept.bend != even or gram.kept.ridge != ridge:
            return False
        kept, gram.kept = gram.kept, None
        scale = np.empty(size)
        scale[: np.count_nonzero(stay)] = kept.scale[stay]
        leaving = np.flatnonzero(~stay)[::-1].astype(np.int64)
        done = update(
            kept.room, stay.size, leaving, matrix, places, sums, self._model.total, bend, ridge, SMALLEST_PIVOT, scale,
            np.empty(kept.room.shape[0]),
        )  # fmt: skip
        if done:
            self.factor, self.scale = kept.room, scale
            self._keep(even, ridge)
        return done

    def _keep(self, even: float, ridge: float) -> None:
        if self._gram is not None and self.scale.size >= KEPT_FROM and ridge <= FIRST_RIDGE and even == even:
            self._gram.kept = KeptFactor(self._model.features, self.scale, self.factor, even, ridge)

    def _pivot(self, size: int) -> float:
        return float(self.factor.diagonal()[:size].min()) ** 2

    def _solved(self, bend, right, ridge):
        """Return the solution from the factor; what a ridge adds is taken out again where the matrix could do without."""
        self.regular = self._pivot(right.size) > CLEAR * ridge
        solution = self.divide(right)
        for _ in range(REFINEMENTS if ridge > 0.0 and self.regular else 0):
            solution += self.divide(right - self.times(solution) - bend * solution)
        return solution

    @property
    def factored(self) -> bool:
        """Whether `divide` is cheap."""
        return self.factor is not None

    def divide(self, right):
        """Return ``H^-1 right`` from the factor."""
        solution = right.copy()
        divide(self.factor, self.scale, solution)
        self.work += right.size * right.size
        return solution

    def _conjugate_gradient(self, bend, right, tol):
        diagonal = bend + self._model.column_curvature
        inverse = 1.0 / np.where(diagonal > 0.0, diagonal, 1.0)
        solution = np.zeros_like(right)
        residual = right.copy()
        preconditioned = inverse * residual
        direction = preconditioned.copy()
        product = residual @ preconditioned
        limit = tol * np.abs(right).max()
        if self._gram is not None:
            self._gram.easy, self._gram.hard = 0, True
        for taken in range(1, self._most_steps + 1):
            self.work += 2 * self._block.n_stored
            if self._gram is not None:
                self._gram.spent += 2.0 * self._block.n_stored
            image = self.times(direction) + bend * direction
            bending = direction @ image
            if bending <= 0.0:
                if self._gram is not None:
                    self._gram.hard = False
                # Negative curvature: what has been found so far, or else steepest descent.
                return solution if solution.any() else None
            step = product / bending
            solution += step * direction
            residual -= step * image
            if np.abs(residual).max() <= limit:
                self.regular = True
                if self._gram is not None:
                    self._gram.easy, self._gram.hard = taken, False
                break
            preconditioned = inverse * residual
            new_product = residual @ preconditioned
            direction = preconditioned + (new_product / product) * direction
            product = new_product
        return solution
