"""The linear predictor: what every fitted model computes from X."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ._validation import Matrix

# Gathered columns pay where less than one in so many coefficients is not zero: C-ordered memory
# reads a cache line of 8 doubles for each value of a column, and the gathered values are written.
FEW = 32


def linear_predictor(X: Matrix, coef: np.ndarray, intercept: float | np.ndarray) -> np.ndarray:
    """Return ``X @ coef.T + intercept``, reading few columns where few coefficients are not zero.

    Parameters
    ----------
    X : ndarray or sparse of shape (n_samples, n_features), float32 or float64
    coef : ndarray of shape (n_features,) or (n_outputs, n_features), float32 or float64
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
        support = np.flatnonzero(coef.any(axis=0) if coef.ndim == 2 else coef)
        if FEW * support.size <= X.shape[1]:
            X, coef = X[:, support], coef[..., support]
    prediction = X @ coef.T
    prediction += np.asarray(intercept, dtype=prediction.dtype)
    return prediction
