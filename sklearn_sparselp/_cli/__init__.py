"""The command line: ``python -m sklearn_sparselp``, or ``sklearn-sparselp``."""

from .main import main

__all__ = ["main"]
