"""Single fits from zero that the loops of a path do at once: for p = 1 and few features, or few samples."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from .lasso_path import WHOLE, LassoPath
from .log_loss_path import LogLossPath
from .problem import Problem, SolveResult

# Of log loss: with so few samples the support stays small, and the models on its way are cheap; so it does with a
# penalty of no less than this share of the strongest.
FEW_SAMPLES = 300
STRONG = 1 / 20
# There stronger penalties come first, each so many times as strong as the next, at most, and solved so far.
STEP = 5.0
COARSE = 1e-2


Direct = tuple[SolveResult | None, np.ndarray | None]


def direct_fit(problem: Problem, tol: float, max_iter: int) -> Generator[np.ndarray, np.ndarray, Direct]:
    """Return the fit, None where it takes working sets; and the gradient at zero if it was asked for.

    Squared error is solved on the Gram matrix of all features. Log loss is followed by
    Newton models; with many features from stronger penalties on. Log loss, CPU time of the
    working sets over this: 1.3 to 1.8 on colon, riboflavin and leukemia, 1.9 to 3.2 on diabetes and a9a
    (alpha_max/10 and /100), 1.1 to 1.4 on rcv1_1500, gisette_1000, dorothea and news20 at /10; at /100 there 0.4 to 1.1.

    Parameters
    ----------
    problem : Problem
    tol : float
    max_iter : int

    Returns
    -------
    generator
        Yields a vector to multiply, as `coordinate_descent`.
    """
    lasso = LassoPath.pays(problem, tol)
    if not lasso and not LogLossPath.applies(problem):
        return None, None
    null_gradient = yield problem.null_raw_gradient
    problem.set_gradient_scale(null_gradient)
    alpha = problem.penalty.alpha
    result = None
    if lasso:
        result = LassoPath(problem, null_gradient, np.array([alpha]), polish=True).fit(alpha, tol, max_iter)
    elif (
        problem.n_usable <= WHOLE
        or problem.design.n_samples <= FEW_SAMPLES
        or alpha >= STRONG * problem.gradient_scale
    ):
        result = _log_loss_fit(problem, null_gradient, tol, max_iter)
    if result is not None:
        result = replace(result, history=[problem.null_objective, result.objective])
    return result, null_gradient


def _log_loss_fit(problem: Problem, null_gradient: np.ndarray, tol: float, max_iter: int) -> SolveResult | None:
    alpha, n_iter = problem.penalty.alpha, 0
    path = LogLossPath(problem, null_gradient, np.array([alpha]), polish=False)
    ratio = problem.gradient_scale / alpha if alpha > 0.0 else 1.0
    n_stages = 1
    if problem.n_usable > WHOLE and ratio > 1.0:
        n_stages = int(np.ceil(np.log(ratio) / np.log(STEP)))
    for k in range(n_stages - 1, 0, -1):
        stage = path.fit(alpha * ratio ** (k / n_stages), max(COARSE, tol), max_iter)
        if stage is None:
            return None
        n_iter += stage.n_iter
    path.polish = True
    result = path.fit(alpha, tol, max_iter)
    if result is None or n_iter + result.n_iter > max_iter:
        return None
    return replace(result, n_iter=n_iter + result.n_iter)
