"""Figures over many cells: ratios to the peers, what two threads bring, what is wrong."""

from __future__ import annotations

import math

import numpy as np

from comparison.measure import REFERENCE, Cell
from comparison.peers import SOLVERS

LEARNER = "scikit-learn"
BEST = {"best scikit-learn": lambda name: name.startswith(LEARNER), "best peer": lambda name: True}
LARGE = 1_000_000  # stored values from which a second thread has to pay


def label(cell: Cell) -> str:
    """One cell in words."""
    return f"{cell.dataset} {cell.problem} alpha_max/{cell.divisor} to {cell.target:g}"


def geometric_mean(values: list[float]) -> float:
    """NaN of nothing."""
    return float(np.exp(np.mean(np.log(values)))) if values else math.nan


def summarise(cells: list[Cell]) -> dict:
    """Ratios of the library to the best peer per cell, per family and peer, and what is wrong."""
    ratios, findings = [], []
    several = len({cell.threads for cell in cells}) > 1
    for cell in cells:
        name_of_cell = label(cell) + (f", {cell.threads} thread(s)" if several else "")
        ours = {n: r for n, r in cell.results.items() if SOLVERS[n].ours}
        peers = {
            n: r for n, r in cell.results.items() if not SOLVERS[n].ours and r["status"] == "ok"
        }
        for name, result in ours.items():
            findings += [
                f"{name_of_cell}, {name}: {text}" for text in _findings(cell, result, peers)
            ]
        result = ours.get(REFERENCE)
        if result is None or result["status"] != "ok":
            continue
        row = {"cell": name_of_cell, "seconds": result["seconds"], "passes": result["passes"]}
        if peers:
            best = min(peers, key=lambda n: peers[n]["seconds"])
            row |= {"best_peer": best, "ratio": result["seconds"] / peers[best]["seconds"]}
            learners = [r["seconds"] for n, r in peers.items() if n.startswith(LEARNER)]
            if learners:
                row["scikit_learn_ratio"] = result["seconds"] / min(learners)
        ratios.append(row)
    return {
        "ratios": sorted(ratios, key=lambda row: -row.get("ratio", 0.0)),
        "geometric_mean": geometric_mean([row["ratio"] for row in ratios if "ratio" in row]),
        "peers": beside_peers(cells),
        "threads": speed_ups(cells),
        "findings": findings,
    }


def beside_peers(cells: list[Cell]) -> list[dict]:
    """How many times as long a peer takes as the library, a row per problem, target and peer.

    A fit that was ended counts with the time that it was given, which makes ``at_least`` a lower
    bound; a target that a peer reaches at no tolerance has no time and is only counted.
    """
    rows = []
    for key in dict.fromkeys((c.problem, c.target, c.threads) for c in cells):
        group = [
            c
            for c in cells
            if (c.problem, c.target, c.threads) == key
            and c.results.get(REFERENCE, {}).get("status") == "ok"
        ]
        names = dict.fromkeys(n for c in group for n in c.results if not SOLVERS[n].ours)
        chosen = {name: name.__eq__ for name in names} | BEST
        for title, takes in chosen.items():
            row = _beside(group, takes)
            if row is not None:
                rows.append(
                    {
                        **dict(zip(("problem", "target", "threads"), key, strict=True)),
                        "peer": title,
                        **row,
                    }
                )
    return rows


def _beside(cells: list[Cell], takes) -> dict | None:
    finished, bounds, never = [], [], 0
    for cell in cells:
        results = [r for n, r in cell.results.items() if not SOLVERS[n].ours and takes(n)]
        # Of a fit that was ended only the bound is known; if it is the least, so is the best time.
        times = [(r["seconds"], 0) for r in results if r["status"] == "ok"]
        times += [(r["bound"], 1) for r in results if r["status"] == "timeout"]
        if times:
            seconds, ended = min(times)
            (bounds if ended else finished).append(seconds / cell.results[REFERENCE]["seconds"])
        elif results:
            never += 1
    if not finished and not bounds:
        return None
    return {
        "cells": len(finished),
        "times_as_long": geometric_mean(finished),
        "least": min(finished, default=math.nan),
        "ahead": sum(ratio < 1 for ratio in finished),
        "ended": len(bounds),
        "at_least": geometric_mean(finished + bounds),
        "never": never,
    }


def speed_ups(cells: list[Cell]) -> list[dict]:
    """Time with the fewest threads divided by that with more, per cell and solver."""
    fewest = min((cell.threads for cell in cells), default=1)
    single = {label(cell): cell for cell in cells if cell.threads == fewest}
    rows = []
    for cell in cells:
        base = single.get(label(cell))
        if cell.threads == fewest or base is None:
            continue
        gains = {
            name: base.results[name]["seconds"] / result["seconds"]
            for name, result in cell.results.items()
            if result["status"] == "ok" and base.results.get(name, {}).get("status") == "ok"
        }
        rows.append(
            {"cell": label(cell), "stored": cell.stored, "threads": cell.threads, "gains": gains}
        )
    return rows


def _findings(cell: Cell, result: dict, peers: dict) -> list[str]:
    """What is wrong with a result of the library in one cell; an empty list is the aim."""
    if result["status"] != "ok":
        return [f"{result['status']}: {result.get('note', 'target not reached')}"]
    found = []
    allowed = cell.target * cell.null_value
    best = min((peer["objective"] for peer in peers.values()), default=math.inf)
    behind = result["objective"] - best
    if cell.measure == "gap":
        if behind > allowed:
            found.append(f"objective {result['objective']:.10g} is {behind:.1e} above a peer's")
        claimed = result["claimed_gap"] * cell.null_value
        # a claimed gap bounds the distance to every objective that anybody reached
        if not claimed >= behind - 1e-12 * cell.null_value:
            found.append(f"claims a gap of {claimed:.1e}, a peer is {behind:.1e} below")
    elif behind > 0.05 * abs(best):
        found.append(
            f"another local minimum: objective {result['objective']:.6g} ({result['support']} "
            f"features), the best peer's is {best:.6g}"
        )
    claimed = result["claimed_residual"]
    actual = result["residual"]
    if math.isfinite(claimed) and abs(claimed - actual) > 0.1 * actual + 1e-9:
        found.append(f"claims a fixed-point residual of {claimed:.1e}, recomputed {actual:.1e}")
    return found
