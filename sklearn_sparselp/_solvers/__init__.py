"""Outer loops: working sets, stopping rules, certificates, warnings."""

from .design import FEW_FEATURES, Design
from .driver import SOLVERS, Cancelled, solve
from .lasso_path import Batch, LassoPath
from .model_path import ModelPath
from .multinomial import MultinomialProblem
from .problem import Carry, Problem, SolveResult
from .rehearsal import rehearse

__all__ = [
    "FEW_FEATURES",
    "SOLVERS",
    "Batch",
    "Cancelled",
    "Carry",
    "Design",
    "LassoPath",
    "ModelPath",
    "MultinomialProblem",
    "Problem",
    "SolveResult",
    "solve",
]

rehearse()
