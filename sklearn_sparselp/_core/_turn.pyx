# Compressed rows turned into compressed columns, or columns into rows, by several threads.
# Invariant: X is sound and canonical, and so is the result: every thread fills, in order, its own part of each column.

from cython.parallel cimport prange

from ._types cimport index_t, int32_t, int64_t, real_t

ctypedef fused turned_t:
    int32_t
    int64_t


def turn(
    const real_t[::1] data not None,      # IN
    const index_t[::1] minor not None,    # IN
    const index_t[::1] indptr not None,   # IN, (n_major + 1,)
    const int64_t[::1] bounds not None,   # IN, (n_threads + 1,), the majors of each thread
    turned_t[:, ::1] places not None,     # IN/OUT, (n_threads, n_minor), 0 on entry
    real_t[::1] out_data not None,        # OUT
    turned_t[::1] out_minor not None,     # OUT
    turned_t[::1] out_indptr not None,    # OUT, (n_minor + 1,)
):
    """Fill the transpose in compressed storage: count, add up, put in place."""
    cdef Py_ssize_t thread, j, k, before = 0, n_threads = places.shape[0], n_minor = places.shape[1]
    for thread in prange(n_threads, nogil=True, schedule="static", num_threads=n_threads):
        for k in range(indptr[bounds[thread]], indptr[bounds[thread + 1]]):
            places[thread, minor[k]] += 1
    with nogil:
        for j in range(n_minor):
            out_indptr[j] = <turned_t> before
            for thread in range(n_threads):
                k = places[thread, j]
                places[thread, j] = <turned_t> before
                before += k
        out_indptr[n_minor] = <turned_t> before
    for thread in prange(n_threads, nogil=True, schedule="static", num_threads=n_threads):
        _put(data, minor, indptr, bounds[thread], bounds[thread + 1], &places[thread, 0], out_data, out_minor)


cdef void _put(
    const real_t[::1] data, const index_t[::1] minor, const index_t[::1] indptr, Py_ssize_t first, Py_ssize_t last,
    turned_t* places, real_t[::1] out_data, turned_t[::1] out_minor,
) noexcept nogil:
    cdef Py_ssize_t i, k, place
    for i in range(first, last):
        for k in range(indptr[i], indptr[i + 1]):
            place = places[minor[k]]
            places[minor[k]] = <turned_t> (place + 1)
            out_data[place] = data[k]
            out_minor[place] = <turned_t> i
