"""Data that make solvers stall: fits and paths end in a certificate that holds or in a warning."""

import re
import warnings

import numpy as np
import pytest
from comparison.certificates import Certifier, Task
from engine import make_problem
from reference import Reference
from sklearn.exceptions import ConvergenceWarning

from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor, sparse_lp_path
from sklearn_sparselp._solvers import coordinate_descent, descent_state, direct, solve

N, TOL = 40, 1e-5
BOTH_NUMBERS = re.compile(r"(duality gap|fixed-point residual) \d\S* > \d\S*\. Increase")


def nearly_collinear(rng):
    base = rng.standard_normal((N, 10))
    return np.column_stack(
        [base + eps * rng.standard_normal(base.shape) for eps in (0.0, 1e-4, 1e-8, 1e-12)]
    )


def repeated(rng):
    base = rng.standard_normal((N, 12))
    return np.column_stack([base, base, -base, 3.0 * base])


def scales(rng):
    return rng.standard_normal((N, 30)) * np.logspace(-6, 6, 30)


def wide(rng):
    return rng.standard_normal((N, 300))


def neighbours(rng):
    """Genotypes 0, 1, 2 in blocks of the same ancestors: columns that differ in few samples."""
    ancestors = rng.integers(0, 3, size=(N, 60)).astype(float)
    X = np.repeat(ancestors, 10, axis=1)
    changed = rng.random(X.shape) < 0.02
    return np.where(changed, rng.integers(0, 3, size=X.shape), X)


DATA = {make.__name__: make for make in (nearly_collinear, repeated, scales, wide, neighbours)}


def draw(name):
    rng = np.random.default_rng(11)
    X = np.asfortranarray(DATA[name](rng))
    X -= X.mean(axis=0)
    size = np.linalg.norm(X, axis=0)
    y = (X / size)[:, ::7].sum(axis=1) + 0.1 * rng.standard_normal(N)
    return X, y - y.mean()


