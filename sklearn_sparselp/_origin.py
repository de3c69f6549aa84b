"""Columns and targets far above their spread are moved to the origin: an intercept is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse

from ._core._origin import steady_compressed_columns, steady_dense_columns

# In standard deviations. A product with a centred column loses digits by the square of this:
# 1e-10 of it here, all at 1e8.
FARTHEST = 1000.0
# Within so much of the first values of such a column agree, outliers or not.
WITHIN = 0.05
# Columns that are looked at whole together.
AT_ONCE = 64
EPS = np.finfo(np.float64).eps


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


def targets_at_origin(
    targets: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return targets with far rows near 0, and what was taken off; None where none is far.

    Parameters
    ----------
    targets : ndarray of shape (n_rows, n_samples), dtype float64
    weights : ndarray of shape (n_samples,), or None
        Samples of weight 0 have no say.
    """
    counted, looks = _looks(targets.shape[1], weights)
    if looks.size < 2 or not (rows := steady_dense_columns(targets.T, looks, WITHIN)).size:
        return targets, None
    means = np.zeros(len(targets))
    means[rows] = _far_means(targets[rows].T[counted])
    return (targets - means[:, np.newaxis], means) if means.any() else (targets, None)


def moved_to_origin(X: Any, weights: np.ndarray | None = None) -> tuple[Any, Origin | None]:
    """Return X with its far columns near 0, and how far they were moved; X and None without any.

    A column is far if its mean is more than 1000 standard deviations, these are more than rounding,
    and every value is stored. Of dense X a copy is made then, of compressed X one of its values.

    Parameters
    ----------
    X : ndarray, CSR or CSC of shape (n_samples, n_features), float32 or float64
        Compressed indices ascend.
    weights : ndarray of shape (n_samples,), or None
        Samples of weight 0 have no say.
    """
    counted, looks = _looks(X.shape[0], weights)
    if looks.size < 2:
        return X, None
    if sparse.issparse(X):
        features = steady_compressed_columns(
            X.data, X.indices, X.indptr, X.shape[0], looks, X.format == "csc", WITHIN
        )
    else:
        features = steady_dense_columns(X, looks, WITHIN)
    if not features.size:
        return X, None
    means = np.zeros(features.size)
    for first in range(0, features.size, AT_ONCE):
        some = X[:, features[first : first + AT_ONCE]]
        some = some.toarray() if sparse.issparse(X) else some
        means[first : first + AT_ONCE] = _far_means(some[counted])
    far = means != 0.0
    if not far.any():
        return X, None
    # Of the type of X, so that the difference to a value near it is exact.
    origin = Origin(features[far], means[far].astype(X.dtype).astype(np.float64))
    return (_compressed if sparse.issparse(X) else _dense)(X, origin), origin


def _looks(n_samples: int, weights: np.ndarray | None) -> tuple[Any, np.ndarray]:
    """Return the samples that have a weight, and those to look at first: eight, two neighbours."""
    counted: Any = slice(None)
    if weights is not None and not (weights > 0.0).all():
        counted = np.flatnonzero(weights > 0.0)
        n_samples = counted.size
    looks = _spread(n_samples)
    return counted, looks if isinstance(counted, slice) else counted[looks]


@lru_cache(maxsize=8)
def _spread(n_samples: int) -> np.ndarray:
    last = n_samples - 1
    return np.array([0, 1, *(k * last // 7 for k in range(2, 8))] if last > 0 else [0] * n_samples)


def _far_means(columns: np.ndarray) -> np.ndarray:
    """Return the means of columns where they are far above their spread, 0 elsewhere."""
    columns = columns.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        means = columns.mean(axis=0)
        spread = np.sqrt(((columns - means) ** 2).mean(axis=0))
        size = np.abs(means)
        # A constant column has a spread that is rounding, and stays constant.
        far = (spread > len(columns) * EPS * size) & (size > FARTHEST * spread)
        # A value that is not stored stays 0: a column of millions may be far for all that.
        far &= np.isfinite(spread) & (columns != 0.0).all(axis=0)
    return np.where(far, means, 0.0)


def _dense(X: np.ndarray, origin: Origin) -> np.ndarray:
    moved = X.copy(order="K")
    for first in range(0, origin.features.size, AT_ONCE):
        some = slice(first, first + AT_ONCE)
        columns = X[:, origin.features[some]].astype(np.float64)
        moved[:, origin.features[some]] = columns - origin.means[some]
    return moved


def _compressed(X: Any, origin: Origin) -> Any:
    stored = int(X.indptr[-1])
    shifts = np.zeros(X.shape[1])
    shifts[origin.features] = origin.means
    by_rows = X.format == "csr"
    shifts = shifts[X.indices[:stored]] if by_rows else np.repeat(shifts, np.diff(X.indptr))
    # Set afterwards: the constructor would narrow int64 indices that fit into int32.
    moved = type(X)(X.shape, dtype=X.dtype)
    moved.data = (X.data[:stored] - shifts).astype(X.dtype)
    moved.indices, moved.indptr = X.indices[:stored], X.indptr
    return moved
