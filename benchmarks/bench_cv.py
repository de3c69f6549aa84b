"""Time cross-validation along paths beside scikit-learn and glmnet.

Each task has the same folds, the same strengths and the same stopping tolerance for everybody:

* lasso: 100 strengths down to 1/100 of alpha_max, 5 folds, duality gap 1e-4 of the
  objective at zero (LassoCV measures it against the squared norm of y, twice that),
* logistic: 20 strengths down to 1/100 of alpha_max, 5 stratified folds of about one size, L1,
  without intercept; LogisticRegressionCV with saga has no certificate and gets ``tol=1e-4``, its
  default.

glmnet has no certificate either. It gets ``thresh=1e-11``, the largest power of 10 that leaves no
gap above 1e-4 on paths of leukemia, colon, dorothea and rcv1_1500 (its default, 1e-7, up to 9e-3).
Its paths on the folds and on everything are timed with a plain loop for the scores.

Everybody runs in a process of its own, with one thread, and is ended after `--patience` seconds.
The table says how far the mean scores of the folds are apart.

    python benchmarks/bench_cv.py [--data FOLDER] [--sets NAME ...] [--tasks lasso logistic]
        [--patience S] [--stem NAME]

Results go to benchmarks/results/cv.md and cv.json; `--stem ""` writes none.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import sklearn
from comparison.datasets import Library
from comparison.report import machine, table
from sklearn.linear_model import LassoCV, LogisticRegressionCV
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

import sklearn_sparselp
from sklearn_sparselp import SparseLpClassifierCV, SparseLpRegressorCV, alpha_max

RESULTS = Path(__file__).resolve().parent / "results"
N_FOLDS, TOL = 5, 1e-4
LASSO_ALPHAS, LOGISTIC_ALPHAS, RATIO = 100, 20, 1e-2
SETS = ("sparse_text", "correlated_dense", "diabetes", "breast_cancer_cubic")
REAL = ("leukemia", "colon", "riboflavin", "gisette_1000", "dorothea", "rcv1_1500", "news20")
# A second fit is timed where the first took no longer, and more of them until this is spent.
AGAIN_BELOW = 5.0
AT_LEAST = 0.5


def sparselp_lasso(X, y, alphas, folds):
    model = SparseLpRegressorCV(alphas=alphas, cv=folds, tol=TOL).fit(X, y)
    return -model.cv_scores_[0, 0].mean(axis=1)


def sklearn_lasso(X, y, alphas, folds):
    return LassoCV(alphas=alphas, cv=folds, tol=TOL, max_iter=100_000).fit(X, y).mse_path_.mean(1)


def sparselp_logistic(X, y, alphas, folds):
    options = {"scoring": "neg_log_loss", "fit_intercept": False, "tol": TOL}
    model = SparseLpClassifierCV(alphas=alphas, cv=folds, **options).fit(X, y)
    return -model.cv_scores_[0, 0].mean(axis=1)


def sklearn_logistic(X, y, alphas, folds):
    size = np.mean([len(train) for train, _ in folds])
    new = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) >= (1, 8)
    l1 = {"l1_ratios": (1.0,), "use_legacy_attributes": False} if new else {"penalty": "l1"}
    model = LogisticRegressionCV(
        Cs=1.0 / (size * alphas), cv=folds, solver="saga", scoring="neg_log_loss", tol=TOL,
        max_iter=10_000, fit_intercept=False, random_state=0, **l1,
    ).fit(X, y)  # fmt: skip
    scores = model.scores_ if isinstance(model.scores_, np.ndarray) else model.scores_[1]
    return -scores.reshape(len(folds), -1).mean(axis=0)


def glmnet_path(kind, X, y, alphas, fit_intercept):
    """Return coefficients of shape (n_features, n_alphas) and intercepts."""
    found = kind(
        lambda_path=alphas, n_splits=0, standardize=False, fit_intercept=fit_intercept,
        tol=1e-11, max_iter=10_000_000,
    ).fit(X, y)  # fmt: skip
    coefs = np.asarray(found.coef_path_)
    return coefs.reshape(-1, coefs.shape[-1]), np.ravel(found.intercept_path_)


def glmnet_lasso(X, y, alphas, folds):
    from glmnet import ElasticNet

    errors = []
    for train, test in folds:
        coefs, intercepts = glmnet_path(ElasticNet, X[train], y[train], alphas, True)
        errors.append(np.mean((y[test, None] - X[test] @ coefs - intercepts) ** 2, axis=0))
    glmnet_path(ElasticNet, X, y, alphas, True)
    return np.mean(errors, axis=0)


def glmnet_logistic(X, y, alphas, folds):
    from glmnet import LogitNet

    signs = np.where(y == y.max(), 1.0, -1.0)
    losses = []
    for train, test in folds:
        coefs, intercepts = glmnet_path(LogitNet, X[train], y[train], alphas, False)
        margins = signs[test, None] * (X[test] @ coefs + intercepts)
        losses.append(np.logaddexp(0.0, -margins).mean(axis=0))
    glmnet_path(LogitNet, X, y, alphas, False)
    return np.mean(losses, axis=0)


TASKS = {
    "lasso": {"sparselp": sparselp_lasso, "scikit-learn": sklearn_lasso, "glmnet": glmnet_lasso},
    "logistic": {
        "sparselp": sparselp_logistic,
        "scikit-learn": sklearn_logistic,
        "glmnet": glmnet_logistic,
    },
}
PEERS = ("scikit-learn", "glmnet")


def two_classes(y: np.ndarray) -> np.ndarray:
    """The target itself where it has two values, else which half of its median."""
    return y if np.unique(y).size == 2 else (y > np.median(y)).astype(float)


def prepare(task: str, X, y):
    """Design, target, strengths and folds of a task; C order or CSR where rows are drawn."""
    if task == "lasso":
        alphas = alpha_max(X, y) * np.geomspace(1.0, RATIO, LASSO_ALPHAS)
        return X, y, alphas, list(KFold(N_FOLDS, shuffle=True, random_state=0).split(y))
    y = two_classes(y)
    X = X.tocsr() if sp.issparse(X) else np.ascontiguousarray(X)
    top = alpha_max(X, y, loss="log_loss", fit_intercept=False)
    alphas = top * np.geomspace(1.0, RATIO, LOGISTIC_ALPHAS)
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    return X, y, alphas, list(folds.split(y, y))


def timed(task: str, name: str, data, out) -> None:
    """Run in a process of its own: seconds of the fastest fit, and the mean scores."""
    warnings.simplefilter("ignore")
    seconds: list[float] = []
    with threadpool_limits(limits=1):
        while len(seconds) < 2 or sum(seconds) < AT_LEAST:
            if seconds and seconds[0] >= AGAIN_BELOW:
                break
            started = time.perf_counter()
            scores = TASKS[task][name](*data)
            seconds.append(time.perf_counter() - started)
    out.put((min(seconds), scores))


def measure(task: str, name: str, data, patience: float) -> tuple[float | None, np.ndarray | None]:
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    process = context.Process(target=timed, args=(task, name, data, out))
    process.start()
    try:
        return out.get(timeout=patience)
    except Exception:
        return None, None
    finally:
        process.kill()
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SPARSELP_DATA"))
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--patience", type=float, default=120.0)
    parser.add_argument("--stem", default="cv")
    arguments = parser.parse_args()
    library = Library(arguments.data)
    names = arguments.sets or [n for n in (*SETS, *REAL) if n in library.names()]
    rows, cells = [], []
    for task in arguments.tasks:
        for name in names:
            data = library.load(name)
            case = prepare(task, data.X, data.y)
            found = {peer: measure(task, peer, case, arguments.patience) for peer in TASKS[task]}
            own, scores = found["sparselp"]
            cell = {"task": task, "set": name, "seconds": {p: s for p, (s, _) in found.items()}}
            apart = {
                peer: float(np.abs(theirs - scores).max() / np.abs(scores).max())
                for peer, (_, theirs) in found.items()
                if peer != "sparselp" and theirs is not None and scores is not None
            }
            cells.append(cell | {"scores_apart": apart})
            row = [task, name, f"{own:.3g}" if own else f"> {arguments.patience:g}"]
            for peer in PEERS:
                theirs = found[peer][0]
                seconds = theirs or arguments.patience
                row.append(f"{seconds:.3g}" if theirs else f"> {seconds:g}")
                row.append(f"{seconds / own:.2g}" if own else "")
                row.append(f"{apart[peer]:.0e}" if peer in apart else "")
            rows.append(row)
            print(*row, sep=" | ", flush=True)
    summary = {}
    for task in arguments.tasks:
        solved = [c["seconds"] for c in cells if c["task"] == task and c["seconds"]["sparselp"]]
        summary[task] = {
            peer: float(np.exp(np.mean([
                np.log((seconds[peer] or arguments.patience) / seconds["sparselp"])
                for seconds in solved
            ])))
            for peer in PEERS
        }  # fmt: skip
    if not arguments.stem:
        return
    versions = {
        "sklearn_sparselp": sklearn_sparselp.__version__,
        "scikit-learn": sklearn.__version__,
        "python-glmnet": version("python-glmnet"),
    }
    system = machine(1, versions)
    header = ["task", "data", "sparselp, s"]
    for peer in PEERS:
        header += [f"{peer}, s", "times ours", "scores apart"]
    means = "; ".join(
        f"{task}: " + ", ".join(f"{peer} {value:.2g}" for peer, value in of_task.items())
        for task, of_task in summary.items()
    )
    text = [
        "# Cross-validation along paths",
        "",
        "`python benchmarks/bench_cv.py`",
        "",
        f"{system['processor']}, one thread; scikit-learn {sklearn.__version__}, "
        f"python-glmnet {version('python-glmnet')}. Geometric means of the time of a peer beside "
        f"ours: {means}. Where a peer was ended, the time until then counts.",
        "",
        *table(header, rows),
    ]
    content = {"machine": system, "cells": cells, "summary": summary}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{arguments.stem}.json").write_text(json.dumps(content, indent=1) + "\n")
    (RESULTS / f"{arguments.stem}.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
