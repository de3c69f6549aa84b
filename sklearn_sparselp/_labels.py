"""Labels as positions among classes, and the weights of classes, with their messages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets


def label_codes(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the position of each label among sorted classes.

    Raises
    ------
    ValueError
        Where a label is not among them.
    """
    check_classification_targets(y)
    places = np.clip(np.searchsorted(classes, y), 0, classes.size - 1)
    unknown = classes[places] != y
    if unknown.any():
        raise ValueError(
            f"y holds the labels {sorted(set(y[unknown].tolist()), key=str)}, which are not among "
            f"the classes {classes.tolist()} of the first call."
        )
    return places


def check_class_weight(
    class_weight: Any, classes: np.ndarray, codes: np.ndarray, weights: np.ndarray | None
) -> np.ndarray | None:
    """Return sample weights times the weights of their classes, None for equal ones.

    Parameters and errors are those of `check_class_factors`.
    """
    factors = check_class_factors(class_weight, classes, codes, weights)
    if factors is None or weights is None:
        return weights if factors is None else factors[codes]
    if isinstance(class_weight, str):
        weights = _below_one(weights)
    return factors[codes] * weights


def check_class_factors(
    class_weight: Any, classes: np.ndarray, codes: np.ndarray, weights: np.ndarray | None
) -> np.ndarray | None:
    """Return the weight of each class, None for equal ones.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        Weights >= 0 by label, 1 for a label that it lacks; "balanced" gives all classes the
        same sum of weights, ``sum(weights) / (n_classes * sum(weights of the class))``.
    classes : ndarray of shape (n_classes,)
    codes : ndarray of shape (n_samples,)
        Positions in ``classes``.
    weights : ndarray of shape (n_samples,), dtype float64, or None

    Returns
    -------
    ndarray of shape (n_classes,), dtype float64, or None

    Raises
    ------
    ValueError
        A label that is not in y; a weight that is not a finite number >= 0; a class
        all of whose weights are 0.
    """
    factors = None
    if isinstance(class_weight, Mapping):
        factors = label_weights(class_weight, classes)
    scaled = None if weights is None else _below_one(weights)
    sums = np.bincount(codes, weights=scaled, minlength=classes.size)
    empty = sums == 0.0 if factors is None else (sums == 0.0) | (factors == 0.0)
    if empty.any():
        raise ValueError(
            f"All weights of class {classes[empty].tolist()[0]!r} are 0 (sample_weight "
            "times class_weight), but every class needs a sample of positive weight. "
            "Leave its samples out if the class does not matter."
        )
    if not isinstance(class_weight, str):
        return factors
    return sums.sum() / (classes.size * sums)


def _below_one(weights: np.ndarray) -> np.ndarray:
    """Divide by a power of 2, which keeps the bits of ratios: sums of huge weights overflow."""
    return np.ldexp(weights, -np.frexp(weights.max())[1])


def label_weights(class_weight: Mapping[Any, Any], classes: np.ndarray) -> np.ndarray:
    """Return the weight of each class; a label that ``class_weight`` lacks has 1."""
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    if unknown:
        raise ValueError(
            f"class_weight has the labels {unknown}, but the classes of y are {labels}."
        )
    for label, weight in class_weight.items():
        if not isinstance(weight, Real) or not 0.0 <= float(weight) < math.inf:
            raise ValueError(
                f"class_weight[{label!r}] is {weight!r}, but must be a finite number >= 0."
            )
    return np.array([float(class_weight.get(label, 1.0)) for label in labels])
