"""Time SparseLpRegularizer.apply beside the memory traffic that it cannot avoid.

Every cell is timed in the same rounds as its two yardsticks, the fastest call counts, and what
is printed beside the time are the ratios to

* contiguous: ``np.multiply(block, c, out=block)`` over as many contiguous bytes,
* C loop: ``param[indices] *= c`` as two nested loops in C (-O3) over as many rows,

so a ratio below 1 is faster than the yardstick. NumPy and the C loop use one thread; the operator
is shown with one thread and with all. Calls take turns over disjoint rows, so that nothing is timed
on a warm cache as long as ``param`` is several times as large as the last-level cache.

    python benchmarks/bench_operator.py [--rows N] [--columns N] [--touched N] [--rounds N]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from sklearn_sparselp import SparseLpRegularizer

C_LOOP = """
#include <stdint.h>
#define LOOP(NAME, REAL, INDEX)                                                       \\
    void NAME(REAL *param, const INDEX *indices, int64_t n, int64_t columns, REAL c)  \\
    {                                                                                 \\
        for (int64_t k = 0; k < n; ++k)                                               \\
            for (int64_t j = 0; j < columns; ++j)                                     \\
                param[indices[k] * columns + j] *= c;                                 \\
    }
LOOP(gather_float32_int32, float, int32_t)
LOOP(gather_float32_int64, float, int64_t)
LOOP(gather_float64_int32, double, int32_t)
LOOP(gather_float64_int64, double, int64_t)
"""
# so small that hours of updates leave the weights as they are
TINY = 1e-9
UPDATES = {
    "decay p=2": SparseLpRegularizer(2, TINY, update="decay"),
    "decay p=1": SparseLpRegularizer(1, TINY, update="decay"),
    "proximal p=2": SparseLpRegularizer(2, TINY),
    "proximal p=1": SparseLpRegularizer(1, TINY),
    "proximal p=2, masked": SparseLpRegularizer(2, TINY, TINY),
    "proximal p=1, masked": SparseLpRegularizer(1, TINY, TINY),
}
Calls = list[Callable[[], object]]


def compile_c_loop(directory: str) -> ctypes.CDLL:
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    source, library = Path(directory, "gather.c"), Path(directory, "gather.so")
    source.write_text(C_LOOP, encoding="utf-8")
    subprocess.run([compiler, "-O3", "-fPIC", "-shared", source, "-o", library], check=True)
    return ctypes.CDLL(str(library))


def c_gather(library: ctypes.CDLL, param: np.ndarray, indices: np.ndarray) -> Callable[[], object]:
    function = getattr(library, f"gather_{param.dtype}_{indices.dtype}")
    real = ctypes.c_float if param.dtype == np.float32 else ctypes.c_double
    function.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 2 + [real]
    function.restype = None
    arguments = (param.ctypes.data, indices.ctypes.data, len(indices), param.shape[1], 1.0 - TINY)
    return lambda: function(*arguments)


def applications(regularizer: SparseLpRegularizer, param: np.ndarray, sets: np.ndarray) -> Calls:
    return [lambda rows=rows: regularizer.apply(param, rows) for rows in sets]


def fastest(calls: dict[str, Calls], rounds: int) -> dict[str, float]:
    """Milliseconds of the fastest call of each name, the names taking turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for turn in zip(*calls.values(), strict=True):
            for name, call in zip(calls, turn, strict=True):
                start = time.perf_counter()
                call()
                best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def shifted(calls: Calls, fraction: float) -> Calls:
    """Start the list elsewhere, so that two yardsticks do not touch the same rows in a turn."""
    start = round(fraction * len(calls))
    return calls[start:] + calls[:start]


