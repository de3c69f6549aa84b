# Separable penalties: what a solver may ask of one coordinate.
# Contract (doc: objective, mask): P_j(t) = phi_j(t) + kappa_j 1[t != 0] on {0} and |t| >= threshold.

from ._prox cimport LpProx


cdef class Penalty:
    cdef readonly Py_ssize_t n_features
    cdef readonly double l2_reg
    cdef readonly double sparsity_threshold
    cdef readonly bint positive

    cdef double strength(self, Py_ssize_t j) noexcept nogil
    cdef double value(self, double w, Py_ssize_t j) noexcept nogil
    cdef double prox(self, double z, double lipschitz, Py_ssize_t j) noexcept nogil
    cdef double update(self, double z, double lipschitz, Py_ssize_t j) noexcept nogil
    cdef double derivative(self, double w, Py_ssize_t j) noexcept nogil
    cdef double curvature(self, double w, Py_ssize_t j) noexcept nogil
    cdef double entry_gradient(self, double lipschitz, Py_ssize_t j) noexcept nogil
    cdef double least_entry(self) noexcept nogil
    cdef double conjugate(self, double v, Py_ssize_t j) noexcept nogil
    cdef double mask_value(self, double lipschitz, Py_ssize_t j) noexcept nogil
    cdef double smallest(self) noexcept nogil


cdef class LpPenalty(Penalty):
    cdef readonly double p
    cdef readonly double alpha
    cdef readonly object penalty_factor
    cdef const double[::1] factor   # length 0 stands for all ones
    cdef const double[::1] kappa    # length 0 stands for zeros
    cdef LpProx rule
