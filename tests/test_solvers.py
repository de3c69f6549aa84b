"""What every solver of the registry has in common, on every problem that it accepts."""

import re
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
from engine import fit_engine, make_problem, targets
from layouts import LAYOUTS, regression
from reference import Reference
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_sparselp import SparseLpRegressor
from sklearn_sparselp._solvers import (
    SOLVERS,
    Design,
    coordinate_descent,
    iterate,
    solve,
)
from sklearn_sparselp._threads import one_blas_thread

STORED = ["dense_c", "dense_f", "csr_array_int32", "csc_array_int64"]
FACTORS = np.array([1.0, 0.5, 0.0, 1.0, 2.0, np.inf, 1.0, 1.0, 1.0, 1.0, 0.2, 1.0])

CONVEX = [
    {"p": 1.0, "alpha": 0.1},
    {"p": 1.0, "alpha": 0.1, "positive": True, "fit_intercept": False},
    {"p": 1.0, "alpha": 0.1, "loss": "huber", "epsilon": 0.5},
    {"p": 1.5, "alpha": 0.1},
    {"p": 1.5, "alpha": 0.1, "loss": "huber", "epsilon": 0.5, "l2_reg": 0.1},
    {"p": 2.0, "alpha": 0.1, "penalty_factor": FACTORS},
    {"p": 3.0, "alpha": 0.1, "fit_intercept": False},
    {"p": 1.0, "alpha": 0.02, "loss": "log_loss"},
    {"p": 1.5, "alpha": 0.02, "loss": "log_loss", "penalty_factor": FACTORS},
    {"p": 1.0, "alpha": 0.05, "loss": "squared_hinge"},
    {"p": 2.0, "alpha": 0.05, "loss": "squared_hinge", "positive": True},
    {"p": 1.0, "alpha": 0.05, "loss": "poisson"},
    {"p": 2.0, "alpha": 0.05, "loss": "poisson", "fit_intercept": False},
    {"p": 1.0, "alpha": 0.05, "loss": "gamma"},
    {"p": 1.5, "alpha": 0.05, "loss": "gamma", "l2_reg": 0.1},
]
NONCONVEX = [
    {"p": 0.0, "alpha": 0.05},
    {"p": 0.5, "alpha": 0.05},
    {"p": 0.5, "alpha": 0.05, "penalty_factor": FACTORS, "l2_reg": 0.02},
    {"p": 0.5, "alpha": 0.05, "loss": "huber", "epsilon": 0.5},
    {"p": 1.0, "alpha": 0.05, "sparsity_threshold": 0.3},
    {"p": 2.0, "alpha": 0.01, "sparsity_threshold": 0.3},
    {"p": 1.5, "alpha": 0.05, "sparsity_threshold": 0.3, "positive": True},
    {"p": 2.0, "alpha": 0.01, "sparsity_threshold": 0.1, "loss": "huber", "epsilon": 1.0},
    {"p": 0.5, "alpha": 0.01, "loss": "log_loss"},
    {"p": 2.0, "alpha": 0.01, "loss": "log_loss", "sparsity_threshold": 0.2},
    {"p": 0.0, "alpha": 0.02, "loss": "squared_hinge"},
    {"p": 0.5, "alpha": 0.02, "loss": "poisson"},
    {"p": 1.5, "alpha": 0.02, "loss": "poisson", "sparsity_threshold": 0.1},
    {"p": 0.0, "alpha": 0.02, "loss": "gamma"},
    {"p": 2.0, "alpha": 0.02, "loss": "gamma", "sparsity_threshold": 0.1},
]


def pairs(cases):
    """Every solver with every problem that the registry lets it have."""
    return [
        pytest.param(solver, case, id=",".join([solver, *(f"{k}={v}" for k, v in case.items())]))
        for solver, row in SOLVERS.items()
        for case in cases
        if case["p"] > 1.0 or not row.smooth_only
    ]


def data(seed=11, case=None):
    X, y = regression(seed, 40, 12, density=0.7)
    y = y if case is None else targets(case, y)
    return X, y, np.random.default_rng(seed).integers(0, 3, 40).astype(np.float64)


