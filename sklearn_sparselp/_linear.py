"""The linear predictor, what every fitted model computes from X, and probabilities from it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse, special

from ._core._matvec import effective_n_threads
from ._core._rows import combine_dense, combine_few, combine_many, fill_columns, number_columns
from ._validation import Matrix

# An ndarray or a csr_array: which of them is asked with ``sparse.issparse``.
Coefficients = Any

# Gathered columns pay where less than one in so many coefficients is not zero: C-ordered memory
# reads a cache line of 8 doubles for each value of a column, and the gathered values are written.
FEW = 32

# Sparse coefficients at CSR rows, in nanoseconds: a step of the search for one stored value in the
# coefficients of one output; a hash table of those, each of its entries, and a look-up there.
SEARCH_COST, TABLE_COST, COLUMN_COST, FIND_COST = 0.8, 10_000.0, 5.0, 3.0
# Places in the table for each coefficient.
TABLE_ROOM = 2
# Coefficients up to this size stay near the processor.
CACHED_BYTES = 4_000_000
# A look at each coefficient takes as long as reading one of so many from elsewhere in memory.
SEARCH_ALL_FROM = 10
# Below so many stored values all is over before a second thread has woken up.
THREADED_FROM = 2_000_000


def linear_predictor(X: Matrix, coef: Coefficients, intercept: float | np.ndarray) -> np.ndarray:
    """Return ``X @ coef.T + intercept``, reading few columns where few coefficients are not zero.

    Parameters
    ----------
    X : ndarray, CSR or CSC of shape (n_samples, n_features), float32 or float64
        As `check_predict_data` returns it.
    coef : ndarray of shape (n_features,) or (n_outputs, n_features), float32 or float64
        Or csr_array of shape (n_outputs, n_features).
    intercept : float or ndarray of shape (n_outputs,)

    Returns
    -------
    ndarray of shape (n_samples,) or (n_samples, n_outputs)
        float32 where X and coef are, else float64.

    Notes
    -----
    For CSR no step takes as long as there are features, however few rows it has. X is
    never densified. Nothing is validated.
    """
    if coef.shape[-1] != X.shape[1]:
        raise ValueError(f"X has {X.shape[1]} features, but coef_ has shape {coef.shape}.")
    if sparse.issparse(coef) and not (coef.format == "csr" and coef.has_canonical_format):
        coef = sparse.csr_array(coef, copy=True)
        coef.sum_duplicates()
    if sparse.issparse(X) and X.format == "csr":
        return _from_rows(X, coef, intercept)
    if sparse.issparse(coef):
        support, coef = _compact(coef)
        X = X[:, support]
    else:
        used = coef != 0.0
        support = np.flatnonzero(used.any(axis=0) if coef.ndim == 2 else used)
        if FEW * support.size <= X.shape[1]:
            X, coef = X[:, support], coef[..., support]
    prediction = X @ coef.T
    prediction += np.asarray(intercept, dtype=prediction.dtype)
    return prediction


def _compact(coef: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Return which columns of coef are not zero, and these as a dense array."""
    support, position = np.unique(coef.indices, return_inverse=True)
    dense = np.zeros((coef.shape[0], support.size), dtype=coef.dtype)
    dense[np.repeat(np.arange(coef.shape[0]), np.diff(coef.indptr)), position] = coef.data
    return support, dense


def _from_rows(
    X: sparse.csr_array, coef: Coefficients, intercept: float | np.ndarray
) -> np.ndarray:
    """Return the linear predictor of CSR rows."""
    kind = np.float32 if coef.dtype == np.float32 else np.float64
    single, precision = coef.ndim == 1, kind if X.dtype == np.float32 else np.float64
    n_outputs = 1 if single else coef.shape[0]
    shift = np.atleast_1d(np.asarray(intercept, dtype=np.float64))
    if shift.shape != (n_outputs,):
        shift = np.ascontiguousarray(np.broadcast_to(shift, n_outputs))
    if n_outputs > 1 and not sparse.issparse(coef):
        coef = _compressed(X, coef)
    out = np.empty((X.shape[0], n_outputs))
    if sparse.issparse(coef):
        _combine_sparse(X, coef, shift, out)
    else:
        rows = np.ascontiguousarray(coef[np.newaxis] if single else coef, dtype=kind)
        combine_dense(X.data, X.indices, X.indptr, rows, shift, out, _threads(X))
    out = out.astype(precision, copy=False)
    return out[:, 0] if single else out


