# The factor of a second derivative on a support, scaled to unit diagonal: made of rows and columns of a larger matrix,
# and brought to the next support where few coordinates have joined and left.
# Invariant: the lower half of the first size rows and columns of a room of Fortran order; see _factor.pxd, whose upper
# triangle in rows is the lower one in columns.

from cython.parallel cimport prange
from libc.math cimport fabs, sqrt
from scipy.linalg.cython_lapack cimport dpotrf, dpotrs

from ._factor cimport factor_append_many, factor_remove
from ._types cimport int64_t

# Rows of the matrix that a thread takes at once: they are not equally long.
cdef int ROWS_AT_ONCE = 32


cdef void _scale_of(
    const double[:, ::1] matrix, const int64_t[::1] places, const double[::1] sums, double total,
    const double[::1] bend, Py_ssize_t first, double[::1] scale,
) noexcept nogil:
    cdef Py_ssize_t a
    cdef double value
    for a in range(first, places.shape[0]):
        value = matrix[places[a], places[a]] + bend[a]
        if sums.shape[0] > 0:
            value -= sums[a] * (sums[a] / total)
        scale[a] = 1.0 / sqrt(fabs(value)) if value != 0.0 else 1.0


cdef void _column_of(
    const double[:, ::1] matrix, const int64_t[::1] places, const double[::1] sums, double total,
    const double[::1] scale, Py_ssize_t a, Py_ssize_t first, double* out,
) noexcept nogil:
    # Column a of the scaled matrix, from a row on.
    cdef Py_ssize_t b
    cdef double share, own = scale[a]
    cdef const double* row = &matrix[places[a], 0]
    if sums.shape[0] > 0:
        share = sums[a] / total
        for b in range(first, places.shape[0]):
            out[b] = (row[places[b]] - share * sums[b]) * (own * scale[b])
    else:
        for b in range(first, places.shape[0]):
            out[b] = row[places[b]] * (own * scale[b])


def scaled_part(
    const double[:, ::1] matrix not None,  # IN, symmetric
    const int64_t[::1] places not None,    # IN, (size,)
    const double[::1] sums not None,       # IN, (size,), or empty
    double total,
    const double[::1] bend not None,       # IN, (size,)
    double ridge,
    double[::1] scale not None,            # OUT, (size,)
    double[::1, :] out not None,           # OUT, (capacity, capacity), the lower half of (size, size) alone
    int n_threads,
):
    """Take these rows and columns of ``matrix - sums sums.T / total + diag(bend)``, scaled to unit diagonal.

    The ridge is added to the diagonal once it is scaled; a diagonal of 0 is not scaled.
    """
    cdef Py_ssize_t a
    _scale_of(matrix, places, sums, total, bend, 0, scale)
    for a in prange(places.shape[0], nogil=True, schedule="dynamic", chunksize=ROWS_AT_ONCE, num_threads=n_threads):
        _column_of(matrix, places, sums, total, scale, a, a, &out[0, a])
        out[a, a] += bend[a] * (scale[a] * scale[a]) + ridge


def factor_in_place(double[::1, :] room not None, int size):  # IN/OUT, the lower half alone
    """Put the Cholesky factor in its place; return 0, or which pivot is not positive."""
    cdef int info = 0, stride = <int> room.shape[0]
    if size > 0:
        with nogil:
            dpotrf("L", &size, &room[0, 0], &stride, &info)
    return info


def divide(
    const double[::1, :] room not None,  # IN, a factor
    const double[::1] scale not None,    # IN, (size,)
    double[::1] vector not None,         # IN/OUT, (size,)
):
    """Multiply by ``diag(scale) (L L.T)^-1 diag(scale)``."""
    cdef int size = <int> vector.shape[0], stride = <int> room.shape[0], one = 1, info = 0
    cdef Py_ssize_t k
    if size == 0:
        return
    with nogil:
        for k in range(size):
            vector[k] *= scale[k]
        dpotrs("L", &size, &one, <double*> &room[0, 0], &stride, &vector[0], &size, &info)
        for k in range(size):
            vector[k] *= scale[k]


def update(
    double[::1, :] room not None,          # IN/OUT, (capacity, capacity), a factor of n_rows rows
    int n_rows,
    const int64_t[::1] leaving not None,   # IN, places of rows, descending
    const double[:, ::1] matrix not None,  # IN, symmetric
    const int64_t[::1] places not None,    # IN, (size,)
    const double[::1] sums not None,       # IN, (size,), or empty
    double total,
    const double[::1] bend not None,       # IN, (size,)
    double ridge,
    double smallest,
    double[::1] scale not None,            # IN/OUT, (size,), of the rows that stay; of the others it is made
    double[::1] work not None,             # WORK, (capacity,)
):
    """Let rows leave a factor of `scaled_part` and others join at its end; return whether no pivot was too small.

    The rows that stay are the first ones of ``places``, in the order of the factor.
    """
    cdef int n = n_rows, stride = <int> room.shape[0], more, joined = 0
    cdef Py_ssize_t size = places.shape[0], k, a
    with nogil:
        for k in range(leaving.shape[0]):
            factor_remove(&room[0, 0], stride, n, <int> leaving[k], &work[0])
            n -= 1
        more = <int> (size - n)
        if more > 0:
            _scale_of(matrix, places, sums, total, bend, n, scale)
            for a in range(size):
                _column_of(matrix, places, sums, total, scale, a, max(a, <Py_ssize_t> n), &room[0, a])
            for a in range(n, size):
                room[a, a] += bend[a] * (scale[a] * scale[a]) + ridge
                work[a - n] = smallest
            joined = factor_append_many(&room[0, 0], stride, n, more, &work[0])
    return joined == more