def correlated():
    """Neighbouring columns are nearly alike: one iteration is not enough for any solver."""
    rng = np.random.default_rng(0)
    X = np.cumsum(rng.normal(size=(60, 40)), axis=1)
    return X, rng.normal(size=60) + X[:, 20]


@pytest.mark.parametrize(("solver", "case"), pairs(CONVEX))
@pytest.mark.parametrize("layout", STORED)
def test_convex_problems_end_at_the_optimum(solver, case, layout):
    X, y, weights = data(case=case)
    stored = LAYOUTS[layout](X)
    model = fit_engine(stored, y, weights, solver=solver, tol=1e-10, max_iter=50_000, **case)
    reference = Reference(X, y, sample_weight=weights, **case)
    w, b = reference.convex_optimum()
    best, null = reference.objective(w, b), reference.objective(np.zeros(12))
    assert reference.objective(model.coef_, model.intercept_) <= best + 1.1e-10 * null
    np.testing.assert_allclose(model.coef_, w, atol=1e-3)


@pytest.mark.parametrize(("solver", "case"), pairs(NONCONVEX))
@pytest.mark.parametrize("layout", STORED)
def test_other_problems_end_at_a_fixed_point(solver, case, layout):
    X, y, weights = data(case=case)
    stored = LAYOUTS[layout](X)
    model = fit_engine(stored, y, weights, solver=solver, tol=1e-7, max_iter=50_000, **case)
    reference = Reference(X, y, sample_weight=weights, **case)
    assert np.count_nonzero(model.coef_) > 0
    assert reference.fixed_point_residual(model.coef_) <= 1.01e-7
    assert model.objective_ < reference.objective(np.zeros(12))


@pytest.mark.parametrize(("solver", "case"), pairs(CONVEX + NONCONVEX))
def test_the_objective_never_rises(solver, case):
    # Far from a solution, but not where exp overflows.
    far = 3.0 if case.get("loss") in ("poisson", "gamma") else 30.0
    for seed, scale in ((11, 1.0), (12, far)):
        X, y, weights = data(seed, case)
        start = scale * np.random.default_rng(seed).normal(size=12)
        reference = Reference(X, y, sample_weight=weights, **case)
        for coef in (np.zeros(12), start):
            problem = make_problem(X, y, case, weights)
            result = solve([problem], solver=solver, tol=1e-8, max_iter=50_000, coef_init=[coef])[0]
            assert result.solver == solver
            assert len(result.history) > 1
            assert (np.diff(result.history) <= 1e-13 * result.history[0]).all()
            assert result.history[-1] == result.objective
            expected = reference.masked_objective(result.coef, result.intercept)
            assert result.objective == pytest.approx(expected, rel=1e-12)


QUADRATIC = [case for case in CONVEX + NONCONVEX if not {"loss", "penalty_factor"} & set(case)]


@pytest.mark.parametrize(("solver", "case"), pairs(QUADRATIC))
def test_one_more_iteration_never_ends_higher(solver, case):
    # For squared error, where a limit cuts a run off but does not change its course.
    X, y = correlated()
    best = np.inf
    for max_iter in (1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 30, 50, 100):
        problem = make_problem(X, y, case)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            result = solve([problem], solver=solver, tol=1e-10, max_iter=max_iter)[0]
        assert result.n_iter <= max_iter
        assert result.objective <= best * (1.0 + 1e-13)
        best = result.objective


