"""Time online learning: text sets beside SGDClassifier, growing n_features, a file beyond memory.

* Text: five epochs of log loss on four fifths of a set and a look at the coefficients, CPU time of
  one thread, in turns, least of ten; log loss on the other fifth. scikit-learn's
  SGDClassifier(penalty="l1") at each alpha of a grid, its best by held-out log loss is the
  yardstick. Ours at a constant rate and with adagrad, at each setting of a grid of rates, strengths
  and masks: shown is the one with the fewest coefficients among those whose held-out log loss is no
  worse than the yardstick's. All are chosen on the held-out part.
* Features: the same stored values among more and more features, CPU time of one pass of
  partial_fit. "warm" keeps the columns of the smallest case, "cold" spreads them over all, so that
  caches miss.
* Stream: fit_stream over a generated svmlight file, in a process of its own, with the growth of its
  peak memory.

    python benchmarks/bench_online.py [--gigabytes N] [--stem NAME]

SPARSELP_DATA names a folder with real data and its load.py; without it the text is generated.
Results go to benchmarks/results/online.md and online.json; `--stem ""` writes none. `--gigabytes 0`
keeps the figures of the file that are there, and says which command they are from.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import scipy
import sklearn
from comparison.report import machine, table
from scipy import sparse
from sklearn.datasets import dump_svmlight_file
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

import sklearn_sparselp
from sklearn_sparselp import SparseLpSGDClassifier

RESULTS = Path(__file__).resolve().parent / "results"
EPOCHS, ROUNDS = 5, 10
PEER_ALPHAS = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4)
# eta0, alpha, sparsity_threshold
GRIDS = {
    "constant": ((1.0, 2.0, 4.0, 8.0), (3e-7, 1e-6, 3e-6, 1e-5), (0.0, 0.5, 1.0, 1.5, 2.0)),
    "adagrad": ((0.5, 1.0), (3e-7, 1e-6, 3e-6, 1e-5), (0.0, 0.1, 0.3, 0.6, 1.0)),
}
SETS = ("rcv1_1500", "news20", "imdb_sentiment", "news20bin_bydate")


def generated(n_samples: int, n_features: int, n_stored: int, spread: int, seed: int = 0):
    """Rows of unit length whose columns follow a power law over ``spread`` places."""
    rng = np.random.default_rng(seed)
    rank = (spread ** rng.random((n_samples, n_stored))).astype(np.int64) - 1
    columns = np.sort(rank * 7919 % spread, axis=1) * (n_features // spread)
    rows = np.repeat(np.arange(n_samples), n_stored)
    X = sparse.csr_array(
        (np.ones(rows.size), (rows, columns.ravel())), shape=(n_samples, n_features)
    )
    X = normalize(X)
    # SGDClassifier takes no others.
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    weights = rng.normal(size=n_features) * (rng.random(n_features) < 0.1)
    return X, np.where(X @ weights + 0.1 * rng.normal(size=n_samples) > 0, 1.0, -1.0)


def text_sets() -> Iterator[tuple[str, sparse.csr_array, np.ndarray]]:
    folder = os.environ.get("SPARSELP_DATA")
    if folder is None:
        yield "generated text", *generated(20_000, 50_000, 75, 50_000)
        return
    sys.path.insert(0, folder)
    load = importlib.import_module("load").load
    for name in SETS:
        X, y = load(name)
        X = sparse.csr_array(X)
        if name == "news20":  # counts as distributed; the others have unit rows
            X.data = np.log1p(X.data)
            X = sparse.csr_array(normalize(X))
        yield name, X, y


def timed(model, X, y) -> float:
    """CPU time of a fit; ours computes its coefficients when they are read."""
    start = time.process_time()
    _ = model.fit(X, y).coef_
    return time.process_time() - start


def text_cell(name: str, X: sparse.csr_array, y: np.ndarray) -> dict:
    """The yardstick and our sparsest model that predicts no worse."""
    order = np.random.default_rng(0).permutation(X.shape[0])
    cut = X.shape[0] * 4 // 5
    train, test = X[order[:cut]], X[order[cut:]]
    y_train, y_test = y[order[:cut]], y[order[cut:]]
    common = {"max_iter": EPOCHS, "tol": None, "random_state": 0}

    def judged(model) -> tuple[float, int, object]:
        model.fit(train, y_train)
        loss = log_loss(y_test, model.predict_proba(test))
        return loss, int(np.count_nonzero(model.coef_)), model

    peers = [
        judged(SGDClassifier("log_loss", penalty="l1", alpha=a, **common)) for a in PEER_ALPHAS
    ]
    peer = min(peers, key=lambda found: found[0])
    shown = {"scikit-learn": peer}
    for rate, grid in GRIDS.items():
        # The mask acts on what is read at the end.
        options = common | {"learning_rate": rate, "mask_interval": 10**12}
        own = [
            judged(SparseLpSGDClassifier(eta0=e, alpha=a, sparsity_threshold=t, **options))
            for e, a, t in product(*grid)
        ]
        good = [found for found in own if found[0] <= peer[0]]
        shown[rate] = (
            min(good, key=lambda found: found[1]) if good else min(own, key=lambda found: found[0])
        )
    seconds = dict.fromkeys(shown, np.inf)
    for _ in range(ROUNDS):
        for who, (_, _, model) in shown.items():
            seconds[who] = min(seconds[who], timed(model, train, y_train))
    return {
        "data": name,
        "shape": [*train.shape, int(train.nnz)],
        "speed": {who: EPOCHS * train.nnz / s / 1e6 for who, s in seconds.items()},
        "log_loss": {who: found[0] for who, found in shown.items()},
        "coefficients": {who: found[1] for who, found in shown.items()},
        "setting": {who: setting(found[2]) for who, found in shown.items()},
    }


def setting(model) -> str:
    if isinstance(model, SGDClassifier):
        return f"alpha {model.alpha:g}"
    return f"eta0 {model.eta0:g}, alpha {model.alpha:g}, mask {model.sparsity_threshold:g}"


def feature_cells() -> list[dict]:
    """One pass over the same stored values among more and more features."""
    found = []
    sizes = (10_000, 100_000, 1_000_000)
    for rate in ("constant", "adagrad"):
        for state, p in (("warm", 1.0), ("cold", 1.0)):
            runs = []
            for n_features in sizes:
                spread = sizes[0] if state == "warm" else n_features
                X, y = generated(100_000, n_features, 50, spread)
                if state == "warm":  # the columns themselves, not only their number
                    X = sparse.csr_array((X.data, X.indices // (n_features // spread), X.indptr))
                    X.resize(100_000, n_features)
                model = SparseLpSGDClassifier(p=p, alpha=1e-6, learning_rate=rate, shuffle=False)
                model.partial_fit(X[:1], y[:1], classes=[-1.0, 1.0])
                runs.append((n_features, model, X, y))
            best = dict.fromkeys(sizes, np.inf)
            for _ in range(5):
                for n_features, model, X, y in runs:
                    start = time.process_time()
                    model.partial_fit(X, y)
                    best[n_features] = min(best[n_features], time.process_time() - start)
            stored = runs[0][2].nnz
            for n_features in sizes:
                found.append(
                    {
                        "rate": rate,
                        "caches": state,
                        "features": n_features,
                        "ns": 1e9 * best[n_features] / stored,
                        "ratio": best[n_features] / best[sizes[0]],
                    }
                )
    return found


def peak_memory() -> float:
    """The largest resident set so far, in MB; getrusage would count the parent of a process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def learn_file(path: str, n_features: int) -> None:
    """Learn from a file and print the figures as JSON; runs in a process of its own."""
    before = peak_memory()
    model = SparseLpSGDClassifier(alpha=1e-6, random_state=0)
    start = time.perf_counter()
    model.fit_stream(path, [-1.0, 1.0], n_features=n_features, zero_based=True)
    seconds = time.perf_counter() - start
    result = {"seconds": seconds, "before": before, "peak": peak_memory()}
    print(json.dumps(result | {"stored": model.n_touched_, "samples": model.t_ - 1}))


