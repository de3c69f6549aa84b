# The quadratic model that coordinate descent walks on: state shared by all storage types.
# Invariant: the gradient of the model in prediction i is raw_gradient[i] + shift * curvature[i].

from libc.stdint cimport int64_t

from ._penalty cimport Penalty


cdef class QuadraticModel:
    cdef readonly Penalty penalty
    cdef readonly const int64_t[::1] features    # which coordinate of the penalty each column is
    cdef readonly double[::1] w                  # coefficients of the columns
    cdef readonly double[::1] raw_gradient       # derivative of the smooth part in each prediction, shift left out
    cdef const double[::1] curvature    # second derivative in each prediction; length 0 stands for `uniform`
    cdef readonly const double[::1] lipschitz    # curvature of each column, ridge included; 0 keeps a column out
    cdef const double[::1] sums         # sum_i curvature_i x_ij; length 0 stands for no intercept
    cdef double uniform
    cdef double total                   # sum_i curvature_i
    cdef readonly double shift          # change of the intercept since the model was made
    cdef bint exact                     # lipschitz is the L_j of the penalty: the rule T_j applies as it is
