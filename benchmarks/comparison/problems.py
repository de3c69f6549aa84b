"""The problems of the grid: which penalty, how strong, certified how.

A row of PROBLEMS names a family; a cell is a family at ``alpha_max / divisor`` on one data set,
or on the path from ``alpha_max`` to there.
A new loss needs its row here, its class in losses.py and ``handles`` in the solvers.
"""

from __future__ import annotations

from dataclasses import dataclass

from comparison.certificates import Certifier, Task
from comparison.losses import LOSSES


@dataclass(frozen=True)
class Problem:
    """A family of tasks; ``measure`` is the field of Certificate that has to reach the target."""

    name: str
    p: float
    divisors: tuple[int, ...]
    measure: str
    l2_share: float = 0.0  # l2_reg = alpha * l2_share / (1 - l2_share)
    loss: str = "squared_error"
    n_alphas: int = 1

    def suits(self, y, fit_intercept: bool) -> bool:
        """Whether a data set with this target takes part; only squared error has intercepts."""
        known = self.loss == "squared_error" or not fit_intercept
        return known and LOSSES[self.loss].suits(y)

    def task(self, certifier: Certifier, divisor: int, fit_intercept: bool) -> Task:
        """The task at alpha_max / divisor (alpha_max of the problem without ridge)."""
        first = certifier.alpha_max(self.p, fit_intercept)
        alpha = first / divisor
        l2_reg = alpha * self.l2_share / (1 - self.l2_share)
        # At alpha_max itself rounding decides, for p < 1, between 0 and the jump away from it.
        first *= 1 + 1e-9
        return Task(self.p, alpha, l2_reg, fit_intercept, self.loss, self.n_alphas, first)


PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem("lasso", 1.0, (10, 100), "gap"),
        Problem("elastic-net", 1.0, (10, 100), "gap", l2_share=0.5),
        Problem("l1/2", 1 / 2, (10, 100), "residual"),
        Problem("l2/3", 2 / 3, (10, 100), "residual"),
        Problem("l0", 0.0, (10, 100), "residual"),
        Problem("logistic", 1.0, (10, 100), "gap", loss="log_loss"),
        Problem("logistic-l1/2", 1 / 2, (10, 100), "residual", loss="log_loss"),
        Problem("poisson", 1.0, (10, 100), "gap", loss="poisson"),
        Problem("multinomial", 1.0, (10, 100), "gap", loss="multinomial"),
        Problem("lasso-path", 1.0, (100,), "gap", n_alphas=100),
        Problem("l1/2-path", 1 / 2, (100,), "residual", n_alphas=100),
    )
}
QUICK = ("lasso", "l1/2")
