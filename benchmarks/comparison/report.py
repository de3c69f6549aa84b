"""Tables and a figure from measured cells: Markdown for people, JSON for programs."""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import asdict
from pathlib import Path

from comparison.certificates import Task
from comparison.measure import Cell
from comparison.peers import SOLVERS
from comparison.summary import LARGE, REFERENCE, geometric_mean, label, summarise

MEGA = 1e6


QUALITY = "## Quality, recomputed"
# Lines of a report, beyond which the table of quality gets a file of its own.
LONGEST = 500


def machine(threads: int | str, versions: dict[str, str]) -> dict:
    """What a reader needs to judge the figures; no names of hosts or users."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": versions,
    }


def write(folder: Path, stem: str, cells: list[Cell], fresh: list[dict], header: dict) -> str:
    """Write stem.json, stem.md and, with matplotlib, stem.png, if the stem is not empty.

    Returns the Markdown.
    """
    summary = summarise(cells)
    markdown = render(cells, fresh, header, summary)
    if not stem:
        return markdown
    folder.mkdir(parents=True, exist_ok=True)
    content = {**header, "summary": summary, "cells": [asdict(c) for c in cells], "fresh": fresh}
    text = json.dumps(_finite(content), indent=1, sort_keys=False)
    (folder / f"{stem}.json").write_text(text + "\n")
    whole, quality = in_files(markdown, stem)
    (folder / f"{stem}.md").write_text(whole)
    if quality:
        (folder / f"{stem}_quality.md").write_text(quality)
    _figure(summary["ratios"], folder / f"{stem}.png")
    return markdown


def in_files(markdown: str, stem: str) -> tuple[str, str]:
    """The report and, where that is long, its table of quality apart, else nothing there."""
    begin = markdown.find(QUALITY)
    if markdown.count("\n") <= LONGEST or begin < 0:
        return markdown, ""
    end = markdown.find("\n## ", begin + 1) + 1 or len(markdown)
    there = f"{QUALITY}\n\nIn [a file of its own]({stem}_quality.md).\n"
    return markdown[:begin] + there + markdown[end:], "#" + markdown[begin + 2 : end]


def read(path: Path) -> tuple[list[Cell], list[dict], list[str]]:
    """The cells, the fresh fits and the commands of a file that `write` made."""
    content = json.loads(path.read_text())
    fresh = [_restored(row) for row in content["fresh"]]
    return [_cell(entry) for entry in content["cells"]], fresh, content["commands"]


def _restored(entry: dict) -> dict:
    return {key: math.nan if value is None else value for key, value in entry.items()}


def _cell(entry: dict) -> Cell:
    task = {**entry["task"], "first_alpha": entry["task"]["first_alpha"] or math.inf}
    results = {name: _restored(result) for name, result in entry["results"].items()}
    seconds = math.inf if entry["pass_seconds"] is None else entry["pass_seconds"]
    told = {"task": Task(**task), "results": results, "pass_seconds": seconds}
    return Cell(**{**entry, **told, "shape": tuple(entry["shape"])})


def merged(old: list[Cell], new: list[Cell]) -> list[Cell]:
    """The old cells, those that were measured anew replaced, and the others of the new ones."""
    cells = {_key(cell): cell for cell in old} | {_key(cell): cell for cell in new}
    return list(cells.values())


def _key(cell: Cell) -> tuple:
    return label(cell), cell.threads


def _finite(value):
    """JSON has no NaN: they become null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def render(cells: list[Cell], fresh: list[dict], header: dict, summary: dict) -> str:
    """The whole report as Markdown."""
    system = header["machine"]
    took_part = {SOLVERS[name].package for cell in cells for name in cell.results}
    versions = ", ".join(
        f"{name} {version}" for name, version in system["versions"].items() if name in took_part
    )
    lines = [
        "# Comparison with the peers",
        "",
        *[f"`{command}`\n" for command in header["commands"]],
        f"{system['processor']}, {system['threads']} thread(s) of {system['cores']} cores, load "
        f"{system['load_average']:.1f} at the start; Python {system['python']}, {versions}.",
        "",
        header["protocol"],
        "",
    ]
    lines += _overview(summary)
    lines += _peer_table(summary["peers"])
    lines += _thread_table(summary["threads"])
    for key in dict.fromkeys((c.problem, c.target, c.threads) for c in cells):
        group = [c for c in cells if (c.problem, c.target, c.threads) == key]
        lines += _problem_table(group)
    lines += _quality_table(cells)
    lines += _fresh_table(fresh)
    return "\n".join(lines) + "\n"


