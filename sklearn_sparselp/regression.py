"""SparseLpRegressor: linear regression with a sparse Lp penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils import Tags

from ._base import SparseLpModel, Task
from ._core._log_link import Gamma, Poisson
from ._core._loss import Huber, Loss, SquaredError
from ._origin import targets_at_origin
from ._parameters import with_valid_parameters
from ._solvers import SOLVERS, Problem
from ._threads import one_blas_thread_for
from ._validation import (
    Interval,
    StrOptions,
    TargetDomain,
    check_finite,
    check_fit_data,
    check_not_all_zero,
    check_sample_weight,
    check_solver,
    check_target,
    unchanged_on_error,
)

ANY_TARGET = TargetDomain()
AT_LEAST_ZERO = TargetDomain(0.0)


@dataclass(frozen=True)
class RegressionLoss:
    """One row of the registry of losses: all that the estimator knows about a loss.

    Attributes
    ----------
    make : callable
        Makes the loss from the estimator's parameters.
    domain : TargetDomain
        The targets that the loss is defined for.
    mean : callable or None
        The mean of y at a linear predictor, the inverse link; None where they are equal.
    multi_output : bool
        Whether y may have several columns.
    """

    make: Callable[[Any], Loss]
    domain: TargetDomain = ANY_TARGET
    mean: Callable[[np.ndarray], np.ndarray] | None = None
    multi_output: bool = False


REGRESSION_LOSSES: dict[str, RegressionLoss] = {
    "squared_error": RegressionLoss(lambda estimator: SquaredError(), multi_output=True),
    "huber": RegressionLoss(lambda estimator: Huber(float(estimator.epsilon))),
    "poisson": RegressionLoss(lambda estimator: Poisson(), AT_LEAST_ZERO, np.exp),
    "gamma": RegressionLoss(lambda estimator: Gamma(), TargetDomain(0.0, closed=False), np.exp),
}


class SparseLpRegressor(RegressorMixin, SparseLpModel):
    r"""Linear regression with a sparse Lp penalty.

    For X of shape (n_samples, n_features), targets y and sample weights s, minimises over
    coefficients w and intercept b

    .. math::

        F(w, b) = \frac{1}{\sum_i s_i} \sum_i s_i \, \mathrm{loss}(y_i, x_i w + b)
        + \alpha \sum_j u_j |w_j|^p + \frac{\beta}{2} \|w\|_2^2

    with :math:`\alpha` = ``alpha``, u = ``penalty_factor`` and :math:`\beta` = ``l2_reg``,
    under a hard mask: each coordinate's update is

    .. math::

        v = \mathrm{prox}_{(\alpha u_j / L_j) |\cdot|^p}(w_j - g_j / L_j), \qquad
        w_j = v \text{ if } |v| > \tau \text{ else } 0

    with :math:`\tau` = ``sparsity_threshold``, g the gradient of the smooth part and
    :math:`L_j` its curvature bound (for "poisson" and "gamma", which have none, the
    curvature at w = 0). The intercept is neither penalised nor masked.

    Parameters
    ----------
    p : float, default=1.0
        Order of the penalty, p >= 0: 1 is the Lasso, 2 ridge, and 0 counts non-zero
        coefficients. Below 1 the problem is not convex and the solution found depends on
        the start, which is 0 unless ``warm_start``.
    alpha : float, default=1.0
        Strength of the penalty, alpha >= 0.
    sparsity_threshold : float, default=0.0
        The mask, in units of the coefficients, >= 0: a coefficient that its update leaves
        at most so large in modulus becomes exactly 0. A larger threshold gives a sparser
        model.
    loss : {"squared_error", "huber", "poisson", "gamma"}, default="squared_error"
        Loss of a residual r = y - (x w + b): ``r**2 / 2``, or Huber's, which is that for
        ``|r| <= epsilon`` and ``epsilon |r| - epsilon**2 / 2`` beyond. Or half the deviance of
        a Poisson (y >= 0) or gamma (y > 0) distribution with the mean exp(x w + b), which is
        what `predict` returns.
    epsilon : float, default=1.35
        Where Huber's loss turns linear, > 0, in units of y: no scale is estimated. Other
        losses ignore it.
    l2_reg : float, default=0.0
        Strength of an additional ridge penalty, >= 0.
    penalty_factor : array-like of shape (n_features,), default=None
        Factor of the penalty of each feature, >= 0: 0 leaves a feature unpenalised, infinity
        drops it. Factors are not rescaled. None stands for ones.
    positive : bool, default=False
        Whether to restrict coefficients to w >= 0.
    fit_intercept : bool, default=True
        Whether to fit b. X is not centred for it, so that sparse X stays sparse.
    solver : {"auto", "cd", "pg", "gd"}, default="auto"
        All minimise the same objective under the same certificate. "cd" is coordinate
        descent on working sets with Newton steps on the support, "pg" accelerated proximal
        gradient on the rows of X, "gd" conjugate gradient descent, for p > 1 only. "auto" is
        "gd" where a wide problem (n_features > n_samples and > 1000) has 1.5 <= p <= 2 with
        neither mask, bound nor unpenalised feature, so that no coefficient ends at 0; else "cd".
    max_iter : int, default=1000
        Largest number of iterations (epochs over working sets for "cd").
    tol : float, default=1e-4
        Without a mask and for p >= 1, stop when the duality gap is at most ``tol`` times the
        objective at w = 0; else when ``fixed_point_residual_ <= tol``.
    warm_start : bool, default=False
        Whether to start from ``coef_`` and ``intercept_`` of the former fit.
    verbose : int, default=0
        Whether to print a line for each pass over X.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Coefficients, of the dtype that X was fitted with: float32 or float64. Two-dimensional
        where y is.
    intercept_ : float or ndarray of shape (n_outputs,)
        Intercept, 0 without ``fit_intercept``.
    sparse_coef_ : csr_array of shape (1, n_features) or (n_outputs, n_features)
        The same coefficients, sparse.
    mask_ : ndarray of shape (n_features,) or (n_outputs, n_features), dtype bool
        Which coefficients are not zero.
    objective_ : float or ndarray of shape (n_outputs,)
        The objective at the solution; with a mask it includes the mask's own penalty, the
        constant :math:`\kappa_j = \max(0, L_j \tau^2/2 - \alpha u_j (1 - p) \tau^p)` for each
        non-zero coefficient.
    dual_gap_ : float or ndarray of shape (n_outputs,)
        Duality gap in units of the objective, an upper bound of the distance to its minimum;
        NaN where the problem is not convex (p < 1, or a mask).
    fixed_point_residual_ : float or ndarray of shape (n_outputs,)
        How far the solution is from a fixed point of all updates, in gradient units and
        relative to the gradient at w = 0:
        :math:`\max_j L_j |w_j - T_j(w_j - g_j/L_j)| / \max_j |g_j(0)|`, T_j the update above.
        Where L_j is no bound ("poisson", "gamma") and the problem not convex, a jump to or
        from 0 counts only if it lowers the objective, and another update no more than the
        derivative.
    n_iter_ : int or ndarray of shape (n_outputs,)
        Iterations that were run, at least 1.
    n_features_in_ : int
        Number of features of the fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X has names that are all strings.

    Warns
    -----
    ConvergenceWarning
        When ``max_iter`` is reached first. The model is usable, and ``dual_gap_`` and
        ``fixed_point_residual_`` tell how far it is from a solution.

    See Also
    --------
    sklearn.linear_model.Lasso : The same problem for p = 1.
    sklearn.linear_model.PoissonRegressor : The Poisson deviance with p = 2.
    sklearn.linear_model.GammaRegressor : The gamma deviance with p = 2.
    SparseLpRegularizer : The update as an operator on a parameter array.

    Notes
    -----
    How to convert from other estimators, n standing for n_samples:

    * ``Lasso(alpha=a)`` is ``SparseLpRegressor(p=1, alpha=a)``.
    * ``ElasticNet(alpha=a, l1_ratio=r)`` is p = 1 with ``alpha=a*r, l2_reg=a*(1 - r)``.
    * ``Ridge(alpha=a)`` is p = 2 with ``alpha=a/(2*n)``, or p = 1 with
      ``alpha=0, l2_reg=a/n``.
    * ``PoissonRegressor(alpha=a)`` and ``GammaRegressor(alpha=a)`` are p = 2 with
      ``alpha=a/2`` and the loss of that name.
    * ``HuberRegressor`` estimates a scale sigma and penalises by its own convention:
      ``epsilon`` here is its ``epsilon * scale_``.
    * glmnet rescales its ``penalty.factor`` to a mean of 1 and standardises X by default;
      here neither happens, so features should have comparable scales.

    Features are updated one at a time and nothing is random: the same input gives the same
    model.

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
    >>> model.coef_[model.mask_].round(2)
    array([ 2.97, -1.97])
    >>> model.predict(X[:3]).shape
    (3,)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        **SparseLpModel._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES))],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "positive": ["boolean"],
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

    @with_valid_parameters
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Type float32 stays, other types become float64. Not copied: dense X in C or
            Fortran order; CSR and CSC without repeated entries, whose int32 or int64 indices
            are kept. Any other sparse format is converted once. "cd" gives CSR a CSC
            companion. Read-only memory maps are fine.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; several columns for ``loss="squared_error"``, which are independent
            problems that share every pass over X.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights >= 0: a weight k counts a row k times, 0 drops it.

        Returns
        -------
        SparseLpRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            For parameters or data that are not valid, before any work.
        TypeError
            For data of a type that is not supported, such as sparse y.

        Warns
        -----
        ConvergenceWarning
            When ``max_iter`` is reached first.

        Notes
        -----
        After an exception the estimator is in the state from before the call.
        """
        with unchanged_on_error(self), one_blas_thread_for(X):
            self._solve(self._prepare(X, y, sample_weight, compact=True))
            self._fitted_loss = self.loss
        return self

    def _prepare(self, X: Any, y: Any, sample_weight: Any, *, compact: bool = False) -> Task:
        loss = REGRESSION_LOSSES[self.loss]
        check_solver(self.solver, self.p, SOLVERS)
        X, y = check_fit_data(self, X, y, multi_output=loss.multi_output)
        check_target(y, self.loss, loss.domain)
        weights = check_sample_weight(sample_weight, X)
        if self.fit_intercept and loss.domain == AT_LEAST_ZERO:
            check_not_all_zero(y, weights, self.loss)
        targets = y[np.newaxis] if y.ndim == 1 else np.ascontiguousarray(y.T)
        starts = self._starts(len(targets), X.shape[1], "outputs")
        design, origin = self._design(X, weights, compact=compact)
        intercept, means, given = bool(self.fit_intercept), None, targets
        if intercept and loss.mean is None:
            targets, means = targets_at_origin(given, weights)
        penalty = self._penalty(X.shape[1], design, positive=bool(self.positive))
        try:
            problems = [
                Problem(design, target, loss.make(self), penalty, weights, intercept)
                for target in targets
            ]
        except ValueError:
            check_finite(self, X)
            raise
        return Task(
            X, problems, starts, y.ndim == 1, weights,
            origin=origin, targets=given, target_means=means,
        )  # fmt: skip

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Sparse X stays sparse.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            ``X @ coef_.T + intercept_``, for "poisson" and "gamma" its exponential; float32
            where both X and ``coef_`` are.
        """
        prediction = self._linear_predictor(X)
        mean = REGRESSION_LOSSES[self._fitted_loss].mean
        return prediction if mean is None else mean(prediction)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # An invalid loss is an error of fit, not of asking.
        loss = REGRESSION_LOSSES.get(self.loss, REGRESSION_LOSSES["squared_error"])
        tags.target_tags.multi_output = loss.multi_output
        tags.target_tags.positive_only = -1.0 not in loss.domain
        return tags
