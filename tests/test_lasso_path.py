"""The compiled path for p = 1 and squared error, against scikit-learn and the general solver."""

import warnings

import numpy as np
import pytest
from engine import make_problem
from reference import Reference
from scipy import sparse
from scipy.optimize import brentq
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, enet_path
from sklearn_sparselp._core._gram_path import lasso_on_gram
from sklearn_sparselp._core._l1_certificate import entering_strengths

from sklearn_sparselp import SparseLpRegressor, alpha_max, sparse_lp_path
from sklearn_sparselp._solvers import descent_state, design, lasso_path
from sklearn_sparselp._solvers.lasso_path import LassoPath


def correlated(n_samples, n_features, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    X[:, 1:] += 0.7 * X[:, :-1]
    X += rng.normal(size=n_features)
    w = np.where(np.arange(n_features) < 5, rng.normal(size=n_features), 0.0)
    return X, X @ w + 0.5 * rng.normal(size=n_samples) + 3.0


def without_compiled_loops(patch):
    patch.setattr(LassoPath, "applies", staticmethod(lambda problem, farthest=0.0: False))
    patch.setattr(descent_state, "has_gap_on_gram", lambda problem: False)


@pytest.fixture
def both(monkeypatch):
    """Returns the path by compiled loops and the one without, and how many fits the former made."""

    def run(X, y, **options):
        counts = {"fits": 0, "left": 0}
        fit, at_once = LassoPath.fit, LassoPath.at_once

        def counting(self, *arguments):
            result = fit(self, *arguments)
            counts["left" if result is None else "fits"] += 1
            return result

        def counting_all(self, *arguments):
            batch = at_once(self, *arguments)
            counts["fits"] += 0 if batch is None else len(batch)
            return batch

        with monkeypatch.context() as patch:
            patch.setattr(LassoPath, "fit", counting)
            patch.setattr(LassoPath, "at_once", counting_all)
            compiled = sparse_lp_path(X, y, **options)
        with monkeypatch.context() as patch:
            without_compiled_loops(patch)
            general = sparse_lp_path(X, y, **options)
        return compiled, general, counts

    return run


def dense(coefs):
    return coefs.toarray() if sparse.issparse(coefs) else coefs


CASES = {
    "plain": {},
    "ridge": {"l2_reg": 0.05},
    "positive": {"positive": True},
    "positive ridge": {"positive": True, "l2_reg": 0.05},
    "no intercept": {"fit_intercept": False},
    "weights": {"sample_weight": np.arange(60) % 3 * 0.5},
}


@pytest.mark.parametrize("n_features", [12, 40, 400])
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_general_solver(both, case, n_features):
    X, y = correlated(60, n_features)
    compiled, general, counts = both(X, y, alphas=30, eps=1e-2, tol=1e-10, **CASES[case])
    assert counts["fits"] >= 28
    assert compiled.converged.all()
    np.testing.assert_allclose(compiled.objectives, general.objectives, rtol=1e-10)
    np.testing.assert_allclose(dense(compiled.coefs), dense(general.coefs), atol=1e-6)
    np.testing.assert_allclose(compiled.intercepts, general.intercepts, atol=1e-6)


@pytest.mark.parametrize("kind", ["C", "F", "csr", "csc", "float32"])
@pytest.mark.parametrize("n_features", [20, 400])
def test_any_storage(both, kind, n_features):
    X, y = correlated(60, n_features)
    X[np.abs(X) < 0.8] = 0.0
    kinds = {
        "C": np.ascontiguousarray(X),
        "F": np.asfortranarray(X),
        "csr": sparse.csr_array(X),
        "csc": sparse.csc_array(X),
        "float32": X.astype(np.float32),
    }
    stored = kinds[kind]
    compiled, general, counts = both(stored, y, alphas=20, eps=1e-2, tol=1e-8)
    assert counts["fits"] >= 18
    assert compiled.coefs.dtype == stored.dtype
    np.testing.assert_allclose(compiled.objectives, general.objectives, rtol=1e-7)
    np.testing.assert_allclose(dense(compiled.coefs), dense(general.coefs), atol=1e-4)


@pytest.mark.parametrize("n_features", [12, 400])
def test_agrees_with_scikit_learn(n_features):
    X, y = correlated(60, n_features)
    X -= X.mean(axis=0)
    alphas = alpha_max(X, y) * np.geomspace(0.9, 0.02, 15)
    path = sparse_lp_path(X, y, alphas=alphas, tol=1e-12)
    theirs = enet_path(X, y - y.mean(), l1_ratio=1.0, alphas=alphas, tol=1e-14, max_iter=10**6)[1]
    np.testing.assert_allclose(dense(path.coefs), theirs.T, atol=1e-6)


@pytest.mark.parametrize("n_features", [12, 400])
def test_figures_are_those_of_a_single_fit(n_features):
    X, y = correlated(60, n_features)
    path = sparse_lp_path(X, y, alphas=10, eps=0.05, l2_reg=0.01)
    for k in (3, 9):
        model = SparseLpRegressor(p=1, alpha=path.alphas[k], l2_reg=0.01, tol=1e-12).fit(X, y)
        assert path.objectives[k] == pytest.approx(model.objective_, rel=1e-9)
        assert path.fixed_point_residuals[k] < 1e-9
        assert 0.0 <= path.dual_gaps[k] <= 1e-4 * np.var(y) / 2


@pytest.mark.parametrize("n_features", [12, 400])
def test_factors_constants_duplicates_and_dropped_features(both, n_features):
    X, y = correlated(60, n_features)
    X[:, 3] = 2.0
    X[:, 4] = X[:, 5]
    X[:, 6] = 0.0
    factor = np.linspace(0.5, 2.0, n_features)
    factor[7] = np.inf
    compiled, general, counts = both(X, y, alphas=20, eps=1e-2, tol=1e-9, penalty_factor=factor)
    coefs = dense(compiled.coefs)
    assert counts["fits"] > 0
    assert not coefs[:, [3, 6, 7]].any()
    np.testing.assert_allclose(compiled.objectives, general.objectives, rtol=1e-8)


BLOCKS = {
    "plain": {},
    "no intercept": {"fit_intercept": False},
    "positive": {"positive": True},
    "ridge": {"l2_reg": 0.02},
    "factors": {"penalty_factor": np.r_[np.inf, np.linspace(0.5, 2.0, 79)]},
    "factors and ridge": {"penalty_factor": np.linspace(0.5, 2.0, 80), "l2_reg": 0.02},
    "weights": {"sample_weight": np.arange(60) % 4},
}


@pytest.mark.parametrize("sparse_columns", [False, True])
@pytest.mark.parametrize("case", BLOCKS)
def test_fits_that_share_a_pass_hold_certificates_of_their_own(case, sparse_columns, monkeypatch):
    """Each against formulas that share nothing with the solver; and they do share passes."""
    sizes, certified = [], LassoPath._certified
    monkeypatch.setattr(
        LassoPath, "_certified", lambda *terms: sizes.append(len(terms[1])) or certified(*terms)
    )
    monkeypatch.setattr(lasso_path, "WHOLE", 10)
    monkeypatch.setattr(lasso_path, "SMALLEST_GROWTH", 20)
    X, y = correlated(60, 80)
    if sparse_columns:
        X[np.random.default_rng(0).random(X.shape) < 0.7] = 0.0
    terms = BLOCKS[case]
    stored = sparse.csc_array(X) if sparse_columns else X
    path = sparse_lp_path(stored, y, alphas=40, eps=1e-2, tol=1e-6, **terms)
    assert path.converged.all()
    assert sum(sizes) >= 40
    assert len(sizes) <= 25
    coefs = dense(path.coefs)
    for k in range(0, 40, 6):
        reference = Reference(X, y, alpha=path.alphas[k], **terms)
        null = reference.objective(np.zeros(80))
        assert reference.objective(coefs[k]) == pytest.approx(path.objectives[k], rel=1e-10)
        assert reference.duality_gap(coefs[k]) <= 1.01e-6 * null
        residual = reference.fixed_point_residual(coefs[k])
        assert path.fixed_point_residuals[k] == pytest.approx(residual, rel=1e-3, abs=1e-9)
        assert path.intercepts[k] == pytest.approx(reference.best_intercept(coefs[k]), abs=1e-10)


@pytest.mark.parametrize("positive", [False, True])
def test_entering_strengths_are_where_the_line_meets_them(positive):
    """Found by bisection on |gradient(s)| - s, the gradient a line through its last two values."""
    rng = np.random.default_rng(0)
    last, former = 0.8, 1.0
    gradient = rng.uniform(-0.7, 0.7, 50)
    slope = rng.uniform(-0.85, 0.85, 50)
    before = gradient + slope * (former - last)
    out = np.empty(50)
    entering_strengths(gradient, before, np.empty(0), np.ones(50), last, former, positive, out, 1)
    for j in range(50):

        def excess(s, j=j):
            value = gradient[j] + slope[j] * (s - last)
            return (-value if positive else abs(value)) - s

        if positive and excess(0.0) < 0.0:
            assert out[j] < 0.0
            continue
        assert brentq(excess, 0.0, last) == pytest.approx(out[j], abs=1e-12)


def test_entering_strengths_of_one_fit_and_of_features_that_never_enter():
    gradient, out = np.array([0.5, -0.3, 0.4]), np.empty(3)
    factor, lipschitz = np.array([1.0, 2.0, 1.0]), np.array([3.0, 0.1, 0.0])
    entering_strengths(gradient, gradient, factor, lipschitz, 0.8, 0.8, False, out, 1)
    np.testing.assert_allclose(out, [0.5, 0.15, 0.0])


def test_unpenalised_features_go_to_the_general_solver(both):
    X, y = correlated(60, 12)
    factor = np.r_[0.0, np.ones(11)]
    compiled, general, counts = both(X, y, alphas=5, penalty_factor=factor)
    assert counts == {"fits": 0, "left": 0}
    np.testing.assert_array_equal(compiled.coefs, general.coefs)


def test_features_with_a_ridge_alone_go_to_the_general_solver(both):
    """Their path starts at the solution for them, not at zero."""
    X, y = correlated(60, 400)
    factor = np.r_[0.0, np.ones(399)]
    compiled, general, counts = both(X, y, alphas=5, penalty_factor=factor, l2_reg=0.02)
    # The fit of that feature alone.
    assert counts == {"fits": 1, "left": 0}
    np.testing.assert_allclose(compiled.objectives, general.objectives, rtol=1e-8)


@pytest.mark.parametrize("order", [0.5, 1.5])
def test_other_orders_go_to_the_general_solver(both, order):
    X, y = correlated(60, 12)
    assert both(X, y, p=order, alphas=5)[2] == {"fits": 0, "left": 0}


def test_a_full_matrix_makes_room(both, monkeypatch):
    """Columns of zero leave when others need their place; a support beyond it is left to others."""
    X, y = correlated(60, 400)
    monkeypatch.setattr(lasso_path, "LARGEST", 40)
    compiled, general, counts = both(X, y, alphas=40, eps=1e-3, tol=1e-8)
    assert counts["fits"] > 5
    assert counts["left"] > 0
    np.testing.assert_allclose(compiled.objectives, general.objectives, rtol=1e-7)


def test_goes_on_where_others_have_fitted(both, monkeypatch):
    """Single fits that fail are left to the general solver, those after them are not."""
    X, y = correlated(60, 400)
    solve, calls = LassoPath._solve, []

    def failing(self, alphas, *rest):
        calls.append(alphas)
        found = solve(self, alphas, *rest)
        return (0, *found[1:]) if len(calls) == 5 else found

    monkeypatch.setattr(LassoPath, "_solve", failing)
    compiled, general, counts = both(X, y, alphas=20, eps=1e-2, tol=1e-9)
    # Rounding may make a fit beside it fail too.
    assert 1 <= counts["left"] <= 2
    assert counts["fits"] == 20 - counts["left"]
    np.testing.assert_allclose(compiled.objectives, general.objectives, rtol=1e-8)


def test_after_too_many_failures_all_is_left(both, monkeypatch):
    X, y = correlated(60, 12)

    def nothing(self, alphas, *rest):
        return 0, np.empty((alphas.size, 12)), np.zeros((alphas.size, 4))

    monkeypatch.setattr(LassoPath, "_solve", nothing)
    compiled, general, counts = both(X, y, alphas=10)
    assert counts["fits"] == 0
    np.testing.assert_allclose(compiled.objectives, general.objectives, rtol=1e-4)


@pytest.mark.parametrize("n_features", [12, 400])
def test_strengths_that_start_low_and_end_at_zero(both, n_features):
    X, y = correlated(60, n_features)
    alphas = alpha_max(X, y) * np.array([0.1, 0.05, 0.0])
    compiled, general, _ = both(X, y, alphas=alphas, tol=1e-8)
    np.testing.assert_allclose(compiled.objectives[:2], general.objectives[:2], rtol=1e-6)
    assert compiled.objectives[2] <= compiled.objectives[1]


def test_saturated_support(both):
    """More coefficients than samples: matrices without a factor."""
    X, y = correlated(30, 200)
    compiled, general, _ = both(X, y, alphas=30, eps=1e-4, tol=1e-6, max_iter=5000)
    assert compiled.converged.all()
    np.testing.assert_allclose(compiled.objectives, general.objectives, rtol=1e-4)


def dependent(n_samples, seed=0):
    """Indicators of three groupings, whose blocks add up to one, two of them twice, and a sum."""
    rng = np.random.default_rng(seed)
    blocks = [np.eye(size)[rng.integers(size, size=n_samples)] for size in (4, 7, 12)]
    X = np.column_stack([*blocks, *blocks[:2], rng.normal(size=(n_samples, 3))])
    X = np.column_stack([X, X[:, -1] + X[:, -2]])
    return X, X @ rng.normal(size=X.shape[1]) + rng.normal(size=n_samples)


SINGLE = [
    {},
    {"fit_intercept": False},
    {"positive": True},
    {"l2_reg": 1e-3},
    {"penalty_factor": np.linspace(0.5, 1.5, 38)},
]


@pytest.mark.parametrize("fraction", [0.3, 0.03, 1e-3, 1e-5])
@pytest.mark.parametrize("case", SINGLE, ids=str)
def test_columns_that_depend_on_each_other(case, fraction):
    """The fits are certified elsewhere, soon, on columns that do not depend on each other."""
    X, y = dependent(300)
    terms = dict(case, alpha=fraction * alpha_max(X, y, **case))
    model = SparseLpRegressor(p=1.0, tol=1e-10, **terms).fit(X, y)
    reference = Reference(X, y, **terms)
    assert reference.objective(model.coef_) == pytest.approx(model.objective_, rel=1e-12)
    assert reference.duality_gap(model.coef_) <= 1e-10 * reference.objective(np.zeros(38))
    assert model.n_iter_ <= 40
    if "l2_reg" not in case:
        support = X[:, model.mask_]
        support = support - support.mean(axis=0) if model.intercept_ else support
        assert np.linalg.matrix_rank(support, tol=1e-8) == support.shape[1]


@pytest.mark.parametrize("tol", [1e-4, 1e-10])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gap_of_the_matrix_is_that_of_the_problem(tol, weighted):
    """Also with means of 25 standard deviations, and of 200, where the columns decide."""
    X, y = correlated(200, 30)
    weights = 1.0 + np.arange(200) % 4 if weighted else None
    for mean in (0.0, 25.0, 200.0):
        far = X + mean * X.std(axis=0)
        alpha = 0.02 * alpha_max(far, y, sample_weight=weights)
        model = SparseLpRegressor(alpha=alpha, tol=tol).fit(far, y, sample_weight=weights)
        reference = Reference(far, y, alpha=alpha, sample_weight=weights)
        null = reference.objective(np.zeros(30))
        assert model.dual_gap_ <= tol * null
        assert reference.duality_gap(model.coef_) <= 2.0 * tol * null
        assert reference.objective(model.coef_) == pytest.approx(model.objective_, rel=1e-10)
        assert reference.fixed_point_residual(model.coef_) <= 1e-8


def test_a_warm_start_goes_on_by_compiled_loops(monkeypatch):
    """The same solution from elsewhere, with the loops and without."""
    X, y = dependent(300)
    alpha = 0.01 * alpha_max(X, y)
    cold = SparseLpRegressor(alpha=alpha, tol=1e-12).fit(X, y)
    calls, compiled = [], descent_state.DescentState._compiled
    monkeypatch.setattr(
        descent_state.DescentState, "_compiled", lambda *terms: calls.append(1) or compiled(*terms)
    )
    warm = SparseLpRegressor(alpha=10 * alpha, warm_start=True).fit(X, y)
    warm.set_params(alpha=alpha, tol=1e-12).fit(X, y)
    assert calls
    with monkeypatch.context() as patch:
        without_compiled_loops(patch)
        general = SparseLpRegressor(alpha=10 * alpha, warm_start=True).fit(X, y)
        general.set_params(alpha=alpha, tol=1e-12, max_iter=100_000).fit(X, y)
    assert warm.objective_ == pytest.approx(cold.objective_, rel=1e-12)
    assert warm.objective_ == pytest.approx(general.objective_, rel=1e-12)
    np.testing.assert_allclose(warm.predict(X), general.predict(X), atol=1e-6)


def test_columns_far_from_the_origin_are_left(both):
    X, y = correlated(60, 12)
    X[:, 0] += 500.0 * X[:, 0].std()
    assert both(X, y, alphas=5)[2] == {"fits": 0, "left": 0}
    # Farther ones are moved there.
    X[:, 0] += 1e5
    assert both(X, y, alphas=5)[2]["fits"] > 0


def test_one_pass_for_each_strength(monkeypatch):
    """Wide data: one product with X a strength where the strong rule holds; few features: none."""
    from sklearn_sparselp._solvers import Design

    passes = []
    rmatvec = Design.rmatvec
    monkeypatch.setattr(Design, "rmatvec", lambda self, *v: passes.append(1) or rmatvec(self, *v))
    X, y = correlated(60, 400)
    sparse_lp_path(X, y, alphas=50, eps=1e-2)
    wide = len(passes)
    sparse_lp_path(X[:, :20], y, alphas=50, eps=1e-2)
    assert wide <= 60
    # The gradient at zero comes with the moments.
    assert len(passes) == wide


def test_max_iter_bounds_the_epochs():
    X, y = correlated(60, 50)
    with pytest.warns(match="stopped at max_iter=1"):
        path = sparse_lp_path(X, y, alphas=20, eps=1e-3, max_iter=1, tol=1e-14)
    assert (path.n_iters == 1).all()


def test_kernel_solves_the_problem_of_its_matrix():
    X, y = correlated(50, 8)
    centred, target = X - X.mean(axis=0), y - y.mean()
    room = 11
    matrix = np.full((room, room), np.nan)
    matrix[:8, :8] = centred.T @ centred / 50
    alphas = np.array([0.5, 0.1, 0.01])
    coefs, figures, w = np.empty((3, 8)), np.empty((3, 4)), np.zeros(8)
    n_done = lasso_on_gram(
        matrix, np.ones(8), -centred.T @ target / 50, target @ target / 50, alphas, 0.0, False,
        100, 1e-12, np.inf, w, coefs, figures, np.empty(32), np.empty((9, 9)),
        *np.zeros((2, 10), dtype=np.int32),
    )  # fmt: skip
    assert n_done == 3
    for alpha, coef, (objective, gap, *_) in zip(alphas, coefs, figures, strict=True):
        theirs = Lasso(alpha=alpha, fit_intercept=False, tol=1e-15, max_iter=10**6)
        theirs.fit(centred, target)
        np.testing.assert_allclose(coef, theirs.coef_, atol=1e-9)
        value = np.mean((target - centred @ coef) ** 2) / 2 + alpha * np.abs(coef).sum()
        assert objective == pytest.approx(value, rel=1e-12)
        assert 0.0 <= gap <= 1e-12
    np.testing.assert_array_equal(w, coefs[-1])


def test_outputs_share_the_matrix_of_all_features(monkeypatch):
    X, y = correlated(200, 30)
    Y = np.column_stack([y, y**2, -y, np.abs(y)])
    made, gram = [], design.dense_gram

    def counted(*terms, n_old=0, **options):
        # With all columns known already there is no matrix.
        made.extend([1] if n_old < X.shape[1] else [])
        return gram(*terms, n_old=n_old, **options)

    monkeypatch.setattr(design, "dense_gram", counted)
    weights = 1.0 + np.arange(200) % 3
    model = SparseLpRegressor(alpha=0.05, tol=1e-9).fit(X, Y, sample_weight=weights)
    assert len(made) == 1
    for k in range(4):
        alone = SparseLpRegressor(alpha=0.05, tol=1e-9).fit(X, Y[:, k], sample_weight=weights)
        np.testing.assert_array_equal(model.coef_[k], alone.coef_)


@pytest.mark.parametrize("n_features", [12, 400])
def test_a_strength_below_those_announced_is_fitted_alone(n_features):
    X, y = correlated(60, n_features)
    problem = make_problem(X, y, {"p": 1.0, "alpha": 1.0})
    null_gradient = X.T @ problem.null_raw_gradient
    problem.set_gradient_scale(null_gradient)
    first = np.abs(null_gradient).max()
    path = LassoPath(problem, null_gradient, first * np.array([0.5, 0.3]), polish=True)
    results = [path.fit(factor * first, 1e-8, 1000) for factor in (0.5, 0.3, 0.1)]
    for factor, result in zip((0.5, 0.3, 0.1), results, strict=True):
        expected = Lasso(alpha=factor * first, tol=1e-12).fit(X, y)
        np.testing.assert_allclose(result.coef, expected.coef_, atol=1e-6)
    np.testing.assert_array_equal(path.coef, results[-1].coef)


@pytest.mark.parametrize("announced", [1, 4])
@pytest.mark.parametrize("n_features", [12, 400])
def test_the_last_fit_of_a_path_lets_go_of_its_gradients(n_features, announced):
    X, y = correlated(60, n_features)
    problem = make_problem(X, y, {"p": 1.0, "alpha": 1.0})
    null_gradient = X.T @ problem.null_raw_gradient
    problem.set_gradient_scale(null_gradient)
    given = null_gradient.copy()
    alphas = np.abs(null_gradient).max() * np.geomspace(0.5, 0.02, 4)
    paths = [LassoPath(problem, null_gradient, alphas[:announced], True) for _ in range(2)]
    for alpha in alphas[:-1]:
        kept, ending = (path.fit(alpha, 1e-9, 1000) for path in paths)
        np.testing.assert_array_equal(ending.coef, kept.coef)
    paths[1].ending = True
    kept, ending = (path.fit(alphas[-1], 1e-9, 1000) for path in paths)
    np.testing.assert_array_equal(ending.coef, kept.coef)
    assert (ending.objective, ending.n_iter) == (kept.objective, kept.n_iter)
    np.testing.assert_array_equal(null_gradient, given)
    held = [value for value in vars(paths[1]).values() if isinstance(value, np.ndarray)]
    assert n_features == 12 or all(
        value.dtype == bool for value in held if value.size == n_features
    )
    np.testing.assert_array_equal(paths[1].coef, kept.coef)


@pytest.mark.parametrize("overwrite_gradient", [False, True])
@pytest.mark.parametrize("at_once", [7, 131_072])
def test_features_are_looked_at_in_pieces_and_gradients_share_their_room(
    at_once, overwrite_gradient, monkeypatch
):
    X, y = correlated(60, 400)
    problem = make_problem(X, y, {"p": 1.0, "alpha": 1.0})
    null_gradient = X.T @ problem.null_raw_gradient
    problem.set_gradient_scale(null_gradient)
    given = null_gradient.copy()
    alphas = np.abs(null_gradient).max() * np.geomspace(1.0, 1e-2, 20)
    monkeypatch.setattr(lasso_path, "FEATURES_AT_ONCE", at_once)
    # Strengths that are not announced: one at a time.
    path = LassoPath(problem, null_gradient, alphas[:1], True, overwrite_gradient)
    results = [path.fit(alpha, 1e-9, 1000) for alpha in alphas]
    assert (null_gradient == given).all() != overwrite_gradient
    monkeypatch.undo()
    expected = LassoPath(problem, given, alphas[:1], True)
    for alpha, result in zip(alphas, results, strict=True):
        np.testing.assert_array_equal(result.coef, expected.fit(alpha, 1e-9, 1000).coef)


def test_strengths_that_are_far_apart_are_reached_by_rungs(monkeypatch):
    X, y = correlated(60, 500)
    kernel, runs = lasso_path.lasso_on_gram, []

    def watched(matrix, factor, null_gradient, square, alphas, *rest):
        runs.append(alphas.copy())
        return kernel(matrix, factor, null_gradient, square, alphas, *rest)

    monkeypatch.setattr(lasso_path, "lasso_on_gram", watched)
    alpha = alpha_max(X, y, p=1.0) / 500.0
    model = SparseLpRegressor(alpha=alpha, tol=1e-10).fit(X, y)
    steps = np.concatenate(runs)
    assert steps[0] > 100.0 * alpha
    assert (steps[:-1] / steps[1:]).max() <= lasso_path.RUNG * (1.0 + 1e-12)
    theirs = Lasso(alpha=alpha, tol=1e-14, max_iter=10**6).fit(X, y)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-6)
    # Neighbours on a path need none, nor does a ridge.
    for options in ({"alphas": 100, "eps": 1e-2}, {"alphas": [alpha], "l2_reg": 0.1}):
        runs.clear()
        path = sparse_lp_path(X, y, **options)
        asked = np.concatenate(runs)
        assert np.isin(asked, path.alphas).all()
    # Together they take half of the epochs at most, and lead to the smallest of strengths.
    for max_iter in (50, 100, 1000):
        gaps = []
        for rung in (np.inf, 1.4):
            monkeypatch.setattr(lasso_path, "RUNG", rung)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model = SparseLpRegressor(alpha=alpha, tol=1e-15, max_iter=max_iter).fit(X, y)
            gaps.append(model.dual_gap_ / (0.5 * y.var()))
        assert gaps[1] <= max(2.0 * gaps[0], 1e-13)
    far = sparse_lp_path(1e3 * X, 1e3 * y, alphas=[1e5, 1e-308], max_iter=10**5, tol=1e-6)
    assert far.converged[0]
