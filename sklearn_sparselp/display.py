"""RegularizationPathDisplay: pictures of paths and of their cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.exceptions import NotFittedError

from ._base import SparseLpModel
from ._validation import check_matplotlib_support
from .path import SparseLpPath, sparse_lp_path

# Parameters of the estimators that `sparse_lp_path` has too.
SHARED = (
    "p", "loss", "epsilon", "sparsity_threshold", "l2_reg", "penalty_factor", "positive",
    "class_weight", "fit_intercept", "solver", "max_iter", "tol",
)  # fmt: skip

# What cross-validation maximises without ``scoring``.
DEFAULT_SCORES = {
    "squared_error": "minus squared error",
    "huber": "minus Huber loss",
    "poisson": "minus Poisson deviance",
    "gamma": "minus gamma deviance",
    "log_loss": "log-likelihood",
    "squared_hinge": "accuracy",
}


class RegularizationPathDisplay:
    """Pictures of a regularisation path and of its cross-validation.

    It is recommended to use `from_estimator` or `from_path` to make one. All parameters are
    stored as attributes.

    Parameters
    ----------
    path : SparseLpPath
        Coefficients for descending strengths of the penalty.
    alpha : float, default=None
        The strength chosen, which is marked.
    feature_names : sequence of str of length n_features, default=None
        None stands for x0, x1 and so on.
    scores : array-like of shape (n_alphas,) or (n_alphas, n_folds), default=None
        Scores for the alphas of ``path``, of each fold if there are several columns; for `plot_cv`.
    counts : array-like of shape (n_alphas,), default=None
        Support sizes for `plot_cv`, by which "one SE" is chosen. None stands for ``path.df``.
    score_name : str, default="score"
        What ``scores`` are.
    greater_is_better : bool, default=True
        Whether the best of ``scores`` is the largest.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on last.
    figure_ : matplotlib Figure
        Where ``ax_`` is.
    lines_ : list of Line2D
        The coefficients of the leading features after `plot`, the mean score after `plot_cv`.
    labels_ : list of Annotation
        The names at the ends of ``lines_``, from the lowest end to the highest.
    others_ : LineCollection or None
        The coefficients of all other features.
    support_ax_ : SecondaryAxis
        The axis above with the support size.
    alpha_lines_ : dict of str to Line2D
        Vertical lines at the alphas that are marked: "chosen", "best", "one SE".
    band_ : PolyCollection or None
        One standard error to both sides of the mean score.

    See Also
    --------
    sparse_lp_path : Computes a path.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_sparselp import RegularizationPathDisplay, SparseLpRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> display = RegularizationPathDisplay.from_estimator(SparseLpRegressor(p=0.5), X, y)
    >>> [label.get_text() for label in display.labels_]
    ['s1', 'sex', 's6', 's4', 'bp', 's2', 'bmi', 's5']
    """

    def __init__(
        self,
        path: SparseLpPath,
        *,
        alpha: float | None = None,
        feature_names: Sequence[str] | None = None,
        scores: ArrayLike | None = None,
        counts: ArrayLike | None = None,
        score_name: str = "score",
        greater_is_better: bool = True,
    ) -> None:
        self.path = path
        self.alpha = alpha
        self.feature_names = feature_names
        self.scores = scores
        self.counts = counts
        self.score_name = score_name
        self.greater_is_better = greater_is_better

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        kind: str = "path",
        target: Any = None,
        alphas: int | ArrayLike = 100,
        eps: float = 1e-3,
        sample_weight: ArrayLike | None = None,
        feature_names: Sequence[str] | None = None,
        n_labels: int = 8,
        line_kw: Mapping[str, Any] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the path of an estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted `SparseLpRegressorCV` or `SparseLpClassifierCV`, whose path and scores are
            drawn; or a `SparseLpRegressor` or `SparseLpClassifier`, fitted or not, whose path
            on X and y is computed, its ``alpha`` being marked.
        X : array-like or sparse of shape (n_samples, n_features), default=None
            Not needed for a fitted estimator with a path.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets or labels.
        kind : {"path", "cv"}, default="path"
            Whether to `plot` or to `plot_cv`.
        target : int or label, default=None
            Of several outputs the one to draw; for the classes see `plot`.
        alphas : int or array-like of shape (n_alphas,), default=100
            Of a path that is computed, see `sparse_lp_path`.
        eps : float, default=1e-3
            Of a path that is computed, see `sparse_lp_path`.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Weights for a path that is computed.
        feature_names : sequence of str of length n_features, default=None
            None stands for the names that the estimator or X has, else x0, x1 and so on.
        n_labels : int, default=8
            See `plot`.
        line_kw : dict, default=None
            See `plot`.
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        RegularizationPathDisplay
            What was drawn.

        Raises
        ------
        ValueError
            For parameters that are not valid.
        NotFittedError
            Without X and y for an estimator that has no path.

        Examples
        --------
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn_sparselp import RegularizationPathDisplay, SparseLpClassifier
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
        >>> model = SparseLpClassifier(p=0.5, alpha=0.05)
        >>> display = RegularizationPathDisplay.from_estimator(model, X, y, alphas=30)
        >>> len(display.lines_)
        8
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if kind not in ("path", "cv"):
            raise ValueError(f"kind must be 'path' or 'cv', got {kind!r}.")
        if feature_names is None:
            feature_names = _names_of(estimator, X)
        if hasattr(estimator, "path_"):
            display = cls(
                estimator.path_,
                alpha=estimator.alpha_,
                feature_names=feature_names,
                **_scores_of(estimator),
            )
        else:
            if kind == "cv":
                raise NotFittedError(
                    "kind='cv' needs a fitted SparseLpRegressorCV or SparseLpClassifierCV, got "
                    f"{type(estimator).__name__} without path_."
                )
            path, target = _path_of(estimator, X, y, alphas, eps, sample_weight, target)
            display = cls(path, alpha=estimator.alpha, feature_names=feature_names)
        if kind == "cv":
            return display.plot_cv(ax)
        return display.plot(ax, target=target, n_labels=n_labels, line_kw=line_kw)

    @classmethod
    def from_path(
        cls,
        path: SparseLpPath,
        *,
        alpha: float | None = None,
        feature_names: Sequence[str] | None = None,
        target: Any = None,
        n_labels: int = 8,
        line_kw: Mapping[str, Any] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw a path.

        Parameters
        ----------
        path : SparseLpPath
            From `sparse_lp_path`.
        alpha : float, default=None
            A strength to mark.
        feature_names : sequence of str of length n_features, default=None
            None stands for x0, x1 and so on.
        target : int or label, default=None
            See `plot`.
        n_labels : int, default=8
            See `plot`.
        line_kw : dict, default=None
            See `plot`.
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        RegularizationPathDisplay
            What was drawn.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn_sparselp import RegularizationPathDisplay, sparse_lp_path
        >>> path = sparse_lp_path(*load_diabetes(return_X_y=True), p=0.5)
        >>> display = RegularizationPathDisplay.from_path(path, n_labels=3)
        >>> [label.get_text() for label in display.labels_]
        ['x4', 'x2', 'x8']
        """
        display = cls(path, alpha=alpha, feature_names=feature_names)
        return display.plot(ax, target=target, n_labels=n_labels, line_kw=line_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        target: Any = None,
        n_labels: int = 8,
        line_kw: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw the coefficients against alpha.

        The features whose coefficients are the largest in modulus at the smallest alpha are
        drawn in colour, with their names; the others are grey. The axis above shows how many
        coefficients are not zero. An alpha of 0 has no place on a logarithmic axis and is left
        out.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.
        target : int or label, default=None
            Of more than two classes the one whose coefficients to draw: its label. None
            stands for the Euclidean norm of each feature's coefficients over the classes.
        n_labels : int, default=8
            How many features to name at most, >= 0; as many as the axes have room for.
        line_kw : dict, default=None
            For the lines in colour, see ``matplotlib.axes.Axes.plot``.

        Returns
        -------
        RegularizationPathDisplay
            The object itself, with the attributes of what was drawn.

        Raises
        ------
        ValueError
            For parameters that are not valid.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if isinstance(n_labels, bool) or n_labels != int(n_labels) or n_labels < 0:
            raise ValueError(f"n_labels must be an integer >= 0, got {n_labels!r}.")
        from matplotlib.collections import LineCollection

        from . import _drawing

        alphas, shown = self._alphas()
        coefs, ylabel = _rows_of(self.path, target)
        coefs, active = _active_columns(coefs)
        coefs = coefs[shown]
        names = self._names(active)
        self._begin(ax, alphas)
        limits = np.column_stack([alphas[[0, -1]], [min(0.0, coefs.min(initial=0.0)), 0.0]])
        limits[1, 1] = max(0.0, coefs.max(initial=0.0))
        self.ax_.update_datalim(limits)
        self.ax_.autoscale_view(scalex=False)
        self.ax_.set_ylabel(ylabel)
        self.support_ax_ = _drawing.count_axis(self.ax_, alphas, self.path.df[shown])
        order = np.argsort(-np.abs(coefs[-1]), kind="stable")
        order = order[coefs[-1, order] != 0.0]
        leading = order[: min(n_labels, _drawing.room_for_labels(self.ax_))]
        leading = leading[np.argsort(coefs[-1, leading], kind="stable")]
        rest = np.setdiff1d(np.arange(active.size), leading)
        self.ax_.plot(alphas[[0, -1]], [0.0, 0.0], color="0.3", linewidth=0.6, zorder=1)
        self.others_ = None
        if rest.size:
            segments = [np.column_stack([alphas, coefs[:, j]]) for j in rest]
            self.others_ = LineCollection(
                segments,
                colors=_drawing.GREY,
                linewidths=0.6 if rest.size < 200 else 0.4,
                alpha=0.8,
                zorder=1.8,
            )
            self.ax_.add_collection(self.others_, autolim=True)
        # A single alpha has no line.
        style = {"linewidth": 1.4, "marker": "o" if alphas.size == 1 else None} | dict(
            line_kw or {}
        )
        self.lines_ = []
        for color, j in zip(cycle(_drawing.COLORS), leading, strict=False):
            own = style if {"color", "c"} & set(style) else style | {"color": color}
            self.lines_ += self.ax_.plot(alphas, coefs[:, j], label=names[j], **own)
        self.alpha_lines_ = {}
        self.band_ = None
        if self.alpha:
            self.alpha_lines_["chosen"] = _drawing.mark_alpha(
                self.ax_, self.alpha, "chosen", "0.2", "--"
            )
            _drawing.write_alpha(self.ax_, self.alpha)
        ends = [(float(alphas[-1]), float(coefs[-1, j])) for j in leading]
        colors = [line.get_color() for line in self.lines_]
        self.labels_ = _drawing.label_ends(self.ax_, ends, [names[j] for j in leading], colors)
        return self

    def plot_cv(self, ax: Any = None) -> Self:
        """Draw the mean score against alpha, with one standard error to both sides.

        Marked are the alpha of the best mean, that of the sparsest model whose mean is within
        one standard error of it, and the one chosen where it is neither.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        RegularizationPathDisplay
            The object itself, with the attributes of what was drawn.

        Raises
        ------
        ValueError
            Where there are no scores, or not as many as alphas.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot_cv")
        from . import _drawing

        alphas, shown = self._alphas()
        mean, error = self._mean_scores()
        marks = self._marks(mean, error, shown)
        mean, error = mean[shown], error[shown]
        self._begin(ax, alphas)
        # The best alpha may be the last.
        left, right = self.ax_.get_xlim()
        margin = (left / right) ** 0.02
        self.ax_.set_xlim(left * margin, right / margin)
        # Fits that have failed have no score: the line is broken there.
        marker = "o" if alphas.size == 1 else "."
        self.lines_ = self.ax_.plot(
            alphas, mean, color="C0", linewidth=1.4, marker=marker, markersize=3.0, zorder=3
        )
        self.band_ = None
        if np.isfinite(error).any():
            self.band_ = self.ax_.fill_between(
                alphas, mean - error, mean + error, color="C0", alpha=0.2, linewidth=0.0,
                label="one standard error",
            )  # fmt: skip
        self.others_, self.labels_ = None, []
        styles = {"best": ("C1", "-"), "one SE": ("C2", "--"), "chosen": ("0.2", ":")}
        self.alpha_lines_ = {
            name: _drawing.mark_alpha(self.ax_, at, f"{name}: {at:.3g}", *styles[name])
            for name, at in marks.items()
        }
        self.ax_.set_ylabel(self.score_name)
        self.support_ax_ = _drawing.count_axis(self.ax_, alphas, self.path.df[shown])
        if self.alpha_lines_:
            self.ax_.legend(
                handles=list(self.alpha_lines_.values()), fontsize=_drawing.FONT_SIZE, frameon=True,
                framealpha=0.85, edgecolor="none", borderpad=0.3, handlelength=1.6, loc="best",
            )  # fmt: skip
        return self

    def _begin(self, ax: Any, alphas: np.ndarray) -> None:
        """Take the axes, or make them in a figure that keeps its texts apart."""
        from ._drawing import log_alpha_axis

        if ax is None:
            # Only here: it may choose a backend that opens windows.
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        log_alpha_axis(ax, alphas[0], alphas[-1])

    def _alphas(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the alphas above 0, and which of the path they are."""
        shown = self.path.alphas > 0.0
        if not shown.any():
            raise ValueError("the path has no alpha > 0, which a logarithmic axis needs.")
        return self.path.alphas[shown], shown

    def _names(self, columns: np.ndarray) -> list[str]:
        n_features = _first(self.path.coefs).shape[1]
        if self.feature_names is None:
            return [f"x{j}" for j in columns]
        if len(self.feature_names) != n_features:
            raise ValueError(
                f"feature_names has {len(self.feature_names)} names, but the path has "
                f"{n_features} features."
            )
        return [str(self.feature_names[j]) for j in columns]

    def _mean_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of each alpha and its standard error, NaN for a single fold."""
        if self.scores is None:
            raise ValueError(
                "there are no scores to draw: pass scores, or use from_estimator with a fitted "
                "SparseLpRegressorCV or SparseLpClassifierCV."
            )
        scores = np.asarray(self.scores, dtype=np.float64)
        scores = scores[:, np.newaxis] if scores.ndim == 1 else scores
        if scores.ndim != 2 or scores.shape[0] != self.path.alphas.size:
            raise ValueError(
                f"scores has shape {np.shape(self.scores)}, but the path has "
                f"{self.path.alphas.size} alphas: a row for each is needed."
            )
        scores = np.where(np.isfinite(scores), scores, np.nan)
        if scores.shape[1] == 1:
            return scores[:, 0], np.full(scores.shape[0], np.nan)
        return scores.mean(axis=1), scores.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])

    def _marks(self, mean: np.ndarray, error: np.ndarray, shown: np.ndarray) -> dict[str, float]:
        usable = np.flatnonzero(np.isfinite(mean) & shown)
        if usable.size == 0:
            return {}
        gain = mean[usable] if self.greater_is_better else -mean[usable]
        counts = np.asarray(self.path.df if self.counts is None else self.counts)[usable]
        best = int(gain.argmax())
        marks = {"best": float(self.path.alphas[usable[best]])}
        if np.isfinite(error[usable[best]]):
            within = np.flatnonzero(gain >= gain[best] - error[usable[best]])
            # The sparsest, of these the most strongly penalised.
            sparsest = within[int(counts[within].argmin())]
            marks["one SE"] = float(self.path.alphas[usable[sparsest]])
        if self.alpha and self.alpha not in marks.values():
            marks["chosen"] = float(self.alpha)
        return marks


def _first(coefs: Any) -> Any:
    return coefs[0] if isinstance(coefs, list) else coefs


def _rows_of(path: SparseLpPath, target: Any) -> tuple[Any, str]:
    """Return the coefficients to draw, a row for each alpha, and what they are."""
    classes = None if path.classes is None else path.classes.tolist()
    if not isinstance(path.coefs, list):
        if target is not None and (classes is None or target != classes[1]):
            allowed = "None" if classes is None else f"None or {classes[1]!r}"
            raise ValueError(
                f"target={target!r}, but the path has one set of coefficients: target must be "
                f"{allowed}."
            )
        return path.coefs, "coefficient"
    if target is None:
        squares = sum(abs(coefs.astype(np.float64)) ** 2 for coefs in path.coefs)
        return squares**0.5, "norm of coefficients"
    if classes is None or target not in classes:
        raise ValueError(f"target={target!r} is none of the classes {classes}.")
    return path.coefs[classes.index(target)], f"coefficient for {target}"


def _active_columns(coefs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns with some value that is not zero, dense, and which they are."""
    if sparse.issparse(coefs):
        active = np.unique(coefs.indices[coefs.data != 0.0])
        return coefs[:, active].toarray(), active
    active = np.flatnonzero((coefs != 0.0).any(axis=0))
    return coefs[:, active], active


def _names_of(estimator: Any, X: Any) -> Sequence[str] | None:
    if hasattr(estimator, "feature_names_in_"):
        return estimator.feature_names_in_
    columns = getattr(X, "columns", None)
    return None if columns is None else [str(name) for name in columns]


def score_name(estimator: Any) -> str:
    """Return what the scores of an estimator's cross-validation are."""
    if estimator.scoring is None:
        return DEFAULT_SCORES[estimator.loss]
    return estimator.scoring.replace("_", " ") if isinstance(estimator.scoring, str) else "score"


def _scores_of(estimator: Any) -> dict[str, Any]:
    """Return the scores of a fitted estimator for the order and mask that it has chosen."""
    chosen = estimator.best_index_[:2]
    if hasattr(estimator, "cv_scores_"):
        return {
            "scores": estimator.cv_scores_[chosen],
            "counts": estimator.cv_df_[chosen],
            "score_name": f"mean {score_name(estimator)}",
        }
    return {
        "scores": estimator.criterion_[chosen],
        "score_name": estimator.criterion.upper(),
        "greater_is_better": False,
    }


def _path_of(
    estimator: Any, X: Any, y: Any, alphas: Any, eps: float, sample_weight: Any, target: Any
) -> tuple[SparseLpPath, Any]:
    """Return the path of an estimator of one alpha, and the class to draw."""
    if not isinstance(estimator, SparseLpModel):
        raise TypeError(
            "estimator must be a SparseLpRegressor, a SparseLpClassifier or one of them with CV, "
            f"got {type(estimator).__name__}. Of a pipeline pass its last step, and X transformed."
        )
    if X is None or y is None or not hasattr(estimator, "alpha"):
        raise NotFittedError(
            f"this {type(estimator).__name__} has no path yet: "
            + ("pass X and y." if hasattr(estimator, "alpha") else "fit it first.")
        )
    parameters = estimator.get_params(deep=False)
    options = {name: parameters[name] for name in SHARED if name in parameters}
    columns = np.shape(y)
    if len(columns) == 2 and columns[1] > 1:
        if target is None or not 0 <= target < columns[1]:
            raise ValueError(
                f"target={target!r}, but y has {columns[1]} columns: target must be the position "
                "of one."
            )
        y, target = np.asarray(y)[:, target], None
    path = sparse_lp_path(X, y, alphas=alphas, eps=eps, sample_weight=sample_weight, **options)
    return path, target
