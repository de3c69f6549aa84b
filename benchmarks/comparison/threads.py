"""How many threads the numerical libraries of a process may use.

They read it when they are first imported, so nothing is imported here that would load one.
"""

from __future__ import annotations

import contextlib
import os

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def limit_threads(threads: int) -> None:
    """Set the number for this process and those that it starts."""
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))


def allowed_threads() -> int:
    """The number for solvers that do not read it themselves; 1 where nothing is said."""
    return int(os.environ.get(VARIABLES[0], "1"))


@contextlib.contextmanager
def threads_of_children(threads: int):
    """Set the number for processes that are started inside the block."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    limit_threads(threads)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
