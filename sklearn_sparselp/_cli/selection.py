"""The features that a model keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from .outputs import table

LONGEST_NAME = 40


@dataclass(frozen=True)
class Selected:
    """A coefficient that is not zero.

    Attributes
    ----------
    column : int
        Position of the feature.
    feature : str
    label : str or None
        The class that it speaks for, where there are several rows of coefficients.
    coefficient : float
    effect : float or None
        The coefficient times the standard deviation of the feature, where samples are known.
    """

    column: int
    feature: str
    label: str | None
    coefficient: float
    effect: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return what a report says about it."""
        entry: dict[str, Any] = {"feature": self.feature, "position": self.column}
        if self.label is not None:
            entry["class"] = self.label
        entry["coefficient"] = self.coefficient
        if self.effect is not None:
            entry["effect"] = self.effect
        return entry


def selected(model: Any, X: Any = None) -> list[Selected]:
    """Return the coefficients of a model that are not zero, those of the largest effect first.

    Parameters
    ----------
    model : estimator
        Fitted.
    X : ndarray or sparse of shape (n_samples, n_features), default=None
        For the standard deviations; without it the coefficients count as they are.
    """
    coefs = sparse.coo_array(model.sparse_coef_)
    rows, columns, values = coefs.row, coefs.col, coefs.data.astype(np.float64)
    names = getattr(model, "feature_names_in_", None)
    spread = None
    if X is not None:
        active = np.unique(columns)
        spread = dict(zip(active.tolist(), _deviations(X, active).tolist(), strict=True))
    several = coefs.shape[0] > 1
    found = [
        Selected(
            column=j,
            feature=f"x{j}" if names is None else str(names[j]),
            label=str(model.classes_[row]) if several else None,
            coefficient=value,
            effect=None if spread is None else value * spread[j],
        )
        for row, j, value in zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True)
    ]
    return sorted(
        found,
        key=lambda row: -abs(row.coefficient if row.effect is None else row.effect),
    )


def _deviations(X: Any, columns: np.ndarray) -> np.ndarray:
    """Return the standard deviations of some columns, in float64."""
    if not sparse.issparse(X):
        return X[:, columns].std(axis=0, dtype=np.float64)
    part = sparse.csc_array(X)[:, columns].astype(np.float64)
    mean = part.sum(axis=0) / part.shape[0]
    # Around the mean, not E(x^2) - mean^2, which cancels.
    n_stored = np.diff(part.indptr)
    centred = part.data - np.repeat(mean, n_stored)
    squares = np.bincount(
        np.repeat(np.arange(columns.size), n_stored), centred * centred, minlength=columns.size
    )
    return np.sqrt((squares + (part.shape[0] - n_stored) * mean * mean) / part.shape[0])


def selected_table(kept: list[Selected], top: int, *, n_features: int) -> str:
    """Return the table of the features that a model keeps."""
    n_kept = len({row.column for row in kept})
    text = f"kept {n_kept} of {n_features} features\n"
    shown = kept[:top]
    if not shown:
        return text
    several, effects = shown[0].label is not None, shown[0].effect is not None
    head = ["feature", *(["class"] if several else []), "coefficient"]
    head += ["per s.d."] if effects else []
    rows = []
    for row in shown:
        name = row.feature
        if len(name) > LONGEST_NAME:
            name = name[: LONGEST_NAME - 1] + "…"
        cells = [name, *([str(row.label)] if several else []), f"{row.coefficient:.4g}"]
        rows.append(cells + ([f"{row.effect:.4g}"] if effects else []))
    text += "\n" + table(head, rows, left=2 if several else 1)
    if len(kept) > len(shown):
        text += f"{len(shown)} of {len(kept)} coefficients; --top and --report have more\n"
    return text
