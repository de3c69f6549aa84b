"""Time prediction from few coefficients among many features, one row at a time and in batches.

Models are put together, not fitted: coefficients that are not zero at random among the features,
and sparse rows (CSR) with as many stored values each. Every model predicts the same rows,

* dense: coefficients in an ndarray, as `fit` leaves them,
* sparse: after `sparsify`,

and beside it stand scikit-learn's LogisticRegression with the same coefficients and the yardstick,
a dense dot product: ``row @ coef.T`` in NumPy with that row in dense memory, nothing checked. One
row at a time every call gets another row; p50 and p99 are percentiles of the calls in turn.

    python benchmarks/bench_predict.py [--features N] [--selected N] [--stored N] [--stem NAME]

Results go to benchmarks/results/predict.md and predict.json; `--stem ""` writes none.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy
import scipy.sparse as sp
import sklearn
from comparison.report import machine, table
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import sklearn_sparselp
from sklearn_sparselp import SparseLpClassifier

RESULTS = Path(__file__).resolve().parent / "results"
# Of one measurement of single calls.
SECONDS = 2.0
MOST_CALLS = 5_000
SETTING = ("classes", "features", "selected", "stored")
SINGLE_ROWS, BATCH_ROWS, DENSE_ROWS = 1_000, 10_000, 16


def make_rows(n_rows: int, n_features: int, n_stored: int, chosen: np.ndarray, seed: int):
    """CSR rows: a tenth of the stored values at chosen features, so that they decide something."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(0, n_features, (n_rows, n_stored), dtype=np.int32)
    columns[:, : n_stored // 10] = rng.choice(chosen, (n_rows, n_stored // 10))
    columns.sort(axis=1)
    indptr = np.arange(n_rows + 1, dtype=np.int32) * n_stored
    data = rng.standard_normal(n_rows * n_stored)
    X = sp.csr_array((data, columns.ravel(), indptr), shape=(n_rows, n_features))
    X.sum_duplicates()
    return X


def coefficients(n_outputs: int, n_features: int, n_selected: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(n_features, n_selected, replace=False)).astype(np.int32)
    coef = np.zeros((n_outputs, n_features))
    coef[:, chosen] = rng.standard_normal((n_outputs, n_selected))
    return coef, chosen


def put_together(cls: type, coef: np.ndarray, sparsified: bool):
    """A model of the class with these coefficients."""
    model = cls().fit([[0.0], [1.0]], [0, 1])
    model.coef_, model.intercept_ = coef.copy(), np.zeros(coef.shape[0])
    model.classes_, model.n_features_in_ = np.arange(max(2, coef.shape[0])), coef.shape[1]
    return model.sparsify() if sparsified else model


def percentiles(call: Callable[[object], object], rows: list) -> dict[str, float]:
    """Microseconds of single calls, each for another row."""
    times: list[float] = []
    call(rows[-1])
    started = time.perf_counter()
    while len(times) < MOST_CALLS and (len(times) < 30 or time.perf_counter() - started < SECONDS):
        row = rows[len(times) % len(rows)]
        start = time.perf_counter()
        call(row)
        times.append(1e6 * (time.perf_counter() - start))
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "calls": len(times)}


def least(call: Callable[[object], object], rows: object, repeats: int = 5) -> float:
    """Microseconds of the fastest of some calls, ended after some seconds."""
    best, started = np.inf, time.perf_counter()
    for _ in range(repeats):
        start = time.perf_counter()
        call(rows)
        best = min(best, 1e6 * (time.perf_counter() - start))
        if time.perf_counter() - started > 3 * SECONDS:
            break
    return float(best)


def contestants(coef: np.ndarray) -> Iterator[tuple[str, str, object]]:
    for name, cls in (("sparselp", SparseLpClassifier), ("scikit-learn", LogisticRegression)):
        for state in ("dense", "sparse"):
            yield name, state, put_together(cls, coef, state == "sparse")


