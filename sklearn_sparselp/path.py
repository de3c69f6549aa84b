"""Regularisation paths: alpha_max, alpha_grid, sparse_lp_path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from ._base import SparseLpModel, Task
from ._solvers import Carry, Problem, SolveResult, solve
from ._warnings import warn_caller
from .classification import CLASSIFICATION_LOSSES, SparseLpClassifier
from .regression import SparseLpRegressor

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


def alpha_max(
    X: ArrayLike,
    y: ArrayLike,
    p: float = 1.0,
    *,
    loss: str = "squared_error",
    epsilon: float = 1.35,
    sparsity_threshold: float = 0.0,
    l2_reg: float = 0.0,
    penalty_factor: ArrayLike | None = None,
    positive: bool = False,
    class_weight: dict | str | None = None,
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Return the smallest alpha at which zero is a solution from a zero start.

    No update of a single coefficient leaves zero then: in closed form for every p, from
    the gradient at the model without penalised features. Unpenalised features are fitted
    first.

    Parameters
    ----------
    X : array-like or sparse of shape (n_samples, n_features)
        As for the estimators.
    y : array-like of shape (n_samples,)
        Targets of a regression, labels for "log_loss" and "squared_hinge".
    p : float, default=1.0
        Order of the penalty, p >= 0.
    loss : str, default="squared_error"
        A loss of `SparseLpRegressor` or of `SparseLpClassifier`.
    epsilon : float, default=1.35
        Of the Huber loss.
    sparsity_threshold : float, default=0.0
        The mask, in units of the coefficients, >= 0.
    l2_reg : float, default=0.0
        Strength of an additional ridge penalty, >= 0.
    penalty_factor : array-like of shape (n_features,), default=None
        Factor of the penalty of each feature, >= 0; infinity drops it. None stands for ones.
    positive : bool, default=False
        Whether coefficients are restricted to be >= 0; for regression.
    class_weight : dict or "balanced", default=None
        Weights by label; for classification.
    fit_intercept : bool, default=True
        Whether to fit an unpenalised intercept.
    sample_weight : float or array-like of shape (n_samples,), default=None
        Weights >= 0: a weight k counts a row k times, 0 drops it.

    Returns
    -------
    float
        Rounded up. Infinite for p > 1 without mask, where a coefficient is zero only if its
        gradient is; 0 where no coefficient can leave zero. An upper bound for "poisson" and
        "gamma" with p < 1 or a mask, where an update counts only if it lowers the objective.

    Raises
    ------
    ValueError
        For parameters or data that are not valid.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_sparselp import SparseLpRegressor, alpha_max
    >>> X, y = load_diabetes(return_X_y=True)
    >>> top = alpha_max(X, y)
    >>> print(round(top, 4))
    2.148
    >>> [SparseLpRegressor(alpha=a).fit(X, y).mask_.sum().item() for a in (top, 0.9 * top)]
    [0, 2]
    """
    estimator = _estimator(
        loss, p=p, epsilon=epsilon, sparsity_threshold=sparsity_threshold, l2_reg=l2_reg,
        penalty_factor=penalty_factor, positive=positive, class_weight=class_weight,
        fit_intercept=fit_intercept,
    )  # fmt: skip
    task = _prepare(estimator, X, y, sample_weight)
    nulls = null_points(task.problems)
    return largest_alpha(task.problems, nulls, float(p), float(sparsity_threshold))


def alpha_grid(largest: float, n_alphas: int = 100, eps: float = 1e-3) -> np.ndarray:
    """Return a geometric grid of strengths from ``largest`` down to ``eps * largest``.

    Parameters
    ----------
    largest : float
        Usually from `alpha_max`.
    n_alphas : int, default=100
        Length of the grid, >= 1.
    eps : float, default=1e-3
        Smallest strength relative to the largest, 0 < eps <= 1.

    Returns
    -------
    ndarray of shape (n_alphas,)
        Descending. Where ``largest`` is 0 every entry is the resolution of float64, as in
        scikit-learn's paths.
    """
    if isinstance(n_alphas, bool) or not isinstance(n_alphas, Integral) or n_alphas < 1:
        raise ValueError(f"alphas must be an integer >= 1 or an array, got {n_alphas!r}.")
    if isinstance(eps, bool) or not isinstance(eps, Real) or not 0.0 < eps <= 1.0:
        raise ValueError(f"eps must lie in (0, 1], got {eps!r}.")
    if not np.isfinite(largest) or largest < 0.0:
        raise ValueError(f"the largest alpha must be finite and >= 0, got {largest!r}.")
    if largest == 0.0:
        return np.full(n_alphas, np.finfo(np.float64).resolution)
    return largest * np.geomspace(1.0, eps, n_alphas)


