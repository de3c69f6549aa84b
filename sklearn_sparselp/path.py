"""Regularisation paths: alpha_max, alpha_grid, sparse_lp_path."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._base import SparseLpModel, Task
from ._path import (
    Follow,
    SparseLpPath,
    collect,
    grid_start,
    largest_alpha,
    null_points,
    report_fit,
    warn_of_limit,
)
from ._threads import one_blas_thread_for
from .classification import CLASSIFICATION_LOSSES, SparseLpClassifier
from .regression import SparseLpRegressor

__all__ = ["SparseLpPath", "alpha_grid", "alpha_max", "check_alphas", "sparse_lp_path"]


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
    with one_blas_thread_for(X):
        task = _prepare(estimator, X, y, sample_weight)
        order, tau, nulls = float(p), float(sparsity_threshold), null_points(task.problems)
        if isinstance(alphas, Integral):
            alphas = alpha_grid(grid_start(task.problems, nulls, order, tau), alphas, eps)
        ratio = 0.0
        if continuation and order < 1.0:
            top = largest_alpha(task.problems, nulls, order, tau)
            ratio = largest_alpha(task.problems, nulls, 1.0, tau) / top if top > 0.0 else 0.0
        fits = Follow(
            task.problems, alphas, nulls,
            lasso_ratio=ratio, solver=solver, max_iter=max_iter, tol=tol,
        )  # fmt: skip
        path = collect(task, order, alphas, fits, report_fit if verbose else None)
    warn_of_limit([path], max_iter, tol, "path")
    return path


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
