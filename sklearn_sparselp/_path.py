"""Paths of solutions: where they start, one fit after the other, and what they are kept as."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from threading import Event
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from ._base import Task
from ._solvers import (
    FEW_FEATURES,
    Batch,
    Cancelled,
    Carry,
    LassoPath,
    ModelPath,
    Problem,
    SolveResult,
    solve,
)
from ._warnings import warn_caller

# The closed form is a chain of so many roundings, at most.
ROUNDING = 64 * np.finfo(np.float64).eps
# Of a sum of products, relative to the norms of both vectors.
NOISE = 4 * np.finfo(np.float64).eps
# Coefficients are returned sparse where fewer than this share of them are not zero.
SPARSE_BELOW = 0.3
# Of the fit of unpenalised features alone, from whose solution alpha_max follows.
NULL_TOL, NULL_EPOCHS = 1e-10, 10_000


@dataclass(frozen=True)
class SparseLpPath:
    """Solutions for a sequence of strengths of the penalty, as `sparse_lp_path` returns them.

    Attributes
    ----------
    p : float
        Order of the penalty.
    alphas : ndarray of shape (n_alphas,)
        Strengths, descending.
    coefs : ndarray or csr_array of shape (n_alphas, n_features), or list of these
        Coefficients, a row for each alpha; sparse where less than 30 % of them are not zero.
        For more than two classes a list with an entry for each class. float32 if X is.
    intercepts : ndarray of shape (n_alphas,) or (n_alphas, n_classes)
    objectives, dual_gaps, fixed_point_residuals : ndarray of shape (n_alphas,)
        As the estimators carry them; of the worst class for one class against the rest, whose
        objectives are added.
    n_iters : ndarray of shape (n_alphas,), dtype int64
        Epochs.
    df : ndarray of shape (n_alphas,), dtype int64
        Coefficients that are not zero.
    converged : ndarray of shape (n_alphas,), dtype bool
    classes : ndarray of shape (n_classes,), or None
    """

    p: float
    alphas: np.ndarray
    coefs: Any = field(repr=False)
    intercepts: np.ndarray = field(repr=False)
    objectives: np.ndarray = field(repr=False)
    dual_gaps: np.ndarray = field(repr=False)
    fixed_point_residuals: np.ndarray = field(repr=False)
    n_iters: np.ndarray = field(repr=False)
    df: np.ndarray = field(repr=False)
    converged: np.ndarray = field(repr=False)
    classes: np.ndarray | None = None


@dataclass(frozen=True)
class NullPoint:
    """The solution of a problem without its penalised features.

    Attributes
    ----------
    coef : ndarray of shape (n_features,)
    intercept : float
    gradient : ndarray of shape (n_features,)
        Of the loss there.
    """

    coef: np.ndarray
    intercept: Any
    gradient: np.ndarray


def null_points(problems: Sequence[Problem]) -> list[NullPoint]:
    """Return where the paths of the problems start; tell the problems their gradient at 0."""
    design = problems[0].design
    gradients = [problem.null_gradient for problem in problems if problem.null_gradient is not None]
    if len(gradients) < len(problems):
        raw = np.array([problem.null_raw_gradient for problem in problems])
        gradients = list(design.rmatvec(raw))
    for problem, gradient in zip(problems, gradients, strict=True):
        problem.set_gradient_scale(gradient)
    factor = problems[0].penalty.penalty_factor
    if factor is None or (factor > 0.0).all():
        return [
            NullPoint(np.zeros(design.n_features), problem.null_intercept, gradient)
            for problem, gradient in zip(problems, gradients, strict=True)
        ]
    alone = [problem.free_only() for problem in problems]
    results = solve(alone, max_iter=NULL_EPOCHS, tol=NULL_TOL, warn=False)
    ends = []
    for problem, result in zip(problems, results, strict=True):
        prediction, _ = problem.predict(result.coef, result.intercept)
        ends.append(problem.derivatives(prediction)[0])
    gradients = list(design.rmatvec(np.array(ends)))
    return [
        NullPoint(result.coef, result.intercept, gradient)
        for result, gradient in zip(results, gradients, strict=True)
    ]


def largest_alpha(
    problems: Sequence[Problem], nulls: Sequence[NullPoint], p: float, tau: float
) -> float:
    """Return `alpha_max` for an order and a mask from the gradients at the null points."""
    largest = 0.0
    for problem, null in zip(problems, nulls, strict=True):
        size, factor = np.abs(null.gradient), problem.penalty.penalty_factor
        if problem.penalty.positive:
            size = np.maximum(-null.gradient, 0.0)
        # A gradient of this size is what rounding leaves of 0.
        norm = np.sqrt(float(problem.weights @ (problem.y * problem.y)))
        noise = NOISE * norm * np.sqrt(problem.lipschitz / problem.curvature)
        counts = problem.usable & (size > noise)
        strengths = _entering_strength(size[counts], problem.lipschitz[counts], p, tau)
        if factor is not None:
            strengths = strengths[factor[counts] > 0.0] / factor[counts & (factor > 0.0)]
        largest = max(largest, float(strengths.max(initial=0.0)))
    return largest * (1.0 + ROUNDING)


def _entering_strength(size: np.ndarray, lipschitz: np.ndarray, p: float, tau: float) -> np.ndarray:
    """Return the strength at which a zero coefficient of gradient ``size`` is about to leave zero.

    The inverse of the largest gradient at which T_j leaves zero, see problem's certificate:
    the threshold of the prox, or where the prox crosses the mask if that is more.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        above = np.maximum(size - lipschitz * tau, 0.0)
        if p == 1.0:
            return above
        if p == 0.0:
            return np.where(above > 0.0, size * size / (2.0 * lipschitz), 0.0)
        if p > 1.0 and tau == 0.0:
            return np.where(size > 0.0, np.inf, 0.0)
        # p tau^(p - 1) is the slope of |t|^p where the mask ends.
        crossing = above / (p * tau ** (p - 1.0)) if tau > 0.0 else np.zeros_like(size)
        if p > 1.0:
            return crossing
        jump = 2.0 * (1.0 - p) / (2.0 - p) * size / lipschitz
        return np.where(jump >= tau, lipschitz * jump ** (2.0 - p) / (2.0 * (1.0 - p)), crossing)


