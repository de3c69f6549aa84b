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
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from comparison.certificates import Certifier, Task
from comparison.datasets import Dataset, store
from comparison.losses import LOSSES
from comparison.peers import SOLVERS
from comparison.problems import Problem
from comparison.workers import CLOCKS, TimeBoxError, Worker, WorkerError, store_tiny

RUNG = math.sqrt(10)
TIGHTEST = 1e-16
LOOSEST = 1.0
# Memory that a fit in a new process may need: bytes, and inputs on top.
PROVIDED, INPUTS_PROVIDED = 100_000_000, 3
# New processes for each solver, at most.
FRESH_PROCESSES = 3
REFERENCE = "sparselp"  # whose times are compared, whose support is told to solvers by size


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
    clock: str = "wall"  # or "cpu": processor time of the worker, for one thread only
    threads: tuple[int, ...] = (1,)

    def fit_box(self, best: float) -> float:
        """Patience with one fit when the best solver so far needs ``best`` seconds."""
        return min(self.box, max(self.least_box, self.patience * best))

    @property
    def expired(self) -> bool:
        return time.monotonic() > self.deadline


@dataclass
class Cell:
    """One problem at one strength on one data set, and what every solver did there.

    Passes are those of ``X.T @ r`` in this process, which has the first number of threads.
    """

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
    threads: int = 1
    pass_seconds: float = math.inf
    results: dict[str, dict] = field(default_factory=dict)


def time_pass(X, r, at_least=0.01, clock="wall") -> float:
    """Least seconds of X.T @ r over repetitions, in blocks that the clock can tell apart."""
    now = CLOCKS[clock]
    best, spent, block = math.inf, 0.0, 1
    while spent < at_least:
        begin = now()
        for _ in range(block):
            X.T @ r
        elapsed = now() - begin
        spent += elapsed
        if elapsed < at_least / 100:
            block *= 2
        else:
            best = min(best, elapsed / block)
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


def _size(cell: Cell) -> int:
    """How many features the reference keeps in this cell; 0 where it failed."""
    return cell.results.get(REFERENCE, {}).get("support", 0)


def _task(cell: Cell, name: str) -> Task:
    """The task as this solver is told it."""
    return replace(cell.task, support=_size(cell)) if SOLVERS[name].by_size else cell.task


