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

    cdef double search_shift(
        self, const double* y, const double* f, const double* s, Py_ssize_t n, double start,
    ) noexcept nogil                      # see `best_shift`

    cdef double differentiate(
        self, const double* y, const double* f, const double* s, Py_ssize_t n, double* gradient, double* curvature,
    ) noexcept nogil                      # see `derivatives`

    cdef double conjugate_of(
        self, const double* y, const double* dual, double scale, const double* s, Py_ssize_t n,
    ) noexcept nogil                      # see `conjugate`
