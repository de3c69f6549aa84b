"""Settings and fixtures of the whole suite."""

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
