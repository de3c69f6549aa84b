# The Cholesky factor of a symmetric matrix whose rows join and leave.
# Invariant: the first n rows and columns of `factor`, an upper triangle in rows of `stride` values, hold U with U.T U
# the matrix of `order`. What lies below the diagonal is never read.

from libc.math cimport sqrt
from scipy.linalg.cython_blas cimport dsyrk, dtrsm, dtrsv
from scipy.linalg.cython_lapack cimport dpotrf

from ._columns cimport axpy_double, dot_double  # no-cython-lint: its file defines SPARSELP_CLONES
from ._types cimport int32_t

cdef extern from *:
    """
    SPARSELP_CLONES static void sparselp_rotate(double c, double s, const double *row, double *out, double *v,
                                                Py_ssize_t n) {
        _Pragma("omp simd")
        for (Py_ssize_t i = 0; i < n; i++) {
            double a = row[i], b = v[i];
            out[i] = c * a + s * b;
            v[i] = c * b - s * a;
        }
    }
    """
    void rotate "sparselp_rotate"(double, double, const double*, double*, double*, Py_ssize_t) noexcept nogil


cdef inline void factor_forward(const double* factor, int stride, int n, double* x) noexcept nogil:
    # U.T x = b in place. LAPACK's columns are the rows here.
    cdef int one = 1
    dtrsv(b"L", b"N", b"N", &n, <double*> factor, &stride, x, &one)


cdef inline void factor_solve(const double* factor, int stride, int n, double* x) noexcept nogil:
    # U.T U x = b in place.
    cdef int one = 1
    factor_forward(factor, stride, n, x)
    dtrsv(b"L", b"T", b"N", &n, <double*> factor, &stride, x, &one)


cdef inline bint factor_append(
    double* factor, int stride, int n, double* column, double diagonal, double smallest,
) noexcept nogil:
    # Another row: `column` of n values beside the diagonal is overwritten. False, and nothing changed, where the pivot
    # is not above `smallest`.
    cdef int i
    cdef double pivot
    factor_forward(factor, stride, n, column)
    pivot = diagonal - dot_double(column, column, n)
    if not pivot > smallest:
        return False
    for i in range(n):
        factor[i * <Py_ssize_t> stride + n] = column[i]
    factor[n * <Py_ssize_t> stride + n] = sqrt(pivot)
    return True


cdef inline int factor_append_many(double* factor, int stride, int n, int more, const double* smallest) noexcept nogil:
    # So many rows at once: what the matrix holds beside those there are, and of them, lies in their place. Returns how
    # many have joined before a pivot was not above its entry of `smallest`.
    cdef int info = 0, k
    cdef Py_ssize_t size = stride
    cdef double plus = 1.0, minus = -1.0
    cdef double* corner = factor + n * size + n
    if n > 0:
        dtrsm(b"R", b"L", b"T", b"N", &more, &n, &plus, factor, &stride, factor + n, &stride)
        dsyrk(b"L", b"N", &more, &n, &minus, factor + n, &stride, &plus, corner, &stride)
    dpotrf(b"L", &more, corner, &stride, &info)
    # Up to the pivot that fails the factor is there.
    for k in range(info - 1 if info > 0 else more):
        if not corner[k * size + k] * corner[k * size + k] > smallest[k]:
            return k
    return info - 1 if info > 0 else more


cdef inline void factor_remove(double* factor, int stride, int n, int place, double* room) noexcept nogil:
    # A row leaves: what it held of those after it is rotated into them. `room` holds n values.
    cdef Py_ssize_t i, k, first = place, size = stride
    cdef double* row
    cdef double* above
    cdef double pivot, length
    for i in range(first):
        row = factor + i * size
        for k in range(first + 1, n):
            row[k - 1] = row[k]
    for k in range(first + 1, n):
        room[k] = factor[first * size + k]
    for i in range(first + 1, n):
        row = factor + i * size + i
        above = factor + (i - 1) * size + i - 1
        pivot, length = row[0], sqrt(row[0] * row[0] + room[i] * room[i])
        above[0] = length
        rotate(pivot / length, room[i] / length, row + 1, above + 1, room + i + 1, n - i - 1)
