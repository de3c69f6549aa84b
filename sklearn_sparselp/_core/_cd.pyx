# Cyclic coordinate descent on a quadratic model restricted to a working set.
# Cost of an epoch: one dot per column, one axpy per changed column; the intercept moves along in O(1) a column.
# On a Gram matrix the dot is known already.

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport fabs

from ._columns cimport column_axpy, column_dot, column_weighted_axpy
from ._types cimport minor_t, real_t

# Stored values between two looks at pending signals: about 50 ms of work.
cdef Py_ssize_t WORK_BETWEEN_SIGNALS = 20_000_000


cdef class QuadraticModel:
    """``<g, X d> + 1/2 sum_i curvature_i (X d)_i^2 + P(w + d)`` over the columns of a working set.

    The intercept is profiled out.

    Parameters
    ----------
    penalty : Penalty
        Bound to the curvature bounds of the problem.
    features : ndarray of shape (n_columns,), dtype int64
        Position of each column in the penalty.
    w : ndarray of shape (n_columns,), dtype float64
        Start; updated in place by `sweep`.
    raw_gradient : ndarray of shape (n_samples,), dtype float64
        Derivative in each prediction; updated in place by `sweep`.
    curvature : ndarray of shape (n_samples,), dtype float64, or float
        Second derivative in each prediction; a number where it is the same everywhere.
    lipschitz : ndarray of shape (n_columns,), dtype float64
        ``sum_i curvature_i (x_ij - mean_j)^2 + l2_reg``; 0 keeps a column at 0.
    sums : ndarray of shape (n_columns,), dtype float64, or None
        ``sum_i curvature_i x_ij`` with an intercept, None without.
    total : float
        ``sum_i curvature_i``.
    exact : bool
        Whether ``lipschitz`` holds the L_j that the penalty is bound to.
    """

    def __init__(self, Penalty penalty not None, features, w, raw_gradient, curvature, lipschitz, sums, double total,
                 bint exact):
        self.penalty = penalty
        self.features = features
        self.w = w
        self.raw_gradient = raw_gradient
        if isinstance(curvature, float):
            self.curvature = lipschitz[:0]
            self.uniform = curvature
        else:
            self.curvature = curvature
            self.uniform = 0.0
        self.lipschitz = lipschitz
        self.sums = lipschitz[:0] if sums is None else sums
        self.total = total
        self.shift = 0.0
        self.exact = exact

    def fold_shift(self):
        """Move the intercept's change into ``raw_gradient`` and return it."""
        cdef Py_ssize_t i
        cdef double shift = self.shift
        if shift != 0.0:
            with nogil:
                for i in range(self.raw_gradient.shape[0]):
                    if self.curvature.shape[0]:
                        self.raw_gradient[i] += shift * self.curvature[i]
                    else:
                        self.raw_gradient[i] += shift * self.uniform
        self.shift = 0.0
        return shift


def sweep(
    const real_t[::1] data not None,    # IN
    const minor_t[::1] rows not None,   # IN, empty for dense columns
    const int64_t[::1] start not None,  # IN, (n_columns,)
    const int64_t[::1] stop not None,   # IN, (n_columns,)
    QuadraticModel model not None,      # IN/OUT
    Py_ssize_t max_epochs,
    double tol,
    Py_ssize_t until_changes,
    const int64_t[::1] places not None,  # IN, (n_columns,), or empty
):
    """Run epochs until the largest update is small, or few signs change.

    One update of column j: ``w_j <- T_j(w_j - g_j / L_j)``.

    Parameters
    ----------
    data, rows, start, stop
        Column k holds ``data[start[k]:stop[k]]`` in rows ``rows[start[k]:stop[k]]``.
    model : QuadraticModel
        Its coefficients, raw gradient and shift are updated in place.
    max_epochs : int
        At most so many.
    tol : float
        Stop when ``max_j L_j |change of w_j|`` of an epoch is at most this.
    until_changes : int
        Also stop after an epoch in which at most so many coefficients changed their sign; -1: never.
    places : ndarray of shape (n_columns,), dtype int64, or empty
        Of columns of a Gram matrix: where in ``raw_gradient``, the gradient itself there, each of them has its own.

    Returns
    -------
    epochs : int
    violation : float
        ``max_j L_j |change of w_j|`` of the last epoch.
    n_changes : int
        How many coefficients changed their sign in the last epoch.
    """
    cdef Py_ssize_t k, epoch = 0, size, work = 0, changes = 0
    cdef Py_ssize_t n_columns = model.w.shape[0]
    cdef double violation = 0.0, lipschitz, gradient, old, new, change
    cdef bint centred = model.sums.shape[0] > 0
    cdef bint weighted = model.curvature.shape[0] > 0
    cdef bint dense = rows.shape[0] == 0
    cdef bint by_gram = places.shape[0] > 0
    cdef const real_t* column
    cdef const minor_t* where = NULL
    cdef double* raw = &model.raw_gradient[0]
    with nogil:
        while epoch < max_epochs:
            epoch += 1
            violation = 0.0
            changes = 0
            for k in range(n_columns):
                lipschitz = model.lipschitz[k]
                if lipschitz <= 0.0:
                    continue
                size = stop[k] - start[k]
                column = &data[start[k]]
                if not dense:
                    where = &rows[start[k]]
                old = model.w[k]
                gradient = raw[places[k]] if by_gram else column_dot(column, where, size, raw)
                gradient += model.penalty.l2_reg * old
                if centred:
                    gradient += model.shift * model.sums[k]
                if model.exact:
                    new = model.penalty.update(old - gradient / lipschitz, lipschitz, model.features[k])
                else:
                    new = model.penalty.prox(old - gradient / lipschitz, lipschitz, model.features[k])
                work += size
                if work > WORK_BETWEEN_SIGNALS:
                    work = 0
                    with gil:
                        PyErr_CheckSignals()
                if new == old:
                    continue
                change = new - old
                if fabs(change) * lipschitz > violation:
                    violation = fabs(change) * lipschitz
                if (new > 0.0) != (old > 0.0) or (new < 0.0) != (old < 0.0):
                    changes += 1
                model.w[k] = new
                if weighted:
                    column_weighted_axpy(change, column, where, size, &model.curvature[0], raw)
                else:
                    column_axpy(change * model.uniform, column, where, size, raw)
                if centred:
                    model.shift -= change * model.sums[k] / model.total
            if violation <= tol or changes <= until_changes:
                break
    return epoch, violation, changes
