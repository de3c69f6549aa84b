"""Every layout in which a matrix may reach an estimator, and seeded data to put into them."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def _compressed(make, index_dtype):
    def store(X):
        stored = make(np.asarray(X))
        # Set afterwards: the constructor would narrow int64 indices that fit into int32.
        stored.indices = stored.indices.astype(index_dtype)
        stored.indptr = stored.indptr.astype(index_dtype)
        return stored

    return store


DENSE = {"dense_c": np.ascontiguousarray, "dense_f": np.asfortranarray}
SPARSE = {
    f"{make.__name__}_{np.dtype(index).name}": _compressed(make, index)
    for make in (sparse.csr_array, sparse.csc_array, sparse.csr_matrix, sparse.csc_matrix)
    for index in (np.int32, np.int64)
}
LAYOUTS = {**DENSE, **SPARSE}


def buffers(X):
    """The arrays that hold a matrix."""
    return [X.data, X.indices, X.indptr] if sparse.issparse(X) else [X]


def regression(seed=0, n_samples=40, n_features=12, density=1.0, noise=0.5):
    """X and y of a linear model with three strong features, columns of unlike sizes and means."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) * rng.uniform(0.5, 2.0, n_features)
    X += rng.normal(size=n_features)
    X *= rng.uniform(size=X.shape) < density
    w = np.zeros(n_features)
    w[:3] = [2.0, -1.5, 1.0][:n_features]
    return X, X @ w + 0.7 + noise * rng.normal(size=n_samples)
