"""Stochastic gradient descent that applies every penalty to every feature in every step.

Slow and obvious: dense NumPy, one sample at a time, the proximal map by `prox_lp`, whose own
oracle is mpmath.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from sklearn_sparselp import prox_lp


def slope(loss, y, f, epsilon):
    r, m = f - y, y * f
    return {
        "squared_error": lambda: r,
        "huber": lambda: np.clip(r, -epsilon, epsilon),
        "epsilon_insensitive": lambda: np.sign(r) * (abs(r) > epsilon),
        "log_loss": lambda: -y / (1.0 + np.exp(m)),
        "hinge": lambda: -y * (m < 1.0),
        "squared_hinge": lambda: -2.0 * y * max(0.0, 1.0 - m),
        "modified_huber": lambda: -4.0 * y if m < -1.0 else -2.0 * y * max(0.0, 1.0 - m),
    }[loss]()


def loss_of(loss, y, f, epsilon):
    r, m = f - y, y * f
    return {
        "squared_error": lambda: r * r / 2,
        "huber": lambda: (
            r * r / 2 if abs(r) <= epsilon else epsilon * abs(r) - epsilon * epsilon / 2
        ),
        "epsilon_insensitive": lambda: max(0.0, abs(r) - epsilon),
        "log_loss": lambda: np.log1p(np.exp(-m)),
        "hinge": lambda: max(0.0, 1.0 - m),
        "squared_hinge": lambda: max(0.0, 1.0 - m) ** 2,
        "modified_huber": lambda: -4.0 * m if m < -1.0 else max(0.0, 1.0 - m) ** 2,
    }[loss]()


def flowed(w, rate, strength, p, l2_reg, weight):
    """A power of the map of one step: the weight of the visit is its exponent."""
    ridge = l2_reg + (2.0 * strength if p == 2 else 0.0)
    if ridge == 0.0:
        return prox_lp(np.array([w]), rate * strength * weight)[0] if p == 1 else w
    # |w| -> (|w| - rate a) / (1 + rate ridge) has the fixed point -a / ridge.
    fixed = -(strength if p == 1 else 0.0) / ridge
    size = fixed + (abs(w) - fixed) / (1.0 + rate * ridge) ** weight
    return np.sign(w) * max(size, 0.0)


def eager(
    X,
    y,
    *,
    loss,
    p=1.0,
    alpha=1e-4,
    l2_reg=0.0,
    penalty_factor=None,
    learning_rate="constant",
    eta0=0.01,
    power_t=0.25,
    epsilon=0.1,
    average=0,
    sparsity_threshold=0.0,
    mask_interval=0,
    fit_intercept=True,
    weights=None,
    coef=None,
):
    """Return coefficients and intercept after ceil(weight) steps, at most 100, for each row."""
    n_features = X.shape[1]
    u = np.ones(n_features) if penalty_factor is None else np.asarray(penalty_factor, dtype=float)
    w = np.zeros(n_features) if coef is None else np.array(coef, dtype=float)
    w[np.isinf(u)] = 0.0
    b, squares, b_squares = 0.0, np.zeros(n_features), 0.0
    w_sum, b_sum, n_averaged = np.zeros(n_features), 0.0, 0
    typical = (1.0 / np.sqrt(alpha)) ** 0.5 if alpha else 1.0
    start = 1.0 / (alpha or 1.0) * max(1.0, abs(slope(loss, 1.0, -typical, epsilon))) / typical
    counts = np.ones(len(y)) if weights is None else np.minimum(np.ceil(weights), 100)
    visits = np.repeat(np.arange(len(y)), counts.astype(int))
    for t, i in enumerate(visits, start=1):
        x, target = X[i], y[i]
        weight = 1.0 if weights is None else weights[i] / counts[i]
        f = x @ w + b
        rate = {
            "constant": eta0,
            "adaptive": eta0,
            "optimal": 1.0 / (alpha or 1.0) / (start + t - 1),
            "invscaling": eta0 / t**power_t,
            "adagrad": 0.0,
        }[learning_rate]
        g = slope(loss, target, f, epsilon)
        if weight > 1.0 and g != 0.0 and rate:
            reach = rate * weight * (x[np.isfinite(u)] @ x[np.isfinite(u)] + fit_intercept)

            def beyond(g, f=f, target=target, reach=reach):
                return g - slope(loss, target, f - reach * g, epsilon)

            g = brentq(beyond, 0.0, g, xtol=1e-16 * abs(g), rtol=1e-15)
        g *= weight
        gradient = g * x
        if learning_rate == "adagrad":
            squares += gradient**2
            b_squares += g**2
            rates = np.divide(eta0, np.sqrt(squares), out=np.zeros(n_features), where=squares > 0)
            b_rate = eta0 / np.sqrt(b_squares) if b_squares else 0.0
        else:
            rates, b_rate = np.full(n_features, rate), rate
        w = w - rates * gradient
        b = b - b_rate * g if fit_intercept else b
        for j in range(n_features):
            if np.isinf(u[j]):
                w[j] = 0.0
                continue
            if learning_rate == "adagrad" and p in (1, 2):
                w[j] = flowed(w[j], rates[j], alpha * u[j], p, l2_reg, weight)
                continue
            shrink = 1.0 + rates[j] * weight * l2_reg
            scale = rates[j] * weight * alpha * u[j] / shrink
            w[j] = prox_lp(np.array([w[j] / shrink]), scale, p=p)[0]
        if average and t >= average:
            w_sum, b_sum, n_averaged = w_sum + w, b_sum + b, n_averaged + 1
        if mask_interval and t % mask_interval == 0:
            w[np.abs(w) <= sparsity_threshold] = 0.0
    if n_averaged:
        w, b = w_sum / n_averaged, b_sum / n_averaged
    return np.where(np.abs(w) <= sparsity_threshold, 0.0, w), b
