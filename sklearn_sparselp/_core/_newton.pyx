# What a solver asks of a few chosen columns of X: products, moments, Gram matrix.
# Column k of a block holds data[start[k]:stop[k]], in rows rows[start[k]:stop[k]] (rows empty for dense columns).

from ._columns cimport column_axpy, column_dot
from ._types cimport index_t, int64_t, real_t


def block_products(
    const real_t[::1] data not None,    # IN
    const index_t[::1] rows not None,   # IN
    const int64_t[::1] start not None,  # IN, (n_columns,)
    const int64_t[::1] stop not None,   # IN, (n_columns,)
    const double[::1] vector not None,  # IN, (n_samples,)
    double[::1] out not None,           # OUT, (n_columns,)
):
    """Fill ``out[k] = <column k, vector>``."""
    cdef Py_ssize_t k
    cdef bint dense = rows.shape[0] == 0
    with nogil:
        for k in range(start.shape[0]):
            if stop[k] == start[k]:
                out[k] = 0.0
            elif dense:
                out[k] = column_dot(&data[start[k]], <const index_t*> NULL, stop[k] - start[k], &vector[0])
            else:
                out[k] = column_dot(&data[start[k]], &rows[start[k]], stop[k] - start[k], &vector[0])


def block_accumulate(
    const real_t[::1] data not None,    # IN
    const index_t[::1] rows not None,   # IN
    const int64_t[::1] start not None,  # IN, (n_columns,)
    const int64_t[::1] stop not None,   # IN, (n_columns,)
    const double[::1] scales not None,  # IN, (n_columns,)
    double[::1] out not None,           # IN/OUT, (n_samples,)
):
    """Add ``sum_k scales[k] * column k`` to out."""
    cdef Py_ssize_t k
    cdef bint dense = rows.shape[0] == 0
    with nogil:
        for k in range(start.shape[0]):
            if scales[k] == 0.0 or stop[k] == start[k]:
                continue
            if dense:
                column_axpy(scales[k], &data[start[k]], <const index_t*> NULL, stop[k] - start[k], &out[0])
            else:
                column_axpy(scales[k], &data[start[k]], &rows[start[k]], stop[k] - start[k], &out[0])


def block_moments(
    const real_t[::1] data not None,     # IN
    const index_t[::1] rows not None,    # IN
    const int64_t[::1] start not None,   # IN, (n_columns,)
    const int64_t[::1] stop not None,    # IN, (n_columns,)
    const double[::1] weights not None,  # IN, (n_samples,)
    bint centred,
    double[::1] sums not None,           # OUT, (n_columns,) sum_i weights_i x_ij
    double[::1] squares not None,        # OUT, (n_columns,) sum_i weights_i (x_ij - mean_j)^2, mean 0 unless centred
):
    """Weighted sums and centred squares of columns (two passes a column: no cancellation)."""
    cdef Py_ssize_t k, i, entry
    cdef double total = 0.0, mean, stored, square, value
    cdef bint dense = rows.shape[0] == 0
    with nogil:
        for i in range(weights.shape[0]):
            total += weights[i]
        for k in range(start.shape[0]):
            mean = 0.0
            for entry in range(start[k], stop[k]):
                i = entry - start[k] if dense else rows[entry]
                mean = mean + weights[i] * data[entry]
            sums[k] = mean
            mean = mean / total if centred and total > 0.0 else 0.0
            stored = 0.0
            square = 0.0
            for entry in range(start[k], stop[k]):
                i = entry - start[k] if dense else rows[entry]
                value = data[entry] - mean
                square = square + weights[i] * value * value
                stored = stored + weights[i]
            if not dense and total > stored:
                square = square + (total - stored) * mean * mean
            squares[k] = square


def sparse_gram(
    const real_t[::1] data not None,          # IN
    const index_t[::1] rows not None,         # IN
    const int64_t[::1] start not None,        # IN, (n_left,)
    const int64_t[::1] stop not None,         # IN, (n_left,)
    const real_t[::1] right_data not None,    # IN, the right columns by rows
    const index_t[::1] right_columns not None,  # IN
    const index_t[::1] right_indptr not None,   # IN, (n_samples + 1,)
    const double[::1] curvature not None,     # IN, (n_samples,)
    double[:, ::1] out not None,              # IN/OUT, (n_left, n_right), zero on entry
):
    """Add ``sum_i curvature_i left_ia right_ib`` to ``out[a, b]``: a stored left value meets one row of the right."""
    cdef Py_ssize_t a, k, entry, i
    cdef double value
    with nogil:
        for a in range(start.shape[0]):
            for k in range(start[a], stop[a]):
                i = rows[k]
                value = data[k] * curvature[i]
                for entry in range(right_indptr[i], right_indptr[i + 1]):
                    out[a, right_columns[entry]] += value * right_data[entry]
