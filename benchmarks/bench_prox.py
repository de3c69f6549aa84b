"""Nanoseconds per evaluation of the scalar proximal maps: ``python benchmarks/bench_prox.py``.

Each figure is the smallest of 15 rounds over 100 000 points, per point: once over normal
points of which some map to 0, once over points that all map to something else.
"""

import time

import numpy as np
from sklearn_sparselp._core._prox import prox_array

ORDERS = [0, 1 / 2, 2 / 3, 0.9, 1, 1.3, 3 / 2, 2, 3]
ROUNDS, SIZE = 15, 100_000


def nanoseconds(z, order):
    scale, out = np.array([0.3]), np.empty(SIZE)
    best = np.inf
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        prox_array(z, scale, float(order), False, out)
        best = min(best, time.process_time_ns() - start)
    return best / SIZE


def main():
    z = np.random.default_rng(0).normal(size=SIZE) * 2
    print(f"{'p':>6} {'mixed':>8} {'non-zero':>8}   ns per evaluation")
    for order in ORDERS:
        print(f"{order:6.3g} {nanoseconds(z, order):8.1f} {nanoseconds(np.abs(z) + 3, order):8.1f}")


if __name__ == "__main__":
    main()
