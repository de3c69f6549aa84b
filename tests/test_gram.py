"""Gram matrices: against NumPy, in every layout."""

from __future__ import annotations

import numpy as np
import pytest
from engine import fit_engine
from layouts import LAYOUTS, regression
from reference import Reference
from scipy import sparse

from sklearn_sparselp import alpha_max
from sklearn_sparselp._solvers import coordinate_descent, descent_state, sparse_gram
from sklearn_sparselp._solvers import gram as gram_module
from sklearn_sparselp._solvers.design import Design
from sklearn_sparselp._solvers.gram import GramBlock, GramCache

# Settings of `sparse_gram`: few new columns, which rows are turned at once, full columns, panels.
WAYS = {
    "panels": {"FEW": 7},
    "small panels": {"FEW": 7, "WIDTHS": np.array([4]), "PANEL_VALUES": 24},
    "panels in parts": {"FEW": 7, "PANEL_VALUES": 24, "THREADED_FROM": 0, "VALUES_OF_PART": 4},
    "row": {"FEW": 0, "FULL": 2.0, "VALUES_IN_ROOM": 1, "VALUES_OF_SHARE": 5},
    "rows in parts": {"FEW": 0, "FULL": 2.0, "VALUES_IN_ROOM": 1, "THREADED_FROM": 0},
    "some rows of parts": {
        "FEW": 0,
        "FULL": 2.0,
        "VALUES_IN_ROOM": 30,
        "THREADED_FROM": 0,
        "MOST_PARTS": 3,
    },
    "some rows": {"FEW": 0, "FULL": 2.0, "VALUES_IN_ROOM": 30, "VALUES_OF_SHARE": 5},
    "all rows": {"FEW": 0, "FULL": 2.0},
    "panels and rows": {"FEW": 0, "FULL": 0.4, "WIDTHS": np.array([4]), "VALUES_IN_ROOM": 30},
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("way", sorted(WAYS))
@pytest.mark.parametrize("even", [True, False], ids=["even", "weighted"])
def test_a_gram_matrix_is_that_of_numpy(layout, way, even, monkeypatch):
    for name, value in WAYS[way].items():
        monkeypatch.setattr(sparse_gram, name, value)
    rng = np.random.default_rng(0)
    X, _ = regression(5, 50, 14, density=0.4)
    X[:, 3] = 0.0
    X[7] = 0.0
    curvature = np.full(50, 0.02) if even else rng.uniform(size=50) * (rng.uniform(size=50) > 0.2)
    features = np.array([11, 3, 0, 5, 6, 7, 1])
    for dtype, rtol in ((np.float64, 1e-13), (np.float32, 1e-6)):
        columns = Design(LAYOUTS[layout](X.astype(dtype))).columns(features)
        expected = X[:, features].T @ (curvature[:, np.newaxis] * X[:, features])
        for n_old in (0, 1, 4, 7):
            found = columns.gram(curvature, n_old)
            assert found.dtype == np.float64
            np.testing.assert_allclose(
                found, expected[n_old:], rtol=rtol, atol=1e-7 if rtol > 1e-9 else 1e-15
            )


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("small", [0, 500])
@pytest.mark.parametrize("room", [3000, 18])
@pytest.mark.parametrize("centred", [False, True])
def test_a_cache_has_the_gram_matrix_of_all_that_is_asked_for(
    layout, room, small, centred, monkeypatch
):
    monkeypatch.setattr(gram_module, "LARGEST_CACHE", room)
    monkeypatch.setattr(gram_module, "SMALL_BLOCK", small)
    X, _ = regression(6, 30, 20, density=0.5)
    curvature = np.linspace(0.0, 1.0, 30) / 15.0
    sums = X.T @ curvature if centred else None
    cache = GramCache(Design(LAYOUTS[layout](X)), curvature, sums)
    for features in ([4, 2], [2, 9, 4, 19], [0], list(range(17)), [19, 3, 17]):
        features = np.array(features)
        block = cache.block(features)
        expected = X[:, features].T @ (curvature[:, np.newaxis] * X[:, features])
        if centred:
            expected -= np.outer(sums[features], sums[features])
        columns = [block.data[block.start[k] : block.stop[k]] for k in range(len(block))]
        found = np.array(columns)[:, block.places]
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)
        in_place = features.size > small and features.size >= 0.7 * cache.features.size
        assert np.shares_memory(block.matrix, cache.matrix) == in_place


