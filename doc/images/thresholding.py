"""Draws thresholding.svg: ``python doc/images/thresholding.py``."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from sklearn_sparselp import prox_lp

ORDERS = {"0": 0.0, "1/2": 0.5, "2/3": 2 / 3, "1": 1.0, "3/2": 1.5, "2": 2.0}
THRESHOLD = 0.75


def main():
    """Draw the maps without and with a mask."""
    matplotlib.rcParams["svg.hashsalt"] = "thresholding"
    z = np.linspace(0, 3, 3001)
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, threshold, title in (
        (axes[0], 0.0, "without a mask"),
        (axes[1], THRESHOLD, f"with the mask, threshold {THRESHOLD}"),
    ):
        axis.plot(z, z, color="0.8", linewidth=1)
        for color, (name, order) in zip(
            matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(ORDERS))),
            ORDERS.items(),
            strict=True,
        ):
            t = prox_lp(z, 0.5, order)
            t[t <= threshold] = 0.0
            jumps = np.flatnonzero(np.diff(t) > 0.1)
            axis.plot(
                z,
                np.insert(t, jumps + 1, np.nan)[: z.size] if jumps.size else t,
                color=color,
                label=f"p = {name}",
            )
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("z = w − g / L")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("updated coefficient")
    axes[0].legend(frameon=False)
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
