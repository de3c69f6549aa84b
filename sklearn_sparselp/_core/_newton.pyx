# What a solver asks of a few chosen columns of X: products and moments.
# Column k of a block holds data[start[k]:stop[k]], in rows rows[start[k]:stop[k]] (rows empty for dense columns).
# Each output is summed by one thread in a fixed order, so results do not depend on the number of threads.

from cython.parallel cimport prange

from ._columns cimport column_axpy, column_axpy_within, column_dot, column_spread
from ._types cimport int32_t, int64_t, minor_t, real_t

# Parts of a block for each thread: some hold more values than others.
cdef Py_ssize_t PARTS = 8
# Entries of the outputs of several vectors that stay in cache, for each.
cdef Py_ssize_t PIECE = 512


def block_products(
    const real_t[::1] data not None,    # IN
    const minor_t[::1] rows not None,   # IN
    const int64_t[::1] start not None,  # IN, (n_columns,)
    const int64_t[::1] stop not None,   # IN, (n_columns,)
    const double[::1] vector not None,  # IN, (n_samples,)
    double[::1] out not None,           # OUT, (n_columns,)
    int n_threads,
):
    """Fill ``out[k] = <column k, vector>``."""
    cdef const minor_t* where = NULL
    if rows.shape[0]:
        where = &rows[0]
    if start.shape[0] and data.shape[0]:
        products_of(&data[0], where, &start[0], &stop[0], start.shape[0], &vector[0], &out[0], n_threads)
    else:
        out[:] = 0.0


