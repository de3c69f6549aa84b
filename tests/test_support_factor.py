"""The factor of a support that changes, and the way along faces: against NumPy."""

import numpy as np
import pytest
from layouts import LAYOUTS, regression
from sklearn.linear_model import Lasso
from sklearn_sparselp._core._faces import along_faces
from sklearn_sparselp._core._loss import SquaredError
from sklearn_sparselp._core._penalty import LpPenalty
from sklearn_sparselp._core._support_factor import divide, factor_in_place, scaled_part, update

from sklearn_sparselp import SparseLpRegressor
from sklearn_sparselp._solvers import Design, Problem, support_newton
from sklearn_sparselp._solvers.gram import GramCache
from sklearn_sparselp._solvers.support_newton import SupportModel, arranged, newton_step

NONE = np.empty(0)


def hessian_of(X, support, bend):
    columns = X[:, support] - X[:, support].mean(axis=0)
    return columns.T @ columns / X.shape[0] + bend * np.eye(support.size)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("bend", [0.0, 0.3])
def test_an_updated_factor_divides_by_the_matrix_of_the_new_support(centred, bend):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 40)) * np.exp(rng.standard_normal(40)) + centred
    X -= 0.0 if centred else X.mean(axis=0)
    matrix, means = X.T @ X / 60, X.mean(axis=0)
    room = np.full((34, 34), np.nan, order="F")
    places, scale = rng.permutation(40)[:30], np.empty(30)
    sums = means[places] if centred else NONE
    scaled_part(matrix, places, sums, 1.0, np.full(30, bend), 0.0, scale, room, 2)
    expected = hessian_of(X, places, bend)
    np.testing.assert_allclose(
        np.tril(room[:30, :30]),
        np.tril(expected * scale * scale[:, np.newaxis]),
        rtol=1e-9,
        atol=1e-12,
    )
    assert factor_in_place(room, 30) == 0
    for n_leaving, n_joining in ((3, 0), (0, 4), (7, 5), (30, 12), (0, 0)):
        leaving = np.sort(rng.permutation(places.size)[: min(n_leaving, places.size)])[::-1].copy()
        stay = np.delete(np.arange(places.size), leaving)
        new = rng.permutation(np.setdiff1d(np.arange(40), places[stay]))[:n_joining]
        n_rows, places = places.size, np.concatenate([places[stay], new])
        scale = np.concatenate([scale[stay], np.full(new.size, np.nan)])
        sums = means[places] if centred else NONE
        assert update(
            room,
            n_rows,
            leaving,
            matrix,
            places,
            sums,
            1.0,
            np.full(places.size, bend),
            0.0,
            1e-11,
            scale,
            np.empty(34),
        )
        right = rng.standard_normal(places.size)
        found = right.copy()
        divide(room, scale, found)
        np.testing.assert_allclose(
            found, np.linalg.solve(hessian_of(X, places, bend), right), rtol=1e-8
        )


