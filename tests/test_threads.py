"""Threads: the same numbers as one thread, twice the same, and none where the work is small."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.utils._testing import assert_allclose
from sklearn_sparselp._core._dense import copy_corner, mirror, times_symmetric
from sklearn_sparselp._core._l1_certificate import (
    entering_strengths,
    l1_certificates,
    largest_gradient,
)
from sklearn_sparselp._core._penalty import LpPenalty
from sklearn_sparselp._core._rows import all_finite, inspect
from sklearn_sparselp._core._violations import violations
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_sparselp import (
    SparseLpClassifier,
    SparseLpRegressor,
    SparseLpRegressorCV,
    _threads,
    sparse_lp_path,
)
from sklearn_sparselp._solvers import Design, Problem, dense_gram, sparse_gram, support_newton
from sklearn_sparselp._solvers import design as design_module
from sklearn_sparselp._solvers.support_newton import cholesky

# More than the machine may have: the shares of threads then are uneven, and some are empty.
COUNTS = (1, 2, 3, 5)


@pytest.fixture
def shared_out(monkeypatch):
    """Everything is large enough for threads."""
    monkeypatch.setattr(_threads, "THREADED_FROM", 1)
    monkeypatch.setattr(sparse_gram, "THREADED_FROM", 1)
    monkeypatch.setattr(support_newton, "FACTOR_THREADED_FROM", 1)


def sparse_columns(seed, shape=(301, 80), density=0.1):
    """Columns of very unequal size, some empty."""
    rng = np.random.default_rng(seed)
    X = sparse.random_array(shape, density=density, rng=rng, format="csc")
    X = X * (rng.random(shape[1]) < np.linspace(0.0, 1.5, shape[1]))
    X = sparse.csc_array(X)
    X.eliminate_zeros()
    return X


def layouts(dtype=np.float64):
    X = sparse_columns(0).astype(dtype)
    dense = np.random.default_rng(1).standard_normal((301, 80)).astype(dtype)
    return {"csc": X, "csr": X.tocsr(), "fortran": np.asfortranarray(dense), "c": dense}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", ["csc", "csr", "fortran", "c"])
def test_products_and_moments_do_not_depend_on_the_number_of_threads(layout, dtype, shared_out):
    X = layouts(dtype)[layout]
    rng = np.random.default_rng(2)
    weights, scales = rng.random(X.shape[0]), rng.standard_normal(X.shape[1])
    scales[::3] = 0.0
    few = np.where(np.arange(scales.size) < 20, scales, 0.0)
    features = np.arange(5, 60, dtype=np.int64)
    several = np.array([scales, few, np.zeros(scales.size), -scales, few + 1.0])[:, features]

    def everything():
        rows, columns = Design(X), Design(X)
        block = columns.columns(features)
        return [
            rows.rmatvec(weights[np.newaxis]),
            rows.matvec(scales[np.newaxis]),
            columns.matvec(few[np.newaxis]),
            columns.matvec(np.array([few, few])),
            *rows.moments(weights, True),
            *columns.moments(weights, False),
            block.products(weights),
            block.combine(scales[features]),
            block.combine_many(several),
            np.array([block.combine(row.copy()) for row in several]),
            *block.moments(weights, True),
        ]

    plain = X.toarray() if sparse.issparse(X) else X
    results = []
    for count in COUNTS:
        with threadpool_limits(count, user_api="openmp"):
            results.append(everything())
    assert_allclose(results[0][0][0], plain.T.astype(np.float64) @ weights, atol=1e-12)
    assert_allclose(results[0][1][0], plain.astype(np.float64) @ scales, atol=1e-12)
    assert_allclose(results[0][3], np.array([few, few]) @ plain.T.astype(np.float64), atol=1e-12)
    for other in results:
        for one, same in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, same)
        np.testing.assert_array_equal(other[-4], other[-3])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_old", [0, 1, 30, 54])
@pytest.mark.parametrize("layout", ["csc", "fortran"])
@pytest.mark.parametrize("n_rows", [64, 1000])
def test_gram_matrices_are_those_of_one_thread(
    layout, n_old, dtype, n_rows, monkeypatch, shared_out
):
    # All rows at once and some at a time.
    monkeypatch.setattr(dense_gram, "VALUES_AT_ONCE", 1)
    monkeypatch.setattr(dense_gram, "FEWEST_ROWS", n_rows)
    X = layouts(dtype)[layout]
    features = np.concatenate([np.arange(50, dtype=np.int64), [79, 2, 60, 61, 77]])
    plain = (X.toarray() if sparse.issparse(X) else X)[:, features].astype(np.float64)
    for curvature in (np.full(301, 0.25), np.random.default_rng(3).random(301)):
        expected = (plain[:, n_old:].T * curvature) @ plain
        found = []
        for count in COUNTS:
            with threadpool_limits(count):
                block = Design(X).columns(features)
                first, again = block.gram(curvature, n_old), block.gram(curvature, n_old)
            assert_allclose(first, expected, rtol=1e-12, atol=1e-12)
            np.testing.assert_array_equal(first, again)
            found.append(first)
        if layout == "csc":
            np.testing.assert_array_equal(found[0], found[1])
            np.testing.assert_array_equal(found[0], found[-1])


def test_gram_matrices_of_many_rows_at_a_time(monkeypatch, shared_out):
    X = sparse_columns(4, (997, 40), 0.3)
    block = Design(X).columns(np.arange(40))
    for full, room, share in (
        (2.0, 2**16, 2**18),
        (2.0, 50, 10),
        (2.0, 2**16, 10),
        (0.3, 50, 2**18),
        (0.3, 50, 10),
    ):
        monkeypatch.setattr(sparse_gram, "FULL", full)
        monkeypatch.setattr(sparse_gram, "VALUES_IN_ROOM", room)
        monkeypatch.setattr(sparse_gram, "VALUES_OF_SHARE", share)
        for n_old in (0, 5, 40 - sparse_gram.FEW):
            whole = block.gram(np.ones(997), n_old)
            assert_allclose(whole, (X.T @ X).toarray()[n_old:], atol=1e-12)
            for count in COUNTS:
                with threadpool_limits(count, user_api="openmp"):
                    np.testing.assert_array_equal(block.gram(np.ones(997), n_old), whole)


@pytest.mark.parametrize("short", [2**16, 0])
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_become_the_columns_of_scipy(dtype, index_dtype, short, shared_out, monkeypatch):
    monkeypatch.setattr(design_module, "SHORT_INDEX", short)
    row_dtype = np.uint16 if short else np.int32
    for X in (sparse_columns(5), sparse.csc_array((3, 7)), sparse_columns(6, (1, 50), 0.9)):
        rows = sparse.csr_array(X).astype(dtype)
        rows.indices, rows.indptr = (
            rows.indices.astype(index_dtype),
            rows.indptr.astype(index_dtype),
        )
        expected = sparse.csc_array(rows)
        expected.sort_indices()
        for count in COUNTS:
            with threadpool_limits(count, user_api="openmp"):
                design = Design(rows)
                design.prefer_columns()
            data, minor, indptr, _ = design._layout()
            assert (minor.dtype, indptr.dtype, data.dtype) == (row_dtype, np.int32, dtype)
            np.testing.assert_array_equal(indptr, expected.indptr)
            np.testing.assert_array_equal(minor, expected.indices)
            np.testing.assert_array_equal(data, expected.data)


@pytest.mark.parametrize("n_samples", [2**16, 2**16 + 1])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_last_sample_that_16_bits_reach(n_samples, fit_intercept):
    """Columns that are made of rows are walked to the end, as those that are given."""
    rng = np.random.default_rng(3)
    X = sparse.random_array((n_samples, 400), density=3e-3, rng=rng, format="lil")
    X[-1] = 1.0
    X = X.tocsr()
    y = X @ rng.standard_normal(400) + 0.1 * rng.standard_normal(n_samples)
    y[-1] += 50.0
    design = Design(X)
    design.prefer_columns()
    assert design._layout()[1].dtype == (np.uint16 if n_samples == 2**16 else np.int32)
    model = SparseLpRegressor(p=1, alpha=1e-4, fit_intercept=fit_intercept, tol=1e-10)
    of_rows = model.fit(X, y).coef_.copy()
    of_columns = model.fit(sparse.csc_array(X), y).coef_
    assert_allclose(of_rows, of_columns, rtol=1e-9, atol=1e-12)
    gradient = X.T @ ((X @ of_rows + model.intercept_) - y) / n_samples
    assert np.abs(gradient).max() <= 1e-4 * (1.0 + 1e-6)


@pytest.mark.parametrize("size", [1, 47, 48, 49, 96, 300])
def test_the_factor_of_tiles_is_the_cholesky_factor(size, shared_out):
    A = np.random.default_rng(size).standard_normal((size, size + 5))
    matrix = A @ A.T
    for count in COUNTS:
        with threadpool_limits(count):
            # With room beside it, as a factor that is kept has.
            room = np.full((size + 3, size + 3), np.nan, order="F")
            room[:size, :size] = matrix
            assert cholesky(room, size) == 0
        assert_allclose(
            np.tril(room[:size, :size]), np.linalg.cholesky(matrix), rtol=1e-8, atol=1e-8
        )
        matrix_without = matrix.copy()
        matrix_without[-1, -1] = -1.0
        with threadpool_limits(count):
            assert cholesky(np.asfortranarray(matrix_without), size) == size


@pytest.mark.parametrize("size", [1, 31, 32, 100])
def test_threads_share_out_the_walks_over_symmetric_matrices(size):
    rng = np.random.default_rng(size)
    half, sums, vector = rng.standard_normal((size, size)), rng.random(size), rng.random(size)
    square = np.tril(half) + np.tril(half, -1).T
    for count in COUNTS:
        for first in sorted({0, size // 3, size - 1}):
            # The rows before the first one are in order, but for what the others hold.
            room = np.full((size, size + 3), np.nan)
            room[:, :size] = np.tril(half)
            room[:first, :first] = square[:first, :first]
            mirror(room[:, :size], first, np.empty(0), count)
            np.testing.assert_array_equal(room[:, :size], square)
            mirror(room[:, :size], first, sums, count)
            expected = square - np.outer(sums, sums)
            expected[:first, :first] = square[:first, :first]
            assert_allclose(room[:, :size], expected, atol=1e-15)
            assert np.isnan(room[:, size:]).all()
        room, out = np.full((size + 2, size + 2), np.nan), np.empty(size)
        copy_corner(square, size, room, count)
        np.testing.assert_array_equal(room[:size, :size], square)
        assert np.isnan(room[size:]).all()
        assert np.isnan(room[:, size:]).all()
        times_symmetric(room, vector, out, count)
        assert_allclose(out, square @ vector, atol=1e-13)


@pytest.mark.parametrize("n_features", [5, 32, 97])
@pytest.mark.parametrize("positive", [False, True])
def test_certificates_find_the_candidates_wherever_they_are(n_features, positive):
    """Features are looked at 32 at a time, and by several threads."""
    rng = np.random.default_rng(n_features)
    penalty = LpPenalty(n_features, 1.0, 1.0, positive=positive)
    lipschitz = rng.uniform(0.5, 2.0, n_features)
    penalty = penalty.bind(lipschitz)
    for _ in range(20):
        w = np.where(rng.random(n_features) < 0.1, rng.random(n_features), 0.0)
        gradient = rng.choice([0.1, 0.95, 1.2], n_features, p=[0.8, 0.1, 0.1])
        gradient *= rng.choice([-1.0, 1.0], n_features)
        pull = -gradient if positive else np.abs(gradient)
        step = w - gradient / lipschitz
        new = np.sign(step) * np.maximum(np.abs(step) - 1.0 / lipschitz, 0.0)
        new = np.maximum(new, 0.0) if positive else new
        size = np.abs(gradient)
        terms = np.where((w == 0.0) & (size <= 1.0), size - 1.0, lipschitz * np.abs(w - new))
        near = (w != 0.0) | (terms > -0.1)
        for count in COUNTS:
            for in_place in (False, True):
                of, found = gradient.copy(), np.empty(n_features, dtype=np.int64)
                values = of if in_place else np.empty(n_features)
                largest, bound, n_found = violations(
                    penalty, w, of, lipschitz, np.empty(0), 0.1, found, values, count
                )
                assert found[:n_found].tolist() == np.flatnonzero(near).tolist()
                assert_allclose(values[:n_found], terms[near], atol=1e-14)
                assert largest == pytest.approx(max(terms.max(), 0.0), abs=1e-14)
                assert bound == pytest.approx(max(pull.max(), 0.0), abs=1e-14)


@pytest.mark.parametrize("place", [0, 70_000, 199_999])
def test_what_is_wrong_is_seen_wherever_it_is(place):
    n_rows = 1000
    indptr = np.arange(0, 200_001, 200, dtype=np.int32)
    indices = np.tile(np.arange(200, dtype=np.int32), n_rows)
    data = np.ones(200_000)
    for count in COUNTS:
        assert inspect(data, indices, indptr, 200, True, count) == 0
        assert all_finite(data, count)
        for value in (np.nan, np.inf, -np.inf):
            wrong = data.copy()
            wrong[place] = value
            assert inspect(wrong, indices, indptr, 200, True, count) == 1
            assert not all_finite(wrong, count)
        outside = indices.copy()
        outside[place] = 200 if place else -1
        assert inspect(data, outside, indptr, 200, True, count) & 4
        twice = indices.copy()
        twice[place] = twice[place + 1] if place % 200 < 199 else twice[place - 1]
        assert inspect(data, twice, indptr, 200, True, count) == 2
        assert inspect(data, twice, indptr, 200, False, count) == 0


@pytest.mark.parametrize("n_samples", [999, 1000, 1001])
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_fits_on_both_sides_of_the_cut_over(kind, n_samples):
    """At 300 features 300 000 stored values, from where on there are threads, are 1000 samples."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((n_samples, 300))
    y = X[:, :20] @ rng.standard_normal(20) + rng.standard_normal(n_samples)
    X = sparse.csr_array(X) if kind == "sparse" else np.asfortranarray(X)
    model = SparseLpRegressor(p=1, alpha=0.01, tol=1e-10)

    def fit(count):
        with threadpool_limits(count):
            return model.fit(X, y).coef_.copy()

    one, two, again = fit(1), fit(2), fit(2)
    np.testing.assert_array_equal(two, again)
    assert_allclose(one, two, rtol=1e-9, atol=1e-9)


