"""The comparison harness measures what it says: its own functions against independent answers."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import bench_predict
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from comparison import report
from comparison.certificates import Certifier, Task, conjugate, prox
from comparison.datasets import (
    ALWAYS,
    Dataset,
    Library,
    correlated_dense,
    open_stored,
    sparse_text,
    store,
)
from comparison.losses import LOSSES
from comparison.measure import Bench, Cell, Protocol, _extremes, loosest
from comparison.problems import PROBLEMS
from comparison.summary import summarise
from comparison.workers import TimeBoxError, Worker, WorkerError, store_tiny
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression


def _data(n_samples=40, n_features=60, seed=0, is_sparse=False):
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((n_samples, n_features)) + 0.3
    if is_sparse:
        X[generator.random(X.shape) < 0.7] = 0.0
    X[:, 7] = 0.0
    y = X[:, :5] @ generator.standard_normal(5) + 0.5 * generator.standard_normal(n_samples)
    return (sp.csc_matrix(X) if is_sparse else np.asfortranarray(X)), y - y.mean()


def _peer(task, **options):
    total = task.alpha + task.l2_reg
    model = ElasticNet(alpha=total, l1_ratio=task.alpha / total, **options)
    return model.set_params(fit_intercept=task.fit_intercept)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("l2_reg", [0.0, 0.1])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_gap_lies_between_suboptimality_and_the_gap_of_scikit_learn(
    is_sparse, l2_reg, fit_intercept
):
    X, y = _data(is_sparse=is_sparse)
    certifier = Certifier(X, y)
    task = Task(1.0, certifier.alpha_max(1.0, fit_intercept) / 20, l2_reg, fit_intercept)
    null_value, _ = certifier.null(fit_intercept)
    exact = _peer(task, tol=1e-14, max_iter=100_000).fit(X, y)
    best = certifier(exact.coef_, exact.intercept_, task)
    assert abs(best.gap) < 1e-9
    for max_iter in (1, 3, 10, 30):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = _peer(task, tol=1e-14, max_iter=max_iter).fit(X, y)
        found = certifier(model.coef_, model.intercept_, task)
        gap = found.gap * null_value
        assert found.objective - best.objective <= gap + 1e-12
        assert gap <= model.dual_gap_ * (1 + 1e-9) + 1e-12


def test_gap_is_a_bound_with_an_intercept_that_is_off():
    X, y = _data()
    certifier = Certifier(X, y)
    task = Task(1.0, certifier.alpha_max(1.0, True) / 20, 0.0, True)
    exact = _peer(task, tol=1e-14, max_iter=100_000).fit(X, y)
    best = certifier(exact.coef_, exact.intercept_, task).objective
    null_value, _ = certifier.null(True)
    for shift in (0.5, -0.5):
        found = certifier(exact.coef_, exact.intercept_ + shift, task)
        assert found.gap * null_value == pytest.approx(shift**2 / 2, rel=1e-6)
        assert found.objective - best == pytest.approx(shift**2 / 2, rel=1e-6)


@pytest.mark.parametrize("p", [1.5, 3.0])
@pytest.mark.parametrize("l2_reg", [0.0, 0.3])
def test_gap_vanishes_at_the_minimum_for_smooth_penalties(p, l2_reg):
    X, y = _data(n_features=9)
    task = Task(p, 0.2, l2_reg)
    certifier = Certifier(X, y)

    def objective(w):
        residual = y - X @ w
        return residual @ residual / 80 + 0.2 * np.sum(np.abs(w) ** p) + l2_reg / 2 * w @ w

    solved = scipy.optimize.minimize(objective, np.full(9, 0.1), method="BFGS", tol=1e-12)
    found = certifier(solved.x, 0.0, task)
    assert found.objective == pytest.approx(objective(solved.x), rel=1e-12)
    assert abs(found.gap) < 1e-6
    assert found.residual < 1e-3
    worse = certifier(solved.x + 0.01, 0.0, task)
    null_value, _ = certifier.null(False)
    assert worse.gap * null_value >= worse.objective - solved.fun > 0


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 4.0])
def test_conjugate_is_the_supremum_over_a_fine_grid(p):
    task = Task(p, 0.7, l2_reg=0.2)
    t = np.linspace(-20, 20, 400_001)
    for u in (-3.0, -0.5, 0.0, 0.4, 2.0):
        values = u * t - 0.7 * np.abs(t) ** p - 0.1 * t**2
        assert conjugate(np.array([u]), task)[0] == pytest.approx(values.max(), abs=1e-7)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 2 / 3, 0.9, 1.0, 1.5, 2.0, 3.0])
def test_prox_minimises_its_objective_on_a_grid(p):
    t = np.linspace(-4, 4, 800_001)
    z = np.array([-3.1, -1.7, -0.2, 0.0, 0.9, 1.3, 2.4])
    for scale in (0.05, 0.4, 1.1):
        found = prox(z, scale, p)
        for target, point in zip(z, found, strict=True):
            penalty = np.abs(t) ** p if p > 0 else t != 0
            least = np.min((t - target) ** 2 / 2 + scale * penalty)
            own = (point - target) ** 2 / 2 + scale * (abs(point) ** p if point else 0)
            assert own <= least + 1e-9


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.5, 2 / 3, 1.0])
def test_zero_is_a_fixed_point_from_alpha_max_on_and_not_below(p, fit_intercept):
    X, y = _data(is_sparse=True)
    certifier = Certifier(X, y + 1.0)
    alpha = certifier.alpha_max(p, fit_intercept)
    zero = np.zeros(X.shape[1])
    intercept = 1.0 + y.mean() if fit_intercept else 0.0

    def residual(factor):
        return certifier(zero, intercept, Task(p, factor * alpha, 0.0, fit_intercept)).residual

    assert residual(1 + 1e-9) == 0
    assert residual(1 - 1e-4) > 0


def test_residual_of_the_trap_at_zero_is_large():
    # the distance to the subdifferential is 0 at w = 0 for p < 1, the fixed-point violation is not
    X = np.asfortranarray(np.random.default_rng(0).standard_normal((50, 3)))
    certifier = Certifier(X, 5 * X[:, 0])
    assert certifier(np.zeros(3), 0.0, Task(0.5, 0.01)).residual > 0.5


def test_residual_equals_the_definition_coordinate_by_coordinate():
    X, y = _data(n_features=9)
    w = np.where(np.arange(9) % 3 == 0, 0.4, 0.0)
    w[7] = 0.0
    task = Task(0.5, 0.05, fit_intercept=True)
    intercept = float(np.mean(y - X @ w))
    violations, at_zero = [], []
    t = np.linspace(-6, 6, 1_200_001)
    for j in range(9):
        bound = np.var(X[:, j])
        at_zero.append(abs(np.mean(X[:, j] * (y - y.mean()))))
        if bound == 0:
            continue
        gradient = -np.mean(X[:, j] * (y - X @ w - intercept))
        z = w[j] - gradient / bound
        values = (t - z) ** 2 / 2 + task.alpha / bound * np.sqrt(np.abs(t))
        violations.append(bound * abs(w[j] - t[np.argmin(values)]))
    found = Certifier(X, y)(w, intercept, task)
    assert found.residual == pytest.approx(max(violations) / max(at_zero), rel=1e-4)
    assert found.support == 3
    assert math.isnan(found.gap)


TARGETS = {
    "squared_error": np.array([-1.0, 0.5, 2.0, 0.0]),
    "log_loss": np.array([-1.0, 1.0, 1.0, -1.0]),
    "poisson": np.array([0.0, 3.0, 1.0, 0.0]),
    "multinomial": np.array([0.0, 2.0, 1.0, 2.0]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_and_conjugates_of_losses_follow_from_their_values(name):
    loss, y = LOSSES[name], TARGETS[name]
    f = np.random.default_rng(1).standard_normal(loss.null_prediction(y, False).shape)
    gradient = loss.gradient(y, f)
    for place in np.ndindex(f.shape):
        step = np.zeros(f.shape)
        step[place] = 1e-6
        slope = (loss.value(y, f + step) - loss.value(y, f - step)) / 2e-6
        assert slope * y.size == pytest.approx(gradient[place], abs=1e-7)
    for scale in (1.0, 0.6):
        v = scale * gradient

        def unmet(flat, v=v):
            return loss.value(y, flat.reshape(f.shape)) - np.sum(v * flat.reshape(f.shape)) / y.size

        least = scipy.optimize.minimize(unmet, f.ravel(), method="BFGS", options={"gtol": 1e-9})
        assert loss.conjugate(y, v) == pytest.approx(-least.fun, abs=1e-7)


def _exact(task, X, y):
    """The minimum by a solver that is not compared here for this loss, or a smooth split of w."""
    if task.loss != "poisson":
        l1 = {"penalty": "l1"} if LogisticRegression().penalty == "l2" else {"l1_ratio": 1.0}
        model = LogisticRegression(
            C=1 / (y.size * task.alpha), **l1, solver="saga", tol=1e-12,
            max_iter=200_000, fit_intercept=False, random_state=0,
        ).fit(X, y)  # fmt: skip
        return model.coef_[0] if task.loss == "log_loss" else model.coef_
    d = X.shape[1]

    def split(parts):
        f = X @ (parts[:d] - parts[d:])
        slope = X.T @ (np.exp(f) - y) / y.size
        value = np.mean(np.exp(f) - y * f) + task.alpha * parts.sum()
        return value, np.concatenate([slope + task.alpha, task.alpha - slope])

    found = scipy.optimize.minimize(
        split, np.zeros(2 * d), jac=True, method="L-BFGS-B", bounds=[(0, None)] * (2 * d),
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000, "maxfun": 100_000},
    )  # fmt: skip
    return found.x[:d] - found.x[d:]


@pytest.mark.parametrize("name", ["log_loss", "poisson", "multinomial"])
def test_gap_of_other_losses_bounds_the_suboptimality_and_vanishes_at_the_minimum(name):
    X, y = _data(n_features=12)
    y = LOSSES[name].target(y, False)
    certifier = Certifier(X, y, name)
    task = Task(1.0, certifier.alpha_max(1.0) / 10, loss=name)
    coef = _exact(task, X, y)
    best = certifier(coef, 0.0, task)
    assert abs(best.gap) < 1e-7
    assert best.residual < 1e-4
    null_value, _ = certifier.null(False)
    for factor in (0.0, 0.5, 0.9, 1.1):
        found = certifier(factor * coef, 0.0, task)
        assert found.gap * null_value >= found.objective - best.objective > 1e-5
    zero = np.zeros(coef.shape)
    at_most = Task(1.0, certifier.alpha_max(1.0) * (1 + 1e-9), loss=name)
    assert certifier(zero, 0.0, at_most).residual == 0.0
    assert abs(certifier(zero, 0.0, at_most).gap) < 1e-8
    with pytest.raises(ValueError, match=f"one of '{name}', not of 'squared_error'"):
        certifier(zero, 0.0, Task(1.0, 0.1))


def test_data_sets_take_part_where_their_target_suits():
    counts, classes = np.arange(100) % 5 * 1.0, 1.0 + np.arange(100) % 4
    measured = np.linspace(-1, 1, 100)
    takes = {
        name: [problem.suits(y, False) for y in (counts, classes, measured)]
        for name, problem in PROBLEMS.items()
    }
    assert takes["lasso"] == takes["logistic"] == [True] * 3
    assert takes["poisson"] == [True, False, False]
    assert takes["multinomial"] == [True, True, False]
    assert PROBLEMS["lasso"].suits(measured, True)
    assert not PROBLEMS["logistic"].suits(measured, True)


@pytest.mark.parametrize(
    ("family", "peer"),
    [
        ("logistic", "scikit-learn-liblinear"),
        ("multinomial", "scikit-learn-saga"),
        ("poisson", None),
    ],
)
def test_a_run_of_another_loss_agrees_with_its_peer(family, peer, tmp_path):
    X, y = _data(n_samples=60, n_features=20)
    dataset = Dataset("tiny", X, np.floor(np.abs(y)) if family == "poisson" else np.sign(y))
    if family == "multinomial":
        dataset = Dataset("tiny", X, np.digitize(y, [-1, 1]) * 1.0)
    names = ["sparselp", peer] if peer else ["sparselp"]
    bench = Bench(names, Protocol(rounds=1), tmp_path / "run", say=lambda text: None)
    try:
        (cell,) = bench.run(dataset, [PROBLEMS[family]], [1e-6], divisors=[10])
    finally:
        bench.close()
    assert [result["status"] for result in cell.results.values()] == ["ok"] * len(names)
    assert summarise([cell])["findings"] == []
    assert all(result["gap"] <= 1e-6 for result in cell.results.values())


@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_path_is_judged_by_its_worst_strength_and_agrees_with_its_peer(is_sparse, tmp_path):
    dataset = Dataset("tiny", *_data(is_sparse=is_sparse))
    names = ["sparselp", "scikit-learn"]
    bench = Bench(names, Protocol(rounds=1), tmp_path / "run", say=lambda text: None)
    try:
        (cell,) = bench.run(dataset, [PROBLEMS["lasso-path"]], [1e-6])
    finally:
        bench.close()
    assert [result["status"] for result in cell.results.values()] == ["ok"] * 2
    assert summarise([cell])["findings"] == []
    assert cell.task.alphas[[0, -1]] == pytest.approx([cell.task.first_alpha, cell.task.alpha])
    assert cell.results["sparselp"]["objective"] == pytest.approx(
        cell.results["scikit-learn"]["objective"], abs=2e-6 * cell.null_value
    )
    certifier, task = Certifier(dataset.X, dataset.y), replace(cell.task, n_alphas=3)
    coefs = [
        _peer(replace(task, alpha=a), tol=1e-13).fit(dataset.X, dataset.y).coef_
        for a in task.alphas
    ]
    exact = certifier.path(coefs, np.zeros(3), task)
    assert exact.gap < 1e-12
    assert exact.support == np.count_nonzero(coefs[-1])
    for k in range(3):
        spoilt = [0.9 * coef if row == k else coef for row, coef in enumerate(coefs)]
        spoilt[k] = spoilt[k] + 1e-3 * (k == 0)
        single = certifier(spoilt[k], 0.0, replace(task, alpha=task.alphas[k]))
        worst = certifier.path(sp.csr_array(np.array(spoilt)), np.zeros(3), task)
        assert worst.gap == pytest.approx(single.gap)
        assert worst.residual == pytest.approx(single.residual)


def test_search_returns_the_loosest_sufficient_tolerance_from_either_side():
    for start in (1e-1, 1e-6):
        tried = []

        def attempt(tol, tried=tried):
            tried.append(tol)
            return tol <= 2e-3, tol

        tol, result = loosest(attempt, start)
        assert tol == result
        assert tol <= 2e-3 < tol * math.sqrt(10)
        assert len(tried) <= 10
    assert loosest(lambda tol: (False, "worst"), 1e-3) == (None, "worst")


def test_generated_sets_are_reproducible_and_have_their_structure():
    first = sparse_text(n_samples=300, n_features=500, per_row=20)
    again = sparse_text(n_samples=300, n_features=500, per_row=20)
    assert (first.X != again.X).nnz == 0
    np.testing.assert_array_equal(first.y, again.y)
    rows = first.X.tocsr()
    rows.sum_duplicates()
    assert set(np.diff(rows.indptr)) == {20}
    np.testing.assert_allclose(sp.linalg.norm(rows, axis=1), 1.0)
    counts = np.sort(np.diff(first.X.indptr))[::-1]
    assert counts[0] > 10 * max(1, counts[250])

    dense = correlated_dense(n_samples=400, n_features=50)
    lag = np.mean(dense.X[:, 1:] * dense.X[:, :-1]) / np.mean(dense.X**2)
    assert lag == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_stored_data_comes_back_in_both_layouts(is_sparse, tmp_path):
    X, y = _data(is_sparse=is_sparse)
    store(X, y, tmp_path / "set")
    columns, y_back = open_stored(tmp_path / "set", "columns")
    rows, _ = open_stored(tmp_path / "set", "rows")
    np.testing.assert_array_equal(y_back, y)
    if is_sparse:
        assert (columns.format, rows.format) == ("csc", "csr")
        columns, rows, X = columns.toarray(), rows.toarray(), X.toarray()
    else:
        assert columns.flags.f_contiguous
        assert rows.flags.c_contiguous
    np.testing.assert_array_equal(columns, X)
    np.testing.assert_array_equal(rows, X)


def test_a_data_folder_extends_the_library(tmp_path):
    (tmp_path / "load.py").write_text(
        "import numpy as np\n"
        "ALIASES = {'other': 'mine'}\n"
        "def names(): return ['mine', 'other']\n"
        "def load(name): return np.eye(3), np.arange(3)\n"
    )
    library = Library(tmp_path)
    assert library.names() == [*ALWAYS, "mine"]
    assert library.load("other").y.dtype == np.float64
    with pytest.raises(KeyError, match="no data set 'nothing'"):
        library.load("nothing")
    with pytest.raises(FileNotFoundError):
        Library(tmp_path / "elsewhere")


def test_a_run_reaches_its_target_and_ends_fits_that_take_too_long(tmp_path):
    X, y = _data(n_samples=60, n_features=200)
    dataset = Dataset("tiny", X, y + 3)
    bench = Bench(["scikit-learn"], Protocol(rounds=2), tmp_path / "run", say=lambda text: None)
    try:
        assert "scikit-learn" in bench.available()
        (cell,) = bench.run(dataset, [PROBLEMS["lasso"]], [1e-6], divisors=[10])
        result = cell.results["scikit-learn"]
        assert result["status"] == "ok"
        assert result["gap"] <= 1e-6
        exact = Lasso(alpha=cell.task.alpha, fit_intercept=False, tol=1e-12).fit(X, dataset.y - 3)
        assert result["support"] == np.count_nonzero(exact.coef_)
        assert result["passes"] == pytest.approx(result["seconds"] / cell.pass_seconds)
        (row,) = bench.fresh(dataset, cell)
        assert bench.fresh(dataset, cell, ours_alone=True) == []
        assert row["first_seconds"] > 0
        assert row["later_seconds"] > 0

        bench.protocol.box = 0.0
        (late,) = bench.run(dataset, [PROBLEMS["lasso"]], [1e-6], divisors=[100])
        assert late.results["scikit-learn"]["status"] == "timeout"
    finally:
        bench.close()

    header = {"commands": ["c"], "machine": report.machine(1, bench.available()), "protocol": "p"}
    text = report.write(tmp_path / "out", "run", [cell, late], [row], header)
    assert "| tiny (60 × 200, 0.012 M) | /10 |" in text
    cells, fresh, commands = report.read(tmp_path / "out" / "run.json")
    assert commands == ["c"]
    assert report.render(cells, fresh, header, summarise(cells)) == text
    assert [c.results["scikit-learn"]["status"] for c in report.merged(cells, [late])] == [
        "ok",
        "timeout",
    ]


def test_a_worker_that_is_late_is_ended_and_starts_again(tmp_path):
    tiny = store_tiny(tmp_path)[False]
    worker = Worker("scikit-learn")
    try:
        worker.call("open", tiny)
        process = worker._process
        with pytest.raises(TimeBoxError):
            worker.call("fit", Task(1.0, 1e-9), 1e-6, 5.0, 10**9, seconds=0.2)
        assert not process.is_alive()
        worker.prepare(tiny, tiny, Task(1.0, 0.1))
        best, spent = worker.fit(Task(1.0, 0.1), 1e-4, box=20.0, at_least=0.01, most=5)
        assert 0 < best < spent
        with pytest.raises(WorkerError, match="no_such_command"):
            worker.call("no_such_command")
    finally:
        worker.close()


def _cell(measure, ours, peer):
    cell = Cell("d", (5, 5), 25, False, "lasso", 10, measure, 1e-6, Task(1.0, 0.1), 2.0)
    common = {"status": "ok", "residual": 1e-8, "claimed_residual": 1e-8, "support": 1}
    common |= {"seconds": 1.0, "passes": 1.0, "claimed_gap": 1e-7}
    cell.results = {"sparselp": common | ours, "celer": common | peer}
    return cell


def test_wrong_results_are_found():
    good = _cell("gap", {"objective": 1.0 + 1e-7}, {"objective": 1.0, "seconds": 0.5})
    summary = summarise([good])
    assert summary["findings"] == []
    assert summary["geometric_mean"] == pytest.approx(2.0)
    wrong = {
        "above a peer's": _cell("gap", {"objective": 1.1}, {"objective": 1.0}),
        "claims a gap": _cell(
            "gap", {"objective": 1.0 + 1e-6, "claimed_gap": 1e-9}, {"objective": 1.0}
        ),
        "claims a fixed-point residual": _cell(
            "gap", {"objective": 1.0, "residual": 1e-3}, {"objective": 1.0}
        ),
        "another local minimum": _cell("residual", {"objective": 1.2}, {"objective": 1.0}),
    }
    for text, cell in wrong.items():
        assert text in " ".join(summarise([cell])["findings"])


def test_prediction_is_timed_on_models_that_agree_and_shown_beside_the_dense_product(monkeypatch):
    monkeypatch.setattr(bench_predict, "SECONDS", 0.01)
    monkeypatch.setattr(bench_predict, "BATCH_ROWS", 40)
    monkeypatch.setattr(bench_predict, "SINGLE_ROWS", 20)
    cells = [cell for n in (1, 3) for cell in bench_predict.cells_of(n, 500, 50, 20)]
    assert [cell["model"] for cell in cells[:5]] == [
        "dense dot product", "sparselp", "sparselp", "scikit-learn", "scikit-learn",
    ]  # fmt: skip
    assert all(0.0 < cell["row"]["p50"] <= cell["row"]["p99"] for cell in cells)
    # A wrong coefficient is found before anything is timed.
    original = bench_predict.put_together
    monkeypatch.setattr(
        bench_predict, "put_together", lambda cls, coef, sparse: original(cls, 2.0 * coef, sparse)
    )
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        bench_predict.cells_of(1, 500, 50, 20)
    header = {"command": "x", "machine": report.machine(1, {"numpy": "1"})}
    text = bench_predict.render({"Title": cells}, header)
    assert text.count("| 3 classes, 50 of 500 |") == 5
    line = next(line for line in text.splitlines() if "dense dot product |" in line)
    assert line.split("|")[5].strip() == line.split("|")[7].strip() == "1"


def test_of_several_new_processes_the_shortest_times_and_the_most_memory_count():
    one = {"first_seconds": 2.0, "later_seconds": 1.0, "first_growth": 10.0}
    other = {"first_seconds": 1.5, "later_seconds": 1.1, "first_growth": 12.0}
    most = {"first_seconds": 1.5, "later_seconds": 1.0, "first_growth": 12.0}
    assert _extremes(one, other) == _extremes(other, one) == most
    assert _extremes(one, {"note": "ended"}) == one
