"""What must not change a model: how rows are counted, ordered and stored."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS, buffers, regression
from reference import Reference
from scipy import sparse

import sklearn_sparselp._base
from sklearn_sparselp import SparseLpRegressor
from sklearn_sparselp._solvers import SOLVERS, Design

STORED = ["dense_c", "dense_f", "csr_array_int32", "csc_array_int64"]
PROBLEMS = [
    {"p": p, "sparsity_threshold": threshold, "fit_intercept": fit_intercept, "solver": solver}
    for solver, row in SOLVERS.items()
    for p in (0.5, 1.0, 2.0)
    for threshold in (0.0, 0.05)
    for fit_intercept in (True, False)
    if p > 1.0 or not row.smooth_only
]


def named(problem):
    return ",".join(f"{key}={value}" for key, value in problem.items())


def fit(X, y, weights=None, **parameters):
    model = SparseLpRegressor(**{"alpha": 0.02, "tol": 1e-10, "max_iter": 50_000, **parameters})
    return model.fit(X, y, sample_weight=weights)


def assert_same(model, other, tolerance=1e-5):
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        model.intercept_, other.intercept_, rtol=tolerance, atol=10 * tolerance
    )
    assert model.objective_ == pytest.approx(other.objective_, rel=tolerance**1.5)
    assert np.array_equal(model.mask_, other.mask_)


def data(seed=20):
    X, y = regression(seed, 50, 15, density=0.6)
    return X, y, np.random.default_rng(seed).integers(0, 4, 50).astype(np.float64)


# ----- weights


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=named)
def test_a_whole_weight_repeats_a_row_and_zero_drops_it(problem, loss, layout):
    X, y, weights = data()
    store, problem = LAYOUTS[layout], {"loss": loss, **problem}
    repeats = weights.astype(int)
    weighted = fit(store(X), y, weights, **problem)
    repeated = fit(store(np.repeat(X, repeats, axis=0)), np.repeat(y, repeats), **problem)
    assert_same(weighted, repeated)
    # What a row of weight 0 holds is of no consequence.
    X, y = X.copy(), y.copy()
    X[repeats == 0] *= 1e6
    y[repeats == 0] = -1e7
    assert_same(weighted, fit(store(X), y, weights, **problem))
    assert np.count_nonzero(weighted.coef_) > 0


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("problem", PROBLEMS, ids=named)
def test_only_the_proportions_of_weights_count(problem, layout):
    X, y, weights = data()
    X = LAYOUTS[layout](X)
    expected = fit(X, y, weights, **problem)
    for factor in (3.0, 1e-3, 1e200, 1e-200):
        assert_same(fit(X, y, factor * weights, **problem), expected)
    assert_same(fit(X, y, np.full(50, 7.0), **problem), fit(X, y, **problem))
    assert_same(fit(X, y, 2.0, **problem), fit(X, y, **problem))


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("problem", PROBLEMS, ids=named)
def test_the_order_of_rows_does_not_count(problem, layout):
    X, y, weights = data()
    order = np.random.default_rng(1).permutation(50)
    store = LAYOUTS[layout]
    shuffled = fit(store(X[order]), y[order], weights[order], **problem)
    assert_same(shuffled, fit(store(X), y, weights, **problem))


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_the_order_of_features_does_not_count_for_convex_problems(p, layout):
    X, y, weights = data()
    order = np.random.default_rng(2).permutation(15)
    moved, model = fit(LAYOUTS[layout](X[:, order]), y, weights, p=p), fit(X, y, weights, p=p)
    np.testing.assert_allclose(moved.coef_, model.coef_[order], rtol=1e-5, atol=1e-5)


# ----- storage


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_storage_and_precision_do_not_count(layout, dtype, p, loss):
    X, y, weights = data()
    X = X.astype(dtype).astype(np.float64)
    stored = layout(X.astype(dtype))
    before = [part.copy() for part in buffers(stored)]
    model = fit(stored, y, weights, p=p, loss=loss)
    assert model.coef_.dtype == dtype
    assert_same(model, fit(X, y, weights, p=p, loss=loss), 1e-5 if dtype == np.float64 else 1e-4)
    for old, new in zip(before, buffers(stored), strict=True):
        assert old.dtype == new.dtype
        assert np.array_equal(old, new)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_solvers_walk_the_arrays_that_were_given(layout, dtype, solver, monkeypatch):
    X, y, weights = data()
    given = layout(X.astype(dtype))
    seen = []

    class Watched(Design):
        def __init__(self, X, **options):
            seen.append(X)
            super().__init__(X, **options)

    monkeypatch.setattr(sklearn_sparselp._base, "Design", Watched)
    fit(given, y, weights, p=1.5, solver=solver)
    assert len(seen) == 1
    for ours, theirs in zip(buffers(seen[0]), buffers(given), strict=True):
        assert ours.dtype == theirs.dtype
        assert np.shares_memory(ours, theirs)


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("solver", SOLVERS)
def test_sparse_data_is_neither_densified_nor_centred(make, solver):
    rng = np.random.default_rng(0)
    n_samples, n_features, n_stored = 2000, 50_000, 20_000
    rows, columns = rng.integers(n_samples, size=n_stored), rng.integers(n_features, size=n_stored)
    X = make(sparse.coo_array((np.ones(n_stored), (rows, columns)), (n_samples, n_features)))
    y = rng.normal(size=n_samples) + 3.0
    model = SparseLpRegressor(1.5, 1e-3, solver=solver, tol=1e-2, max_iter=2000)
    tracemalloc.start()
    try:
        model.fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Dense it would hold 800 MB; the solvers need a few dozen vectors.
    assert peak < 60 * 8 * (n_samples + n_features)


@pytest.mark.parametrize("solver", SOLVERS)
def test_read_only_memory_maps_are_read_in_place(solver, layout, tmp_path):
    X, y, weights = data()
    stored = layout(X)
    expected = fit(stored, y, weights, p=1.5, solver=solver)

    def mapped(name, array):
        if sparse.issparse(stored) or array.flags.c_contiguous:
            np.save(tmp_path / f"{name}.npy", array)
            return np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        return mapped(name, array.T).T

    if sparse.issparse(stored):
        for name in ("data", "indices", "indptr"):
            setattr(stored, name, mapped(name, getattr(stored, name)))
        assert not stored.data.flags.writeable
    else:
        stored = mapped("X", stored)
        assert not stored.flags.writeable
    model = fit(stored, mapped("y", y), mapped("weights", weights), p=1.5, solver=solver)
    assert np.array_equal(model.coef_, expected.coef_)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name.startswith("cs")])
def test_unsorted_and_repeated_entries_are_summed_in_a_copy(name):
    X, y, weights = data()
    stored = LAYOUTS[name](X)
    # Backwards, and every entry in two halves.
    data_, indices, indptr = [], [], [0]
    for start, stop in zip(stored.indptr[:-1], stored.indptr[1:], strict=True):
        data_ += list(np.repeat(stored.data[start:stop][::-1] / 2.0, 2))
        indices += list(np.repeat(stored.indices[start:stop][::-1], 2))
        indptr.append(len(indices))
    index = stored.indices.dtype
    messy = type(stored)(stored.shape)
    messy.data = np.array(data_)
    messy.indices, messy.indptr = np.array(indices, dtype=index), np.array(indptr, dtype=index)
    before = [part.copy() for part in buffers(messy)]
    assert_same(fit(messy, y, weights, p=0.5), fit(X, y, weights, p=0.5), 1e-8)
    assert all(np.array_equal(a, b) for a, b in zip(before, buffers(messy), strict=True))


# ----- any of it at once


@settings(max_examples=150)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 10)),
    layouts=st.tuples(st.sampled_from(list(LAYOUTS)), st.sampled_from(list(LAYOUTS))),
    dtype=st.sampled_from([np.float32, np.float64]),
    p=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0]),
    solver=st.sampled_from(list(SOLVERS)),
    threshold=st.sampled_from([0.0, 0.05]),
    fit_intercept=st.booleans(),
    density=st.sampled_from([0.2, 1.0]),
    seed=st.integers(0, 2**16),
)
def test_weights_and_repeated_rows_solve_the_same_problem(
    shape, layouts, dtype, p, solver, threshold, fit_intercept, density, seed
):
    if SOLVERS[solver].smooth_only and p <= 1.0:
        solver = "auto"
    X, y = regression(seed, *shape, density=density)
    X = X.astype(dtype)
    weights = np.random.default_rng(seed).integers(0, 4, shape[0]).astype(np.float64)
    weights[0] += 1.0
    repeats = weights.astype(int)
    rows, targets = np.repeat(X, repeats, axis=0), np.repeat(y, repeats)
    parameters = {"p": p, "alpha": 0.02, "sparsity_threshold": threshold}
    parameters["fit_intercept"] = fit_intercept
    common = {"solver": solver, "tol": 1e-9, **parameters}
    weighted = fit(LAYOUTS[layouts[0]](X), y, weights, **common)
    repeated = fit(LAYOUTS[layouts[1]](rows), targets, **common)
    reference = Reference(rows.astype(np.float64), targets, **parameters)
    null = reference.objective(np.zeros(shape[1]))
    convex = p >= 1.0 and threshold == 0.0
    if convex:
        assert abs(weighted.objective_ - repeated.objective_) <= 1e-8 * null
    # Rounding may choose among fixed points: each must be one of the other problem.
    # A gap bounds the square of the residual.
    limit = 1e-3 if convex else 1e-5 if dtype == np.float32 else 1e-8
    for model in (weighted, repeated):
        coef = model.coef_.astype(np.float64)
        assert model.objective_ == pytest.approx(reference.masked_objective(coef), rel=1e-5)
        assert reference.fixed_point_residual(coef) <= limit
