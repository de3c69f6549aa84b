"""Outer loops: working sets, stopping rules, certificates, warnings."""

from .design import Design
from .driver import SOLVERS, Cancelled, solve
from .lasso_path import Batch, LassoPath
from .log_loss_path import LogLossPath
from .multinomial import MultinomialProblem
from .problem import Carry, Problem, SolveResult
from .rehearsal import rehearse

__all__ = [
    "SOLVERS",
    "Batch",
    "Cancelled",
    "Carry",
    "Design",
    "LassoPath",
    "LogLossPath",
    "MultinomialProblem",
    "Problem",
    "SolveResult",
    "solve",
]

rehearse()
