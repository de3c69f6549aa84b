"""Slow, obvious oracles in NumPy and SciPy: what the mathematics says, nothing of the package.

Everything is dense float64, every formula is written down from its definition, and every
minimum is found by bisection, a grid, an enumeration or a general-purpose optimiser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from scipy import optimize, special


def power(t, p):
    """``|t|^p`` with ``|0|^0 = 0``."""
    size = np.abs(np.asarray(t, dtype=np.float64))
    return np.where(size > 0.0, size**p, 0.0)


def bisect(increasing, low, high):
    """The root of an increasing function in [low, high], to the last bit."""
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if increasing(middle) < 0.0 else (low, middle)
    return high


def prox(z, scale, p):
    """``argmin_t (t - z)^2 / 2 + scale |t|^p``: 0 or the outermost stationary point, 0 in a tie."""
    size = abs(z)
    if scale == 0.0 or z == 0.0:
        return z
    if np.isinf(scale):
        return 0.0
    if p == 0.0:
        t = size
    elif p == 1.0:
        t = max(size - scale, 0.0)
    else:

        def slope(t):
            return t - size + scale * p * t ** (p - 1.0)

        # For p < 1 the slope falls first and then rises.
        start = (scale * p * (1.0 - p)) ** (1.0 / (2.0 - p)) if p < 1.0 else 0.0
        if start >= size or (p < 1.0 and slope(start) > 0.0):
            return 0.0
        t = bisect(slope, start, size)
    # Divided by size^2, which may overflow.
    lost = 0.5 * (t / size - 1.0) ** 2 + scale / size * (float(power(t, p)) / size)
    if p < 1.0 and lost >= 0.5:
        return 0.0
    return float(np.copysign(t, z)) if t else 0.0


@dataclass(frozen=True)
class ReferenceLoss:
    """A loss of a prediction f, elementwise: its formulas and its curvature bound.

    ``value(y, f, e)``, ``slope(y, f, e)`` and ``bend(y, f, e)`` are the loss and its first two
    derivatives; ``conjugate(y, v, e)`` is ``sup_f v f - loss(y, f)``; e is Huber's epsilon.
    """

    value: Callable
    slope: Callable
    bend: Callable
    conjugate: Callable
    bound: float = np.inf


def sigmoid(f):
    return special.expit(f)


def where_inside(inside, value):
    """The value, infinite where the dual point leaves the domain of a conjugate."""
    return np.where(inside, value, np.inf)


def against(y, v):
    """The size of a dual value that pulls towards the label, negative where it pushes away."""
    return np.where(y > 0.5, -v, v)


REFERENCE_LOSSES = {
    "squared_error": ReferenceLoss(
        lambda y, f, e: 0.5 * (y - f) ** 2,
        lambda y, f, e: f - y,
        lambda y, f, e: np.ones_like(f),
        lambda y, v, e: v * y + 0.5 * v**2,
        bound=1.0,
    ),
    "huber": ReferenceLoss(
        lambda y, f, e: np.where(
            np.abs(f - y) <= e, 0.5 * (f - y) ** 2, e * np.abs(f - y) - 0.5 * e**2
        ),
        lambda y, f, e: np.clip(f - y, -e, e),
        lambda y, f, e: np.where(np.abs(f - y) <= e, 1.0, 0.0),
        lambda y, v, e: where_inside(np.abs(v) <= e * (1.0 + 1e-12), v * y + 0.5 * v**2),
        bound=1.0,
    ),
    "log_loss": ReferenceLoss(
        lambda y, f, e: np.logaddexp(0.0, f) - y * f,
        lambda y, f, e: sigmoid(f) - y,
        lambda y, f, e: sigmoid(f) * sigmoid(-f),
        lambda y, v, e: where_inside(
            (against(y, v) >= 0.0) & (against(y, v) <= 1.0),
            -special.entr(np.clip(against(y, v), 0.0, 1.0))
            - special.entr(1.0 - np.clip(against(y, v), 0.0, 1.0)),
        ),
        bound=0.25,
    ),
    "squared_hinge": ReferenceLoss(
        lambda y, f, e: np.maximum(0.0, 1.0 - (2.0 * y - 1.0) * f) ** 2,
        lambda y, f, e: -2.0 * (2.0 * y - 1.0) * np.maximum(0.0, 1.0 - (2.0 * y - 1.0) * f),
        lambda y, f, e: np.where((2.0 * y - 1.0) * f < 1.0, 2.0, 0.0),
        lambda y, v, e: where_inside(
            against(y, v) >= 0.0, against(y, v) ** 2 / 4.0 - against(y, v)
        ),
        bound=2.0,
    ),
    "poisson": ReferenceLoss(
        lambda y, f, e: np.exp(f) - y * f + special.xlogy(y, y) - y,
        lambda y, f, e: np.exp(f) - y,
        lambda y, f, e: np.exp(f),
        lambda y, v, e: where_inside(
            v + y >= 0.0,
            special.xlogy(v + y, np.maximum(v + y, 0.0)) - (v + y) - special.xlogy(y, y) + y,
        ),
    ),
    "gamma": ReferenceLoss(
        lambda y, f, e: y * np.exp(-f) + f - np.log(y) - 1.0,
        lambda y, f, e: 1.0 - y * np.exp(-f),
        lambda y, f, e: y * np.exp(-f),
        lambda y, v, e: where_inside(
            v <= 1.0, v * np.log(y) + special.xlogy(1.0 - v, np.maximum(1.0 - v, 0.0)) + v
        ),
    ),
}


@dataclass(frozen=True)
class Reference:
    """One problem. The arguments have the names and meanings of the estimator's."""

    X: np.ndarray
    y: np.ndarray
    p: float = 1.0
    alpha: float = 1.0
    sparsity_threshold: float = 0.0
    loss: str = "squared_error"
    epsilon: float = 1.35
    l2_reg: float = 0.0
    penalty_factor: np.ndarray | None = None
    positive: bool = False
    fit_intercept: bool = True
    sample_weight: np.ndarray | None = None
    s: np.ndarray = field(init=False)
    u: np.ndarray = field(init=False)

    def __post_init__(self):
        n_samples, n_features = self.X.shape
        given = np.ones(n_samples) if self.sample_weight is None else self.sample_weight
        factors = np.ones(n_features) if self.penalty_factor is None else self.penalty_factor
        object.__setattr__(self, "s", given / given.sum())
        object.__setattr__(self, "u", np.asarray(factors, dtype=np.float64))

    # ----- the loss

    @property
    def formulas(self):
        return REFERENCE_LOSSES[self.loss]

    def loss_of(self, prediction):
        return self.s @ self.formulas.value(self.y, prediction, self.epsilon)

    def slopes_of(self, prediction):
        """The derivative of the loss in each prediction."""
        return self.s * self.formulas.slope(self.y, prediction, self.epsilon)

    def best_intercept(self, w):
        if not self.fit_intercept:
            return 0.0
        fixed = self.X @ w
        if self.loss == "squared_error":
            return float(self.s @ (self.y - fixed))
        reach = np.abs(fixed).max() + np.abs(self.y).max() + 40.0
        if self.loss in ("poisson", "gamma"):
            reach = np.abs(fixed).max() + 40.0
        return bisect(lambda b: self.slopes_of(fixed + b).sum(), -reach, reach)

    def gradient(self, w):
        """Of the smooth part, ridge included, the intercept at its optimum."""
        return self.X.T @ self.slopes_of(self.X @ w + self.best_intercept(w)) + self.l2_reg * w

    # ----- objective and mask

    def penalty(self, w):
        on = w != 0.0
        return self.alpha * (self.u[on] @ power(w[on], self.p)) + 0.5 * self.l2_reg * (w @ w)

    def objective(self, w, b=None):
        """F; b at its optimum unless given."""
        b = self.best_intercept(w) if b is None else b
        return float(self.loss_of(self.X @ w + b) + self.penalty(w))

    @property
    def usable(self):
        """Features that may be used: neither dropped nor constant (zero, without intercept)."""
        return (self.lipschitz - self.l2_reg > 1e-14 * (self.s @ self.X**2)) & np.isfinite(self.u)

    @property
    def lipschitz(self):
        """The curvature bounds, where the loss has none those at the null model."""
        mean = self.s @ self.X if self.fit_intercept else np.zeros(self.X.shape[1])
        bound = self.formulas.bound
        if np.isinf(bound):
            null = np.full(self.y.shape, self.best_intercept(np.zeros(self.X.shape[1])))
            bound = self.s @ self.formulas.bend(self.y, null, self.epsilon)
        return bound * (self.s @ (self.X - mean) ** 2) + self.l2_reg

    @property
    def kappa(self):
        tau = self.sparsity_threshold
        u = np.where(np.isfinite(self.u), self.u, 0.0)
        # With p = 0 and no mask |tau|^p is 0 here and 1 in the formula: both give 0.
        saved = self.alpha * u * (1.0 - self.p) * float(power(tau, self.p))
        return np.maximum(0.0, 0.5 * self.lipschitz * tau**2 - saved)

    def masked_objective(self, w, b=None):
        """F_tau: infinite off its domain {0} and |t| >= tau."""
        size = np.abs(w)
        if ((size > 0.0) & (size < self.sparsity_threshold * (1.0 - 1e-12))).any():
            return np.inf
        if self.positive and (w < 0.0).any():
            return np.inf
        return self.objective(w, b) + float(self.kappa[w != 0.0].sum())

    # ----- fixed points

    def update(self, z, j):
        """T_j(z)."""
        if (self.positive and z <= 0.0) or not self.usable[j]:
            return 0.0
        t = prox(z, self.alpha * self.u[j] / self.lipschitz[j], self.p)
        return t if abs(t) > self.sparsity_threshold else 0.0

    def fixed_point_residual(self, w):
        gradient, at_zero = self.gradient(w), self.gradient(np.zeros_like(w))
        usable = np.flatnonzero(self.usable)
        scale = np.abs(at_zero[usable]).max(initial=0.0)
        if scale == 0.0:
            return 0.0
        lipschitz = self.lipschitz
        updated = {j: self.update(w[j] - gradient[j] / lipschitz[j], j) for j in usable}
        moves = [lipschitz[j] * abs(w[j] - updated[j]) for j in usable]
        convex = self.p >= 1.0 and self.sparsity_threshold == 0.0
        if np.isinf(self.formulas.bound) and not convex:
            moves = [self.true_violation(w, j, updated[j], gradient[j]) for j in usable]
        return max(moves) / scale

    def true_violation(self, w, j, new, gradient):
        """That of a loss without a curvature bound.

        A jump to or from 0 counts if it lowers F_tau, another move up to the derivative.
        """
        violation = self.lipschitz[j] * abs(new - w[j])
        slope = 0.0
        if w[j] != 0.0:
            slope = self.alpha * self.u[j] * self.p * abs(w[j]) ** (self.p - 1.0)
            slope = gradient + np.copysign(slope, w[j])
            if abs(w[j]) <= self.sparsity_threshold and slope * w[j] > 0.0:
                slope = 0.0
        if w[j] != 0.0 and new != 0.0:
            return min(violation, abs(slope))
        moved = w.copy()
        moved[j] = new
        lower = self.masked_objective(moved) < self.masked_objective(w) * (1.0 - 1e-15)
        return violation if lower else abs(slope)

    def lowest_by_one_coordinate(self, w, grid):
        """The lowest F_tau among w and the vectors with one other coordinate, tried on a grid."""
        lowest = self.masked_objective(w)
        for j in np.flatnonzero(self.usable):
            moved = w.copy()
            for moved[j] in grid:
                lowest = min(lowest, self.masked_objective(moved))
        return lowest

    # ----- duality

    def conjugate_of_loss(self, dual):
        """``sup_f <dual, f> - sum_i s_i loss(y_i, f_i)``."""
        on = self.s > 0.0
        each = self.formulas.conjugate(self.y[on], dual[on] / self.s[on], self.epsilon)
        return float(self.s[on] @ each)

    def conjugate_of_penalty(self, v, j):
        """``sup_t v t - alpha u_j |t|^p - l2_reg t^2 / 2`` for p >= 1."""
        size = abs(v)
        strength = self.alpha * self.u[j]
        if not self.usable[j] or (self.positive and v < 0.0) or size == 0.0:
            return 0.0
        if self.l2_reg == 0.0 and (self.p == 1.0 or strength == 0.0):
            return 0.0 if size <= strength * (1.0 + 1e-12) else np.inf

        def slope(t):
            return strength * self.p * t ** (self.p - 1.0) + self.l2_reg * t - size

        top = 1.0
        while slope(top) < 0.0:
            top *= 2.0
        t = bisect(slope, 0.0, top)
        return size * t - strength * t**self.p - 0.5 * self.l2_reg * t**2

    def dual_value(self, w, scale):
        """A lower bound of min F: the dual at the gradient of the loss at w, scaled.

        Only for problems without unpenalised features, p >= 1 and no mask.
        """
        dual = scale * self.slopes_of(self.X @ w + self.best_intercept(w))
        value = -self.conjugate_of_loss(dual)
        return value - sum(self.conjugate_of_penalty(v, j) for j, v in enumerate(-self.X.T @ dual))

    def duality_gap(self, w):
        """F(w) less the best bound of a search over the scale, infinite where none is found."""
        if self.p > 1.0 or self.l2_reg > 0.0:
            return self.objective(w) - self.dual_value(w, 1.0)
        correlation = -self.X.T @ self.slopes_of(self.X @ w + self.best_intercept(w))
        inside = correlation if self.positive else np.abs(correlation)
        bound = self.alpha * np.where(self.usable, self.u, np.inf)
        limit = 1.0 / max((inside / bound).max(), 1e-300)
        best = optimize.minimize_scalar(
            lambda scale: -self.dual_value(w, scale),
            bounds=(0.0, min(limit, 1e6)),
            method="bounded",
            options={"xatol": 1e-12 * limit, "maxiter": 200},
        )
        ends = [self.dual_value(w, scale) for scale in (0.0, limit)]
        return self.objective(w) - max(-best.fun, *ends)

    # ----- minima

    def convex_optimum(self):
        """The minimiser for p >= 1 without a mask, by L-BFGS-B on w = a - c with a, c >= 0."""
        n_features = self.X.shape[1]
        scale = np.sqrt(np.maximum(self.lipschitz, 1e-300))
        usable = self.usable
        alpha_u = self.alpha * np.where(usable, self.u, 0.0)

        def unpack(x):
            a, c = x[:n_features] / scale, x[n_features : 2 * n_features] / scale
            return a, c, x[-1]

        def value_and_slope(x):
            a, c, b = unpack(x)
            w = a - c
            prediction = self.X @ w + b
            slopes = self.slopes_of(prediction)
            value = (
                self.loss_of(prediction) + alpha_u @ (a + c) ** self.p + 0.5 * self.l2_reg * w @ w
            )
            smooth = self.X.T @ slopes + self.l2_reg * w
            penalty = alpha_u * self.p * (a + c) ** (self.p - 1.0)
            return value, np.concatenate(
                [(smooth + penalty) / scale, (penalty - smooth) / scale, [slopes.sum()]]
            )

        up = [(0.0, None if use else 0.0) for use in usable]
        down = [(0.0, None if use and not self.positive else 0.0) for use in usable]
        intercept = [(None, None) if self.fit_intercept else (0.0, 0.0)]
        x = np.zeros(2 * n_features + 1)
        for _ in range(3):
            x = optimize.minimize(
                value_and_slope,
                x,
                jac=True,
                method="L-BFGS-B",
                bounds=[*up, *down, *intercept],
                options={
                    "maxiter": 20_000,
                    "maxfun": 40_000,
                    "ftol": 1e-16,
                    "gtol": 1e-12,
                    "maxcor": 30,
                },
            ).x
        a, c, b = unpack(x)
        return a - c, float(b)

    def best_subset(self):
        """The global minimum of F for p = 0, squared error and no mask: every support is tried."""
        n_features = self.X.shape[1]
        mean = self.s @ self.X if self.fit_intercept else np.zeros(n_features)
        target = self.y - (self.s @ self.y if self.fit_intercept else 0.0)
        root = np.sqrt(self.s)
        best, best_w = self.objective(np.zeros(n_features)), np.zeros(n_features)
        for size in range(1, n_features + 1):
            for support in map(list, combinations(np.flatnonzero(self.usable), size)):
                ridge = np.sqrt(self.l2_reg) * np.eye(size)
                A = np.vstack([root[:, None] * (self.X - mean)[:, support], ridge])
                w = np.zeros(n_features)
                w[support] = np.linalg.lstsq(A, np.append(root * target, np.zeros(size)))[0]
                if (value := self.objective(w)) < best:
                    best, best_w = value, w
        return best_w, best