def test_few_values_are_left_to_one_thread(monkeypatch):
    monkeypatch.setattr(_threads, "effective_n_threads", lambda: 4)
    assert _threads.threads_for(_threads.THREADED_FROM - 1) == 1
    assert _threads.threads_for(_threads.THREADED_FROM) == 4


@pytest.mark.parametrize("positive", [False, True])
def test_walks_over_many_features_do_not_depend_on_the_number_of_threads(positive):
    rng = np.random.default_rng(7)
    n_features = 70_001
    gradients, lipschitz = rng.uniform(-1.0, 1.0, (2, n_features)), rng.uniform(size=n_features)
    lipschitz[::7] = 0.0
    features, coefs = np.array([1, 40_000, 70_000]), rng.normal(size=(2, 3))
    found = []
    for count in COUNTS:
        reach, figures = np.empty(n_features), np.empty((2, 3))
        entering_strengths(*gradients, np.empty(0), lipschitz, 0.8, 1.0, positive, reach, count)
        l1_certificates(
            gradients.copy(), np.empty(0), lipschitz, np.array([0.9, 0.5]), 0.0, positive, features,
            coefs, np.array([-1.0, -2.0]), np.array([1.5, 2.5]), figures, count,
        )  # fmt: skip
        found.append((reach, figures))
    pull = np.where(lipschitz > 0.0, -gradients if positive else np.abs(gradients), 0.0).max(axis=1)
    assert (found[0][1][:, 2] >= pull - [0.9, 0.5]).all()
    for reach, figures in found[1:]:
        np.testing.assert_array_equal(reach, found[0][0])
        np.testing.assert_array_equal(figures, found[0][1])


