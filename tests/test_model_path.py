"""The path for p = 1 and two classes or a log link, against scikit-learn, scipy and others."""

from threading import Event

import numpy as np
import pytest
from reference import Reference
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit, xlogy
from sklearn.linear_model import LogisticRegression
from sklearn_sparselp._core._loss import LogLoss
from sklearn_sparselp._core._penalty import LpPenalty

from sklearn_sparselp import (
    SparseLpClassifier,
    SparseLpClassifierCV,
    SparseLpRegressor,
    sparse_lp_path,
)
from sklearn_sparselp._solvers import Design, ModelPath, Problem, model_path
from sklearn_sparselp._solvers.design import ColumnBlock

L1 = {"penalty": "l1"} if LogisticRegression().penalty == "l2" else {"l1_ratio": 1}


def two_classes(n_samples, n_features, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    X[:, 1:] += 0.7 * X[:, :-1]
    X += rng.normal(size=n_features)
    w = np.where(np.arange(n_features) < 5, rng.normal(size=n_features), 0.0)
    score = (X - X.mean(axis=0)) @ w + noise * rng.logistic(size=n_samples)
    return X, np.where(score > 0.3, "yes", "no")


def dense(coefs):
    return coefs.toarray() if sparse.issparse(coefs) else coefs


@pytest.fixture
def both(monkeypatch):
    """Returns the path by models, the one without, and how many fits the former made."""

    def run(X, y, **options):
        counts = {"fits": 0, "left": 0}
        fit = ModelPath.fit

        def counting(self, *arguments):
            result = fit(self, *arguments)
            counts["left" if result is None else "fits"] += 1
            return result

        at_once = ModelPath.at_once

        def counting_all(self, *arguments):
            batch = at_once(self, *arguments)
            counts["fits"] += 0 if batch is None else len(batch)
            return batch

        options = {"loss": "log_loss"} | options
        with monkeypatch.context() as patch:
            patch.setattr(ModelPath, "fit", counting)
            patch.setattr(ModelPath, "at_once", counting_all)
            found = sparse_lp_path(X, y, **options)
        with monkeypatch.context() as patch:
            patch.setattr(ModelPath, "applies", staticmethod(lambda problem: False))
            general = sparse_lp_path(X, y, **options)
        return found, general, counts

    return run


CASES = {
    "plain": {},
    "ridge": {"l2_reg": 0.05},
    "no intercept": {"fit_intercept": False},
    "weights": {"sample_weight": np.arange(80) % 3 * 0.5},
    "class weights": {"class_weight": "balanced"},
    "ridge, no intercept": {"l2_reg": 0.05, "fit_intercept": False},
}


@pytest.mark.parametrize("n_features", [12, 400])
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_general_solver(both, case, n_features):
    X, y = two_classes(80, n_features)
    found, general, counts = both(X, y, alphas=15, eps=0.03, tol=1e-10, **CASES[case])
    assert counts == {"fits": 15, "left": 0}
    assert found.converged.all()
    np.testing.assert_allclose(found.objectives, general.objectives, rtol=1e-9)
    np.testing.assert_allclose(dense(found.coefs), dense(general.coefs), atol=1e-4)
    np.testing.assert_allclose(found.intercepts, general.intercepts, atol=1e-4)


def log_link(loss, n_samples, n_features, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    X[:, 1:] += 0.7 * X[:, :-1]
    mean = np.exp(0.5 * X[:, :4] @ rng.normal(size=4))
    return X, rng.poisson(mean).astype(float) if loss == "poisson" else rng.gamma(2.0, mean) + 1e-3


@pytest.mark.parametrize("case", ["plain", "ridge", "no intercept", "weights"])
@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_a_log_link_agrees_with_the_general_solver(both, loss, case):
    X, y = log_link(loss, 80, 30)
    found, general, counts = both(X, y, alphas=15, eps=0.03, tol=1e-10, loss=loss, **CASES[case])
    assert counts == {"fits": 15, "left": 0}
    assert found.converged.all()
    np.testing.assert_allclose(found.objectives, general.objectives, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(dense(found.coefs), dense(general.coefs), atol=1e-4)


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
@pytest.mark.parametrize("scale", [1e-2, 1e5])
def test_single_fits_with_a_log_link_reach_the_minimum_that_scipy_finds(loss, scale):
    # Newton's first model says little about means that differ by many orders.
    X, y = log_link(loss, 60, 8)
    y = np.where(np.arange(60) < 3, np.ceil(scale * y), y)
    alpha = 0.02
    model = SparseLpRegressor(alpha=alpha, loss=loss, tol=1e-12).fit(X, y)
    reference = Reference(X, y, p=1.0, alpha=alpha, loss=loss)
    best = reference.objective(*reference.convex_optimum())
    value = reference.objective(model.coef_, model.intercept_)
    assert value == pytest.approx(model.objective_, rel=1e-9)
    assert value <= best + 1e-9 * max(abs(best), 1.0)


@pytest.mark.parametrize("kind", ["C", "F", "csr", "csc", "float32"])
@pytest.mark.parametrize("n_features", [200, 400])
def test_any_storage(both, kind, n_features):
    X, y = two_classes(80, n_features)
    X[np.abs(X) < 0.8] = 0.0
    kinds = {
        "C": np.ascontiguousarray(X),
        "F": np.asfortranarray(X),
        "csr": sparse.csr_array(X),
        "csc": sparse.csc_array(X),
        "float32": X.astype(np.float32),
    }
    found, general, counts = both(kinds[kind], y, alphas=10, eps=0.05, tol=1e-8)
    assert counts == {"fits": 10, "left": 0}
    assert found.coefs.dtype == kinds[kind].dtype
    np.testing.assert_allclose(found.objectives, general.objectives, rtol=1e-7)


@pytest.mark.parametrize("n_features", [12, 400])
def test_agrees_with_scikit_learn(n_features):
    """Without intercept, which liblinear would penalise."""
    X, y = two_classes(80, n_features)
    options = {"alphas": 4, "eps": 0.1, "fit_intercept": False}
    path = sparse_lp_path(X, y, loss="log_loss", tol=1e-11, **options)
    for k in (1, 3):
        theirs = LogisticRegression(
            C=1.0 / (80 * path.alphas[k]), solver="liblinear", fit_intercept=False, tol=1e-9,
            max_iter=100_000, **L1,
        ).fit(X, y)  # fmt: skip
        np.testing.assert_allclose(dense(path.coefs)[k], theirs.coef_[0], atol=1e-4)


@pytest.mark.parametrize("n_features", [12, 400])
@pytest.mark.parametrize("l2_reg", [0.0, 0.05])
def test_no_point_that_scipy_finds_is_better(n_features, l2_reg):
    """Positive and negative parts, with bounds at 0; the intercept is free."""
    X, y = two_classes(80, n_features)
    sign = np.where(y == "yes", 1.0, -1.0)
    path = sparse_lp_path(X, y, loss="log_loss", alphas=5, eps=0.05, tol=1e-11, l2_reg=l2_reg)
    for k in (2, 4):

        def value(parts, alpha=path.alphas[k]):
            w = parts[:n_features] - parts[n_features:-1]
            margin = sign * (X @ w + parts[-1])
            slope = -sign * expit(-margin) / 80
            gradient = X.T @ slope + l2_reg * w
            penalty = alpha * parts[:-1].sum() + 0.5 * l2_reg * w @ w
            found = np.logaddexp(0.0, -margin).mean() + penalty
            return found, np.r_[gradient + alpha, alpha - gradient, slope.sum()]

        coef, bounds = dense(path.coefs)[k], [(0.0, None)] * (2 * n_features) + [(None, None)]
        ours = value(np.r_[np.maximum(coef, 0.0), np.maximum(-coef, 0.0), path.intercepts[k]])[0]
        options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-9}
        theirs = minimize(
            value, np.zeros(2 * n_features + 1), jac=True, bounds=bounds, options=options
        ).fun
        assert path.objectives[k] == pytest.approx(ours, rel=1e-12)
        assert ours <= theirs + 1e-10
        assert theirs == pytest.approx(ours, rel=1e-5)


@pytest.mark.parametrize("n_features", [12, 400])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("l2_reg", [0.0, 0.05])
def test_gaps_are_those_of_a_dual_point(n_features, fit_intercept, l2_reg):
    """The scaled derivatives of the loss, and what each term is at its conjugate."""
    X, y = two_classes(80, n_features)
    label = (y == "yes").astype(float)
    options = {"fit_intercept": fit_intercept, "l2_reg": l2_reg, "tol": 1e-5}
    path = sparse_lp_path(X, y, loss="log_loss", alphas=8, eps=0.05, **options)
    for k, alpha in enumerate(path.alphas):
        w = dense(path.coefs)[k]
        f = X @ w + path.intercepts[k]
        slope = X.T @ (expit(f) - label) / 80
        scale = 1.0 if l2_reg else min(1.0, alpha / np.abs(slope).max())
        a = scale * np.abs(expit(f) - label)
        dual = -(xlogy(a, a) + xlogy(1.0 - a, 1.0 - a)).mean()
        if l2_reg:
            dual -= (np.maximum(np.abs(slope) - alpha, 0.0) ** 2).sum() / (2.0 * l2_reg)
        primal = np.logaddexp(0.0, np.where(label > 0.5, -f, f)).mean()
        primal += alpha * np.abs(w).sum() + 0.5 * l2_reg * w @ w
        assert path.objectives[k] == pytest.approx(primal, rel=1e-12)
        # The best dual point of a fit may be one of its earlier ones.
        assert path.dual_gaps[k] <= primal - dual + 1e-13
        if n_features == 12:
            assert path.dual_gaps[k] == pytest.approx(primal - dual, abs=1e-13)
        assert path.dual_gaps[k] <= 1e-5 * np.log(2.0)


def test_folds_of_few_sparse_features_score_as_dense_ones():
    """Strengths and scores, with intercepts, which the kernels of prediction want in one piece."""
    X, y = two_classes(80, 12)
    X[np.abs(X) < 0.5] = 0.0
    options = {"alphas": 8, "cv": 4, "tol": 1e-10}
    dense_rows = SparseLpClassifierCV(**options).fit(X, y)
    sparse_rows = SparseLpClassifierCV(**options).fit(sparse.csr_array(X), y)
    np.testing.assert_allclose(sparse_rows.cv_scores_, dense_rows.cv_scores_, atol=1e-5)
    assert sparse_rows.path_.intercepts.any()
    assert sparse_rows.path_.intercepts.flags.c_contiguous


def one_problem(n_features):
    X, y = two_classes(80, n_features)
    design = Design(np.asfortranarray(X))
    problem = Problem(
        design, (y == "yes").astype(float), LogLoss(), LpPenalty(n_features, 1.0, 0.01)
    )
    gradient = design.rmatvec(problem.null_raw_gradient[np.newaxis])[0]
    problem.set_gradient_scale(gradient)
    return problem, gradient


@pytest.mark.parametrize("n_features", [12, 400])
def test_matrices_serve_several_steps(monkeypatch, n_features):
    """A Newton model for each step would take 2 for each strength."""
    problem, gradient = one_problem(n_features)
    alphas = problem.gradient_scale * np.geomspace(1.0, 0.1, 40)
    path = ModelPath(problem, gradient, alphas, polish=False)
    made, gram = [], ColumnBlock.gram
    monkeypatch.setattr(
        ColumnBlock, "gram", lambda self, *a, **k: made.append(1) or gram(self, *a, **k)
    )
    assert all(path.fit(alpha, 1e-6, 100).dual_gap <= 1e-6 for alpha in alphas)
    assert len(made) <= 45


def test_few_features_end_where_another_thread_says_so():
    problem, gradient = one_problem(12)
    path = ModelPath(problem, gradient, np.array([0.05, 0.02]), polish=False)
    cancelled = Event()
    cancelled.set()
    assert path.at_once(1e-6, 100, cancelled) is None
    assert len(path.at_once(1e-6, 100)) == 2


@pytest.mark.parametrize("n_features", [200, 400])
@pytest.mark.parametrize("l2_reg", [0.0, 0.02])
def test_figures_are_those_of_a_single_fit(n_features, l2_reg):
    X, y = two_classes(80, n_features)
    # With more coefficients at the end the last steps would take too long.
    eps = 0.05 if n_features == 200 else 0.15
    path = sparse_lp_path(X, y, loss="log_loss", alphas=8, eps=eps, l2_reg=l2_reg)
    for k in (3, 7):
        model = SparseLpClassifier(p=1, alpha=path.alphas[k], l2_reg=l2_reg, tol=1e-12).fit(X, y)
        # Newton steps at the end: the coefficients hardly depend on tol.
        assert path.objectives[k] == pytest.approx(model.objective_[0], rel=1e-9)
        np.testing.assert_allclose(dense(path.coefs)[k], model.coef_[0], atol=1e-5)
        assert path.fixed_point_residuals[k] < 1e-7


def test_factors_constants_duplicates_and_dropped_features(both):
    X, y = two_classes(80, 60)
    X[:, 3] = 2.0
    X[:, 4] = X[:, 5]
    X[:, 6] = 0.0
    factor = np.linspace(0.5, 2.0, 60)
    factor[7] = np.inf
    found, general, counts = both(X, y, alphas=15, eps=0.03, tol=1e-9, penalty_factor=factor)
    assert counts["fits"] > 0
    assert not dense(found.coefs)[:, [3, 6, 7]].any()
    np.testing.assert_allclose(found.objectives, general.objectives, rtol=1e-8)


def test_separable_classes_and_a_saturated_support(both):
    """The loss goes to 0 and its curvature with it."""
    X, y = two_classes(30, 200, noise=0.0)
    found, general, counts = both(X, y, alphas=30, eps=1e-4, tol=1e-7, max_iter=5000)
    assert counts["fits"] > 20
    assert found.converged.all()
    np.testing.assert_allclose(found.objectives, general.objectives, rtol=1e-3, atol=1e-7)


def test_columns_of_any_scale(both):
    X, y = two_classes(80, 40)
    X *= np.geomspace(1e-3, 1e3, 40)
    found, general, counts = both(X, y, alphas=15, eps=0.01, tol=1e-8)
    assert counts["fits"] > 0
    np.testing.assert_allclose(found.objectives, general.objectives, rtol=1e-7)


@pytest.mark.parametrize("order", [0.5, 1.5])
def test_other_orders_go_to_the_general_solver(both, order):
    X, y = two_classes(80, 12)
    assert both(X, y, p=order, alphas=4)[2] == {"fits": 0, "left": 0}


def test_other_problems_go_to_the_general_solver(both):
    X, y = two_classes(80, 12)
    factor = np.r_[0.0, np.ones(11)]
    assert both(X, y, alphas=4, penalty_factor=factor)[2] == {"fits": 0, "left": 0}
    assert both(X, y, alphas=4, loss="squared_hinge")[2] == {"fits": 0, "left": 0}
    many, counts = log_link("poisson", 50, 400)
    assert both(many, counts, alphas=4, loss="poisson")[2] == {"fits": 0, "left": 0}
    X[:, 0] += 500.0 * X[:, 0].std()
    assert both(X, y, alphas=4)[2] == {"fits": 0, "left": 0}


def test_goes_on_where_others_have_fitted(both, monkeypatch):
    X, y = two_classes(80, 400)
    follow, calls = ModelPath._follow, []

    def failing(self, *arguments):
        calls.append(arguments)
        return 0 if len(calls) == 5 else follow(self, *arguments)

    monkeypatch.setattr(ModelPath, "_follow", failing)
    found, general, counts = both(X, y, alphas=12, eps=0.05, tol=1e-9)
    assert counts == {"fits": 11, "left": 1}
    np.testing.assert_allclose(found.objectives, general.objectives, rtol=1e-8)


def test_after_too_many_failures_all_is_left(both, monkeypatch):
    X, y = two_classes(80, 400)
    monkeypatch.setattr(model_path, "LARGEST", 2)
    found, general, counts = both(X, y, alphas=20, eps=0.01)
    assert counts["left"] > model_path.MOST_FAILURES
    np.testing.assert_allclose(found.objectives, general.objectives, rtol=1e-4)


def test_strengths_that_start_low_and_end_at_zero(both):
    X, y = two_classes(80, 30, noise=3.0)
    found, general, _ = both(X, y, alphas=np.array([0.02, 0.01, 0.0]), tol=1e-8)
    np.testing.assert_allclose(found.objectives, general.objectives, rtol=1e-6)


def test_hardly_more_than_one_pass_for_each_strength(monkeypatch):
    passes = []
    rmatvec = Design.rmatvec
    monkeypatch.setattr(Design, "rmatvec", lambda self, v: passes.append(1) or rmatvec(self, v))
    X, y = two_classes(80, 400)
    sparse_lp_path(X, y, loss="log_loss", alphas=40, eps=0.03)
    assert len(passes) <= 50


def test_max_iter_bounds_the_epochs():
    X, y = two_classes(80, 60)
    with pytest.warns(match="stopped at max_iter=1"):
        path = sparse_lp_path(X, y, loss="log_loss", alphas=8, eps=0.01, max_iter=1, tol=1e-12)
    assert (path.n_iters == 1).all()
