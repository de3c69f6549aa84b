# Gram matrices of sparse columns: turned into row storage, each value meets the others of its row; written side by
# side as a dense panel, columns meet each value of another at once. Sums do not depend on the number of threads.

from cython.parallel cimport prange, threadid
from libc.string cimport memset

from ._columns cimport first_from
from ._panels cimport column_with_panel
from ._types cimport index_t, int32_t, int64_t, minor_t, real_t


def count_rows(
    const minor_t[::1] rows not None,    # IN, ascending in each column
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
    const minor_t[::1] rows, const int64_t[::1] start, const int64_t[::1] stop, Py_ssize_t first, Py_ssize_t end,
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
    const minor_t[::1] rows not None,    # IN, ascending in each column
    const int64_t[::1] stop not None,    # IN, (n_columns,)
    const int64_t[::1] indptr not None,  # IN, (n_samples + 1,), of all rows
    const int64_t[::1] bounds not None,  # IN, (n_threads + 1,), the rows of each thread
    int64_t[:, ::1] reached not None,    # IN/OUT, (n_threads, n_columns), at most where its rows begin
    int64_t[::1] places not None,        # WORK, (bounds[-1] - bounds[0],)
    const int32_t[::1] names not None,   # IN, (n_columns,), ascending, what columns are called in the rows
    int32_t[::1] columns not None,       # OUT, ascending in each row
    double[::1] values not None,         # OUT
):
    """Turn the rows from bounds[0] up to bounds[-1] into row storage, which begins with that of row bounds[0].

    As many rows as lie in the cache: each column writes to many of them.
    """
    cdef Py_ssize_t thread, n_threads = bounds.shape[0] - 1
    for thread in prange(n_threads, nogil=True, schedule="static", num_threads=<int> n_threads):
        _turn_some(
            data, rows, stop, indptr, bounds[0], bounds[thread], bounds[thread + 1], &reached[thread, 0],
            places, names, columns, values,
        )


cdef void _turn_some(
    const real_t[::1] data, const minor_t[::1] rows, const int64_t[::1] stop, const int64_t[::1] indptr,
    Py_ssize_t base, Py_ssize_t first, Py_ssize_t end, int64_t* reached, int64_t[::1] places, const int32_t[::1] names,
    int32_t[::1] columns, double[::1] values,
) noexcept nogil:
    cdef Py_ssize_t k, i, entry, place
    _advance(rows, stop, first, reached)
    for i in range(first, end):
        places[i - base] = indptr[i] - indptr[base]
    for k in range(stop.shape[0]):
        entry = reached[k]
        while entry < stop[k] and rows[entry] < end:
            i = rows[entry] - base
            place = places[i]
            columns[place] = names[k]
            values[place] = data[entry]
            places[i] = place + 1
            entry += 1
        reached[k] = entry


cdef void _advance(const minor_t[::1] rows, const int64_t[::1] stop, Py_ssize_t row, int64_t* reached) noexcept nogil:
    # To where the rows from this one on are stored in each column, which is not before where they were.
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
    const int64_t[::1] shares not None,    # IN, (n_shares + 1,), from n_old to n_columns
    const double[::1] curvature not None,  # IN, (n_rows,)
    double[:, :] out not None,             # IN/OUT, (n_columns - n_old, n_columns), rows contiguous
    int n_threads,
):
    """Add ``sum_i curvature_i x_ia x_ib`` to ``out[a - n_old, b]`` for the columns a from n_old and b up to a.

    The columns a from shares[k] up to shares[k + 1] are made at once.
    """
    cdef Py_ssize_t k, n_shares = shares.shape[0] - 1, stride = out.strides[0] // <Py_ssize_t> sizeof(double)
    if curvature.shape[0] == 0:
        return
    for k in prange(n_shares, nogil=True, schedule="dynamic", num_threads=n_threads):
        if shares[k] < shares[k + 1]:
            _add_products(
                curvature.shape[0], &indptr[0], &columns[0], &values[0], shares[k], shares[k + 1], &curvature[0],
                &out[shares[k] - n_old, 0], stride,
            )


