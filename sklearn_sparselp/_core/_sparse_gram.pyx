# Gram matrices of sparse columns: turned into row storage, each value meets the others of its row; of few new columns,
# products of all with four of these at once. Sums do not depend on the number of threads.

from cython.parallel cimport prange

from ._columns cimport columns_with_four, first_from
from ._types cimport index_t, int32_t, int64_t, real_t


def count_rows(
    const index_t[::1] rows not None,    # IN, ascending in each column
    const int64_t[::1] start not None,   # IN, (n_columns,)
    const int64_t[::1] stop not None,    # IN, (n_columns,)
    const int64_t[::1] bounds not None,  # IN, (n_threads + 1,), the rows of each thread
    int64_t[::1] counts not None,        # IN/OUT, (n_samples,), zeros
):
    """Count the values of each row in the columns ``data[start[k]:stop[k]]``."""
    cdef Py_ssize_t thread, n_threads = bounds.shape[0] - 1
    for thread in prange(n_threads, nogil=True, schedule="static", num_threads=<int> n_threads):
        _count_some(rows, start, stop, bounds[thread], bounds[thread + 1], counts)


cdef void _count_some(
    const index_t[::1] rows, const int64_t[::1] start, const int64_t[::1] stop, Py_ssize_t first, Py_ssize_t end,
    int64_t[::1] counts,
) noexcept nogil:
    cdef Py_ssize_t k, entry, last, n_columns = start.shape[0]
    cdef bint whole = first == 0 and end == counts.shape[0]
    for k in range(n_columns):
        entry, last = start[k], stop[k]
        if entry == last:
            continue
        if not whole:
            last = entry + first_from(&rows[start[k]], stop[k] - start[k], end)
            entry += first_from(&rows[start[k]], stop[k] - start[k], first)
        while entry < last:
            counts[rows[entry]] += 1
            entry += 1


def turn_rows(
    const real_t[::1] data not None,     # IN
    const index_t[::1] rows not None,    # IN, ascending in each column
    const int64_t[::1] stop not None,    # IN, (n_columns,)
    const int64_t[::1] indptr not None,  # IN, (n_samples + 1,), of all rows
    const int64_t[::1] bounds not None,  # IN, (n_threads + 1,), the rows of each thread
    int64_t[:, ::1] reached not None,    # IN/OUT, (n_threads, n_columns), where the rows of each thread begin, and end
    int64_t[::1] places not None,        # WORK, (bounds[-1] - bounds[0],)
    int32_t[::1] columns not None,       # OUT, ascending in each row
    double[::1] values not None,         # OUT
):
    """Turn the rows from bounds[0] up to bounds[-1] into row storage, which begins with that of row bounds[0].

    As many rows as lie in the cache: each column writes to many of them.
    """
    cdef Py_ssize_t thread, n_threads = bounds.shape[0] - 1
    for thread in prange(n_threads, nogil=True, schedule="static", num_threads=<int> n_threads):
        _turn_some(
            data, rows, stop, indptr, bounds[0], bounds[thread], bounds[thread + 1], &reached[thread, 0], places,
            columns, values,
        )


cdef void _turn_some(
    const real_t[::1] data, const index_t[::1] rows, const int64_t[::1] stop, const int64_t[::1] indptr,
    Py_ssize_t base, Py_ssize_t first, Py_ssize_t end, int64_t* reached, int64_t[::1] places, int32_t[::1] columns,
    double[::1] values,
) noexcept nogil:
    cdef Py_ssize_t k, i, entry, place
    for i in range(first, end):
        places[i - base] = indptr[i] - indptr[base]
    for k in range(stop.shape[0]):
        entry = reached[k]
        while entry < stop[k] and rows[entry] < end:
            i = rows[entry] - base
            place = places[i]
            columns[place] = <int32_t> k
            values[place] = data[entry]
            places[i] = place + 1
            entry += 1
        reached[k] = entry


