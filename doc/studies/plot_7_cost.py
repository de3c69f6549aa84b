"""
What does it cost?
==================

A Lasso on generated text costs 20 to 200 products of X with a vector, 60 ms and less for a
million stored values. Time follows the stored values, and less than in proportion: eight times as
many samples or values a sample take two to five times as long. Eight times as many features with
the same values take one and a half to three times as long, for vectors over all features then
count. A weaker penalty costs more: thirty times as many features in the model three to four times
as much. Beside X a fit on CSR allocates 1.3 times X, for its copy by columns, and one on CSC 0.3
times. A prediction takes about 10 microseconds among 10⁴ features and among 10⁶, with 15
coefficients and with 280. (One core of a shared AMD EPYC; the tables below come from the machine
that built this page.)
"""

# %%
# **Growth.** Rows of words with a power law, as in text: n samples, d features, a share of them
# stored. The target is a sum over 500 frequent words with noise. Each line changes one of the
# three; fits are the Lasso (p = 1) at a tenth of ``alpha_max``, and p = 1/2 at a tenth of its
# own.

import time
import tracemalloc

import matplotlib.pyplot as plt
import numpy as np
from scipy import sparse
from studies import table

from sklearn_sparselp import SparseLpRegressor, alpha_max

ORDERS = (1.0, 0.5)


def texts(n_samples, n_features, per_sample, seed=0):
    """Return rows of unit length whose columns follow a power law, and a target."""
    rng = np.random.default_rng(seed)
    columns = (n_features ** rng.random((n_samples, per_sample))).astype(np.int64) - 1
    rows = np.repeat(np.arange(n_samples), per_sample)
    values = np.full(rows.size, per_sample**-0.5)
    X = sparse.csr_array((values, (rows, columns.ravel())), shape=(n_samples, n_features))
    signal = X[:, 5:505] @ rng.standard_normal(500)
    return X, signal + 0.5 * signal.std() * rng.standard_normal(n_samples)


def milliseconds(call, repeats=3):
    """Return the least time of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def fitted(X, y, p, fraction=0.1):
    """Return a model at a fraction of the strength where all coefficients are 0, and its time."""
    model = SparseLpRegressor(p=p, alpha=fraction * alpha_max(X, y, p))
    return model, milliseconds(lambda: model.fit(X, y))


BASE = {"n_samples": 4000, "n_features": 20_000, "per_sample": 50}
NAMES = {"n_samples": "samples", "n_features": "features", "per_sample": "values a sample"}
growth, rows = {}, []
for name, start in BASE.items():
    for factor in (1, 2, 4, 8):
        X, y = texts(**(BASE | {name: factor * start}))
        pass_ms = milliseconds(lambda X=X, y=y: X.T @ y)
        for p in ORDERS:
            model, took = fitted(X.tocsc(), y, p)
            growth[name, p, factor] = took
            rows.append(
                [NAMES[name], factor * start, f"{X.nnz:,}", f"{p:g}", f"{took:.1f}",
                 f"{took / pass_ms:.0f}", model.mask_.sum()]
            )  # fmt: skip
table(["grows", "to", "stored", "p", "ms", "in passes", "support"], rows)

# %%

figure, panels = plt.subplots(1, 3, figsize=(9.5, 3.2), sharey=True, layout="constrained")
for axes, (name, start) in zip(panels, BASE.items(), strict=True):
    sizes = start * np.array([1, 2, 4, 8])
    for p in ORDERS:
        axes.loglog(sizes, [growth[name, p, f] for f in (1, 2, 4, 8)], "o-", label=f"p = {p:g}")
    axes.loglog(sizes, growth[name, 1.0, 1] * sizes / start, "k:", label="in proportion")
    axes.set(xlabel=NAMES[name])
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
low, high = panels[0].get_ylim()
panels[0].set_yticks(*2 * [[k for k in (2, 5, 10, 20, 50, 100, 200) if low < k < high]])
panels[0].set_ylabel("milliseconds")
panels[0].legend()
plt.show()

# %%
# **The support.** The same data, weaker and weaker penalties.

X, y = texts(**(BASE | {"n_samples": 16_000}))
columns = X.tocsc()
rows = []
for p in ORDERS:
    for fraction in (0.5, 0.2, 0.1, 0.05, 0.02):
        model, took = fitted(columns, y, p, fraction)
        rows.append([f"{p:g}", f"{fraction:g}", model.mask_.sum(), f"{took:.1f}", model.n_iter_])
table(["p", "alpha / alpha_max", "support", "ms", "epochs"], rows)

# %%
# **Memory.** What a fit allocates at its peak, beside X, in units of X. (`tracemalloc` sees the
# arrays of NumPy.)


def peak(X, y, p):
    """Return the most that a fit allocates, relative to X."""
    model = fitted(X, y, p)[0]
    tracemalloc.start()
    model.fit(X, y)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)


rows = [
    [kind, f"{p:g}", f"{peak(matrix, y, p):.2f}"]
    for kind, matrix in (("CSR", X), ("CSC", columns))
    for p in ORDERS
]
table(["X", "p", "peak beside X"], rows)

# %%
# **Predictions.** One CSR row at a time, 1000 rows, from models of 10⁴ and 10⁶ features with 10
# to 1000 coefficients that are not 0: median and 99th percentile in microseconds, and
# microseconds for a row of a batch of all.

rows = []
for n_features in (10_000, 1_000_000):
    samples, target = texts(1000, n_features, 50)
    singles = [samples[[k]] for k in range(1000)]
    for fraction in (0.3, 0.1, 0.02):
        model = fitted(samples, target, 1.0, fraction)[0]
        times = []
        for single in singles:
            start = time.perf_counter()
            model.predict(single)
            times.append(1e6 * (time.perf_counter() - start))
        batch = milliseconds(lambda m=model, s=samples: m.predict(s))
        middle, high = np.percentile(times[100:], [50, 99])
        rows.append(
            [f"{n_features:,}", model.mask_.sum(), f"{middle:.0f}", f"{high:.0f}", f"{batch:.2f}"]
        )
table(["features", "coefficients", "median", "99th", "in a batch"], rows)

# %%
# The kept comparisons with other libraries are in ``benchmarks/results``.
