# Dense columns gathered, multiplied with each other, and the factor of a matrix: tiles shared out among threads.
# BLAS is called by each thread for its tile, itself with one thread: its own threads wait for each other in a loop,
# which on a busy machine takes longer than the work.

from cython.parallel cimport prange

from scipy.linalg.cython_blas cimport dgemm, dtrsm
from scipy.linalg.cython_lapack cimport dpotrf

from ._types cimport int64_t, real_t

# Columns of the factor that are made at once: the rest then changes by products of matrices.
cdef int PANEL = 96
# Rows, or columns, of a tile.
cdef int TILE = 96


def gather_columns(
    const real_t[::1] data not None,       # IN
    const int64_t[::1] start not None,     # IN, (n_columns,)
    const double[::1] scales not None,     # IN, (n_samples,), or empty for ones
    double[:, ::1] out not None,           # OUT, (n_columns, n_samples)
    int n_threads,
):
    """Fill ``out[k, i] = scales[i] data[start[k] + i]``."""
    cdef Py_ssize_t k, i
    cdef const real_t* column
    for k in prange(out.shape[0], nogil=True, schedule="static", num_threads=n_threads):
        column = &data[start[k]]
        if scales.shape[0]:
            for i in range(out.shape[1]):
                out[k, i] = scales[i] * column[i]
        else:
            for i in range(out.shape[1]):
                out[k, i] = column[i]


def gram_tiles(
    const double[:, ::1] columns not None,  # IN, (n_columns, n_samples)
    const int64_t[::1] bounds not None,  # IN, (n_tiles + 1,), from n_old to n_columns
    double scale,
    double[:, :] out not None,           # OUT, (n_columns - n_old, n_columns), rows contiguous
    int n_threads,
):
    """Fill ``out[a - n_old, b] = scale <column a, column b>`` for the columns a of a tile and b up to its last."""
    cdef Py_ssize_t tile, last = bounds.shape[0] - 2
    cdef int depth = <int> columns.shape[1], stride = <int> (out.strides[0] // sizeof(double))
    # The largest tile first.
    for tile in prange(last + 1, nogil=True, schedule="dynamic", num_threads=n_threads):
        _gram_tile(
            <double*> &columns[0, 0], depth, bounds[last - tile], bounds[last - tile + 1], bounds[0], scale,
            &out[0, 0], stride,
        )


cdef void _gram_tile(
    double* columns, int depth, Py_ssize_t first, Py_ssize_t last, Py_ssize_t n_old, double scale, double* out,
    int stride,
) noexcept nogil:
    cdef int width = <int> (last - first), height = <int> last
    cdef double zero = 0.0
    if width > 0:
        dgemm(
            "T", "N", &height, &width, &depth, &scale, columns, &depth, columns + first * depth, &depth, &zero,
            out + (first - n_old) * stride, &stride,
        )


def mirror(double[:, :] square not None):  # IN/OUT, rows contiguous
    """Copy the lower half of a matrix into its upper half, tile by tile."""
    cdef Py_ssize_t i, j, first, other, size = square.shape[0]
    cdef Py_ssize_t stride = square.strides[0] // <Py_ssize_t> sizeof(double)
    cdef double* values
    if size == 0:
        return
    values = &square[0, 0]
    with nogil:
        for first in range(0, size, 16):
            for other in range(0, first + 1, 16):
                for i in range(first, min(first + 16, size)):
                    for j in range(other, min(other + 16, i)):
                        values[j * stride + i] = values[i * stride + j]


def factor(double[::1, :] matrix not None, int n_threads):  # IN/OUT, the lower half alone
    """Put the Cholesky factor of a symmetric matrix in its place; return 0, or which pivot is not positive."""
    cdef int size = <int> matrix.shape[0], first = 0, width, rest, info = 0, tile, n_tiles
    cdef double* corner
    if size == 0:
        return 0
    with nogil:
        while first < size:
            width = min(PANEL, size - first)
            corner = &matrix[first, first]
            dpotrf("L", &width, corner, &size, &info)
            if info != 0:
                info += first
                break
            rest = size - first - width
            n_tiles = (rest + TILE - 1) // TILE
            for tile in prange(n_tiles, schedule="static", num_threads=n_threads):
                _solve_tile(corner, size, width, rest, tile)
            for tile in prange(n_tiles, schedule="dynamic", num_threads=n_threads):
                _update_tile(corner, size, width, rest, tile)
            first += width
    return info


cdef void _solve_tile(double* corner, int size, int width, int rest, int tile) noexcept nogil:
    # The rows of the panel below its corner.
    cdef int first = tile * TILE, height = min(TILE, rest - first)
    cdef double one = 1.0
    dtrsm("R", "L", "T", "N", &height, &width, &one, corner, &size, corner + width + first, &size)


cdef void _update_tile(double* corner, int size, int width, int rest, int tile) noexcept nogil:
    # Some columns of what is left, from the diagonal down.
    cdef int first = tile * TILE, n = min(TILE, rest - first), height = rest - first
    cdef double one = 1.0, minus = -1.0
    cdef double* panel = corner + width + first
    cdef double* others = panel + (<Py_ssize_t> (width + first)) * size
    dgemm("N", "T", &height, &n, &width, &minus, panel, &size, panel, &size, &one, others, &size)
