"""Time L1 logistic regression to a relative suboptimality of 1e-6, beside the peers.

Every solver runs at the loosest tolerance (half decades) at which its objective, recomputed, is
within 1e-6 of the best one known; all are then timed in turns, together with one pass X.T @ r, and
the least time counts. No intercept; one thread; the target is a label, above its median or not.

    python benchmarks/bench_logistic.py [--data FOLDER] [--sets NAME ...] [--seconds S]

Results go to benchmarks/results/logistic.md and logistic.json; `--stem ""` writes none. A solver
that gets nowhere within ``--seconds`` for a fit is left out of its cell. Peers that compile at run
time are warmed up by the search for their tolerance.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from comparison.datasets import Library
from comparison.report import machine, table
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sklearn_sparselp import SparseLpClassifier

RESULTS = Path(__file__).resolve().parent / "results"
TARGET = 1e-6
ROUNDS = 5
RUNGS = np.sqrt(10.0) ** -np.arange(2.0, 25.0)
DIVISORS = (10, 100)


def sparselp(X, y, alpha, tol):
    model = SparseLpClassifier(1.0, alpha, fit_intercept=False, tol=tol, max_iter=10**6)
    return model.fit(X, y).coef_[0]


def skglm(X, y, alpha, tol):
    from skglm import GeneralizedLinearEstimator
    from skglm.datafits import Logistic
    from skglm.penalties import L1
    from skglm.solvers import ProxNewton

    solver = ProxNewton(tol=tol * alpha, fit_intercept=False, max_iter=100)
    return np.ravel(GeneralizedLinearEstimator(Logistic(), L1(alpha), solver).fit(X, y).coef_)


def celer(X, y, alpha, tol):
    from celer import LogisticRegression as Celer

    model = Celer(C=1.0 / (y.size * alpha), tol=tol, fit_intercept=False, max_iter=1000)
    return np.ravel(model.fit(X, y).coef_)


def _scikit_learn(solver):
    def fit(X, y, alpha, tol):
        model = LogisticRegression(
            C=1.0 / (y.size * alpha), l1_ratio=1.0, solver=solver, tol=tol, max_iter=10**6,
            fit_intercept=False, random_state=0,
        )  # fmt: skip
        return np.ravel(model.fit(X, y).coef_)

    return fit


SOLVERS = {
    "sparselp": sparselp,
    "skglm": skglm,
    "celer": celer,
    "liblinear": _scikit_learn("liblinear"),
}


def objective(X, y, w, alpha) -> float:
    return float(np.logaddexp(0.0, -y * (X @ w)).mean() + alpha * np.abs(w).sum())


def seconds_of(call) -> tuple[float, object]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def measure(X, y, alpha, patience) -> dict:
    """Seconds of each solver that reaches the target, of a pass, and the features of ours."""
    best = objective(X, y, sparselp(X, y, alpha, 1e-9), alpha)
    found, row = {}, {}
    for name, fit in SOLVERS.items():
        begun = time.perf_counter()
        for tol in RUNGS:
            try:
                took, w = seconds_of(lambda fit=fit, tol=tol: fit(X, y, alpha, tol))
            except ImportError:
                break
            if objective(X, y, w, alpha) <= best * (1.0 + TARGET):
                found[name] = tol
                row.setdefault("features", int(np.count_nonzero(w)))
                break
            if took > patience or time.perf_counter() - begun > 3.0 * patience:
                break
    times = dict.fromkeys([*found, "pass"], np.inf)
    r = np.ones(y.size)
    for _ in range(ROUNDS):
        times["pass"] = min(times["pass"], *(seconds_of(lambda: X.T @ r)[0] for _ in range(3)))
        for name, tol in found.items():
            fit = SOLVERS[name]
            times[name] = min(
                times[name], seconds_of(lambda fit=fit, tol=tol: fit(X, y, alpha, tol))[0]
            )
    return row | {"seconds": times, "objective": best}


def known(package: str) -> bool:
    """Whether a package is installed."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SPARSELP_DATA"))
    parser.add_argument("--sets", nargs="+", default=["sparse_text", "breast_cancer_cubic"])
    parser.add_argument("--seconds", type=float, default=10.0, help="patience with one fit")
    parser.add_argument("--stem", default="logistic")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    library, cells = Library(options.data), []
    for name in options.sets:
        dataset = library.load(name)
        X = dataset.X if sp.issparse(dataset.X) else np.asfortranarray(dataset.X)
        y = np.where(dataset.y > np.median(dataset.y), 1.0, -1.0)
        if y.min() == y.max():
            y = np.where(dataset.y == dataset.y.max(), 1.0, -1.0)
        largest = float(np.abs(X.T @ (0.5 * y)).max()) / y.size
        for divisor in DIVISORS:
            with threadpool_limits(1):
                cell = measure(X, y, largest / divisor, options.seconds)
            cells.append({"data": name, "shape": list(X.shape), "divisor": divisor} | cell)
            print(
                name,
                divisor,
                {k: round(1e3 * v, 2) for k, v in cell["seconds"].items()},
                flush=True,
            )
    head = ["data", "alpha_max", "one pass, ms", *(f"{name}, ms (passes)" for name in SOLVERS)]
    rows = []
    for cell in cells:
        times = cell["seconds"]
        shown = [
            f"{1e3 * times[name]:.3g} ({times[name] / times['pass']:.0f})" if name in times else ""
            for name in SOLVERS
        ]
        shape = " × ".join(map(str, cell["shape"]))
        rows.append(
            [
                f"{cell['data']} ({shape})",
                f"/{cell['divisor']}",
                f"{1e3 * times['pass']:.3g}",
                *shown,
            ]
        )
    command = f"python benchmarks/bench_logistic.py --sets {' '.join(options.sets)}"
    packages = ("sklearn_sparselp", "skglm", "celer", "scikit-learn")
    versions = {package: metadata.version(package) for package in packages if known(package)}
    computer = machine(1, versions)
    about = ", ".join(f"{package} {version}" for package, version in versions.items())
    about = f"{computer['processor']}, 1 thread of {computer['cores']} cores; {about}."
    text = ["# L1 logistic regression", "", f"`{command}`", "", about, "", *table(head, rows)]
    print("\n".join(text))
    if options.stem:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{options.stem}.md").write_text("\n".join(text) + "\n")
        found = {"command": command, "machine": computer, "target": TARGET, "cells": cells}
        (RESULTS / f"{options.stem}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
