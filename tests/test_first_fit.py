"""The first fit of a process does what later ones do; a fit on CSR takes little beside it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from sklearn_sparselp import SparseLpRegressor

# Enough values for BLAS to be limited to one thread.
FIRST_AND_SECOND = """
import json, sys
import numpy as np
from scipy import sparse
from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(100, 200))
y = X[:, 0] - X[:, 1] + 0.1 * rng.normal(size=100)
X = {storage}(X)
counts = []
for k in range(2):
    # Parameters that have been valid before are not looked at again.
    model = {model}.set_params(tol=1e-4 / (k + 1))
    modules, calls = len(sys.modules), [0]

    def count(frame, event, argument):
        calls[0] += event in ("call", "c_call")

    sys.setprofile(count)
    model.fit(X, {target})
    sys.setprofile(None)
    counts.append((calls[0], len(sys.modules) - modules))
print(json.dumps(counts))
"""


@pytest.mark.parametrize(
    ("model", "target"),
    [("SparseLpRegressor(alpha=0.05)", "y"), ("SparseLpClassifier(alpha=0.01)", "y > 0.0")],
)
@pytest.mark.parametrize("storage", ["sparse.csr_matrix", "sparse.csc_array", "np.asfortranarray"])
def test_the_first_fit_of_a_process_calls_hardly_more_than_the_second(storage, model, target):
    code = FIRST_AND_SECOND.format(storage=storage, model=model, target=target)
    out = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    (first, imported), (second, _) = json.loads(out.stdout)
    assert imported == 0
    # A search for loaded libraries or for plugins of data frames is tens of thousands of calls, the
    # names of parameters, which are looked up once, are 400.
    assert first <= second + 1000


FRESH_PAGES = """
import resource
import numpy as np
from sklearn_sparselp import SparseLpRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(7000, 70)).T
y = X[:, :5].sum(axis=1) + rng.normal(size=70)
alpha = np.abs(X.T @ (y - y.mean())).max() / 70 / 300.0
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    SparseLpRegressor(alpha=alpha).fit(X, y)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or sys.maxsize < 2**32, reason="speaks of glibc's rules"
)
def test_small_fits_do_not_get_their_memory_anew():
    # One that gave its memory back would touch some 470 pages that it has not.
    command = [sys.executable, "-c", FRESH_PAGES]
    others = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    env = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    out = subprocess.run(command, text=True, capture_output=True, check=True, env=env)
    assert int(out.stdout) < 150


def test_a_fit_on_csr_takes_little_beside_its_columns_however_many_features_there_are():
    # 2.5 stored values a feature, as rcv1 has: a float64 for each feature is a quarter of X.
    rng = np.random.default_rng(0)
    n_samples, n_features, per_row = 1500, 48_000, 80
    columns = np.sort(rng.integers(n_features // per_row, size=(n_samples, per_row)), axis=1)
    columns = (columns + np.arange(per_row) * (n_features // per_row)).ravel().astype(np.int32)
    indptr = np.arange(0, columns.size + 1, per_row, dtype=np.int32)
    X = sparse.csr_array((rng.random(columns.size), columns, indptr), shape=(n_samples, n_features))
    y = X[:, columns[:20]].sum(axis=1) + 0.1 * rng.normal(size=n_samples)
    alpha = np.abs(X.T @ (y - y.mean())).max() / n_samples / 10
    model = SparseLpRegressor(alpha=alpha)
    tracemalloc.start()
    try:
        model.fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    vector = 8 * n_features
    companion = X.data.nbytes + X.indices.nbytes + 4 * (n_features + 1)
    assert 0 < np.count_nonzero(model.coef_) < 500
    # Four are coefficients, curvature bounds, means and gradient; the Gram matrix is a fifth.
    assert peak < companion + 6.0 * vector