def test_a_row_that_depends_on_the_others_does_not_join():
    X = np.random.default_rng(1).standard_normal((20, 5))
    X[:, 4] = X[:, 0] - X[:, 1]
    matrix, room, scale = X.T @ X, np.empty((5, 5), order="F"), np.empty(5)
    places, bend = np.arange(5), np.zeros(5)
    scaled_part(matrix, places[:3], NONE, 1.0, bend[:3], 0.0, scale[:3], room, 1)
    assert factor_in_place(room, 3) == 0
    none = np.empty(0, dtype=np.int64)
    assert not update(
        room, 3, none, matrix, places, NONE, 1.0, bend, 0.0, 1e-11, scale, np.empty(5)
    )


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 5, 40, 100])
def test_faces_lead_to_the_minimum_on_the_orthant(size, n_threads):
    """Leg after leg, each a system of its own."""
    rng = np.random.default_rng(size)
    for _ in range(10):
        B, units = rng.standard_normal((2 * size, size)), np.exp(rng.standard_normal(size))
        H = B.T @ B * units * units[:, np.newaxis]
        scale = 1.0 / np.sqrt(H.diagonal())
        room = np.full((size + 2, size + 2), np.nan, order="F")
        room[:size, :size] = np.linalg.cholesky(H * scale * scale[:, np.newaxis])
        w = rng.standard_normal(size) / units
        target = w + 0.7 * rng.standard_normal(size) / units
        here, held = np.empty(size), np.empty(size, dtype=np.int64)
        n_held, _, complete = along_faces(
            w,
            target,
            np.ones(size, dtype=np.uint8),
            room,
            scale,
            np.empty((size, size), order="F"),
            np.empty((2, size)),
            np.empty((2, size), dtype=np.int64),
            held,
            here,
            n_threads,
        )
        expected, gone, now = w.copy(), [], w.copy()
        while True:
            free = np.setdiff1d(np.arange(size), gone)
            expected = np.zeros(size)
            expected[free] = np.linalg.solve(H[np.ix_(free, free)], (H @ target)[free])
            crossed = free[expected[free] * w[free] <= 0.0]
            if not crossed.size:
                break
            reach = now[crossed] / (now[crossed] - expected[crossed])
            now += reach.min() * (expected - now)
            gone.append(int(crossed[reach.argmin()]))
            now[gone[-1]] = 0.0
        assert complete
        assert held[:n_held].tolist() == gone
        np.testing.assert_allclose(here, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("layout", ["dense_f", "csc_array_int32"])
def test_steps_with_a_kept_factor_are_those_with_a_new_one(layout, monkeypatch):
    monkeypatch.setattr(support_newton, "KEPT_FROM", 2)
    monkeypatch.setattr(support_newton, "CHANGES_PER_FACTOR", 2)
    X, y = regression(30, 60, 40, density=0.7)
    problem = Problem(
        Design(LAYOUTS[layout](X)), y, SquaredError(), LpPenalty(40, p=1.0, alpha=1e-3), None, True
    )
    kept, rng = GramCache(problem.design, problem.weights), np.random.default_rng(0)
    on, updated = rng.permutation(40)[:30], 0
    for _ in range(8):
        w = np.zeros(40)
        w[on] = np.linalg.lstsq(X[:, on] - X[:, on].mean(axis=0), y - y.mean())[
            0
        ] + 0.1 * rng.standard_normal(on.size)
        support = np.flatnonzero(w)
        prediction, _ = problem.predict(w, 0.0)
        raw, curvature = problem.derivatives(prediction)
        updated += kept.kept is not None and kept.kept.staying(support) is not None
        ends = []
        for cache in (kept, GramCache(problem.design, problem.weights)):
            order = support[arranged(cache, support, np.abs(w[support]))]
            model = SupportModel(
                problem.design.columns(order),
                order,
                w[order],
                raw,
                curvature,
                problem.lipschitz[order],
                problem.sums[order],
                1.0,
            )
            step = newton_step(problem.penalty, model, cache, 0.0)
            ends.append(np.zeros(40))
            ends[-1][order] = step.coef
        np.testing.assert_allclose(*ends, rtol=1e-9, atol=1e-11)
        on = np.concatenate([support[3:], np.setdiff1d(np.arange(40), support)[:2]])
    assert updated >= 5


@pytest.mark.parametrize("intercept", [False, True])
def test_a_ridge_is_taken_out_again_where_columns_are_independent(intercept):
    """Columns that depended on each other bring a ridge to later steps, and it changes no step."""
    X, y = regression(33, 60, 30)
    X[:, 29] = X[:, 0]
    problem = Problem(
        Design(X), y, SquaredError(), LpPenalty(30, p=1.0, alpha=1e-3), None, intercept
    )
    cache = GramCache(problem.design, problem.weights)
    for on, dependent in ((np.arange(30), False), (np.arange(20), True)):
        w = np.zeros(30)
        w[on] = np.linspace(1.0, 3.0, on.size) * 1e3
        raw, curvature = problem.derivatives(problem.predict(w, 0.0)[0])
        assert cache.dependent == dependent
        sums = problem.sums[on] if intercept else None
        step = newton_step(
            problem.penalty,
            SupportModel(
                *(problem.design.columns(on), on, w[on], raw, curvature),
                *(problem.lipschitz[on], sums, 1.0),
            ),
            cache,
            0.0,
        )
        assert step.regular == dependent
    # Now without a sign that changes: the end is the minimum on the support.
    w[:20] = np.linalg.lstsq(
        X[:, :20] - intercept * X[:, :20].mean(axis=0), y - intercept * y.mean()
    )[0]
    w[:20] *= 1.0001
    raw, curvature = problem.derivatives(problem.predict(w, 0.0)[0])
    step = newton_step(
        problem.penalty,
        SupportModel(
            *(problem.design.columns(on), on, w[on], raw, curvature),
            *(problem.lipschitz[on], problem.sums[on] if intercept else None, 1.0),
        ),
        cache,
        0.0,
    )
    columns = X[:, :20] - intercept * X[:, :20].mean(axis=0)
    right = columns.T @ (y - intercept * y.mean()) / 60 - 1e-3 * np.sign(w[:20])
    expected = np.linalg.solve(columns.T @ columns / 60, right)
    assert (expected * w[:20] > 0.0).all()
    np.testing.assert_allclose(step.coef, expected, rtol=1e-11)


@pytest.mark.parametrize(("trial", "factored"), [(1, True), (200, False)])
def test_a_large_support_is_factored_where_conjugate_gradient_steps_fail(
    trial, factored, monkeypatch
):
    monkeypatch.setattr(support_newton, "LARGEST_AT_ONCE", 20)
    monkeypatch.setattr(support_newton, "LARGE_TRIAL", trial)
    sizes, cholesky = [], support_newton.cholesky
    monkeypatch.setattr(
        support_newton,
        "cholesky",
        lambda room, size: sizes.append(size) or cholesky(room, size),
    )
    rng = np.random.default_rng(7)
    X = rng.standard_normal((400, 600))
    y = X[:, :100] @ rng.standard_normal(100) + rng.standard_normal(400)
    alpha = np.abs(X.T @ (y - y.mean())).max() / 400 / 50
    model = SparseLpRegressor(alpha=alpha, tol=1e-9).fit(X, y)
    assert np.count_nonzero(model.coef_) > 20
    assert any(size > 20 for size in sizes) == factored
    np.testing.assert_allclose(
        model.coef_, Lasso(alpha=alpha, tol=1e-10, max_iter=100_000).fit(X, y).coef_, atol=1e-5
    )
