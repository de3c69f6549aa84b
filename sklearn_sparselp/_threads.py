"""How many threads a piece of work is shared by, and that BLAS adds none of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from numbers import Integral
from threading import local
from typing import Any

from threadpoolctl import ThreadpoolController

from ._core._matvec import effective_n_threads

# Below so many stored values, or as many additions, all is over before a second thread is awake.
THREADED_FROM = 300_000
# The least n_samples * n_features with a matrix in whose factors and products BLAS takes several
# threads.
BLAS_THREADED_FROM = 10_000
# A walk over vectors over the features, in stored values for each feature.
VALUES_OF_FEATURE = 3
NO_LIMIT = nullcontext()


def threads_for(work: float) -> int:
    """Return how many threads share so many stored values, or as many additions."""
    return effective_n_threads() if work >= THREADED_FROM else 1


def threads_for_features(n_features: int) -> int:
    """Return how many threads share a walk over vectors over the features."""
    return threads_for(VALUES_OF_FEATURE * n_features)


class _BlasController(ThreadpoolController):
    """Looks at libraries alone whose name may be that of a BLAS: 4 ms in place of 17 for 184."""

    def _make_controller_from_path(self, filepath: str) -> None:
        # Called by threadpoolctl for each library; if that changes all are looked at again.
        if re.search("blas|blis|mkl|lapack|atlas", os.path.basename(filepath).lower()):
            super()._make_controller_from_path(filepath)


@cache
def blas_libraries() -> list:
    """Return the controllers of the BLAS libraries of NumPy and SciPy, which have loaded them."""
    return _BlasController().select(user_api="blas").lib_controllers


class _Limited(local):
    """Whether this thread has limited BLAS already."""

    already = False


_LIMITED = _Limited()


def one_blas_thread(n_values: int) -> AbstractContextManager[None]:
    """Return a context that keeps BLAS to one thread in work on so many values of X.

    Cheap inside of another one. The systems of Newton steps are small, and large products are
    shared out before BLAS is called. Its own second thread costs more than it brings, and on a
    busy machine, where it is waited for, a hundred times as much. Below `BLAS_THREADED_FROM`
    values BLAS starts none.
    """
    return NO_LIMIT if _LIMITED.already or n_values < BLAS_THREADED_FROM else _limited_blas()


def one_blas_thread_for(X: Any) -> AbstractContextManager[None]:
    """Return the same for X as users give it, looked at or not.

    A vector of 10 000 values is enough for BLAS to wake its second thread, which then waits for
    more in a loop, on a core that threads of the fit need: with an intercept news20 at
    alpha_max/10 took 15 ms on two cores, and takes 6.
    """
    size = getattr(X, "size", 0)
    return one_blas_thread(int(size) if isinstance(size, Integral) else 0)


@contextmanager
def _limited_blas() -> Iterator[None]:
    # Asked for one by one: the context manager of threadpoolctl takes a tenth of a fit of
    # 1797 x 64 values.
    several = [
        (library, n) for library in blas_libraries() if (n := library.get_num_threads()) != 1
    ]
    _LIMITED.already = True
    try:
        for library, _ in several:
            library.set_num_threads(1)
        yield
    finally:
        for library, n in several:
            library.set_num_threads(n)
        _LIMITED.already = False
