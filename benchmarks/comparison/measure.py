"""The protocol: search the tolerance, time in turns, count passes, measure fresh processes.

For every solver and cell the loosest tolerance on a ladder of half decades is searched whose
recomputed certificate reaches the target; the search counts as a warm-up.  Then all solvers that
got there are timed in turns, together with one pass X.T @ r, so that a slow minute of the machine
hits everyone.  Reported is the least time.  Ratios and passes are taken within one cell only.
"""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from comparison.certificates import Certifier, Task
from comparison.datasets import Dataset, store
from comparison.losses import LOSSES
from comparison.peers import SOLVERS
from comparison.problems import Problem
from comparison.workers import TimeBoxError, Worker, WorkerError, store_tiny

RUNG = math.sqrt(10)
TIGHTEST = 1e-16
LOOSEST = 1.0


@dataclass
class Protocol:
    """The knobs of a run; times in seconds."""

    fit_intercept: bool = False
    rounds: int = 5
    box: float = 30.0  # patience with one fit
    search_boxes: float = 2.5  # patience with one search, in boxes of one fit
    patience: float = 30.0  # a solver this many times slower than the best is given up
    least_box: float = 3.0
    least_sample: float = 0.02  # short fits are repeated for as long as this
    deadline: float = math.inf  # time.monotonic() after which nothing new starts

    def fit_box(self, best: float) -> float:
        """Patience with one fit when the best solver so far needs ``best`` seconds."""
        return min(self.box, max(self.least_box, self.patience * best))

    @property
    def expired(self) -> bool:
        return time.monotonic() > self.deadline


@dataclass
class Cell:
    """One problem at one strength on one data set, and what every solver did there."""

    dataset: str
    shape: tuple[int, int]
    stored: int
    is_sparse: bool
    problem: str
    divisor: int
    measure: str
    target: float
    task: Task
    null_value: float
    pass_seconds: float = math.inf
    results: dict[str, dict] = field(default_factory=dict)


def time_pass(X, r, at_least=0.01) -> float:
    """Least seconds of X.T @ r over repetitions."""
    best, spent = math.inf, 0.0
    while spent < at_least:
        begin = time.perf_counter()
        X.T @ r
        elapsed = time.perf_counter() - begin
        best, spent = min(best, elapsed), spent + elapsed
    return best


def reaches(certificate: dict, measure: str, target: float) -> bool:
    """Whether a recomputed certificate is good enough (a NaN is not)."""
    return certificate[measure] <= target


def loosest(attempt, start: float) -> tuple[float | None, object]:
    """Walk a ladder of half decades to the loosest tolerance at which ``attempt`` succeeds.

    ``attempt(tol)`` returns (success, result).  From ``start`` the walk goes towards looser
    tolerances while they succeed, or towards tighter ones until one does.  Returns the tolerance
    and its result, or (None, the last result).
    """
    good, result = attempt(start)
    if good:
        tol = start
        while tol * RUNG <= LOOSEST:
            good, looser = attempt(tol * RUNG)
            if not good:
                break
            tol, result = tol * RUNG, looser
        return tol, result
    tol = start
    while tol / RUNG >= TIGHTEST:
        tol /= RUNG
        good, result = attempt(tol)
        if good:
            return tol, result
    return None, result


