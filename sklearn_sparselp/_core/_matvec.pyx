# Products with X and its moments along the major axis: the columns of CSC and Fortran order, the rows of CSR and
# C order. Layout: compressed storage has (data, minor, indptr); dense storage has empty minor and indptr, and
# `length` values a vector.
# Each output is summed by one thread in a fixed order, so results do not depend on the number of threads.

from libc.float cimport DBL_EPSILON as EPS

from cython.parallel cimport prange

from ._columns cimport column_axpy, column_axpy_within, column_dot, dense_pair_dots, first_from
from ._panels cimport columns_with_four
from ._types cimport index_t, int32_t, int64_t, minor_t, real_t

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static int sparselp_max_threads(void) { return omp_get_max_threads(); }
    static void sparselp_set_threads(int n) { omp_set_num_threads(n); }
    #else
    static int sparselp_max_threads(void) { return 1; }
    static void sparselp_set_threads(int n) { (void)n; }
    #endif
    """
    int max_threads "sparselp_max_threads"() noexcept nogil
    void set_threads "sparselp_set_threads"(int) noexcept nogil

# Stored values that a thread takes at once, about 30 us of work: few columns that are long are shared out too.
cdef Py_ssize_t VALUES_AT_ONCE = 32_768
# Parts of an output for each thread, of which one may hold more values than another.
cdef Py_ssize_t PARTS = 4
# Entries of the outputs of several vectors that stay in cache, for each.
cdef Py_ssize_t PIECE = 512


def effective_n_threads():
    """Return the number of OpenMP threads in force (environment, threadpoolctl), 1 without OpenMP."""
    return max_threads()


def limit_n_threads(int n_threads):
    """Set the number of OpenMP threads of regions that the calling thread opens, and of no other's."""
    set_threads(n_threads)


def products(
    const real_t[::1] data not None,      # IN
    const minor_t[::1] minor not None,    # IN
    indptr,                               # IN, int64 where minor is, else int32
    Py_ssize_t length,
    const double[:, ::1] vectors not None,  # IN, (n_vectors, n_minor)
    double[:, ::1] out not None,            # OUT, (n_vectors, n_major)
    int n_threads,
):
    """Fill ``out[r, k] = <vector of major k, vectors[r]>``: one pass over X for all right-hand sides."""
    cdef const int32_t[::1] short_indptr
    cdef const int64_t[::1] long_indptr
    if minor_t is int64_t:
        long_indptr = indptr
        _products(data, minor, long_indptr, length, vectors, out, n_threads)
    else:
        short_indptr = indptr
        _products(data, minor, short_indptr, length, vectors, out, n_threads)


