"""Word embeddings by hand with sparse gradients and the masked Lp operator; NumPy alone.

A skip-gram model with negative samples (Mikolov et al. 2013) learns a vector for each word of the
texts of Python's own manual, which every Python has on board. A batch touches the rows of its
words: the gradient is added to these, and `SparseLpRegularizer.apply` regularises and masks the
same rows, as the operator of that name did in Caffe2. Other rows are neither read nor written.

    python examples/embeddings.py [--p P] [--alpha A] [--threshold T] [--epochs N] [--update RULE]

Prints for each epoch the loss and how many weights are zero, at the end the neighbours of words.
"""

from __future__ import annotations

import argparse
import re
from pydoc_data.topics import topics

import numpy as np
from scipy.special import expit

from sklearn_sparselp import SparseLpRegularizer

SHOWN = ("string", "class", "import", "exception")


def read_words(n_words: int) -> tuple[list[str], np.ndarray]:
    """Return the most frequent words of the manual, and its text as their numbers."""
    text = " ".join(topics[name] for name in sorted(topics))
    found = re.findall(r"[a-z]{2,}", text.lower())
    words, counts = np.unique(found, return_counts=True)
    kept = words[np.argsort(-counts, kind="stable")[:n_words]]
    number = {word: j for j, word in enumerate(kept.tolist())}
    return kept.tolist(), np.array([number[w] for w in found if w in number])


def pairs_of(text: np.ndarray, window: int, rng: np.random.Generator) -> np.ndarray:
    """Return (word, neighbour) pairs in random order; frequent words are thinned out."""
    share = np.bincount(text) / text.size
    text = text[rng.random(text.size) < np.sqrt(1e-3 / share[text])]
    shifted = [np.column_stack([text[d:], text[:-d]]) for d in range(1, window + 1)]
    pairs = np.vstack([*shifted, *(pair[:, ::-1] for pair in shifted)])
    return pairs[rng.permutation(len(pairs))]


def add_rows(param: np.ndarray, rows: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Add changes to rows, some of which come more than once; return each touched row once."""
    touched, place = np.unique(rows, return_inverse=True)
    total = np.zeros((touched.size, param.shape[1]), dtype=param.dtype)
    np.add.at(total, place, change)
    param[touched] += total
    return touched


def learn_batch(
    inner: np.ndarray,
    outer: np.ndarray,
    pairs: np.ndarray,
    negatives: np.ndarray,
    rate: float,
    regularizer: SparseLpRegularizer,
) -> float:
    """One step on pairs and as many sets of negatives; return the loss before it."""
    words = pairs[:, 0]
    others = np.column_stack([pairs[:, 1], negatives])
    label = np.zeros(others.shape, dtype=inner.dtype)
    label[:, 0] = 1.0
    vectors, contexts = inner[words], outer[others]
    odds = np.einsum("nd,nkd->nk", vectors, contexts)
    slope = expit(odds) - label
    inner_change = -rate * np.einsum("nk,nkd->nd", slope, contexts)
    outer_change = -rate * slope[:, :, np.newaxis] * vectors[:, np.newaxis]
    flat = outer_change.reshape(-1, inner.shape[1])
    for param, rows, change in ((inner, words, inner_change), (outer, others.ravel(), flat)):
        touched = add_rows(param, rows, change)
        regularizer.apply(param, touched, step=rate)
    return float(np.logaddexp(0.0, np.where(label == 1.0, -odds, odds)).sum(axis=1).mean())


def train(
    text: np.ndarray, n_words: int, regularizer: SparseLpRegularizer, *, epochs: int, seed: int = 0
) -> tuple[np.ndarray, list[float]]:
    """Return the vectors of the words and the mean loss of each epoch."""
    rng = np.random.default_rng(seed)
    inner = rng.uniform(-0.5, 0.5, (n_words, 64)).astype(np.float32)
    outer = rng.uniform(-0.5, 0.5, (n_words, 64)).astype(np.float32)
    noise = np.cumsum(np.bincount(text, minlength=n_words) ** 0.75)
    losses = []
    for epoch in range(1, epochs + 1):
        pairs, total, n_batches = pairs_of(text, 3, rng), 0.0, 0
        for start in range(0, len(pairs), 512):
            batch = pairs[start : start + 512]
            negatives = np.searchsorted(noise, rng.random((len(batch), 5)) * noise[-1])
            rate = 0.1 * (1.0 - (epoch - 1 + start / len(pairs)) / epochs) + 0.001
            total += learn_batch(inner, outer, batch, negatives, rate, regularizer)
            n_batches += 1
        losses.append(total / n_batches)
        zeros = (inner == 0.0).mean()
        print(f"epoch {epoch}: loss {losses[-1]:.4f}, {zeros:.1%} of the weights are zero")
    return inner, losses


def neighbours(vectors: np.ndarray, words: list[str], word: str, count: int = 5) -> list[str]:
    """Return the words whose vectors point most nearly in the same direction."""
    length = np.linalg.norm(vectors, axis=1)
    own = vectors[words.index(word)]
    likeness = vectors @ own / np.maximum(length * np.linalg.norm(own), 1e-30)
    order = np.argsort(-likeness, kind="stable")
    return [words[j] for j in order if words[j] != word][:count]


def main() -> None:
    """Read the options, train and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--p", type=float, default=1.0)
    parser.add_argument("--alpha", type=float, default=0.02)
    parser.add_argument("--threshold", type=float, default=0.02)
    parser.add_argument("--update", choices=("proximal", "decay"), default="proximal")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--words", type=int, default=2000)
    options = parser.parse_args()
    words, text = read_words(options.words)
    print(f"{text.size} words of text, {len(words)} different ones")
    regularizer = SparseLpRegularizer(
        p=options.p,
        alpha=options.alpha,
        sparsity_threshold=options.threshold,
        update=options.update,
    )
    vectors, _ = train(text, len(words), regularizer, epochs=options.epochs)
    for word in SHOWN:
        if word in words:
            print(f"{word}: {', '.join(neighbours(vectors, words, word))}")


if __name__ == "__main__":
    main()
