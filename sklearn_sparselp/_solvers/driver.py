"""Runs solvers side by side over one design: every pass over X serves all problems."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._threads import one_blas_thread
from .._warnings import warn_caller
from .coordinate_descent import Requests, coordinate_descent
from .design import Design
from .gradient_descent import gradient_descent
from .problem import Carry, Problem, SolveResult
from .proximal_gradient import proximal_gradient


@dataclass(frozen=True)
class Solver:
    """One row of the registry.

    Attributes
    ----------
    run : callable
        Generator function of a problem, see `coordinate_descent`.
    name : str
        In words, for messages.
    smooth_only : bool
        Whether it is limited to p > 1.
    """

    run: Callable[..., Requests]
    name: str
    smooth_only: bool = False


SOLVERS: dict[str, Solver] = {
    "cd": Solver(coordinate_descent, "coordinate descent"),
    "pg": Solver(proximal_gradient, "proximal gradient"),
    "gd": Solver(gradient_descent, "gradient descent", smooth_only=True),
}


# Up to so many features the Newton step of coordinate descent is cheap on all of them at once.
WIDE_FROM = 1000


def choose(problem: Problem) -> str:
    """Return the solver that ``"auto"`` stands for.

    Coordinate descent, except where no coefficient of a wide problem ends at 0: a
    working set would be all of X, and gradient descent is 1 to 17 times as fast (five real
    data sets, alpha_max/20, relative gap 1e-4). Below p = 1.5 and above 2 it is often the slower one.
    """
    wide = problem.design.n_features > max(problem.design.n_samples, WIDE_FROM)
    return "gd" if wide and problem.penalty.gentle and not problem.free.any() else "cd"


class Cancelled(Exception):
    """Another thread does not want the result of a fit any more."""


def solve(
    problems: Sequence[Problem],
    *,
    solver: str = "auto",
    max_iter: int = 1000,
    tol: float = 1e-4,
    coef_init: Sequence[np.ndarray] | None = None,
    intercept_init: Sequence[float] | None = None,
    verbose: int = 0,
    carries: Sequence[Carry] | None = None,
    warn: bool = True,
    cancelled: Event | None = None,
) -> list[SolveResult]:
    """Solve problems that share one design, sharing every pass over X.

    Parameters
    ----------
    problems : sequence of Problem
        All of one `Design` object.
    solver : {"auto", "cd", "pg", "gd"}
    max_iter : int
        Epochs of each problem.
    tol : float
        Of the stopping rule.
    coef_init : sequence of ndarray of shape (n_features,), or None
        Starts; zero by default.
    intercept_init : sequence of float, or None
    verbose : int
        Print a line per shared pass.
    carries : sequence of Carry, or None
        What the fits that ended at the starts have left; brought up to date by coordinate descent.
    warn : bool
        Whether to warn of problems that stopped at ``max_iter``.
    cancelled : threading.Event, or None
        Looked at before each pass.

    Returns
    -------
    list of SolveResult
        One per problem, in their order.

    Raises
    ------
    Cancelled
        When the event is set, by another thread.

    Warns
    -----
    ConvergenceWarning
        For each problem that stopped at ``max_iter``.
    """
    design = problems[0].design
    names = [choose(problem) if solver == "auto" else solver for problem in problems]
    by_columns = all(name == "cd" for name in names)
    runs = [
        SOLVERS[names[k]].run(
            problem,
            max_iter=max_iter,
            tol=tol,
            coef=np.zeros(design.n_features) if coef_init is None else np.asarray(coef_init[k], dtype=np.float64),
            intercept=problem.no_intercept if intercept_init is None else intercept_init[k],
            **({"carry": carries[k]} if carries is not None and names[k] == "cd" else {}),
        )
        for k, problem in enumerate(problems)
    ]
    results: list[SolveResult | None] = [None] * len(runs)
    waiting: deque[tuple[int, np.ndarray | None]] = deque((k, None) for k in range(len(runs)))
    n_passes = 0
    with one_blas_thread(design.n_stored):
        while waiting:
            requests: list[tuple[int, np.ndarray]] = []
            while waiting:
                k, answer = waiting.popleft()
                try:
                    requests.append((k, runs[k].send(answer)))
                except StopIteration as stop:
                    results[k] = stop.value
                del answer
            if not requests:
                break
            if cancelled is not None and cancelled.is_set():
                raise Cancelled
            if by_columns:
                # Not before: where features are few no pass may be needed.
                design.prefer_columns()
            products = design.rmatvec(np.array([vector for _, vector in requests]))
            n_passes += 1
            if verbose:
                print(f"pass {n_passes}: {len(requests)} of {len(runs)} problems still open")
            waiting.extend((k, product) for (k, _), product in zip(requests, products, strict=True))
            del products
    if verbose and not n_passes:
        print("no pass: solved on the Gram matrix that came with the moments")
    for problem, result in zip(problems, results, strict=True):
        if warn and not result.converged:
            _warn(problem, result, max_iter, tol)
    return results


def _warn(problem: Problem, result: SolveResult, max_iter: int, tol: float) -> None:
    by_gap = problem.convex and np.isfinite(result.dual_gap)
    what = "duality gap" if by_gap else "fixed-point residual"
    value = result.dual_gap if by_gap else result.fixed_point_residual
    limit = tol * problem.null_objective if by_gap else tol
    warn_caller(
        f"{SOLVERS[result.solver].name} stopped after {result.n_iter} of max_iter={max_iter} epochs with "
        f"{what} {value:.2e} > {limit:.2e}. Increase max_iter or tol, or standardise X.",
        ConvergenceWarning,
    )
