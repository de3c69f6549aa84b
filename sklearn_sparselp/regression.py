"""SparseLpRegressor: linear regression with a sparse Lp penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._core._loss import Huber, Loss, SquaredError
from ._core._penalty import LpPenalty
from ._solvers import SOLVERS, Design, Problem, SolveResult, solve
from ._validation import (
    check_fit_data,
    check_penalty_factor,
    check_predict_data,
    check_sample_weight,
    unchanged_on_error,
)


@dataclass(frozen=True)
class RegressionLoss:
    """One row of the registry of losses.

    Attributes
    ----------
    make : callable
        Makes the loss from the estimator's parameters.
    multi_output : bool
        Whether y may have several columns.
    """

    make: Callable[[Any], Loss]
    multi_output: bool = False


REGRESSION_LOSSES: dict[str, RegressionLoss] = {
    "squared_error": RegressionLoss(lambda estimator: SquaredError(), multi_output=True),
    "huber": RegressionLoss(lambda estimator: Huber(estimator.epsilon)),
}


class SparseLpRegressor(RegressorMixin, BaseEstimator):
    """Linear regression with a sparse Lp penalty.

    Minimises over coefficients w and intercept b, with sample weights s scaled to sum to one,

        F(w, b) = sum_i s_i loss(y_i, x_i w + b) + alpha sum_j u_j |w_j|^p + l2_reg/2 ||w||^2

    with every non-zero coefficient larger than ``sparsity_threshold`` in modulus: the mask
    is part of each coordinate's update, ``w_j <- v 1[|v| > sparsity_threshold]`` with
    ``v = prox(w_j - g_j / L_j)``. The intercept is neither penalised nor masked.

    Parameters
    ----------
    p : float, default=1.0
        Order of the penalty, p >= 0. 1 is the Lasso, 2 ridge, 0 counts non-zero
        coefficients; below 1 the problem is not convex.
    alpha : float, default=1.0
        Strength of the penalty, alpha >= 0.
    sparsity_threshold : float, default=0.0
        The mask tau, in units of the coefficients: a coefficient with ``|w| <= tau``
        becomes exactly 0 in its update. A larger threshold gives a sparser model.
    loss : {"squared_error", "huber"}, default="squared_error"
        ``(y - f)^2 / 2``, or Huber's loss, which is that up to ``epsilon`` and linear beyond.
    epsilon : float, default=1.35
        Where Huber's loss turns linear, in units of y (no scale is estimated). Unused by
        other losses.
    l2_reg : float, default=0.0
        Strength of an additional ridge penalty, l2_reg >= 0.
    penalty_factor : array-like of shape (n_features,), default=None
        Factors u of the penalty per feature: 0 leaves a feature unpenalised, infinity drops it.
        They are not rescaled. None stands for ones.
    positive : bool, default=False
        Whether to restrict coefficients to w >= 0.
    fit_intercept : bool, default=True
        Whether to fit b; sparse X is never centred for it.
    solver : {"auto", "cd", "pg", "gd"}, default="auto"
        "cd" is coordinate descent on working sets with Newton steps on the support, "pg"
        proximal gradient, "gd" gradient descent (p > 1). "auto" is "cd".
    max_iter : int, default=1000
        Largest number of epochs.
    tol : float, default=1e-4
        For p >= 1 without a mask, stop when the duality gap is at most ``tol F(0)``;
        otherwise when ``fixed_point_residual_ <= tol``.
    warm_start : bool, default=False
        Whether to start from ``coef_`` of the previous fit instead of zero.
    verbose : int, default=0
        Whether to print a line for each pass over X.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features), dtype of X
        Coefficients.
    intercept_ : float or ndarray of shape (n_outputs,)
        Intercept, 0 without ``fit_intercept``.
    sparse_coef_ : csr_array of shape (1, n_features) or (n_outputs, n_features)
        The same coefficients, sparse.
    mask_ : ndarray of shape like ``coef_``, dtype bool
        Which coefficients are not zero.
    objective_ : float or ndarray of shape (n_outputs,)
        F at the solution; with a mask it includes the mask's own penalty.
    dual_gap_ : float or ndarray of shape (n_outputs,)
        Duality gap, in units of F; NaN where the problem is not convex.
    fixed_point_residual_ : float or ndarray of shape (n_outputs,)
        ``max_j L_j |w_j - T_j(w_j - g_j/L_j)| / max_j |g_j(0)|``.
    n_iter_ : int or ndarray of shape (n_outputs,)
        Epochs, at least 1.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, when X has names that are strings.

    Warns
    -----
    ConvergenceWarning
        When ``max_iter`` is reached first; the model is usable.

    Notes
    -----
    ``SparseLpRegressor(p=1, alpha=a)`` is ``Lasso(alpha=a)``, and with ``alpha = a r`` and
    ``l2_reg = a (1 - r)`` it is ``ElasticNet(alpha=a, l1_ratio=r)``; p = 2 is
    ``Ridge(alpha=2 n alpha)``.

    References
    ----------
    .. [1] Y. She, "Thresholding-based iterative selection procedures for model selection
       and shrinkage", Electronic Journal of Statistics 3 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_sparselp import SparseLpRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(50, 200))
    >>> y = 3 * X[:, 0] - 2 * X[:, 1] + 0.1 * rng.normal(size=50)
    >>> model = SparseLpRegressor(p=0.5, alpha=0.1).fit(X, y)
    >>> np.flatnonzero(model.mask_)
    array([0, 1])
    """

    _parameter_constraints: dict = {
        "p": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "sparsity_threshold": [Interval(Real, 0, None, closed="left")],
        "loss": [StrOptions(set(REGRESSION_LOSSES))],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "l2_reg": [Interval(Real, 0, None, closed="left")],
        "penalty_factor": ["array-like", None],
        "positive": ["boolean"],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions({"auto", *SOLVERS})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        p: float = 1.0,
        alpha: float = 1.0,
        *,
        sparsity_threshold: float = 0.0,
        loss: str = "squared_error",
        epsilon: float = 1.35,
        l2_reg: float = 0.0,
        penalty_factor: ArrayLike | None = None,
        positive: bool = False,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.p = p
        self.alpha = alpha
        self.sparsity_threshold = sparsity_threshold
        self.loss = loss
        self.epsilon = epsilon
        self.l2_reg = l2_reg
        self.penalty_factor = penalty_factor
        self.positive = positive
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Type float32 stays, other types become float64. Dense X in C or Fortran order,
            CSR and CSC (int32 or int64 indices) are not copied; any other sparse format is
            converted once. CSR gets a CSC companion for coordinate descent.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; several columns for ``loss="squared_error"``, one independent problem each.
        sample_weight : array-like of shape (n_samples,), default=None
            A weight k counts a row k times, 0 drops it.

        Returns
        -------
        SparseLpRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            For input that is not valid; the estimator keeps its former state.
        """
        with unchanged_on_error(self):
            self._fit(X, y, sample_weight)
        return self

    def _fit(self, X, y, sample_weight) -> None:
        loss = REGRESSION_LOSSES[self.loss]
        if self.solver != "auto" and SOLVERS[self.solver].smooth_only and self.p <= 1.0:
            raise ValueError(
                f"solver='{self.solver}' is for p > 1, got p={self.p}. Use solver='cd' or 'pg'."
            )
        X, y = check_fit_data(self, X, y, multi_output=loss.multi_output)
        n_features = X.shape[1]
        weights = check_sample_weight(sample_weight, X)
        factors = check_penalty_factor(self.penalty_factor, n_features)
        targets = y[np.newaxis] if y.ndim == 1 else np.ascontiguousarray(y.T)
        starts = self._starts(targets.shape[0], n_features)
        penalty = LpPenalty(
            n_features,
            float(self.p),
            float(self.alpha),
            float(self.sparsity_threshold),
            factors,
            float(self.l2_reg),
            bool(self.positive),
        )
        design = Design(X)
        problems = [
            Problem(design, target, loss.make(self), penalty, weights, bool(self.fit_intercept))
            for target in targets
        ]
        results = solve(
            problems,
            solver=self.solver,
            max_iter=self.max_iter,
            tol=self.tol,
            coef_init=None if starts is None else starts[0],
            intercept_init=None if starts is None else starts[1],
            verbose=int(self.verbose),
        )
        self._store(results, X.dtype, single=y.ndim == 1)

    def _starts(self, n_outputs: int, n_features: int):
        """Return the former coefficients and intercepts for a warm start, None for a cold one."""
        if not self.warm_start or not hasattr(self, "coef_"):
            return None
        coef = np.atleast_2d(self.coef_).astype(np.float64)
        if coef.shape != (n_outputs, n_features):
            raise ValueError(
                f"warm_start=True, but the former fit had {coef.shape[1]} features and {coef.shape[0]} outputs, "
                f"and X and y now have {n_features} and {n_outputs}. Set warm_start=False or clone the estimator."
            )
        return coef, np.atleast_1d(self.intercept_)

    def _store(self, results: list[SolveResult], dtype: np.dtype, *, single: bool) -> None:
        def gather(name: str):
            values = [getattr(result, name) for result in results]
            return values[0] if single else np.array(values)

        self.coef_ = gather("coef").astype(dtype, copy=False)
        self.intercept_ = gather("intercept") if single else gather("intercept").astype(dtype)
        self.objective_ = gather("objective")
        self.dual_gap_ = gather("dual_gap")
        self.fixed_point_residual_ = gather("fixed_point_residual")
        self.n_iter_ = gather("n_iter")

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Sparse X stays sparse.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            ``X coef_ + intercept_``; float32 where both X and the model are.
        """
        check_is_fitted(self)
        X = check_predict_data(self, X)
        prediction = X @ self.coef_.T
        prediction += np.asarray(self.intercept_, dtype=prediction.dtype)
        return prediction

    @property
    def sparse_coef_(self) -> sparse.csr_array:
        """Coefficients as a sparse array of shape (n_outputs, n_features)."""
        return sparse.csr_array(np.atleast_2d(self.coef_))

    @property
    def mask_(self) -> np.ndarray:
        """Which coefficients are not zero, of the shape of ``coef_``."""
        return self.coef_ != 0.0

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = REGRESSION_LOSSES[self.loss].multi_output if (
            self.loss in REGRESSION_LOSSES
        ) else False
        return tags
