"""Outer loops: working sets, stopping rules, certificates, warnings."""

from .design import Design
from .driver import SOLVERS, solve
from .multinomial import MultinomialProblem
from .problem import Problem, SolveResult

__all__ = ["SOLVERS", "Design", "MultinomialProblem", "Problem", "SolveResult", "solve"]