def touched_rows(param: np.ndarray, n_touched: int, rounds: int, rng: np.random.Generator) -> None:
    n_rows, n_columns = param.shape
    n_sets, n_threads = n_rows // n_touched, os.cpu_count() or 1
    permutation = rng.permutation(n_rows)[: n_sets * n_touched].reshape(n_sets, n_touched)
    blocks = [param[i * n_touched : (i + 1) * n_touched] for i in range(n_sets)]
    factor = param.dtype.type(1.0 - TINY)
    contiguous = [lambda block=block: np.multiply(block, factor, out=block) for block in blocks]
    megabytes = n_touched * n_columns * param.itemsize / 1e6
    print(f"{n_touched} of {n_rows} rows of {n_columns} {param.dtype}, {megabytes:.1f} MB, in ms\n")
    ratios = f"{'/contig.':>9}{'/C loop':>9}"
    print(
        f"{'update':22}{'rows':8}{'indices':9}{'contiguous':>11}{'C loop':>8}"
        f"{'1 thread':>11}{ratios}{f'{n_threads} threads':>11}{ratios}"
    )
    with tempfile.TemporaryDirectory() as directory:
        library = compile_c_loop(directory)
        for index_dtype in (np.int32, np.int64):
            for order in ("random", "sorted"):
                sets = permutation.astype(index_dtype)
                if order == "sorted":
                    sets.sort(axis=1)
                loop = [c_gather(library, param, rows) for rows in sets]
                for label, regularizer in UPDATES.items():
                    update = applications(regularizer, param, sets)
                    calls = {
                        "contiguous": contiguous,
                        "loop": shifted(loop, 1 / 3),
                        "update": shifted(update, 2 / 3),
                    }
                    with threadpool_limits(1, user_api="openmp"):
                        one = fastest(calls, rounds)
                    with threadpool_limits(n_threads, user_api="openmp"):
                        many = fastest(calls, rounds)
                    cells = "".join(
                        f"{best['update']:11.2f}{best['update'] / best['contiguous']:9.2f}"
                        f"{best['update'] / best['loop']:9.2f}"
                        for best in (one, many)
                    )
                    print(
                        f"{label:22}{order:8}{np.dtype(index_dtype).name:9}"
                        f"{one['contiguous']:11.2f}{one['loop']:8.2f}{cells}",
                        flush=True,
                    )


def all_rows(param: np.ndarray, rounds: int) -> None:
    factor = param.dtype.type(1.0 - TINY)
    lasso, ridge = SparseLpRegularizer(1, TINY, TINY), SparseLpRegularizer(2, TINY, TINY)
    calls: dict[str, Calls] = {
        "np.multiply(param, c, out=param)": [lambda: np.multiply(param, factor, out=param)],
        "np.abs(param).sum()": [lambda: np.abs(param).sum()],
        "loss, p=1": [lambda: lasso.loss(param)],
        "loss, p=2": [lambda: ridge.loss(param)],
        "mask": [lambda: lasso.mask(param)],
        "gradient, p=1": [lambda: lasso.gradient(param)],
        "gradient, p=2": [lambda: ridge.gradient(param)],
    }
    for label, regularizer in UPDATES.items():
        calls[f"apply, {label}"] = [lambda r=regularizer: r.apply(param)]
    with threadpool_limits(1, user_api="openmp"):
        best = fastest(calls, rounds)
    multiply = best["np.multiply(param, c, out=param)"]
    print(f"\nall {param.shape[0]} rows, one thread\n")
    for label, duration in best.items():
        print(f"{label:34}{duration:9.2f} ms{duration / multiply:8.2f} of np.multiply")


def other_orders(rounds: int, rng: np.random.Generator) -> None:
    print("\nproximal update of 100000 normal weights, alpha = 0.1, one thread\n")
    start = rng.normal(size=100_000)
    for p in (0.0, 0.5, 2.0 / 3.0, 0.9, 1.3, 1.5, 3.0):
        regularizer = SparseLpRegularizer(p, 0.1)
        copies = [start.copy() for _ in range(rounds)]
        calls: Calls = [lambda copy=copy, r=regularizer: r.apply(copy) for copy in copies]
        with threadpool_limits(1, user_api="openmp"):
            best = fastest({"apply": calls}, 1)
        print(f"p = {p:<8.3g}{best['apply'] * 1e6 / start.size:8.1f} ns a weight")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--touched", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    param = rng.standard_normal((options.rows, options.columns), dtype=options.dtype)
    touched_rows(param, options.touched, options.rounds, rng)
    all_rows(param, options.rounds)
    other_orders(options.rounds, rng)


if __name__ == "__main__":
    main()
