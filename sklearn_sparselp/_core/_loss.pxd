# Losses on whole vectors: the weights carry the normalisation (they sum to one).

cdef class Loss:
    cdef readonly bint quadratic          # loss'' is the weight itself everywhere
    cdef readonly double curvature_bound  # c with loss'' <= c, infinity where none exists

    cdef void slopes(
        self,
        const double* y,  # IN, (n,)
        const double* f,  # IN, (n,)
        const double* s,  # IN, (n,)
        Py_ssize_t n,
        double shift,
        double* sums,     # OUT, (3,): of s loss', s loss'' and s |loss'| at f + shift
    ) noexcept nogil
