"""Sparse Lp regularisation of linear models, for scikit-learn."""
