"""From arguments to an exit code; whatever goes wrong is one line on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .arguments import parser
from .commands import COMMANDS
from .errors import BROKEN_PIPE, DONE, FAILED, INTERRUPTED, CommandError, one_line
from .terminal import PROGRAM, Messages

# Of a fit that cannot be done as asked. Anything else is a fault of this program.
EXPECTED = (ValueError, TypeError, OSError, ImportError, MemoryError, OverflowError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, default=None
        None stands for those of the process.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    SystemExit
        With code 2 for arguments that make no sense, with 0 after a help text.
    """
    options = parser().parse_args(arguments)
    try:
        COMMANDS[options.command](options, Messages(options.quiet))
        sys.stdout.flush()
    except CommandError as error:
        return _fail(str(error), error.code)
    except KeyboardInterrupt:
        return _fail("interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # Whoever reads has seen enough; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except EXPECTED as error:
        return _fail(one_line(error) or type(error).__name__, FAILED)
    return DONE


def _fail(message: str, code: int) -> int:
    print(f"{PROGRAM}: {message}", file=sys.stderr, flush=True)
    return code
