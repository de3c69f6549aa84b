"""The linear predictor: one answer for every storage of X and of the coefficients."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS
from scipy import sparse
from sklearn import config_context

from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor, _linear
from sklearn_sparselp._linear import linear_predictor

ROWS = [name for name in LAYOUTS if name.startswith("csr")]


def sparse_data(seed, shape, density, dtype=np.float64):
    X = np.random.default_rng(seed).normal(size=shape)
    return (X * (np.random.default_rng(seed + 1).random(shape) < density)).astype(dtype)


def close(own, X, coef, intercept):
    expected = X.astype(np.float64) @ np.asarray(coef, dtype=np.float64).T + intercept
    tolerance = 1e-4 if own.dtype == np.float32 else 1e-11
    np.testing.assert_allclose(own, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("path", ["search", "table"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("coef_dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_storage_does_not_count(dtype, coef_dtype, layout, path, monkeypatch):
    monkeypatch.setattr(_linear, "TABLE_COST", {"search": np.inf, "table": -np.inf}[path])
    X = sparse_data(0, (30, 90), 0.3, dtype)
    coef, intercept = sparse_data(2, (4, 90), 0.2, coef_dtype), np.arange(4.0)
    # A row of coefficients without any, and a row of X without any.
    coef[2], X[5] = 0.0, 0.0
    stored = LAYOUTS[layout](X)
    for own in (
        linear_predictor(stored, coef, intercept),
        linear_predictor(stored, sparse.csr_array(coef), intercept),
        linear_predictor(stored, np.asfortranarray(coef), intercept),
    ):
        assert own.shape == (30, 4)
        assert own.dtype == np.result_type(dtype, coef_dtype)
        close(own, X, coef, intercept)
    close(linear_predictor(stored, coef[0], 0.5), X, coef[0], 0.5)
    close(linear_predictor(stored, np.zeros_like(coef), 1.0), X, np.zeros_like(coef), np.ones(4))


@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 40), st.integers(1, 5)),
    densities=st.tuples(st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([0.0, 0.1, 1.0])),
    index_dtype=st.sampled_from([np.int32, np.int64]),
    cost=st.sampled_from([np.inf, -np.inf]),
    seed=st.integers(0, 2**16),
)
def test_both_ways_to_find_coefficients_agree_with_a_dense_product(
    shape, densities, index_dtype, cost, seed
):
    n_samples, n_features, n_outputs = shape
    X = sparse_data(seed, (n_samples, n_features), densities[0])
    coef = sparse_data(seed + 7, (n_outputs, n_features), densities[1])
    stored = LAYOUTS[f"csr_array_{np.dtype(index_dtype).name}"](X)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_linear, "TABLE_COST", cost)
        own = linear_predictor(stored, sparse.csr_array(coef), np.arange(n_outputs))
    close(own, X, coef, np.arange(n_outputs))


def test_many_rows_and_outputs_are_read_through_few_coefficients(monkeypatch):
    X, coef = sparse_data(0, (50, 40), 0.5), sparse_data(3, (3, 40), 0.02)
    compressed = []
    original = _linear._combine_sparse
    monkeypatch.setattr(_linear, "CACHED_BYTES", 0)
    monkeypatch.setattr(_linear, "_combine_sparse", lambda *a: compressed.append(1) or original(*a))
    close(linear_predictor(sparse.csr_array(X), coef, np.zeros(3)), X, coef, np.zeros(3))
    assert compressed


def test_threads_do_not_count(monkeypatch):
    X, coef = sparse_data(0, (600, 50), 0.5), sparse_data(3, (3, 50), 0.2)
    stored = sparse.csr_array(X)
    expected = [linear_predictor(stored, c, np.ones(3)) for c in (coef, sparse.csr_array(coef))]
    monkeypatch.setattr(_linear, "THREADED_FROM", 0)
    monkeypatch.setattr(_linear, "effective_n_threads", lambda: 3)
    for c, one in zip((coef, sparse.csr_array(coef)), expected, strict=True):
        np.testing.assert_array_equal(linear_predictor(stored, c, np.ones(3)), one)


def test_repeated_and_unsorted_entries_count_as_their_sum():
    indptr = np.array([0, 3, 3, 4], dtype=np.int32)
    X = sparse.csr_array(
        (np.array([1.0, 2.0, 3.0, 5.0]), np.array([4, 0, 4, 1], dtype=np.int32), indptr),
        shape=(3, 6),
    )
    coef = np.array([[1.0, 10.0, 0.0, 0.0, 100.0, 0.0]])
    messy = sparse.csr_array(
        (np.array([60.0, 10.0, 40.0, 1.0]), np.array([4, 1, 4, 0], dtype=np.int32), [0, 4]),
        shape=(1, 6),
    )
    expected = [[402.0], [0.0], [50.0]]
    for c in (coef, messy, sparse.csc_array(coef)):
        np.testing.assert_array_equal(linear_predictor(X, c, 0.0), expected)
    assert messy.nnz == 4


def fitted(n_features, n_classes=2):
    """A classifier with a hundred coefficients of each class, put there by hand."""
    rng = np.random.default_rng(0)
    rows = 1 if n_classes == 2 else n_classes
    model = SparseLpClassifier(loss="squared_hinge").fit([[0.0], [1.0]], [0, 1])
    model.coef_ = np.zeros((rows, n_features), dtype=np.float32)
    model.coef_[:, rng.choice(n_features, 100, replace=False)] = rng.normal(size=(rows, 100))
    model.intercept_, model.classes_ = np.zeros(rows, dtype=np.float32), np.arange(n_classes)
    model.n_features_in_ = n_features
    return model


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("sparsified", [False, True])
def test_a_row_of_csr_costs_no_memory_for_features_that_it_does_not_hold(sparsified, n_classes):
    n_features = 2_000_000
    model = fitted(n_features, n_classes)
    if sparsified:
        model.sparsify()
    columns = np.linspace(0, n_features - 1, 50).astype(np.int32)
    row = sparse.csr_array(
        (np.ones(50), columns, np.array([0, 50], dtype=np.int32)), shape=(1, n_features)
    )
    model.predict(row)
    tracemalloc.start()
    try:
        model.predict(row)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50_000


# ----- what CSR is looked through for


MODEL = SparseLpRegressor(alpha=0.01).fit(np.eye(4), [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("layout", [*ROWS, "csc_array_int32", "csc_matrix_int64"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (2, 3)])
def test_values_that_are_not_finite_are_refused(place, value, dtype, layout):
    X = np.ones((3, 4), dtype=dtype)
    X[place] = value
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
        MODEL.predict(LAYOUTS[layout](X))
    with config_context(assume_finite=True):
        prediction = MODEL.predict(LAYOUTS[layout](X))
    assert not np.isfinite(prediction[place[0]])
    assert np.isfinite(np.delete(prediction, place[0])).all()
    largest = np.full((1, 4), np.finfo(dtype).max)
    with np.errstate(over="ignore"):
        MODEL.predict(LAYOUTS[layout](largest))


def broken(make, **arrays):
    matrix = make(np.ones((4, 4)))
    for name, value in arrays.items():
        setattr(matrix, name, np.array(value, dtype=np.int32))
    matrix.has_canonical_format = True
    return matrix


OUTSIDE = np.tile([0, 1, 2, 9], 4)
BROKEN = [
    ({"indices": OUTSIDE}, r"indices run from 0 to 9, but must lie between 0 and 3"),
    ({"indices": np.minimum(OUTSIDE, 4)}, r"indices run from 0 to 4, but must lie between 0 and 3"),
    ({"indices": OUTSIDE - 1}, r"indices run from -1 to 8"),
    ({"indptr": [0, 4, 8, 4, 16]}, r"indptr must have 5 entries that rise from 0 to at most 16"),
    ({"indptr": [0, 4, 8, 12, 99]}, r"indptr must have 5"),
    ({"indptr": [-1, 4, 8, 12, 16]}, r"indptr must have 5"),
]


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_matrix])
@pytest.mark.parametrize(("arrays", "message"), BROKEN, ids=range(len(BROKEN)))
def test_storage_that_points_outside_of_itself_never_reaches_a_kernel(arrays, message, make):
    with pytest.raises(ValueError, match=message):
        MODEL.predict(broken(make, **arrays))


def test_what_needs_more_than_a_look_gets_scikit_learns_validation():
    X = sparse.csr_array(np.ones((3, 4)))
    expected = MODEL.predict(X)
    aside = X.copy()
    aside.data = np.ones(24)[::2]
    mixed = X.copy()
    mixed.indptr = mixed.indptr.astype(np.int64)
    swapped = X.copy()
    swapped.data = X.data.astype(">f8")
    for other in (X.astype(int), swapped, X.tocoo(), aside, mixed):
        np.testing.assert_allclose(MODEL.predict(other), expected)
    for wrong, message in (
        (X[:0], "0 sample"),
        (X[:, :3], "X has 3 features, but SparseLpRegressor is expecting 4"),
        (X.astype(complex), "Complex data not supported"),
        (np.ones(4), "Expected 2D array"),
    ):
        with pytest.raises(ValueError, match=message):
            MODEL.predict(wrong)


def test_coefficients_of_another_width_are_refused():
    model = SparseLpClassifier().fit(np.eye(4), [0, 1, 0, 1])
    model.coef_ = model.coef_[:, :2]
    with pytest.raises(ValueError, match=r"X has 4 features, but coef_ has shape \(1, 2\)"):
        model.predict(sparse.csr_array(np.eye(4)))
