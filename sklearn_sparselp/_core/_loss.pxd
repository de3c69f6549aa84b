# Losses on whole vectors: the weights carry the normalisation (they sum to one).

cdef class Loss:
    cdef readonly bint quadratic          # loss'' is the weight itself everywhere
    cdef readonly double curvature_bound  # c with loss'' <= c, infinity where none exists
