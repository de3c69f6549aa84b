"""SparseLpRegressorCV, SparseLpClassifierCV: p, alpha and the mask chosen along shared paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.utils import Tags

from ._callbacks import with_callbacks
from ._threads import one_blas_thread_for
from ._tuning import TunedModel
from ._validation import check_no_fit_params, fit_context, unchanged_on_error
from .classification import SparseLpClassifier
from .regression import SparseLpRegressor


class SparseLpRegressorCV(TunedModel, SparseLpRegressor):
    """Linear regression with a sparse Lp penalty whose order, strength and mask are chosen.

    Compares a grid of ``p``, ``sparsity_threshold`` and ``alpha`` by cross-validation or by an
    information criterion and fits `SparseLpRegressor` with the choice to all samples.

    Parameters
    ----------
    p : float or array-like of shape (n_p,), default=1.0
        Orders of the penalty to choose from, >= 0.
    alphas : int or array-like of shape (n_alphas,), default=100
        Strengths to choose from: the length of a geometric grid from `alpha_max` of all
        samples down, for each pair of p and mask its own, or the strengths themselves. For
        p > 1 without mask, where `alpha_max` is infinite, the grid starts at that of p = 1.
    eps : float, default=1e-3
        Smallest over largest alpha of the grid, in (0, 1].
    sparsity_threshold : float or array-like of shape (n_tau,), default=0.0
        Masks to choose from, in units of the coefficients, >= 0.
    cv : int, cross-validation generator or iterable, default=None
        Folds, the same for the whole grid: a number of folds, a splitter of
        scikit-learn, or pairs of training and test samples. None stands for 5.
    scoring : str or callable, default=None
        What to maximise on the samples left out: a name or a scorer of scikit-learn. None
        stands for minus the mean squared error, the mean of Huber's loss, or the mean deviance of
        "poisson" and "gamma".
    criterion : {"cv", "aic", "bic", "ebic"}, default="cv"
        Whether to choose by cross-validation, or by an information criterion of the fits of
        all samples, for losses that are a likelihood: "squared_error" and
        "poisson".
    selection_rule : {"best", "one_se"}, default="best"
        With cross-validation: the model of the best mean score, or the sparsest one whose mean
        score is within one standard error of the best.
    refit : {"penalised", "relaxed"}, default="penalised"
        What the model of all samples is: the chosen one, or one with the features of that and
        without Lp penalty and mask, but with ``l2_reg``. That undoes the shrinkage.
    store_cv_paths : bool, default=True
        Whether to keep the coefficients of all folds in ``coefs_paths_``. For p > 1 without
        mask they are dense.
    n_jobs : int, default=None
        Threads for the folds, which share X: None is 1, -1 all processors. The result is the
        same for any number.
    loss : {"squared_error", "huber", "poisson", "gamma"}, default="squared_error"
        As for `SparseLpRegressor`.
    epsilon : float, default=1.35
        Where Huber's loss turns linear, > 0, in units of y.
    l2_reg : float, default=0.0
        Strength of an additional ridge penalty, >= 0.
    penalty_factor : array-like of shape (n_features,), default=None
        Factor of the penalty of each feature, >= 0: 0 leaves a feature unpenalised, infinity
        drops it. None stands for ones.
    positive : bool, default=False
        Whether to restrict coefficients to w >= 0.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    solver : {"auto", "cd", "pg", "gd"}, default="auto"
        As for `SparseLpRegressor`.
    max_iter : int, default=1000
        Largest number of iterations of each fit.
    tol : float, default=1e-4
        Of the stopping rule of each fit, as for `SparseLpRegressor`.
    verbose : int, default=0
        1 prints a line for each path of each fold, 2 one for each fit too.

    Attributes
    ----------
    p_, alpha_, sparsity_threshold_ : float
        The choice.
    alphas_ : ndarray of shape (n_p, n_tau, n_alphas)
        Strengths compared, descending.
    best_index_ : tuple of (int, int, int)
        Position of the choice in ``alphas_``.
    path_ : SparseLpPath
        The path of all samples for the order and mask chosen.
    cv_scores_ : ndarray of shape (n_p, n_tau, n_alphas, n_folds)
        Scores on the samples left out; with ``criterion="cv"``.
    cv_df_ : ndarray of shape (n_p, n_tau, n_alphas)
        Coefficients that are not zero, mean over the folds; with ``criterion="cv"``.
    coefs_paths_ : ndarray of shape (n_p, n_tau, n_folds), dtype object
        Coefficients of the paths of the folds, each as `SparseLpPath` has them; with
        ``criterion="cv"`` and ``store_cv_paths``.
    criterion_ : ndarray of shape (n_p, n_tau, n_alphas)
        Values of the information criterion, with one.
    coef_ : ndarray of shape (n_features,)
        Coefficients of the model of all samples, of the dtype that X was fitted with.
    intercept_ : float
        Intercept.
    sparse_coef_ : csr_array of shape (1, n_features)
        The same coefficients, sparse.
    mask_ : ndarray of shape (n_features,), dtype bool
        Which coefficients are not zero.
    objective_, dual_gap_, fixed_point_residual_ : float
        The objective and the certificates of the model of all samples, as for
        `SparseLpRegressor`; of the relaxed problem if that is what was fitted.
    n_iter_ : int
        Its iterations.
    n_features_in_ : int
        Number of features of the fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X has names that are all strings.

    Warns
    -----
    ConvergenceWarning
        Once for the folds and once for all samples, when some fits reached ``max_iter``.

    See Also
    --------
    sparse_lp_path : A path alone.
    sklearn.linear_model.LassoCV : The same choice for p = 1 without mask.

    Notes
    -----
    Each fold follows a whole path from its strongest penalty down, on the one X that all
    folds share: samples left out have weight 0 in it. ``alpha`` means the same in a
    fold as on all samples, since the loss is a mean. Folds run in threads.

    As long as a mask is too small to change any update, which for p < 1 can be told from alpha,
    its path is the one without it and is not computed again; for p >= 1 every mask has a
    path of its own.

    With sample weights the scores are weighted means; the mean over folds and its standard
    error are not weighted. The criteria take a sample of weight k for k samples, and as
    degrees of freedom the number of coefficients that are not zero, which is unbiased for
    the Lasso [1]_ and less than the truth for p < 1. They are ``misfit + 2 df`` for "aic",
    ``misfit + log(n) df`` for "bic" and ``misfit + log(n) df + 2 log(binomial(d, df))``
    for "ebic" [2]_, misfit being the deviance,
    or ``n log(mean squared error)`` for "squared_error". Models of
    more than n/2 coefficients are left out, as their misfit says nothing.

    References
    ----------
    .. [1] H. Zou, T. Hastie, R. Tibshirani, "On the degrees of freedom of the lasso",
       Annals of Statistics 35 (2007).
    .. [2] J. Chen, Z. Chen, "Extended Bayesian information criteria for model selection with
       large model spaces", Biometrika 95 (2008).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_sparselp import SparseLpRegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = SparseLpRegressorCV(p=[0.5, 1], alphas=30, selection_rule="one_se").fit(X, y)
    >>> model.p_, round(model.alpha_, 3), int(model.mask_.sum())
    (0.5, 2.067, 5)
    """

    _single = SparseLpRegressor
    _parameter_constraints: dict[str, list[Any]] = {
        **{
            name: allowed
            for name, allowed in SparseLpRegressor._parameter_constraints.items()
            if name not in ("alpha", "warm_start")
        },
        **TunedModel._tuned_constraints,
    }

    def __init__(
        self,
        p: float | ArrayLike = 1.0,
        *,
        alphas: int | ArrayLike = 100,
        eps: float = 1e-3,
        sparsity_threshold: float | ArrayLike = 0.0,
        cv: Any = None,
        scoring: Any = None,
        criterion: str = "cv",
        selection_rule: str = "best",
        refit: str = "penalised",
        store_cv_paths: bool = True,
        n_jobs: int | None = None,
        loss: str = "squared_error",
        epsilon: float = 1.35,
        l2_reg: float = 0.0,
        penalty_factor: ArrayLike | None = None,
        positive: bool = False,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        verbose: int = 0,
    ) -> None:
        self.p = p
        self.alphas = alphas
        self.eps = eps
        self.sparsity_threshold = sparsity_threshold
        self.cv = cv
        self.scoring = scoring
        self.criterion = criterion
        self.selection_rule = selection_rule
        self.refit = refit
        self.store_cv_paths = store_cv_paths
        self.n_jobs = n_jobs
        self.loss = loss
        self.epsilon = epsilon
        self.l2_reg = l2_reg
        self.penalty_factor = penalty_factor
        self.positive = positive
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Choose p, alpha and the mask, and fit all samples with them.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            As for `SparseLpRegressor`.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights >= 0: a weight k counts a row k times, 0 drops it. They count in the
            fits and in the scores.
        **params : dict
            With metadata routing, what goes to the splitter and to the scorer, such as
            ``groups``; else nothing is allowed.

        Returns
        -------
        SparseLpRegressorCV
            The fitted estimator.

        Raises
        ------
        ValueError
            For parameters, data or folds that are not valid.
        TypeError
            For data of a type that is not supported, such as sparse y.

        Warns
        -----
        ConvergenceWarning
            When some fits reached ``max_iter``.

        Notes
        -----
        After an exception the estimator is in the state from before the call.
        """
        check_no_fit_params(params, self, "fit")
        with unchanged_on_error(self), one_blas_thread_for(X):
            self._tune(X, y, sample_weight, params)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        return tags


