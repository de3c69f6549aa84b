"""Small fits on import, so that the first fit of a process costs what the later ones cost."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .._core._loss import SquaredError
from .._core._penalty import LpPenalty
from .._threads import blas_libraries
from .design import Design
from .driver import solve
from .problem import Problem

# Too few values for BLAS or OpenMP to start a thread; working sets, and the matrix of all features.
N_SAMPLES = 24
WIDE, NARROW = 320, 8
# The largest block that is got and let go, in values.
LARGEST_BLOCK = 2**20


def rehearse() -> None:
    """Find BLAS, and fit 24 x 320 values, dense and as CSR, and 24 x 8.

    The first fit of a process maps code of NumPy, BLAS and LAPACK that no import has touched: 2.2 MB, which
    would count as memory of that fit, and 2 ms.

    A block of 8 MB, not touched, is let go, too. The C library of Linux gives freed memory back as soon as it is
    twice the largest block that it has let go before, and small fits would get theirs anew each time.
    """
    blas_libraries()
    np.empty(LARGEST_BLOCK)
    rows, columns = np.ogrid[:N_SAMPLES, :WIDE]
    X = np.cos(1.0 + (rows * WIDE + columns) ** 2 % 977.0)
    y = X[:, 0] - X[:, 1]
    for stored in (np.asfortranarray(X), sparse.csr_array(np.maximum(X, 0.0)), np.asfortranarray(X[:, :NARROW])):
        penalty = LpPenalty(stored.shape[1], 1.0, 0.05)
        solve([Problem(Design(stored), y, SquaredError(), penalty)], tol=1e-4, warn=False)
