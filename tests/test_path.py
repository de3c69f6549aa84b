"""alpha_max at its edge, and paths against single fits, scikit-learn and their own certificates."""

import inspect
import tracemalloc

import numpy as np
import pytest
from layouts import LAYOUTS
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lasso_path

from sklearn_sparselp import (
    SparseLpClassifier,
    SparseLpRegressor,
    alpha_max,
    sparse_lp_path,
)
from sklearn_sparselp.path import alpha_grid

RNG = np.random.default_rng(0)
N, D = 60, 25
X = RNG.normal(size=(N, D)) * RNG.uniform(0.5, 2.0, D)
X[RNG.random((N, D)) < 0.4] = 0.0
Y = X[:, :4] @ [1.0, -2.0, 0.5, 1.0] + RNG.normal(size=N)
WEIGHTS = RNG.integers(0, 4, N).astype(float)
TARGETS = {
    "squared_error": Y,
    "huber": Y,
    "poisson": np.floor(np.exp(0.3 * Y)),
    "gamma": np.exp(0.3 * Y),
    "log_loss": np.where(Y > 0.2, "yes", "no"),
    "squared_hinge": np.where(Y > 0.2, "yes", "no"),
    "multinomial": np.digitize(Y, [-1.0, 1.0]),
    "one_vs_rest": np.digitize(Y, [-1.0, 1.0]),
}
BOUNDED = [name for name in TARGETS if name not in ("poisson", "gamma")]


def loss_of(name):
    return {"multinomial": "log_loss", "one_vs_rest": "squared_hinge"}.get(name, name)


def estimator(name, **parameters):
    loss = loss_of(name)
    kind = SparseLpClassifier if loss in ("log_loss", "squared_hinge") else SparseLpRegressor
    return kind(loss=loss, tol=1e-9, max_iter=20000, **parameters)


def check_edge(name, X, weights=None, **parameters):
    """All penalised coefficients are zero just above alpha_max, not all just below."""
    y = TARGETS[name]
    top = alpha_max(X, y, loss=loss_of(name), sample_weight=weights, **parameters)
    assert 0.0 < top < np.inf
    factor = parameters.get("penalty_factor")
    penalised = slice(None) if factor is None else np.asarray(factor) > 0.0
    for step, expected in ((1e-5, False), (-1e-3, True)):
        model = estimator(name, alpha=top * (1.0 + step), **parameters).fit(X, y, weights)
        assert np.atleast_2d(model.mask_)[:, penalised].any() == expected


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", TARGETS)
def test_alpha_max_is_where_the_first_coefficient_of_an_l1_penalty_enters(name, fit_intercept):
    check_edge(name, X, fit_intercept=fit_intercept)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("p", [0.0, 0.5, 2.0 / 3.0, 0.9, 1.0])
@pytest.mark.parametrize("name", BOUNDED)
def test_alpha_max_is_the_edge_for_p_up_to_1_with_and_without_mask(name, p, threshold):
    if name in ("log_loss", "multinomial") or threshold < 0.4:
        check_edge(name, X, p=p, sparsity_threshold=threshold)


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("name", ["squared_error", "log_loss"])
def test_alpha_max_of_a_mask_is_finite_above_p_1_and_infinite_without_one(name, p):
    check_edge(name, X, p=p, sparsity_threshold=0.05)
    assert alpha_max(X, TARGETS[name], p, loss=loss_of(name)) == np.inf


@pytest.mark.parametrize("layout", LAYOUTS)
def test_alpha_max_does_not_depend_on_storage(layout):
    top = alpha_max(LAYOUTS[layout](X), Y, 0.5)
    np.testing.assert_allclose(top, alpha_max(X, Y, 0.5), rtol=1e-5 if "32" in layout else 1e-12)