@pytest.mark.parametrize(
    ("solver", "case"), pairs([case for case in CONVEX + NONCONVEX if "loss" in case])
)
def test_the_stopping_rule_is_the_certificate_of_the_contract(solver, case, monkeypatch):
    # Without the last Newton step, which improves what the rule has accepted already.
    monkeypatch.setattr(iterate, "polished", lambda *_: None)
    monkeypatch.setattr(coordinate_descent, "POLISH_STEPS", 0)
    X, y, weights = data(case=case)
    start = np.where(np.arange(12) < 3, 0.7, 0.0)
    reference = Reference(X, y, sample_weight=weights, **case)

    def run(tol):
        problem = make_problem(X, y, case, weights)
        return solve([problem], solver=solver, tol=tol, max_iter=50_000, coef_init=[start])[0]

    first = run(1e30)
    assert np.array_equal(first.coef, start)
    level = reference.fixed_point_residual(start)
    if case in CONVEX:
        level = first.dual_gap / reference.objective(np.zeros(12))
    assert len(run(level * (1.0 + 1e-9)).history) == 1
    assert len(run(level * (1.0 - 1e-9)).history) > 1


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize(("solver", "case"), pairs([CONVEX[0], CONVEX[4], *NONCONVEX[1:4]]))
def test_two_fits_are_identical_to_the_last_bit(solver, case, layout):
    X, y, weights = data()
    X = LAYOUTS[layout](X)
    first, second = (
        SparseLpRegressor(solver=solver, max_iter=50_000, **case).fit(X, y, sample_weight=weights)
        for _ in range(2)
    )
    assert np.array_equal(first.coef_, second.coef_)
    assert first.intercept_ == second.intercept_
    assert first.objective_ == second.objective_
    assert first.n_iter_ == second.n_iter_


