"""What `RegularizationPathDisplay` draws with; imported only when something is drawn.

Places are computed in pixels of the axes as they are: labels keep their distance in a figure of any
size and resolution, as long as its shape stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Of a label and of the ticks above the axes, in points.
FONT_SIZE = 8.0
# Distance of two labels, in font sizes.
LINE_HEIGHT = 1.25
# From the end of a line to its label, in points.
LEADER = 9.0
# Of the axes that labels may take.
LABEL_SHARE = 0.34
# Between two ticks above the axes, in points.
TICK_GAP = 9.0
# Between two ticks above the axes there is room for so many numbers.
SPARSE_TICKS = 2.5
GREY = "0.62"
# Of the default cycle all but its grey.
COLORS = [f"C{k}" for k in range(10) if k != 7]


class LogLocatorFrom(LogLocator):
    """Ticks of a logarithmic axis, but none below the smallest alpha, where the names are."""

    def __init__(self, smallest: float, **options: Any):
        super().__init__(**options)
        self._smallest = smallest

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Return the ticks between two values."""
        ticks = np.asarray(super().tick_values(vmin, vmax))
        return ticks[ticks >= self._smallest * (1.0 - 1e-9)]


def spread(wanted: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Return the places nearest to those wanted that are ``gap`` apart and within bounds.

    Least squares under the order: places less multiples of the gap are a monotone regression,
    for which neighbours that are too close are pooled.

    Parameters
    ----------
    wanted : ndarray of shape (n,)
        Ascending.
    gap : float
    low, high : float
        At least ``(n - 1) * gap`` apart.
    """
    steps = gap * np.arange(wanted.size)
    blocks: list[list[float]] = []
    for value in wanted - steps:
        blocks.append([value, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, size = blocks.pop()
            blocks[-1] = [
                (blocks[-1][0] * blocks[-1][1] + mean * size) / (blocks[-1][1] + size),
                blocks[-1][1] + size,
            ]
    level = np.repeat([mean for mean, _ in blocks], [int(size) for _, size in blocks])
    return np.clip(level, low, high - gap * (wanted.size - 1)) + steps


def shortened(name: str, length: int) -> str:
    """Return a name of at most so many characters, its middle left out."""
    if len(name) <= length:
        return name
    head = length // 2
    return f"{name[:head]}…{name[head - length + 1 :]}"


def root_figure(ax: Any) -> Any:
    """Return the figure that is drawn, also of axes in a subfigure."""
    return ax.figure.canvas.figure


def room_for_labels(ax: Any) -> int:
    """Return how many labels fit above one another."""
    points = ax.get_window_extent().height * 72.0 / root_figure(ax).dpi
    return max(0, int(points / (FONT_SIZE * LINE_HEIGHT)))


def label_ends(
    ax: Any, ends: Sequence[tuple[float, float]], names: Sequence[str], colors: Sequence[Any]
) -> list[Any]:
    """Write names beside the right ends of lines, none over another, and make room for them.

    Parameters
    ----------
    ax : Axes
        With a logarithmic x axis that descends to the right.
    ends : sequence of (float, float)
        Where the lines end, all at one x, ascending in y.
    names : sequence of str
    colors : sequence of colours

    Returns
    -------
    list of Annotation
    """
    if not ends:
        return []
    scale = root_figure(ax).dpi / 72.0
    box = ax.get_window_extent()
    widest = LABEL_SHARE * box.width / scale
    # Letters are 0.6 of their size wide, on average.
    length = max(4, int(widest / (0.6 * FONT_SIZE)))
    labels = [
        ax.annotate(
            shortened(str(name), length),
            end,
            xytext=(LEADER, 0.0),
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=FONT_SIZE,
            color=color,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.6,
                "relpos": (0.0, 0.5),
                "shrinkA": 1.0,
                "shrinkB": 0.0,
            },
        )
        for name, end, color in zip(names, ends, colors, strict=True)
    ]
    # Their leaders count as part of them, but are yet horizontal.
    text_width = max(label.get_window_extent().width for label in labels)
    share = min(0.6, (text_width + (LEADER + 4.0) * scale) / box.width)
    left, _ = ax.get_xlim()
    start = np.log10(left)
    ax.set_xlim(left, 10.0 ** (start + (np.log10(ends[0][0]) - start) / (1.0 - share)))
    heights = ax.transData.transform(np.array(ends, dtype=np.float64))[:, 1]
    gap = FONT_SIZE * LINE_HEIGHT * scale
    placed = spread(heights, gap, box.y0 + 0.5 * gap, box.y1 - 0.5 * gap)
    for label, height, place in zip(labels, heights, placed, strict=True):
        label.set_position((LEADER, (place - height) / scale))
    return labels


def count_axis(ax: Any, alphas: np.ndarray, counts: np.ndarray) -> Any:
    """Show the support size above the axes, at as many alphas as there is room for.

    The layout is final afterwards: the axes have the size that they will be drawn with.

    Parameters
    ----------
    ax : Axes
        With its scales, limits and labels.
    alphas : ndarray of shape (n_alphas,)
        Descending.
    counts : ndarray of shape (n_alphas,)

    Returns
    -------
    SecondaryAxis
    """
    top = ax.secondary_xaxis("top")
    top.minorticks_off()
    top.tick_params(labelsize=FONT_SIZE, length=2.5)
    top.set_xlabel("coefficients that are not zero", fontsize=FONT_SIZE)

    def show(chosen: np.ndarray) -> None:
        top.set_xticks(alphas[chosen], [str(int(count)) for count in counts[chosen]])

    show(np.array([0]))
    root_figure(ax).draw_without_rendering()
    scale = root_figure(ax).dpi / 72.0
    places = ax.transData.transform(np.column_stack([alphas, np.zeros(alphas.size)]))[:, 0]
    digits = len(str(int(counts.max())))
    distance = SPARSE_TICKS * (0.6 * FONT_SIZE * digits + TICK_GAP) * scale
    n_ticks = max(2, int((places[-1] - places[0]) / distance) + 1)
    ticks = np.linspace(places[0], places[-1], n_ticks)
    show(np.unique([int(np.abs(places - tick).argmin()) for tick in ticks]))
    return top


def log_alpha_axis(ax: Any, largest: float, smallest: float) -> None:
    """Make the x axis that of alpha: logarithmic, descending, with ticks down to the smallest."""
    ax.set_xscale("log")
    ax.set_xlabel(r"$\alpha$")
    if largest <= smallest:
        largest, smallest = 2.0 * largest, 0.5 * smallest
    ax.set_xlim(largest, smallest)
    axis = ax.xaxis
    decades = np.log10(largest / smallest)
    if decades < 2.2:
        # Powers of ten alone would be one or two ticks.
        subs = (1.0, 2.0, 5.0) if decades < 1.2 else (1.0, 3.0)
        axis.set_major_locator(LogLocatorFrom(smallest, subs=subs, numticks=8))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axis.set_major_locator(LogLocatorFrom(smallest, numticks=7))
    axis.set_minor_locator(LogLocatorFrom(smallest, subs="auto", numticks=12))
    axis.set_minor_formatter(NullFormatter())


def mark_alpha(ax: Any, alpha: float, label: str, color: Any, style: str) -> Any:
    """Draw a vertical line at an alpha."""
    return ax.axvline(alpha, color=color, linestyle=style, linewidth=1.0, label=label, zorder=1.5)


def write_alpha(ax: Any, alpha: float) -> Any:
    """Write an alpha beside its vertical line, at the foot of the axes."""
    left, right = ax.get_xlim()
    late = np.log(left / alpha) > 0.6 * np.log(left / right)
    return ax.annotate(
        rf"$\alpha$ = {alpha:.3g}",
        (alpha, 0.0),
        xycoords=ax.get_xaxis_transform(),
        xytext=(-3.0 if late else 3.0, 3.0),
        textcoords="offset points",
        ha="right" if late else "left",
        va="bottom",
        fontsize=FONT_SIZE,
        color="0.2",
        zorder=4,
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.0},
    )