def advance(
    const index_t[::1] rows not None,    # IN, ascending in each column
    const int64_t[::1] stop not None,    # IN, (n_columns,)
    Py_ssize_t row,
    int64_t[::1] reached not None,       # IN/OUT, (n_columns,)
):
    """Move to where the rows from this one on are stored in each column, which is not before where they were."""
    cdef Py_ssize_t k, entry, far
    for k in range(stop.shape[0]):
        entry, far = reached[k], 1
        while entry + far < stop[k] and rows[entry + far] < row:
            entry += far
            far *= 2
        if entry < stop[k] and rows[entry] < row:
            reached[k] = entry + first_from(&rows[entry], min(far + 1, stop[k] - entry), row)
        else:
            reached[k] = entry


def gram_of_rows(
    const int64_t[::1] indptr not None,    # IN, (n_rows + 1,), what rows hold lies together from the first one on
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
    cdef Py_ssize_t i, head, entry, other, base = indptr[0]
    cdef double value
    cdef double* row
    for i in range(curvature.shape[0]):
        head, entry = indptr[i] - base, indptr[i + 1] - base - 1
        while entry >= head and columns[entry] >= last:
            entry -= 1
        while entry >= head and columns[entry] >= first:
            value = curvature[i] * values[entry]
            row = out + (columns[entry] - first) * stride
            for other in range(head, entry + 1):
                row[columns[other]] += value * values[other]
            entry -= 1


# Columns that a thread takes at once.
cdef Py_ssize_t COLUMNS_AT_ONCE = 16


def gram_of_few(
    const real_t[::1] data not None,       # IN
    const index_t[::1] rows not None,      # IN
    const int64_t[::1] start not None,     # IN, (n_columns,)
    const int64_t[::1] stop not None,      # IN, (n_columns,)
    Py_ssize_t n_old,
    const double[::1] curvature not None,  # IN, (n_samples,)
    double[:, ::1] fours not None,         # WORK, (n_samples, 4), zeros
    double[:, ::1] products not None,      # WORK, (4, n_columns)
    double[:, :] out not None,             # OUT, (n_columns - n_old, n_columns), rows contiguous
    int n_threads,
):
    """Fill ``out[a - n_old, b]`` with ``sum_i curvature_i x_ia x_ib`` for the columns a from n_old and all b."""
    cdef Py_ssize_t first, last, a, k, entry, n_columns = start.shape[0], n_chunks
    n_chunks = (n_columns - 1) // COLUMNS_AT_ONCE + 1
    for first in range(n_old, n_columns, 4):
        last = min(first + 4, n_columns)
        for a in range(first, last):
            for entry in range(start[a], stop[a]):
                fours[rows[entry], a - first] = curvature[rows[entry]] * data[entry]
        for k in prange(n_chunks, nogil=True, schedule="dynamic", num_threads=n_threads):
            _with_four(
                &data[0], &rows[0], start, stop, k * COLUMNS_AT_ONCE, min((k + 1) * COLUMNS_AT_ONCE, n_columns),
                &fours[0, 0], products, last - first,
            )
        for a in range(first, last):
            out[a - n_old] = products[a - first]
            for entry in range(start[a], stop[a]):
                fours[rows[entry], a - first] = 0.0


cdef void _with_four(
    const real_t* data, const index_t* rows, const int64_t[::1] start, const int64_t[::1] stop, Py_ssize_t first,
    Py_ssize_t last, const double* fours, double[:, ::1] products, Py_ssize_t n_fours,
) noexcept nogil:
    cdef Py_ssize_t k
    cdef index_t[2] ends
    for k in range(first, last):
        # Counted from where the column begins: indices of 32 bits may not count all values.
        ends[0], ends[1] = 0, <index_t> (stop[k] - start[k])
        columns_with_four(data + start[k], rows + start[k], ends, 0, 1, fours, &products[0, k], products.shape[1], n_fours)