@pytest.mark.parametrize("name", ["squared_error", "log_loss", "poisson"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"l2_reg": 0.3},
        {"penalty_factor": np.linspace(0.2, 3.0, D)},
        {"penalty_factor": np.where(np.arange(D) < 2, 0.0, 1.0)},
        {"penalty_factor": np.where(np.arange(D) < 2, np.inf, 1.0)},
    ],
    ids=["ridge", "factors", "unpenalised", "dropped"],
)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_alpha_max_counts_ridge_factors_and_weights(name, parameters, weights):
    check_edge(name, X, weights, **parameters)


def test_alpha_max_of_a_sign_constraint_looks_at_one_side():
    check_edge("squared_error", X, positive=True)
    check_edge("squared_error", X, positive=True, p=0.5)


def test_alpha_max_of_class_weights():
    check_edge("log_loss", X, class_weight="balanced")


def test_alpha_max_of_a_constant_target_is_0_and_its_path_is_zero():
    assert alpha_max(X, np.full(N, 3.0)) == 0.0
    path = sparse_lp_path(X, np.full(N, 3.0), alphas=4)
    assert path.df.tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(path.intercepts, 3.0)


def test_grid_is_geometric_and_ends_where_it_should():
    grid = alpha_grid(2.0, 5, 1e-2)
    np.testing.assert_allclose(grid, 2.0 * 10.0 ** np.array([0.0, -0.5, -1.0, -1.5, -2.0]))
    assert alpha_grid(2.0, 1).tolist() == [2.0]


@pytest.mark.parametrize("solver", ["cd", "pg"])
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_a_convex_path_has_the_solutions_of_single_fits(name, p, solver):
    y = TARGETS[name]
    path = sparse_lp_path(
        X, y, p, loss=loss_of(name), alphas=6, eps=1e-2, tol=1e-9, max_iter=20000, solver=solver
    )
    coefs = [path.coefs] if isinstance(path.coefs, np.ndarray | sparse.csr_array) else path.coefs
    for k, alpha in enumerate(path.alphas):
        single = estimator(name, p=p, alpha=alpha).fit(X, y)
        rows = np.array([c[[k]].toarray()[0] if sparse.issparse(c) else c[k] for c in coefs])
        np.testing.assert_allclose(rows, np.atleast_2d(single.coef_), atol=1e-4)
        np.testing.assert_allclose(path.objectives[k], np.sum(single.objective_), rtol=1e-8)
        assert path.df[k] == np.count_nonzero(rows)
    assert path.converged.all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_l1_path_is_that_of_scikit_learn_for_every_storage(layout):
    centred = Y - Y.mean()
    alphas = alpha_grid(alpha_max(X, centred, fit_intercept=False), 20)
    coefs = lasso_path(X, centred, alphas=alphas, tol=1e-12, max_iter=100000)[1]
    path = sparse_lp_path(LAYOUTS[layout](X), centred, alphas=alphas, fit_intercept=False, tol=1e-9)
    single = path.coefs.dtype == np.float32
    np.testing.assert_allclose(path.alphas, alphas)
    found = path.coefs.toarray() if sparse.issparse(path.coefs) else path.coefs
    np.testing.assert_allclose(found, coefs.T, atol=1e-4 if single else 1e-6)
    assert single == (LAYOUTS[layout](X).dtype == np.float32)


@pytest.mark.parametrize("solver", ["cd", "pg"])
@pytest.mark.parametrize("threshold", [0.0, 0.05])
@pytest.mark.parametrize("p", [0.0, 0.5, 2.0 / 3.0])
def test_a_path_below_p_1_ends_in_fixed_points_at_every_alpha(p, threshold, solver):
    options = {"sparsity_threshold": threshold, "tol": 1e-7, "solver": solver}
    path = sparse_lp_path(X, Y, p, alphas=15, **options)
    assert (path.fixed_point_residuals <= 1e-7).all()
    assert path.df[0] == 0
    assert path.df[-1] > 3
    again = sparse_lp_path(X, Y, p, alphas=15, **options)
    np.testing.assert_array_equal(path.objectives, again.objectives)


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_continuation_from_the_lasso_never_raises_the_objective_of_its_alpha(p):
    path = sparse_lp_path(X, Y, p, alphas=15, continuation=True, tol=1e-8)
    assert (path.fixed_point_residuals <= 1e-8).all()
    plain = sparse_lp_path(X, Y, p, alphas=path.alphas, tol=1e-8)
    # The first alpha at which they part had both starts to choose from.
    apart = np.flatnonzero(np.abs(path.objectives / plain.objectives - 1.0) > 1e-7)
    assert apart.size == 0 or path.objectives[apart[0]] < plain.objectives[apart[0]]
    assert path.objectives.sum() <= plain.objectives.sum() * (1.0 + 1e-9)


