# What a solver asks of a few chosen columns of X: products, moments, Gram matrix.
# Column k of a block holds data[start[k]:stop[k]], in rows rows[start[k]:stop[k]] (rows empty for dense columns).
# Each output is summed by one thread in a fixed order, so results do not depend on the number of threads.

from cython.parallel cimport prange

from ._columns cimport column_axpy_within, column_dot, column_spread, first_from
from ._types cimport index_t, int32_t, int64_t, real_t

# Parts of a block for each thread: some hold more values than others.
cdef Py_ssize_t PARTS = 8
# Parts of the rows for each thread in a Gram matrix, where a leap to the first row of a part costs more.
cdef Py_ssize_t SHARES = 4


def block_products(
    const real_t[::1] data not None,    # IN
    const index_t[::1] rows not None,   # IN
    const int64_t[::1] start not None,  # IN, (n_columns,)
    const int64_t[::1] stop not None,   # IN, (n_columns,)
    const double[::1] vector not None,  # IN, (n_samples,)
    double[::1] out not None,           # OUT, (n_columns,)
    int n_threads,
):
    """Fill ``out[k] = <column k, vector>``."""
    cdef const index_t* where = NULL
    if rows.shape[0]:
        where = &rows[0]
    if start.shape[0] and data.shape[0]:
        products_of(&data[0], where, &start[0], &stop[0], start.shape[0], &vector[0], &out[0], n_threads)
    else:
        out[:] = 0.0


cdef void products_of(
    const real_t* data, const index_t* rows, const int64_t* start, const int64_t* stop, Py_ssize_t n_columns,
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
    const real_t* data, const index_t* rows, int64_t start, int64_t stop, const double* vector,
) noexcept nogil:
    cdef const index_t* where = NULL
    if stop == start:
        return 0.0
    if rows != NULL:
        where = rows + start
    return column_dot(data + start, where, stop - start, vector)


def block_accumulate(
    const real_t[::1] data not None,    # IN
    const index_t[::1] rows not None,   # IN, ascending in each column
    const int64_t[::1] start not None,  # IN, (n_columns,)
    const int64_t[::1] stop not None,   # IN, (n_columns,)
    const double[::1] scales not None,  # IN, (n_columns,)
    double[::1] out not None,           # IN/OUT, (n_samples,)
    int n_threads,
):
    """Add ``sum_k scales[k] * column k`` to out."""
    cdef const index_t* where = NULL
    if rows.shape[0]:
        where = &rows[0]
    if start.shape[0] and data.shape[0]:
        accumulate_of(
            &data[0], where, &start[0], &stop[0], start.shape[0], &scales[0], &out[0], out.shape[0], n_threads
        )


cdef void accumulate_of(
    const real_t* data, const index_t* rows, const int64_t* start, const int64_t* stop, Py_ssize_t n_columns,
    const double* scales, double* out, Py_ssize_t n_samples, int n_threads,
) noexcept nogil:
    # A sparse column is searched for where a part begins: two searches for 1800 values, not sixteen.
    cdef Py_ssize_t part, parts = PARTS * n_threads if rows == NULL else n_threads
    if n_threads <= 1:
        _accumulate_part(data, rows, start, stop, n_columns, scales, out, 0, n_samples, True)
        return
    for part in prange(parts, schedule="dynamic", num_threads=n_threads):
        _accumulate_part(
            data, rows, start, stop, n_columns, scales, out, part * n_samples // parts,
            (part + 1) * n_samples // parts, False,
        )


