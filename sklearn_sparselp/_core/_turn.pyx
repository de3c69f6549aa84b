# Compressed rows turned into compressed columns, or columns into rows, by several threads.
# Invariant: X is sound and canonical, and so is the result: every thread fills, in order, its own part of each column.

from cython.parallel cimport prange

from ._types cimport index_t, int32_t, int64_t, minor_t, real_t

ctypedef fused place_t:
    int32_t
    int64_t


def turn(
    const real_t[::1] data not None,      # IN
    const index_t[::1] minor not None,    # IN
    const index_t[::1] indptr not None,   # IN, (n_major + 1,)
    const int64_t[::1] bounds not None,   # IN, (n_threads + 1,), the majors of each thread
    places,                               # IN/OUT, (n_threads, n_minor), 0 on entry, of the type of out_indptr
    real_t[::1] out_data not None,        # OUT
    minor_t[::1] out_minor not None,      # OUT
    out_indptr,                           # OUT, (n_minor + 1,), int64 where out_minor is, else int32
):
    """Fill the transpose in compressed storage: count, add up, put in place."""
    cdef int32_t[:, ::1] short_places
    cdef int32_t[::1] short_indptr
    cdef int64_t[:, ::1] long_places
    cdef int64_t[::1] long_indptr
    if minor_t is int64_t:
        long_places, long_indptr = places, out_indptr
        _turn(data, minor, indptr, bounds, long_places, out_data, out_minor, long_indptr)
    else:
        short_places, short_indptr = places, out_indptr
        _turn(data, minor, indptr, bounds, short_places, out_data, out_minor, short_indptr)


cdef int _turn(
    const real_t[::1] data, const index_t[::1] minor, const index_t[::1] indptr, const int64_t[::1] bounds,
    place_t[:, ::1] places, real_t[::1] out_data, minor_t[::1] out_minor, place_t[::1] out_indptr,
) except -1:
    cdef Py_ssize_t thread, j, k, before = 0, n_threads = places.shape[0], n_minor = places.shape[1]
    for thread in prange(n_threads, nogil=True, schedule="static", num_threads=n_threads):
        for k in range(indptr[bounds[thread]], indptr[bounds[thread + 1]]):
            places[thread, minor[k]] += 1
    with nogil:
        for j in range(n_minor):
            out_indptr[j] = <place_t> before
            for thread in range(n_threads):
                k = places[thread, j]
                places[thread, j] = <place_t> before
                before += k
        out_indptr[n_minor] = <place_t> before
    for thread in prange(n_threads, nogil=True, schedule="static", num_threads=n_threads):
        _put(data, minor, indptr, bounds[thread], bounds[thread + 1], &places[thread, 0], out_data, out_minor)
    return 0


cdef void _put(
    const real_t[::1] data, const index_t[::1] minor, const index_t[::1] indptr, Py_ssize_t first, Py_ssize_t last,
    place_t* places, real_t[::1] out_data, minor_t[::1] out_minor,
) noexcept nogil:
    cdef Py_ssize_t i, k, place
    for i in range(first, last):
        for k in range(indptr[i], indptr[i + 1]):
            place = places[minor[k]]
            places[minor[k]] = <place_t> (place + 1)
            out_data[place] = data[k]
            out_minor[place] = <minor_t> i