def _row(*entries) -> str:
    return "| " + " | ".join(str(entry) for entry in entries) + " |"


def table(header: list[str], rows: list[list]) -> list[str]:
    """Return the lines of a Markdown table."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return [_row(*header), _row(*rule), *[_row(*row) for row in rows], ""]


def _overview(summary: dict, worst: int = 12) -> list[str]:
    rated = [row for row in summary["ratios"] if "ratio" in row]
    lines = ["## In short", ""]
    if rated:
        behind = sum(row["ratio"] > 1 for row in rated)
        lines += [
            f"Time of sparselp divided by that of the best peer of each cell: geometric mean "
            f"{summary['geometric_mean']:.2f} over {len(rated)} cells; behind the best peer in "
            f"{behind}, by more than 2x in {sum(row['ratio'] > 2 for row in rated)}; slower than "
            f"scikit-learn in {sum(row.get('scikit_learn_ratio', 0) > 1 for row in rated)}.",
            "",
        ]
        lines += table(
            ["worst cells", "ratio", "best peer", "sparselp", "passes"],
            [
                [
                    row["cell"],
                    f"{row['ratio']:.2f}",
                    row["best_peer"],
                    _seconds(row["seconds"]),
                    f"{row['passes']:.0f}",
                ]
                for row in rated[:worst]
            ],
        )
    lines += ["Findings on the quality of the results:", ""]
    lines += [f"* {finding}" for finding in summary["findings"]] or ["* none"]
    return [*lines, ""]


def _peer_table(rows: list[dict]) -> list[str]:
    """How many times as long every peer takes, with what it did not finish."""
    if not rows:
        return []
    header = [
        "problem, target",
        "peer",
        "cells",
        "times as long",
        "least",
        "ahead of us",
        "ended",
        "with these, at least",
        "never there",
    ]
    entries = [
        [
            f"{row['problem']}, {row['target']:g}"
            + (f", {row['threads']} threads" if row["threads"] > 1 else ""),
            row["peer"],
            row["cells"],
            f"{row['times_as_long']:.2f}" if row["cells"] else "",
            f"{row['least']:.2f}" if row["cells"] else "",
            row["ahead"],
            row["ended"],
            f"{row['at_least']:.2f}" if row["ended"] else "",
            row["never"],
        ]
        for row in rows
    ]
    note = (
        "Time of the peer divided by that of sparselp, in geometric mean over the cells that both "
        "finish, and in the cell where it is least. Fits that were ended count, in the last mean, "
        "with the time that they were given: a lower bound. The best scikit-learn solver and the "
        "best peer are chosen cell by cell. At no tolerance a peer gets to the target in the cells "
        "of the last column."
    )
    return ["## Beside each peer", "", note, "", *table(header, entries)]


def _thread_table(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    solvers = list(dict.fromkeys(name for row in rows for name in row["gains"]))
    ours = [(row["stored"], row["gains"][REFERENCE]) for row in rows if REFERENCE in row["gains"]]
    large = [gain for stored, gain in ours if stored > LARGE]
    small = [gain for stored, gain in ours if stored <= LARGE]
    lines = ["## Threads: time with one divided by time with more", ""]
    for title, gains in (("above", large), ("up to", small)):
        if gains:
            lines.append(
                f"* sets {title} a million stored values: {geometric_mean(gains):.2f} in geometric "
                f"mean, {min(gains):.2f} at least, over {len(gains)} cells"
            )
    entries = [
        [
            row["cell"],
            f"{row['stored'] / MEGA:.2g} M",
            row["threads"],
            *[f"{row['gains'][name]:.2f}" if name in row["gains"] else "" for name in solvers],
        ]
        for row in sorted(rows, key=lambda row: -row["stored"])
    ]
    return [*lines, "", *table(["cell", "stored", "threads", *solvers], entries)]


def _seconds(value: float) -> str:
    if value < 1:
        return f"{1e3 * value:.3g} ms"
    return f"{value:.3g} s"


def _entry(result: dict | None, best: float) -> str:
    """Time, passes; the least time of a row in bold."""
    if result is None:
        return ""
    if result["status"] == "timeout":
        return f"> {_seconds(result['bound'])}"
    if result["status"] != "ok":
        return result["status"]
    text = f"{_seconds(result['seconds'])} ({result['passes']:.0f})"
    return f"**{text}**" if result["seconds"] == best else text


def _solvers(cells: list[Cell]) -> list[str]:
    return list(dict.fromkeys(name for cell in cells for name in cell.results))


def _problem_table(cells: list[Cell]) -> list[str]:
    first = cells[0]
    kind = {"gap": "relative duality gap", "residual": "fixed-point residual"}[first.measure]
    solvers = _solvers(cells)
    rows = []
    for cell in cells:
        times = [r["seconds"] for r in cell.results.values() if r["status"] == "ok"]
        best = min(times, default=math.nan)
        size = f"{cell.shape[0]} × {cell.shape[1]}, {cell.stored / MEGA:.2g} M"
        rows.append(
            [
                f"{cell.dataset} ({size})",
                f"/{cell.divisor}",
                _seconds(cell.pass_seconds),
                *[_entry(cell.results.get(name), best) for name in solvers],
            ]
        )
    passes = "passes per alpha" if first.task.n_alphas > 1 else "passes"
    threads = f", {first.threads} threads" if first.threads > 1 else ""
    title = f"## {first.problem}, {kind} ≤ {first.target:g}{threads}: time ({passes})"
    return [title, "", *table(["data", "alpha_max", "one pass", *solvers], rows)]


def _quality_table(cells: list[Cell]) -> list[str]:
    rows = []
    for cell in cells:
        for name, result in cell.results.items():
            if "objective" not in result:
                continue
            rows.append(
                [
                    f"{cell.dataset} {cell.problem} /{cell.divisor} {cell.target:g}",
                    name + (f", {cell.threads} threads" if cell.threads > 1 else ""),
                    f"{result['objective']:.10g}",
                    f"{result['gap']:.1e}" if math.isfinite(result["gap"]) else "",
                    f"{result['residual']:.1e}",
                    result["support"],
                    result["n_iter"],
                    result.get("gradients", ""),
                    result.get("newton_steps", ""),
                    f"{result['tol']:.1e}",
                ]
            )
    header = [
        "cell",
        "solver",
        "objective",
        "gap",
        "residual",
        "features",
        "epochs",
        "X.T @ r",
        "Newton steps",
        "tol",
    ]
    note = (
        "Epochs are n_iter_, of a peer what it calls so; gradients of all columns and Newton steps "
        "on the support are counted in one more fit, of the library only."
    )
    return [QUALITY, "", note, "", *table(header, rows)]


def _fresh_table(fresh: list[dict]) -> list[str]:
    if not fresh:
        return []
    rows = []
    for row in fresh:
        if "first_seconds" not in row:
            rows.append([row["dataset"], row["solver"], row.get("note", ""), "", "", "", ""])
            continue
        rows.append(
            [
                row["dataset"],
                row["solver"],
                _seconds(row["first_seconds"]),
                _seconds(row["later_seconds"]),
                f"{row['first_seconds'] / row['later_seconds']:.2f}",
                f"{row['input_bytes'] / MEGA:.1f}",
                f"{row['first_memory_ratio']:.2f}",
                f"{row['second_memory_ratio']:.2f}",
            ]
        )
    header = [
        "data",
        "solver",
        "first fit",
        "later fits",
        "ratio",
        "input MB",
        "peak / input, first",
        "peak / input, second",
    ]
    note = (
        "New processes, up to three, of which the shortest times and the most memory are shown; "
        "input by rows (CSR) or dense Fortran order; peak memory is the input plus "
        "the growth of the resident set during the fit, divided by the input. The machine has "
        "touched as much memory before. Small inputs show fixed costs, run-time compilers show "
        "in the first fit."
    )
    return ["## First fit and memory", "", note, "", *table(header, rows)]


def _figure(ratios: list[dict], path: Path) -> None:
    """Every cell's ratio to its best peer on a logarithmic axis; nothing without matplotlib."""
    rated = [row for row in reversed(ratios) if "ratio" in row]
    if not rated:
        return
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return
    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.17 * len(rated)), layout="constrained")
    values = [row["ratio"] for row in rated]
    colours = ["tab:blue" if value <= 1 else "tab:red" for value in values]
    axes.scatter(values, range(len(rated)), c=colours, s=18)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rated)), [row["cell"] for row in rated], fontsize=6)
    axes.set_ylim(-1, len(rated))
    axes.set_xlabel("time of sparselp / time of the best peer (left of 1: faster)")
    axes.grid(axis="x", linewidth=0.3)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