cdef void _accumulate_part(
    const real_t* data, const index_t* rows, const int64_t* start, const int64_t* stop, Py_ssize_t n_columns,
    const double* scales, double* out, Py_ssize_t first, Py_ssize_t last, bint whole,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef const index_t* where = NULL
    for k in range(n_columns):
        if scales[k] != 0.0 and stop[k] > start[k]:
            if rows != NULL:
                where = rows + start[k]
            column_axpy_within(scales[k], data + start[k], where, stop[k] - start[k], first, last, whole, out)


def block_moments(
    const real_t[::1] data not None,     # IN
    const index_t[::1] rows not None,    # IN
    const int64_t[::1] start not None,   # IN, (n_columns,)
    const int64_t[::1] stop not None,    # IN, (n_columns,)
    const double[::1] weights not None,  # IN, (n_samples,)
    bint centred,
    double[::1] sums not None,           # OUT, (n_columns,) sum_i weights_i x_ij, 0 unless centred
    double[::1] squares not None,        # OUT, (n_columns,) sum_i weights_i (x_ij - mean_j)^2, mean 0 unless centred
    int n_threads,
):
    """Weighted sums and centred squares of columns (two passes a column: no cancellation)."""
    cdef Py_ssize_t k, i, at_once = max(start.shape[0] // (PARTS * max(n_threads, 1)), 1)
    cdef double total = 0.0, mean
    cdef bint dense = rows.shape[0] == 0
    cdef const real_t* column
    cdef const index_t* where
    for i in range(weights.shape[0]):
        total += weights[i]
    for k in prange(start.shape[0], nogil=True, schedule="dynamic", chunksize=at_once, num_threads=n_threads):
        if stop[k] == start[k]:
            sums[k] = 0.0
            squares[k] = 0.0
            continue
        column = &data[start[k]]
        where = NULL if dense else &rows[start[k]]
        sums[k] = column_dot(column, where, stop[k] - start[k], &weights[0]) if centred else 0.0
        mean = sums[k] / total if total > 0.0 else 0.0
        squares[k] = column_spread(column, where, stop[k] - start[k], &weights[0], total, mean)


def sparse_gram(
    const real_t[::1] data not None,       # IN
    const index_t[::1] rows not None,      # IN, ascending in each column
    const int64_t[::1] start not None,     # IN, (n_columns,)
    const int64_t[::1] stop not None,      # IN, (n_columns,)
    Py_ssize_t n_old,
    const double[::1] curvature not None,  # IN, (n_samples,)
    int64_t[:, ::1] reached not None,      # WORK, (n_threads, 2 n_columns)
    int64_t[:, ::1] heads not None,        # WORK, (n_threads, rows_at_once + 2)
    int32_t[:, ::1] columns not None,      # WORK, (n_threads, the most that so many rows store)
    double[:, ::1] values not None,        # WORK, likewise
    double[:, :, :] out not None,          # IN/OUT, (n_threads, n_columns - n_old, n_columns), zero, rows contiguous
):
    """Add ``sum_i curvature_i x_ia x_ib`` to ``out[t, a - n_old, b]`` for the columns a from n_old and b up to a.

    The sum is over the rows of thread t: some parts of X, among those of the others. Some rows at a time are turned
    into row storage, which stays in the cache, and each value of a new column meets those before it in its row.
    """
    cdef Py_ssize_t n_threads = heads.shape[0], rows_at_once = heads.shape[1] - 2, n_samples = curvature.shape[0]
    cdef Py_ssize_t thread, n_parts = SHARES * n_threads if n_threads > 1 else 1
    for thread in prange(n_threads, nogil=True, schedule="static", num_threads=<int> n_threads):
        _gram_of_thread(
            data, rows, start, stop, n_old, curvature, thread, n_threads, n_parts, rows_at_once, n_samples,
            &reached[thread, 0], &heads[thread, 0], &columns[thread, 0], &values[thread, 0], &out[thread, 0, 0],
            out.strides[1] // <Py_ssize_t> sizeof(double),
        )


cdef void _gram_of_thread(
    const real_t[::1] data, const index_t[::1] rows, const int64_t[::1] start, const int64_t[::1] stop,
    Py_ssize_t n_old, const double[::1] curvature, Py_ssize_t thread, Py_ssize_t n_threads, Py_ssize_t n_parts,
    Py_ssize_t rows_at_once, Py_ssize_t n_samples, int64_t* reached, int64_t* heads, int32_t* columns, double* values,
    double* out, Py_ssize_t stride,
) noexcept nogil:
    cdef Py_ssize_t k, first, last, upto, part = thread
    for k in range(start.shape[0]):
        reached[k] = start[k]
    while part < n_parts:
        first, last = part * n_samples // n_parts, (part + 1) * n_samples // n_parts
        if n_parts > 1:
            for k in range(start.shape[0]):
                if reached[k] < stop[k]:
                    reached[k] += first_from(&rows[reached[k]], stop[k] - reached[k], first)
        while first < last:
            upto = min(first + rows_at_once, last)
            _turn_rows(data, rows, stop, first, upto, reached, heads, columns, values)
            _add_products(n_old, first, upto, curvature, heads, columns, values, out, stride)
            first = upto
        part += n_threads


cdef void _turn_rows(
    const real_t[::1] data, const index_t[::1] rows, const int64_t[::1] stop, Py_ssize_t first, Py_ssize_t last,
    int64_t* reached, int64_t* heads, int32_t* columns, double* values,
) noexcept nogil:
    # Row i holds values[heads[i]:heads[i + 1]], ascending columns.
    cdef Py_ssize_t k, entry, i, place, n_rows = last - first, n_columns = stop.shape[0]
    for i in range(n_rows + 2):
        heads[i] = 0
    # heads[i + 2] counts row i, then heads[i + 1] is where its next value goes, and at last where it ends.
    for k in range(n_columns):
        entry = reached[k]
        while entry < stop[k] and rows[entry] < last:
            heads[rows[entry] - first + 2] += 1
            entry += 1
        reached[n_columns + k] = entry
    for i in range(2, n_rows + 2):
        heads[i] += heads[i - 1]
    for k in range(n_columns):
        for entry in range(reached[k], reached[n_columns + k]):
            i = rows[entry] - first + 1
            place = heads[i]
            heads[i] = place + 1
            columns[place] = <int32_t> k
            values[place] = data[entry]
        reached[k] = reached[n_columns + k]


cdef void _add_products(
    Py_ssize_t n_old, Py_ssize_t first, Py_ssize_t last, const double[::1] curvature, const int64_t* heads,
    const int32_t* columns, const double* values, double* out, Py_ssize_t stride,
) noexcept nogil:
    cdef Py_ssize_t i, entry, other
    cdef double value
    cdef double* row
    for i in range(last - first):
        entry = heads[i + 1] - 1
        # New columns are the last ones.
        while entry >= heads[i] and columns[entry] >= n_old:
            value = curvature[first + i] * values[entry]
            row = out + (columns[entry] - n_old) * stride
            for other in range(heads[i], entry + 1):
                row[columns[other]] += value * values[other]
            entry -= 1
