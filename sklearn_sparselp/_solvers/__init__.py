"""Outer loops: working sets, stopping rules, certificates, warnings."""

from .design import Design
from .driver import SOLVERS, Cancelled, one_blas_thread, solve
from .lasso_path import LassoPath
from .multinomial import MultinomialProblem
from .problem import Carry, Problem, SolveResult

__all__ = [
    "SOLVERS",
    "Cancelled",
    "Carry",
    "Design",
    "LassoPath",
    "MultinomialProblem",
    "Problem",
    "SolveResult",
    "one_blas_thread",
    "solve",
]