def cells_of(n_outputs: int, n_features: int, n_selected: int, n_stored: int) -> list[dict]:
    """Measure all models on the same rows; raise where they disagree with the dense product."""
    coef, chosen = coefficients(n_outputs, n_features, n_selected)
    values = (max(2, n_outputs), n_features, n_selected, n_stored)
    setting = dict(zip(SETTING, values, strict=True))
    batch = make_rows(BATCH_ROWS, n_features, n_stored, chosen, 1)
    rows = [batch[i : i + 1] for i in range(SINGLE_ROWS)]
    n_dense = max(1, min(DENSE_ROWS, int(4e8 / (8 * n_features))))
    dense = batch[:n_dense].toarray()
    expected = dense @ coef.T
    found = [
        {
            **setting,
            "model": "dense dot product",
            "state": "",
            "row": percentiles(
                lambda row: row @ coef.T, [dense[i : i + 1] for i in range(n_dense)]
            ),
            "batch_row": least(lambda X: X @ coef.T, dense) / n_dense,
        }
    ]
    for name, state, model in contestants(coef):
        decision = np.reshape(model.decision_function(batch[:n_dense]), expected.shape)
        np.testing.assert_allclose(decision, expected, rtol=1e-9, atol=1e-9)
        found.append(
            {
                **setting,
                "model": name,
                "state": state,
                "row": percentiles(model.predict, rows),
                "batch_row": least(model.predict, batch) / batch.shape[0],
            }
        )
    return found


def settings(options: argparse.Namespace) -> Iterator[tuple[str, list[tuple[int, int, int, int]]]]:
    """The tables: what varies, and outputs, features, selected and stored values of each group."""
    d, s, m = options.features, options.selected, options.stored
    yield "Two classes and twenty", [(1, d, s, m), (20, d, s, m)]
    yield "Growing number of features", [(1, k * d // 100, s, m) for k in (1, 10, 100, 1000)]
    yield "Growing number of selected features", [(1, d, k * s // 10, m) for k in (1, 10, 100)]


def render(tables: dict[str, list[dict]], header: dict) -> str:
    """The Markdown of all tables."""
    lines = ["# Prediction from few of many features", "", f"`{header['command']}`", ""]
    here = header["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    lines += [
        f"{here['processor']}, 1 thread of {here['cores']} cores, load "
        f"{here['load_average']:.1f} at the start; Python {here['python']}, {versions}.",
        "",
        "`predict` on CSR rows: one row at a time (percentiles over up to "
        f"{MOST_CALLS} calls, each for another of {SINGLE_ROWS} rows) and {BATCH_ROWS} rows at "
        "once (least of 5, time per row). The dense dot product is `row @ coef.T` in NumPy on the "
        f"same rows in dense memory, up to {DENSE_ROWS} of them, nothing checked. `ratio` is its "
        "time divided by that of the line. All decision values agree to 1e-9.",
        "",
    ]
    for title, cells in tables.items():
        lines += [f"## {title}", ""]
        rows = []
        for cell in cells:
            same = [c for c in cells if all(c[k] == cell[k] for k in SETTING)]
            yardstick = same[0]
            rows.append(
                [
                    f"{cell['classes']} classes, {cell['selected']:,} of {cell['features']:,}",
                    f"{cell['model']} {'(' + cell['state'] + ')' if cell['state'] else ''}".strip(),
                    f"{cell['row']['p50']:.1f} µs",
                    f"{cell['row']['p99']:.1f} µs",
                    f"{yardstick['row']['p50'] / cell['row']['p50']:.3g}",
                    f"{cell['batch_row']:.3g} µs",
                    f"{yardstick['batch_row'] / cell['batch_row']:.3g}",
                ]
            )
        columns = ["coefficients", "model", "row p50", "row p99", "ratio", "batch, a row", "ratio"]
        lines += table(columns, rows)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--selected", type=int, default=1_000)
    parser.add_argument("--stored", type=int, default=100, help="values in a row")
    parser.add_argument("--stem", default="predict", help="name of the results, empty for none")
    options = parser.parse_args()
    versions = {
        "sklearn_sparselp": sklearn_sparselp.__version__,
        "scikit-learn": sklearn.__version__,
        "scipy": scipy.__version__,
    }
    header = {
        "command": f"python benchmarks/bench_predict.py --features {options.features} "
        f"--selected {options.selected} --stored {options.stored}",
        "machine": machine(1, versions),
    }
    tables = {}
    with threadpool_limits(1):
        for title, group in settings(options):
            tables[title] = [cell for case in group for cell in cells_of(*case)]
            print(f"{title}: done", flush=True)
    text = render(tables, header)
    print(text)
    if options.stem:
        (RESULTS / f"{options.stem}.md").write_text(text, encoding="utf-8")
        content = json.dumps({**header, "tables": tables}, indent=1)
        (RESULTS / f"{options.stem}.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
