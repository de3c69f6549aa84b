"""Warnings that point at the caller's line."""

from __future__ import annotations

import os
import sys
import warnings

import joblib
import sklearn

# A frame of these is no line that a user has written. scikit-learn's searches call through joblib.
INSIDE = tuple(
    os.path.join(os.path.dirname(path), "")
    for path in (__file__, sklearn.__file__, joblib.__file__)
)


def warn_caller(message: str, category: type[Warning]) -> None:
    """Issue a warning from the nearest line outside this package, scikit-learn and joblib.

    Parameters
    ----------
    message : str
    category : type
        Of the warning.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(INSIDE):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