cdef int _products(
    const real_t[::1] data, const minor_t[::1] minor, const index_t[::1] indptr, Py_ssize_t length,
    const double[:, ::1] vectors, double[:, ::1] out, int n_threads,
) except -1:
    cdef Py_ssize_t k, at_once, n_major = out.shape[1]
    cdef bint dense = indptr.shape[0] == 0
    if n_major == 0 or vectors.shape[1] == 0 or data.shape[0] == 0:
        out[:, :] = 0.0
        return 0
    at_once = max(n_major * VALUES_AT_ONCE // data.shape[0], 1)
    if not dense:
        for k in prange(0, n_major, at_once, nogil=True, schedule="dynamic", num_threads=n_threads):
            _sparse_products(&data[0], &minor[0], &indptr[0], vectors, out, k, min(k + at_once, n_major))
    elif n_threads <= 1:
        with nogil:
            for k in range(n_major):
                _dense_products(&data[0], length, vectors, out, k)
    else:
        for k in prange(n_major, nogil=True, schedule="dynamic", chunksize=at_once, num_threads=n_threads):
            _dense_products(&data[0], length, vectors, out, k)
    return 0


cdef void _sparse_products(
    const real_t* data, const minor_t* minor, const index_t* indptr, const double[:, ::1] vectors,
    double[:, ::1] out, Py_ssize_t first, Py_ssize_t last,
) noexcept nogil:
    cdef Py_ssize_t r, k, start, stop
    cdef const double* vector
    cdef double* products
    for r in range(vectors.shape[0]):
        vector, products, start = &vectors[r, 0], &out[r, 0], indptr[first]
        for k in range(first, last):
            stop = indptr[k + 1]
            products[k] = column_dot(data + start, minor + start, stop - start, vector)
            start = stop


cdef inline void _dense_products(
    const real_t* data, Py_ssize_t length, const double[:, ::1] vectors, double[:, ::1] out, Py_ssize_t k,
) noexcept nogil:
    cdef Py_ssize_t r
    cdef double[2] found
    for r in range(0, vectors.shape[0] - 1, 2):
        dense_pair_dots(data + k * length, length, &vectors[r, 0], &vectors[r + 1, 0], found)
        out[r, k], out[r + 1, k] = found[0], found[1]
    if vectors.shape[0] % 2:
        r = vectors.shape[0] - 1
        out[r, k] = column_dot(data + k * length, <const int32_t*> NULL, length, &vectors[r, 0])


def products_of_many(
    const real_t[::1] data not None,      # IN
    const minor_t[::1] minor not None,    # IN
    indptr,                               # IN, int64 where minor is, else int32
    const double[:, :, ::1] vectors not None,  # IN, (n_fours, n_minor, 4)
    double[:, ::1] out not None,          # OUT, (n_vectors, n_major)
    int n_threads,
):
    """Fill what `products` does for compressed X, from vectors that lie side by side in fours."""
    cdef const int32_t[::1] short_indptr
    cdef const int64_t[::1] long_indptr
    if minor_t is int64_t:
        long_indptr = indptr
        _products_of_many(data, minor, long_indptr, vectors, out, n_threads)
    else:
        short_indptr = indptr
        _products_of_many(data, minor, short_indptr, vectors, out, n_threads)


cdef int _products_of_many(
    const real_t[::1] data, const minor_t[::1] minor, const index_t[::1] indptr, const double[:, :, ::1] vectors,
    double[:, ::1] out, int n_threads,
) except -1:
    cdef Py_ssize_t four, k, at_once, n_major = out.shape[1]
    if n_major == 0 or vectors.shape[1] == 0 or data.shape[0] == 0:
        out[:, :] = 0.0
        return 0
    at_once = max(n_major * VALUES_AT_ONCE // data.shape[0], 1)
    # One four after the other: two would share the cache.
    for four in range(vectors.shape[0]):
        for k in prange(0, n_major, at_once, nogil=True, schedule="dynamic", num_threads=n_threads):
            columns_with_four(
                &data[0], &minor[0], &indptr[0], k, min(k + at_once, n_major), &vectors[four, 0, 0], &out[4 * four, 0],
                n_major, min(4, out.shape[0] - 4 * four),
            )
    return 0


def accumulate_many(
    const real_t[::1] data not None,       # IN, dense
    const double[:, ::1] scales not None,  # IN, (n_vectors, n_major)
    double[:, ::1] out not None,           # IN/OUT, (n_vectors, n_minor)
    int n_threads,
):
    """Do what `accumulate` does for several vectors: a piece of X stays in cache for all of them."""
    cdef Py_ssize_t piece, r, k, first, last, n_minor = out.shape[1]
    if data.shape[0] == 0:
        return
    for piece in prange((n_minor - 1) // PIECE + 1, nogil=True, schedule="dynamic", num_threads=n_threads):
        first = piece * PIECE
        last = min(first + PIECE, n_minor)
        for k in range(scales.shape[1]):
            for r in range(scales.shape[0]):
                if scales[r, k] != 0.0:
                    column_axpy(
                        scales[r, k], &data[k * n_minor + first], <const int32_t*> NULL, last - first, &out[r, first]
                    )


def accumulate(
    const real_t[::1] data not None,     # IN
    const minor_t[::1] minor not None,   # IN, ascending in each major
    indptr,                              # IN, int64 where minor is, else int32
    Py_ssize_t length,
    const double[::1] scales not None,   # IN, (n_major,)
    double[::1] out not None,            # IN/OUT, (n_minor,)
    int n_threads,
):
    """Add ``sum_k scales[k] * (vector of major k)`` to out; majors with scale 0 are not read."""
    cdef const int32_t[::1] short_indptr
    cdef const int64_t[::1] long_indptr
    if minor_t is int64_t:
        long_indptr = indptr
        _accumulate(data, minor, long_indptr, length, scales, out, n_threads)
    else:
        short_indptr = indptr
        _accumulate(data, minor, short_indptr, length, scales, out, n_threads)


cdef int _accumulate(
    const real_t[::1] data, const minor_t[::1] minor, const index_t[::1] indptr, Py_ssize_t length,
    const double[::1] scales, double[::1] out, int n_threads,
) except -1:
    cdef Py_ssize_t part, k, first, last, n_minor = out.shape[0], parts = PARTS * n_threads if n_threads > 1 else 1
    cdef bint dense = indptr.shape[0] == 0
    if data.shape[0] == 0:
        return 0
    for part in prange(parts, nogil=True, schedule="dynamic", num_threads=n_threads):
        first = part * n_minor // parts
        last = (part + 1) * n_minor // parts
        for k in range(scales.shape[0]):
            if scales[k] == 0.0:
                continue
            if dense:
                column_axpy_within(
                    scales[k], &data[k * length], <const minor_t*> NULL, length, first, last, parts == 1, &out[0]
                )
            elif indptr[k + 1] > indptr[k]:
                column_axpy_within(
                    scales[k], &data[indptr[k]], &minor[indptr[k]], indptr[k + 1] - indptr[k], first, last,
                    parts == 1, &out[0],
                )
    return 0


def row_moments(
    const real_t[::1] data not None,      # IN
    const index_t[::1] columns not None,  # IN, ascending in each row
    const index_t[::1] indptr not None,   # IN
    Py_ssize_t length,
    const double[::1] weights not None,   # IN, (n_samples,)
    bint centred,
    double[::1] sums not None,            # OUT, (n_features,)
    double[::1] squares not None,         # OUT, (n_features,)
    double[::1] stored not None,          # OUT, (n_features,) weight of the stored entries
    int n_threads,
):
    """Weighted sums and centred squares of the columns from row storage, in two passes over X (no cancellation)."""
    cdef Py_ssize_t part, i, j, k, first, last, start, stop
    cdef Py_ssize_t n_features = sums.shape[0], parts = PARTS * n_threads if n_threads > 1 else 1
    cdef double total = 0.0, value
    cdef bint dense = indptr.shape[0] == 0
    for i in range(weights.shape[0]):
        total += weights[i]
    sums[:] = 0.0
    squares[:] = 0.0
    stored[:] = 0.0
    for part in prange(parts, nogil=True, schedule="dynamic", num_threads=n_threads):
        first = part * n_features // parts
        last = (part + 1) * n_features // parts
        for i in range(weights.shape[0]):
            start = _place_in_row(columns, indptr, i, length, first, n_features)
            stop = _place_in_row(columns, indptr, i, length, last, n_features)
            for k in range(start, stop):
                j = k - i * length if dense else columns[k]
                sums[j] += weights[i] * data[k]
                stored[j] += weights[i]
        for i in range(weights.shape[0]):
            start = _place_in_row(columns, indptr, i, length, first, n_features)
            stop = _place_in_row(columns, indptr, i, length, last, n_features)
            for k in range(start, stop):
                j = k - i * length if dense else columns[k]
                value = data[k] - (sums[j] / total if centred else 0.0)
                squares[j] += weights[i] * value * value
        if centred and not dense:
            for j in range(first, last):
                # What a full column seems to lack is rounding.
                if total - stored[j] > weights.shape[0] * EPS * total:
                    value = sums[j] / total
                    squares[j] += (total - stored[j]) * value * value


cdef inline Py_ssize_t _place_in_row(
    const index_t[::1] columns, const index_t[::1] indptr, Py_ssize_t i, Py_ssize_t length, Py_ssize_t feature,
    Py_ssize_t n_features,
) noexcept nogil:
    # Where the values of row i from a feature on are stored.
    if indptr.shape[0] == 0:
        return i * length + feature
    if feature == 0 or indptr[i] == indptr[i + 1]:
        return indptr[i]
    if feature == n_features:
        return indptr[i + 1]
    return indptr[i] + first_from(&columns[indptr[i]], indptr[i + 1] - indptr[i], feature)