class Bench:
    """Runs cells on data sets with one long-lived worker per solver and number of threads."""

    def __init__(self, solvers: list[str], protocol: Protocol, folder: Path, say=print):
        self.protocol = protocol
        self.folder = Path(folder)
        self.solvers = list(solvers)
        self.workers = {
            (name, threads): Worker(name, threads, protocol.clock)
            for threads in protocol.threads
            for name in solvers
        }
        self.tiny = store_tiny(self.folder)
        self.say = say
        self._starts: dict = {}  # where the last search of a solver ended, relative to its start

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def available(self) -> dict[str, str]:
        """Versions of the packages that can be used; solvers of the others are dropped."""
        from importlib.metadata import PackageNotFoundError, version

        versions = {}
        for name in list(self.solvers):
            package = SOLVERS[name].package
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                self.say(f"{name}: {package} is not installed, left out")
                self.solvers.remove(name)
        return versions

    def run(self, dataset, problems: list[Problem], targets, divisors=None, solvers=None):
        """All cells of one data set; yields each when it is finished.

        Those of one problem with several numbers of threads are timed in turns. ``solvers``
        narrows those of the bench down.
        """
        fit_intercept = self.protocol.fit_intercept
        stored = self.folder / dataset.name
        if not stored.exists():
            store(dataset.X, dataset.y, stored)
        for problem in problems:
            if self.protocol.expired:
                return
            if dataset.losses and problem.loss not in dataset.losses:
                continue
            if not problem.suits(dataset.y, fit_intercept):
                continue
            y = LOSSES[problem.loss].target(dataset.y, fit_intercept)
            certifier = Certifier(dataset.X, y, problem.loss)
            null_value, _ = certifier.null(fit_intercept)
            for divisor in divisors or problem.divisors:
                for target in targets:
                    if self.protocol.expired:
                        return
                    cells = [
                        Cell(
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
                            threads=threads,
                        )
                        for threads in self.protocol.threads
                    ]
                    chosen = [n for n in self.solvers if solvers is None or n in solvers]
                    self._run_cells(cells, chosen, stored, dataset.X, y)
                    yield from cells

    def forget(self, dataset: Dataset) -> None:
        """Remove the stored copy of a data set."""
        shutil.rmtree(self.folder / dataset.name, ignore_errors=True)

    def _run_cells(self, cells: list[Cell], solvers: list[str], stored: Path, X, y) -> None:
        for cell in cells:
            self._search_all(cell, solvers, stored)
        self._time_in_turns(cells, X, y)
        for cell in cells:
            for name, result in cell.results.items():
                if result["status"] != "ok":
                    continue
                result["seconds"] = min(result["times"])
                passes = result["seconds"] / cell.pass_seconds
                result["passes"] = passes / cell.task.n_alphas
                if SOLVERS[name].ours:
                    result |= self._effort(cell, name)

    def _search_all(self, cell: Cell, solvers: list[str], stored: Path) -> None:
        best = math.inf
        for name in solvers:
            solver, task = SOLVERS[name], cell.task
            if solver.storage == "rows" and not cell.is_sparse:
                continue
            if not solver.handles(task, cell.shape, cell.is_sparse):
                continue
            if task.n_alphas > 1 and not solver.follows:
                continue
            if solver.by_size and not _size(cell):
                continue
            worker = self.workers[name, cell.threads]
            cell.results[name] = result = self._search(cell, worker, stored, best)
            if result["status"] == "ok":
                best = min(best, result["times"][0])

    def _search(self, cell, worker, stored, best) -> dict:
        """The result of one solver after its tolerance search, with one time.

        ``bound`` of a search without an end is the time that a fit took, or was given, that did
        not reach the target: a sufficient one takes longer.
        """
        protocol, solver, task = self.protocol, SOLVERS[worker.name], _task(cell, worker.name)
        nominal = solver.start(task, cell.target)
        kind = (worker.name, cell.problem, cell.target)
        box = protocol.fit_box(best)
        patience = protocol.search_boxes * box
        spent, bound, found = 0.0, 0.0, False

        def attempt(tol):
            nonlocal spent, bound, found
            if spent > patience:
                if found:
                    return False, None  # looser ones may do, but this one does
                raise TimeBoxError(f"no tolerance found within {patience:.0f} s")
            try:
                seconds, _ = worker.fit(task, tol, box)
            except TimeBoxError:
                bound = max(bound, box)
                raise
            spent += seconds
            certificate = worker.call("certify")
            good = solver.by_size or reaches(certificate, cell.measure, cell.target)
            found = found or good
            if not good:
                bound = max(bound, seconds)
            return good, {"tol": tol, "times": [seconds], **certificate}

        try:
            worker.prepare(stored, self.tiny[cell.is_sparse], task)
        except (TimeBoxError, WorkerError) as error:
            return {"status": "error", "note": f"before the first fit: {error}"}
        try:
            if solver.by_size:
                tol, result = nominal, attempt(nominal)[1]
            else:
                tol, result = loosest(attempt, nominal * self._starts.get(kind, 1.0))
        except TimeBoxError as error:
            return {"status": "timeout", "bound": bound, "note": str(error)}
        except WorkerError as error:
            return {"status": "error", "note": str(error)}
        if tol is None:
            return {"status": "unreached", "bound": bound, **result}
        self._starts[kind] = tol / nominal
        return {"status": "ok", **result}

    def _time_in_turns(self, cells, X, y) -> None:
        """Rounds over the pass and all solvers that reached the target.

        A solver takes part for as long as its repetitions stay within the box of one fit.
        """
        protocol = self.protocol
        residual = np.array(y)
        entries = [
            (cell, name, self.workers[name, cell.threads])
            for cell in cells
            for name, result in cell.results.items()
            if result["status"] == "ok"
        ]
        left = dict.fromkeys(range(len(entries)), protocol.box)
        for _ in range(protocol.rounds):
            seconds = time_pass(X, residual, clock=protocol.clock)
            for cell in cells:
                cell.pass_seconds = min(cell.pass_seconds, seconds)
            for index in list(left):
                cell, name, worker = entries[index]
                result = cell.results[name]
                if result["times"][0] > left[index]:
                    continue
                try:
                    best, spent = worker.fit(
                        _task(cell, name),
                        result["tol"],
                        box=10 + 10 * result["times"][0],
                        at_least=protocol.least_sample,
                        most=20,
                    )
                except (TimeBoxError, WorkerError) as error:
                    result["note"] = f"a repetition failed: {error}"
                    del left[index]
                    continue
                result["times"].append(best)
                left[index] -= spent

    def _effort(self, cell, name) -> dict:
        """Counts of one more fit; empty where it fails."""
        result, worker = cell.results[name], self.workers[name, cell.threads]
        try:
            return worker.call("count", cell.task, result["tol"])
        except (TimeBoxError, WorkerError) as error:
            return {"note": f"not counted: {error}"}

    def fresh(self, dataset: Dataset, cell: Cell, ours_alone: bool = False) -> list[dict]:
        """First and second fit of new processes per solver on rows, and their peak memory.

        Of up to `FRESH_PROCESSES`, as many as begin within the time box, the shortest times and
        the most memory.
        """
        rows = []
        stored, storage = self.folder / dataset.name, "rows" if dataset.is_sparse else "columns"
        for name, result in cell.results.items():
            solver = SOLVERS[name]
            if solver.storage != "columns" or (ours_alone and not solver.ours):
                continue
            if result.get("status") != "ok" or self.protocol.expired:
                continue
            memory = PROVIDED + INPUTS_PROVIDED * dataset.input_bytes
            arguments = stored, storage, _task(cell, name), result["tol"], memory
            ends = time.monotonic() + self.protocol.box
            answer = self._first_fits(Worker(name, cell.threads, self.protocol.clock), arguments)
            for _ in range(FRESH_PROCESSES - 1):
                if "note" in answer or time.monotonic() > ends or self.protocol.expired:
                    break
                worker = Worker(name, cell.threads, self.protocol.clock)
                answer = _extremes(answer, self._first_fits(worker, arguments))
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

    def _first_fits(self, worker: Worker, arguments: tuple) -> dict:
        """The answer of a new process, which ends; a note where it fails."""
        try:
            return worker.call("fresh", *arguments)
        except (TimeBoxError, WorkerError) as error:
            return {"note": str(error)}
        finally:
            worker.close()


def _extremes(a: dict, b: dict) -> dict:
    """The shortest times and the most memory of two answers of new processes."""
    if "note" in b:
        return a
    return {key: (min if key.endswith("seconds") else max)(a[key], b[key]) for key in a}
