"""What a solution is worth, recomputed with NumPy only.

Nothing here calls the library under test or a peer: every solver is judged by these functions.
The problem is

    F(w, b) = loss(y, X w + b) + alpha * sum_j |w_j|^p + l2_reg/2 * ||w||^2

with a loss of losses.py and b = 0 unless ``fit_intercept``.  Two certificates are computed, both
relative:

* the duality gap divided by F(0), for p >= 1;
* the fixed-point residual ``max_j L_j |w_j - prox_j(w_j - g_j / L_j)| / max_j |g_j(0)|``, for
  every p, with L_j the curvature of the smooth part in coordinate j, intercept profiled out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import scipy.sparse as sp

from comparison.losses import LOSSES

BISECTIONS = 200  # a bracket of float64 is exhausted long before


@dataclass(frozen=True)
class Task:
    """One problem on one data set, as handed to a solver; a path if ``n_alphas > 1``."""

    p: float
    alpha: float
    l2_reg: float = 0.0
    fit_intercept: bool = False
    loss: str = "squared_error"
    n_alphas: int = 1
    first_alpha: float = np.inf
    support: int | None = None  # for solvers that are told a number of features, not an alpha

    @property
    def alphas(self) -> np.ndarray:
        """The strengths of a path, geometrically from the first one down to ``alpha``."""
        return np.geomspace(self.first_alpha, self.alpha, self.n_alphas)


@dataclass(frozen=True)
class Certificate:
    """The recomputed quality of a solution; ``gap`` is NaN where the problem is not convex."""

    objective: float
    gap: float
    residual: float
    support: int

    def as_dict(self) -> dict:
        return asdict(self)


def _bisect(increasing, low, high):
    """Roots of increasing(t) = 0 in [low, high], one bracket per entry."""
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if np.all((middle <= low) | (middle >= high)):
            break
        negative = increasing(middle) < 0
        low = np.where(negative, middle, low)
        high = np.where(negative, high, middle)
    return 0.5 * (low + high)


def prox(z, scale, p):
    """Entrywise argmin_t (t - z)^2 / 2 + scale * |t|^p by bisection on the optimality equation.

    For p < 1 the stationary point is kept where it lies above the point of equal value with 0
    (problem page, section 3); ties go to 0.
    """
    z, scale = np.broadcast_arrays(np.asarray(z, float), np.asarray(scale, float))
    size = np.abs(z)
    if p == 1:
        return np.sign(z) * np.maximum(size - scale, 0)
    if p == 0:
        return np.where(size > np.sqrt(2 * scale), z, 0.0)
    result = np.zeros(z.shape)
    if p < 1:
        lower = (2 * scale * (1 - p)) ** (1 / (2 - p))
        alive = size > lower * (2 - p) / (2 * (1 - p))
    else:
        lower = np.zeros(z.shape)
        alive = size > 0
    target, weight = size[alive], scale[alive]

    def equation(t):
        return t + weight * p * t ** (p - 1) - target

    result[alive] = _bisect(equation, lower[alive], target)
    return np.sign(z) * result


def conjugate(u, task):
    """Entrywise sup_t u t - alpha |t|^p - l2_reg/2 t^2 for p >= 1 (infinite outside the box)."""
    size = np.abs(np.asarray(u, float))
    if task.p == 1:
        excess = np.maximum(size - task.alpha, 0)
        if task.l2_reg > 0:
            return excess**2 / (2 * task.l2_reg)
        # a rounding error outside the box is inside it
        return np.where(excess > 1e-12 * task.alpha, np.inf, 0.0)
    high = (size / (task.alpha * task.p)) ** (1 / (task.p - 1))

    def slope(t):
        return task.alpha * task.p * t ** (task.p - 1) + task.l2_reg * t - size

    t = _bisect(slope, np.zeros(size.shape), high)
    return size * t - task.alpha * t**task.p - task.l2_reg / 2 * t**2


def column_moments(X):
    """Mean and mean square of every column."""
    if sp.issparse(X):
        square = X.copy()
        square.data = square.data**2
        return _flat(X.mean(axis=0)), _flat(square.mean(axis=0))
    return X.mean(axis=0), np.einsum("ij,ij->j", X, X) / X.shape[0]


def _flat(row):
    return np.asarray(row, float).ravel()


class Certifier:
    """Certificates of many solutions on one (X, y); what depends on the data alone is kept."""

    def __init__(self, X, y, loss="squared_error"):
        self.X = X
        self.loss, self.loss_name = LOSSES[loss], loss
        self.y = np.asarray(y, float)
        self.n_samples, self.n_features = X.shape
        self.mean, self.mean_square = column_moments(X)

    def curvature(self, fit_intercept: bool):
        """Bounds of the coordinates' curvature, intercept profiled out; rounding becomes 0."""
        if not fit_intercept:
            return self.loss.bound() * self.mean_square
        variance = self.mean_square - self.mean**2
        return self.loss.bound() * np.where(variance > 1e-13 * self.mean_square, variance, 0.0)

    def slope(self, prediction):
        """The gradient of the loss in the coefficients, a row per class where there are classes."""
        raw = self.loss.gradient(self.y, prediction)
        return np.asarray(self.X.T @ raw.T, float).T / self.n_samples

    def null(self, fit_intercept: bool):
        """F(0) and the gradient at w = 0, the intercept at its optimum."""
        prediction = self.loss.null_prediction(self.y, fit_intercept)
        return self.loss.value(self.y, prediction), self.slope(prediction)

    def alpha_max(self, p: float, fit_intercept: bool = False) -> float:
        """Smallest alpha whose solution from a zero start is zero (p <= 1; for p > 1 that of 1)."""
        _, gradient = self.null(fit_intercept)
        gradient = np.abs(gradient)
        if p >= 1:
            return float(gradient.max())
        curvature = self.curvature(fit_intercept)
        seen = curvature > 0
        gradient, curvature = gradient[..., seen], curvature[seen]
        if p == 0:
            return float((gradient**2 / (2 * curvature)).max())
        z = gradient / curvature
        return float((curvature / (2 * (1 - p)) * (z * 2 * (1 - p) / (2 - p)) ** (2 - p)).max())

    def __call__(self, coef, intercept: float, task: Task) -> Certificate:
        if task.loss != self.loss_name:
            raise ValueError(f"this certifier is one of {self.loss_name!r}, not of {task.loss!r}")
        coef = np.asarray(coef, float)
        prediction = np.asarray(self.X @ coef.T, float).T + intercept
        objective = self._objective(coef, prediction, task)
        null_value, null_gradient = self.null(task.fit_intercept)
        gap = np.nan
        if task.p >= 1:
            gap = (objective - self._dual(coef, prediction, task)) / null_value
        violation = self._violation(coef, prediction, task)
        scale = np.abs(null_gradient).max()
        return Certificate(
            objective=float(objective),
            gap=float(gap),
            residual=float(violation / scale) if scale > 0 else 0.0,
            support=int(np.count_nonzero(coef)),
        )

    def path(self, coefs, intercepts, task: Task) -> Certificate:
        """The worst gap and residual on a path, the mean objective and the last support.

        ``coefs`` has a row for each strength, dense or compressed.
        """
        certificates = []
        for alpha, row, intercept in zip(task.alphas, coefs, intercepts, strict=True):
            coef = row.toarray().ravel() if sp.issparse(row) else row
            certificates.append(self(coef, intercept, replace(task, alpha=float(alpha))))
        return Certificate(
            objective=float(np.mean([c.objective for c in certificates])),
            gap=float(np.max([c.gap for c in certificates])),
            residual=float(np.max([c.residual for c in certificates])),
            support=certificates[-1].support,
        )

    def _objective(self, coef, prediction, task):
        kept = coef[coef != 0]
        penalty = task.alpha * np.sum(np.abs(kept) ** task.p) + task.l2_reg / 2 * kept @ kept
        return self.loss.value(self.y, prediction) + penalty

    def _violation(self, coef, prediction, task):
        smooth = self.slope(prediction) + task.l2_reg * coef
        curvature = self.curvature(task.fit_intercept)
        seen = curvature > 0
        bound = curvature[seen] + task.l2_reg
        w = coef[..., seen]
        moved = prox(w - smooth[..., seen] / bound, task.alpha / bound, task.p)
        violation = np.max(bound * np.abs(w - moved), initial=0.0)
        return max(violation, np.max(np.abs(coef[..., ~seen]), initial=0.0) * task.l2_reg)

    def _dual(self, coef, prediction, task):
        """The largest dual value along the loss's gradient v among a few feasible scalings.

        D(v) = -conjugate_loss(v) - sum_j conjugate(x_j'v / n), subject to sum(v) = 0 with an
        intercept.  D is concave in the scaling, every value is a bound.
        """
        v = self.loss.gradient(self.y, prediction)
        if task.fit_intercept:
            v = v - v.mean()
        correlation = np.asarray(self.X.T @ v.T, float).T / self.n_samples
        best, square = 1.0, np.sum(v * v)
        if task.loss == "squared_error" and square > 0:
            best = -(self.y @ v) / square
        largest = np.abs(correlation).max()
        box = task.alpha / largest if largest > 0 else np.inf
        # other losses: all between 0 and v is within the domain of the conjugate
        scalings = {float(np.clip(best, -box, box))}
        if task.p > 1 or task.l2_reg > 0:
            shifted = np.abs(correlation + task.l2_reg * coef).max()
            scalings |= {1.0, min(1.0, task.alpha / shifted) if shifted > 0 else 1.0}
        return max(self._dual_value(s * v, s * correlation, task) for s in scalings)

    def _dual_value(self, v, correlation, task):
        return -self.loss.conjugate(self.y, v) - np.sum(conjugate(correlation, task))
