# Products with X and its moments along the major axis: the columns of CSC and Fortran order, the rows of CSR and
# C order. Layout: compressed storage has (data, minor, indptr); dense storage has empty minor and indptr, and
# `length` values a vector.
# Each output of `products` is summed by one thread in a fixed order, so results do not depend on the number of threads.

from cython.parallel cimport prange

from ._columns cimport column_axpy, column_dot
from ._types cimport index_t, real_t

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static int sparselp_max_threads(void) { return omp_get_max_threads(); }
    #else
    static int sparselp_max_threads(void) { return 1; }
    #endif
    """
    int max_threads "sparselp_max_threads"() noexcept nogil


def effective_n_threads():
    """Return the number of OpenMP threads in force (environment, threadpoolctl), 1 without OpenMP."""
    return max_threads()


def products(
    const real_t[::1] data not None,      # IN
    const index_t[::1] minor not None,    # IN
    const index_t[::1] indptr not None,   # IN
    Py_ssize_t length,
    const double[:, ::1] vectors not None,  # IN, (n_vectors, n_minor)
    double[:, ::1] out not None,            # OUT, (n_vectors, n_major)
    int n_threads,
):
    """Fill ``out[r, k] = <vector of major k, vectors[r]>``: one pass over X for all right-hand sides."""
    cdef Py_ssize_t k, n_major = out.shape[1]
    cdef bint dense = indptr.shape[0] == 0
    if n_major == 0 or vectors.shape[1] == 0 or data.shape[0] == 0:
        out[:, :] = 0.0
        return
    if n_threads <= 1:
        with nogil:
            for k in range(n_major):
                _products_of_one(&data[0], &minor[0] if not dense else NULL, indptr, dense, length, vectors, out, k)
    else:
        for k in prange(n_major, nogil=True, schedule="dynamic", chunksize=256, num_threads=n_threads):
            _products_of_one(&data[0], &minor[0] if not dense else NULL, indptr, dense, length, vectors, out, k)


cdef inline void _products_of_one(
    const real_t* data, const index_t* minor, const index_t[::1] indptr, bint dense, Py_ssize_t length,
    const double[:, ::1] vectors, double[:, ::1] out, Py_ssize_t k,
) noexcept nogil:
    cdef Py_ssize_t r, start, size
    if dense:
        for r in range(vectors.shape[0]):
            out[r, k] = column_dot(data + k * length, <const index_t*> NULL, length, &vectors[r, 0])
        return
    start = indptr[k]
    size = indptr[k + 1] - start
    for r in range(vectors.shape[0]):
        out[r, k] = column_dot(data + start, minor + start, size, &vectors[r, 0]) if size else 0.0


def accumulate(
    const real_t[::1] data not None,     # IN
    const index_t[::1] minor not None,   # IN
    const index_t[::1] indptr not None,  # IN
    Py_ssize_t length,
    const double[::1] scales not None,   # IN, (n_major,)
    double[::1] out not None,            # IN/OUT, (n_minor,)
):
    """Add ``sum_k scales[k] * (vector of major k)`` to out; majors with scale 0 are not read."""
    cdef Py_ssize_t k
    if data.shape[0] == 0:
        return
    with nogil:
        for k in range(scales.shape[0]):
            if scales[k] == 0.0:
                continue
            if indptr.shape[0] == 0:
                column_axpy(scales[k], &data[k * length], <const index_t*> NULL, length, &out[0])
            elif indptr[k + 1] > indptr[k]:
                column_axpy(scales[k], &data[indptr[k]], &minor[indptr[k]], indptr[k + 1] - indptr[k], &out[0])


def row_moments(
    const real_t[::1] data not None,     # IN
    const index_t[::1] columns not None,  # IN
    const index_t[::1] indptr not None,  # IN
    Py_ssize_t length,
    const double[::1] weights not None,  # IN, (n_samples,)
    bint centred,
    double[::1] sums not None,           # OUT, (n_features,)
    double[::1] squares not None,        # OUT, (n_features,)
    double[::1] stored not None,         # OUT, (n_features,) weight of the stored entries
):
    """Weighted sums and centred squares of the columns from row storage, in two passes over X (no cancellation)."""
    cdef Py_ssize_t i, j, k, start, size
    cdef double total = 0.0, value
    cdef bint dense = indptr.shape[0] == 0
    sums[:] = 0.0
    squares[:] = 0.0
    stored[:] = 0.0
    with nogil:
        for i in range(weights.shape[0]):
            total += weights[i]
            start = i * length if dense else indptr[i]
            size = length if dense else indptr[i + 1] - indptr[i]
            for k in range(start, start + size):
                j = k - start if dense else columns[k]
                sums[j] += weights[i] * data[k]
                stored[j] += weights[i]
        for i in range(weights.shape[0]):
            start = i * length if dense else indptr[i]
            size = length if dense else indptr[i + 1] - indptr[i]
            for k in range(start, start + size):
                j = k - start if dense else columns[k]
                value = data[k] - (sums[j] / total if centred else 0.0)
                squares[j] += weights[i] * value * value
        if centred and not dense:
            for j in range(sums.shape[0]):
                if total > stored[j]:
                    value = sums[j] / total
                    squares[j] += (total - stored[j]) * value * value