cdef void products_of(
    const real_t* data, const minor_t* rows, const int64_t* start, const int64_t* stop, Py_ssize_t n_columns,
    const double* vector, double* out, int n_threads,
) noexcept nogil:
    # Without a parallel region where there is one thread: to enter it takes as long as some short columns.
    cdef Py_ssize_t k, at_once = max(n_columns // (PARTS * max(n_threads, 1)), 1)
    if n_threads <= 1:
        for k in range(n_columns):
            out[k] = _product_of(data, rows, start[k], stop[k], vector)
        return
    for k in prange(n_columns, schedule="dynamic", chunksize=at_once, num_threads=n_threads):
        out[k] = _product_of(data, rows, start[k], stop[k], vector)


cdef inline double _product_of(
    const real_t* data, const minor_t* rows, int64_t start, int64_t stop, const double* vector,
) noexcept nogil:
    cdef const minor_t* where = NULL
    if stop == start:
        return 0.0
    if rows != NULL:
        where = rows + start
    return column_dot(data + start, where, stop - start, vector)


def block_accumulate(
    const real_t[::1] data not None,    # IN
    const minor_t[::1] rows not None,   # IN, ascending in each column
    const int64_t[::1] start not None,  # IN, (n_columns,)
    const int64_t[::1] stop not None,   # IN, (n_columns,)
    const double[::1] scales not None,  # IN, (n_columns,)
    double[::1] out not None,           # IN/OUT, (n_samples,)
    int n_threads,
):
    """Add ``sum_k scales[k] * column k`` to out."""
    cdef const minor_t* where = NULL
    if rows.shape[0]:
        where = &rows[0]
    if start.shape[0] and data.shape[0]:
        accumulate_of(
            &data[0], where, &start[0], &stop[0], start.shape[0], &scales[0], &out[0], out.shape[0], n_threads
        )


def block_accumulate_many(
    const real_t[::1] data not None,       # IN
    const minor_t[::1] rows not None,      # IN, ascending in each column
    const int64_t[::1] start not None,     # IN, (n_columns,)
    const int64_t[::1] stop not None,      # IN, (n_columns,)
    const double[:, ::1] scales not None,  # IN, (n_vectors, n_columns)
    double[:, ::1] out not None,           # IN/OUT, (n_vectors, n_samples)
    int n_threads,
):
    """Do what `block_accumulate` does for several vectors, to the last bit."""
    cdef Py_ssize_t piece, r, n_samples = out.shape[1]
    if not start.shape[0] or not data.shape[0] or not n_samples:
        return
    if rows.shape[0]:
        # No column is searched for where a part begins.
        for r in prange(out.shape[0], nogil=True, schedule="dynamic", num_threads=n_threads):
            accumulate_of(
                &data[0], &rows[0], &start[0], &stop[0], start.shape[0], &scales[r, 0], &out[r, 0], n_samples, 1
            )
    else:
        for piece in prange((n_samples - 1) // PIECE + 1, nogil=True, schedule="dynamic", num_threads=n_threads):
            _accumulate_piece(
                &data[0], start, scales, piece * PIECE, min((piece + 1) * PIECE, n_samples), out
            )


cdef void _accumulate_piece(
    const real_t* data, const int64_t[::1] start, const double[:, ::1] scales, Py_ssize_t first, Py_ssize_t last,
    double[:, ::1] out,
) noexcept nogil:
    # Dense columns at some of the samples: a column is read once for all vectors.
    cdef Py_ssize_t k, r
    for k in range(start.shape[0]):
        for r in range(out.shape[0]):
            if scales[r, k] != 0.0:
                column_axpy(scales[r, k], data + start[k] + first, <const int32_t*> NULL, last - first, &out[r, first])


cdef void accumulate_of(
    const real_t* data, const minor_t* rows, const int64_t* start, const int64_t* stop, Py_ssize_t n_columns,
    const double* scales, double* out, Py_ssize_t n_samples, int n_threads,
) noexcept nogil:
    # As few parts as threads: a sparse column is searched for where a part begins, dense ones are read in long pieces.
    cdef Py_ssize_t part
    if n_threads <= 1:
        _accumulate_part(data, rows, start, stop, n_columns, scales, out, 0, n_samples, True)
        return
    for part in prange(n_threads, schedule="dynamic", num_threads=n_threads):
        _accumulate_part(
            data, rows, start, stop, n_columns, scales, out, part * n_samples // n_threads,
            (part + 1) * n_samples // n_threads, False,
        )


cdef void _accumulate_part(
    const real_t* data, const minor_t* rows, const int64_t* start, const int64_t* stop, Py_ssize_t n_columns,
    const double* scales, double* out, Py_ssize_t first, Py_ssize_t last, bint whole,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef const minor_t* where = NULL
    for k in range(n_columns):
        if scales[k] != 0.0 and stop[k] > start[k]:
            if rows != NULL:
                where = rows + start[k]
            column_axpy_within(scales[k], data + start[k], where, stop[k] - start[k], first, last, whole, out)


def block_moments(
    const real_t[::1] data not None,     # IN
    const minor_t[::1] rows not None,    # IN
    const int64_t[::1] start not None,   # IN, (n_columns,)
    const int64_t[::1] stop not None,    # IN, (n_columns,)
    const double[::1] weights not None,  # IN, (n_samples,)
    bint centred,
    double[::1] sums not None,           # OUT, (n_columns,) sum_i weights_i x_ij, 0 unless centred
    double[::1] squares not None,        # OUT, (n_columns,) sum_i weights_i (x_ij - mean_j)^2, mean 0 unless centred
    const double[::1] vector not None,   # IN, (n_samples,), or empty
    double[::1] products not None,       # OUT, (n_columns,) <column, vector>, or empty
    int n_threads,
):
    """Weighted sums and centred squares of columns (two passes a column: no cancellation), and products with them."""
    cdef Py_ssize_t k, i, at_once = max(start.shape[0] // (PARTS * max(n_threads, 1)), 1)
    cdef double total = 0.0, mean
    cdef bint dense = rows.shape[0] == 0, multiply = vector.shape[0] > 0
    cdef const real_t* column
    cdef const minor_t* where
    for i in range(weights.shape[0]):
        total += weights[i]
    for k in prange(start.shape[0], nogil=True, schedule="dynamic", chunksize=at_once, num_threads=n_threads):
        if stop[k] == start[k]:
            sums[k] = 0.0
            squares[k] = 0.0
            if multiply:
                products[k] = 0.0
            continue
        column = &data[start[k]]
        where = NULL if dense else &rows[start[k]]
        sums[k] = column_dot(column, where, stop[k] - start[k], &weights[0]) if centred else 0.0
        mean = sums[k] / total if total > 0.0 else 0.0
        squares[k] = column_spread(column, where, stop[k] - start[k], &weights[0], total, mean)
        # The column is in the cache.
        if multiply:
            products[k] = column_dot(column, where, stop[k] - start[k], &vector[0])