@pytest.mark.parametrize("n_features", [0, 1, 3, 32_768, 70_001])
def test_the_largest_gradient_is_that_of_the_usable_features(n_features):
    rng = np.random.default_rng(8)
    gradient, lipschitz = rng.normal(size=n_features), rng.uniform(size=n_features)
    lipschitz[::2] = 0.0
    # The last of the usable ones is the largest, by far, and an unusable one larger.
    gradient[1::2][-1:], gradient[::2][-1:] = -9.0, 10.0
    expected = np.abs(gradient[lipschitz > 0.0]).max(initial=0.0)
    for count in COUNTS:
        assert largest_gradient(gradient, lipschitz, count) == expected


def test_moments_of_many_columns_are_those_of_scipy(shared_out):
    X = sparse.random_array((30, 70_000), density=0.05, rng=np.random.default_rng(8), format="csc")
    weights = np.random.default_rng(9).random(30)
    for count in COUNTS:
        with threadpool_limits(count, user_api="openmp"):
            sums, squares = Design(X).moments(weights, True)
        assert_allclose(sums, X.T @ weights, atol=1e-13)
        assert_allclose(
            squares, X.multiply(X).T @ weights - (X.T @ weights) ** 2 / weights.sum(), atol=1e-12
        )


def test_the_matrix_of_compressed_rows_does_not_depend_on_the_number_of_threads(shared_out):
    X = sparse.csr_array(sparse_columns(10, (997, 40), 0.2))
    rng = np.random.default_rng(11)
    curvature, vectors = rng.random(997), rng.standard_normal((2, 997))
    found = []
    for count in COUNTS:
        with threadpool_limits(count, user_api="openmp"):
            found.append(
                sparse_gram.gram_by_rows(X.data, X.indices, X.indptr, 40, curvature, vectors)
            )
    assert_allclose(found[0][0], (X.T @ (X * curvature[:, np.newaxis])).toarray(), atol=1e-12)
    assert_allclose(found[0][1], vectors @ X, atol=1e-12)
    for gram, products in found[1:]:
        np.testing.assert_array_equal(gram, found[0][0])
        np.testing.assert_array_equal(products, found[0][1])
    _, alone = sparse_gram.gram_by_rows(
        X.data, X.indices, X.indptr, 40, curvature, vectors[:1], products_only=True
    )
    np.testing.assert_array_equal(alone[0], found[0][1][0])


@pytest.mark.parametrize("kind", ["regressor", "classifier", "path", "cv"])
@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_blas_has_one_thread_from_the_first_product_of_a_fit_on(kind, storage, monkeypatch):
    """That of weights and y wakes a second one, which waits in a loop on a core of the fit."""
    X, y = np.random.default_rng(0).standard_normal((12_000, 3)), np.arange(12_000) % 7 > 2
    X = X if storage == "dense" else sparse.csr_array(X)
    seen = []

    def n_threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    class Watched(Problem):
        def __init__(self, *args, **kwargs):
            seen.append(n_threads())
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("sklearn_sparselp.regression.Problem", Watched)
    monkeypatch.setattr("sklearn_sparselp.classification.Problem", Watched)
    with threadpool_limits(limits=2, user_api="blas"):
        if kind == "regressor":
            SparseLpRegressor(alpha=0.1).fit(X, y.astype(float))
        elif kind == "classifier":
            SparseLpClassifier(alpha=0.1).fit(X, y)
        elif kind == "path":
            sparse_lp_path(X, y.astype(float), alphas=[0.1])
        else:
            SparseLpRegressorCV(alphas=[0.1], cv=2).fit(X, y.astype(float))
    assert seen
    assert all(counts == {1} for counts in seen)
