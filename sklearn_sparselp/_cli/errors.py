"""Errors that end a command with a line and an exit code."""

from __future__ import annotations

DONE = 0
# A file, data or a fit that cannot be used.
FAILED = 1
# Arguments that make no sense; argparse ends with the same code.
USAGE = 2
# With --strict: the fit ended before it was a solution.
NOT_CONVERGED = 3
# As shells count: 128 and the number of the signal.
INTERRUPTED = 130
BROKEN_PIPE = 141


class CommandError(Exception):
    """What ends a command; the message is one line.

    Parameters
    ----------
    message : str
    code : int, default=FAILED
        Exit code.
    """

    def __init__(self, message: str, code: int = FAILED):
        super().__init__(one_line(message))
        self.code = code


def one_line(message: object) -> str:
    """Return a message without line breaks."""
    return " ".join(str(message).split())


def listed(names: list[str], most: int = 8) -> str:
    """Return names for a message, the first few of many."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
