"""The example of word embeddings: its gradient, what it leaves alone, and that it learns."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np

from sklearn_sparselp import SparseLpRegularizer

PATH = Path(__file__).resolve().parent.parent / "examples/embeddings.py"


def example():
    spec = importlib.util.spec_from_file_location("embeddings", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_step_without_penalty_is_the_gradient_by_finite_differences():
    module, rng = example(), np.random.default_rng(0)
    inner, outer = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    pairs, negatives = np.array([[0, 1], [2, 1], [0, 3]]), np.array([[4, 4], [1, 3], [4, 0]])
    none = SparseLpRegularizer(p=1, alpha=0.0)

    def loss(inner, outer):
        return 3 * module.learn_batch(inner.copy(), outer.copy(), pairs, negatives, 0.0, none)

    moved = [inner.copy(), outer.copy()]
    module.learn_batch(*moved, pairs, negatives, 1.0, none)
    for k, param in enumerate((inner, outer)):
        for place in np.ndindex(param.shape):
            ends = []
            for step in (1e-5, -1e-5):
                params = [inner.copy(), outer.copy()]
                params[k][place] += step
                ends.append(loss(*params))
            slope = (ends[0] - ends[1]) / 2e-5
            np.testing.assert_allclose(param[place] - moved[k][place], slope, atol=1e-8)


def test_rows_that_no_word_touches_stay_and_the_others_are_regularised():
    module, rng = example(), np.random.default_rng(1)
    inner, outer = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    before = inner.copy(), outer.copy()
    strong = SparseLpRegularizer(p=1, alpha=1e6)
    module.learn_batch(inner, outer, np.array([[0, 1]]), np.array([[4, 4]]), 0.1, strong)
    for after, old, touched in ((inner, before[0], [0]), (outer, before[1], [1, 4])):
        assert not after[touched].any()
        rest = np.setdiff1d(np.arange(6), touched)
        np.testing.assert_array_equal(after[rest], old[rest])


def test_the_example_learns_and_gets_sparse():
    command = [sys.executable, str(PATH), "--epochs", "2", "--words", "300"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in out.splitlines()[1:3]]
    assert losses[1] < losses[0] < 6 * np.log(2.0)
    zeros = float(out.splitlines()[2].split(", ")[1].split("%")[0])
    assert zeros > 5.0
