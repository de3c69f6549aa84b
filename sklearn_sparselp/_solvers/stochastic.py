"""Stochastic gradient descent: epochs, stopping rules and warnings around the lazy steps.

A `LazyModel` is one problem: a regression, or one class against the rest. Its steps depend on
the order of the samples and on nothing else, so a stream may be cut anywhere.

A sample of weight s is visited ceil(s) times, each time with the weight s / ceil(s): whole weights
are repeated samples, bit for bit, and a sample of weight 0 is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from .._callbacks import Progress
from .._core._lazy import LazyModel, run, sample_keys
from .._warnings import warn_caller

# Stored values between two looks for Ctrl-C: some 20 ms.
STORED_AT_ONCE = 2_000_000
# "adaptive" divides the rate by the first number and stops below the second.
RATE_DIVISOR, LEAST_RATE = 5.0, 1e-6

# A fit visits its samples so many times an epoch in the mean, not more; a stream each of them.
MOST_VISITS_IN_MEAN, MOST_VISITS_IN_TURN = 10.0, 100.0
# Far beyond any use; sums and products with steps stay finite.
LARGEST_WEIGHT = 1e12

NONE = np.empty(0)


@dataclass(frozen=True)
class Samples:
    """The rows of X as the kernels walk them.

    Attributes
    ----------
    data : ndarray of shape (n_stored,)
    indices : ndarray of shape (n_stored,), or of (n_features,) where ``shared``
    indptr : ndarray of shape (n_samples + 1,)
    shared : bool
        Whether X is dense: all rows have the same indices, stored once.
    """

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    shared: bool

    @classmethod
    def of(cls, X: sparse.csr_array | np.ndarray) -> Samples:
        """Return the rows of canonical CSR, or of an array in C order.

        An array with zeros is copied without them: a step does not touch the feature of a 0, so
        that storage never matters.
        """
        if sparse.issparse(X):
            return cls(X.data, X.indices, X.indptr, False)
        columns = np.arange(X.shape[1], dtype=np.int64)
        if X.all():
            starts = np.arange(X.shape[0] + 1, dtype=np.int64) * X.shape[1]
            return cls(X.reshape(-1), columns, starts, True)
        # A fifth of the time of csr_array(X).
        stored = X != 0.0
        starts = np.zeros(X.shape[0] + 1, dtype=np.int64)
        np.cumsum(np.count_nonzero(stored, axis=1), out=starts[1:])
        return cls(X[stored], np.broadcast_to(columns, X.shape)[stored], starts, False)


@dataclass(frozen=True)
class Visits:
    """How often samples are visited in an epoch, and with which weight each time.

    Attributes
    ----------
    counts : ndarray of shape (n_samples,), dtype int64, or None
        None for once.
    weights : ndarray of shape (n_samples,), dtype float64
        Empty for ones.
    """

    counts: np.ndarray | None
    weights: np.ndarray

    def part(self, samples: np.ndarray) -> Visits:
        """Return the visits of some of the samples."""
        if self.counts is None:
            return self
        return Visits(self.counts[samples], self.weights[samples])

    def totals(self) -> np.ndarray | None:
        """Return the weights of the samples, None for ones."""
        return None if self.counts is None else self.counts * self.weights

    def order(self, samples: Samples, y: np.ndarray, *, canonical: bool) -> np.ndarray:
        """Return the samples of an epoch, each as often as it is visited.

        They are in turn, or, where ``canonical``, in an order that follows from what they are and
        not from where they stand: then rows that are repeated and weights that say so give one
        sequence, and a permutation of it is the same too.
        """
        order = np.arange(y.shape[0], dtype=np.int64)
        if canonical and y.shape[0] > 1:
            rows = samples.data, samples.indices, samples.indptr, samples.shared
            order = np.argsort(sample_keys(*rows, y, self.weights))
        return order if self.counts is None else np.repeat(order, self.counts[order])


def visits_of_fit(weights: np.ndarray | None, factors: np.ndarray | None) -> Visits:
    """Return the visits of samples of these weights, and of class weights ``factors``.

    Class weights are split as weights are, so that a repeated sample has its class weight each
    time. Weights below 1 are brought to a largest of 1, weights above 10 in the mean (without
    zeros) to 10: only their ratios matter to the objective.
    """
    if weights is None and factors is None:
        return Visits(None, NONE)
    weights, factors = (np.ones(1) if part is None else part for part in (weights, factors))
    largest = weights.max(), factors.max()
    # The largest is 1 here: sums of huge ones must not overflow.
    totals = (weights / largest[0]) * (factors / largest[1])
    unit = float(largest[0]) * float(largest[1])
    mean = totals[totals > 0.0].mean()
    if not (1.0 <= unit * totals.max() and unit * mean <= MOST_VISITS_IN_MEAN):
        totals *= 1.0 / totals.max() if unit * mean < 1.0 else MOST_VISITS_IN_MEAN / mean
        weights, factors = totals, np.ones(1)
    return _visits(weights, factors, np.inf)


def visits_of_stream(weights: np.ndarray | None, factors: np.ndarray | None) -> Visits:
    """Return the visits of samples that come once, at most 100 of each.

    Raises
    ------
    ValueError
        For a weight above 1e12.
    """
    if weights is None and factors is None:
        return Visits(None, NONE)
    weights, factors = (np.ones(1) if part is None else part for part in (weights, factors))
    largest = float(weights.max()) * float(factors.max())
    if largest > LARGEST_WEIGHT:
        raise ValueError(
            f"the largest weight of a sample is {largest:g}, but a stream takes weights up to "
            f"{LARGEST_WEIGHT:g}. Bring them to a mean of about 1."
        )
    return _visits(weights, factors, MOST_VISITS_IN_TURN)


def _visits(weights: np.ndarray, factors: np.ndarray, most: float) -> Visits:
    rounded = np.ceil(weights), np.ceil(factors)
    wanted = rounded[0] * rounded[1]
    counts = np.minimum(wanted, most)
    # Each quotient by itself: that of a whole weight is 1, and leaves the bits of the other.
    each = (weights / np.maximum(rounded[0], 1.0)) * (factors / np.maximum(rounded[1], 1.0))
    return Visits(counts.astype(np.int64), each * (wanted / np.maximum(counts, 1.0)))


@dataclass(frozen=True)
class Rows:
    """Samples of one problem, their targets, and weights of visits, empty for ones."""

    samples: Samples
    y: np.ndarray
    weights: np.ndarray

    def scratch(self) -> np.ndarray:
        """Return the memory that a step over one of these samples needs."""
        return np.empty((4, int(np.diff(self.samples.indptr).max(initial=0)) + 1))


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
    model: LazyModel, rows: Rows, order: np.ndarray, scratch: np.ndarray | None = None
) -> None:
    """Learn from samples in this order.

    Raises
    ------
    ValueError
        Where a prediction is not finite; the samples before it have been learned.
    """
    X = rows.samples
    scratch = rows.scratch() if scratch is None else scratch
    n_visits = order.shape[0]
    at_once = max(1, int(STORED_AT_ONCE * rows.y.shape[0] / max(1, X.data.shape[0])))
    for start in range(0, n_visits, at_once):
        stop = min(start + at_once, n_visits)
        arrays = X.data, X.indices, X.indptr, X.shared
        end = run(model, *arrays, rows.y, rows.weights, order, scratch, start, stop)
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
    score: Callable[[LazyModel], float] | None,
    progress: Progress,
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
    progress : Progress
        Follows the epochs.
    """
    best, stalled, scratch = math.inf, 0, rows.scratch()
    settings: dict[str, Any] = dict(model.settings)
    model.mean_loss()
    for epoch in range(1, schedule.max_iter + 1):
        with progress.subtask("epoch", epoch - 1):
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
