"""What a command says while it works: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import contextlib
import io
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from .errors import one_line

PROGRAM = "sklearn-sparselp"
BAR = 24
# Between two plain lines, in seconds.
PAUSE = 2.0


class Messages:
    """Lines on standard error.

    Parameters
    ----------
    quiet : bool
        Whether to say nothing but errors.

    Attributes
    ----------
    warnings : list of str
        What was warned of, each once.
    converged : bool
        Whether no fit has ended early.
    """

    def __init__(self, quiet: bool):
        self._quiet = quiet
        self.warnings: list[str] = []
        self.converged = True

    def say(self, message: str) -> None:
        """Write a line of information."""
        if not self._quiet:
            print(message, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def warned(self) -> Iterator[None]:
        """Turn the warnings of the block into lines."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # Columns have been found by their names.
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            yield
        for warning in caught:
            message = one_line(warning.message)
            self.converged &= not issubclass(warning.category, ConvergenceWarning)
            if message not in self.warnings:
                self.warnings.append(message)
                self.say(f"{PROGRAM}: warning: {message}")

    @contextlib.contextmanager
    def progress(self, what: str, n_steps: int | None = None) -> Iterator[None]:
        """Show how far the block is, which prints a line for each of its steps.

        Parameters
        ----------
        what : str
        n_steps : int, default=None
            How many lines the block will print, None where nobody knows.
        """
        sink = io.StringIO() if self._quiet else _Progress(what, n_steps, sys.stderr)
        try:
            with contextlib.redirect_stdout(sink):
                yield
        finally:
            if isinstance(sink, _Progress):
                sink.end()


class _Progress(io.TextIOBase):
    """A standard output whose lines are steps of a work."""

    def __init__(self, what: str, n_steps: int | None, stream: Any):
        self._what, self._n_steps, self._stream = what, n_steps, stream
        self._on_terminal = stream.isatty()
        self._n_done, self._part = 0, ""
        self._started = self._shown = time.monotonic()
        self._width = 0

    def writable(self) -> bool:
        """Whether one can write: yes."""
        return True

    def write(self, text: str) -> int:
        """Count the lines of a text."""
        *lines, self._part = (self._part + text).split("\n")
        for line in lines:
            self._n_done += 1
            self._show(line.strip())
        return len(text)

    def _show(self, line: str) -> None:
        now = time.monotonic()
        if self._on_terminal:
            if now - self._shown > 0.05 or self._n_done == self._n_steps:
                self._shown = now
                self._redraw(now, line)
        elif now - self._shown > PAUSE:
            self._shown = now
            print(f"{self._what}: {self._count()}{line}", file=self._stream, flush=True)

    def _count(self) -> str:
        return "" if self._n_steps is None else f"{self._n_done} of {self._n_steps}; "

    def _redraw(self, now: float, line: str) -> None:
        seconds = now - self._started
        if self._n_steps is None:
            text = f"{self._what}  {seconds:.0f} s  {line}"
        else:
            share = min(1.0, self._n_done / self._n_steps)
            full = round(BAR * share)
            left = seconds * (1.0 - share) / share
            text = (
                f"{self._what} [{'#' * full}{'.' * (BAR - full)}] {self._n_done}/{self._n_steps}"
                f"  {left:.0f} s left"
            )
        text = text[:100]
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)

    def end(self) -> None:
        """Take the bar away, or say how long it took."""
        seconds = time.monotonic() - self._started
        if self._on_terminal:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
        else:
            print(f"{self._what}: {seconds:.1f} s", file=self._stream, flush=True)
