# Products of dense columns with each other, rows shared out among threads, and the factor of a matrix, made of tiles.
# BLAS is called by each thread for its share, itself with one thread: its own threads wait for each other in a loop,
# which on a busy machine takes longer than the work.

from libc.math cimport sqrt
from libc.string cimport memcpy

from cython.parallel cimport prange

from scipy.linalg.cython_blas cimport dgemm, dgemv, dsyrk, dtrsm
from scipy.linalg.cython_lapack cimport dpotrf

from ._types cimport int64_t, real_t

# Columns of the factor that are made at once: the rest then changes by products of matrices. Rows, or columns, of a
# tile: the first one is the corner of the next panel.
cdef int TILE = 48
# Tiles of a Gram matrix for each of several threads.
cdef int GRAM_TILES = 2
# Rows and columns of a tile that is mirrored: what both tiles hold stays in the first cache.
cdef Py_ssize_t STRIP = 32


def gram_of_parts(
    const real_t[::1] data not None,        # IN
    const int64_t[::1] start not None,      # IN, (n_columns,), where columns begin; empty: data holds rows
    Py_ssize_t n_old,
    const double[::1] roots not None,       # IN, (n_samples,), or empty for ones
    double scale,
    const double[:, ::1] vectors not None,  # IN, (n_vectors, n_samples)
    int rows_at_once,
    double[:, ::1] room not None,           # WORK, (n_parts, rows_at_once * n_columns), or (n_parts, 0), see below
    double[:, :, :] grams not None,         # OUT, (n_parts, n_columns - n_old, n_columns), rows contiguous
    double[:, :, ::1] products not None,    # OUT, (n_parts, n_vectors, n_columns)
):
    """Fill ``grams[t, a - n_old, b] = scale sum_i roots_i^2 x_ia x_ib``, b up to a, and ``products[t] = vectors @ X``.

    Both are over the samples of part t, which one thread reads once.

    Some rows at a time go through the cache for all that is asked of them. They are copied there where they are
    weighted, float32, or columns from here and there, so that X is never copied as a whole; else no room is needed.
    """
    cdef Py_ssize_t part, n_parts = grams.shape[0], n_samples = vectors.shape[1]
    cdef Block block
    if grams.shape[2] == 0 or n_samples == 0:
        grams[:, :, :] = 0.0
        products[:, :, :] = 0.0
        return
    block.n_columns, block.n_old, block.scale = <int> grams.shape[2], <int> n_old, scale
    block.n_vectors, block.n_samples = vectors.shape[0], n_samples
    block.by_rows = start.shape[0] == 0
    block.vectors = &vectors[0, 0] if vectors.shape[0] else NULL
    block.roots = &roots[0] if roots.shape[0] else NULL
    block.stride = <int> (grams.strides[1] // sizeof(double))
    for part in prange(n_parts, nogil=True, schedule="static", num_threads=<int> n_parts):
        _gram_of_part(
            &data[0], NULL if block.by_rows else &start[0], part * n_samples // n_parts,
            (part + 1) * n_samples // n_parts, rows_at_once, &room[part, 0] if room.shape[1] else NULL, block,
            &grams[part, 0, 0] if grams.shape[1] else NULL, &products[part, 0, 0] if vectors.shape[0] else NULL,
        )


def gram_by_tiles(
    const real_t[::1] data not None,    # IN
    const int64_t[::1] start not None,  # IN, (n_columns,), where columns begin
    Py_ssize_t n_old,
    const double[::1] roots not None,   # IN, (n_samples,), or empty for ones
    double scale,
    Py_ssize_t n_samples,
    int rows_at_once,
    double[::1] room not None,          # WORK, (rows_at_once * n_columns,), or empty, see `gram_of_parts`
    double[:, :] gram not None,         # OUT, (n_columns - n_old, n_columns), rows contiguous
    int n_threads,
):
    """Fill what `gram_of_parts` does with one part; threads share out the columns, not the rows."""
    cdef Py_ssize_t row = 0, k
    cdef int height, tile, n_tiles, ld, n_new = <int> gram.shape[0]
    cdef double* rows
    cdef bint across
    cdef Block block
    if n_new == 0:
        return
    if n_samples == 0:
        gram[:, :] = 0.0
        return
    block.n_columns, block.n_old, block.scale = <int> gram.shape[1], <int> n_old, scale
    block.n_vectors, block.n_samples, block.by_rows, block.vectors = 0, n_samples, False, NULL
    block.roots = &roots[0] if roots.shape[0] else NULL
    block.stride = <int> (gram.strides[0] // sizeof(double))
    n_tiles = GRAM_TILES * n_threads if n_threads > 1 else 1
    across = n_threads > 1 and n_old >= n_new
    while row < n_samples:
        height = <int> min(<Py_ssize_t> rows_at_once, n_samples - row)
        if room.shape[0]:
            rows, ld = &room[0], height
            for k in prange(block.n_columns, nogil=True, schedule="static", num_threads=n_threads):
                _pack_column(&data[start[k] + row], height, NULL if block.roots == NULL else block.roots + row,
                             rows + k * height)
        else:
            rows, ld = <double*> &data[start[0] + row], <int> n_samples
        for tile in prange(n_tiles, nogil=True, schedule="dynamic", num_threads=n_threads):
            if across:
                _gram_strip(rows, ld, height, tile, n_tiles, row > 0, block, &gram[0, 0])
            else:
                _gram_tile(
                    rows, ld, height, _first_of_tile(tile, n_tiles, block), _first_of_tile(tile + 1, n_tiles, block),
                    row > 0, block, &gram[0, 0],
                )
        row += height


cdef void _pack_column(const real_t* source, int height, const double* roots, double* out) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(height):
        out[i] = source[i]
    if roots != NULL:
        for i in range(height):
            out[i] *= roots[i]


cdef inline int _first_of_tile(int tile, int n_tiles, Block block) noexcept nogil:
    # Tiles of as many entries of the half that is filled: n_old x + x^2 / 2 up to column x.
    cdef double old = block.n_old, new = block.n_columns - block.n_old
    return <int> (sqrt(old * old + (2.0 * old + new) * new * tile / n_tiles) - old + 0.5)


cdef void _gram_tile(
    double* rows, int ld, int height, int first, int end, bint keep, Block block, double* gram
) noexcept nogil:
    # Some of the new columns, with all before them and with each other.
    cdef int before = block.n_old + first, width = end - first
    cdef double old = 1.0 if keep else 0.0
    cdef double* new = rows + <Py_ssize_t> before * ld
    cdef double* out = gram + <Py_ssize_t> first * block.stride
    if width and before:
        dgemm("T", "N", &before, &width, &height, &block.scale, rows, &ld, new, &ld, &old, out, &block.stride)
    if width:
        dsyrk("U", "T", &width, &height, &block.scale, new, &ld, &old, out + before, &block.stride)


cdef void _gram_strip(
    double* rows, int ld, int height, int tile, int n_tiles, bint keep, Block block, double* gram
) noexcept nogil:
    # All new columns, which are few, with some of the old ones; the first strip also has them with each other.
    cdef int n_new = block.n_columns - block.n_old
    cdef int spare = n_new // 2, total = block.n_old + spare
    cdef int first = max(tile * total // n_tiles - spare, 0), end = (tile + 1) * total // n_tiles - spare
    cdef int width = end - first
    cdef double old = 1.0 if keep else 0.0
    cdef double* new = rows + <Py_ssize_t> block.n_old * ld
    if tile == 0:
        dsyrk("U", "T", &n_new, &height, &block.scale, new, &ld, &old, gram + block.n_old, &block.stride)
    if width > 0:
        dgemm(
            "T", "N", &width, &n_new, &height, &block.scale, rows + <Py_ssize_t> first * ld, &ld, new, &ld, &old,
            gram + first, &block.stride,
        )


cdef struct Block:
    int n_columns, n_old, stride
    double scale
    Py_ssize_t n_vectors, n_samples
    bint by_rows
    const double* vectors
    const double* roots


cdef void _gram_of_part(
    const real_t* data, const int64_t* start, Py_ssize_t first, Py_ssize_t last, int rows_at_once, double* room,
    Block block, double* gram, double* products,
) noexcept nogil:
    cdef int height, ld
    cdef Py_ssize_t row = first
    cdef double* rows
    cdef double keep = 0.0
    while row < last:
        height = <int> min(<Py_ssize_t> rows_at_once, last - row)
        if room != NULL:
            rows = room
            ld = block.n_columns if block.by_rows else height
            _pack(data, start, row, height, block, room)
        elif block.by_rows:
            rows = <double*> data + row * block.n_columns
            ld = block.n_columns
        else:
            rows = <double*> data + start[0] + row
            ld = <int> block.n_samples
        _products_of_rows(rows, ld, row, height, keep, block, products)
        if block.roots != NULL:
            _scale(rows, row, height, block)
        _gram_of_rows(rows, ld, height, keep, block, gram)
        keep = 1.0
        row += height


cdef void _pack(
    const real_t* data, const int64_t* start, Py_ssize_t row, int height, Block block, double* room
) noexcept nogil:
    cdef Py_ssize_t k
    cdef const real_t* source
    if block.by_rows:
        source = data + row * block.n_columns
        for k in range(<Py_ssize_t> height * block.n_columns):
            room[k] = source[k]
        return
    for k in range(block.n_columns):
        _pack_column(data + start[k] + row, height, NULL, room + k * height)


cdef void _scale(double* rows, Py_ssize_t row, int height, Block block) noexcept nogil:
    cdef Py_ssize_t k, i
    cdef double root
    if block.by_rows:
        for i in range(height):
            root = block.roots[row + i]
            for k in range(block.n_columns):
                rows[i * block.n_columns + k] *= root
        return
    for k in range(block.n_columns):
        for i in range(height):
            rows[k * height + i] *= block.roots[row + i]


cdef void _products_of_rows(
    double* rows, int ld, Py_ssize_t row, int height, double keep, Block block, double* products
) noexcept nogil:
    cdef Py_ssize_t r
    cdef int one = 1, n = block.n_columns
    cdef double unit = 1.0
    cdef double* vector
    for r in range(block.n_vectors):
        vector = <double*> block.vectors + r * block.n_samples + row
        if block.by_rows:
            dgemv("N", &n, &height, &unit, rows, &ld, vector, &one, &keep, products + r * n, &one)
        else:
            dgemv("T", &height, &n, &unit, rows, &ld, vector, &one, &keep, products + r * n, &one)


cdef void _gram_of_rows(double* rows, int ld, int height, double keep, Block block, double* gram) noexcept nogil:
    # What NumPy reads as the lower half of rows is the upper half of columns.
    cdef int n_new = block.n_columns - block.n_old
    cdef Py_ssize_t step = 1 if block.by_rows else ld
    cdef double* new = rows + block.n_old * step
    if n_new == 0:
        return
    if block.n_old:
        dgemm(
            "N" if block.by_rows else "T", "T" if block.by_rows else "N", &block.n_old, &n_new, &height, &block.scale,
            rows, &ld, new, &ld, &keep, gram, &block.stride,
        )
    dsyrk(
        "U", "N" if block.by_rows else "T", &n_new, &height, &block.scale, new, &ld, &keep, gram + block.n_old,
        &block.stride,
    )


def mirror(
    double[:, :] square not None,       # IN/OUT, (size, size), rows contiguous
    Py_ssize_t first,
    const double[::1] sums not None,    # IN, (size,), or empty
    int n_threads,
):
    """Copy rows from the first one on, up to the diagonal, into columns; ``sums sums.T`` is subtracted from both."""
    cdef Py_ssize_t part, size = square.shape[0], stride = square.strides[0] // <Py_ssize_t> sizeof(double)
    # The longest rows first.
    for part in prange((size - first + STRIP - 1) // STRIP, nogil=True, schedule="dynamic", num_threads=n_threads):
        _mirror_rows(
            &square[0, 0], stride, max(size - (part + 1) * STRIP, first), size - part * STRIP,
            &sums[0] if sums.shape[0] else NULL,
        )


cdef void _mirror_rows(
    double* square, Py_ssize_t stride, Py_ssize_t first, Py_ssize_t end, const double* sums
) noexcept nogil:
    cdef Py_ssize_t start = 0, a, b
    cdef double* row
    # Some columns at a time: what is written stays in the cache.
    while start < end:
        for a in range(first, end):
            row = square + a * stride
            if sums != NULL:
                for b in range(start, min(start + STRIP, a + 1)):
                    row[b] -= sums[a] * sums[b]
            for b in range(start, min(start + STRIP, a)):
                square[b * stride + a] = row[b]
        start += STRIP


def copy_corner(
    const double[:, ::1] source not None,  # IN
    Py_ssize_t size,
    double[:, ::1] out not None,           # OUT, at least (size, size)
    int n_threads,
):
    """Copy the first rows and columns of a matrix."""
    cdef Py_ssize_t a
    for a in prange(size, nogil=True, schedule="static", num_threads=n_threads):
        memcpy(&out[a, 0], &source[a, 0], size * sizeof(double))


def times_symmetric(
    const double[:, ::1] matrix not None,  # IN
    const double[::1] vector not None,     # IN, (size,)
    double[::1] out not None,              # OUT, (size,)
    int n_threads,
):
    """Multiply the first rows and columns of a symmetric matrix with a vector."""
    cdef int part, size = <int> vector.shape[0], share = (size + n_threads - 1) // n_threads
    cdef int n_parts = (size + share - 1) // share if size else 0
    for part in prange(n_parts, nogil=True, schedule="static", num_threads=n_threads):
        _times_rows(
            &matrix[part * share, 0], <int> matrix.shape[1], min(share, size - part * share), size, &vector[0],
            &out[part * share],
        )


cdef void _times_rows(
    const double* rows, int stride, int n_rows, int size, const double* vector, double* out
) noexcept nogil:
    cdef int one = 1
    cdef double plus = 1.0, nothing = 0.0
    dgemv("T", &size, &n_rows, &plus, <double*> rows, &stride, <double*> vector, &one, &nothing, out, &one)


def submatrix(
    const double[:, :] matrix not None,  # IN, rows contiguous
    const int64_t[::1] places not None,  # IN, (size,)
    double[:, ::1] out not None,         # OUT, (size, size)
    int n_threads,
):
    """Fill ``out[a, b] = matrix[places[a], places[b]]``."""
    cdef Py_ssize_t a, b, size = out.shape[0]
    cdef const double* source
    for a in prange(size, nogil=True, schedule="static", num_threads=n_threads):
        source = &matrix[places[a], 0]
        for b in range(size):
            out[a, b] = source[places[b]]


def are_neighbours(const int64_t[::1] start not None, Py_ssize_t step):  # IN
    """Return whether each begins a step after the one before."""
    cdef Py_ssize_t k
    for k in range(1, start.shape[0]):
        if start[k] - start[k - 1] != step:
            return False
    return True


def factor(double[::1, :] matrix not None, int size, int n_threads):  # IN/OUT, the lower half alone
    """Put the Cholesky factor of the first rows and columns in their place; return 0, or which pivot fails."""
    cdef int stride = <int> matrix.shape[0], first = 0, width = min(TILE, size), rest, info = 0, tile, n_tiles
    cdef double* corner
    if size == 0:
        return 0
    with nogil:
        dpotrf("L", &width, &matrix[0, 0], &stride, &info)
        while info == 0:
            corner = &matrix[first, first]
            rest = size - first - width
            if rest == 0:
                break
            n_tiles = (rest + TILE - 1) // TILE
            for tile in prange(n_tiles, schedule="static", num_threads=n_threads):
                _solve_tile(corner, stride, width, rest, tile)
            first += width
            # The corner of the next panel meanwhile: it lies in the first of these tiles.
            for tile in prange(n_tiles, schedule="dynamic", num_threads=n_threads):
                _update_tile(corner, stride, width, rest, tile, &info)
            width = min(TILE, rest)
    return info + first if info else 0


cdef void _solve_tile(double* corner, int size, int width, int rest, int tile) noexcept nogil:
    # The rows of the panel below its corner.
    cdef int first = tile * TILE, height = min(TILE, rest - first)
    cdef double one = 1.0
    dtrsm("R", "L", "T", "N", &height, &width, &one, corner, &size, corner + width + first, &size)


cdef void _update_tile(double* corner, int size, int width, int rest, int tile, int* info) noexcept nogil:
    # Some columns of what is left, from the diagonal down; of the first ones also the factor.
    cdef int first = tile * TILE, n = min(TILE, rest - first), height = rest - first
    cdef double one = 1.0, minus = -1.0
    cdef double* panel = corner + width + first
    cdef double* others = panel + (<Py_ssize_t> (width + first)) * size
    dgemm("N", "T", &height, &n, &width, &minus, panel, &size, panel, &size, &one, others, &size)
    if tile == 0:
        dpotrf("L", &n, others, &size, info)
