"""Outer loops: working sets, stopping rules, certificates, warnings."""

from .design import Design
from .driver import SOLVERS, solve
from .multinomial import MultinomialProblem
from .problem import Carry, Problem, SolveResult

__all__ = ["SOLVERS", "Carry", "Design", "MultinomialProblem", "Problem", "SolveResult", "solve"]
