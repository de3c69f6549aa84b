"""Settings and fixtures of the whole suite."""

import functools
import os
import sys

import numpy as np
import pytest
from hypothesis import settings
from layouts import LAYOUTS
from threadpoolctl import threadpool_limits

# Pictures are drawn, not shown.
os.environ.setdefault("MPLBACKEND", "Agg")

# The same examples in every run: a red test is red again.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=40, database=None)
settings.load_profile("suite")

# Signalling NaN, and places far outside each array.
POISONS = {
    np.dtype(np.float32): 0x7FA00000,
    np.dtype(np.float64): 0x7FF4000000000000,
    np.dtype(np.int32): 0x40000000,
    np.dtype(np.int64): 0x4000000000000000,
}


@pytest.fixture(autouse=True, scope="session")
def _arrays_are_empty_of_meaning():
    """Fill what ``numpy.empty`` returns with values that show when they are read unwritten.

    A signalling NaN makes NumPy warn in the first sum that reads it, and warnings are errors here.
    """
    patch = pytest.MonkeyPatch()
    for name in ("empty", "empty_like"):
        patch.setattr(np, name, _poisoned(getattr(np, name)))
    yield
    patch.undo()


def _poisoned(make):
    @functools.wraps(make)
    def made(*args, **kwargs):
        out = make(*args, **kwargs)
        if isinstance(out, np.ndarray) and out.dtype in POISONS:
            out.view(f"u{out.itemsize}")[...] = POISONS[out.dtype]
        return out

    return made


@pytest.fixture(autouse=True, scope="session")
def _one_blas_thread():
    # The matrices here are tiny. On a busy machine two threads wait for each other: 4 times slower.
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(params=LAYOUTS)
def layout(request):
    """A function that stores a dense matrix in one of the layouts."""
    return LAYOUTS[request.param]


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def dtype(request):
    return request.param
