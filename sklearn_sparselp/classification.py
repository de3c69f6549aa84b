"""SparseLpClassifier: linear classification with a sparse Lp penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._base import SparseLpModel, Task
from ._core._loss import LogLoss, Loss, SquaredHinge
from ._core._penalty import Penalty
from ._labels import check_class_weight
from ._linear import (
    class_probabilities,
    linear_predictor,
    log_class_probabilities,
    separates,
)
from ._parameters import with_valid_parameters
from ._solvers import SOLVERS, Design, MultinomialProblem, Problem
from ._threads import one_blas_thread_for
from ._validation import (
    StrOptions,
    check_finite,
    check_fit_labels,
    check_penalty_factor,
    check_sample_weight,
    check_solver,
    unchanged_on_error,
)
from ._warnings import warn_caller


@dataclass(frozen=True)
class ClassificationLoss:
    """One row of the registry of losses: all that the estimator knows about a loss.

    Attributes
    ----------
    make : callable
        Makes the loss of two classes, for targets 0 and 1.
    one_vs_rest : bool
        Whether more than two classes are as many problems, each of one class against the rest;
        else they are one multinomial problem.
    probabilities : bool
        Whether the linear predictor is a log-odds.
    """

    make: Callable[[], Loss]
    one_vs_rest: bool = False
    probabilities: bool = False


CLASSIFICATION_LOSSES: dict[str, ClassificationLoss] = {
    "log_loss": ClassificationLoss(LogLoss, probabilities=True),
    "squared_hinge": ClassificationLoss(SquaredHinge, one_vs_rest=True),
}


def build_problems(
    loss: ClassificationLoss,
    design: Design,
    codes: np.ndarray,
    n_classes: int,
    penalty: Penalty,
    weights: np.ndarray | None,
    fit_intercept: bool,
) -> list[Problem]:
    """Return what a fit solves side by side: one problem, or one a class.

    The coefficients of the problems, in their order, are the rows of ``coef_``.
    """
    if n_classes > 2 and not loss.one_vs_rest:
        return [MultinomialProblem(design, codes, n_classes, penalty, weights, fit_intercept)]
    positives = [1] if n_classes == 2 else range(n_classes)
    return [
        Problem(
            design, (codes == k).astype(np.float64), loss.make(), penalty, weights, fit_intercept
        )
        for k in positives
    ]


def _gives_probabilities(estimator: Any) -> bool:
    name = getattr(estimator, "_fitted_loss", estimator.loss)
    row = CLASSIFICATION_LOSSES.get(name)
    if row is None or not row.probabilities:
        raise AttributeError(f"Probabilities need loss='log_loss', but loss is {name!r}.")
    return True


class SparseLpClassifier(ClassifierMixin, SparseLpModel):
    r"""Linear classification with a sparse Lp penalty.

    For X of shape (n_samples, n_features), two classes y in {0, 1} and sample weights s,
    minimises over coefficients w and intercept b

    .. math::

        F(w, b) = \frac{1}{\sum_i s_i} \sum_i s_i \, \mathrm{loss}(y_i, x_i w + b)
        + \alpha \sum_j u_j |w_j|^p + \frac{\beta}{2} \|w\|_2^2

    with :math:`\alpha` = ``alpha``, u = ``penalty_factor`` and :math:`\beta` = ``l2_reg``,
    under a hard mask: each coordinate's update is

    .. math::

        v = \mathrm{prox}_{(\alpha u_j / L_j) |\cdot|^p}(w_j - g_j / L_j), \qquad
        w_j = v \text{ if } |v| > \tau \text{ else } 0

    with :math:`\tau` = ``sparsity_threshold``, g the gradient of the smooth part and
    :math:`L_j` its curvature bound. The intercept is neither penalised nor masked. For more
    than two classes see ``loss``.

    Parameters
    ----------
    p : float, default=1.0
        Order of the penalty, p >= 0: 1 is the Lasso's, 2 ridge's, and 0 counts non-zero
        coefficients. Below 1 the problem is not convex and the solution found depends on
        the start, which is 0 unless ``warm_start``.
    alpha : float, default=1e-3
        Strength of the penalty, alpha >= 0.
    sparsity_threshold : float, default=0.0
        The mask, in units of the coefficients, >= 0: a coefficient that its update leaves
        at most so large in modulus becomes exactly 0. A larger threshold gives a sparser
        model.
    loss : {"log_loss", "squared_hinge"}, default="log_loss"
        Loss of a prediction f = x w + b: ``log(1 + exp(f)) - y f``, the negative
        log-likelihood of logistic regression, or ``max(0, 1 - t f)**2`` with t = 2 y - 1,
        that of a linear support vector machine. More than two classes are with
        "log_loss" one multinomial problem with a penalised coefficient for each class and
        feature and the loss ``log(sum_k exp(f_k)) - f_y``, with "squared_hinge" as many
        problems, each of one class against the rest.
    l2_reg : float, default=0.0
        Strength of an additional ridge penalty, >= 0.
    penalty_factor : array-like of shape (n_features,), default=None
        Factor of the penalty of each feature, >= 0: 0 leaves a feature unpenalised, infinity
        drops it. Factors are not rescaled. None stands for ones.
    class_weight : dict or "balanced", default=None
        Weights >= 0 by label, 1 for a label that is not in the dict; a sample counts with
        the weight of its class times its ``sample_weight``. "balanced" gives every class
        the same sum of weights. None stands for ones.
    fit_intercept : bool, default=True
        Whether to fit b. X is not centred for it, so that sparse X stays sparse.
    solver : {"auto", "cd", "pg", "gd"}, default="auto"
        All minimise the same objective under the same certificate. "cd" is coordinate
        descent on working sets with Newton steps on the support, "pg" accelerated proximal
        gradient on the rows of X, "gd" conjugate gradient descent, for p > 1 only. "auto" is
        "gd" where a wide problem (n_features > n_samples and > 1000) has 1.5 <= p <= 2 with
        neither mask nor unpenalised feature, so that no coefficient ends at 0; else "cd".
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
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, of the dtype that X was fitted with: float32 or float64. One row for two
        classes, those of ``classes_[1]``. A csr_array after `sparsify`.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts, 0 without ``fit_intercept``; those of a multinomial model sum to 0.
    sparse_coef_ : csr_array of shape (1, n_features) or (n_classes, n_features)
        The same coefficients, sparse.
    mask_ : ndarray of shape (1, n_features) or (n_classes, n_features), dtype bool
        Which coefficients are not zero.
    objective_ : ndarray of shape (n_problems,)
        The objective at the solution, one for each problem: several where each class was
        fitted against the rest, else a single one. With a mask it includes the mask's own
        penalty, the constant
        :math:`\kappa_j = \max(0, L_j \tau^2/2 - \alpha u_j (1 - p) \tau^p)` for each non-zero
        coefficient.
    dual_gap_ : ndarray of shape (n_problems,)
        Duality gap in units of the objective, an upper bound of the distance to its minimum;
        NaN where the problem is not convex (p < 1, or a mask).
    fixed_point_residual_ : ndarray of shape (n_problems,)
        How far the solution is from a fixed point of all updates, in gradient units and
        relative to the gradient at w = 0:
        :math:`\max_j L_j |w_j - T_j(w_j - g_j/L_j)| / \max_j |g_j(0)|`, T_j the update above.
    n_iter_ : ndarray of shape (n_problems,)
        Iterations that were run, at least 1.
    n_features_in_ : int
        Number of features of the fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X has names that are all strings.

    Warns
    -----
    ConvergenceWarning
        When ``max_iter`` is reached first. The model is usable, and ``dual_gap_`` and
        ``fixed_point_residual_`` tell how far it is from a solution. And when log loss has
        no minimum: the samples are separated without error, and nothing keeps the
        coefficients from growing, as with ``alpha=0`` or p = 0.

    See Also
    --------
    sklearn.linear_model.LogisticRegression : The same problem for p = 1 and 2.
    sklearn.svm.LinearSVC : The same with squared hinge, its intercept penalised.
    SparseLpRegressor : The same penalty with losses of regression.

    Notes
    -----
    How to convert from other estimators, n standing for n_samples:

    * ``LogisticRegression(C=c)`` is p = 2 with ``alpha=1/(2*n*c)``, with an L1 penalty it is
      p = 1 with ``alpha=1/(n*c)``.
    * ``LinearSVC(C=c, fit_intercept=False)`` is ``loss="squared_hinge"`` with p = 2 and
      ``alpha=1/(2*n*c)``, with ``penalty="l1"`` p = 1 and ``alpha=1/(n*c)``. Its intercept
      is penalised, here it is not. Its class weights count samples of the rest as 1.

    Features should have comparable scales. Nothing is random: the same input gives the
    same model.

    References
    ----------
    .. [1] Y. She, "Thresholding-based iterative selection procedures for model selection
       and shrinkage", Electronic Journal of Statistics 3 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_sparselp import SparseLpClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 200))
    >>> y = np.where(X[:, 0] - X[:, 1] + 0.3 * rng.normal(size=100) > 0, "high", "low")
    >>> model = SparseLpClassifier(p=0.5, alpha=0.05).fit(X, y)
    >>> np.flatnonzero(model.mask_)
    array([0, 1])
    >>> model.predict(X[:3])
    array(['high', 'high', 'low'], dtype='<U4')
    >>> model.predict_proba(X[:3]).round(2)
    array([[0.68, 0.32],
           [0.52, 0.48],
           [0.04, 0.96]])
    """

    _parameter_constraints: dict[str, list[Any]] = {
        **SparseLpModel._parameter_constraints,
        "loss": [StrOptions(set(CLASSIFICATION_LOSSES))],
        "class_weight": [Mapping, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        p: float = 1.0,
        alpha: float = 1e-3,
        *,
        sparsity_threshold: float = 0.0,
        loss: str = "log_loss",
        l2_reg: float = 0.0,
        penalty_factor: ArrayLike | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
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
        self.l2_reg = l2_reg
        self.penalty_factor = penalty_factor
        self.class_weight = class_weight
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
        y : array-like of shape (n_samples,)
            Labels, of two classes or more: numbers, booleans or strings.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights >= 0: a weight k counts a row k times, 0 drops it.

        Returns
        -------
        SparseLpClassifier
            The fitted estimator, its coefficients dense.

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
            task = self._prepare(X, y, sample_weight, compact=True)
            self._solve(task)
            self.classes_ = task.classes
            self._fitted_loss = self.loss
            if CLASSIFICATION_LOSSES[self.loss].probabilities and self._grows_for_free():
                self._warn_if_separated(task)
        return self

    def _prepare(self, X: Any, y: Any, sample_weight: Any, *, compact: bool = False) -> Task:
        loss = CLASSIFICATION_LOSSES[self.loss]
        check_solver(self.solver, self.p, SOLVERS)
        X, classes, codes = check_fit_labels(self, X, y)
        n_classes = classes.size
        weights = check_sample_weight(sample_weight, X)
        weights = check_class_weight(self.class_weight, classes, codes, weights)
        n_rows = 1 if n_classes == 2 else n_classes
        starts = self._class_starts(classes, n_rows, X.shape[1])
        design, origin = self._design(X, weights, compact=compact)
        penalty = self._penalty(X.shape[1], design)
        try:
            problems = build_problems(
                loss, design, codes, n_classes, penalty, weights, bool(self.fit_intercept)
            )
        except ValueError:
            check_finite(self, X)
            raise
        return Task(X, problems, starts, False, weights, classes, codes, origin)

    def _class_starts(self, classes: np.ndarray, n_rows: int, n_features: int) -> tuple[Any, Any]:
        """Return the starts of a fit; former coefficients must belong to the same classes."""
        starts = self._starts(n_rows, n_features, "rows of coefficients")
        if starts[0] is not None and self.classes_.tolist() != classes.tolist():
            raise ValueError(
                f"warm_start=True continues a fit of the classes {self.classes_.tolist()}, but y "
                f"now has {classes.tolist()}. Set warm_start=False or clone the estimator."
            )
        return starts

    def _grows_for_free(self) -> bool:
        """Whether a multiple of the coefficients is penalised no more than these."""
        if self.l2_reg > 0.0:
            return False
        if self.alpha == 0.0 or self.p == 0.0:
            return True
        factors = check_penalty_factor(self.penalty_factor, self.coef_.shape[1])
        return factors is not None and not self.coef_[:, factors > 0.0].any()

    def _warn_if_separated(self, task: Task) -> None:
        X, codes = task.X, task.codes
        if task.weights is not None:
            X, codes = X[task.weights > 0.0], codes[task.weights > 0.0]
        if separates(linear_predictor(X, self.coef_, self.intercept_), codes):
            warn_caller(
                f"log loss has no minimum: all {codes.size} samples are on the right side and "
                f"alpha={self.alpha:g} with p={self.p:g} does not keep coefficients from growing "
                f"(the largest is {np.abs(self.coef_).max():.2g}). "
                "Set alpha > 0 with p > 0, or l2_reg > 0.",
                ConvergenceWarning,
            )

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the linear predictor of each class.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Sparse X stays sparse.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            ``X @ coef_.T + intercept_``. For two classes it is one-dimensional and above 0
            where ``classes_[1]`` is predicted; with log loss it is the log-odds of that class.
        """
        decision = self._linear_predictor(X)
        return decision[:, 0] if decision.shape[1] == 1 else decision

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Sparse X stays sparse.

        Returns
        -------
        ndarray of shape (n_samples,)
            The class with the largest decision value, the first of those in a tie.
        """
        decision = self.decision_function(X)
        codes = decision.argmax(axis=1) if decision.ndim == 2 else (decision > 0.0).astype(np.intp)
        return self.classes_[codes]

    @available_if(_gives_probabilities)
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability of each class; with log loss only.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Sparse X stays sparse.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; every row sums to 1.
        """
        return class_probabilities(self.decision_function(X))

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the logarithm of the probability of each class; with log loss only.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Sparse X stays sparse.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; finite where the probability itself underflows.
        """
        return log_class_probabilities(self.decision_function(X))

    def sparsify(self) -> Self:
        """Turn ``coef_`` into a csr_array, so that the model takes no more memory than it needs.

        Returns
        -------
        SparseLpClassifier
            The estimator itself. Predictions stay the same; the next `fit` makes ``coef_``
            dense again.
        """
        check_is_fitted(self)
        self.coef_ = self.sparse_coef_
        return self

    def densify(self) -> Self:
        """Turn ``coef_`` back into an ndarray.

        Returns
        -------
        SparseLpClassifier
            The estimator itself.
        """
        check_is_fitted(self)
        if not isinstance(self.coef_, np.ndarray):
            self.coef_ = self.coef_.toarray()
        return self
