"""A small fit on import, so that the first fit of a process costs what the later ones cost."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .._core._loss import SquaredError
from .._core._penalty import LpPenalty
from .design import Design
from .driver import THREAD_POOLS, solve
from .problem import Problem

N_SAMPLES, N_FEATURES = 24, 240


def rehearse() -> None:
    """Fit 24 x 240 values, dense and as CSR.

    The first fit of a process maps code of NumPy, BLAS and LAPACK that no import has touched: 2.2 MB, which
    would count as memory of that fit. On import that takes a fifth of the search for `THREAD_POOLS`.
    """
    rows, columns = np.ogrid[:N_SAMPLES, :N_FEATURES]
    X = np.cos(1.0 + (rows * N_FEATURES + columns) ** 2 % 977.0)
    y = X[:, 0] - X[:, 1]
    with THREAD_POOLS.limit(limits=1, user_api="blas"):
        for design in (Design(np.asfortranarray(X)), Design(sparse.csr_array(np.maximum(X, 0.0)))):
            solve([Problem(design, y, SquaredError(), LpPenalty(N_FEATURES, 1.0, 0.05))], tol=1e-4, warn=False)
