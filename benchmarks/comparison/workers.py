"""One process per solver: isolation, a time box that really ends a fit, and honest memory.

The parent sends a command and waits for its answer; a worker that does not answer in time is
killed and started again for the next cell.  Workers idle while another one is timed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import time
import traceback
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from comparison.certificates import Certifier, Task
from comparison.datasets import correlated_dense, open_stored, store
from comparison.effort import counted
from comparison.losses import LOSSES
from comparison.peers import SOLVERS
from comparison.threads import threads_of_children

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
STARTING = 180.0  # seconds allowed for imports, reading data and run-time compilation


class TimeBoxError(Exception):
    """The worker did not answer within the time box and has been killed."""


class WorkerError(Exception):
    """The worker answered with an exception; the message is its last line."""


def timed_fit(
    solver, X, y, task: Task, tol: float, at_least: float = 0.0, most: int = 1, clock="wall"
):
    """(best seconds, all seconds, outcome) of fits.

    They are repeated until ``at_least`` seconds have passed or ``most`` fits are done.
    """
    now = CLOCKS[clock]
    best, spent, count = np.inf, 0.0, 0
    run = solver.path if task.n_alphas > 1 else solver.fit
    gc.collect()
    gc.disable()
    try:
        while count == 0 or (spent < at_least and count < most):
            begin = now()
            outcome = run(X, y, task, tol)
            elapsed = now() - begin
            best, spent, count = min(best, elapsed), spent + elapsed, count + 1
    finally:
        gc.enable()
    return best, spent, outcome


class _Session:
    """The state of a worker: a solver and the data it has open."""

    def __init__(self, name, clock):
        self.solver = SOLVERS[name]()
        self.clock = clock
        self.X = self.y = self.certifier = self.target = self.solved = None

    def open(self, folder, storage=None):
        self.X = self.y = self.certifier = self.target = self.solved = None
        self.X, self.y = open_stored(folder, storage or self.solver.storage)

    def warm(self, folder, task):
        """A fit of the same kind on tiny data of the same storage: imports, compilation."""
        X, y = open_stored(folder, self.solver.storage)
        y = LOSSES[task.loss].target(y, task.fit_intercept)
        first = Certifier(X, y, task.loss).alpha_max(task.p, task.fit_intercept)
        small = replace(task, first_alpha=first, alpha=first / 10, support=2)
        timed_fit(self.solver, X, y, small, 1e-10)

    def _timed(self, task, tol, *repeats):
        kind = task.loss, task.fit_intercept
        if self.target is None or self.target[0] != kind:
            self.target = kind, LOSSES[task.loss].target(self.y, task.fit_intercept)
            self.certifier = None
        return timed_fit(self.solver, self.X, self.target[1], task, tol, *repeats, clock=self.clock)

    def fit(self, task, tol, at_least, most):
        best, spent, outcome = self._timed(task, tol, at_least, most)
        self.solved = task, outcome
        return best, spent

    def count(self, task, tol):
        """What one fit costs in counts; of the library only."""
        with counted() as counts:
            self._timed(task, tol)
        return counts

    def certify(self):
        """The recomputed certificate of the last fit and the solver's own claims, off the clock."""
        task, outcome = self.solved
        if self.certifier is None:
            self.certifier = Certifier(self.X, self.target[1], task.loss)
        certify = self.certifier.path if task.n_alphas > 1 else self.certifier
        return certify(outcome.coef, outcome.intercept, task).as_dict() | {
            "n_iter": outcome.n_iter,
            "claimed_gap": outcome.gap / self.certifier.null(task.fit_intercept)[0],
            "claimed_residual": outcome.residual,
        }

    def fresh(self, folder, storage, task, tol, memory):
        """First and later fits of this process, and the memory that each adds."""
        self.open(folder, storage)
        provide(memory)
        answer = {}
        for label in ("first", "second"):
            trim()
            before, reset = resident_bytes("VmRSS"), reset_peak()
            answer[f"{label}_seconds"], _, outcome = self._timed(task, tol)
            peak = resident_bytes("VmHWM") if reset else np.nan
            answer[f"{label}_growth"] = peak - before
            del outcome
        later = self._timed(task, tol, 1.0, 3)[0]
        answer["later_seconds"] = min(answer["second_seconds"], later)
        return answer


