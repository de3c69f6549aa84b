# The loops of the gradient solvers over all features, one pass each: no temporary vector is made.
# metric_j and lipschitz_j are
# the curvature L_j of the smooth part in coordinate j; 0 marks a coordinate that stays at 0.

from libc.math cimport INFINITY, fabs, isinf

from ._penalty cimport Penalty


def proximal_step(
    Penalty penalty not None,
    const double[::1] w not None,             # IN, (n_features,)
    const double[::1] old not None,           # IN, (n_features,)
    double momentum,
    const double[::1] gradient not None,      # IN, (n_features,)
    const double[::1] old_gradient not None,  # IN, (n_features,)
    const double[::1] metric not None,        # IN, (n_features,)
    double inverse_step,
    double[::1] out not None,                 # OUT, (n_features,)
):
    """Fill ``out_j = argmin_t l_j/2 (t - v_j + g_j/l_j)^2 + P_j(t)`` with ``l_j = inverse_step metric_j``.

    The step starts from ``v = w + momentum (w - old)``, where the smooth part has the
    gradient ``g = gradient + momentum (gradient - old_gradient) + l2_reg v``.

    Returns
    -------
    size : float
        ``sum_j metric_j (out_j - v_j)^2``.
    square : float
        ``sum_j (out_j - v_j)^2``.
    along : float
        ``sum_j metric_j (v_j - out_j) (out_j - w_j)``: above 0 the momentum leads uphill.
    largest : float
        ``max_j l_j |out_j - v_j|``.
    """
    cdef Py_ssize_t j
    cdef double size = 0.0, square = 0.0, along = 0.0, largest = 0.0
    cdef double lipschitz, v, g, change
    with nogil:
        for j in range(w.shape[0]):
            lipschitz = inverse_step * metric[j]
            if not lipschitz > 0.0:
                out[j] = 0.0
                continue
            v = w[j] + momentum * (w[j] - old[j])
            g = gradient[j] + momentum * (gradient[j] - old_gradient[j]) + penalty.l2_reg * v
            out[j] = penalty.prox(v - g / lipschitz, lipschitz, j)
            change = out[j] - v
            if change == 0.0:
                continue
            square += change * change
            size += metric[j] * change * change
            along -= metric[j] * change * (out[j] - w[j])
            if lipschitz * fabs(change) > largest:
                largest = lipschitz * fabs(change)
    return size, square, along, largest


def descent_terms(
    Penalty penalty not None,
    const double[::1] w not None,                # IN, (n_features,)
    const double[::1] smooth_gradient not None,  # IN, (n_features,), ridge excluded
    const double[::1] lipschitz not None,        # IN, (n_features,)
    bint positive,
    double[::1] gradient not None,               # IN/OUT, (n_features,), of the former point, then of w
    double[::1] bend not None,                   # OUT, (n_features,)
):
    """Fill the gradient of the objective and a curvature of the penalty; 0 and infinity where w stands still.

    A coordinate stands still where ``lipschitz`` is 0, at 0 with a mask, and at a bound
    (0 with ``positive``, the threshold of a mask) while the gradient would take it beyond.

    The penalty's own curvature may be infinite (1 < p < 2) or 0 (p > 2) at w_j. It is
    taken as ``max(phi'(c) / c, phi''(c))`` with ``c = max(|w_j|, |t_j|)``, where t_j is the
    minimiser of the coordinate's own model. From ``w_j = 0`` and with 1 < p <= 2 the step
    ``-gradient_j / (lipschitz_j + bend_j)`` then leads to t_j, however steep phi is.

    Returns
    -------
    slope : float
        ``sum_j gradient_j^2 / (lipschitz_j + bend_j)``.
    turn : float
        ``sum_j gradient_j (gradient_j - former gradient_j) / (lipschitz_j + bend_j)``.
    largest : float
        ``max_j lipschitz_j |gradient_j| / (lipschitz_j + bend_j)``.
    """
    cdef Py_ssize_t j
    cdef double slope = 0.0, turn = 0.0, largest = 0.0
    cdef double smallest = penalty.smallest()
    cdef double smooth, total, own, at, secant, step, size
    with nogil:
        for j in range(w.shape[0]):
            size = fabs(w[j])
            own = penalty.derivative(w[j], j)
            smooth = smooth_gradient[j] + penalty.l2_reg * w[j]
            total = smooth + own
            bend[j] = INFINITY
            if (
                lipschitz[j] <= 0.0
                or size == 0.0 and (smallest > 0.0 or positive and total >= 0.0)
                or size <= smallest and smallest > 0.0 and total * w[j] > 0.0
            ):
                gradient[j] = 0.0
                continue
            at = fabs(penalty.prox(w[j] - smooth / lipschitz[j], lipschitz[j], j))
            if at <= size:
                at = size
                own = fabs(own)
            else:
                own = penalty.derivative(at, j)
            # Where w_j and its model's minimiser are 0 to rounding the curvature is infinite: it stands still.
            if at > 0.0:
                secant = own / at
                bend[j] = penalty.curvature(at, j)
                if not bend[j] > secant:
                    bend[j] = secant
            if isinf(bend[j]):
                gradient[j] = 0.0
                continue
            step = total / (lipschitz[j] + bend[j])
            slope += total * step
            turn += (total - gradient[j]) * step
            gradient[j] = total
            if lipschitz[j] * fabs(step) > largest:
                largest = lipschitz[j] * fabs(step)
    return slope, turn, largest


def turn_direction(
    const double[::1] gradient not None,   # IN, (n_features,)
    const double[::1] lipschitz not None,  # IN, (n_features,)
    const double[::1] bend not None,       # IN, (n_features,)
    double l2_reg,
    double memory,
    double[::1] direction not None,        # IN/OUT, (n_features,)
):
    """Fill ``direction_j = -gradient_j / (lipschitz_j + bend_j) + memory direction_j``, 0 where w stands still.

    Returns
    -------
    along : float
        ``sum_j gradient_j direction_j``.
    bending : float
        ``sum_j (bend_j + l2_reg) direction_j^2``.
    """
    cdef Py_ssize_t j
    cdef double along = 0.0, bending = 0.0
    with nogil:
        for j in range(gradient.shape[0]):
            if isinf(bend[j]):
                direction[j] = 0.0
                continue
            direction[j] = memory * direction[j] - gradient[j] / (lipschitz[j] + bend[j])
            along += gradient[j] * direction[j]
            bending += (bend[j] + l2_reg) * direction[j] * direction[j]
    return along, bending


def slope_along(
    Penalty penalty not None,
    const double[::1] w not None,          # IN, (n_features,)
    const double[::1] direction not None,  # IN, (n_features,)
    double step,
):
    """Return the derivative of ``sum_j phi_j(w_j + t direction_j) + l2_reg/2 (w_j + t direction_j)^2`` at t = step."""
    cdef Py_ssize_t j
    cdef double slope = 0.0, at
    with nogil:
        for j in range(w.shape[0]):
            if direction[j] != 0.0:
                at = w[j] + step * direction[j]
                slope += (penalty.derivative(at, j) + penalty.l2_reg * at) * direction[j]
    return slope
