"""What the comparison says of many cells, and the parts of it that need no solver process."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time

import compare
import numpy as np
import pytest
from comparison import report
from comparison.certificates import Certifier, Task
from comparison.datasets import ALWAYS, Dataset, sparse_classes, tall_dense
from comparison.effort import counted
from comparison.losses import LOSSES
from comparison.measure import Bench, Cell, Protocol, time_pass
from comparison.peers import SOLVERS, Outcome
from comparison.problems import PROBLEMS
from comparison.suites import SUITES
from comparison.summary import summarise
from comparison.threads import VARIABLES, allowed_threads, threads_of_children
from comparison.workers import TimeBoxError, timed_fit

from sklearn_sparselp import SparseLpClassifier, SparseLpRegressor
from sklearn_sparselp._solvers import Design, descent_state

LIBLINEAR, SAGA = "scikit-learn-liblinear", "scikit-learn-saga"
SOLVED = {"status": "ok", "objective": 1.0, "gap": 1e-8, "claimed_gap": 1e-7, "residual": 1e-8}
SOLVED |= {"claimed_residual": 1e-8, "support": 1, "passes": 1.0, "n_iter": 3, "tol": 1e-3}


def _cell(divisor=10, threads=1, stored=25, **seconds):
    """A cell with the times of solvers; a negative one is a fit that was ended then."""
    task = Task(1.0, 0.1)
    cell = Cell(
        "d", (5, 5), stored, False, "logistic", divisor, "gap", 1e-6, task, 2.0, threads, 1.0
    )
    for name, value in seconds.items():
        ended = {"status": "timeout", "bound": -value}
        result = SOLVED | {"seconds": value, "times": [value]} if value > 0 else ended
        if math.isnan(value):
            result = {"status": "unreached", "bound": 1.0}
        cell.results[name.replace("_", "-")] = result
    return cell


def _rows(cells):
    return {row["peer"]: row for row in summarise(cells)["peers"]}


def test_fits_that_were_ended_make_the_mean_over_a_peer_a_lower_bound():
    cells = [
        _cell(10, sparselp=1.0, **{LIBLINEAR: 4.0, SAGA: -30.0, "celer": 0.5}),
        _cell(100, sparselp=2.0, **{LIBLINEAR: -100.0, SAGA: -18.0, "celer": math.nan}),
        _cell(1000, sparselp=-5.0, **{LIBLINEAR: 1.0, SAGA: 1.0, "celer": 1.0}),
    ]
    rows = _rows(cells)
    assert (rows[LIBLINEAR]["cells"], rows[LIBLINEAR]["ended"]) == (1, 1)
    assert rows[LIBLINEAR]["at_least"] == pytest.approx(math.sqrt(4 * 50))
    assert (rows[SAGA]["cells"], rows[SAGA]["ended"]) == (0, 2)
    assert math.isnan(rows[SAGA]["times_as_long"])
    # in the second cell saga would be the best from 18 s on: that is all that is known
    assert rows["best scikit-learn"]["at_least"] == pytest.approx(math.sqrt(4 * 9))
    assert rows["best scikit-learn"]["times_as_long"] == pytest.approx(4.0)
    assert rows["celer"]["ahead"] == rows["best peer"]["ahead"] == 1
    assert rows["celer"]["never"] == 1
    assert rows["celer"]["least"] == pytest.approx(0.5)
    header = {"commands": ["a", "b"], "machine": report.machine(1, {}), "protocol": "p"}
    text = report.render(cells, [], header, summarise(cells))
    assert "| logistic, 1e-06 | best scikit-learn | 1 | 4.00 | 4.00 | 0 | 1 | 6.00 | 0 |" in text
    assert "`a`\n\n`b`\n" in text
    assert "> 18 s" in text


def test_what_a_second_thread_brings_is_told_for_large_and_small_sets():
    cells = [
        _cell(10, 1, 5_000_000, sparselp=3.0, celer=4.0),
        _cell(10, 2, 5_000_000, sparselp=1.5, celer=-9.0),
        _cell(100, 1, 1000, sparselp=1.0),
        _cell(100, 2, 1000, sparselp=1.25),
        _cell(1000, 2, 1000, sparselp=1.0),
    ]
    summary = summarise(cells)
    assert [row["gains"] for row in summary["threads"]] == [{"sparselp": 2.0}, {"sparselp": 0.8}]
    header = {"commands": ["a"], "machine": report.machine("1 and 2", {}), "protocol": "p"}
    text = report.render(cells, [], header, summary)
    assert "above a million stored values: 2.00 in geometric mean, 2.00 at least, over 1 " in text
    assert "up to a million stored values: 0.80 in geometric mean, 0.80 at least, over 1 " in text
    assert "## logistic, relative duality gap ≤ 1e-06, 2 threads: time (passes)" in text
    assert summarise(cells[:1])["threads"] == []


def test_cells_measured_anew_replace_the_kept_ones(tmp_path):
    header = {"commands": ["a"], "machine": report.machine(1, {}), "protocol": "p"}
    old = [_cell(10, sparselp=1.0, celer=math.nan), _cell(100, sparselp=2.0)]
    old[1].task = Task(0.0, 0.1, support=7)
    old[1].pass_seconds = math.inf
    text = report.write(tmp_path, "kept", old, [], header)
    kept, fresh, commands = report.read(tmp_path / "kept.json")
    assert kept == old
    assert report.render(kept, fresh, header | {"commands": commands}, summarise(kept)) == text
    new = [_cell(100, sparselp=3.0), _cell(100, 2, sparselp=4.0)]
    seconds = [c.results["sparselp"]["seconds"] for c in report.merged(kept, new)]
    assert seconds == [1.0, 3.0, 4.0]


class _Waiting:
    """A solver that sleeps."""

    def fit(self, X, y, task, tol):
        time.sleep(0.05)
        return Outcome(np.zeros(1), 0.0, 0)


def test_processor_time_leaves_out_what_others_do_with_the_machine():
    X, y = np.eye(3), np.ones(3)
    best, spent, _ = timed_fit(_Waiting(), X, y, Task(1.0, 1.0), 1e-4, 0.0, 1, "cpu")
    assert 0 <= best == spent < 0.03
    best, spent, _ = timed_fit(_Waiting(), X, y, Task(1.0, 1.0), 1e-4, 0.4, 9, "wall")
    assert 0.05 <= best <= spent / 2
    for clock in ("wall", "cpu"):
        assert 0 < time_pass(np.ones((2, 2)), np.ones(2), 1e-3, clock) < 1e-3


class _Late:
    """A worker whose fits take 2 s; it reaches what its gap is, whatever the tolerance."""

    name, unprepared, gap = "celer", False, 1.0

    def prepare(self, *arguments):
        if self.unprepared:
            raise TimeBoxError("no answer")

    def fit(self, task, tol, box):
        return 2.0, 2.0

    def call(self, command):
        return {"gap": self.gap}


def test_a_search_without_an_end_claims_no_more_than_its_longest_fit(tmp_path):
    bench = Bench([], Protocol(box=10.0, search_boxes=0.5), tmp_path)
    result = bench._search(_cell(), _Late(), tmp_path, math.inf)
    assert result == {
        "status": "timeout",
        "bound": 2.0,
        "note": "no tolerance found within 5 s",
    }
    good = _Late()
    good.gap = 1e-9
    result = bench._search(_cell(), good, tmp_path, math.inf)
    assert (result["status"], result["times"]) == ("ok", [2.0])
    late = _Late()
    late.unprepared = True
    assert bench._search(_cell(), late, tmp_path, math.inf)["status"] == "error"


def test_children_get_their_number_of_threads_and_the_parent_keeps_its_own(monkeypatch):
    monkeypatch.setenv(VARIABLES[0], "1")
    monkeypatch.delenv(VARIABLES[1], raising=False)
    code = f"import os; print(os.environ[{VARIABLES[0]!r}], os.environ[{VARIABLES[1]!r}])"
    assert allowed_threads() == 1
    with threads_of_children(3):
        assert allowed_threads() == 3
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert printed.stdout.split() == [b"3", b"3"]
    assert os.environ[VARIABLES[0]] == "1"
    assert VARIABLES[1] not in os.environ


def test_counts_are_those_of_the_calls_and_nothing_stays_wrapped(monkeypatch):
    calls = {"gradients": 0, "newton_steps": 0}
    rmatvec, step = Design.rmatvec, descent_state.newton_step

    def own_rmatvec(self, *terms):
        calls["gradients"] += 1
        return rmatvec(self, *terms)

    generator = np.random.default_rng(0)
    X = generator.standard_normal((60, 400))
    y = X[:, :5].sum(axis=1)
    monkeypatch.setattr(Design, "rmatvec", own_rmatvec)
    with counted() as counts:
        SparseLpRegressor(p=1.0, alpha=0.01, tol=1e-10).fit(X, y)
        SparseLpClassifier(p=0.8, alpha=0.002, tol=1e-8).fit(X, y > 0)
    assert counts["gradients"] == calls["gradients"] > 2
    assert counts["newton_steps"] > 2
    assert Design.rmatvec is own_rmatvec
    assert descent_state.newton_step is step


def test_solvers_by_size_are_told_the_number_of_features_that_we_keep(tmp_path):
    pytest.importorskip("abess")
    generator = np.random.default_rng(0)
    X = np.asfortranarray(generator.standard_normal((80, 12)))
    y = X[:, :3] @ [3.0, -2.0, 1.0] + 0.1 * generator.standard_normal(80)
    bench = Bench(["sparselp", "abess"], Protocol(rounds=1), tmp_path, say=lambda text: None)
    try:
        (cell,) = bench.run(Dataset("tiny", X, y), [PROBLEMS["l0"]], [1e-6], divisors=[100])
    finally:
        bench.close()
    ours, peer = cell.results["sparselp"], cell.results["abess"]
    assert ours["support"] == peer["support"] == 3
    assert ours["objective"] == pytest.approx(peer["objective"], rel=1e-9)
    assert "gradients" in ours


def test_l0_cells_are_judged_by_loss_plus_alpha_for_each_feature():
    X, y = np.asfortranarray(np.eye(4)), np.array([3.0, 1.0, 0.0, 0.0])
    certifier = Certifier(X, y)
    assert certifier.alpha_max(0.0) == pytest.approx(9 / 8)
    found = certifier(np.array([3.0, 0.0, 0.0, 0.0]), 0.0, Task(0.0, 0.2))
    assert found.objective == pytest.approx(1 / 8 + 0.2)
    assert found.residual == 0.0
    assert certifier(np.array([3.0, 0.0, 0.0, 0.0]), 0.0, Task(0.0, 0.1)).residual > 0.1


def test_generated_sets_have_the_structure_that_they_are_for():
    tall = tall_dense(n_samples=20_000, n_features=8)
    assert tall.X.flags.f_contiguous
    correlation = np.corrcoef(tall.X, rowvar=False)
    assert correlation[np.triu_indices(8, 1)] == pytest.approx(0.3, abs=0.03)
    classes = sparse_classes()
    assert LOSSES["multinomial"].suits(classes.y)
    assert set(np.unique(classes.y)) == {1.0, 2.0, 3.0, 4.0}
    assert classes.X.shape == (3000, 5000)


def test_a_set_made_for_one_loss_takes_part_in_that_one_only(tmp_path):
    generator = np.random.default_rng(0)
    X, y = generator.standard_normal((30, 4)), np.arange(30) % 3 + 1.0
    bench = Bench([], Protocol(), tmp_path)
    families = [PROBLEMS["lasso"], PROBLEMS["multinomial"]]
    cells = list(bench.run(Dataset("d", X, y, ("multinomial",)), families, [1e-6], [10]))
    assert [cell.problem for cell in cells] == ["multinomial"]


def test_suites_name_what_exists_and_the_command_line_overrules_them(monkeypatch):
    for suite in SUITES.values():
        assert set(suite.problems) <= set(PROBLEMS)
        assert set(suite.peers) <= set(SOLVERS)
        assert suite.targets
    suites = compare.plan(compare.parse(["--suite", "engine", "lp", "--divisors", "10"]))
    assert [suite.problems[0] for suite in suites] == ["lasso", "elastic-net"]
    assert [suite.divisors for suite in suites] == [(10,), (10,)]
    assert suites[0].targets == (1e-4, 1e-8, 1e-10)
    (usual,) = compare.plan(compare.parse([]))
    assert set(usual.problems) == set(PROBLEMS)
    assert usual.names(list(ALWAYS)) == list(ALWAYS)
    for wrong in (["--suite", "nothing"], ["--problems", "x"], ["--peers", "x"]):
        with pytest.raises(SystemExit, match="unknown"):
            compare.plan(compare.parse(wrong))
    monkeypatch.setattr(sys, "argv", ["compare.py", "--clock", "cpu", "--threads", "2"])
    with pytest.raises(SystemExit, match="--threads 1 only"):
        compare.main()


def test_the_quality_of_a_long_report_is_in_a_file_of_its_own():
    rows = "\n".join(f"| {k} |" for k in range(report.LONGEST))
    whole = f"# Report\n\n{report.QUALITY}\n\n{rows}\n\n## First fit\n\ntimes\n"
    short, quality = report.in_files(whole, "all")
    there = f"{report.QUALITY}\n\nIn [a file of its own](all_quality.md).\n"
    assert short == f"# Report\n\n{there}## First fit\n\ntimes\n"
    assert quality == f"# Quality, recomputed\n\n{rows}\n\n"
    last = f"# Report\n\n{report.QUALITY}\n\n{rows}\n"
    assert report.in_files(last, "all")[1] == f"# Quality, recomputed\n\n{rows}\n"
    assert report.in_files("# Report\n\nfew lines\n", "all") == ("# Report\n\nfew lines\n", "")
