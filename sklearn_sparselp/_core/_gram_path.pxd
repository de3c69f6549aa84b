# The elastic net on a Gram matrix, one fit at a time: what `lasso_on_gram` and the Newton models of a loss share.

from ._types cimport int32_t

cdef struct Fit:
    const double* matrix
    Py_ssize_t stride, size
    const double* factor
    const double* null_gradient
    double null_square, alpha, l2_reg
    double noise          # what rounding makes of a gradient of 0
    bint positive
    double* w
    double* gradient      # of the loss at w
    bint fresh            # whether that is free of the rounding of updates
    double* direction     # (size,)
    double* room          # (size,)
    double* cholesky      # (room, room), see _factor.pxd
    int32_t* order        # (room,), which coordinates its rows are
    # (room + 1,), which columns are multiples of others that do as well, and of how many columns that is known: 0 until
    # some have depended on each other. NULL where nobody is to look.
    int32_t* twins
    bint twins_enter      # whether they may leave 0
    bint passed_over      # whether one would have
    int room_size, n_rows
    Py_ssize_t work       # entries of the matrix that have been read, about
    Py_ssize_t looked     # `work` at the last look at pending signals


# Epochs to near the minimum; how many, negative where they do not get there. The gradient at w has to be there.
cdef Py_ssize_t walk(Fit* m, Py_ssize_t max_epochs) noexcept nogil

# The epochs that a fit from w took, -1 less these where it gave up.
cdef Py_ssize_t descend(
    Fit* m, Py_ssize_t max_epochs, double tol, double polished, double* objective, double* gap, double* violation,
) except? -1 nogil
