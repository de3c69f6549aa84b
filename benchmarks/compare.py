"""Compare the estimators with peers (README.md has their list) at equal, recomputed quality.

    python benchmarks/compare.py --quick
    python benchmarks/compare.py --data FOLDER --sets leukemia news20 --problems lasso l1/2
    python benchmarks/compare.py --data FOLDER --suite lasso lp path --stem all

See benchmarks/README.md for the protocol.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from comparison.threads import limit_threads

PROTOCOL = (
    "{centring} Every solver runs at the loosest tolerance (half decades) whose *recomputed* "
    "certificate reaches the target, gets CSC or dense Fortran-ordered float64 (the rows variants "
    "get CSR, conversion timed), and is timed in turns with the others: least of up to "
    "{rounds} rounds after a warm-up fit. A pass is one X.T @ r on the same CSC or dense X in the "
    "same cell. `> t` marks a fit that was ended after t, or a search that was ended when a fit "
    "of t did not reach the target.{clock}"
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
    parser.add_argument(
        "--suite",
        nargs="+",
        default=[],
        help="what a kept table measures (comparison/suites.py); the options below overrule it",
    )
    parser.add_argument("--sets", nargs="+", help="data sets (default: all)")
    parser.add_argument("--problems", nargs="+", help="problem families (default: all)")
    parser.add_argument("--peers", nargs="+", help="solvers (default: all that are installed)")
    parser.add_argument("--targets", nargs="+", type=float, help="certificates (default: 1e-6)")
    parser.add_argument("--divisors", nargs="+", type=int, help="alpha = alpha_max / divisor")
    parser.add_argument("--intercept", action="store_true", help="fit it, do not centre y")
    parser.add_argument("--raw", action="store_true", help="do not standardise dense sets")
    parser.add_argument(
        "--threads", nargs="+", type=int, default=[1], help="each is measured, in turns"
    )
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time, for one thread on a machine that others use too",
    )
    parser.add_argument(
        "--patience", type=float, default=30.0, help="end fits this many times slower than the best"
    )
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
    parser.add_argument("--stem", help="name of the result files, empty for none")
    parser.add_argument(
        "--update",
        action="store_true",
        help="keep the cells of the result files that are not measured anew",
    )
    return parser.parse_args(arguments)


def _chosen(given, known, what):
    unknown = [name for name in given if name not in known]
    if unknown:
        raise SystemExit(f"unknown {what}: {', '.join(unknown)}; known: {', '.join(known)}")
    return list(given)


def plan(options) -> list:
    """The suites to run, each overruled by what the command line says."""
    from comparison.peers import SOLVERS
    from comparison.problems import PROBLEMS, QUICK
    from comparison.suites import EVERYTHING, SUITES

    names = _chosen(options.suite, SUITES, "suites")
    suites = [SUITES[name] for name in names] or [EVERYTHING]
    if options.quick:
        suites = [replace(suite, problems=QUICK) for suite in suites]
    told = {
        name: tuple(getattr(options, name))
        for name in ("problems", "targets", "divisors", "sets", "peers")
        if getattr(options, name)
    }
    suites = [replace(suite, **told) for suite in suites]
    for suite in suites:
        _chosen(suite.problems, PROBLEMS, "problem families")
        _chosen(suite.peers, SOLVERS, "solvers")
    return suites


def main() -> None:
    options = parse()
    if options.clock == "cpu" and options.threads != [1]:
        raise SystemExit("--clock cpu adds the time of all threads up: for --threads 1 only")
    limit_threads(options.threads[0])

    from comparison import report
    from comparison.datasets import QUICK, Library
    from comparison.measure import Bench, Protocol
    from comparison.peers import SOLVERS

    suites = plan(options)
    library = Library(options.data, options.raw)
    usual = [n for n in library.names() if n in QUICK] if options.quick else library.names()
    stem = options.stem if options.stem is not None else "-".join(options.suite) or "compare"
    old, fresh, commands = [], [], []
    if options.update and (options.out / f"{stem}.json").exists():
        old, fresh, commands = report.read(options.out / f"{stem}.json")
    protocol = Protocol(
        fit_intercept=options.intercept,
        rounds=3 if options.quick else options.rounds,
        box=min(options.box, 10.0) if options.quick else options.box,
        patience=options.patience,
        deadline=time.monotonic() + 60 * options.minutes,
        clock=options.clock,
        threads=tuple(options.threads),
    )
    command = shlex.join(["python", "benchmarks/compare.py", *_public(sys.argv[1:])])
    cells = []
    with tempfile.TemporaryDirectory(prefix="sparselp-compare-") as folder:
        wanted = {name for suite in suites for name in suite.peers or SOLVERS}
        bench = Bench([name for name in SOLVERS if name in wanted], protocol, Path(folder))
        threads = " and ".join(map(str, options.threads))
        header = {
            "commands": list(dict.fromkeys([*commands, command])),
            "machine": report.machine(threads, bench.available()),
            "protocol": PROTOCOL.format(
                centring="With intercept."
                if options.intercept
                else "No intercept; y centred for the squared error.",
                rounds=protocol.rounds,
                clock=" Times are processor time." if options.clock == "cpu" else "",
            ),
        }

        def keep() -> str:
            return report.write(options.out, stem, report.merged(old, cells), fresh, header)

        try:
            for name in dict.fromkeys(n for suite in suites for n in suite.names(usual)):
                if protocol.expired:
                    break
                dataset = library.load(name)
                measured = list(_cells(bench, dataset, suites, usual))
                cells += measured
                if measured and options.fresh != "none":
                    again = bench.fresh(dataset, measured[0], options.fresh == "ours")
                    fresh = [row for row in fresh if row["dataset"] != name] + again
                bench.forget(dataset)
                if cells:
                    keep()
        finally:
            bench.close()
        if protocol.expired:
            header["protocol"] += " The time limit ended the run before the grid was complete."
    if not cells:
        raise SystemExit("nothing was measured")
    print(keep())
    if stem:
        print(f"written to {options.out / stem}.md, .json, .png")


def _cells(bench, dataset, suites, usual):
    """The cells of one data set in all suites that it takes part in, printed as they come."""
    from comparison.problems import PROBLEMS

    for suite in suites:
        if dataset.name not in suite.names(usual):
            continue
        families = [PROBLEMS[problem] for problem in suite.problems]
        for cell in bench.run(
            dataset, families, suite.targets, suite.divisors, list(suite.peers) or None
        ):
            print(_line(cell), flush=True)
            yield cell


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
    label = f"{cell.dataset} {cell.problem} /{cell.divisor} {cell.target:g}"
    return f"{label}, {cell.threads} thread(s): " + ", ".join(parts)


if __name__ == "__main__":
    main()
