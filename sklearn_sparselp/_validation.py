"""The only place that coerces dtype, index type and storage, and that knows scikit-learn's validation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.validation import _num_samples, validate_data

Matrix = np.ndarray | sparse.sparray | sparse.spmatrix


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Give an estimator its attributes back when the block raises, so that a failed fit changes nothing."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def check_fit_data(
    estimator: Any, X: Any, y: Any, *, multi_output: bool
) -> tuple[Matrix, np.ndarray]:
    """Return X as the kernels walk it and y as float64.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and, from a frame, ``feature_names_in_``.
    X : array-like or sparse of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    multi_output : bool
        Whether y may have several columns.

    Returns
    -------
    X : ndarray (C or Fortran order), CSR or CSC
        float32 stays, anything else becomes float64. Neither values nor indices are copied
        unless the dtype, another sparse format, strided memory or repeated entries force it.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs), dtype float64

    Raises
    ------
    ValueError
        NaN, infinity, no samples, no features, lengths that differ, y of wrong shape.
    """
    X, y = validate_data(
        estimator,
        X,
        y,
        dtype=[np.float64, np.float32],
        accept_sparse=["csc", "csr"],
        accept_large_sparse=True,
        multi_output=multi_output,
        y_numeric=True,
        copy=False,
    )
    if y.ndim == 2 and y.shape[1] == 1 and multi_output:
        y = y.reshape(-1, 1)
    return canonical(X), np.ascontiguousarray(y, dtype=np.float64)


def check_predict_data(estimator: Any, X: Any) -> Matrix:
    """Return X for prediction, checked against the number and names of the features of the fit."""
    return validate_data(
        estimator,
        X,
        reset=False,
        dtype=[np.float64, np.float32],
        accept_sparse=["csr", "csc"],
        accept_large_sparse=True,
    )


def canonical(X: Matrix) -> Matrix:
    """Return X in a layout of the kernels; the caller's object is never changed."""
    if not sparse.issparse(X):
        if X.flags.c_contiguous or X.flags.f_contiguous:
            return X
        return np.asfortranarray(X)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    if X.indices.dtype != X.indptr.dtype or X.indices.dtype not in (np.int32, np.int64):
        fixed = type(X)(X.shape, dtype=X.dtype)
        fixed.data = X.data
        fixed.indices, fixed.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
        return fixed
    return X


def check_sample_weight(sample_weight: Any, X: Matrix) -> np.ndarray | None:
    """Return sample weights as float64, None for equal ones.

    Raises
    ------
    ValueError
        Wrong length, negative, NaN, infinite, or all zero.
    """
    if sample_weight is None:
        return None
    n_samples = _num_samples(X)
    if np.isscalar(sample_weight):
        sample_weight = np.full(n_samples, sample_weight, dtype=np.float64)
    weights = check_array(
        sample_weight,
        ensure_2d=False,
        dtype=np.float64,
        order="C",
        copy=False,
        accept_sparse=False,
        input_name="sample_weight",
    )
    if weights.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weights.ndim}D array.")
    if weights.shape[0] != n_samples:
        raise ValueError(
            f"sample_weight.shape == {weights.shape}, expected {(n_samples,)}: one weight for each sample of X."
        )
    if (weights < 0.0).any():
        raise ValueError(
            f"Negative values in data passed to `sample_weight`: the smallest is {weights.min()}, "
            "and every weight must be >= 0."
        )
    if not weights.any():
        raise ValueError(
            f"Sample weights must contain at least one non-zero number: all {n_samples} weights are 0."
        )
    return weights


def check_penalty_factor(penalty_factor: Any, n_features: int) -> np.ndarray | None:
    """Return penalty factors as float64, None for all ones.

    Raises
    ------
    ValueError
        Wrong length, negative or NaN; 0 and infinity are allowed.
    """
    if penalty_factor is None:
        return None
    factors = np.ascontiguousarray(penalty_factor, dtype=np.float64)
    if factors.shape != (n_features,):
        raise ValueError(
            f"penalty_factor has shape {factors.shape}, but X has {n_features} features: "
            f"it must have shape {(n_features,)}."
        )
    if np.isnan(factors).any() or (factors < 0.0).any():
        worst = factors[np.isnan(factors) | (factors < 0.0)][0]
        raise ValueError(f"penalty_factor holds {worst}; every factor must be >= 0 (infinity drops the feature).")
    return factors
