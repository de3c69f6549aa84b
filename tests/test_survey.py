"""One reading of few columns, dense or compressed rows: matrix, moments and gradient, no copy."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Lasso
from sklearn.utils._testing import assert_allclose
from threadpoolctl import threadpool_limits

from sklearn_sparselp import SparseLpRegressor, SparseLpRegressorCV, _threads, sparse_lp_path
from sklearn_sparselp._solvers import Design, dense_gram

N_SAMPLES, N_FEATURES = 1003, 20
ORDERS = ["C", "F", "csr"]
FAR, CONSTANT, EMPTY, NEARLY_CONSTANT = 3, 5, 7, 9


def tall(order="F", dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_SAMPLES, N_FEATURES)) + rng.standard_normal(N_FEATURES)
    X[:, FAR] += 1e6
    X[:, CONSTANT] = 0.1
    X[:, EMPTY] = 0.0
    X[:, NEARLY_CONSTANT] = 1.0
    X[17, NEARLY_CONSTANT] = 1.0 + (1e-7 if dtype == np.float64 else 1e-4)
    return laid_out(X.astype(dtype), order)


def laid_out(X, order):
    return sparse.csr_array(X) if order == "csr" else np.array(X, order=order)


def weights_of(kind):
    if kind == "even":
        return np.full(N_SAMPLES, 1.0 / N_SAMPLES)
    weights = np.random.default_rng(1).random(N_SAMPLES)
    weights[::5] = 0.0
    return weights / weights.sum()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["even", "uneven"])
@pytest.mark.parametrize("centred", [True, False])
def test_a_survey_gives_moments_and_products_of_their_definitions(centred, kind, order, dtype):
    X, weights = tall(order, dtype), weights_of(kind)
    vector = np.random.default_rng(2).standard_normal(N_SAMPLES)
    wide = (X.toarray() if order == "csr" else X).astype(np.longdouble)
    means = weights @ wide if centred else np.zeros(N_FEATURES)
    expected = weights @ (wide - means) ** 2
    for count in (1, 2, 3):
        with threadpool_limits(count):
            sums, squares, product = Design(X).survey(weights, centred, vector)
        if centred:
            assert_allclose(sums, means.astype(float), rtol=1e-14, atol=1e-15)
        else:
            assert sums.size == 0
        # Columns far from the origin are as exact as others.
        varying = np.setdiff1d(np.arange(N_FEATURES), [CONSTANT, EMPTY] if centred else [EMPTY])
        assert_allclose(squares[varying], expected[varying].astype(float), rtol=1e-8)
        near = np.setdiff1d(varying, [FAR, NEARLY_CONSTANT])
        assert_allclose(squares[near], expected[near].astype(float), rtol=1e-12)
        assert squares[EMPTY] == 0.0
        assert not centred or squares[CONSTANT] < 1e-28
        assert_allclose(product, (vector @ wide).astype(float), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("order", ORDERS)
def test_the_matrix_of_a_survey_is_that_of_the_columns(order):
    X, weights = tall(order), weights_of("uneven")
    design = Design(X)
    design.survey(weights, True, np.ones(N_SAMPLES))
    features = np.array([4, 0, 11, 2, FAR])
    plain = tall("C")[:, features].astype(np.longdouble)
    whole = ((plain.T * weights) @ plain).astype(float)
    assert_allclose(design.gram(features, weights), whole, rtol=1e-13)
    out = np.empty((3, 5))
    assert design.gram(features, weights, 2, out) is out
    assert_allclose(out, whole[2:], rtol=1e-13)
    # Another curvature is another matrix.
    other = ((plain.T * weights**2) @ plain).astype(float)
    assert_allclose(design.gram(features, weights**2), other, rtol=1e-13)


@pytest.mark.parametrize("order", ["C", "csr"])
def test_each_weights_keep_their_matrix_as_long_as_they_live(order):
    """Folds run in threads on one design: none may meet the matrix of another."""
    design = Design(tall(order))
    first, second = weights_of("uneven"), weights_of("uneven")[::-1].copy()
    design.survey(first, True, np.ones(N_SAMPLES))
    alone = design.gram(np.arange(N_FEATURES), first)
    design.survey(second, True, np.ones(N_SAMPLES))
    assert np.array_equal(design.gram(np.arange(N_FEATURES), first), alone)
    assert not np.array_equal(design.gram(np.arange(N_FEATURES), second), alone)
    assert len(design._grams) == 2
    # What the design remembers of the last weights holds them.
    del first
    assert len(design._grams) == 1


@pytest.mark.parametrize("order", ORDERS)
def test_folds_in_threads_are_those_of_one_thread(order):
    X = laid_out(np.random.default_rng(5).standard_normal((800, 30)), order)
    y = X[:, :4].sum(axis=1) + np.random.default_rng(6).standard_normal(800)
    one, several = (
        SparseLpRegressorCV(alphas=30, cv=9, store_cv_paths=True, n_jobs=n_jobs).fit(X, y)
        for n_jobs in (1, 3)
    )
    np.testing.assert_array_equal(one.cv_scores_, several.cv_scores_)
    np.testing.assert_array_equal(one.coef_, several.coef_)


@pytest.mark.parametrize("n_samples", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["even", "uneven"])
def test_blocks_of_rows_add_up(kind, order, n_samples, monkeypatch):
    monkeypatch.setattr(_threads, "THREADED_FROM", 1)
    monkeypatch.setattr(dense_gram, "VALUES_AT_ONCE", 1)
    monkeypatch.setattr(dense_gram, "FEWEST_ROWS", 32)
    X = np.array(np.random.default_rng(3).standard_normal((n_samples, 7)), order=order)
    curvature = np.full(n_samples, 0.5) if kind == "even" else np.linspace(0.0, 1.0, n_samples)
    vectors = np.random.default_rng(4).standard_normal((3, n_samples))
    start = np.empty(0, dtype=np.int64) if order == "C" else n_samples * np.arange(7)
    before = X.copy()
    for count in (1, 2, 5):
        with threadpool_limits(count):
            gram, products = dense_gram.dense_gram(
                X.ravel(order="K"), start, 7, curvature, vectors=vectors
            )
            again, _ = dense_gram.dense_gram(X.ravel(order="K"), start, 7, curvature)
        assert_allclose(gram, (X.T * curvature) @ X, atol=1e-12)
        assert_allclose(products, vectors @ X, atol=1e-12)
        np.testing.assert_array_equal(gram, again)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_tall_fit_reads_x_once_and_copies_it_nowhere(order, weighted, monkeypatch):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((20_000, 40))
    if order == "csr":
        X[rng.random(X.shape) < 0.5] = 0.0
    X = laid_out(X, order)
    y = X[:, [0]].sum(axis=1) - X[:, [1]].sum(axis=1) + rng.standard_normal(20_000)
    weights = rng.random(20_000) if weighted else None
    passes = []
    for name in ("rmatvec", "matvec", "moments", "columns", "prefer_columns"):
        monkeypatch.setattr(Design, name, lambda *terms, name=name: passes.append(name))
    model = SparseLpRegressor(alpha=0.02, tol=1e-8).fit(X[:1000], y[:1000])
    tracemalloc.start()
    try:
        model.fit(X, y, sample_weight=weights)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert passes == []
    # A dozen vectors over the samples, a block of rows.
    assert peak < 0.5 * X.data.nbytes
    peer = Lasso(alpha=0.02, tol=1e-12).fit(X, y, sample_weight=weights)
    assert_allclose(model.coef_, peer.coef_, atol=1e-6)
    assert_allclose(model.intercept_, peer.intercept_, atol=1e-6)


def test_a_path_of_tall_data_reads_x_once(monkeypatch):
    rng = np.random.default_rng(6)
    X = rng.standard_normal((5000, 30))
    y = X[:, 0] + rng.standard_normal(5000)
    passes = []
    monkeypatch.setattr(Design, "rmatvec", lambda *terms: passes.append(1))
    path = sparse_lp_path(X, y, alphas=20)
    assert not passes
    for alpha, coef in zip(path.alphas[1::6], np.asarray(path.coefs)[1::6], strict=True):
        assert_allclose(coef, Lasso(alpha=alpha, tol=1e-12).fit(X, y).coef_, atol=1e-5)


@pytest.mark.parametrize("solver", ["pg", "cd"])
def test_only_the_solver_that_walks_it_pays_for_the_matrix(solver, monkeypatch):
    made, gram = [], dense_gram.gram_of_parts
    monkeypatch.setattr(dense_gram, "gram_of_parts", lambda *terms: made.append(1) or gram(*terms))
    X = np.random.default_rng(7).standard_normal((500, 5))
    SparseLpRegressor(alpha=0.1, solver=solver).fit(X, X[:, 0])
    assert len(made) == (solver == "cd")


@pytest.mark.parametrize("order", ORDERS)
def test_outputs_are_those_of_fits_of_their_own(order):
    X = laid_out(tall("C")[:, :FAR], order)
    Y = np.random.default_rng(8).standard_normal((N_SAMPLES, 2)) + tall("C")[:, :2]
    both = SparseLpRegressor(alpha=0.05).fit(X, Y)
    for k in range(2):
        alone = SparseLpRegressor(alpha=0.05).fit(X, Y[:, k])
        np.testing.assert_array_equal(both.coef_[k], alone.coef_)