def resident_bytes(field: str) -> float:
    """A memory field of /proc/self/status in bytes; NaN where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return np.nan
    for line in lines:
        if line.startswith(field + ":"):
            return 1024.0 * int(line.split()[1])
    return np.nan


def reset_peak() -> bool:
    """Let the kernel's high-water mark start from here (Linux); False where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def trim() -> None:
    """Hand freed memory back, so that it does not hide what the next fit needs."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc has it, others need it less
        ctypes.CDLL(None).malloc_trim(0)


def provide(n_bytes: int) -> None:
    """Touch so much memory and give it back to the machine.

    A virtual machine gets memory from its host when it is first touched, at many times the cost
    of the fault itself, and hands back what has been free for some seconds.
    """
    np.ones(-(-n_bytes // 8))


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used so far; NaN where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return np.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(connection, name, clock):
    """Main loop of a worker process: commands in, (True, answer) or (False, message) out."""
    warnings.simplefilter("ignore")
    session = None
    while True:
        try:
            command, arguments = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            if session is None:
                session = _Session(name, clock)
            connection.send((True, getattr(session, command)(*arguments)))
        except Exception as error:
            last = traceback.format_exception_only(error)[-1].strip()
            connection.send((False, last[:300]))
            if session is None:
                return


class Worker:
    """A handle on the process of one solver, started on first use.

    With ``clock="cpu"`` fits are timed, and ended, by the processor time of the process: on a
    machine that others use too, the wall clock measures them.
    """

    def __init__(self, name: str, threads: int = 1, clock: str = "wall"):
        self.name, self.threads, self.clock = name, threads, clock
        self._process = self._connection = None
        self._opened = None
        self._warmed: set = set()

    def call(self, command: str, *arguments, seconds: float = STARTING):
        """The answer of the worker, or TimeBoxError, or WorkerError."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(theirs, self.name, self.clock), daemon=True
            )
            with threads_of_children(self.threads):
                self._process.start()
            theirs.close()
        self._connection.send((command, arguments))
        if not self._answers(seconds):
            self.close()
            raise TimeBoxError(f"no answer within {seconds:.0f} s")
        try:
            good, answer = self._connection.recv()
        except EOFError:
            self.close()
            raise WorkerError("the worker process died") from None
        if not good:
            raise WorkerError(answer)
        return answer

    def _answers(self, seconds: float) -> bool:
        """Whether an answer comes within ``seconds`` of the worker's clock."""
        if self.clock == "wall":
            return self._connection.poll(seconds)
        before, waited = cpu_seconds(self._process.pid), 0.0
        while (left := seconds - waited) > 0:
            if self._connection.poll(max(left, 0.01)):
                return True
            waited = cpu_seconds(self._process.pid) - before
        return False

    def prepare(self, folder: Path, tiny: Path, task: Task) -> None:
        """Open the data and have everything compiled that this kind of task needs."""
        kind = (task.p, task.l2_reg > 0, task.fit_intercept, task.loss, task.n_alphas > 1, tiny)
        if kind not in self._warmed:
            self.call("warm", tiny, task)
            self._warmed.add(kind)
        if self._opened != folder:
            self.call("open", folder)
            self._opened = folder

    def fit(self, task: Task, tol: float, box: float, at_least: float = 0.0, most: int = 1):
        """Best and total seconds of one or more fits, each within ``box`` seconds."""
        return self.call("fit", task, tol, at_least, most, seconds=box + at_least)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = self._connection = self._opened = None
        self._warmed = set()


def store_tiny(folder: Path) -> dict[bool, Path]:
    """Small data for warming, by whether it is sparse.

    Correlated, so that a solver needs many epochs and compiles its acceleration as well.
    """
    small = correlated_dense(n_samples=40, n_features=80)
    store(small.X, small.y, folder / "tiny_dense")
    store(sp.csc_matrix(small.X), small.y, folder / "tiny_sparse")
    return {False: folder / "tiny_dense", True: folder / "tiny_sparse"}
