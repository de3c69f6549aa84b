"""Outer loops: working sets, stopping rules, certificates, warnings."""

from .design import Design
from .driver import SOLVERS, one_blas_thread, solve
from .multinomial import MultinomialProblem
from .problem import Carry, Problem, SolveResult

__all__ = ["SOLVERS", "Carry", "Design", "MultinomialProblem", "Problem", "SolveResult", "one_blas_thread", "solve"]
