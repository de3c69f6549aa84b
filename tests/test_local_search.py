"""Where a fit from zero ends for p < 1, p = 0 and a mask: low, and at a fixed point."""

import numpy as np
import pytest
from engine import fit_engine, make_problem
from reference import Reference
from sklearn_sparselp._core._local_search import local_search

from sklearn_sparselp import SparseLpRegressor, alpha_max
from sklearn_sparselp._solvers import local_fit, solve
from sklearn_sparselp._solvers.local_fit import LocalFit

WEIGHTS = np.random.default_rng(3).integers(0, 3, 60).astype(np.float64)
CASES = [
    {"p": 0.0},
    {"p": 0.5},
    {"p": 2 / 3},
    {"p": 0.9, "positive": True},
    {"p": 0.5, "fit_intercept": False, "l2_reg": 0.05},
    {"p": 0.3, "sparsity_threshold": 0.3},
    {"p": 1.0, "sparsity_threshold": 0.2},
    {"p": 2.0, "sparsity_threshold": 0.4},
    {"p": 0.0, "positive": True, "sparsity_threshold": 0.1, "l2_reg": 0.1},
]


def chain(seed, n_samples=60, n_features=10, correlation=0.9):
    """Columns in an AR(1) chain, about four in ten of them in the truth."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    for j in range(1, n_features):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1.0 - correlation**2) * X[:, j]
    truth = np.where(rng.random(n_features) < 0.4, rng.standard_normal(n_features), 0.0)
    return X, X @ truth + 0.5 * rng.standard_normal(n_samples)


def by_working_sets(monkeypatch, fit, *terms, **parameters):
    """The fit that does without the search."""
    with monkeypatch.context() as patch:
        patch.setattr(LocalFit, "applies", staticmethod(lambda problem: False))
        return fit(*terms, **parameters)


# Of 20 fits those with and without the search that were the best: 15 and 5, 11 and 2.
@pytest.mark.parametrize(("fraction", "least", "more"), [(0.1, 14, 8), (0.01, 10, 7)])
def test_most_fits_of_ten_correlated_features_are_the_best_of_all_subsets(
    fraction, least, more, monkeypatch
):
    hits = np.zeros(2, dtype=int)
    for seed in range(20):
        X, y = chain(seed)
        alpha = fraction * alpha_max(X, y, p=0.0)
        _, best = Reference(X, y, p=0.0, alpha=alpha).best_subset()
        model = SparseLpRegressor(p=0.0, alpha=alpha, tol=1e-9)
        found = [
            model.fit(X, y).objective_,
            by_working_sets(monkeypatch, model.fit, X, y).objective_,
        ]
        assert min(found) >= best * (1.0 - 1e-12)
        hits += np.array(found) <= best * (1.0 + 1e-9)
    assert hits[0] >= least
    assert hits[0] >= hits[1] + more


# In geometric mean it ends 19, 30, 11, 15, 6 and 11 % below.
@pytest.mark.parametrize(("p", "least"), [(0.0, 0.15), (0.5, 0.08), (2 / 3, 0.04)])
@pytest.mark.parametrize("fraction", [0.1, 0.01])
def test_a_fit_ends_lower_than_by_working_sets(fraction, p, least, monkeypatch):
    logs = []
    for seed in range(10):
        X, y = chain(seed, 60, 150)
        case = {"p": p, "alpha": fraction * alpha_max(X, y, p=p), "tol": 1e-8, "max_iter": 5000}
        other = by_working_sets(monkeypatch, fit_engine, X, y, **case)
        logs.append(np.log(fit_engine(X, y, **case).objective_ / other.objective_))
    assert np.mean(logs) <= -least
    assert np.max(logs) <= 0.0


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("shape", [(60, 10), (60, 150)], ids=str)
def test_the_end_is_a_fixed_point_of_the_rule(shape, case, monkeypatch):
    for seed in range(4):
        X, y = chain(seed, *shape)
        reference = Reference(X, y, alpha=0.02, sample_weight=WEIGHTS, **case)
        ways = []
        run = LocalFit.run
        with monkeypatch.context() as patch:
            patch.setattr(LocalFit, "run", lambda *terms: ways.append(terms) or run(*terms))  # noqa: B023
            result = fit_engine(X, y, WEIGHTS, tol=1e-9, max_iter=5000, alpha=0.02, **case)
        assert len(ways) == 1
        assert reference.fixed_point_residual(result.coef_) <= 1e-8
        assert result.objective_ == pytest.approx(
            reference.masked_objective(result.coef_), rel=1e-10
        )


def gram_model(seed, p, size=40):
    """A Gram matrix, a gradient at zero and a penalty, as the search takes them."""
    X, y = chain(seed, 60, size)
    problem = make_problem(X, y, {"p": p, "alpha": 0.02, "fit_intercept": False})
    return problem, X.T @ X / 60, -X.T @ y / 60


def search(problem, matrix, gradient, w, max_work=0, max_epochs=1000):
    size, features = w.size, np.arange(w.size)
    given = matrix, features, problem.lipschitz, problem.entry, gradient, problem.penalty
    factor = np.empty((max(size, 1), max(size, 1))), np.zeros(max(size, 1) + 1, dtype=np.int32)
    room = np.empty(11 * size), *factor, np.empty(3 * size, dtype=np.int32)
    return local_search(*given, 1e-12, max_epochs, max_work, w, *room)


@pytest.mark.parametrize("p", [0.5, 2 / 3])
def test_steps_by_a_former_factor_end_where_those_by_a_new_one_do(p):
    X, y = chain(9, 400, 240, 0.5)
    problem = make_problem(X, y, {"p": p, "alpha": 1e-4, "fit_intercept": False})
    matrix, gradient = X.T @ X / 400, -X.T @ y / 400
    factor, order = np.empty((240, 240)), np.zeros(241, dtype=np.int32)

    def descend(w):
        size = w.size
        given = problem.lipschitz[:size], problem.entry[:size], gradient[:size], problem.penalty
        room = np.empty(11 * size), factor, order, np.empty(3 * size, dtype=np.int32)
        return local_search(matrix, np.arange(size), *given, 1e-10, 1000, 0, w, *room)

    start = np.zeros(232)
    assert descend(start)[0] < 1000
    assert 64 <= order[-1] <= np.count_nonzero(start) + 8
    ends = []
    for known in (order[-1], 0):
        order[-1] = known
        w = np.concatenate([start, np.zeros(8)])
        epochs, gain, _ = descend(w)
        assert epochs < 1000
        assert gain == pytest.approx(-quadratic(matrix, gradient, w, p, 1e-4), rel=1e-10)
        size, sign = np.abs(w[w != 0.0]), np.sign(w[w != 0.0])
        slope = (matrix @ w + gradient)[w != 0.0] + 1e-4 * p * sign * size ** (p - 1.0)
        assert np.abs(slope).max() <= 1e-9
        ends.append(w)
    assert np.count_nonzero(ends[0][232:])
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-8)


def quadratic(matrix, gradient, w, p, alpha=0.02):
    return 0.5 * w @ matrix @ w + gradient @ w + alpha * np.sum(np.abs(w[w != 0.0]) ** p)


@pytest.mark.parametrize(("p", "least"), [(0.0, (3, 3)), (0.5, (3, 3)), (0.8, (2, 4))])
def test_exchanges_and_trials_only_ever_lower_the_objective(p, least):
    lower = np.zeros(2, dtype=int)
    for seed in range(10):
        problem, matrix, gradient = gram_model(seed, p)
        ends = []
        for work in (0, 1, 10**7):
            w = np.zeros(40)
            epochs, gain, n_read = search(problem, matrix, gradient, w, work)
            assert epochs < 1000
            assert gain == pytest.approx(-quadratic(matrix, gradient, w, p), rel=1e-10)
            assert (n_read > 0) == (work > 0)
            ends.append(-gain)
        assert (np.diff(ends) <= 1e-12 * abs(ends[0])).all()
        lower += np.diff(ends) < -1e-9
    # A search that does nothing would show here.
    assert (lower >= least).all()


def test_an_exchange_leaves_a_local_solution_that_no_coordinate_can_leave():
    problem, *_ = gram_model(0, 0.0, 2)
    problem.lipschitz[:], problem.entry[:] = 1.0, np.sqrt(2 * 0.02)
    matrix, gradient = np.array([[1.0, 0.9], [0.9, 1.0]]), np.array([-1.0, -0.95])
    w = np.array([0.0, 0.95])
    _, gain, n_read = search(problem, matrix, gradient, w, 0)
    assert w.tolist() == [0.0, 0.95]
    assert gain == pytest.approx(0.5 * 0.95**2 - 0.02)
    assert n_read == 0
    _, gain, n_read = search(problem, matrix, gradient, w, 1)
    assert w.tolist() == [1.0, 0.0]
    assert gain == pytest.approx(0.5 - 0.02)
    assert n_read > 0


def test_a_search_without_epochs_says_so():
    problem, matrix, gradient = gram_model(0, 0.5)
    w = np.zeros(40)
    assert search(problem, matrix, gradient, w, max_epochs=2)[0] == 2
    assert search(problem, matrix[:0, :0], gradient[:0], w[:0]) == (0, 0.0, 0)


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_zero_stays_the_fit_from_alpha_max_on(p):
    X, y = chain(5, 40, 30)
    strongest = alpha_max(X, y, p=p)
    assert not SparseLpRegressor(p=p, alpha=strongest * (1.0 + 1e-9)).fit(X, y).coef_.any()
    assert SparseLpRegressor(p=p, alpha=0.9 * strongest).fit(X, y).coef_.any()


def test_a_start_is_followed_and_not_searched_from(monkeypatch):
    X, y = chain(6, 60, 100)
    problem = make_problem(X, y, {"p": 0.5, "alpha": 0.02})
    start = by_working_sets(monkeypatch, solve, [problem], tol=1e-9)[0].coef
    monkeypatch.setattr(local_fit, "local_search", None)
    again = solve([make_problem(X, y, {"p": 0.5, "alpha": 0.02})], tol=1e-9, coef_init=[start])[0]
    np.testing.assert_allclose(again.coef, start, atol=1e-9)


def test_too_many_columns_or_epochs_are_left_to_working_sets(monkeypatch):
    X, y = chain(7, 60, 150)
    expected = by_working_sets(monkeypatch, fit_engine, X, y, p=0.5, alpha=0.01, tol=1e-9)
    for name in ("LARGEST", "LARGEST_SUPPORT", "MOST_EPOCHS", "MOST_PASSES"):
        with monkeypatch.context() as patch:
            patch.setattr(local_fit, name, 2 if name.startswith("LARGEST") else 0)
            result = fit_engine(X, y, p=0.5, alpha=0.01, tol=1e-9)
        np.testing.assert_array_equal(result.coef_, expected.coef_)
        assert result.n_iter_ == expected.n_iter_


def test_the_fit_is_the_same_twice_and_for_features_in_another_order():
    X, y = chain(8, 80, 200)
    order = np.random.default_rng(8).permutation(200)
    first, second = (fit_engine(X, y, p=0.5, alpha=0.01, tol=1e-10) for _ in range(2))
    np.testing.assert_array_equal(first.coef_, second.coef_)
    other = fit_engine(np.asfortranarray(X[:, order]), y, p=0.5, alpha=0.01, tol=1e-10)
    assert other.objective_ <= first.objective_ * 1.05