def _compressed(X: sparse.csr_array, coef: np.ndarray) -> Coefficients:
    """Return coef of several outputs as CSR where few are not zero and X pays for the search."""
    if coef.nbytes <= CACHED_BYTES or SEARCH_ALL_FROM * X.nnz <= X.shape[1]:
        return coef
    used = coef != 0.0
    if FEW * np.count_nonzero(used) > coef.size:
        return coef
    # A third of the time of csr_array(coef).
    outputs, columns = np.divmod(np.flatnonzero(used), coef.shape[1])
    starts = np.searchsorted(outputs, np.arange(coef.shape[0] + 1))
    return sparse.csr_array((coef[outputs, columns], columns, starts), shape=coef.shape)


def _combine_sparse(
    X: sparse.csr_array, coef: sparse.csr_array, intercept: np.ndarray, out: np.ndarray
) -> None:
    index, n_outputs = X.indices.dtype, out.shape[1]
    values = coef.data.astype(np.float64, copy=False)
    columns = coef.indices.astype(index, copy=False)
    starts = coef.indptr.astype(np.int64, copy=False)
    mean_size = values.size / n_outputs
    search = SEARCH_COST * X.nnz * n_outputs * (1.0 + math.log2(1.0 + mean_size))
    table = TABLE_COST + COLUMN_COST * values.size + FIND_COST * X.nnz
    if search <= table:
        combine_few(X.data, X.indices, X.indptr, values, columns, starts, intercept, out)
        return
    n_bits = int(TABLE_ROOM * values.size + 1).bit_length()
    keys, slots = np.full(1 << n_bits, -1, dtype=index), np.empty(1 << n_bits, dtype=index)
    stops = np.zeros(values.size + 1, dtype=index)
    sieve = np.zeros(1 << n_bits, dtype=np.uint8)
    number_columns(columns, keys, slots, sieve, stops, n_bits)
    outputs, stored = np.empty_like(columns), np.empty_like(values)
    fill_columns(values, columns, starts, keys, slots, stops, outputs, stored, n_bits)
    combine_many(
        X.data, X.indices, X.indptr, keys, slots, sieve, stops, outputs, stored, n_bits,
        intercept, out, _threads(X),
    )  # fmt: skip


def _threads(X: sparse.csr_array) -> int:
    return effective_n_threads() if X.nnz >= THREADED_FROM else 1


def class_probabilities(decision: np.ndarray) -> np.ndarray:
    """Return the probability of each class, rows that sum to 1 to rounding.

    Parameters
    ----------
    decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Log-odds of the second of two classes, or log-probabilities up to a constant.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Small probabilities are accurate to the last digits, as neither is 1 minus the other.
    """
    if decision.ndim == 1:
        return special.expit(np.column_stack([-decision, decision]))
    return special.softmax(decision, axis=1)


def log_class_probabilities(decision: np.ndarray) -> np.ndarray:
    """Return the logarithms of `class_probabilities`, finite and accurate where those underflow."""
    if decision.ndim == 1:
        return special.log_expit(np.column_stack([-decision, decision]))
    # The largest term is split off: log(1 + rest) keeps the digits of a probability near 1.
    largest = decision.argmax(axis=1)[:, np.newaxis]
    below = decision - np.take_along_axis(decision, largest, axis=1)
    rest = np.exp(below)
    np.put_along_axis(rest, largest, 0.0, axis=1)
    return below - np.log1p(rest.sum(axis=1, keepdims=True))


def separates(decision: np.ndarray, codes: np.ndarray) -> bool:
    """Return whether every sample lies strictly on the side of its class.

    Parameters
    ----------
    decision : ndarray of shape (n_samples, 1) or (n_samples, n_classes)
        A single column for two classes, see `class_probabilities`.
    codes : ndarray of shape (n_samples,), dtype int
        Class of each sample.
    """
    if decision.shape[1] == 1:
        return bool((np.where(codes == 1, decision[:, 0], -decision[:, 0]) > 0.0).all())
    own = np.take_along_axis(decision, codes[:, np.newaxis], axis=1)
    return bool(((decision >= own).sum(axis=1) == 1).all())