@pytest.mark.parametrize("fraction", [1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("name", DATA)
def test_a_fit_ends_in_a_certificate_or_in_a_warning_with_both_numbers(name, p, fraction):
    X, y = draw(name)
    certifier = Certifier(X, y)
    alpha = fraction * certifier.alpha_max(p)
    model = SparseLpRegressor(p=p, alpha=alpha, fit_intercept=False, tol=TOL, max_iter=3000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    assert np.isfinite(model.coef_).all()
    if caught:
        assert [w.category for w in caught] == [ConvergenceWarning]
        assert BOTH_NUMBERS.search(str(caught[0].message))
        return
    found = certifier(model.coef_, 0.0, Task(p, alpha))
    reached, rounding = (found.gap, 1e-9) if p >= 1 else (found.residual, 1e-9)
    assert reached <= TOL + rounding


# The gap of a fit may come of a better dual point than its last one, which this oracle takes.
@pytest.mark.parametrize("p", [0.5, 1.0])
@pytest.mark.parametrize("name", [name for name in DATA if name != "neighbours"])
def test_a_path_ends_in_certificates_or_in_one_warning(name, p):
    X, y = draw(name)
    certifier = Certifier(X, y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = sparse_lp_path(
            X, y, p, alphas=30, eps=1e-5, fit_intercept=False, tol=TOL, max_iter=3000
        )
    assert path.converged.all() or [w.category for w in caught] == [ConvergenceWarning]
    coefs = path.coefs if isinstance(path.coefs, np.ndarray) else path.coefs.toarray()
    # At alpha_max itself rounding decides whether p < 1 is still at 0.
    for k in np.flatnonzero(path.converged)[1::4]:
        found = certifier(coefs[k], 0.0, Task(p, path.alphas[k]))
        assert (found.gap if p == 1 else found.residual) <= TOL + 1e-9


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("name", DATA)
def test_a_fit_that_stops_early_has_the_best_objective_that_it_saw(name, p):
    X, y = draw(name)
    certifier = Certifier(X, y)
    alpha = 1e-3 * certifier.alpha_max(p)
    last = 0.5 * y @ y / N
    for max_iter in (1, 2, 3, 5, 8, 13, 34, 89):
        model = SparseLpRegressor(p=p, alpha=alpha, fit_intercept=False, tol=0.0, max_iter=max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)
        value = certifier(model.coef_, 0.0, Task(p, alpha)).objective
        assert value == pytest.approx(model.objective_, rel=1e-10)
        assert value <= last * (1.0 + 1e-9)
        last = value


@pytest.mark.parametrize("fraction", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("p", [0.5, 0.8, 0.9, 0.95, 1.0])
def test_squared_hinge_does_not_creep_where_the_classes_are_separated(p, fraction):
    # The loss is 0 in most directions: models of it say little about where to go, and steps
    # along them are short.
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.standard_normal((100, 500)))
    y = (X[:, :5].sum(axis=1) + 0.5 * rng.standard_normal(100) > 0.0).astype(np.float64)
    case = {"p": p, "loss": "squared_hinge"}
    gradient = X.T @ make_problem(X, y, {**case, "alpha": 0.0}).null_raw_gradient
    case["alpha"] = fraction * np.abs(gradient).max()
    (result,) = solve([make_problem(X, y, case)], solver="cd", tol=1e-6)
    assert result.converged
    assert result.n_iter <= 1000
    history = np.array(result.history)
    assert (np.diff(history) <= 1e-12 * history[:-1]).all()
    reference = Reference(X, y, **case)
    assert result.objective == pytest.approx(reference.objective(result.coef), rel=1e-9)
    # A gap says less about the residual.
    assert reference.fixed_point_residual(result.coef) <= (2e-6 if p < 1.0 else 1e-3)


@pytest.mark.parametrize("factored", [True, False])
def test_signs_that_never_stand_still_do_not_keep_newton_steps_away(monkeypatch, factored):
    # As on genotypes with repeated columns, where of 1640 signs some change in every epoch.
    if not factored:
        monkeypatch.setattr(descent_state, "most_factored", lambda n_samples: 0)
    X, y = draw("wide")
    for j in range(1, X.shape[1]):
        X[:, j] = 0.95 * X[:, j - 1] + 0.3 * X[:, j]
    certifier = Certifier(X, y)
    alpha = 1e-2 * certifier.alpha_max(1.0)
    sweep, max_iter = descent_state.sweep, 1000

    def restless(*terms):
        epochs, violation, _ = sweep(*terms)
        # Of all coefficients, in every epoch.
        return epochs, violation, X.shape[1]

    monkeypatch.setattr(descent_state, "sweep", restless)
    model = SparseLpRegressor(alpha=alpha, fit_intercept=False, tol=1e-8, max_iter=max_iter)
    model.fit(X, y)
    assert model.n_iter_ < max_iter
    assert certifier(model.coef_, 0.0, Task(1.0, alpha)).gap <= 1.1e-8


def test_passes_that_bring_nothing_make_working_sets_be_solved_more_exactly(monkeypatch):
    X, y = draw("wide")
    tols = []

    def idle(self, features, tol, gap_limit, max_epochs):
        tols.append(tol)
        return 1

    monkeypatch.setattr(descent_state.DescentState, "descend", idle)
    monkeypatch.setattr(direct, "FEW_SAMPLES", 0)
    alpha = 1e-2 * Certifier(X, y).alpha_max(1.0)
    model = SparseLpRegressor(alpha=alpha, fit_intercept=False, max_iter=4)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    assert len(tols) == 4
    np.testing.assert_allclose(tols[1:], 0.1 * np.array(tols[:-1]))


@pytest.mark.parametrize("spread", [0.3, 0.03])
@pytest.mark.parametrize("positive", [False, True])
def test_as_many_coefficients_as_samples_end_in_a_certificate(spread, positive):
    # Columns of 20 common factors: working sets get more features than samples, and stay there.
    rng = np.random.default_rng(0)
    n, d = 320, 1200
    X = rng.standard_normal((n, 20)) @ rng.standard_normal((20, d))
    X += spread * rng.standard_normal((n, d))
    X = np.asfortranarray((X - X.mean(axis=0)) / X.std(axis=0))
    y = X[:, :30] @ rng.standard_normal(30) + rng.standard_normal(n)
    certifier = Certifier(X, y - y.mean())
    alpha = 1e-5 * certifier.alpha_max(1.0)
    model = SparseLpRegressor(alpha=alpha, fit_intercept=False, tol=1e-6, positive=positive)
    model.fit(X, y - y.mean())
    assert np.count_nonzero(model.coef_) <= n
    if not positive:
        assert certifier(model.coef_, 0.0, Task(1.0, alpha)).gap <= 1.1e-6
    else:
        assert (model.coef_ >= 0.0).all()
        gradient = X.T @ (X @ model.coef_ - y + y.mean()) / n
        assert gradient.min() >= -alpha * (1.0 + 1e-3)
        assert np.abs(gradient[model.coef_ > 0.0] + alpha).max() <= 1e-3 * alpha


def far_columns(n, d, seed=0):
    """Columns whose mean is 100 standard deviations and has no intercept: nearly the same one."""
    rng = np.random.default_rng(seed)
    X = np.asfortranarray(rng.standard_normal((n, d)) + 100.0)
    y = X[:, :5] @ np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    y = y - y.mean() + 0.5 * rng.standard_normal(n)
    return X, y, Certifier(X, y)


@pytest.mark.parametrize(("n", "d"), [(80, 200), (80, 300), (400, 2000)])
def test_small_steps_help_with_few_features_and_with_small_working_sets(n, d):
    X, y, certifier = far_columns(n, d)
    alpha = 1e-2 * certifier.alpha_max(1.0)
    model = SparseLpRegressor(alpha=alpha, fit_intercept=False, tol=1e-8).fit(X, y)
    assert certifier(model.coef_, 0.0, Task(1.0, alpha)).gap <= 1.1e-8
    assert model.n_iter_ < 1000


def test_a_path_that_misses_a_tight_tolerance_hands_on_what_it_has():
    X, y, certifier = far_columns(80, 2500)
    alpha = 1e-3 * certifier.alpha_max(1.0)
    loose = SparseLpRegressor(alpha=alpha, fit_intercept=False, tol=1e-4).fit(X, y)
    for tol in (1e-11, 1e-14, 0.0):
        tight = SparseLpRegressor(alpha=alpha, fit_intercept=False, tol=tol, max_iter=500)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            tight.fit(X, y)
        assert tight.objective_ <= loose.objective_ * (1.0 + 1e-9)
        assert tight.n_iter_ <= 500


def test_small_steps_that_end_at_max_iter_are_counted_and_their_end_is_kept():
    rng = np.random.default_rng(1)
    n, d = 200, 600
    X = rng.standard_normal((n, 200))[:, rng.integers(0, 200, d)]
    X = np.asfortranarray(X + 1e-3 * rng.standard_normal((n, d)))
    y = X[:, :20] @ rng.standard_normal(20)
    y = (y - y.mean()) / y.std() + 0.3 * rng.standard_normal(n)
    X -= X.mean(axis=0)
    y -= y.mean()
    certifier = Certifier(X, y)
    alpha = 1e-5 * certifier.alpha_max(1.0)
    last = np.inf
    for max_iter in (300, 401, 450, 600, 5000):
        model = SparseLpRegressor(alpha=alpha, fit_intercept=False, tol=1e-9, max_iter=max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)
        assert model.n_iter_ <= max_iter
        found = certifier(model.coef_, 0.0, Task(1.0, alpha))
        assert found.objective == pytest.approx(model.objective_, rel=1e-9)
        assert found.objective <= last * (1.0 + 1e-9)
        last = found.objective
    assert found.gap <= 1.1e-9


@pytest.mark.parametrize("tol", [1e-6, 1e-10, 1e-12])
@pytest.mark.parametrize("mean", [29.0, 290.0])
def test_gaps_of_columns_with_large_means_are_those_of_x(mean, tol):
    # Nearly one column, so that coefficients are large and cancel.
    rng = np.random.default_rng(16)
    n, d = 150, 100
    base = rng.standard_normal((n, 1)) + 0.05 * rng.standard_normal((n, d))
    X = (base - base.mean(axis=0)) / base.std(axis=0) + mean
    y = X @ rng.standard_normal(d) + rng.standard_normal(n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        path = sparse_lp_path(X, y, alphas=8, eps=1e-4, tol=tol)
    centred, rest = X - X.mean(axis=0), y - y.mean()
    certifier = Certifier(centred, rest)
    for k in range(8):
        coef = (
            path.coefs[[k]].toarray()[0]
            if not isinstance(path.coefs, np.ndarray)
            else path.coefs[k]
        )
        found = certifier(coef, 0.0, Task(1.0, path.alphas[k]))
        assert path.objectives[k] == pytest.approx(found.objective, rel=1e-9)
        # What X - mean rounds to shows in this gap, too.
        assert not path.converged[k] or found.gap <= 2.0 * tol + 1e-13 * mean**2


def test_log_loss_takes_no_detour_where_a_prediction_underflows(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 600))
    X[0] *= 5000.0
    y = (X[:, :5].sum(axis=1) + rng.standard_normal(400) > 0).astype(int)
    detours, detour = [], coordinate_descent._detour
    monkeypatch.setattr(
        coordinate_descent, "_detour", lambda *terms: detours.append(1) or detour(*terms)
    )
    model = SparseLpClassifier(alpha=1e-4, fit_intercept=False, tol=1e-6).fit(X, y)
    assert np.abs(X @ model.coef_[0]).max() > 745.0
    assert model.n_iter_[0] > coordinate_descent.DETOUR_FROM
    assert not detours


def test_targets_whose_loss_overflows_are_refused():
    X, y = draw("wide")
    for factor in (1e155, 1e300):
        with pytest.raises(ValueError, match="loss of y overflows"):
            SparseLpRegressor(alpha=factor).fit(X, factor * y)
    model = SparseLpRegressor(alpha=1e148).fit(X, 1e150 * y)
    assert np.isfinite(model.objective_)
    assert np.isfinite(model.dual_gap_)


@pytest.mark.parametrize(
    ("ratio", "options", "patience"),
    [
        (1000.0, {}, 0),
        (300.0, {}, 250),
        (100.0, {}, 400),
        (1000.0, {"positive": True}, 400),
        (1000.0, {"l2_reg": 1e-6}, 400),
    ],
)
def test_working_sets_that_stall_at_a_weak_penalty_give_way_early(ratio, options, patience):
    X = np.asfortranarray(np.random.default_rng(0).standard_normal((50, 200)))
    problem = make_problem(X, X[:, 0], {"p": 1.0, "alpha": 1.0 / ratio} | options)
    problem.set_gradient_scale(np.ones(200))
    assert coordinate_descent._patience(problem, np.arange(60), True) == patience
    assert coordinate_descent._patience(problem, np.arange(60), False) == max(patience, 250)
    assert coordinate_descent._patience(problem, np.arange(30), True) == 400


def test_a_fit_of_as_many_coefficients_as_samples_goes_on_in_small_steps_early(monkeypatch):
    # Noise on columns of which each is nearly the one before.
    rng = np.random.default_rng(0)
    n, d = 320, 2000
    X = np.asfortranarray(rng.standard_normal((n, d)))
    for j in range(1, d):
        X[:, j] = 0.98 * X[:, j - 1] + 0.2 * X[:, j]
    X -= X.mean(axis=0)
    y = rng.standard_normal(n)
    y -= y.mean()
    alpha = np.abs(X.T @ y).max() / n / 1000.0
    early = SparseLpRegressor(alpha=alpha, fit_intercept=False, tol=1e-6).fit(X, y)
    monkeypatch.setattr(coordinate_descent, "WEAK", np.inf)
    late = SparseLpRegressor(alpha=alpha, fit_intercept=False, tol=1e-6).fit(X, y)
    assert early.n_iter_ < 0.5 * late.n_iter_
    certifier = Certifier(X, y)
    for model in (early, late):
        assert certifier(model.coef_, 0.0, Task(1.0, alpha)).gap <= 1.1e-6