def test_unpenalised_features_are_fitted_first():
    factor = np.where(np.arange(D) < 2, 0.0, 1.0)
    path = sparse_lp_path(X, Y, penalty_factor=factor, alphas=5, tol=1e-9)
    assert path.df[0] == 2
    design = np.column_stack([np.ones(N), X[:, :2]])
    expected = np.linalg.lstsq(design, Y)[0]
    np.testing.assert_allclose(path.coefs[0, :2], expected[1:], rtol=1e-4)


def test_weights_are_repetitions_along_a_path():
    repeated = np.repeat(np.arange(N), WEIGHTS.astype(int))
    weighted = sparse_lp_path(X, Y, alphas=10, sample_weight=WEIGHTS, tol=1e-10)
    plain = sparse_lp_path(X[repeated], Y[repeated], alphas=10, tol=1e-10)
    np.testing.assert_allclose(weighted.alphas, plain.alphas, rtol=1e-10)
    np.testing.assert_allclose(weighted.objectives, plain.objectives, rtol=1e-8)


def test_a_path_on_many_features_takes_the_memory_of_its_coefficients():
    wide = sparse.random_array((50, 200_000), density=1e-3, rng=np.random.default_rng(1)).tocsr()
    y = wide @ np.where(np.arange(200_000) % 20_000 == 7, 3.0, 0.0) + RNG.normal(size=50)
    tracemalloc.start()
    path = sparse_lp_path(wide, y, alphas=50, eps=0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sparse.issparse(path.coefs)
    assert path.coefs.shape == (50, 200_000)
    # Dense it would be 80 MB.
    assert peak < 40e6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": 0}, "alphas must be an integer >= 1 or an array, got 0"),
        ({"alphas": []}, "non-empty vector"),
        ({"alphas": [1.0, -2.0]}, "alphas must be finite and >= 0, got -2"),
        ({"alphas": [[1.0]]}, "non-empty vector"),
        ({"alphas": "many"}, "non-empty vector"),
        ({"eps": 0.0}, r"eps must lie in \(0, 1\], got 0.0"),
        ({"eps": 2}, r"eps must lie in \(0, 1\], got 2"),
        ({"p": -1.0}, "'p'.*Got -1"),
        ({"loss": "cubic"}, "'loss'.*Got 'cubic'"),
        ({"continuation": 1}, "continuation must be a bool, got 1"),
        ({"class_weight": "balanced"}, "loss='squared_error' has no class_weight"),
        ({"loss": "log_loss", "positive": True}, "loss='log_loss' has no positive"),
        ({"solver": "gd"}, "solver='gd' needs p > 1"),
    ],
)
def test_wrong_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        sparse_lp_path(X, Y, **options)


def test_two_targets_are_refused():
    with pytest.raises(ValueError, match=r"y has shape \(60, 2\)"):
        sparse_lp_path(X, np.column_stack([Y, Y]))


def test_one_warning_speaks_for_all_fits_and_points_at_the_caller():
    line = inspect.currentframe().f_lineno + 2
    with pytest.warns(ConvergenceWarning, match=r"of 20 fits of the path.*duality gap") as seen:
        sparse_lp_path(X, Y, alphas=20, loss="huber", max_iter=1, tol=1e-12)
    assert [(warning.filename, warning.lineno) for warning in seen] == [(__file__, line)]


def test_verbose_prints_a_line_for_each_alpha(capsys):
    sparse_lp_path(X, Y, alphas=3, verbose=1)
    assert capsys.readouterr().out.count("alpha") == 3
