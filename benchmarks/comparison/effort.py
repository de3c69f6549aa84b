"""What a fit of the library costs in counts, which no other work on the machine can change."""

from __future__ import annotations

import contextlib
import sys


@contextlib.contextmanager
def counted():
    """Count in the yielded mapping, while the block runs.

    ``gradients`` are calls of X.T @ r for all columns, ``newton_steps`` those on the support.
    The seams of the solvers are wrapped, so the compiled loops run as always.
    """
    from sklearn_sparselp import _solvers
    from sklearn_sparselp._solvers.support_newton import newton_step

    counts = {"gradients": 0, "newton_steps": 0}
    rmatvec = _solvers.Design.rmatvec

    def counted_rmatvec(self, *terms):
        counts["gradients"] += 1
        return rmatvec(self, *terms)

    def counted_step(*arguments):
        counts["newton_steps"] += 1
        return newton_step(*arguments)

    users = [
        module
        for name, module in sys.modules.items()
        if name.startswith(_solvers.__name__) and getattr(module, "newton_step", None)
    ]
    _solvers.Design.rmatvec = counted_rmatvec
    for module in users:
        module.newton_step = counted_step
    try:
        yield counts
    finally:
        _solvers.Design.rmatvec = rmatvec
        for module in users:
            module.newton_step = newton_step
