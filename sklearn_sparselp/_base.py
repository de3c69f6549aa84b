"""What the estimators have in common: parameters, penalty, starts, results, linear predictor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from ._core._penalty import LpPenalty
from ._linear import linear_predictor
from ._origin import Origin, moved_to_origin
from ._parameters import ParametersValidatedOnce
from ._solvers import SOLVERS, Design, Problem, SolveResult, solve
from ._validation import (
    Interval,
    Matrix,
    StrOptions,
    check_penalty_factor,
    check_predict_data,
)

# A row of coefficients and an intercept for each problem, or None twice.
Starts = tuple[Any, Any]


@dataclass(frozen=True)
class Task:
    """Validated data and what is to be solved on it.

    Attributes
    ----------
    X : ndarray, CSR or CSC of shape (n_samples, n_features)
    problems : list of Problem
        All of one design.
    starts : tuple
        See `SparseLpModel._starts`.
    single : bool
        Whether ``coef_`` is the vector of one problem, not a matrix.
    weights : ndarray of shape (n_samples,), or None
        Of the samples, class weights included.
    classes : ndarray of shape (n_classes,), or None
    codes : ndarray of shape (n_samples,), dtype int64, or None
        Class of each sample.
    origin : Origin or None
        Where that of the problems is, if not where that of X is.
    targets : ndarray of shape (n_rows, n_samples), or None
        Of a regressor, as given.
    target_means : ndarray of shape (n_rows,), or None
        What was taken off the targets of the problems.
    """

    X: Matrix
    problems: list[Problem]
    starts: Starts
    single: bool
    weights: np.ndarray | None
    classes: Any = None
    codes: Any = None
    origin: Origin | None = None
    targets: np.ndarray | None = None
    target_means: np.ndarray | None = None

    @property
    def moved(self) -> bool:
        """Whether intercepts of the problems are others than those of X and y."""
        return self.origin is not None or self.target_means is not None

    def outside(self, coefs: Sequence[Any] | np.ndarray, intercepts: np.ndarray) -> np.ndarray:
        """Return the intercepts that belong to X and y for those of the problems.

        Parameters
        ----------
        coefs : sequence of ndarray or sparse array of shape (..., n_features)
            For each row of ``coef_``.
        intercepts : ndarray of shape (..., n_rows)
        """
        if self.target_means is not None:
            intercepts = intercepts + self.target_means
        if self.origin is None:
            return intercepts
        rows = [self.origin.shift(coef) for coef in coefs]
        intercepts = intercepts - np.stack(rows, axis=-1)
        if len(rows) > len(self.problems):
            # Of a multinomial model they sum to 0.
            intercepts -= intercepts.mean(axis=-1, keepdims=True)
        return intercepts

    def inside(self, coef: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
        """Return the intercepts of the problems for those that belong to X and y, one a row."""
        if self.target_means is not None:
            intercepts = intercepts - self.target_means
        return intercepts if self.origin is None else intercepts + self.origin.shift(coef)


class SparseLpModel(ParametersValidatedOnce, BaseEstimator):
    """A linear model with a sparse Lp penalty; a subclass adds its losses and its targets."""

    _parameter_constraints: dict[str, list[Any]] = {
        "p": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "sparsity_threshold": [Interval(Real, 0, None, closed="left")],
        "l2_reg": [Interval(Real, 0, None, closed="left")],
        "penalty_factor": ["array-like", None],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions({"auto", *SOLVERS})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    # Set by the constructor of each subclass and by its fit.
    p: float
    alpha: float
    sparsity_threshold: float
    l2_reg: float
    penalty_factor: Any
    fit_intercept: bool
    solver: str
    max_iter: int
    tol: float
    warm_start: bool
    verbose: int
    n_features_in_: int
    coef_: Any
    intercept_: Any

    def _design(
        self, X: Matrix, weights: np.ndarray | None, *, compact: bool
    ) -> tuple[Design, Origin | None]:
        """Return the design of a fit, ``compact`` without empty columns, and its origin."""
        X, origin = moved_to_origin(X, weights) if self.fit_intercept else (X, None)
        design = Design(X, by_gram=self.solver in ("auto", "cd"))
        # Other solvers walk rows.
        if compact and self.solver in ("auto", "cd") and (self.p < 1.5 or self.sparsity_threshold):
            design.drop_empty_columns()
        return design, origin

    def _penalty(self, n_features: int, design: Design, *, positive: bool = False) -> LpPenalty:
        """Return the penalty of the columns of a design, which may be some of the features."""
        factor = check_penalty_factor(self.penalty_factor, n_features)
        if factor is not None and design.features is not None:
            factor = factor[design.features]
        return LpPenalty(
            design.n_features,
            p=float(self.p),
            alpha=float(self.alpha),
            sparsity_threshold=float(self.sparsity_threshold),
            penalty_factor=factor,
            l2_reg=float(self.l2_reg),
            positive=positive,
        )

    def _starts(self, n_rows: int, n_features: int, rows: str) -> Starts:
        """Return the former coefficients and intercepts for a warm start, None for a cold one.

        Parameters
        ----------
        n_rows, n_features : int
            The shape that coefficients must have.
        rows : str
            What a row of coefficients belongs to, for the message.
        """
        if not self.warm_start or not hasattr(self, "coef_"):
            return None, None
        former = self.coef_.toarray() if sparse.issparse(self.coef_) else self.coef_
        coef = np.atleast_2d(former).astype(np.float64)
        if coef.shape != (n_rows, n_features):
            raise ValueError(
                f"warm_start=True continues a fit of {coef.shape[1]} features and "
                f"{coef.shape[0]} {rows}, but X and y now have {n_features} and {n_rows}. "
                "Set warm_start=False or clone the estimator."
            )
        return coef, np.atleast_1d(self.intercept_).astype(np.float64)

    def _prepare(self, X: Any, y: Any, sample_weight: Any, *, compact: bool = False) -> Task:
        """Validate the data of a fit and state its problems; sets ``n_features_in_`` and names.

        With ``compact`` the design may lack empty columns: `_solve` puts their zeros back.
        """
        raise NotImplementedError

    def _solve(self, task: Task) -> None:
        """Solve the problems side by side and store what they give."""
        problems, (coef, intercept) = task.problems, task.starts
        features = problems[0].design.features
        if coef is not None:
            intercept = task.inside(coef, intercept)
            coef = coef if features is None else coef[:, features]
            # A problem may be several rows: the classes of a multinomial one.
            coef = coef.reshape(len(problems), -1)
            intercept = [b[0] if b.size == 1 else b for b in intercept.reshape(len(problems), -1)]
        results = solve(
            problems,
            solver=self.solver,
            max_iter=self.max_iter,
            tol=self.tol,
            coef_init=coef,
            intercept_init=intercept,
            verbose=int(self.verbose),
        )
        self._store(results, task, features=features)

    def _store(
        self,
        results: list[SolveResult],
        task: Task,
        *,
        features: np.ndarray | None = None,
    ) -> None:
        """Store results; ``features`` are those that the coefficients belong to, all by default."""
        dtype, single = task.X.dtype, task.single

        def gather(name: str) -> Any:
            values = [getattr(result, name) for result in results]
            return values[0] if single else np.array(values)

        coef, intercept = gather("coef"), gather("intercept")
        if not single:
            n_columns = self.n_features_in_ if features is None else features.size
            coef = coef.reshape(-1, n_columns)
            intercept = intercept.reshape(-1)
        if features is None:
            self.coef_ = coef.astype(dtype, copy=False)
        else:
            self.coef_ = np.zeros((*coef.shape[:-1], self.n_features_in_), dtype=dtype)
            self.coef_[..., features] = coef
        if task.moved:
            rows = np.reshape(intercept, -1)
            rows = task.outside(np.atleast_2d(self.coef_), rows)
            intercept = float(rows[0]) if single else rows
        self.intercept_ = intercept if single else intercept.astype(dtype)
        self.objective_ = gather("objective")
        self.dual_gap_ = gather("dual_gap")
        self.fixed_point_residual_ = gather("fixed_point_residual")
        self.n_iter_ = gather("n_iter")

    def _linear_predictor(self, X: Any) -> np.ndarray:
        if "coef_" not in vars(self):
            # Asked for only then: it takes as long as the prediction of a row of CSR.
            check_is_fitted(self)
        return linear_predictor(check_predict_data(self, X), self.coef_, self.intercept_)

    @property
    def sparse_coef_(self) -> sparse.csr_array:
        """Coefficients as a sparse array, a row for each row of ``coef_``."""
        if sparse.issparse(self.coef_):
            return sparse.csr_array(self.coef_)
        return sparse.csr_array(np.atleast_2d(self.coef_))

    @property
    def mask_(self) -> np.ndarray:
        """Which coefficients are not zero, of the shape of ``coef_``."""
        coef = self.coef_.toarray() if sparse.issparse(self.coef_) else self.coef_
        return coef != 0.0

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