@pytest.mark.parametrize(
    ("solver", "case"), pairs([CONVEX[0], CONVEX[3], *NONCONVEX[:2], *NONCONVEX[3:7]])
)
def test_a_limit_reached_is_a_warning_with_both_numbers_and_a_usable_model(solver, case):
    X, y = correlated()
    model = SparseLpRegressor(solver=solver, max_iter=1, tol=1e-12, **case)
    with pytest.warns(ConvergenceWarning, match=r"max_iter=1\b") as caught:
        model.fit(X, y)
    value, limit = re.search(r" (\S+) > (\d\S+\d)\. ", str(caught[0].message)).groups()
    reference = Reference(X, y, **case)
    null = reference.objective(np.zeros(40))
    if "duality gap" in str(caught[0].message):
        assert case in CONVEX
        expected = model.dual_gap_, 1e-12 * null
    else:
        assert case in NONCONVEX
        expected = model.fixed_point_residual_, 1e-12
    assert (value, limit) == tuple(f"{number:.2e}" for number in expected)
    assert model.n_iter_ == 1
    assert model.objective_ <= null * (1.0 + 1e-15)
    assert model.objective_ == pytest.approx(
        reference.masked_objective(model.coef_, model.intercept_), rel=1e-12
    )
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize(("solver", "case"), pairs([CONVEX[0], CONVEX[3], *NONCONVEX[1:7]]))
def test_a_solution_is_kept_by_the_next_warm_start(solver, case):
    X, y, _ = data()
    model = SparseLpRegressor(solver=solver, tol=1e-6, max_iter=50_000, warm_start=True, **case)
    first = model.fit(X, y).coef_
    cost = model.n_iter_
    assert np.abs(model.fit(X, y).coef_ - first).max() <= 1e-3
    assert model.n_iter_ <= max(cost // 2, 1)


@pytest.mark.parametrize("case", CONVEX + NONCONVEX, ids=str)
def test_auto_is_one_of_the_registry_and_ends_where_that_one_does(case):
    X, y, weights = data(case=case)
    automatic = solve([make_problem(X, y, case, weights)])[0]
    chosen = solve([make_problem(X, y, case, weights)], solver=automatic.solver)[0]
    assert automatic.converged
    assert np.array_equal(automatic.coef, chosen.coef)


@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize(("solver", "case"), pairs([CONVEX[0], CONVEX[3], *NONCONVEX[1:3]]))
def test_outputs_side_by_side_are_the_same_as_one_by_one(solver, case, layout):
    X, y, weights = data()
    X = LAYOUTS[layout](X)
    Y = np.column_stack([y, -2.0 * y[::-1], np.zeros(40)])
    model = SparseLpRegressor(solver=solver, tol=1e-8, max_iter=50_000, **case)
    together = model.fit(X, Y, sample_weight=weights)
    coef, intercept, n_iter = together.coef_, together.intercept_, together.n_iter_
    for k in range(3):
        alone = model.fit(X, Y[:, k], sample_weight=weights)
        np.testing.assert_allclose(coef[k], alone.coef_, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(intercept[k], alone.intercept_, rtol=1e-10, atol=1e-13)
        assert n_iter[k] == alone.n_iter_


INTERRUPTED = """
    import os, signal, sys, threading, time, warnings
    import numpy as np
    from scipy import sparse
    from sklearn_sparselp import SparseLpRegressor, SparseLpRegressorCV, sparse_lp_path
    from sklearn_sparselp._core._cd import QuadraticModel, sweep
    from sklearn_sparselp._core._local_search import local_search
    from sklearn_sparselp._core._penalty import LpPenalty, entry_gradients
    from sklearn_sparselp._solvers import SOLVERS

    rng = np.random.default_rng(0)
    X = np.cumsum(rng.normal(size=(300, 600)), axis=1)
    y = rng.normal(size=300)

    def endless_kernel():
        one = np.ones(1)
        penalty = LpPenalty(1, 1.0, 0.0).bind(one)
        where = np.zeros(1, dtype=np.int64)
        model = QuadraticModel(penalty, where, np.zeros(1), np.ones(1), 1.0, one, None, 1.0, True)
        sweep(np.ones(1), where, where, where + 1, model, 2**62, -1.0, -1, where[:0])

    def endless_search():
        # Below p = 1 on a Gram matrix; no violation is small enough.
        Z = rng.normal(size=(100, 60))
        matrix, target = Z.T @ Z / 100, rng.normal(size=60)
        lipschitz, n = np.diag(matrix).copy(), 60
        penalty = LpPenalty(n, 0.5, 1e-3).bind(lipschitz)
        local_search(
            matrix, np.arange(n), lipschitz, entry_gradients(penalty, lipschitz), target, penalty,
            -1.0, 2**62, 0, np.zeros(n), np.empty(11 * n), np.empty((n, n)),
            np.zeros(n + 1, dtype=np.int32), np.empty(3 * n, dtype=np.int32),
        )

    def fit(solver, X):
        p = 1.5 if SOLVERS[solver].smooth_only else 0.5
        SparseLpRegressor(p, 1e-4, solver=solver, tol=0.0, max_iter=10**9).fit(X, y)

    def folds_in_threads():
        # A fold is one long call of a kernel, in a thread that no signal reaches.
        Z = rng.normal(size=(400, 200))
        target = Z @ rng.normal(size=200)
        SparseLpRegressorCV(alphas=100_000, eps=1e-6, cv=4, n_jobs=2).fit(Z, target)

    def model_path():
        # One call of a kernel for all strengths.
        Z = rng.normal(size=(2000, 40))
        labels = Z[:, 0] + rng.logistic(size=2000) > 0.0
        sparse_lp_path(Z, labels, loss="log_loss", alphas=100_000, eps=0.1)

    tasks = [("kernel", endless_kernel), ("search", endless_search), ("folds", folds_in_threads)]
    tasks.append(("log loss path", model_path))
    for solver in SOLVERS:
        tasks.append((solver + " dense", lambda solver=solver: fit(solver, X)))
        tasks.append((solver + " sparse", lambda solver=solver: fit(solver, sparse.csr_array(X))))
    # A process in the background starts without a handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, task in tasks:
        sent = []

        def interrupt():
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        timer = threading.Timer(0.3, interrupt)
        timer.start()
        try:
            task()
        except KeyboardInterrupt:
            print(name, "after", time.perf_counter() - sent[0], flush=True)
        else:
            timer.cancel()
            print(name, "was not interrupted", flush=True)
"""


def test_ctrl_c_ends_a_fit_within_a_second():
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 4 + 2 * len(SOLVERS)
    seconds = [float(re.fullmatch(r".+ after (\S+)", line).group(1)) for line in lines]
    assert max(seconds) < 1.0, lines


def test_blas_has_one_thread_during_a_fit_and_its_own_number_afterwards():
    def count():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    design = Design(np.zeros((200, 100), order="F"))
    with threadpool_limits(limits=2, user_api="blas"):
        before = count()
        with one_blas_thread(design.n_stored):
            assert count() == {1}
            with pytest.raises(KeyError), one_blas_thread(design.n_stored):
                raise KeyError
            assert count() == {1}
        assert count() == before
        with pytest.raises(KeyError), one_blas_thread(design.n_stored):
            raise KeyError
        assert count() == before
