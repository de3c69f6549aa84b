"""Time float32 beside float64: Lasso at alpha_max/10 and /100, relative gap 1e-6, ours alone.

    python benchmarks/bench_float32.py [--data FOLDER] [--sets NAME ...] [--stem NAME]

Both fits are timed in turns; the gap is recomputed in float64 from the float32 design and the
coefficients as they were returned. Results go to benchmarks/results/float32.md;
``--stem ""`` writes none.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
from comparison.certificates import Certifier
from comparison.datasets import Library
from comparison.problems import PROBLEMS
from comparison.report import table
from threadpoolctl import threadpool_limits

from sklearn_sparselp import SparseLpRegressor

RESULTS = Path(__file__).resolve().parent / "results"
TARGET, ROUNDS = 1e-6, 7


def measure(dataset, divisor: int) -> list:
    """One row: data, strength, both times in ms, their ratio, and the gap of each dtype."""
    y = dataset.y - dataset.y.mean()
    wide, narrow = dataset.X, dataset.X.astype(np.float32)
    certifier = Certifier(narrow.astype(np.float64), y)
    task = PROBLEMS["lasso"].task(certifier, divisor, False)
    best, gaps = {}, {}
    for _ in range(ROUNDS):
        for X in (wide, narrow):
            model = SparseLpRegressor(
                p=1, alpha=task.alpha, fit_intercept=False, tol=TARGET / 2, max_iter=100_000
            )
            begin = time.perf_counter()
            model.fit(X, y)
            spent = time.perf_counter() - begin
            kind = X.dtype.name
            best[kind] = min(best.get(kind, math.inf), spent)
            judge = Certifier(wide, y) if X is wide else certifier
            gaps[kind] = judge(model.coef_, 0.0, task).gap
    ratio = best["float32"] / best["float64"]
    return [dataset.name, divisor, best["float64"], best["float32"], ratio, *gaps.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", default=os.environ.get("SPARSELP_DATA"), help="as for compare.py")
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--stem", default="float32")
    options = parser.parse_args()
    library, rows = Library(options.data, False), []
    with threadpool_limits(1):
        for name in options.sets or library.names():
            dataset = library.load(name)
            for divisor in (10, 100):
                rows.append(measure(dataset, divisor))
                print(
                    *(f"{entry:.3g}" if isinstance(entry, float) else entry for entry in rows[-1]),
                    flush=True,
                )
    mean = math.exp(np.mean([math.log(row[4]) for row in rows]))
    shown = [
        [
            name,
            f"/{divisor}",
            f"{1e3 * a:.3g} ms",
            f"{1e3 * b:.3g} ms",
            f"{ratio:.2f}",
            f"{g:.1e}",
            f"{h:.1e}",
        ]
        for name, divisor, a, b, ratio, g, h in rows
    ]
    slower = sum(row[4] > 1 for row in rows)
    header = ["data", "alpha_max", "float64", "float32", "ratio", "gap, float64", "gap, float32"]
    lines = [
        "# float32 beside float64",
        "",
        f"Lasso, one thread, relative gap {TARGET:g}: float32 takes {mean:.2f} of the time in "
        f"geometric mean over {len(rows)} cells and is slower in {slower}. "
        "Gaps are recomputed in float64.",
        "",
        *table(header, shown),
    ]
    print("\n".join(lines))
    if options.stem:
        (RESULTS / f"{options.stem}.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