cdef void _add_products(
    Py_ssize_t n_rows, const int64_t* indptr, const int32_t* columns, const double* values, Py_ssize_t first,
    Py_ssize_t last, const double* curvature, double* out, Py_ssize_t stride,
) noexcept nogil:
    cdef Py_ssize_t i, head, entry, other, base = indptr[0]
    cdef double value
    cdef double* row
    for i in range(n_rows):
        head, entry = indptr[i] - base, indptr[i + 1] - base - 1
        while entry >= head and columns[entry] >= last:
            entry -= 1
        while entry >= head and columns[entry] >= first:
            value = curvature[i] * values[entry]
            row = out + (columns[entry] - first) * stride
            for other in range(head, entry + 1):
                row[columns[other]] += value * values[other]
            entry -= 1


def gram_of_few(
    const real_t[::1] data not None,       # IN
    const minor_t[::1] rows not None,      # IN, ascending in each column
    const int64_t[::1] start not None,     # IN, (n_chosen,)
    const int64_t[::1] stop not None,      # IN, (n_chosen,)
    const int32_t[::1] names not None,     # IN, (n_chosen,), ascending, of n_columns columns
    Py_ssize_t n_old,
    const int64_t[::1] bounds not None,    # IN, (n_parts + 1,), rows
    Py_ssize_t rows_at_once,
    const double[::1] curvature not None,  # IN, (n_samples,)
    int64_t[:, ::1] reached not None,      # WORK, (n_threads, n_chosen)
    int64_t[:, ::1] indptr not None,       # WORK, (n_threads, rows_at_once + 1)
    int32_t[:, ::1] columns not None,      # WORK, (n_threads, n_values), at least n_chosen
    double[:, ::1] values not None,        # WORK, (n_threads, n_values)
    double[:, :, ::1] parts not None,      # WORK, (n_parts, n_columns - n_old, n_columns)
    double[:, :] out not None,             # IN/OUT, (n_columns - n_old, n_columns), rows contiguous
):
    """Add ``sum_i curvature_i x_ia x_ib`` to ``out[a - n_old, b]`` for the columns a from n_old and b up to a.

    A thread turns some rows of a part, at most as many as have room, and multiplies them while they lie in its cache.
    """
    cdef Py_ssize_t part, a, b, n_parts = parts.shape[0], n_columns = parts.shape[2]
    cdef int n_threads = reached.shape[0], me
    for part in prange(n_parts, nogil=True, schedule="dynamic", num_threads=n_threads):
        me = threadid()
        memset(&parts[part, 0, 0], 0, parts.shape[1] * n_columns * sizeof(double))
        _gram_of_part(
            data, rows, start, stop, names, n_old, bounds[part], bounds[part + 1], rows_at_once, curvature,
            &reached[me, 0], &indptr[me, 0], &columns[me, 0], &values[me, 0], values.shape[1], &parts[part, 0, 0],
            n_columns,
        )
    for a in prange(parts.shape[1], nogil=True, schedule="static", num_threads=n_threads):
        for part in range(n_parts):
            for b in range(n_old + a + 1):
                out[a, b] += parts[part, a, b]


def clear(double[:, :] out not None, int n_threads):  # OUT, rows contiguous
    """Fill with zeros."""
    cdef Py_ssize_t a
    for a in prange(out.shape[0], nogil=True, schedule="static", num_threads=n_threads):
        memset(&out[a, 0], 0, out.shape[1] * sizeof(double))


