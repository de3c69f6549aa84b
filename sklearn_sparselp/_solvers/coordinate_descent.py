"""Coordinate descent on working sets, with Newton steps on the support.

A solver is a generator: it yields a vector g of shape (n_samples,) and is sent
``X.T @ g``; it returns its SolveResult. The driver answers the requests of all
problems of one design in a single pass over X.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from .._core._loss import SquaredHinge
from .._core._penalty import entry_gradients
from .certificate import Certificate, Certifier
from .class_states import ClassStates
from .descent_state import DescentState
from .direct import direct_fit, in_reach, through_stronger
from .multinomial import MultinomialProblem
from .problem import SMALL_DESIGN, Carry, Problem, SolveResult
from .support_newton import LARGEST_FACTOR, POLISH_STEPS, POLISHED

Requests = Generator[np.ndarray, np.ndarray, SolveResult]

# Violators that join a working set at once, at least.
SMALLEST_GROWTH = 100
# Fewer where squared error is not convex: of many that start together more stay, in a worse local solution.
CAUTIOUS_GROWTH = 30
# Beyond so many features for each sample a working set grows by a share of the samples only, where p = 1: gisette_1000
# at alpha_max/1000 0.8 s in place of 1.0.
MOST_PER_SAMPLE = 1.2
SHARE_OF_SAMPLES = 10
# How far below the outer violation the working set is solved.
INNER_FACTOR = 0.1
# Roughly where it has more features than are factored: imdb_rating at alpha_max/1000, 16 611 kept, 9 s in place of 15.
ROUGH_FACTOR = 0.3
WHOLE_FACTOR = 1e-3
# So much more exactly, and more again, after so few epochs that have left more than so much of the duality gap:
# sparse_counts at alpha_max/1000 took 102 passes over X for one epoch each, news20bin_bydate 850.
SHARPER = 0.1
FEW_EPOCHS = 3
HARDLY = 0.9
GAP_FACTOR = 0.1
# A detour through stronger penalties, each so many times as strong as the next, begins after so many epochs.
# Squared hinge, 200 x 1000 normal values, p = 1/2, alpha_max/1000: 420 epochs without, 323 along the detour, to a lower end.
DETOUR_RATIO = 2.0
DETOUR_FROM = 50
DETOUR_STAGES = 30
DETOUR_TOL = 0.03
# A fit from zero that ends beyond so many times the objective there has gone astray.
ABOVE_ZERO = 1.0 + 1e-9
# After so many epochs working sets give way to small steps of the strength, for p = 1 and more features than samples. After
# fewer where they have nearly as many features as there are samples and the strongest penalty is more than so many
# times this one, and at once where it is even stronger and the last working set has left more than so much of the gap,
# more than this part of the objective at zero.
SMALL_STEPS_FROM, FROM_OF_WEAK = 400, 250
NEARLY_ALL = 0.8
WEAK, WEAKER = 250.0, 400.0
STALLED, FAR = 0.5, 0.01


def coordinate_descent(
    problem: Problem, *, max_iter: int, tol: float, coef: np.ndarray, intercept: float, carry: Carry | None = None,
    detour: bool = True,
) -> Requests:  # fmt: skip
    """Minimise F_tau by cyclic updates ``w_j <- T_j(w_j - g_j / L_j)``.

    From a zero start it takes a detour through stronger penalties where epochs have not sufficed and the loss is constant
    around some predictions, if it is squared hinge or the problem is not convex: models of it say little about where to go,
    and steps are short.

    Parameters
    ----------
    problem : Problem
    max_iter : int
        Epochs over working sets, at most.
    tol : float
        Of the stopping rule, see `Certificate.holds`.
    coef : ndarray of shape (n_features,), dtype float64
        Start.
    intercept : float
        Start; moved to its optimum at once.
    carry : Carry or None
        Of the fit that ended at the start; brought up to date.
    detour : bool
        Whether a detour is allowed.

    Returns
    -------
    generator
        Yields vectors to multiply, returns a SolveResult.
    """
    warm = bool(coef.any())
    known = None if carry is None else carry.gradient
    epochs = 0
    if carry is None and not warm:
        result, known = yield from direct_fit(problem, tol, max_iter)
        if result is not None and result.converged:
            return result
        # The end of a path that stops at max_iter is dropped: with more epochs it may be higher, and a fit with a smaller
        # max_iter is to be the beginning of a longer one.
        if result is not None and result.n_iter < max_iter:
            coef, intercept, epochs = result.coef, result.intercept, result.n_iter
            known = None if coef.any() else known
    state: DescentState | ClassStates
    if isinstance(problem, MultinomialProblem):
        state = ClassStates(problem, coef, intercept)
    else:
        state = DescentState(problem, coef, intercept, carry)
    # Vectors over the features are let go as soon as possible: X may hold few values for each of them.
    del coef
    certifier = Certifier(problem, overwrite_gradient=carry is None)
    history: list[float] = []
    small = not problem.loss.quadratic and problem.design.n_stored <= SMALL_DESIGN
    spent, last_gap, sharper = 0, np.inf, 1.0
    polishes = 1 if problem.loss.quadratic else POLISH_STEPS
    if carry is not None and not carry.polish:
        polishes = 0
    if problem.gradient_scale is None and warm:
        problem.set_gradient_scale((yield problem.null_raw_gradient))
    while True:
        smooth_gradient = (yield state.raw_gradient) if known is None else known
        known = None
        if carry is not None:
            carry.gradient = smooth_gradient
        if problem.gradient_scale is None:
            problem.set_gradient_scale(smooth_gradient)
        certificate = certifier.certify(state.w, state.prediction, state.raw_gradient, smooth_gradient)
        del smooth_gradient
        history.append(certificate.objective)
        converged = certificate.holds(problem, tol)
        finishing = converged and polishes > 0 and certificate.residual > POLISHED
        polishes -= finishing
        if finishing and state.polish():
            continue
        # Small problems go on where the support is not the last one yet.
        finishing = finishing and small
        if (converged and not finishing) or epochs >= max_iter:
            break
        creeping = detour and not warm and _creeps(problem, state)
        if creeping and epochs >= DETOUR_FROM:
            detour = creeping = False
            found = yield from _detour(problem, max_iter - epochs, tol, intercept)
            if found is not None:
                epochs += found.n_iter
                if found.objective < certificate.objective:
                    state = DescentState(problem, found.coef, found.intercept)
                    continue
        resting = state.idle or (len(history) > 1 and history[-1] == history[-2])
        if resting and not problem.convex and state.jump(certificate, 0.5 * tol):
            epochs += 1
            continue
        features = working_set(problem, state.w, certificate)
        # With all features in the working set its gap and its violation are those of the problem.
        whole = features.size == problem.n_usable
        gap_limit = max(0.3 * tol * problem.null_objective, (0.0 if whole else GAP_FACTOR) * certificate.dual_gap)
        factor = ROUGH_FACTOR if features.size > LARGEST_FACTOR else INNER_FACTOR
        # Where columns nearly depend on each other epochs change little long before they are done.
        gap = certificate.dual_gap
        stalled = gap > max(STALLED * last_gap, FAR * problem.null_objective)
        sharper = SHARPER * sharper if spent <= FEW_EPOCHS and gap > HARDLY * last_gap else 1.0
        last_gap = gap
        inner = (WHOLE_FACTOR if whole else factor) * sharper * certificate.violation
        del certificate
        limit = max_iter - epochs
        if creeping:
            limit = min(limit, DETOUR_FROM)
        elif detour and not warm and in_reach(problem, features):
            patience = _patience(problem, features, stalled)
            if epochs < patience:
                limit = min(limit, patience - epochs)
            else:
                detour = False
                found = yield from through_stronger(problem, tol, limit)
                epochs += found.n_iter
                if found.converged:
                    if carry is not None:
                        # Of where the fit stood before.
                        carry.gradient = None
                    return replace(found, n_iter=epochs, history=[*history, found.objective])
                if found.objective < history[-1]:
                    state = DescentState(problem, found.coef, found.intercept, carry)
                continue
        spent = state.descend(features, inner, gap_limit, limit)
        epochs += spent
    astray = carry is None and not warm and not certificate.objective <= ABOVE_ZERO * problem.null_objective
    if astray and isinstance(state, DescentState):
        # Where products with a column keep none of their digits.
        state = DescentState(problem, np.zeros_like(state.w), problem.null_intercept)
        smooth_gradient = yield state.raw_gradient
        certificate = Certifier(problem).certify(state.w, state.prediction, state.raw_gradient, smooth_gradient)
        history.append(certificate.objective)
        converged = certificate.holds(problem, tol)
    return SolveResult(
        coef=state.w,
        intercept=state.intercept,
        objective=certificate.objective,
        dual_gap=certificate.dual_gap,
        fixed_point_residual=certificate.residual,
        n_iter=max(epochs, 1),
        converged=converged,
        history=history,
        solver="cd",
    )


def _patience(problem: Problem, features: np.ndarray, stalled: bool) -> int:
    """Return after how many epochs working sets give way, of which the last one has these features."""
    penalty, strongest = problem.penalty, problem.gradient_scale
    few = features.size < NEARLY_ALL * problem.design.n_samples
    # A ridge keeps columns apart, and the sign most coefficients away.
    if few or penalty.l2_reg > 0.0 or penalty.positive or not strongest > WEAK * penalty.alpha:
        return SMALL_STEPS_FROM
    return 0 if stalled and strongest > WEAKER * penalty.alpha else FROM_OF_WEAK


def _creeps(problem: Problem, state: DescentState | ClassStates) -> bool:
    """Whether the loss is constant around some predictions, so that models of it say little."""
    # Log loss underflows to a constant beyond predictions of 745, of a sample whose values are large. Where it is convex it
    # ends without a detour: news20 at alpha_max/100 0.14 s in place of 0.31.
    ends = problem.convex and not isinstance(problem.loss, SquaredHinge)
    return not ends and isinstance(state, DescentState) and state.flat


def _detour(
    problem: Problem, max_iter: int, tol: float, intercept: float
) -> Generator[np.ndarray, np.ndarray, SolveResult | None]:
    """Solve the problem from 0 through stronger penalties, the strongest of which hardly lets a feature in.

    Returns None where the penalty has one strength only, or no strength that keeps features out.
    """
    gradient = np.abs((yield problem.null_raw_gradient))
    stages = [problem]
    while len(stages) <= DETOUR_STAGES:
        stronger = problem.stronger(DETOUR_RATIO ** len(stages))
        if stronger is None:
            return None
        entry = entry_gradients(stronger.penalty, stronger.lipschitz)
        if not ((gradient > entry) & (entry > 0.0) & problem.usable).any():
            break
        stages.append(stronger)
    if len(stages) == 1:
        return None
    coef, used, top = np.zeros(gradient.shape), 0, len(stages)
    while stages:
        if used >= max_iter:
            del stages[1:]
        stage = stages.pop()
        # What a strength has to say shows in violations that are small beside it.
        enough = max(tol, DETOUR_TOL * DETOUR_RATIO ** (len(stages) - top)) if stages else tol
        result = yield from coordinate_descent(
            stage, max_iter=max(max_iter - used, 0), tol=enough, coef=coef, intercept=intercept, detour=False
        )
        coef, intercept, used = result.coef, result.intercept, used + result.n_iter
    return replace(result, n_iter=min(used, max_iter))


def working_set(problem: Problem, w: np.ndarray, certificate: Certificate) -> np.ndarray:
    """Return, sorted, the support, the largest violators, and the features that are nearest to entering.

    At most as many violators join as the support has features, or 100. The near ones keep
    correlated features from leaving and entering in turns. Few features are all taken. For p = 1 and squared
    error without a ridge no more join than the samples leave room for, or a tenth as many as there are samples.

    Where squared error is not convex it is 30 in place of 100, and no near ones join: from a zero start that ends
    lower, by 4 % for p = 1/2 and 6 % for p = 0 in geometric mean over 16 fits, and costs no time.
    """
    found = certificate.candidates
    inside = w[found] != 0.0
    support, candidates = found[inside], found[~inside]
    cautious = problem.loss.quadratic and not problem.convex
    smallest = CAUTIOUS_GROWTH if cautious else SMALLEST_GROWTH
    if problem.n_usable <= smallest:
        return np.flatnonzero(problem.usable)
    values = certificate.violations[~inside]
    if cautious:
        candidates, values = candidates[values > 0.0], values[values > 0.0]
    growth = max(smallest, support.size)
    if not cautious:
        growth = min(growth, np.count_nonzero(values > 0.0) + max(20, support.size // 4))
    if problem.penalty.absolute and problem.loss.quadratic and problem.penalty.l2_reg == 0.0:
        # A solution needs no more coefficients than samples, and columns beyond these depend on each other.
        room = int(MOST_PER_SAMPLE * problem.design.n_samples) - support.size
        growth = min(growth, max(smallest, room, problem.design.n_samples // SHARE_OF_SAMPLES))
    if candidates.size > growth:
        candidates = candidates[np.argpartition(values, candidates.size - growth)[candidates.size - growth :]]
    return np.sort(np.concatenate([support, candidates]))