def sparse_lp_path(
    X: ArrayLike,
    y: ArrayLike,
    p: float = 1.0,
    *,
    alphas: int | ArrayLike = 100,
    eps: float = 1e-3,
    loss: str = "squared_error",
    epsilon: float = 1.35,
    sparsity_threshold: float = 0.0,
    l2_reg: float = 0.0,
    penalty_factor: ArrayLike | None = None,
    positive: bool = False,
    class_weight: dict | str | None = None,
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
    continuation: bool = False,
    solver: str = "auto",
    max_iter: int = 1000,
    tol: float = 1e-4,
    verbose: int = 0,
) -> SparseLpPath:
    """Fit a linear model for a descending sequence of strengths of the penalty.

    Each fit starts from the one before, whose coefficients, gradient and Gram matrix it
    takes over: a path costs a few passes over X for each alpha.

    Parameters
    ----------
    X : array-like or sparse of shape (n_samples, n_features)
        As for the estimators: never densified, float32 stays.
    y : array-like of shape (n_samples,)
        Targets of a regression, labels for "log_loss" and "squared_hinge".
    p : float, default=1.0
        Order of the penalty, p >= 0.
    alphas : int or array-like of shape (n_alphas,), default=100
        The length of a geometric grid from `alpha_max` down, or the strengths themselves,
        which are sorted. For p > 1 without mask `alpha_max` is infinite: the grid then
        starts at that of p = 1.
    eps : float, default=1e-3
        Smallest over largest alpha of the grid, in (0, 1].
    loss : str, default="squared_error"
        A loss of `SparseLpRegressor` or of `SparseLpClassifier`.
    epsilon : float, default=1.35
        Of the Huber loss.
    sparsity_threshold : float, default=0.0
        The mask, in units of the coefficients, >= 0.
    l2_reg : float, default=0.0
        Strength of an additional ridge penalty, >= 0.
    penalty_factor : array-like of shape (n_features,), default=None
        Factor of the penalty of each feature, >= 0; infinity drops it. None stands for ones.
    positive : bool, default=False
        Whether coefficients are restricted to be >= 0; for regression.
    class_weight : dict or "balanced", default=None
        Weights by label; for classification.
    fit_intercept : bool, default=True
        Whether to fit an unpenalised intercept.
    sample_weight : float or array-like of shape (n_samples,), default=None
        Weights >= 0: a weight k counts a row k times, 0 drops it.
    continuation : bool, default=False
        For p < 1: fit each alpha from the solution for p = 1 at as large a part of its own
        `alpha_max` too, and keep the lower objective.
    solver : {"auto", "cd", "pg", "gd"}, default="auto"
        As for the estimators.
    max_iter : int, default=1000
        Epochs for each alpha, at most.
    tol : float, default=1e-4
        Of the stopping rule for each alpha, as for the estimators.
    verbose : int, default=0
        Print a line for each alpha.

    Returns
    -------
    SparseLpPath
        Alphas, coefficients, intercepts and the certificate of each fit.

    Raises
    ------
    ValueError
        For parameters or data that are not valid.

    Warns
    -----
    ConvergenceWarning
        Once, when some fits reached ``max_iter``.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_sparselp import sparse_lp_path
    >>> path = sparse_lp_path(*load_diabetes(return_X_y=True), p=0.5, alphas=5)
    >>> path.coefs.shape
    (5, 10)
    >>> path.df.tolist()
    [0, 2, 6, 7, 8]
    """
    estimator = _estimator(
        loss, p=p, epsilon=epsilon, sparsity_threshold=sparsity_threshold, l2_reg=l2_reg,
        penalty_factor=penalty_factor, positive=positive, class_weight=class_weight,
        fit_intercept=fit_intercept, solver=solver, max_iter=max_iter, tol=tol, verbose=verbose,
    )  # fmt: skip
    if not isinstance(alphas, Integral):
        alphas = check_alphas(alphas)
    else:
        alpha_grid(1.0, alphas, eps)
    if not isinstance(continuation, bool | np.bool_):
        raise ValueError(f"continuation must be a bool, got {continuation!r}.")
    task = _prepare(estimator, X, y, sample_weight)
    order, tau, nulls = float(p), float(sparsity_threshold), null_points(task.problems)
    if isinstance(alphas, Integral):
        alphas = alpha_grid(grid_start(task.problems, nulls, order, tau), alphas, eps)
    ratio = 0.0
    if continuation and order < 1.0:
        top = largest_alpha(task.problems, nulls, order, tau)
        ratio = largest_alpha(task.problems, nulls, 1.0, tau) / top if top > 0.0 else 0.0
    fits = follow(
        task.problems, alphas, nulls, lasso_ratio=ratio, solver=solver, max_iter=max_iter, tol=tol
    )
    return collect(estimator, task, alphas, fits)


