"""The linear predictor, what every fitted model computes from X, and probabilities from it."""

from __future__ import annotations

import numpy as np
from scipy import sparse, special

from ._validation import Matrix

# Gathered columns pay where less than one in so many coefficients is not zero: C-ordered memory
# reads a cache line of 8 doubles for each value of a column, and the gathered values are written.
FEW = 32


def linear_predictor(
    X: Matrix, coef: np.ndarray | sparse.csr_array, intercept: float | np.ndarray
) -> np.ndarray:
    """Return ``X @ coef.T + intercept``, reading few columns where few coefficients are not zero.

    Parameters
    ----------
    X : ndarray or sparse of shape (n_samples, n_features), float32 or float64
    coef : ndarray of shape (n_features,) or (n_outputs, n_features), float32 or float64
        Or csr_array of shape (n_outputs, n_features).
    intercept : float or ndarray of shape (n_outputs,)

    Returns
    -------
    ndarray of shape (n_samples,) or (n_samples, n_outputs)
        float32 where X and coef are, else float64.

    Notes
    -----
    CSR rows are read whole: a column of CSR is found no faster than by reading all. X is
    never densified. Nothing is validated.
    """
    if not sparse.issparse(X) or X.format == "csc":
        if sparse.issparse(coef):
            support, coef = _compact(coef)
            X = X[:, support]
        else:
            support = np.flatnonzero(coef.any(axis=0) if coef.ndim == 2 else coef)
            if FEW * support.size <= X.shape[1]:
                X, coef = X[:, support], coef[..., support]
    prediction = X @ coef.T
    if sparse.issparse(prediction):
        prediction = prediction.toarray()
    prediction += np.asarray(intercept, dtype=prediction.dtype)
    return prediction


def _compact(coef: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Return which columns of coef are not zero, and these as a dense array."""
    support, position = np.unique(coef.indices, return_inverse=True)
    dense = np.zeros((coef.shape[0], support.size), dtype=coef.dtype)
    dense[np.repeat(np.arange(coef.shape[0]), np.diff(coef.indptr)), position] = coef.data
    return support, dense


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
    return special.log_softmax(decision, axis=1)
