"""Pictures of paths in files; matplotlib is imported when one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..display import RegularizationPathDisplay
from ..path import SparseLpPath
from .errors import USAGE, CommandError

RESOLUTION = 150
PANEL = (6.4, 4.4)


def check_picture(path: Path) -> None:
    """Raise where a picture cannot be drawn under a name, before any work."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise CommandError("--plot needs matplotlib: pip install matplotlib.") from error
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise CommandError(
            f"--plot {path}: unknown kind of picture; known are {', '.join(sorted(known))}.", USAGE
        )


def draw_path(path: SparseLpPath, names: Sequence[str] | None, place: Path) -> None:
    """Draw a path into a file."""
    figure = _figure(1)
    RegularizationPathDisplay(path, feature_names=names).plot(figure.subplots())
    figure.savefig(place, dpi=RESOLUTION)


def draw_model(
    model: Any, path: SparseLpPath | None, names: Sequence[str] | None, place: Path
) -> None:
    """Draw the path of a model into a file, and its scores if it has some.

    Parameters
    ----------
    model : estimator
        Fitted.
    path : SparseLpPath or None
        Of a model that has none.
    names : sequence of str, or None
    place : Path
    """
    if path is not None:
        figure = _figure(1)
        display = RegularizationPathDisplay(path, alpha=model.alpha, feature_names=names)
        display.plot(figure.subplots())
    else:
        figure = _figure(2)
        for kind, ax in zip(("path", "cv"), figure.subplots(1, 2), strict=True):
            RegularizationPathDisplay.from_estimator(model, kind=kind, feature_names=names, ax=ax)
    figure.savefig(place, dpi=RESOLUTION)


def _figure(n_panels: int) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(PANEL[0] * n_panels, PANEL[1]), layout="constrained")
