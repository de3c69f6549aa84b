# Gram matrices of sparse columns: turned into row storage, each value meets the others of its row.
# Sums do not depend on the number of threads.

from cython.parallel cimport prange

from ._columns cimport first_from
from ._types cimport index_t, int32_t, int64_t, real_t


def turn_rows(
    const real_t[::1] data not None,     # IN
    const index_t[::1] rows not None,    # IN, ascending in each column
    const int64_t[::1] start not None,   # IN, (n_columns,)
    const int64_t[::1] stop not None,    # IN, (n_columns,)
    const int64_t[::1] bounds not None,  # IN, (n_threads + 1,), the rows of each thread
    int64_t[:, ::1] reached not None,    # WORK, (n_threads, 2 n_columns)
    int64_t[:, ::1] places not None,     # WORK, (n_threads, rows_at_once)
    int64_t[::1] indptr not None,        # OUT, (n_rows + 1,)
    int32_t[::1] columns not None,       # OUT, ascending in each row
    double[::1] values not None,         # OUT
):
    """Turn the rows from bounds[0] on of the columns ``data[start[k]:stop[k]]`` into row storage.

    Some rows at a time, so that what is written from column to column stays in the cache.
    """
    cdef Py_ssize_t thread, n_threads = places.shape[0], n_rows = indptr.shape[0] - 1
    for thread in prange(n_threads, nogil=True, schedule="static", num_threads=<int> n_threads):
        _turn_some(
            data, rows, start, stop, bounds[0], bounds[thread], bounds[thread + 1], &reached[thread, 0],
            &places[thread, 0], places.shape[1], indptr, columns, values,
        )
    indptr[n_rows] = columns.shape[0]


cdef void _turn_some(
    const real_t[::1] data, const index_t[::1] rows, const int64_t[::1] start, const int64_t[::1] stop,
    Py_ssize_t base, Py_ssize_t first, Py_ssize_t end, int64_t* reached, int64_t* places, Py_ssize_t rows_at_once,
    int64_t[::1] indptr, int32_t[::1] columns, double[::1] values,
) noexcept nogil:
    cdef Py_ssize_t k, i, entry, place = 0, last, n_columns = start.shape[0]
    cdef int64_t* passed = reached + n_columns
    for k in range(n_columns):
        reached[k] = start[k]
        if first > 0 and stop[k] > start[k]:
            reached[k] += first_from(&rows[start[k]], stop[k] - start[k], first)
            if first > base:
                place += reached[k] - start[k] - first_from(&rows[start[k]], stop[k] - start[k], base)
    while first < end:
        last = min(first + rows_at_once, end)
        for i in range(last - first):
            places[i] = 0
        for k in range(n_columns):
            entry = reached[k]
            while entry < stop[k] and rows[entry] < last:
                places[rows[entry] - first] += 1
                entry += 1
            passed[k] = entry
        for i in range(last - first):
            indptr[first - base + i] = place
            entry = places[i]
            places[i] = place
            place += entry
        for k in range(n_columns):
            for entry in range(reached[k], passed[k]):
                i = rows[entry] - first
                columns[places[i]] = <int32_t> k
                values[places[i]] = data[entry]
                places[i] += 1
            reached[k] = passed[k]
        first = last


def stored_within(
    const index_t[::1] rows not None,   # IN, ascending in each column
    const int64_t[::1] start not None,  # IN, (n_columns,)
    const int64_t[::1] stop not None,   # IN, (n_columns,)
    Py_ssize_t first,
    Py_ssize_t last,
):
    """Return how many values the columns hold in the rows from first up to last."""
    cdef Py_ssize_t k, size, count = 0
    for k in range(start.shape[0]):
        size = stop[k] - start[k]
        if size:
            count += first_from(&rows[start[k]], size, last) - first_from(&rows[start[k]], size, first)
    return count


def gram_of_rows(
    const int64_t[::1] indptr not None,    # IN, (n_rows + 1,)
    const int32_t[::1] columns not None,   # IN, ascending in each row
    const double[::1] values not None,     # IN
    Py_ssize_t n_old,
    const int64_t[::1] shares not None,    # IN, (n_threads + 1,), from n_old to n_columns
    const double[::1] curvature not None,  # IN, (n_rows,)
    double[:, :] out not None,             # IN/OUT, (n_columns - n_old, n_columns), rows contiguous
):
    """Add ``sum_i curvature_i x_ia x_ib`` to ``out[a - n_old, b]`` for the columns a from n_old and b up to a.

    Thread t makes the columns a from shares[t] up to shares[t + 1].
    """
    cdef Py_ssize_t thread, n_threads = shares.shape[0] - 1, stride = out.strides[0] // <Py_ssize_t> sizeof(double)
    for thread in prange(n_threads, nogil=True, schedule="static", num_threads=<int> n_threads):
        if shares[thread] < shares[thread + 1]:
            _add_products(
                indptr, columns, values, shares[thread], shares[thread + 1], curvature,
                &out[shares[thread] - n_old, 0], stride,
            )


cdef void _add_products(
    const int64_t[::1] indptr, const int32_t[::1] columns, const double[::1] values, Py_ssize_t first, Py_ssize_t last,
    const double[::1] curvature, double* out, Py_ssize_t stride,
) noexcept nogil:
    cdef Py_ssize_t i, head, entry, other
    cdef double value
    cdef double* row
    for i in range(curvature.shape[0]):
        head, entry = indptr[i], indptr[i + 1] - 1
        while entry >= head and columns[entry] >= last:
            entry -= 1
        while entry >= head and columns[entry] >= first:
            value = curvature[i] * values[entry]
            row = out + (columns[entry] - first) * stride
            for other in range(head, entry + 1):
                row[columns[other]] += value * values[other]
            entry -= 1