def check_alphas(alphas: ArrayLike) -> np.ndarray:
    """Return strengths as a descending float64 vector; a ValueError names what is not valid."""
    array = np.asarray(alphas)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"alphas must be an integer >= 1 or a non-empty vector of numbers, got {alphas!r}."
        )
    array = array.astype(np.float64)
    if not (np.isfinite(array) & (array >= 0.0)).all():
        worst = array[~(np.isfinite(array) & (array >= 0.0))][0]
        raise ValueError(f"alphas must be finite and >= 0, got {worst:g}.")
    return np.sort(array)[::-1]


def _estimator(loss: str, **parameters: Any) -> SparseLpModel:
    """Return the estimator of a loss; it validates the parameters and states the problems."""
    kind: type[SparseLpModel] = SparseLpRegressor
    if loss in CLASSIFICATION_LOSSES:
        kind = SparseLpClassifier
        parameters.pop("epsilon")
        if (positive := parameters.pop("positive")) is not False:
            raise ValueError(f"loss={loss!r} has no positive, got positive={positive!r}.")
    elif (class_weight := parameters.pop("class_weight")) is not None:
        raise ValueError(f"loss={loss!r} has no class_weight, got {class_weight!r}.")
    estimator = kind(loss=loss, alpha=1.0, **parameters)
    estimator._validate_params()
    return estimator


def _prepare(estimator: SparseLpModel, X: Any, y: Any, sample_weight: Any) -> Task:
    task = estimator._prepare(X, y, sample_weight)
    if isinstance(estimator, SparseLpRegressor) and not task.single:
        raise ValueError(
            f"y has shape {np.shape(y)}, but a path has one target: y of shape (n_samples,)."
        )
    return task


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
    gradients = design.rmatvec(np.array([problem.null_raw_gradient for problem in problems]))
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
    raw = []
    for problem, result in zip(problems, results, strict=True):
        prediction, _ = problem.predict(result.coef, result.intercept)
        raw.append(problem.derivatives(prediction)[0])
    gradients = design.rmatvec(np.array(raw))
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