class Bench:
    """Runs cells on data sets with one long-lived worker per solver."""

    def __init__(self, solvers: list[str], protocol: Protocol, folder: Path, say=print):
        self.protocol = protocol
        self.folder = Path(folder)
        self.workers = {name: Worker(name) for name in solvers}
        self.tiny = store_tiny(self.folder)
        self.say = say
        self._starts: dict = {}  # where the last search of a solver ended, relative to its start

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def available(self) -> dict[str, str]:
        """Versions of the packages that can be used; workers of the others are dropped."""
        from importlib.metadata import PackageNotFoundError, version

        versions = {}
        for name in list(self.workers):
            package = SOLVERS[name].package
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                self.say(f"{name}: {package} is not installed, left out")
                del self.workers[name]
        return versions

    def run(self, dataset: Dataset, problems: list[Problem], targets: list[float], divisors=None):
        """All cells of one data set; yields each when it is finished."""
        fit_intercept = self.protocol.fit_intercept
        stored = self.folder / dataset.name
        store(dataset.X, dataset.y, stored)
        for problem in problems:
            if self.protocol.expired:
                return
            if not problem.suits(dataset.y, fit_intercept):
                continue
            y = LOSSES[problem.loss].target(dataset.y, fit_intercept)
            certifier = Certifier(dataset.X, y, problem.loss)
            null_value, _ = certifier.null(fit_intercept)
            for divisor in divisors or problem.divisors:
                for target in targets:
                    if self.protocol.expired:
                        return
                    cell = Cell(
                        dataset=dataset.name,
                        shape=tuple(map(int, dataset.X.shape)),
                        stored=dataset.stored,
                        is_sparse=dataset.is_sparse,
                        problem=problem.name,
                        divisor=divisor,
                        measure=problem.measure,
                        target=target,
                        task=problem.task(certifier, divisor, fit_intercept),
                        null_value=float(null_value),
                    )
                    self._run_cell(cell, stored, dataset.X, y)
                    yield cell

    def forget(self, dataset: Dataset) -> None:
        """Remove the stored copy of a data set."""
        shutil.rmtree(self.folder / dataset.name, ignore_errors=True)

    def _run_cell(self, cell: Cell, stored: Path, X, y) -> None:
        best = math.inf
        for name, worker in self.workers.items():
            solver = SOLVERS[name]
            if solver.storage == "rows" and not cell.is_sparse:
                continue
            if not solver.handles(cell.task, cell.shape, cell.is_sparse):
                continue
            if cell.task.n_alphas > 1 and not solver.follows:
                continue
            cell.results[name] = result = self._search(cell, name, worker, stored, best)
            if result["status"] == "ok":
                best = min(best, result["times"][0])
        self._time_in_turns(cell, X, y)
        for result in cell.results.values():
            if result["status"] == "ok":
                result["seconds"] = min(result["times"])
                passes = result["seconds"] / cell.pass_seconds
                result["passes"] = passes / cell.task.n_alphas

    def _search(self, cell, name, worker, stored, best) -> dict:
        """The result of one solver after its tolerance search, with one time."""
        task, protocol = cell.task, self.protocol
        nominal = SOLVERS[name].start(task, cell.target)
        kind = (name, cell.problem, cell.target)
        box = protocol.fit_box(best)
        patience = protocol.search_boxes * box

        def attempt(tol):
            if time.monotonic() > begin + patience:
                raise TimeBoxError(f"no tolerance found within {patience:.0f} s")
            seconds = worker.fit(task, tol, box)
            certificate = worker.call("certify")
            good = reaches(certificate, cell.measure, cell.target)
            return good, {"tol": tol, "times": [seconds], **certificate}

        try:
            worker.prepare(stored, self.tiny[cell.is_sparse], task)
            begin = time.monotonic()
            tol, result = loosest(attempt, nominal * self._starts.get(kind, 1.0))
        except TimeBoxError as error:
            return {"status": "timeout", "box": box, "note": str(error)}
        except WorkerError as error:
            return {"status": "error", "note": str(error)}
        if tol is None:
            return {"status": "unreached", **result}
        self._starts[kind] = tol / nominal
        return {"status": "ok", **result}

    def _time_in_turns(self, cell, X, y) -> None:
        """Rounds over the pass and all solvers that reached the target.

        A solver takes part for as long as its repetitions stay within the box of one fit.
        """
        protocol = self.protocol
        residual = np.array(y)
        left = {n: protocol.box for n, r in cell.results.items() if r["status"] == "ok"}
        for _ in range(protocol.rounds):
            cell.pass_seconds = min(cell.pass_seconds, time_pass(X, residual))
            for name in [n for n in left if cell.results[n]["times"][0] <= left[n]]:
                result = cell.results[name]
                begin = time.monotonic()
                try:
                    seconds = self.workers[name].fit(
                        cell.task,
                        result["tol"],
                        box=10 + 10 * result["times"][0],
                        at_least=protocol.least_sample,
                        most=20,
                    )
                except (TimeBoxError, WorkerError) as error:
                    result["note"] = f"a repetition failed: {error}"
                    del left[name]
                    continue
                result["times"].append(seconds)
                left[name] -= time.monotonic() - begin

    def fresh(self, dataset: Dataset, cell: Cell, names: list[str]) -> list[dict]:
        """First and second fit of a new process per solver on rows, and its peak memory."""
        rows = []
        stored, storage = self.folder / dataset.name, "rows" if dataset.is_sparse else "columns"
        for name in names:
            result = cell.results.get(name, {})
            if result.get("status") != "ok" or self.protocol.expired:
                continue
            worker = Worker(name)
            try:
                answer = worker.call("fresh", stored, storage, cell.task, result["tol"])
            except (TimeBoxError, WorkerError) as error:
                answer = {"note": str(error)}
            finally:
                worker.close()
            row = {
                "dataset": dataset.name,
                "solver": name,
                "problem": cell.problem,
                "divisor": cell.divisor,
                "input_bytes": dataset.input_bytes,
                **answer,
            }
            for label in ("first", "second"):
                if f"{label}_growth" in answer:
                    total = dataset.input_bytes + answer[f"{label}_growth"]
                    row[f"{label}_memory_ratio"] = total / dataset.input_bytes
            rows.append(row)
        return rows


