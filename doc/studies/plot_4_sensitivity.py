"""
How sensitive are results to alpha and the threshold?
=====================================================

It depends on the data more than on p. On the diabetes data alpha must be right within a factor of
two to five: for p = 1 between a twentieth and a tenth of ``alpha_max``, and R² falls by 0.05 a
decade further down. Where classes are easy to tell apart it may be wrong by a factor of 100 and
more: between a thousandth and a tenth of ``alpha_max`` for p = 1 on breast cancer, below 1/50 on
digits. Cross-validation finds the place, or its edge. Masks up to a fiftieth of the largest
coefficient work everywhere, and up to a fifth on the diabetes data, where such a mask makes alpha
all but irrelevant. For p ≤ 1 a mask in the fit gains nothing over cutting the fitted
coefficients. It matters for p = 2, of which it makes a selector as good as the others: 5 of 65, 3
of 495 and 13 of 64 features without a loss above 0.01, where cutting late needs 4, 16 and 21.
"""

# %%
# A grid of both
# --------------
# For each mask a path follows strengths from ``alpha_max`` of min(p, 1) down to a ten-thousandth of
# it, on ten splits. Masks are in units of the coefficients: here they are shares of the largest
# coefficient of the model without mask that five-fold cross-validation chooses. p = 1/2 has a small
# ridge beside it. Scores are R² for the diabetes data and accuracy for two classes.

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import csr_array
from studies import bundled, holds, larger, repeated, scores_of_path, table, tuned

from sklearn_sparselp import alpha_max, sparse_lp_path

N_REPEATS = 10
ORDERS = (0.5, 1.0, 2.0)
SHARES = np.geomspace(1.0, 1e-4, 13)
MASKS = np.array([0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4])


def grid(data, p):
    """Return scores and numbers of features of masks and strengths, and both if cut late."""
    l2_reg = 0.01 if p < 1 else 0.0

    def run(X, y, X_test, y_test):
        model = tuned(data, p, l2_reg=l2_reg).fit(X, y)
        top = alpha_max(X, y, min(p, 1.0), loss=data.loss)
        settings = {"loss": data.loss, "l2_reg": l2_reg, "alphas": SHARES * top, "tol": 1e-3}
        free = sparse_lp_path(X, y, p, **settings)
        coefs = csr_array(free.coefs).toarray()
        found = []
        for mask in MASKS * np.abs(model.coef_).max():
            path = sparse_lp_path(X, y, p, sparsity_threshold=mask, **settings)
            cut = replace(free, coefs=np.where(np.abs(coefs) > mask, coefs, 0.0))
            scores = [scores_of_path(data, each, X_test, y_test) for each in (path, cut)]
            found.append((scores[0], path.df, scores[1], np.count_nonzero(cut.coefs, axis=1)))
        chosen.append(model.alpha_ / top)
        return np.swapaxes(found, 0, 1)

    chosen = []
    return (*np.mean(repeated(data, N_REPEATS, run), axis=0), np.median(chosen))


sets = bundled() + larger()
found = {(data.name, p): grid(data, p) for data in sets for p in ORDERS}

# %%
# What works
# ----------
# A strength works if its score without mask is within 0.01 of the best one without mask, and a mask
# works if some strength has such a score with it. Features are those of the best score without
# mask, then the fewest that work with a mask, and the fewest that work if the mask is not part of
# the fit, but cuts the coefficients of a fit without it.

rows, works = [], {}
for (name, p), (score, used, cut, left, share) in found.items():
    least = score[0].max() - 0.01
    low, high = SHARES[score[0] >= least][[-1, 0]]
    largest = MASKS[(score >= least).any(axis=1)].max()
    features = used[0, score[0].argmax()], used[score >= least].min(), left[cut >= least].min()
    works[name, p] = low, high, largest, *features
    rows.append(
        [name, f"{p:g}", f"{score[0].max():.3f}", f"{low:.2g} to {high:.2g}", f"{share:.2g}",
         f"{score.max():.3f}", f"{largest:g}", *(f"{n:.0f}" for n in features)]
    )  # fmt: skip
table(
    ["data", "p", "no mask", "strengths", "chosen", "best", "masks to", "features", "masked",
     "cut late"],
    rows,
)  # fmt: skip

# %%
# A cell is the score minus the best one without mask, white where it is more than 0.1 below. Lines
# enclose what works, and a triangle marks the strength that cross-validation chooses.

figure, panels = plt.subplots(
    len(sets), 3, figsize=(9.5, 2.6 * len(sets)), layout="constrained", sharex=True, sharey=True
)
colours = plt.get_cmap("viridis").with_extremes(under="white")
for axes, ((name, p), (score, *_, share)) in zip(panels.ravel(), found.items(), strict=True):
    loss = score - score[0].max()
    image = axes.imshow(loss, vmin=-0.1, vmax=0.02, aspect="auto", cmap=colours)
    axes.contour(loss, levels=[-0.01], colors="black", linestyles="solid", linewidths=1.0)
    axes.plot(-np.log10(share) * 3.0, 0.0, "rv")
    axes.set_title(f"{name}, p = {p:g}", fontsize="medium")
    axes.set_xticks(range(0, SHARES.size, 3), ["1", "1/10", "1/100", "1e-3", "1e-4"])
    axes.set_yticks(range(len(MASKS)), MASKS)
for axes in panels[-1]:
    axes.set_xlabel("alpha / alpha_max")
for axes in panels[:, 0]:
    axes.set_ylabel("mask / largest |w|")
figure.colorbar(image, ax=panels, label="score minus best without mask", extend="min")
plt.show()

# %%
# This page is not built if a number of its answer is no longer what the study finds; a step of the
# grids is within the tolerance.

for (name, p), (low, high, largest, masked, late) in {
    ("diabetes", 0.5): (0.022, 0.046, 0.2, 6, 6),
    ("diabetes", 1.0): (0.046, 0.1, 0.2, 6, 6),
    ("diabetes", 2.0): (0.001, 0.0046, 0.4, 5, 4),
    ("breast cancer", 1.0): (0.001, 0.1, 0.02, 4, 4),
    ("breast cancer", 2.0): (0.001, 0.1, 0.4, 3, 16),
    ("digits 3 or 8", 1.0): (0.0001, 0.022, 0.02, 13, 11),
    ("digits 3 or 8", 2.0): (0.0001, 0.1, 0.05, 13, 21),
}.items():
    found_low, found_high, found_largest, _, found_masked, found_late = works[name, p]
    ratios = [found_low / low, found_high / high, found_largest / largest]
    holds(np.log10(ratios), 0.0, within=0.41)
    holds((found_masked, found_late), (masked, late), within=np.multiply(0.4, (masked, late)))
