"""Files that a command writes: all of them or none, and an existing file stays until then."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from .errors import USAGE, CommandError

STANDARD_OUTPUT = Path("-")


class Outputs:
    """Files that are written beside their places and moved there together.

    Parameters
    ----------
    paths : mapping from str to Path or None
        What each option names; None where it is not given.
    inputs : sequence of Path
        Files that are read, which no output may replace.

    Raises
    ------
    CommandError
        Before any work: for a folder that is not there or not writable, or one name for two files.
    """

    def __init__(self, paths: Mapping[str, Path | None], inputs: Sequence[Path] = ()):
        self._staged: list[tuple[Path, Path]] = []
        taken: dict[Path, str] = {path.resolve(): "the input" for path in inputs}
        for option, path in paths.items():
            if path is None or path == STANDARD_OUTPUT:
                continue
            place = path.resolve()
            if place in taken and not _is_special(place):
                raise CommandError(f"{option} {path}: is also {taken[place]}.", USAGE)
            taken[place] = option
            if place.is_dir():
                raise CommandError(f"{option} {path}: is a folder.")
            if _is_special(place):
                continue
            if not place.parent.is_dir():
                raise CommandError(f"{option} {path}: there is no folder {place.parent}.")
            if not os.access(place.parent, os.W_OK):
                raise CommandError(f"{option} {path}: the folder {place.parent} is not writable.")

    def stage(self, path: Path, write: Callable[[Path], None]) -> None:
        """Write a file beside its place; `commit` moves it there.

        Parameters
        ----------
        path : Path
        write : callable
            Gets the path to write to.
        """
        place = path.resolve()
        folder = None if _is_special(place) else place.parent
        handle, name = tempfile.mkstemp(prefix=f".{place.stem}-", suffix=place.suffix, dir=folder)
        os.close(handle)
        self._staged.append((Path(name), place))
        write(Path(name))
        if folder is not None:
            # As open() would have made it; mkstemp lets nobody else read.
            mode = place.stat().st_mode & 0o777 if place.exists() else 0o666 & ~_umask()
            os.chmod(name, mode)
            with open(name, "rb+") as file:
                os.fsync(file.fileno())

    def commit(self) -> None:
        """Move all files to their places."""
        while self._staged:
            written, place = self._staged[0]
            if _is_special(place):
                with written.open("rb") as source, place.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                written.unlink()
            else:
                os.replace(written, place)
            del self._staged[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for written, _ in self._staged:
            with contextlib.suppress(OSError):
                written.unlink()
        self._staged = []


def _is_special(path: Path) -> bool:
    """Whether a path is there, but no file that could be replaced, such as /dev/null."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(outputs: Outputs, path: Path, text: str) -> None:
    """Write text to a file, or to standard output where it is called "-"."""
    if path == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        outputs.stage(path, lambda place: _write(place, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def as_json(value: Any) -> str:
    """Return a report as JSON: numbers as they are, NaN and infinity as null."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return lines of columns of equal width, the first ``left`` of them aligned to the left."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    text = []
    for line in lines:
        cells = [
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "-" * max(map(len, text)))
    return "\n".join(text) + "\n"
