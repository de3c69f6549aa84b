"""Sparse Lp regularisation of linear models, for scikit-learn."""

from .regression import SparseLpRegressor

__all__ = ["SparseLpRegressor"]
