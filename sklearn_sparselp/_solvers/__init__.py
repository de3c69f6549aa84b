"""Outer loops: working sets, stopping rules, certificates, warnings."""

from .design import Design
from .driver import SOLVERS, solve
from .problem import Problem, SolveResult

__all__ = ["SOLVERS", "Design", "Problem", "SolveResult", "solve"]