def test_the_verbs_of_a_gram_block_are_those_of_its_columns_seen_from_the_coefficients():
    rng = np.random.default_rng(1)
    X, _ = regression(7, 25, 9)
    curvature = rng.uniform(size=25)
    taken, d = np.array([6, 1, 4]), rng.normal(size=3)
    columns = Design(X).columns(np.arange(9))
    matrix = np.full((11, 11), np.nan)
    matrix[:9, :9] = columns.gram(curvature)
    block = GramBlock(matrix, 9, np.arange(9)).take(taken)
    raw = rng.normal(size=25)
    np.testing.assert_allclose(
        block.products(columns.products(raw)), columns.take(taken).products(raw)
    )
    moved, moved_samples = block.combine(d), columns.take(taken).combine(d)
    bent, bent_samples = block.bend(moved), columns.bend(moved_samples, curvature)
    np.testing.assert_allclose(bent, columns.products(bent_samples))
    np.testing.assert_allclose(moved @ bent, moved_samples @ bent_samples)
    np.testing.assert_allclose(
        gram_module.taken(block.matrix, block.places), columns.take(taken).gram(curvature)
    )
    assert len(block) == 3


@pytest.mark.parametrize(
    "case",
    [
        {"p": 1.0},
        {"p": 1.0, "fit_intercept": False, "positive": True},
        {"p": 1.0, "l2_reg": 1e-3},
        {"p": 0.8, "fit_intercept": False},
    ],
    ids=str,
)
def test_epochs_on_the_gram_matrix_of_newton_steps_end_where_those_on_columns_do(case, monkeypatch):
    generator = np.random.default_rng(2)
    X = sparse.random_array((600, 900), density=0.2, rng=generator, format="csc")
    y = X[:, :200] @ generator.normal(size=200) + 3.0
    weights = generator.uniform(0.5, 1.5, size=600)
    # Working sets from the first epoch on.
    monkeypatch.setattr(coordinate_descent, "direct_fit", _no_direct_fit)
    monkeypatch.setattr(descent_state, "GRAM_GAIN", np.inf)
    sweep, walked = descent_state.sweep, []

    def counted_sweep(data, rows, start, stop, *terms):
        walked.append(terms[-1].size)
        return sweep(data, rows, start, stop, *terms)

    monkeypatch.setattr(descent_state, "sweep", counted_sweep)
    case = {"fit_intercept": True, **case}
    terms = {"p": case["p"], "fit_intercept": case["fit_intercept"], "sample_weight": weights}
    case["alpha"] = alpha_max(X, y, **terms) / 300
    ends = {}
    for worth in (0.0, np.inf):
        monkeypatch.setattr(descent_state, "GRAM_WORTH", worth)
        walked.clear()
        ends[worth] = fit_engine(X, y, weights, solver="cd", tol=1e-9, **case)
        assert any(walked) == (worth > 0.0)
    if case["p"] >= 1.0:
        assert ends[np.inf].objective_ == pytest.approx(ends[0.0].objective_, rel=1e-9)
        np.testing.assert_allclose(ends[np.inf].coef_, ends[0.0].coef_, atol=1e-6)
    reference, end = Reference(X.toarray(), y, sample_weight=weights, **case), ends[np.inf]
    assert end.objective_ == pytest.approx(
        reference.objective(end.coef_, end.intercept_), rel=1e-12
    )
    assert reference.fixed_point_residual(end.coef_) < 1e-6


def _no_direct_fit(problem, tol, max_iter):
    return None, None
    yield
