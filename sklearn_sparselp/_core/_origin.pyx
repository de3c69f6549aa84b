# Which columns may have a mean far above their spread: their values in a few rows are nearly the same.

from libc.math cimport fabs

import numpy as np

from ._columns cimport first_from
from ._types cimport index_t, int64_t, real_t

cdef inline bint near(double value, double first, double within) noexcept nogil:
    return fabs(value - first) <= within * fabs(first)


def steady_dense_columns(const real_t[:, :] X not None, const int64_t[::1] looks not None, double within):
    """Return which columns of dense X hold nearly the same value in all rows that are looked at.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    looks : ndarray of shape (n_looks,), dtype int64
        These rows.
    within : float
        By how much of the first value the others may differ; a first value of 0 differs from all.

    Returns
    -------
    columns : ndarray of shape (n_found,), dtype int64
        Ascending.
    """
    cdef Py_ssize_t j, look, n_looks = looks.shape[0]
    cdef double first
    found = []
    for j in range(X.shape[1]):
        first = X[looks[0], j]
        look = 1
        while look < n_looks and first != 0.0 and near(X[looks[look], j], first, within):
            look += 1
        if look == n_looks:
            found.append(j)
    return np.array(found, dtype=np.int64)


def steady_compressed_columns(
    const real_t[::1] data not None,      # IN
    const index_t[::1] indices not None,  # IN, ascending in each row or column
    const index_t[::1] indptr not None,   # IN
    Py_ssize_t n_rows,
    const int64_t[::1] looks not None,    # IN, (n_looks,)
    bint by_columns,
    double within,
):
    """Return what `steady_dense_columns` does, for CSC, or CSR unless ``by_columns``; 0 where nothing is stored."""
    cdef Py_ssize_t j, k, at, start, stop, size, look, n_looks = looks.shape[0]
    cdef double first
    found = []
    if by_columns:
        for j in range(indptr.shape[0] - 1):
            start = indptr[j]
            if indptr[j + 1] - start != n_rows:
                continue
            first = data[start + looks[0]]
            look = 1
            while look < n_looks and first != 0.0 and near(data[start + looks[look]], first, within):
                look += 1
            if look == n_looks:
                found.append(j)
        return np.array(found, dtype=np.int64)
    for k in range(indptr[looks[0]], indptr[looks[0] + 1]):
        first = data[k]
        look = 1
        while look < n_looks and first != 0.0:
            start, stop = indptr[looks[look]], indptr[looks[look] + 1]
            size = stop - start
            at = start + first_from(&indices[start], size, indices[k]) if size else stop
            if at == stop or indices[at] != indices[k] or not near(data[at], first, within):
                break
            look += 1
        if look == n_looks:
            found.append(indices[k])
    return np.array(found, dtype=np.int64)
