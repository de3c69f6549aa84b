"""Columns and targets far above their spread are moved to the origin: an intercept is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ._core._origin import steady_compressed_columns, steady_dense_columns

# In standard deviations. A product with a centred column loses digits by the square of this:
# 1e-10 of it here, all at 1e8.
FARTHEST = 1000.0
# Within so much of the first values of such a column agree, outliers or not.
WITHIN = 0.05


@dataclass(frozen=True)
class Origin:
    """Where the origin of a fit is.

    Attributes
    ----------
    features : ndarray of shape (n_moved,), dtype int64
        The features that were moved, ascending.
    means : ndarray of shape (n_moved,)
        What was taken off their values.
    """

    features: np.ndarray
    means: np.ndarray

    def shift(self, coef: Any) -> Any:
        """Return what the move took off predictions of coef, of shape (..., n_features)."""
        return coef[..., self.features].astype(np.float64) @ self.means


def targets_at_origin(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return targets with far rows near 0, and what was taken off; None where none is far.

    Parameters
    ----------
    targets : ndarray of shape (n_rows, n_samples), dtype float64
    """
    if targets.shape[1] < 2 or not (rows := steady_dense_columns(targets.T, WITHIN)).size:
        return targets, None
    means = np.zeros(len(targets))
    means[rows] = _far_means(targets[rows].T)
    return (targets - means[:, np.newaxis], means) if means.any() else (targets, None)


def _far_means(columns: np.ndarray) -> np.ndarray:
    """Return the means of columns where they are far above their spread, 0 elsewhere."""
    with np.errstate(over="ignore", invalid="ignore"):
        means = columns.mean(axis=0)
        spread = np.sqrt(((columns - means) ** 2).mean(axis=0))
        far = (spread > 0.0) & (np.abs(means) > FARTHEST * spread) & np.isfinite(spread)
    return np.where(far, means, 0.0)


def moved_to_origin(X: Any) -> tuple[Any, Origin | None]:
    """Return X with its far columns near 0, and how far they were moved; X and None without any.

    A column is far if its mean is more than 1000 standard deviations, and every value is stored.
    Of dense X a copy is made then, of compressed X one of its values.

    Parameters
    ----------
    X : ndarray, CSR or CSC of shape (n_samples, n_features), float32 or float64
        Compressed indices ascend.
    """
    compressed, n_samples = sparse.issparse(X), X.shape[0]
    if n_samples < 2:
        return X, None
    if compressed:
        by_columns = X.format == "csc"
        features = steady_compressed_columns(
            X.data, X.indices, X.indptr, n_samples, by_columns, WITHIN
        )
    else:
        features = steady_dense_columns(X, WITHIN)
    if not features.size:
        return X, None
    columns = X[:, features]
    full = np.ones(features.size, dtype=bool)
    if compressed:
        full = columns.count_nonzero(axis=0) == n_samples
        columns = columns.toarray()
    columns = columns.astype(np.float64)
    means = np.where(full, _far_means(columns), 0.0)
    far = means != 0.0
    if not far.any():
        return X, None
    # Of the type of X, so that the difference to a value near it is exact.
    origin = Origin(features[far], means[far].astype(X.dtype).astype(np.float64))
    if not compressed:
        X = X.copy(order="K")
        X[:, origin.features] = columns[:, far] - origin.means
        return X, origin
    shifts = np.zeros(X.shape[1])
    shifts[origin.features] = origin.means
    if by_columns:
        shifts = np.repeat(shifts, np.diff(X.indptr))
    else:
        shifts = shifts[X.indices[: X.indptr[-1]]]
    values = (X.data[: shifts.size] - shifts).astype(X.dtype)
    return type(X)((values, X.indices[: shifts.size], X.indptr), shape=X.shape), origin