cdef void _gram_of_part(
    const real_t[::1] data, const minor_t[::1] rows, const int64_t[::1] start, const int64_t[::1] stop,
    const int32_t[::1] names, Py_ssize_t n_old, Py_ssize_t first, Py_ssize_t bound, Py_ssize_t rows_at_once,
    const double[::1] curvature, int64_t* reached, int64_t* indptr, int32_t* columns, double* values, Py_ssize_t room,
    double* out, Py_ssize_t n_columns,
) noexcept nogil:
    cdef Py_ssize_t k, i, entry, total, end, n_rows, n_chosen = start.shape[0]
    for k in range(n_chosen):
        reached[k] = _entry_from(rows, start[k], stop[k], first)
    while first < bound:
        end = min(first + rows_at_once, bound)
        # indptr[i + 1] counts what row i holds, then says where it begins, and then where it ends.
        memset(indptr, 0, (end - first + 1) * sizeof(int64_t))
        total = 0
        for k in range(n_chosen):
            entry = reached[k]
            while entry < stop[k] and rows[entry] < end:
                indptr[rows[entry] - first + 1] += 1
                entry += 1
            total += entry - reached[k]
            if total > room:
                break
        if total > room:
            rows_at_once = max((end - first) // 2, 1)
            continue
        n_rows, total = end - first, 0
        for i in range(1, n_rows + 1):
            total += indptr[i]
            indptr[i] = total - indptr[i]
        for k in range(n_chosen):
            entry = reached[k]
            while entry < stop[k] and rows[entry] < end:
                i = indptr[rows[entry] - first + 1]
                columns[i] = names[k]
                values[i] = data[entry]
                indptr[rows[entry] - first + 1] = i + 1
                entry += 1
            reached[k] = entry
        _add_products(n_rows, indptr, columns, values, n_old, n_columns, &curvature[first], out, n_columns)
        first = end


def gram_of_compressed_rows(
    const real_t[::1] data not None,        # IN
    const index_t[::1] columns not None,    # IN, ascending in each row
    const index_t[::1] indptr not None,     # IN, (n_samples + 1,)
    const int64_t[::1] bounds not None,     # IN, (n_parts + 1,), rows
    const double[::1] curvature not None,   # IN, (n_samples,)
    const double[:, ::1] vectors not None,  # IN, (n_vectors, n_samples)
    double[:, :, ::1] grams not None,       # IN/OUT, (n_parts, n_columns, n_columns), or (n_parts, 0, 0) for none
    double[:, :, ::1] products not None,    # IN/OUT, (n_parts, n_vectors, n_columns)
    int n_threads,
):
    """Add ``sum_i curvature_i x_ia x_ib`` to ``grams[part, a, b]``, b up to a, ``vectors @ X`` to ``products[part]``.

    Both are over the rows of a part, which are read once.
    """
    cdef Py_ssize_t part, n_parts = products.shape[0], n_columns = products.shape[2]
    for part in prange(n_parts, nogil=True, schedule="dynamic", num_threads=n_threads):
        _add_compressed_rows(
            data, columns, indptr, bounds[part], bounds[part + 1], curvature, vectors,
            &grams[part, 0, 0] if grams.shape[1] else NULL, &products[part, 0, 0], n_columns,
        )


cdef void _add_compressed_rows(
    const real_t[::1] data, const index_t[::1] columns, const index_t[::1] indptr, Py_ssize_t first, Py_ssize_t bound,
    const double[::1] curvature, const double[:, ::1] vectors, double* gram, double* products, Py_ssize_t n_columns,
) noexcept nogil:
    cdef Py_ssize_t i, r, entry, other
    cdef double value
    cdef double* row
    for i in range(first, bound):
        for entry in range(indptr[i], indptr[i + 1]):
            for r in range(vectors.shape[0]):
                products[r * n_columns + columns[entry]] += vectors[r, i] * data[entry]
            if gram != NULL:
                value = curvature[i] * data[entry]
                row = gram + columns[entry] * n_columns
                for other in range(indptr[i], entry + 1):
                    row[columns[other]] += value * data[other]


def panel_products(
    const real_t[::1] data not None,       # IN
    const minor_t[::1] rows not None,      # IN, ascending in each column
    const int64_t[::1] start not None,     # IN, (n_columns,)
    const int64_t[::1] stop not None,      # IN, (n_columns,)
    const int64_t[::1] chosen not None,    # IN, (n_chosen,), places of columns
    const int64_t[::1] others not None,    # IN, (n_others,), places of columns
    const int64_t[::1] bounds not None,    # IN, (n_parts + 1,), rows
    const double[::1] curvature not None,  # IN, (n_samples,)
    double[:, :, ::1] panels not None,     # WORK, (n_threads, rows_at_once, width), width 4, 8, 16 or 32
    int64_t[:, ::1] reached not None,      # WORK, (n_parts, n_chosen + n_others)
    double[:, :, ::1] sums not None,       # WORK, (n_parts, n_others, width)
    Py_ssize_t n_old,
    double[:, :] out not None,             # OUT, (n_columns - n_old, n_columns), rows contiguous
):
    """Fill ``sum_i curvature_i x_ia x_ib`` in for the columns a = chosen[r] and b = others[k], and the other way round.

    That is in ``out[a - n_old, b]`` and ``out[b - n_old, a]`` as far as they are there. Each part adds up the rows from
    bounds[part] up to bounds[part + 1]. The chosen columns are written side by side as a dense panel, some rows at a
    time: a value of another column then meets all of them at once.
    """
    cdef Py_ssize_t part, k, n_parts = sums.shape[0]
    cdef int n_threads = panels.shape[0]
    for part in prange(n_parts, nogil=True, schedule="dynamic", num_threads=n_threads):
        _panel_products(
            data, rows, start, stop, chosen, others, bounds[part], bounds[part + 1], curvature,
            &panels[threadid(), 0, 0], panels.shape[1], panels.shape[2], &reached[part, 0], &sums[part, 0, 0],
        )
    for k in prange(others.shape[0], nogil=True, schedule="static", num_threads=n_threads):
        _place_sums(k, chosen, others[k], n_old, sums, out)


cdef void _place_sums(
    Py_ssize_t k, const int64_t[::1] chosen, Py_ssize_t other, Py_ssize_t n_old, double[:, :, ::1] sums,
    double[:, :] out,
) noexcept nogil:
    cdef Py_ssize_t part, r
    cdef bint both = False
    for part in range(1, sums.shape[0]):
        for r in range(chosen.shape[0]):
            sums[0, k, r] += sums[part, k, r]
    for r in range(chosen.shape[0]):
        both = both or chosen[r] == other
    for r in range(chosen.shape[0]):
        # Of two that are chosen the sum of either order is there, and each is for its own row.
        if chosen[r] >= n_old and not both:
            out[chosen[r] - n_old, other] = sums[0, k, r]
        if other >= n_old:
            out[other - n_old, chosen[r]] = sums[0, k, r]


cdef void _panel_products(
    const real_t[::1] data, const minor_t[::1] rows, const int64_t[::1] start, const int64_t[::1] stop,
    const int64_t[::1] chosen, const int64_t[::1] others, Py_ssize_t first, Py_ssize_t bound,
    const double[::1] curvature, double* panel, Py_ssize_t rows_at_once, Py_ssize_t width, int64_t* reached,
    double* sums,
) noexcept nogil:
    cdef Py_ssize_t k, r, entry, last, end, n_chosen = chosen.shape[0]
    cdef int64_t* passed = reached + n_chosen
    for r in range(n_chosen):
        reached[r] = _entry_from(rows, start[chosen[r]], stop[chosen[r]], first)
    for k in range(others.shape[0]):
        passed[k] = _entry_from(rows, start[others[k]], stop[others[k]], first)
    memset(sums, 0, others.shape[0] * width * sizeof(double))
    while first < bound:
        end = min(first + rows_at_once, bound)
        memset(panel, 0, (end - first) * width * sizeof(double))
        for r in range(n_chosen):
            entry, last = reached[r], stop[chosen[r]]
            while entry < last and rows[entry] < end:
                panel[(rows[entry] - first) * width + r] = curvature[rows[entry]] * data[entry]
                entry += 1
            reached[r] = entry
        for k in range(others.shape[0]):
            entry, last = passed[k], stop[others[k]]
            if entry < last:
                passed[k] += column_with_panel(
                    &data[entry], &rows[entry], last - entry, first, end, width, panel, sums + k * width
                )
        first = end


cdef inline int64_t _entry_from(
    const minor_t[::1] rows, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t first
) noexcept nogil:
    return start if first == 0 or start == stop else start + first_from(&rows[start], stop - start, first)
