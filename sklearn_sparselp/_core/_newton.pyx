# What a solver asks of a few chosen columns of X: products, moments, Gram matrix.
# Column k of a block holds data[start[k]:stop[k]], in rows rows[start[k]:stop[k]] (rows empty for dense columns).

from ._columns cimport column_axpy, column_dot, column_spread
from ._types cimport index_t, int32_t, int64_t, real_t


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
    double[::1] sums not None,           # OUT, (n_columns,) sum_i weights_i x_ij, 0 unless centred
    double[::1] squares not None,        # OUT, (n_columns,) sum_i weights_i (x_ij - mean_j)^2, mean 0 unless centred
):
    """Weighted sums and centred squares of columns (two passes a column: no cancellation)."""
    cdef Py_ssize_t k, i, size
    cdef double total = 0.0, mean
    cdef bint dense = rows.shape[0] == 0
    cdef const real_t* column
    cdef const index_t* where = NULL
    with nogil:
        for i in range(weights.shape[0]):
            total += weights[i]
        for k in range(start.shape[0]):
            size = stop[k] - start[k]
            if size == 0:
                sums[k] = 0.0
                squares[k] = 0.0
                continue
            column = &data[start[k]]
            if not dense:
                where = &rows[start[k]]
            sums[k] = column_dot(column, where, size, &weights[0]) if centred else 0.0
            mean = sums[k] / total if total > 0.0 else 0.0
            squares[k] = column_spread(column, where, size, &weights[0], total, mean)


def sparse_gram(
    const real_t[::1] data not None,       # IN
    const index_t[::1] rows not None,      # IN, ascending in each column
    const int64_t[::1] start not None,     # IN, (n_columns,)
    const int64_t[::1] stop not None,      # IN, (n_columns,)
    Py_ssize_t n_old,
    Py_ssize_t rows_at_once,
    const double[::1] curvature not None,  # IN, (n_samples,)
    int64_t[::1] reached not None,         # WORK, (2 n_columns,)
    int64_t[::1] heads not None,           # WORK, (rows_at_once + 2,)
    int32_t[::1] columns not None,         # WORK, the most that so many rows store
    double[::1] values not None,           # WORK, likewise
    double[:, :] out not None,             # IN/OUT, (n_columns - n_old, n_columns), zero on entry, rows contiguous
):
    """Add ``sum_i curvature_i x_ia x_ib`` to ``out[a - n_old, b]`` for the columns a from n_old and b up to a.

    Some rows at a time are turned into row storage, which stays in the cache; then each
    stored value of a new column meets those of its row.
    """
    cdef Py_ssize_t n_columns = start.shape[0], n_samples = curvature.shape[0]
    cdef Py_ssize_t first = 0, last, k, entry, other, i, place
    cdef double value
    cdef double* row
    with nogil:
        for k in range(n_columns):
            reached[k] = start[k]
        while first < n_samples:
            last = min(first + rows_at_once, n_samples)
            for i in range(last - first + 2):
                heads[i] = 0
            # heads[i + 2] counts row i, then heads[i + 1] is where its next value goes, and at last where it ends.
            for k in range(n_columns):
                entry = reached[k]
                while entry < stop[k] and rows[entry] < last:
                    heads[rows[entry] - first + 2] += 1
                    entry += 1
                reached[n_columns + k] = entry
            for i in range(2, last - first + 2):
                heads[i] += heads[i - 1]
            for k in range(n_columns):
                for entry in range(reached[k], reached[n_columns + k]):
                    i = rows[entry] - first + 1
                    place = heads[i]
                    heads[i] = place + 1
                    columns[place] = <int32_t> k
                    values[place] = data[entry]
                reached[k] = reached[n_columns + k]
            for i in range(last - first):
                for entry in range(heads[i + 1] - 1, heads[i] - 1, -1):
                    k = columns[entry] - n_old
                    if k < 0:
                        break
                    value = curvature[first + i] * values[entry]
                    row = &out[k, 0]
                    for other in range(heads[i], entry + 1):
                        row[columns[other]] += value * values[other]
            first = last
