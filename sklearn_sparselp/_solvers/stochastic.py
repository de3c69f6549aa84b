"""Stochastic gradient descent: epochs, stopping rules and warnings around the lazy steps.

A `LazyModel` is one problem: a regression, or one class against the rest. Its steps depend on
the order of the samples and on nothing else, so a stream may be cut anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from .._core._lazy import LazyModel, run
from .._warnings import warn_caller

# Stored values between two looks for Ctrl-C: some 20 ms.
STORED_AT_ONCE = 2_000_000
# "adaptive" divides the rate by the first number and stops below the second.
RATE_DIVISOR, LEAST_RATE = 5.0, 1e-6

NONE = np.empty(0)
IN_TURN = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Rows:
    """Samples of one problem: canonical CSR, targets, and weights, empty for equal ones."""

    X: sparse.csr_array
    y: np.ndarray
    weights: np.ndarray

    def scratch(self) -> np.ndarray:
        """Return the memory that a step over one of these samples needs."""
        return np.empty((2, int(np.diff(self.X.indptr).max(initial=0)) + 1))


@dataclass(frozen=True)
class Schedule:
    """When epochs over the same samples end; see the estimators for the parameters."""

    max_iter: int
    tol: float | None
    n_iter_no_change: int
    adaptive: bool
    sparsity_threshold: float
    mask_epochs: bool
    verbose: bool


def learn(
    model: LazyModel, rows: Rows, order: np.ndarray = IN_TURN, scratch: np.ndarray | None = None
) -> None:
    """Learn from samples in their order, once each.

    Raises
    ------
    ValueError
        Where a prediction is not finite; the samples before it have been learned.
    """
    X = rows.X
    scratch = rows.scratch() if scratch is None else scratch
    n_samples = X.shape[0]
    at_once = max(1, int(STORED_AT_ONCE * n_samples / max(1, X.nnz)))
    for start in range(0, n_samples, at_once):
        stop = min(start + at_once, n_samples)
        end = run(
            model, X.data, X.indices, X.indptr, rows.y, rows.weights, order, scratch, start, stop
        )
        if end < stop:
            raise ValueError(
                f"the model diverged: the prediction of sample {end} in the order of the "
                f"epoch is not finite after {model.n_steps} steps. "
                "Decrease eta0, or bring the features to a scale of 1."
            )


def fit_epochs(
    model: LazyModel,
    rows: Rows,
    schedule: Schedule,
    shuffled: Callable[[], np.ndarray],
    score: Callable[[LazyModel], float] | None = None,
) -> int:
    """Learn from the same samples until nothing improves; return the number of epochs.

    Parameters
    ----------
    model : LazyModel
    rows : Rows
    schedule : Schedule
    shuffled : callable
        Gives the order of an epoch.
    score : callable or None
        Score of a model on held-out samples, which then decides instead of the loss.
    """
    best, stalled, scratch = math.inf, 0, rows.scratch()
    settings: dict[str, Any] = dict(model.settings)
    model.mean_loss()
    for epoch in range(1, schedule.max_iter + 1):
        learn(model, rows, shuffled(), scratch)
        if schedule.mask_epochs:
            model.settle(schedule.sparsity_threshold)
        loss = model.mean_loss()
        reached = loss if score is None else -score(model)
        if schedule.verbose:
            what = "mean loss" if score is None else "validation score"
            shown = loss if score is None else -reached
            print(f"epoch {epoch}: {what} {shown:.6g}, {model.n_steps} steps")
        if schedule.tol is None:
            continue
        stalled = stalled + 1 if reached > best - schedule.tol else 0
        best = min(best, reached)
        if stalled < schedule.n_iter_no_change:
            continue
        if not schedule.adaptive or settings["eta0"] <= LEAST_RATE:
            return epoch
        settings["eta0"] /= RATE_DIVISOR
        model.configure(model.penalty_factor, settings)
        stalled = 0
    if schedule.tol is not None:
        warn_caller(
            f"stochastic gradient descent stopped after max_iter={schedule.max_iter} epochs while "
            f"the {'loss' if score is None else 'validation score'} had not stalled: "
            f"{stalled} epochs without an improvement by tol={schedule.tol:g}, fewer than "
            f"n_iter_no_change={schedule.n_iter_no_change}. Increase max_iter or tol.",
            ConvergenceWarning,
        )
    return schedule.max_iter
