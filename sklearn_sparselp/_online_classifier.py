"""SparseLpSGDClassifier: linear classification that learns from streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.metaestimators import available_if

from ._callbacks import with_callbacks
from ._labels import check_class_factors, label_codes, label_weights
from ._linear import class_probabilities, log_class_probabilities
from ._online import OnlineModel
from ._solvers.stochastic import visits_of_fit, visits_of_stream
from ._validation import (
    StrOptions,
    check_fit_labels,
    check_penalty_factor,
    check_rows,
    check_sample_weight,
    fit_context,
    unchanged_on_error,
)


def one_vs_rest(codes: np.ndarray, n_classes: int) -> list[np.ndarray]:
    """Return targets -1 and 1 of each problem: the second of two classes, or each class."""
    positives = [1] if n_classes == 2 else range(n_classes)
    return [np.where(codes == k, 1.0, -1.0) for k in positives]


def _gives_probabilities(estimator: Any) -> bool:
    if estimator.loss not in ("log_loss", "modified_huber"):
        raise AttributeError(
            f"Probabilities need loss='log_loss' or 'modified_huber', but loss is "
            f"{estimator.loss!r}."
        )
    return True


class SparseLpSGDClassifier(ClassifierMixin, OnlineModel):
    r"""Linear classification with a sparse Lp penalty by stochastic gradient descent.

    Learns sample by sample at a cost that depends on the stored values of the sample, not on
    the number of features. Step t, with the rate r, takes a sample (x, y) and does

    .. math::

        w \leftarrow w - r \, \mathrm{loss}'(y, x w + b) \, x, \qquad
        w_j \leftarrow \mathrm{prox}_{r (\alpha u_j |\cdot|^p + \beta (\cdot)^2 / 2)}(w_j)
        \text{ for all } j

    with :math:`\alpha` = ``alpha``, u = ``penalty_factor`` and :math:`\beta` = ``l2_reg``. The
    second half is lazy: a feature gets the updates that it missed when a sample next has it,
    and before anybody reads ``coef_``. Steps decrease the objective of `SparseLpClassifier` in
    the mean.
    More than two classes are as many problems, each of one class against the rest.

    Parameters
    ----------
    loss : {"log_loss", "hinge", "squared_hinge", "modified_huber"}, default="log_loss"
        Loss of m = t (x w + b) for a class t = -1 or 1: ``log(1 + exp(-m))``; ``max(0, 1 - m)``,
        its square; or that square for m >= -1 and ``-4 m`` below.
    p : float, default=1.0
        Order of the penalty, p >= 0. For 1 and 2 the updates that a feature missed are applied
        in closed form, for other p one by one while its coefficient is not zero.
    alpha : float, default=1e-4
        Strength of the penalty, alpha >= 0. "optimal" uses it for the learning rate too.
    sparsity_threshold : float, default=0.0
        The mask, >= 0: a coefficient that is at most so large in modulus becomes exactly 0.
    mask_interval : int, default=None
        How many samples pass between two masks of the learning coefficients. None is an epoch
        of `fit`; in a stream, which has no epochs, only ``coef_`` itself is masked then.
    dropout : float, default=0.0
        Probability in [0, 1) with which a stored value of a sample is left out in a step; the
        others are divided by ``1 - dropout``. Prediction leaves nothing out.
    l2_reg : float, default=0.0
        Strength of an additional ridge penalty, >= 0.
    penalty_factor : array-like of shape (n_features,), default=None
        Factor of the penalty of each feature, >= 0: 0 leaves a feature unpenalised, infinity
        drops it. None stands for ones.
    fit_intercept : bool, default=True
        Whether to fit b. Its steps are those of a feature that is always 1.
    learning_rate : str, default="adagrad"
        "constant", "optimal", "invscaling", "adaptive" or "adagrad".
        The rate of step t = 1, 2, ...: "constant" is ``eta0``; "optimal" is
        ``1 / (alpha * (t0 + t - 1))`` with t0 as in scikit-learn; "invscaling" is
        ``eta0 / t**power_t``; "adaptive" is ``eta0``, in `fit` divided by 5 whenever nothing
        improves; "adagrad" is ``eta0 / sqrt(G)`` for each coefficient, G the sum of its squared
        gradients so far: rare features learn as fast as frequent ones.
    eta0 : float, default=0.3
        The rate at first, > 0. "optimal" ignores it.
    power_t : float, default=0.5
        The exponent of "invscaling", >= 0.
    max_iter : int, default=1000
        Largest number of epochs of `fit`.
    tol : float or None, default=1e-3
        `fit` ends when the mean loss of an epoch, or with ``early_stopping`` the score, has not
        improved by ``tol`` in ``n_iter_no_change`` epochs. None goes on to ``max_iter``.
    shuffle : bool, default=True
        Whether samples are put in a random order in each epoch of `fit` and each call of
        `partial_fit`; it does not depend on the order in X. Without it the chunks of a stream
        give the bits of the whole stream.
    early_stopping : bool, default=False
        Whether `fit` holds samples back and ends by the score on them.
    validation_fraction : float, default=0.1
        Fraction of the samples that ``early_stopping`` holds back, in (0, 1).
    n_iter_no_change : int, default=5
        Epochs without improvement that end `fit`.
    class_weight : dict or "balanced", default=None
        Weights >= 0 by label, 1 for a label that is not in the dict. "balanced" gives every
        class the same sum of weights; a stream cannot know it.
    warm_start : bool, default=False
        Whether `fit` and `fit_stream` start from the former coefficients.
    average : bool or int, default=False
        Whether ``coef_`` is the mean of the coefficients after each step; an integer starts
        it at that step.
    random_state : int, RandomState instance or None, default=None
        Decides the order of samples, held-out samples and dropout.
    verbose : int, default=0
        Whether to print a line for each epoch or chunk. With scikit-learn 1.9 and later its
        callbacks follow them too, such as ``set_callbacks(ProgressBar())``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients after all steps, read-only; float32 where the first X was, else float64.
        One row for two classes, those of ``classes_[1]``.
    intercept_ : ndarray of shape (n_rows,)
        Intercepts, read-only.
    sparse_coef_ : csr_array
        The same coefficients, sparse.
    mask_ : ndarray of the shape of ``coef_``, dtype bool
        Which coefficients are not zero.
    n_iter_ : int
        Epochs of `fit`, the most of any class; 1 after `partial_fit`.
    n_touched_ : int
        Stored values that all steps so far have read: what training has cost.
    t_ : int
        Number of the next step.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X has names that are all strings.

    See Also
    --------
    SparseLpClassifier : The same penalty, solved to a certificate.
    sklearn.linear_model.SGDClassifier : L1 and L2 penalties only.

    Notes
    -----
    Features need a scale of about 1, such as rows of unit length.

    A sample of weight s takes ``ceil(s)`` steps in an epoch, each at ``s / ceil(s)`` times the
    rate. In `fit` weights whose largest is below 1 are divided by it, and where their mean (zeros
    left out) is above 10 they are scaled to 10: the objective knows ratios only. In a stream a
    sample takes at most 100 steps; heavier steps are implicit, and do not overshoot the sample.
    With class weights the number of steps is ``ceil(s) * ceil(c)`` for the weight c of the class.

    References
    ----------
    .. [1] J. Langford, L. Li, T. Zhang, "Sparse online learning via truncated gradient",
       Journal of Machine Learning Research 10 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_sparselp import SparseLpSGDClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 20))
    >>> y = np.where(X[:, 0] > X[:, 1], "high", "low")
    >>> model = SparseLpSGDClassifier(alpha=0.02, random_state=0)
    >>> model = model.partial_fit(X[:500], y[:500], classes=["high", "low"])
    >>> model = model.partial_fit(X[500:], y[500:])
    >>> model.predict(X[:3]).tolist() == y[:3].tolist()
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **OnlineModel._parameter_constraints,
        "loss": [StrOptions({"log_loss", "hinge", "squared_hinge", "modified_huber"})],
        "class_weight": [Mapping, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        loss: str = "log_loss",
        *,
        p: float = 1.0,
        alpha: float = 1e-4,
        sparsity_threshold: float = 0.0,
        mask_interval: int | None = None,
        dropout: float = 0.0,
        l2_reg: float = 0.0,
        penalty_factor: ArrayLike | None = None,
        fit_intercept: bool = True,
        learning_rate: str = "adagrad",
        eta0: float = 0.3,
        power_t: float = 0.5,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Mapping[Any, float] | str | None = None,
        warm_start: bool = False,
        average: bool | int = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.loss = loss
        self.p = p
        self.alpha = alpha
        self.sparsity_threshold = sparsity_threshold
        self.mask_interval = mask_interval
        self.dropout = dropout
        self.l2_reg = l2_reg
        self.penalty_factor = penalty_factor
        self.fit_intercept = fit_intercept
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.average = average
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the model in epochs over the same samples.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            CSR without repeated entries is walked as it is, and so is a dense array in C order
            without zeros; anything else is copied. Type float32 stays, other types become
            float64.
        y : array-like of shape (n_samples,)
            Labels, of two classes or more.
        coef_init : array-like of shape (n_rows, n_features), default=None
            Coefficients to start from, such as those of a `SparseLpClassifier`.
        intercept_init : array-like of shape (n_rows,), default=None
            Intercepts to start from.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights >= 0. Whole weights are repeated samples, bit for bit with ``shuffle``, and 0
            is no sample; see the notes.

        Returns
        -------
        SparseLpSGDClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            For parameters or data that are not valid, before any work; and where the model
            diverges. The estimator is then in the state from before the call.

        Warns
        -----
        ConvergenceWarning
            When ``max_iter`` is reached before the loss has stalled.
        """
        with unchanged_on_error(self):
            self._check_together(stream=False)
            X, classes, codes = check_fit_labels(self, X, y, rows=True)
            weights = check_sample_weight(sample_weight, X)
            factors = check_class_factors(self.class_weight, classes, codes, weights)
            visits = visits_of_fit(weights, None if factors is None else factors[codes])
            if self.warm_start and "classes_" in vars(self):
                self._check_classes(classes)
            targets = one_vs_rest(codes, classes.size)
            self._fit_rows(X, y, targets, visits, codes, (coef_init, intercept_init))
            self.classes_ = classes
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn once from each sample and go on from there in the next call.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            CSR without repeated entries is walked as it is, and so is a dense array in C order
            without zeros; anything else is copied. Type float32 stays, other types become
            float64.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; the first call needs it.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights >= 0 and at most 1e12. Whole weights are repeated samples, bit for bit up to
            100, and 0 is no sample; see the notes.

        Returns
        -------
        SparseLpSGDClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            For parameters or data that are not valid, before any step; and where the model
            diverges, after the step before.
        RuntimeError
            While another thread trains the same estimator.
        """
        self._check_together(stream=True)
        self._learn_one(X, y, sample_weight, classes, new=False)
        return self

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit_stream(
        self,
        chunks: Iterable[Any] | str | Path,
        classes: ArrayLike | None = None,
        *,
        n_features: int | None = None,
        target: str | None = None,
        weight: str | None = None,
        zero_based: bool = False,
        block_size: int = 16_000_000,
    ) -> Self:
        """Fit in one pass over data that need not fit into memory.

        Parameters
        ----------
        chunks : iterable or path
            Gives (X, y) or (X, y, sample_weight) as `partial_fit` takes them; or a file: parquet
            where its name ends in ".parquet" or ".pq" (this needs pyarrow), else svmlight text.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed unless ``warm_start`` knows them.
        n_features : int, default=None
            Of an svmlight file; needed unless ``warm_start`` knows it.
        target : str, default=None
            Column of a parquet file with y; None is the last.
        weight : str, default=None
            Column of a parquet file with sample weights; None is no column.
        zero_based : bool, default=False
            Whether the first feature of an svmlight file is 0, not 1.
        block_size : int, default=16_000_000
            Bytes that are read at a time.

        Returns
        -------
        SparseLpSGDClassifier
            The fitted estimator. It starts anew unless ``warm_start``.

        Raises
        ------
        ValueError
            For a chunk that is not valid. What came before it has been learned.
        TypeError
            For chunks that are neither an iterable nor a path.
        """
        if block_size < 1:
            raise ValueError(f"block_size must be at least 1 byte; got {block_size!r}.")
        reader = {
            "n_features": n_features,
            "target": target,
            "weight": weight,
            "zero_based": zero_based,
            "block_size": block_size,
        }
        return self._learn_stream(chunks, reader, classes)

    def _check_together(self, *, stream: bool) -> None:
        super()._check_together(stream=stream)
        if stream and isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' needs the labels of all samples, which a stream does not "
                "have. Pass a dict of weights."
            )

    def _check_classes(self, classes: np.ndarray) -> None:
        if self.classes_.tolist() != classes.tolist():
            raise ValueError(
                f"the model has the classes {self.classes_.tolist()}, but now they are "
                f"{classes.tolist()}: a model keeps its classes."
            )

    def _learn_one(self, X: Any, y: Any, sample_weight: Any, classes: Any, new: bool) -> None:
        new = new or not self.__sklearn_is_fitted__()
        if new and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        known = self.classes_ if classes is None else np.unique(np.asarray(classes))
        if known.size < 2:
            raise ValueError(f"classes must hold at least 2 labels; got {known.tolist()}.")
        if not new:
            self._check_classes(known)
        with unchanged_on_error(self) if new else nullcontext():
            X, y = check_rows(self, X, y, reset=new, numeric=False)
            check_penalty_factor(self.penalty_factor, X.shape[1])
            codes = label_codes(y, known)
            weights = check_sample_weight(sample_weight, X, some_positive=False)
            factors = None
            if isinstance(self.class_weight, Mapping):
                factors = label_weights(self.class_weight, known)[codes]
            visits = visits_of_stream(weights, factors)
            self.classes_ = known
        self._learn_chunk(X, one_vs_rest(codes, known.size), visits, codes, new)

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the linear predictor of each class.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Sparse X stays sparse.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            ``X @ coef_.T + intercept_``, one-dimensional for two classes.
        """
        return self._linear_predictor(X)

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
        """Return the probability of each class; with "log_loss" and "modified_huber".

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Sparse X stays sparse.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; every row sums to 1. For more than two classes the
            probabilities of each class against the rest, divided by their sum.
        """
        decision = self.decision_function(X)
        if self.loss == "log_loss" and decision.ndim == 1:
            return class_probabilities(decision)
        if self.loss == "log_loss":
            return special.softmax(special.log_expit(decision), axis=1)
        positive = (np.clip(decision, -1.0, 1.0) + 1.0) / 2.0
        if positive.ndim == 1:
            return np.column_stack([1.0 - positive, positive])
        positive[positive.sum(axis=1) == 0.0] = 1.0
        return positive / positive.sum(axis=1, keepdims=True)

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse of shape (n_samples, n_features)
            Sparse X stays sparse.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; finite with "log_loss", else -inf for 0.
        """
        decision = self.decision_function(X)
        if self.loss == "log_loss" and decision.ndim == 1:
            return log_class_probabilities(decision)
        if self.loss == "log_loss":
            return special.log_softmax(special.log_expit(decision), axis=1)
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _held_out_score(
        self, decision: np.ndarray, y: np.ndarray, weights: np.ndarray | None
    ) -> float:
        return float(accuracy_score(y > 0.0, decision > 0.0, sample_weight=weights))
