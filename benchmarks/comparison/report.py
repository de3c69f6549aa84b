"""Tables and a figure from measured cells: Markdown for people, JSON for programs."""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import asdict
from pathlib import Path

from comparison.measure import Cell, summarise

MEGA = 1e6


def machine(threads: int, versions: dict[str, str]) -> dict:
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
    (folder / f"{stem}.md").write_text(markdown)
    _figure(summary["ratios"], folder / f"{stem}.png")
    return markdown


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
    versions = ", ".join(f"{name} {version}" for name, version in system["versions"].items())
    lines = [
        "# Comparison with the peers",
        "",
        f"`{header['command']}`",
        "",
        f"{system['processor']}, {system['threads']} thread(s) of {system['cores']} cores, load "
        f"{system['load_average']:.1f} at the start; Python {system['python']}, {versions}.",
        "",
        header["protocol"],
        "",
    ]
    lines += _overview(summary)
    for key in dict.fromkeys((c.problem, c.target, c.measure) for c in cells):
        lines += _problem_table(key, [c for c in cells if (c.problem, c.target) == key[:2]])
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


def _seconds(value: float) -> str:
    if value < 1:
        return f"{1e3 * value:.3g} ms"
    return f"{value:.3g} s"


def _entry(result: dict | None, best: float) -> str:
    """Time, passes; the least time of a row in bold."""
    if result is None:
        return ""
    if result["status"] == "timeout":
        return f"> {_seconds(result['box'])}"
    if result["status"] != "ok":
        return result["status"]
    text = f"{_seconds(result['seconds'])} ({result['passes']:.0f})"
    return f"**{text}**" if result["seconds"] == best else text


def _solvers(cells: list[Cell]) -> list[str]:
    return list(dict.fromkeys(name for cell in cells for name in cell.results))


def _problem_table(key: tuple, cells: list[Cell]) -> list[str]:
    problem, target, measure = key
    kind = {"gap": "relative duality gap", "residual": "fixed-point residual"}[measure]
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
    passes = "passes per alpha" if cells[0].task.n_alphas > 1 else "passes"
    title = f"## {problem}, {kind} ≤ {target:g}: time ({passes})"
    return [title, "", *table(["data", "alpha_max", "one pass", *solvers], rows)]


def _quality_table(cells: list[Cell]) -> list[str]:
    rows = []
    for cell in cells:
        for name, result in cell.results.items():
            if "objective" not in result:
                continue
            rows.append(
                [
                    f"{cell.dataset} {cell.problem} /{cell.divisor}",
                    name,
                    f"{result['objective']:.10g}",
                    f"{result['gap']:.1e}" if math.isfinite(result["gap"]) else "",
                    f"{result['residual']:.1e}",
                    result["support"],
                    result["n_iter"],
                    f"{result['tol']:.1e}",
                ]
            )
    header = ["cell", "solver", "objective", "gap", "residual", "features", "n_iter", "tol"]
    return ["## Quality, recomputed", "", *table(header, rows)]


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
        "New process, input by rows (CSR) or dense Fortran order; peak memory is the input plus "
        "the growth of the resident set during the fit, divided by the input. Small inputs show "
        "fixed costs, run-time compilers show in the first fit."
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