def grid_start(
    problems: Sequence[Problem], nulls: Sequence[NullPoint], p: float, tau: float
) -> float:
    """Return the largest alpha of a grid: `alpha_max`, or that of p = 1 where it is infinite."""
    largest = largest_alpha(problems, nulls, p, tau)
    return largest if np.isfinite(largest) else largest_alpha(problems, nulls, 1.0, 0.0)


def mask_free_from(problems: Sequence[Problem], p: float, tau: float) -> float:
    """Return the strength from which on a mask changes nothing: no prox ends in (0, tau].

    For p < 1 the prox jumps from 0 to ``(2 (1 - p) alpha u_j / L_j)^(1/(2 - p))``.
    Infinite for p >= 1.
    """
    if tau == 0.0:
        return 0.0
    if p >= 1.0:
        return np.inf
    widest = 0.0
    for problem in problems:
        factor = problem.penalty.penalty_factor
        with np.errstate(divide="ignore"):
            ratio = problem.lipschitz if factor is None else problem.lipschitz / factor
        widest = max(widest, float(ratio[problem.usable].max(initial=0.0)))
    return widest * tau ** (2.0 - p) / (2.0 * (1.0 - p)) * (1.0 + ROUNDING)


class Follow:
    """The results of the problems for one alpha after the other, each from the one before.

    Iteration yields them one by one.

    Parameters
    ----------
    problems : sequence of Problem
        Of one design, at any alpha.
    alphas : ndarray of shape (n_alphas,)
        Descending.
    nulls : sequence of NullPoint
        Where the first alpha starts.
    start : sequence of SolveResult, optional
        Where the first alpha starts instead.
    lasso_ratio : float
        Above 0, each alpha is also fitted from the solution for p = 1 at ``lasso_ratio * alpha``.
    polish : bool
        Whether each fit ends with a Newton step where that is cheap.
    **options : dict
        ``solver``, ``max_iter``, ``tol`` and ``cancelled`` of `solve`.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        alphas: np.ndarray,
        nulls: Sequence[NullPoint],
        *,
        start: Sequence[SolveResult] | None = None,
        lasso_ratio: float = 0.0,
        polish: bool = True,
        **options: Any,
    ):
        self._problems, self._alphas, self._nulls = problems, alphas, nulls
        self._start, self._lasso_ratio, self._polish = start, lasso_ratio, polish
        self._options = options | {"warn": False}
        self._compiled = options.get("solver", "auto") in ("auto", "cd")

    def at_once(self) -> Batch | None:
        """Return the fits of one problem at all alphas where compiled loops make them together."""
        problem = self._problems[0]
        if len(self._problems) > 1 or not self._compiled or self._start is not None:
            return None
        if self._lasso_ratio > 0.0 or problem.n_usable > FEW_FEATURES:
            return None
        cancelled = self._options.get("cancelled")
        for kind in (LassoPath, ModelPath):
            if _applies(kind, problem, self._nulls[0]):
                path = kind(problem, self._nulls[0].gradient, self._alphas, self._polish)
                batch = path.at_once(self._options["tol"], self._options["max_iter"], cancelled)
                _check_cancelled(cancelled)
                return batch
        return None

    def __iter__(self) -> Iterator[list[SolveResult]]:
        problems, options = self._problems, self._options
        state = _Warm(self._nulls, self._polish)
        if self._compiled:
            state.compile(problems, self._nulls, self._alphas)
        if self._start is not None:
            state.restart(self._start)
        lasso = _Warm(self._nulls, self._polish)
        for alpha in map(float, self._alphas):
            results = state.advance(problems, alpha, **options)
            if self._lasso_ratio > 0.0:
                near = self._lasso_ratio * alpha
                lasso.advance(problems, near, 1.0, **(options | {"solver": "auto"}))
                others = solve(
                    [problem.at(alpha) for problem in problems],
                    coef_init=lasso.coefs,
                    intercept_init=lasso.intercepts,
                    **options,
                )
                lower = [b.objective < a.objective for a, b in zip(results, others, strict=True)]
                results = [
                    b if better else a for a, b, better in zip(results, others, lower, strict=True)
                ]
                state.move(results, lower)
            yield results


def _applies(kind: type[LassoPath] | type[ModelPath], problem: Problem, null: NullPoint) -> bool:
    """Whether compiled loops follow a path; they start from zero."""
    return kind.applies(problem) and not null.coef.any()


def _check_cancelled(cancelled: Event | None) -> None:
    if cancelled is not None and cancelled.is_set():
        raise Cancelled


class _Warm:
    """Where the next fits start and what those before have left."""

    def __init__(self, nulls: Sequence[NullPoint], polish: bool):
        self.coefs = [null.coef for null in nulls]
        self.intercepts = [null.intercept for null in nulls]
        self._carries = [Carry(null.gradient, polish=polish) for null in nulls]
        self._compiled: list[LassoPath | ModelPath] = []

    def compile(
        self, problems: Sequence[Problem], nulls: Sequence[NullPoint], alphas: np.ndarray
    ) -> None:
        """Follow the path by compiled loops as far as these go."""
        for kind in (LassoPath, ModelPath):
            if all(map(_applies, [kind] * len(problems), problems, nulls)):
                self._compiled = [
                    kind(problem, null.gradient, alphas, carry.polish)
                    for problem, null, carry in zip(problems, nulls, self._carries, strict=True)
                ]

    def advance(
        self, problems: Sequence[Problem], alpha: float, p: float | None = None, **options: Any
    ) -> list[SolveResult]:
        """Return the results at the next strength, and another order if given."""
        results = self._by_compiled(alpha, **options)
        if results is None:
            results = solve(
                [problem.at(alpha, p) for problem in problems],
                coef_init=self.coefs,
                intercept_init=self.intercepts,
                carries=self._carries,
                **options,
            )
            self._tell(results)
            self.move(results, [False] * len(results))
        else:
            self.move(results, [True] * len(results))
        return results

    def restart(self, results: Sequence[SolveResult]) -> None:
        """Start from these results, which come from elsewhere."""
        self._tell(results)
        self.move(results, [True] * len(results))

    def _tell(self, results: Sequence[SolveResult]) -> None:
        for path, result in zip(self._compiled, results, strict=False):
            path.move(result.coef)

    def _by_compiled(
        self, alpha: float, *, max_iter: int, tol: float, cancelled: Event | None = None, **_: Any
    ) -> list[SolveResult] | None:
        _check_cancelled(cancelled)
        results = []
        for path in self._compiled:
            result = path.fit(alpha, tol, max_iter)
            if result is None:
                return None
            results.append(result)
        return results or None

    def move(self, results: Sequence[SolveResult], elsewhere: Sequence[bool]) -> None:
        """Start from these results next; of those that come from elsewhere no gradient is known."""
        self.coefs = [result.coef for result in results]
        self.intercepts = [result.intercept for result in results]
        for carry, other in zip(self._carries, elsewhere, strict=True):
            if other:
                carry.gradient = None


def collect(
    task: Task,
    p: float,
    alphas: np.ndarray,
    fits: Iterable[list[SolveResult]],
    report: Callable[[float, int, int], object] | None = None,
    kept: dict[int, list[SolveResult]] | None = None,
) -> SparseLpPath:
    """Return the path of the results of a `Follow`.

    Parameters
    ----------
    task : Task
    p : float
    alphas : ndarray of shape (n_alphas,)
    fits : iterable of list of SolveResult
    report : callable, optional
        Called after each fit with alpha and the numbers of coefficients and epochs.
    kept : dict, optional
        Its keys are positions whose results are put there.
    """
    kept = {} if kept is None else kept
    if report is None and isinstance(fits, Follow) and (batch := fits.at_once()) is not None:
        kept.update({k: [batch.result(k)] for k in kept})
        return _of_batch(batch, task, p, alphas)
    n_features = task.X.shape[1]
    n_rows = sum(problem.design.n_features for problem in task.problems) // n_features
    rows: list[_Rows] = [_Rows(n_features, task.X.dtype) for _ in range(n_rows)]
    table: list[tuple[float, float, float, int, int, bool]] = []
    intercepts: list[Any] = []
    for k, (alpha, results) in enumerate(zip(alphas, fits, strict=True)):
        if k in kept:
            kept[k] = results
        found = results[0]
        if n_rows == 1:
            # The rule, and on small data what the time goes to.
            n_coefs = rows[0].append(found.coef, found.support)
            intercepts.append(found.intercept)
        else:
            coefs = [row for result in results for row in result.coef.reshape(-1, n_features)]
            n_coefs = sum(row.append(values) for row, values in zip(rows, coefs, strict=True))
            intercepts.append(np.hstack([result.intercept for result in results]))
            found = _together(results)
        table.append(
            (
                found.objective,
                found.dual_gap,
                found.fixed_point_residual,
                found.n_iter,
                n_coefs,
                found.converged,
            )
        )
        if report is not None:
            report(float(alpha), n_coefs, found.n_iter)
    objectives, gaps, residuals, n_iters, df, converged = map(np.array, zip(*table, strict=True))
    single = n_rows == 1
    coefs = [row.stack() for row in rows]
    outer = task.outside(coefs, np.array(intercepts).reshape(-1, n_rows))
    return SparseLpPath(
        p=p,
        alphas=np.array(alphas),
        coefs=coefs[0] if single else coefs,
        intercepts=outer[:, 0].copy() if single else outer,
        objectives=objectives,
        dual_gaps=gaps,
        fixed_point_residuals=residuals,
        n_iters=n_iters.astype(np.int64),
        df=df.astype(np.int64),
        converged=converged,
        classes=task.classes,
    )


def _of_batch(batch: Batch, task: Task, p: float, alphas: np.ndarray) -> SparseLpPath:
    n_features, dtype = task.X.shape[1], task.X.dtype
    present = batch.coefs != 0.0
    df = np.count_nonzero(present, axis=1)
    coefs: np.ndarray | sparse.csr_array
    if int(df.sum()) >= SPARSE_BELOW * alphas.size * n_features:
        coefs = np.zeros((alphas.size, n_features), dtype=dtype)
        coefs[:, batch.features] = batch.coefs
    else:
        coefs = sparse.csr_array(
            (
                batch.coefs[present].astype(dtype),
                batch.features[present.nonzero()[1]].astype(np.int32),
                np.concatenate([[0], np.cumsum(df)]).astype(np.int32),
            ),
            shape=(alphas.size, n_features),
        )
    intercepts = task.outside([coefs], batch.intercepts[:, np.newaxis])[:, 0]
    return SparseLpPath(
        p=p,
        alphas=np.array(alphas),
        coefs=coefs,
        intercepts=intercepts,
        objectives=batch.objectives,
        dual_gaps=batch.dual_gaps,
        fixed_point_residuals=batch.residuals,
        n_iters=batch.n_iters,
        df=df,
        converged=np.ones(alphas.size, dtype=bool),
        classes=task.classes,
    )


def _together(results: Sequence[SolveResult]) -> SolveResult:
    """Return the figures of several problems as those of one: objectives added, else the worst."""
    return replace(
        results[0],
        objective=sum(result.objective for result in results),
        dual_gap=max(result.dual_gap for result in results),
        fixed_point_residual=max(result.fixed_point_residual for result in results),
        n_iter=max(result.n_iter for result in results),
        converged=all(result.converged for result in results),
    )


def report_fit(alpha: float, n_coefs: int, n_epochs: int) -> None:
    """Print the line of a fit."""
    print(f"alpha {alpha:.4g}: {n_coefs} coefficients, {n_epochs} epochs")


def join(first: SparseLpPath, n_first: int, rest: SparseLpPath) -> SparseLpPath:
    """Return the first fits of a path followed by those of another."""

    def stacked(a: Any, b: Any) -> Any:
        if isinstance(a, list):
            return [stacked(x, y) for x, y in zip(a, b, strict=True)]
        if sparse.issparse(a) or sparse.issparse(b):
            return _compact(sparse.csr_array(sparse.vstack([a[:n_first], b], format="csr")))
        return np.concatenate([a[:n_first], b])

    names = {entry.name for entry in fields(SparseLpPath)} - {"p", "classes"}
    parts = {name: stacked(getattr(first, name), getattr(rest, name)) for name in names}
    return replace(rest, **parts)


def warn_of_limit(paths: Sequence[SparseLpPath], max_iter: int, tol: float, where: str) -> None:
    """Warn once of all fits of some paths that stopped at ``max_iter``."""
    stopped = [~path.converged for path in paths]
    n_stopped = sum(int(which.sum()) for which in stopped)
    if n_stopped == 0:
        return
    n_fits = sum(which.size for which in stopped)
    by_gap = all(np.isfinite(path.dual_gaps).all() for path in paths)
    what = "duality gap" if by_gap else "fixed-point residual"
    worst = max(
        float((path.dual_gaps if by_gap else path.fixed_point_residuals)[which].max(initial=0.0))
        for path, which in zip(paths, stopped, strict=True)
    )
    warn_caller(
        f"{n_stopped} of {n_fits} fits of the {where} stopped at max_iter={max_iter} with "
        f"tol={tol:g}; their largest {what} is {worst:.2e}. "
        "Increase max_iter or tol, or standardise X.",
        ConvergenceWarning,
    )


class _Rows:
    """Rows of coefficients, kept without their zeros."""

    def __init__(self, n_features: int, dtype: np.dtype):
        self._n_features, self._dtype = n_features, dtype
        self._columns: list[np.ndarray] = []
        self._values: list[np.ndarray] = []

    def append(self, row: np.ndarray, columns: np.ndarray | None = None) -> int:
        """Keep another row; which columns hold a value may be known. Return how many do."""
        columns = row.nonzero()[0] if columns is None else columns
        self._columns.append(columns)
        self._values.append(row[columns].astype(self._dtype))
        return columns.size

    def stack(self) -> np.ndarray | sparse.csr_array:
        starts = np.cumsum([0, *map(len, self._columns)])
        shape = (len(self._columns), self._n_features)
        index = np.int32 if max(self._n_features, starts[-1]) < 2**31 else np.int64
        return _compact(
            sparse.csr_array(
                (
                    np.concatenate(self._values),
                    np.concatenate(self._columns).astype(index),
                    starts.astype(index),
                ),
                shape=shape,
            )
        )


def _compact(coefs: sparse.csr_array) -> np.ndarray | sparse.csr_array:
    """Return coefficients as an ndarray unless most of them are zero."""
    few = coefs.nnz < SPARSE_BELOW * coefs.shape[0] * coefs.shape[1]
    return coefs if few else coefs.toarray()
