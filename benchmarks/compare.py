"""Compare the estimators with peers (README.md has their list) at equal, recomputed quality.

    python benchmarks/compare.py --quick
    python benchmarks/compare.py --data FOLDER --sets leukemia news20 --problems lasso l1/2

See benchmarks/README.md for the protocol.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)

PROTOCOL = (
    "{centring} Every solver runs at the loosest tolerance (half decades) whose *recomputed* "
    "certificate reaches the target, gets CSC or dense Fortran-ordered float64 (the rows variants "
    "get CSR, conversion timed), and is timed in turns with the others: least of up to "
    "{rounds} rounds after a warm-up fit. A pass is one X.T @ r on the same CSC or dense X in the "
    "same cell. `> t` marks a fit that was ended after t or a search that found no end."
)


def parse(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--data",
        default=os.environ.get("SPARSELP_DATA"),
        help="folder with load.py (names(), load(name)); also SPARSELP_DATA. Without it the "
        "generated and bundled sets are used",
    )
    parser.add_argument("--sets", nargs="+", help="data sets (default: all)")
    parser.add_argument("--problems", nargs="+", help="problem families (default: all)")
    parser.add_argument("--peers", nargs="+", help="solvers (default: all that are installed)")
    parser.add_argument("--targets", nargs="+", type=float, default=[1e-6], help="certificates")
    parser.add_argument("--divisors", nargs="+", type=int, help="alpha = alpha_max / divisor")
    parser.add_argument("--intercept", action="store_true", help="fit it, do not centre y")
    parser.add_argument("--raw", action="store_true", help="do not standardise dense sets")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few sets and problems, ~3 minutes")
    parser.add_argument("--rounds", type=int, default=5, help="timings per solver and cell")
    parser.add_argument("--box", type=float, default=30.0, help="patience with one fit, seconds")
    parser.add_argument("--minutes", type=float, default=30.0, help="start no cell after this")
    parser.add_argument(
        "--fresh",
        choices=("all", "ours", "none"),
        default="ours",
        help="whose first fit and memory to measure in new processes",
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", help="folder for results"
    )
    parser.add_argument(
        "--stem", default="compare", help="name of the result files, empty for none"
    )
    return parser.parse_args(arguments)


def _chosen(given, known, what):
    unknown = [name for name in given if name not in known]
    if unknown:
        raise SystemExit(f"unknown {what}: {', '.join(unknown)}; known: {', '.join(known)}")
    return list(given)


def main() -> None:
    options = parse()
    # numerical libraries read these when they are first imported, here and in the workers
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(options.threads)

    from comparison import problems, report
    from comparison.datasets import QUICK, Library
    from comparison.measure import Bench, Protocol
    from comparison.peers import SOLVERS

    library = Library(options.data, options.raw)
    default_sets = [n for n in library.names() if n in QUICK] if options.quick else library.names()
    default_problems = problems.QUICK if options.quick else tuple(problems.PROBLEMS)
    families = [
        problems.PROBLEMS[name]
        for name in _chosen(
            options.problems or default_problems, problems.PROBLEMS, "problem families"
        )
    ]
    protocol = Protocol(
        fit_intercept=options.intercept,
        rounds=3 if options.quick else options.rounds,
        box=min(options.box, 10.0) if options.quick else options.box,
        deadline=time.monotonic() + 60 * options.minutes,
    )
    cells, fresh = [], []
    with tempfile.TemporaryDirectory(prefix="sparselp-compare-") as folder:
        bench = Bench(
            _chosen(options.peers or tuple(SOLVERS), SOLVERS, "solvers"), protocol, Path(folder)
        )
        header = {
            "command": shlex.join(["python", "benchmarks/compare.py", *_public(sys.argv[1:])]),
            "machine": report.machine(options.threads, bench.available()),
            "protocol": PROTOCOL.format(
                centring="With intercept."
                if options.intercept
                else "No intercept; y centred for the squared error.",
                rounds=protocol.rounds,
            ),
        }
        try:
            for name in options.sets or default_sets:
                dataset = library.load(name)
                measured = []
                for cell in bench.run(dataset, families, options.targets, options.divisors):
                    measured.append(cell)
                    print(_line(cell), flush=True)
                cells += measured
                if measured and options.fresh != "none":
                    wanted = [n for n in bench.workers if SOLVERS[n].storage == "columns"]
                    if options.fresh == "ours":
                        wanted = [n for n in wanted if SOLVERS[n].ours]
                    fresh += bench.fresh(dataset, measured[0], wanted)
                bench.forget(dataset)
        finally:
            bench.close()
        if protocol.expired:
            header["protocol"] += " The time limit ended the run before the grid was complete."
    if not cells:
        raise SystemExit("nothing was measured")
    print(report.write(options.out, options.stem, cells, fresh, header))
    if options.stem:
        print(f"written to {options.out / options.stem}.md, .json, .png")


def _public(arguments):
    """The command line without the value of --data and --out, which are places on one machine."""
    hidden = False
    for argument in arguments:
        yield "FOLDER" if hidden else argument
        hidden = argument in ("--data", "--out")


def _line(cell) -> str:
    parts = []
    for name, result in cell.results.items():
        shown = f"{1e3 * result['seconds']:.4g} ms" if "seconds" in result else result["status"]
        parts.append(f"{name} {shown}")
    return f"{cell.dataset} {cell.problem} /{cell.divisor} {cell.target:g}: " + ", ".join(parts)


if __name__ == "__main__":
    main()
