# From a point of an orthant to the minimum of a strictly convex quadratic there, along faces: the first coordinate
# that reaches 0 on the way to the minimum of the present face stays at 0, and the next face lacks it.

from libc.math cimport INFINITY, fmax, sqrt
from libc.stdint cimport uint8_t
from scipy.linalg.cython_blas cimport ddot, dgemv, dtrsv
from scipy.linalg.cython_lapack cimport dpotrs

from ._types cimport int64_t

# Columns of the inverse that are made at once: 128 of a factor of 1640 take 14 ms, one takes 3.4 ms.
cdef int COLUMNS_AT_ONCE = 32
# Of a matrix scaled to unit diagonal: a smaller pivot is rounding.
cdef double SMALLEST_PIVOT = 1e-11


def along_faces(
    const double[::1] w not None,           # IN, (size,)
    const double[::1] target not None,      # IN, (size,)
    const uint8_t[::1] kinked not None,     # IN, (size,)
    const double[::1, :] factor not None,   # IN, (size, size), the lower triangle
    const double[::1] scale not None,       # IN, (size,)
    double[::1, :] columns not None,        # WORK, (size, capacity)
    double[::1, :] inner not None,          # WORK, (most, most)
    double[:, ::1] vectors not None,        # WORK, (2, size), and capacity at most size
    double[:, ::1] forces not None,         # WORK, (3, most)
    int64_t[::1] place not None,            # WORK, (size,)
    int64_t[::1] held not None,             # OUT, (most,)
    double[::1] here not None,              # OUT, (size,)
):
    """Follow ``1/2 (v - x).T H (v - x)`` from w to its minimum on the orthant of w, on faces of it.

    With the coordinates A at 0 the minimum is ``x - Z (Z_A)^-1 x_A``, where x is the minimum of all and
    ``Z = H^-1 e_A``. The factor of Z_A grows by one row a leg. The quadratic falls on each leg.

    Parameters
    ----------
    w : ndarray of shape (size,), dtype float64
        Start, no entry 0.
    target : ndarray of shape (size,), dtype float64
        The minimum x.
    kinked : ndarray of shape (size,), dtype uint8
        Which coordinates must not cross 0.
    factor : ndarray of shape (size, size), dtype float64
        L in Fortran order, ``H = diag(1/scale) L L.T diag(1/scale)``. What is above its diagonal is not read.
    scale : ndarray of shape (size,), dtype float64
    columns, inner, vectors, forces, place
        Work space. There are at most as many legs as ``inner`` has rows.
    held : ndarray of shape (most,), dtype int64
        The coordinates that have come to 0, in this order.
    here : ndarray of shape (size,), dtype float64
        The end of the last leg.

    Returns
    -------
    n_held : int
        How many coordinates have come to 0.
    n_columns : int
        How many columns of the inverse that took.
    complete : bool
        Whether the end is the minimum.
    """
    cdef int size = <int> w.shape[0], capacity = <int> columns.shape[1], most = <int> inner.shape[0]
    cdef int n = 0, n_columns = 0, wanted, one = 1, info = 0, k, first, best
    cdef char lower = c"L", plain = c"N", transposed = c"T", general = c"N"
    cdef double reach, nearest, pivot, minus = -1.0, plus = 1.0
    cdef double* end = &vectors[0, 0]
    cdef double* pulls = &vectors[1, 0]
    cdef double* row = &forces[0, 0]
    cdef double* scaled = &forces[1, 0]
    cdef double* norms = &forces[2, 0]
    cdef double* column
    cdef bint complete = False
    with nogil:
        for k in range(size):
            here[k] = w[k]
            end[k] = target[k]
            place[k] = -1
            pulls[k] = 0.0
        while True:
            # How far along this leg each coordinate can go, and the first that cannot go on.
            first = -1
            nearest = INFINITY
            for k in range(size):
                if kinked[k] and here[k] != 0.0 and end[k] * w[k] <= 0.0:
                    reach = fmax(here[k] / (here[k] - end[k]), 0.0)
                    if reach < nearest:
                        nearest = reach
                        first = k
            if first < 0:
                complete = True
                for k in range(size):
                    here[k] = end[k]
                break
            if n == most:
                break
            if place[first] < 0:
                # The coordinates that come next on this leg are wanted most often.
                wanted = 0
                best = first
                while best >= 0 and wanted < COLUMNS_AT_ONCE and n_columns + wanted < capacity:
                    place[best] = n_columns + wanted
                    column = &columns[0, n_columns + wanted]
                    for k in range(size):
                        column[k] = 0.0
                    column[best] = scale[best]
                    wanted += 1
                    best = -1
                    nearest = INFINITY
                    for k in range(size):
                        if place[k] < 0 and kinked[k] and here[k] != 0.0 and end[k] * w[k] <= 0.0:
                            reach = here[k] / (here[k] - end[k])
                            if reach < nearest:
                                nearest = reach
                                best = k
                if wanted == 0:
                    break
                dpotrs(&lower, &size, &wanted, <double*> &factor[0, 0], &size, &columns[0, n_columns], &size, &info)
                for best in range(n_columns, n_columns + wanted):
                    column = &columns[0, best]
                    for k in range(size):
                        column[k] *= scale[k]
                n_columns += wanted
            reach = fmax(here[first] / (here[first] - end[first]), 0.0)
            for k in range(size):
                here[k] += reach * (end[k] - here[k])
            here[first] = 0.0
            held[n] = first
            # One more row of the factor of Z_A, which is scaled to unit diagonal.
            column = &columns[0, place[first]]
            if not column[first] > 0.0:
                n += 1
                break
            norms[n] = 1.0 / sqrt(column[first])
            for k in range(n):
                row[k] = norms[k] * column[held[k]] * norms[n]
            if n > 0:
                dtrsv(&lower, &plain, &general, &n, &inner[0, 0], &most, row, &one)
            pivot = 1.0 - (ddot(&n, row, &one, row, &one) if n > 0 else 0.0)
            if not pivot > SMALLEST_PIVOT:
                n += 1
                break
            pivot = sqrt(pivot)
            for k in range(n):
                inner[n, k] = row[k]
            inner[n, n] = pivot
            scaled[n] = (norms[n] * target[first] - (ddot(&n, row, &one, scaled, &one) if n > 0 else 0.0)) / pivot
            n += 1
            for k in range(n):
                row[k] = scaled[k]
            dtrsv(&lower, &transposed, &general, &n, &inner[0, 0], &most, row, &one)
            for k in range(n):
                pulls[place[held[k]]] = norms[k] * row[k]
            for k in range(size):
                end[k] = target[k]
            dgemv(&plain, &size, &n_columns, &minus, &columns[0, 0], &size, pulls, &one, &plus, end, &one)
            for k in range(n):
                end[held[k]] = 0.0
    return n, n_columns, complete
