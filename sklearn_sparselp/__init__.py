"""Sparse Lp regularisation of linear models, for scikit-learn."""

from importlib import metadata as _metadata

from .classification import SparseLpClassifier
from .display import RegularizationPathDisplay
from .model_selection import SparseLpClassifierCV, SparseLpRegressorCV
from .online import SparseLpSGDClassifier, SparseLpSGDRegressor
from .operator import SparseLpRegularizer
from .path import alpha_max, sparse_lp_path
from .proximal import prox_lp
from .regression import SparseLpRegressor

__version__ = _metadata.version("sklearn_sparselp")

__all__ = [
    "RegularizationPathDisplay",
    "SparseLpClassifier",
    "SparseLpClassifierCV",
    "SparseLpRegressor",
    "SparseLpRegressorCV",
    "SparseLpRegularizer",
    "SparseLpSGDClassifier",
    "SparseLpSGDRegressor",
    "__version__",
    "alpha_max",
    "prox_lp",
    "sparse_lp_path",
]