def summarise(cells: list[Cell], reference: str = "sparselp") -> dict:
    """Ratios of the library to the best peer per cell, their geometric mean, and what is wrong."""
    ratios, findings = [], []
    for cell in cells:
        label = f"{cell.dataset} {cell.problem} alpha_max/{cell.divisor} to {cell.target:g}"
        ours = {n: r for n, r in cell.results.items() if SOLVERS[n].ours}
        peers = {
            n: r for n, r in cell.results.items() if not SOLVERS[n].ours and r["status"] == "ok"
        }
        for name, result in ours.items():
            findings += [f"{label}, {name}: {text}" for text in _findings(cell, result, peers)]
        result = ours.get(reference)
        if result is None or result["status"] != "ok":
            continue
        row = {"cell": label, "seconds": result["seconds"], "passes": result["passes"]}
        if peers:
            best = min(peers, key=lambda n: peers[n]["seconds"])
            row |= {"best_peer": best, "ratio": result["seconds"] / peers[best]["seconds"]}
            learners = [r["seconds"] for n, r in peers.items() if n.startswith("scikit-learn")]
            if learners:
                row["scikit_learn_ratio"] = result["seconds"] / min(learners)
        ratios.append(row)
    known = [row["ratio"] for row in ratios if "ratio" in row]
    return {
        "ratios": sorted(ratios, key=lambda row: -row.get("ratio", 0.0)),
        "geometric_mean": float(np.exp(np.mean(np.log(known)))) if known else math.nan,
        "findings": findings,
    }


def _findings(cell: Cell, result: dict, peers: dict) -> list[str]:
    """What is wrong with a result of the library in one cell; an empty list is the aim."""
    if result["status"] != "ok":
        return [f"{result['status']}: {result.get('note', 'target not reached')}"]
    found = []
    allowed = cell.target * cell.null_value
    best = min((peer["objective"] for peer in peers.values()), default=math.inf)
    behind = result["objective"] - best
    if cell.measure == "gap":
        if behind > allowed:
            found.append(f"objective {result['objective']:.10g} is {behind:.1e} above a peer's")
        claimed = result["claimed_gap"] * cell.null_value
        # a claimed gap bounds the distance to every objective that anybody reached
        if not claimed >= behind - 1e-12 * cell.null_value:
            found.append(f"claims a gap of {claimed:.1e}, a peer is {behind:.1e} below")
    elif behind > 0.05 * abs(best):
        found.append(
            f"another local minimum: objective {result['objective']:.6g} ({result['support']} "
            f"features), the best peer's is {best:.6g}"
        )
    claimed = result["claimed_residual"]
    actual = result["residual"]
    if math.isfinite(claimed) and abs(claimed - actual) > 0.1 * actual + 1e-9:
        found.append(f"claims a fixed-point residual of {claimed:.1e}, recomputed {actual:.1e}")
    return found