class SparseLpClassifierCV(TunedModel, SparseLpClassifier):
    """Linear classification with a sparse Lp penalty whose order, strength and mask are chosen.

    Compares a grid of ``p``, ``sparsity_threshold`` and ``alpha`` by cross-validation or by an
    information criterion and fits `SparseLpClassifier` with the choice to all samples.

    Parameters
    ----------
    p : float or array-like of shape (n_p,), default=1.0
        Orders of the penalty to choose from, >= 0.
    alphas : int or array-like of shape (n_alphas,), default=100
        Strengths to choose from: the length of a geometric grid from `alpha_max` of all
        samples down, for each pair of p and mask its own, or the strengths themselves. For
        p > 1 without mask, where `alpha_max` is infinite, the grid starts at that of p = 1.
    eps : float, default=1e-3
        Smallest over largest alpha of the grid, in (0, 1].
    sparsity_threshold : float or array-like of shape (n_tau,), default=0.0
        Masks to choose from, in units of the coefficients, >= 0.
    cv : int, cross-validation generator or iterable, default=None
        Folds, the same for the whole grid: a number of stratified folds, a splitter of
        scikit-learn, or pairs of training and test samples. None stands for 5,
        or as many as the rarest class has samples if that is less.
    scoring : str or callable, default=None
        What to maximise on the samples left out: a name or a scorer of scikit-learn. None
        stands for the mean logarithm of the probability of the right class, for "squared_hinge"
        the accuracy.
    criterion : {"cv", "aic", "bic", "ebic"}, default="cv"
        Whether to choose by cross-validation, or by an information criterion of the fits of
        all samples, for losses that are a likelihood: "log_loss".
    selection_rule : {"best", "one_se"}, default="best"
        With cross-validation: the model of the best mean score, or the sparsest one whose mean
        score is within one standard error of the best.
    refit : {"penalised", "relaxed"}, default="penalised"
        What the model of all samples is: the chosen one, or one with the features of that and
        without Lp penalty and mask, but with ``l2_reg``. That undoes the shrinkage. With
        more than two classes and log loss these are the features that any class uses.
    store_cv_paths : bool, default=True
        Whether to keep the coefficients of all folds in ``coefs_paths_``. For p > 1 without
        mask they are dense.
    n_jobs : int, default=None
        Threads for the folds, which share X: None is 1, -1 all processors. The result is the
        same for any number.
    loss : {"log_loss", "squared_hinge"}, default="log_loss"
        As for `SparseLpClassifier`.
    l2_reg : float, default=0.0
        Strength of an additional ridge penalty, >= 0.
    penalty_factor : array-like of shape (n_features,), default=None
        Factor of the penalty of each feature, >= 0: 0 leaves a feature unpenalised, infinity
        drops it. None stands for ones.
    class_weight : dict or "balanced", default=None
        Weights >= 0 by label; "balanced" gives every class the same sum of weights, over all
        samples. They count in the fits, not in the scores.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    solver : {"auto", "cd", "pg", "gd"}, default="auto"
        As for `SparseLpClassifier`.
    max_iter : int, default=1000
        Largest number of iterations of each fit.
    tol : float, default=1e-4
        Of the stopping rule of each fit, as for `SparseLpClassifier`.
    verbose : int, default=0
        1 prints a line for each path of each fold, 2 one for each fit too.

    Attributes
    ----------
    p_, alpha_, sparsity_threshold_ : float
        The choice.
    alphas_ : ndarray of shape (n_p, n_tau, n_alphas)
        Strengths compared, descending.
    best_index_ : tuple of (int, int, int)
        Position of the choice in ``alphas_``.
    path_ : SparseLpPath
        The path of all samples for the order and mask chosen.
    cv_scores_ : ndarray of shape (n_p, n_tau, n_alphas, n_folds)
        Scores on the samples left out; with ``criterion="cv"``.
    cv_df_ : ndarray of shape (n_p, n_tau, n_alphas)
        Coefficients that are not zero, mean over the folds; with ``criterion="cv"``.
    coefs_paths_ : ndarray of shape (n_p, n_tau, n_folds), dtype object
        Coefficients of the paths of the folds, each as `SparseLpPath` has them; with
        ``criterion="cv"`` and ``store_cv_paths``.
    criterion_ : ndarray of shape (n_p, n_tau, n_alphas)
        Values of the information criterion, with one.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients of the model of all samples, of the dtype that X was fitted with.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    sparse_coef_ : csr_array of the shape of ``coef_``
        The same coefficients, sparse.
    mask_ : ndarray of the shape of ``coef_``, dtype bool
        Which coefficients are not zero.
    objective_, dual_gap_, fixed_point_residual_ : ndarray of shape (n_problems,)
        The objective and the certificates of the model of all samples, as for
        `SparseLpClassifier`; of the relaxed problem if that is what was fitted.
    n_iter_ : ndarray of shape (n_problems,)
        Its iterations.
    n_features_in_ : int
        Number of features of the fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X has names that are all strings.

    Warns
    -----
    ConvergenceWarning
        Once for the folds and once for all samples, when some fits reached ``max_iter``.

    See Also
    --------
    sparse_lp_path : A path alone.
    sklearn.linear_model.LogisticRegressionCV : The same choice for p = 1 and 2 without mask,
        by accuracy unless told otherwise.

    Notes
    -----
    Each fold follows a whole path from its strongest penalty down, on the one X that all
    folds share: samples left out have weight 0 in it. ``alpha`` means the same in a
    fold as on all samples, since the loss is a mean. Folds run in threads.

    As long as a mask is too small to change any update, which for p < 1 can be told from alpha,
    its path is the one without it and is not computed again; for p >= 1 every mask has a
    path of its own.

    With sample weights the scores are weighted means; the mean over folds and its standard
    error are not weighted. The criteria take a sample of weight k for k samples, and as
    degrees of freedom the number of coefficients that are not zero, which is unbiased for
    the Lasso [1]_ and less than the truth for p < 1. They are ``misfit + 2 df`` for "aic",
    ``misfit + log(n) df`` for "bic" and ``misfit + log(n) df + 2 log(binomial(d, df))``
    for "ebic" [2]_, misfit being the deviance. Models of
    more than n/2 coefficients are left out, as their misfit says nothing.

    References
    ----------
    .. [1] H. Zou, T. Hastie, R. Tibshirani, "On the degrees of freedom of the lasso",
       Annals of Statistics 35 (2007).
    .. [2] J. Chen, Z. Chen, "Extended Bayesian information criteria for model selection with
       large model spaces", Biometrika 95 (2008).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_sparselp import SparseLpClassifierCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = SparseLpClassifierCV(p=[0.5, 1], alphas=20, selection_rule="one_se")
    >>> model = model.fit(scale(X), y)
    >>> model.p_, round(model.alpha_, 4), int(model.mask_.sum())
    (1.0, 0.0049, 11)
    """

    _single = SparseLpClassifier
    _parameter_constraints: dict[str, list[Any]] = {
        **{
            name: allowed
            for name, allowed in SparseLpClassifier._parameter_constraints.items()
            if name not in ("alpha", "warm_start")
        },
        **TunedModel._tuned_constraints,
    }

    def __init__(
        self,
        p: float | ArrayLike = 1.0,
        *,
        alphas: int | ArrayLike = 100,
        eps: float = 1e-3,
        sparsity_threshold: float | ArrayLike = 0.0,
        cv: Any = None,
        scoring: Any = None,
        criterion: str = "cv",
        selection_rule: str = "best",
        refit: str = "penalised",
        store_cv_paths: bool = True,
        n_jobs: int | None = None,
        loss: str = "log_loss",
        l2_reg: float = 0.0,
        penalty_factor: ArrayLike | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        verbose: int = 0,
    ) -> None:
        self.p = p
        self.alphas = alphas
        self.eps = eps
        self.sparsity_threshold = sparsity_threshold
        self.cv = cv
        self.scoring = scoring
        self.criterion = criterion
        self.selection_rule = selection_rule
        self.refit = refit
        self.store_cv_paths = store_cv_paths
        self.n_jobs = n_jobs
        self.loss = loss
        self.l2_reg = l2_reg
        self.penalty_factor = penalty_factor
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Choose p, alpha and the mask, and fit all samples with them.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            As for `SparseLpClassifier`.
        y : array-like of shape (n_samples,)
            Labels, of two classes or more.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights >= 0: a weight k counts a row k times, 0 drops it. They count in the
            fits and in the scores.
        **params : dict
            With metadata routing, what goes to the splitter and to the scorer, such as
            ``groups``; else nothing is allowed.

        Returns
        -------
        SparseLpClassifierCV
            The fitted estimator.

        Raises
        ------
        ValueError
            For parameters, data or folds that are not valid.
        TypeError
            For data of a type that is not supported, such as sparse y.

        Warns
        -----
        ConvergenceWarning
            When some fits reached ``max_iter``.

        Notes
        -----
        After an exception the estimator is in the state from before the call.
        """
        check_no_fit_params(params, self, "fit")
        with unchanged_on_error(self), one_blas_thread_for(X):
            self._tune(X, y, sample_weight, params)
        return self
