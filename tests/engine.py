"""The engine without an estimator around it: every loss under the names of the estimators."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn_sparselp._core._log_link import Gamma, Poisson
from sklearn_sparselp._core._loss import Huber, LogLoss, SquaredError, SquaredHinge
from sklearn_sparselp._core._penalty import LpPenalty

from sklearn_sparselp._solvers import Design, Problem, solve

LOSSES = {
    "squared_error": SquaredError,
    "huber": Huber,
    "log_loss": LogLoss,
    "squared_hinge": SquaredHinge,
    "poisson": Poisson,
    "gamma": Gamma,
}


def make_loss(case):
    name = case.get("loss", "squared_error")
    return Huber(case["epsilon"]) if name == "huber" else LOSSES[name]()


def targets(case, y):
    """The targets of a regression turned into labels, counts or positive numbers for a loss."""
    name = case.get("loss", "squared_error")
    if name in ("log_loss", "squared_hinge"):
        return (y > np.median(y)).astype(np.float64) if np.ptp(y) > 0.0 else np.zeros_like(y)
    if name in ("poisson", "gamma"):
        rate = 1.5 * np.exp((y - y.mean()) / (y.std() + 1e-300 if np.ptp(y) > 0.0 else 1.0))
        # Some counts are 0, but never all of them.
        return np.floor(rate) + (np.arange(y.size) == 0) if name == "poisson" else rate
    return y


def make_problem(X, y, case, weights=None):
    terms = {k: v for k, v in case.items() if k not in ("loss", "epsilon", "fit_intercept")}
    penalty = LpPenalty(X.shape[1], **terms)
    fit_intercept = case.get("fit_intercept", True)
    return Problem(Design(X), y, make_loss(case), penalty, weights, fit_intercept)


def fit_engine(X, y, weights=None, *, solver="auto", tol=1e-4, max_iter=1000, **case):
    """The result under the names of a fitted estimator; no word about a limit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        problem = make_problem(X, y, case, weights)
        result = solve([problem], solver=solver, tol=tol, max_iter=max_iter)[0]
    return SimpleNamespace(
        coef_=result.coef,
        intercept_=result.intercept,
        objective_=result.objective,
        dual_gap_=result.dual_gap,
        fixed_point_residual_=result.fixed_point_residual,
        n_iter_=result.n_iter,
    )
