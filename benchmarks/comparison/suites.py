"""What the kept tables measure: a row per table, run by ``compare.py --suite NAME``.

Several suites in one command give one table: ``--suite lasso lp path --stem all``.
"""

from __future__ import annotations

from dataclasses import dataclass

from comparison.problems import PROBLEMS


@dataclass(frozen=True)
class Suite:
    """Problems, how accurately, at which strengths (those of the problem if empty), on what."""

    problems: tuple[str, ...]
    targets: tuple[float, ...] = (1e-6,)
    divisors: tuple[int, ...] = ()
    sets: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()

    def names(self, default: list[str]) -> list[str]:
        """The data sets, those of ``default`` if the suite says nothing."""
        return list(self.sets) or default


GENE_EXPRESSION = ("colon", "leukemia", "riboflavin")
TEXT = ("rcv1_1500", "news20", "news20bin_bydate", "imdb_sentiment")

SUITES: dict[str, Suite] = {
    "lasso": Suite(("lasso",)),
    "lp": Suite(("elastic-net", "l1/2", "l2/3", "l0")),
    "engine": Suite(("lasso",), targets=(1e-4, 1e-8, 1e-10), divisors=(10, 100, 1000)),
    "path": Suite(("lasso-path", "l1/2-path")),
    "threads": Suite(
        ("lasso", "l1/2", "logistic"),
        divisors=(100,),
        peers=("sparselp", "sparselp-rows", "celer", "skglm"),
    ),
    "logistic": Suite(
        ("logistic", "logistic-l1/2"),
        sets=(*GENE_EXPRESSION, "gisette_1000", "dorothea", "a9a", *TEXT),
    ),
    "multinomial": Suite(
        ("multinomial",), divisors=(10,), sets=("sparse_classes", "digits", "news20_multiclass")
    ),
    "counts": Suite(("poisson",), sets=("sparse_counts", "digits", "freMTPL2_freq")),
}
EVERYTHING = Suite(tuple(PROBLEMS))
