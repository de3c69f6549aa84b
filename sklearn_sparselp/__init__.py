"""Sparse Lp regularisation of linear models, for scikit-learn."""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .classification import SparseLpClassifier
    from .display import RegularizationPathDisplay
    from .model_selection import SparseLpClassifierCV, SparseLpRegressorCV
    from .online import SparseLpSGDClassifier, SparseLpSGDRegressor
    from .operator import SparseLpRegularizer
    from .path import alpha_max, sparse_lp_path
    from .proximal import prox_lp
    from .regression import SparseLpRegressor

    __version__: str

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

# Loaded when first asked for (PEP 562).
_HOMES = {
    "RegularizationPathDisplay": "display",
    "SparseLpClassifier": "classification",
    "SparseLpClassifierCV": "model_selection",
    "SparseLpRegressor": "regression",
    "SparseLpRegressorCV": "model_selection",
    "SparseLpRegularizer": "operator",
    "SparseLpSGDClassifier": "online",
    "SparseLpSGDRegressor": "online",
    "alpha_max": "path",
    "prox_lp": "proximal",
    "sparse_lp_path": "path",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(_import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name in _HOMES.values():
        return _import_module(f"{__name__}.{name}")
    elif name == "__version__":
        from importlib.metadata import version

        value = version(__name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_HOMES.values()})
