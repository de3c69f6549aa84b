"""Single fits from zero that the loops of a path do at once: for p = 1 and few features or samples, or strong penalties."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from .lasso_path import WHOLE, LassoPath
from .local_fit import LocalFit
from .model_path import ModelPath
from .problem import Problem, SolveResult

# With so few samples the support stays small, and Gram matrices on its way are cheap; so it does where the strongest
# penalty is no more than so many times this one.
FEW_SAMPLES = 300
STRONG = 20.0
# There stronger penalties come first, each so many times as strong as the next, at most, and solved so far.
STEP = 5.0
COARSE = 1e-2
# Where working sets do not get there: as many coefficients as samples, then more. Small steps keep them below that.
SMALL_STEP = 1.3
# Not where a coefficient that changes costs more than so many times as much on the Gram matrix as on X: twice the time of
# working sets on rcv1_1500 at alpha_max/10000.
DEAREST = 30
MOST_SAMPLES = 1900
NO_STAGES = np.empty(0)


Direct = tuple[SolveResult | None, np.ndarray | None]
# The features that have a coefficient, and these.
Nonzero = tuple[np.ndarray, np.ndarray]


def direct_fit(problem: Problem, tol: float, max_iter: int) -> Generator[np.ndarray, np.ndarray, Direct]:
    """Return the fit, None where it takes working sets; and the gradient at zero if it was asked for.

    A fit that is not converged is where a path has got to, for working sets to go on from.

    Squared error is solved on the Gram matrix of all features if they are few, else on that of those
    that matter. Log loss, and with few features Poisson and gamma, are followed by Newton models.
    With many features both go from stronger penalties on. CPU time of working sets over this for a log link: 1.4 in geometric mean over 24
    fits of digits, diabetes, communities and 500 x 50 values, 0.75 in the worst; for log loss 1.3 to 1.8
    on colon, riboflavin and leukemia, 1.9 to 3.2 on diabetes and a9a (alpha_max/10 and /100), 1.1 to 1.4 on
    rcv1_1500, gisette_1000, dorothea and news20 at /10; at /100 there 0.4 to 1.1.

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
    whole = LassoPath.pays(problem, tol)
    lasso = whole or (problem.n_usable > WHOLE and LassoPath.applies(problem))
    # Certificates and paths write over gradients.
    known = problem.hand_over_null_gradient()
    local = not lasso and LocalFit.applies(problem)
    if not lasso and not local and not ModelPath.applies(problem):
        return None, known
    null_gradient = (yield problem.null_raw_gradient) if known is None else known
    del known
    problem.set_gradient_scale(null_gradient)
    if local:
        return (yield from LocalFit(problem, null_gradient).run(tol, max_iter)), null_gradient
    alpha, n_stages = problem.penalty.alpha, 1
    ratio = problem.gradient_scale / alpha if alpha > 0.0 else np.inf
    if problem.n_usable > WHOLE:
        if problem.design.n_samples > FEW_SAMPLES and ratio > STRONG:
            return None, null_gradient
        n_stages = int(np.ceil(np.log(ratio) / np.log(STEP))) if 1.0 < ratio < np.inf else 1
    path, stages = _path(problem, lasso, null_gradient, n_stages)
    if lasso:
        # The path writes over it.
        null_gradient = None
    result = _follow(problem, path, stages, tol, max_iter)
    if result is not None:
        result.history.insert(0, problem.null_objective)
    return result, null_gradient


def in_reach(problem: Problem, features: np.ndarray) -> bool:
    """Whether `through_stronger` may help where a working set of these features does not get there."""
    size, design = features.size, problem.design
    if design.n_samples > MOST_SAMPLES or problem.n_usable <= design.n_samples:
        return False
    if not LassoPath.applies(problem) or not problem.penalty.alpha > 0.0:
        return False
    # Columns of C-ordered X would be copied for that.
    dense = design.storage in ("c", "fortran")
    n_stored = size * design.n_samples if dense else design.columns(features).n_stored
    return size * size <= DEAREST * n_stored


def through_stronger(
    problem: Problem, tol: float, max_iter: int
) -> Generator[np.ndarray, np.ndarray, SolveResult]:
    """Return the fit that follows the solution from 0 in small steps of the strength, not converged where it gets lost."""
    null_gradient = yield problem.null_raw_gradient
    ratio = problem.gradient_scale / problem.penalty.alpha
    n_stages = int(np.ceil(np.log(ratio) / np.log(SMALL_STEP)))
    return _follow(problem, *_path(problem, True, null_gradient, n_stages), tol, max_iter)


def _path(
    problem: Problem, lasso: bool, null_gradient: np.ndarray, n_stages: int
) -> tuple[LassoPath | ModelPath, np.ndarray]:
    """Return a path, and the strengths that come before that of the problem."""
    alpha, stages = problem.penalty.alpha, NO_STAGES
    if n_stages > 1:
        stages = alpha * (problem.gradient_scale / alpha) ** (np.arange(n_stages - 1, 0, -1) / n_stages)
    # Strengths that a path knows of it fits ahead: not the last one, roughly.
    known, polish = stages if stages.size else np.array([alpha]), n_stages == 1
    if lasso:
        return LassoPath(problem, null_gradient, known, polish, overwrite_gradient=True), stages
    return ModelPath(problem, null_gradient, known, polish), stages


def _follow(
    problem: Problem, path: LassoPath | ModelPath, stages: np.ndarray, tol: float, max_iter: int
) -> SolveResult | None:
    """Fit at stronger penalties first, roughly, then at that of the problem."""
    alpha, n_iter, last = problem.penalty.alpha, 0, None
    for stage in map(float, stages):
        result = path.fit(stage, max(COARSE, tol), max(max_iter - n_iter, 0))
        if result is None:
            return _reached(problem, path, last, n_iter, max_iter)
        n_iter += result.n_iter
        # A vector over the features would stay as long as the next fit takes.
        last = _nonzero(result.coef)
        del result
    path.polish = True
    if isinstance(path, LassoPath):
        path.ending = True
    result = path.fit(alpha, tol, max(max_iter - n_iter, 0))
    if result is None:
        return _reached(problem, path, last, n_iter, max_iter)
    if n_iter + result.n_iter > max_iter:
        return _reached(problem, path, _nonzero(result.coef), max_iter, max_iter)
    return replace(result, n_iter=n_iter + result.n_iter) if n_iter else result


def _nonzero(coef: np.ndarray) -> Nonzero:
    support = np.flatnonzero(coef)
    return support, coef[support]


def _reached(
    problem: Problem, path: LassoPath | ModelPath, last: Nonzero | None, n_iter: int, max_iter: int
) -> SolveResult | None:
    """Return the best point of a Lasso path that ends here, not converged: where it stands, or the last fit."""
    if not isinstance(path, LassoPath):
        return None
    best = np.zeros(problem.design.n_features), problem.null_intercept, problem.null_objective
    points = [path.coef]
    if last is not None:
        points.append(np.zeros(problem.design.n_features))
        points[-1][last[0]] = last[1]
    for coef in points:
        if np.isfinite(coef).all():
            prediction, intercept = problem.predict(coef, 0.0)
            if (objective := problem.objective(coef, prediction)) < best[-1]:
                best = coef, intercept, objective
    n_iter = min(n_iter + path.given_up, max_iter)
    return SolveResult(*best, np.inf, np.inf, n_iter, False, [best[-1]], "cd")
