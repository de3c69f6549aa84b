# From a point of an orthant to the minimum of a strictly convex quadratic there, along faces: the first coordinate
# that reaches 0 on the way to the minimum of the present face stays at 0, and the next face lacks it.

from cython.parallel cimport prange
from libc.math cimport INFINITY, fmax, sqrt
from libc.stdint cimport uint8_t
from libc.string cimport memset
from scipy.linalg.cython_blas cimport daxpy, ddot, dgemv, dscal, dswap, dtrsm

from ._types cimport int64_t

# Columns of the inverse that are made at once: 128 of a factor of 1640 take 14 ms, one takes 3.4 ms.
cdef int COLUMNS_AT_ONCE = 32
# Of a matrix scaled to unit diagonal: a smaller pivot is rounding.
cdef double SMALLEST_PIVOT = 1e-11


def along_faces(
    const double[::1] w not None,           # IN, (size,)
    const double[::1] target not None,      # IN, (size,)
    const uint8_t[::1] kinked not None,     # IN, (size,)
    const double[::1, :] factor not None,   # IN, the lower triangle of (size, size), maybe with more room
    const double[::1] scale not None,       # IN, (size,)
    double[::1, :] columns not None,        # WORK, (size, capacity)
    double[:, ::1] vectors not None,        # WORK, (2, size), and capacity at most size
    int64_t[:, ::1] place not None,         # WORK, (2, size)
    int64_t[::1] held not None,             # OUT, (most,)
    double[::1] here not None,              # OUT, (size,)
    int n_threads,
):
    """Follow ``1/2 (v - x).T H (v - x)`` from w to its minimum on the orthant of w, on faces of it.

    With the coordinates A at 0 the minimum is ``x - Z (Z_A)^-1 x_A``, where x is the minimum of all and
    ``Z = H^-1 e_A``. A leg makes the column of Z that it adds orthogonal to those before, ``q.T H q = 1``: the
    minimum moves along it. The quadratic falls on each leg.

    Parameters
    ----------
    w : ndarray of shape (size,), dtype float64
        Start, no entry 0.
    target : ndarray of shape (size,), dtype float64
        The minimum x.
    kinked : ndarray of shape (size,), dtype uint8
        Which coordinates must not cross 0.
    factor : ndarray of shape (capacity, capacity), dtype float64, capacity at least size
        L in Fortran order, ``H = diag(1/scale) L L.T diag(1/scale)``. What is above its diagonal is not read.
    scale : ndarray of shape (size,), dtype float64
    columns, vectors, place
        Work space.
    held : ndarray of shape (most,), dtype int64
        The coordinates that have come to 0, in this order. There are at most so many legs.
    here : ndarray of shape (size,), dtype float64
        The end of the last leg.
    n_threads : int

    Returns
    -------
    n_held : int
        How many coordinates have come to 0.
    n_columns : int
        How many columns of the inverse that took.
    complete : bool
        Whether the end is the minimum.
    """
    cdef int size = <int> w.shape[0], capacity = <int> columns.shape[1], most = <int> held.shape[0]
    cdef int stride = <int> factor.shape[0], n = 0, n_columns = 0, wanted, one = 1, k, first, best, top
    cdef char plain = c"N"
    cdef double reach, nearest, pivot, minus = -1.0, plus = 1.0
    cdef double* end = &vectors[0, 0]
    cdef double* row = &vectors[1, 0]
    cdef double* column
    # Where the column of the inverse for a coordinate is, and whose column it is.
    cdef int64_t* at = &place[0, 0]
    cdef int64_t* owner = &place[1, 0]
    cdef bint complete = False
    with nogil:
        for k in range(size):
            here[k] = w[k]
            end[k] = target[k]
            at[k] = -1
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
            if at[first] < 0:
                # The coordinates that come next on this leg are wanted most often.
                wanted, best, top = 0, first, size
                while best >= 0 and wanted < COLUMNS_AT_ONCE and n_columns + wanted < capacity:
                    at[best] = n_columns + wanted
                    owner[n_columns + wanted] = best
                    column = &columns[0, n_columns + wanted]
                    memset(column, 0, size * sizeof(double))
                    column[best] = scale[best]
                    top = min(top, best)
                    wanted += 1
                    best = -1
                    nearest = INFINITY
                    for k in range(size):
                        if at[k] < 0 and kinked[k] and here[k] != 0.0 and end[k] * w[k] <= 0.0:
                            reach = here[k] / (here[k] - end[k])
                            if reach < nearest:
                                nearest = reach
                                best = k
                if wanted == 0:
                    break
                best = (wanted + n_threads - 1) // n_threads
                for k in prange(n_threads, schedule="static", num_threads=n_threads):
                    _divide_columns(
                        <double*> &factor[0, 0], stride, size, top, &scale[0], min(k * best, wanted),
                        min((k + 1) * best, wanted), &columns[0, n_columns],
                    )
                n_columns += wanted
            reach = fmax(here[first] / (here[first] - end[first]), 0.0)
            for k in range(size):
                here[k] += reach * (end[k] - here[k])
            here[first] = 0.0
            held[n] = first
            # Columns of coordinates at 0 come first, orthogonal to each other.
            column = &columns[0, n]
            if at[first] != n:
                dswap(&size, column, &one, &columns[0, at[first]], &one)
                owner[at[first]] = owner[n]
                at[owner[n]] = at[first]
                at[first], owner[n] = n, first
            for k in range(n):
                row[k] = columns[first, k]
            pivot = column[first]
            nearest = pivot - (ddot(&n, row, &one, row, &one) if n > 0 else 0.0)
            if not (pivot > 0.0 and nearest > SMALLEST_PIVOT * pivot):
                n += 1
                break
            if n > 0:
                dgemv(&plain, &size, &n, &minus, &columns[0, 0], &size, row, &one, &plus, column, &one)
            reach = 1.0 / sqrt(nearest)
            dscal(&size, &reach, column, &one)
            reach *= -end[first]
            daxpy(&size, &reach, column, &one, end, &one)
            n += 1
            for k in range(n):
                end[held[k]] = 0.0
    return n, n_columns, complete


cdef void _divide_columns(
    double* factor, int stride, int size, int top, const double* scale, int first, int end, double* columns
) noexcept nogil:
    # Some of the columns of the inverse, from those of the identity, which have zeros above row `top`.
    cdef int n = end - first, rest = size - top, column, k
    cdef double one = 1.0
    cdef double* out = columns + first * <Py_ssize_t> size
    if n <= 0:
        return
    # The lower half of the way leaves the zeros there.
    dtrsm("L", "L", "N", "N", &rest, &n, &one, factor + top * <Py_ssize_t> stride + top, &stride, out + top, &size)
    dtrsm("L", "L", "T", "N", &size, &n, &one, factor, &stride, out, &size)
    for column in range(n):
        for k in range(size):
            out[column * <Py_ssize_t> size + k] *= scale[k]