def follow(
    problems: Sequence[Problem],
    alphas: np.ndarray,
    nulls: Sequence[NullPoint],
    *,
    lasso_ratio: float = 0.0,
    solver: str = "auto",
    max_iter: int = 1000,
    tol: float = 1e-4,
) -> Iterator[list[SolveResult]]:
    """Yield the results of the problems for one alpha after the other, each from the one before.

    Parameters
    ----------
    problems : sequence of Problem
        Of one design, at any alpha.
    alphas : ndarray of shape (n_alphas,)
        Descending.
    nulls : sequence of NullPoint
        Where the first alpha starts.
    lasso_ratio : float
        Above 0, each alpha is also fitted from the solution for p = 1 at ``lasso_ratio * alpha``.
    solver, max_iter, tol
        See `solve`.
    """
    options: dict[str, Any] = {"max_iter": max_iter, "tol": tol, "warn": False}
    state = _Warm(nulls)
    lasso = _Warm(nulls)
    for alpha in alphas:
        here = [problem.at(alpha) for problem in problems]
        results = state.advance(here, solver=solver, **options)
        if lasso_ratio > 0.0:
            convex = [problem.at(lasso_ratio * alpha, 1.0) for problem in problems]
            lasso.advance(convex, solver="auto", **options)
            others = solve(
                here,
                solver=solver,
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


class _Warm:
    """Where the next fits start and what those before have left."""

    def __init__(self, nulls: Sequence[NullPoint]):
        self.coefs = [null.coef for null in nulls]
        self.intercepts = [null.intercept for null in nulls]
        self._carries = [Carry(null.gradient) for null in nulls]

    def advance(self, problems: Sequence[Problem], **options: Any) -> list[SolveResult]:
        results = solve(
            problems,
            coef_init=self.coefs,
            intercept_init=self.intercepts,
            carries=self._carries,
            **options,
        )
        self.move(results, [False] * len(results))
        return results

    def move(self, results: Sequence[SolveResult], elsewhere: Sequence[bool]) -> None:
        """Start from these results next; of those that come from elsewhere no gradient is known."""
        self.coefs = [result.coef for result in results]
        self.intercepts = [result.intercept for result in results]
        for carry, other in zip(self._carries, elsewhere, strict=True):
            if other:
                carry.gradient = None


def collect(
    estimator: SparseLpModel, task: Task, alphas: np.ndarray, fits: Iterator[list[SolveResult]]
) -> SparseLpPath:
    """Return the path of the results that `follow` yields; one warning speaks for all of them.

    Parameters
    ----------
    estimator : SparseLpModel
        Its parameters.
    task : Task
    alphas : ndarray of shape (n_alphas,)
    fits : iterator of list of SolveResult
    """
    n_features = task.X.shape[1]
    n_rows = sum(problem.design.n_features for problem in task.problems) // n_features
    rows: list[_Rows] = [_Rows(n_features, task.X.dtype) for _ in range(n_rows)]
    table: list[tuple[float, float, float, int, int, bool]] = []
    intercepts = []
    for alpha, results in zip(alphas, fits, strict=True):
        coef = np.concatenate([result.coef for result in results]).reshape(n_rows, n_features)
        for row, values in zip(rows, coef, strict=True):
            row.append(values)
        intercepts.append(np.concatenate([np.atleast_1d(result.intercept) for result in results]))
        table.append(
            (
                sum(result.objective for result in results),
                max(result.dual_gap for result in results),
                max(result.fixed_point_residual for result in results),
                max(result.n_iter for result in results),
                int(np.count_nonzero(coef)),
                all(result.converged for result in results),
            )
        )
        if estimator.verbose:
            print(f"alpha {alpha:.4g}: {table[-1][4]} coefficients, {table[-1][3]} epochs")
    objectives, gaps, residuals, n_iters, df, converged = map(np.array, zip(*table, strict=True))
    if not converged.all():
        by_gap = np.isfinite(gaps).all()
        what = "duality gap" if by_gap else "fixed-point residual"
        worst = float((gaps if by_gap else residuals)[~converged].max())
        warn_caller(
            f"{(~converged).sum()} of {alphas.size} fits of the path stopped at max_iter="
            f"{estimator.max_iter} with tol={estimator.tol:g}; their largest {what} is "
            f"{worst:.2e}. Increase max_iter or tol, or standardise X.",
            ConvergenceWarning,
        )
    single = n_rows == 1
    return SparseLpPath(
        p=float(estimator.p),
        alphas=np.array(alphas),
        coefs=rows[0].stack() if single else [row.stack() for row in rows],
        intercepts=np.array(intercepts)[:, 0] if single else np.array(intercepts),
        objectives=objectives,
        dual_gaps=gaps,
        fixed_point_residuals=residuals,
        n_iters=n_iters.astype(np.int64),
        df=df.astype(np.int64),
        converged=converged,
        classes=task.classes,
    )


class _Rows:
    """Rows of coefficients, kept without their zeros."""

    def __init__(self, n_features: int, dtype: np.dtype):
        self._n_features, self._dtype = n_features, dtype
        self._columns: list[np.ndarray] = []
        self._values: list[np.ndarray] = []

    def append(self, row: np.ndarray) -> None:
        columns = np.flatnonzero(row)
        self._columns.append(columns)
        self._values.append(row[columns].astype(self._dtype))

    def stack(self) -> np.ndarray | sparse.csr_array:
        starts = np.cumsum([0, *map(len, self._columns)])
        shape = (len(self._columns), self._n_features)
        index = np.int32 if max(self._n_features, starts[-1]) < 2**31 else np.int64
        stacked = sparse.csr_array(
            (
                np.concatenate(self._values),
                np.concatenate(self._columns).astype(index),
                starts.astype(index),
            ),
            shape=shape,
        )
        return stacked if stacked.nnz < SPARSE_BELOW * shape[0] * shape[1] else stacked.toarray()
