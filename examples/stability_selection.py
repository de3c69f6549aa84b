"""Which features does a sparse model choose again and again? Stability selection along paths.

The diabetes data of scikit-learn, 442 patients and 10 measurements, get columns of noise: copies
of the measurements with their rows shuffled, which have nothing to say about the target. Many
times a random half of the patients is drawn, with the other half beside it (Shah and Samworth,
Journal of the Royal Statistical Society B 75, 2013), and `sparse_lp_path` follows the path of
each half down to where it holds q features. The share of halves whose path has a feature is its
selection frequency (Meinshausen and Buehlmann, the same journal, B 72, 2010). Features above a
threshold are kept; of d features at most q^2 / (d (2 threshold - 1)) of those kept are expected
to be noise, if noise columns are alike.

    python examples/stability_selection.py [--p P ...] [--noise N] [--halves N] [--features Q]
        [--threshold T] [--plot FILE]

Prints a table of frequencies, a row for each measurement and one for the noise.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.sparse import issparse
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from sklearn_sparselp import sparse_lp_path


def with_noise(n_noise: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return design, target and names: the measurements first, then shuffled copies of them."""
    data = load_diabetes()
    copies = [rng.permutation(data.data[:, k % data.data.shape[1]]) for k in range(n_noise)]
    X = scale(np.column_stack([data.data, *copies]))
    return X, scale(data.target), list(data.feature_names)


def selected(X: np.ndarray, y: np.ndarray, p: float, n_features: int) -> np.ndarray:
    """Return which features a path holds at the last alpha with at most ``n_features`` of them."""
    path = sparse_lp_path(X, y, p, alphas=40, eps=0.05)
    step = np.flatnonzero(path.df <= n_features)[-1]
    coef = path.coefs[[step]]
    return (coef.toarray() if issparse(coef) else coef)[0] != 0.0


def frequencies(
    X: np.ndarray, y: np.ndarray, p: float, n_halves: int, n_features: int, seed: int = 0
) -> np.ndarray:
    """Return the selection frequency of each feature over pairs of halves of the samples."""
    rng = np.random.default_rng(seed)
    counts = np.zeros(X.shape[1])
    for _ in range(n_halves // 2):
        order = rng.permutation(y.size)
        for half in np.array_split(order, 2):
            counts += selected(X[half], y[half], p, n_features)
    return counts / (n_halves // 2 * 2)


def draw(shares: dict[float, np.ndarray], names: list[str], threshold: float, file: str) -> None:
    """Draw the sorted frequencies of each order, measurements in colour, and save the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(shares) + 1.0, 3.4), layout="constrained")
    for axes, (p, share) in zip(
        figure.subplots(1, len(shares), squeeze=False)[0], shares.items(), strict=True
    ):
        order = np.argsort(-share, kind="stable")[:25]
        colors = ["C0" if j < len(names) else "0.7" for j in order]
        axes.bar(np.arange(order.size), share[order], color=colors)
        axes.axhline(threshold, color="black", linewidth=0.8, linestyle="--")
        labels = [names[j] if j < len(names) else "" for j in order]
        axes.set_xticks(np.arange(order.size), labels, rotation=90)
        axes.set(title=f"p = {p:g}", ylabel="selection frequency", ylim=(0.0, 1.0))
    figure.savefig(file, dpi=150)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--p", type=float, nargs="+", default=[1.0, 0.5])
    parser.add_argument("--noise", type=int, default=190)
    parser.add_argument("--halves", type=int, default=100)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--plot")
    arguments = parser.parse_args()
    X, y, names = with_noise(arguments.noise, np.random.default_rng(0))
    shares = {p: frequencies(X, y, p, arguments.halves, arguments.features) for p in arguments.p}
    print(f"{'feature':>12}", *(f"p={p:<6g}" for p in shares))
    for j, name in enumerate(names):
        print(f"{name:>12}", *(f"{share[j]:<8.2f}" for share in shares.values()))
    noise = [share[len(names):].max(initial=0.0) for share in shares.values()]  # fmt: skip
    print(f"{'worst noise':>12}", *(f"{worst:<8.2f}" for worst in noise))
    bound = arguments.features**2 / (X.shape[1] * (2.0 * arguments.threshold - 1.0))
    for p, share in shares.items():
        kept = np.flatnonzero(share >= arguments.threshold)
        known = [names[j] for j in kept if j < len(names)]
        print(f"p={p:g} keeps {', '.join(known)} and {kept.size - len(known)} columns of noise "
              f"(at most {bound:.2g} expected)")  # fmt: skip
    if arguments.plot:
        draw(shares, names, arguments.threshold, arguments.plot)


if __name__ == "__main__":
    main()