def stream_cell(gigabytes: float) -> dict:
    """Generate a file of random rows, not fewer bytes than asked for, and learn from it."""
    n_features = 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        piece, path = Path(folder) / "piece", Path(folder) / "data.svm"
        X, y = generated(20_000, n_features, 100, n_features)
        X.data = np.round(X.data, 4)
        dump_svmlight_file(X, y, str(piece), zero_based=True)
        content = piece.read_bytes()
        copies = max(1, round(gigabytes * 1e9 / len(content)))
        with path.open("wb") as file:
            for _ in range(copies):
                file.write(content)
        command = [sys.executable, __file__, "--learn", str(path), str(n_features)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        size = path.stat().st_size
    return json.loads(done.stdout) | {"bytes": size, "features": n_features}


def render(text: list[dict], features: list[dict], streams: list[dict], header: dict) -> str:
    here = header["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    lines = ["# Online learning", "", f"`{header['command']}`", ""]
    lines += [
        f"{here['processor']}, 1 thread of {here['cores']} cores, load "
        f"{here['load_average']:.1f} at the start; Python {here['python']}, {versions}.",
        "",
        "## Text",
        "",
        f"{EPOCHS} epochs of log loss, CPU time of the whole fit; M stored values per second, "
        "held-out log loss, coefficients. scikit-learn is SGDClassifier(penalty='l1') at its best "
        "alpha; the others are ours, at the sparsest setting that predicts no worse.",
        "",
    ]
    columns = ["data", "estimator", "speed", "beside", "log loss", "coefficients", "setting"]
    rows = [
        [
            f"{c['data']} ({c['shape'][0]} × {c['shape'][1]}, {c['shape'][2] / 1e6:.2f} M)",
            who,
            f"{speed:.0f} M/s",
            f"{speed / c['speed']['scikit-learn']:.2f}",
            f"{c['log_loss'][who]:.4f}",
            f"{c['coefficients'][who]:,}",
            c["setting"][who],
        ]
        for c in text
        for who, speed in c["speed"].items()
    ]
    lines += [*table(columns, rows), "", "## Number of features", ""]
    lines += ["Nanoseconds per stored value of a pass of `partial_fit`, p = 1, 50 in a row.", ""]
    columns = ["rate", "caches", "features", "ns", "beside the fewest"]
    rows = [
        [c["rate"], c["caches"], f"{c['features']:,}", f"{c['ns']:.2f}", f"{c['ratio']:.2f}"]
        for c in features
    ]
    lines += [*table(columns, rows), "", "## A file", ""]
    lines += [
        "`fit_stream` over svmlight text, "
        f"`{streams[0]['command']}`; memory is the peak of the resident set.",
        "",
    ]
    columns = ["file", "samples", "stored values", "time", "memory before", "peak"]
    rows = [
        [
            f"{c['bytes'] / 1e9:.2f} GB",
            f"{c['samples']:,}",
            f"{c['stored'] / 1e6:.0f} M",
            f"{c['seconds']:.0f} s",
            f"{c['before']:.0f} MB",
            f"{c['peak']:.0f} MB",
        ]
        for c in streams
    ]
    return "\n".join([*lines, *table(columns, rows)]).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--gigabytes", type=float, default=5.0, help="size of the file, 0 to keep its figures"
    )
    parser.add_argument("--stem", default="online", help="name of the results, empty for none")
    parser.add_argument("--learn", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.learn:
        learn_file(options.learn[0], int(options.learn[1]))
        return
    versions = {
        "sklearn_sparselp": sklearn_sparselp.__version__,
        "scikit-learn": sklearn.__version__,
        "scipy": scipy.__version__,
    }
    header = {
        "command": f"python benchmarks/bench_online.py --gigabytes {options.gigabytes:g}",
        "machine": machine(1, versions),
    }
    with threadpool_limits(1):
        text = [text_cell(*entry) for entry in text_sets()]
        print("text: done", flush=True)
        features = feature_cells()
        print("features: done", flush=True)
        sizes = (options.gigabytes / 10, options.gigabytes) if options.gigabytes else ()
        streams = [stream_cell(size) | {"command": header["command"]} for size in sizes]
    if not streams:
        former = json.loads((RESULTS / "online.json").read_text(encoding="utf-8"))
        streams = [{"command": former["command"]} | cell for cell in former["streams"]]
    report = render(text, features, streams, header)
    print(report)
    if options.stem:
        (RESULTS / f"{options.stem}.md").write_text(report, encoding="utf-8")
        content = {**header, "text": text, "features": features, "streams": streams}
        text_json = json.dumps(content, indent=1)
        (RESULTS / f"{options.stem}.json").write_text(text_json + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
