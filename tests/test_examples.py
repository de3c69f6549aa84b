"""The examples of selection and tuning run, and find what they claim to find."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples"


def run(name, *arguments):
    command = [sys.executable, str(FOLDER / name), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_stability_selection_keeps_measurements_and_no_noise(tmp_path):
    picture = tmp_path / "frequencies.png"
    out = run("stability_selection.py", "--halves", "30", "--plot", str(picture))
    kept = re.findall(r"keeps (.*) and (\d+) columns of noise", out)
    assert len(kept) == 2
    for names, n_noise in kept:
        assert {"bmi", "s5"} <= set(names.split(", "))
        assert n_noise == "0"
    assert picture.stat().st_size > 10_000


def test_selection_takes_the_last_path_point_within_the_limit():
    example = module("stability_selection")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 12))
    y = X @ np.r_[3.0, -2.0, 1.0, np.zeros(9)] + 0.1 * rng.normal(size=80)
    assert np.flatnonzero(example.selected(X, y, 1.0, 2)).tolist() == [0, 1]
    shares = example.frequencies(X, y, 0.5, 20, 3)
    assert (shares[:3] == 1.0).all()
    assert shares.sum() == pytest.approx(3.0, abs=0.5)


def test_four_searches_tune_one_pipeline():
    out = run("tuning.py", "--trials", "6")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["grid", "random", "Optuna", "paths"]
    for row in rows:
        assert len(row) == 7, row
        assert float(row[4]) > 0.9
