"""One problem, its state and its result: what every solver takes and returns."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from .._core._l1_certificate import largest_gradient
from .._core._loss import Loss
from .._core._penalty import Penalty, entry_gradients, total, total_on
from .._threads import threads_for_features
from .design import ColumnBlock, Design
from .gram import GramCache
from .support_newton import SupportModel

NO_ENTRIES = np.empty(0)
# Up to so many stored values a solution is made to depend on tol hardly at all, whatever that takes.
SMALL_DESIGN = 10_000


@dataclass(frozen=True)
class SolveResult:
    """What a solver returns for one problem.

    Attributes
    ----------
    coef : ndarray of shape (n_features,), dtype float64
    intercept : float
    objective : float
        F_tau at the result.
    dual_gap : float
        NaN where the problem is not convex.
    fixed_point_residual : float
    n_iter : int
        Epochs of the solver.
    converged : bool
    history : list of float
        F_tau at the start of each outer iteration and at the end.
    solver : str
    support : ndarray of shape (n_kept,), dtype int64, or None
        Ascending, the features whose coefficient is not 0, where these are known: X may have a million others.
    """

    coef: np.ndarray
    intercept: float
    objective: float
    dual_gap: float
    fixed_point_residual: float
    n_iter: int
    converged: bool
    history: list[float] = field(repr=False)
    solver: str = ""
    support: np.ndarray | None = field(default=None, repr=False)


@dataclass
class Carry:
    """What a fit leaves to the next one of the same data, loss and weights, at another strength of the penalty.

    Attributes
    ----------
    gradient : ndarray of shape (n_features,), or None
        ``X.T @ raw_gradient`` at the coefficients of the fit, from which the next one starts.
    gram : GramCache or None
    polish : bool
        Whether the next fit ends with a Newton step, so that it hardly depends on tol.
    """

    gradient: np.ndarray | None = None
    gram: GramCache | None = None
    polish: bool = True


class Problem:
    """``sum_i s_i loss(y_i, x_i w + b) + sum_j P_j(w_j) + l2_reg/2 ||w||^2``, weights scaled to sum to one.

    Parameters
    ----------
    design : Design
    y : ndarray of shape (n_samples,), dtype float64
    loss : Loss
    penalty : Penalty
        Carries its own parameters, the mask and l2_reg.
    sample_weight : ndarray of shape (n_samples,), dtype float64, or None
    fit_intercept : bool

    Attributes
    ----------
    weights : ndarray of shape (n_samples,)
        Normalised sample weights.
    lipschitz : ndarray of shape (n_features,)
        The curvature bounds L_j; 0 for a column that is constant, empty or dropped.
    sums : ndarray of shape (n_features,)
        Weighted means of the columns; empty without intercept.
    null_raw_gradient : ndarray of shape (n_samples,)
        Derivative of the weighted loss in each prediction at w = 0, the intercept at its optimum.
    null_gradient : ndarray of shape (n_features,), or None
        ``X.T @ null_raw_gradient`` where it has cost nothing.
    curvature : float
        The c of the bounds L_j: the loss bends no more, or so much at the null model where it has no bound.
    penalty : Penalty
        Bound to ``lipschitz``.
    entry : ndarray of shape (n_features,)
        Largest gradient at which a zero coefficient stays zero; empty for p = 1, where `violations` computes it.
    usable : ndarray of shape (n_features,), dtype bool
        Which features may have a coefficient: not constant, not dropped.
    n_usable : int
        How many these are.
    free : ndarray of shape (n_features,), dtype bool
        Which features no term penalises.
    offset : ndarray of shape (n_samples,), or float
        What the predictions hold besides X w and the intercept.

    Raises
    ------
    ValueError
        Where the squares of a column, or the loss at w = 0, overflow: no curvature bound, no gap could be given.
    """

    def __init__(
        self,
        design: Design,
        y: np.ndarray,
        loss: Loss,
        penalty: Penalty,
        sample_weight: np.ndarray | None = None,
        fit_intercept: bool = True,
    ):
        self.design = design
        self.y = y
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.weights = design.normalised_weights(sample_weight)
        n = design.n_samples
        null_prediction = np.zeros(n)
        self.null_intercept = self.best_intercept(null_prediction, 0.0)
        self.shift(null_prediction, self.null_intercept)
        self.null_objective, self.null_raw_gradient, null_curvature = self.evaluate(null_prediction)
        if not np.isfinite(self.null_objective):
            raise ValueError("The loss of y overflows. Scale its values, below about 1e150 in modulus.")
        self._null_gradient: np.ndarray | None = None
        # Whether others may hold it, too.
        self._lent = False
        unpenalised = penalty.unpenalised()
        # These fits begin with the gradient at zero.
        if loss.quadratic and (penalty.absolute or not penalty.convex) and not unpenalised.any():
            self.sums, squares, self._null_gradient = design.survey(self.weights, fit_intercept, self.null_raw_gradient)
        else:
            self.sums, squares = design.moments(self.weights, fit_intercept)
        if not squares.max(initial=0.0) < np.inf:
            j = int(np.argmax(~(squares < np.inf)))
            j = j if design.features is None else design.features[j]
            raise ValueError(
                f"The squares of feature {j} of X overflow. Scale its values, below about 1e150 in modulus."
            )
        # Rounding leaves a constant column a square of about (n eps mean)^2: it is 0.
        noise = (np.finfo(np.float64).eps * design.n_samples * self.sums) ** 2 if fit_intercept else 0.0
        usable = squares > noise
        usable &= ~penalty.dropped()
        bound = loss.curvature_bound
        if np.isinf(bound):
            bound = float(null_curvature.sum())
        self.curvature = bound
        self.lipschitz = squares if bound == 1.0 and penalty.l2_reg == 0.0 else bound * squares + penalty.l2_reg
        self.usable = usable
        self.n_usable = int(np.count_nonzero(usable))
        if self.n_usable < usable.size and self.lipschitz[~usable].any():
            self.lipschitz = np.where(usable, self.lipschitz, 0.0)
        # A ridge penalises every feature.
        self.free = usable & unpenalised if penalty.l2_reg == 0.0 else np.zeros_like(usable)
        self._take(penalty)
        self.offset: np.ndarray | float = 0.0
        self._gradient_scale: float | None = None
        self._farthest: float | None = None

    def _take(self, penalty: Penalty) -> None:
        self._unbound = penalty
        self.convex = penalty.convex
        self.penalty = penalty.bind(self.lipschitz)
        self.entry = NO_ENTRIES if self.penalty.absolute else entry_gradients(self.penalty, self.lipschitz)

    def at(self, alpha: float, p: float | None = None, sparsity_threshold: float | None = None) -> Self:
        """Return this problem with another strength of the penalty, and order or mask if given; the rest is shared."""
        self._lent = True
        other = copy.copy(self)
        other._take(self._unbound.at(alpha, p, sparsity_threshold))
        return other

    @property
    def null_gradient(self) -> np.ndarray | None:
        """The gradient at w = 0, None where it is not known."""
        self._lent = True
        return self._null_gradient

    def hand_over_null_gradient(self) -> np.ndarray | None:
        """Return the gradient at w = 0 to be written over, None where it is not known: without a copy if that can be."""
        gradient, lent = self._null_gradient, self._lent
        if gradient is None or lent:
            return None if gradient is None else gradient.copy()
        self._null_gradient = None
        return gradient

    def stronger(self, factor: float) -> Self | None:
        """Return this problem with a penalty so many times as strong, None where that has no strength."""
        try:
            return self.at(factor * self._unbound.alpha)
        except (AttributeError, NotImplementedError):
            return None

    def reweighted(self, sample_weight: np.ndarray) -> Problem:
        """Return the problem of the same data with other weights."""
        return Problem(self.design, self.y, self.loss, self._unbound, sample_weight, self.fit_intercept)

    def free_only(self) -> Problem:
        """Return the problem of the unpenalised features alone."""
        penalty = self._unbound.free_only()
        return Problem(self.design, self.y, self.loss, penalty, self.weights, self.fit_intercept)

    def relaxed(self, support: np.ndarray) -> Problem:
        """Return the problem of some features with no penalty but the ridge; support as long as the coefficients."""
        penalty = self._unbound.relaxed(support)
        return Problem(self.design, self.y, self.loss, penalty, self.weights, self.fit_intercept)

    @property
    def no_intercept(self) -> float:
        """The intercept where there is none."""
        return 0.0

    def shift(self, prediction: np.ndarray, intercept: float) -> None:
        """Add an intercept to predictions, in place."""
        prediction += intercept

    def support_model(
        self, block: ColumnBlock, support: np.ndarray, w: np.ndarray, prediction: np.ndarray,
        raw_gradient: np.ndarray, curvature: np.ndarray,
    ) -> SupportModel | None:  # fmt: skip
        """Return the quadratic model on the support at these predictions, None where it is flat along a column."""
        if self.loss.quadratic:
            sums = self.sums[support] if self.fit_intercept else None
            column_curvature, total = self.lipschitz[support] - self.penalty.l2_reg, 1.0
        else:
            sums, column_curvature = block.moments(curvature, self.fit_intercept)
            total = float(curvature.sum())
            if total <= 0.0 or (column_curvature <= 0.0).any():
                return None
        sums = sums if self.fit_intercept else None
        return SupportModel(block, support, w, raw_gradient, curvature, column_curvature, sums, total)

    def parts(self, features: np.ndarray) -> Iterator[tuple[np.ndarray, ColumnBlock, slice]]:
        """Yield features of one curvature bound for all, their columns, and which predictions these hold."""
        yield features, self.design.few_columns(features), slice(None)

    def derivatives(self, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return gradient and curvature of the weighted loss in each prediction."""
        return self.evaluate(prediction)[1:]

    def evaluate(self, prediction: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the weighted loss, and its gradient and curvature in each prediction."""
        gradient = np.empty_like(prediction)
        # Squared error writes there what stands there.
        curvature = self.weights if self.loss.quadratic else np.empty_like(prediction)
        return self.loss.derivatives(self.y, prediction, self.weights, gradient, curvature), gradient, curvature

    def best_intercept(self, offset: np.ndarray, start: float) -> float:
        """Return the b that minimises the loss at ``offset + b`` (0 without intercept)."""
        if not self.fit_intercept:
            return 0.0
        if self.loss.quadratic:
            return float(self.weights @ (self.y - offset))
        return self.loss.best_shift(self.y, offset, self.weights, start)

    def predict(self, w: np.ndarray, start: float) -> tuple[np.ndarray, float]:
        """Return ``X w + b`` and the b that minimises the loss there, searched from ``start``."""
        prediction = self.design.matvec(w[np.newaxis])[0] if w.any() else np.zeros(self.design.n_samples)
        prediction += self.offset
        return self.profile(prediction, start)

    def profile(self, prediction: np.ndarray, start: float) -> tuple[np.ndarray, float]:
        """Add to predictions, in place, the b that minimises the loss there; return both."""
        intercept = self.best_intercept(prediction, start)
        self.shift(prediction, intercept)
        if self.fit_intercept and self.loss.quadratic:
            # Once more: columns far from the origin leave a rounding error that their gradients would multiply.
            rest = self.best_intercept(prediction, 0.0)
            prediction += rest
            intercept += rest
        return prediction, intercept

    def objective(self, w: np.ndarray, prediction: np.ndarray, features: np.ndarray | None = None) -> float:
        """Return F_tau at coefficients w, of some features or of all, and their predictions."""
        size = total(self.penalty, w) if features is None else total_on(self.penalty, features, w)
        return self.loss.value(self.y, prediction, self.weights) + size

    @property
    def uniform_curvature(self) -> float | None:
        """The second derivative in each prediction where it is one number, else None."""
        first = self.weights[0]
        return float(first) if self.loss.quadratic and (self.weights == first).all() else None

    @property
    def farthest_mean(self) -> float:
        """The largest mean of a usable feature in its standard deviations; 0 without an intercept."""
        if not self.fit_intercept:
            return 0.0
        if self._farthest is None:
            with np.errstate(over="ignore"):
                squares = self.lipschitz[self.usable] - self.penalty.l2_reg
                ratios = self.sums[self.usable] ** 2 / np.maximum(squares, np.finfo(np.float64).tiny)
            self._farthest = float(np.sqrt(self.curvature * ratios.max(initial=0.0)))
        return self._farthest

    @property
    def gradient_scale(self) -> float:
        """``max_j |g_j(0)|`` over the features that may enter; set by `set_gradient_scale`."""
        return self._gradient_scale

    def set_gradient_scale(self, null_gradient: np.ndarray) -> None:
        """Take the scale of the certificate from the gradient at w = 0."""
        n_threads = threads_for_features(null_gradient.size)
        self._gradient_scale = largest_gradient(null_gradient, self.lipschitz, n_threads)
