# Products with the columns of a block, each from data[start[k]] to data[stop[k]]; rows is NULL for dense columns.

from ._types cimport int64_t, minor_t, real_t


cdef void products_of(
    const real_t* data, const minor_t* rows, const int64_t* start, const int64_t* stop, Py_ssize_t n_columns,
    const double* vector, double* out, int n_threads,
) noexcept nogil

cdef void accumulate_of(
    const real_t* data, const minor_t* rows, const int64_t* start, const int64_t* stop, Py_ssize_t n_columns,
    const double* scales, double* out, Py_ssize_t n_samples, int n_threads,
) noexcept nogil
