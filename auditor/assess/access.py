"""How near to the model somebody is assumed to come, and which tests lie within that (rule R12).

The strongest access that the declared release context gives, and one level above it as margin. Lack of motive and contract terms lower
nothing: no outcome depends on what is found here. A test beyond the access assumed stays evidence about the parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.core.reading import AssumedAccess, TestAccess
from auditor.core.subject import ReleaseContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.finding import Access, Finding

LEVELS: tuple[Access, ...] = ("text", "scores", "distribution", "weights")
"""Weakest first: what the model says; how likely it finds a text; the likelihood of every next token; the parameters."""
OF_QUERIES: Access = "distribution"
"""The strongest access that can be had by asking."""

DECLARED: dict[ReleaseContext, Access] = {
    ReleaseContext.INTERNAL: "text",
    ReleaseContext.PUBLIC_API: "scores",
    ReleaseContext.OPEN_WEIGHTS: "weights",
}
"""The strongest access that a release context gives those it is released to; an interface may answer with log-probabilities."""


def level(access: Access | None) -> int:
    """Return how near to the model an access is, -1 for none."""
    return LEVELS.index(access) if access in LEVELS else -1


def assumed_access(context: ReleaseContext, findings: Sequence[Finding]) -> AssumedAccess:
    """Return the access assumed, and for each test whether it lies within."""
    declared = DECLARED[context]
    assumed = LEVELS[min(level(declared) + 1, len(LEVELS) - 1)]
    return AssumedAccess(
        context=context,
        declared=declared,
        assumed=assumed,
        tests=tuple(_of_test(finding, assumed) for finding in findings),
    )


def _of_test(finding: Finding, assumed: Access) -> TestAccess:
    access = finding.measurement.access if finding.measurement is not None else None
    within = None if access is None else level(access) <= level(assumed)
    return TestAccess(test=finding.test, access=access, within=within)
