"""Converts probabilities of one query to the declared query budget and lifetime (rule R10). What is per record is never converted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from auditor.core.finding import Estimate, Outcome
from auditor.core.reading import Conversion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.finding import Finding, PerQuery
    from auditor.core.policy import QueryBudget

_MEANS_NOTHING = frozenset({Outcome.INVALID, Outcome.NOT_RUN, Outcome.NOT_APPLICABLE})


def at_least_once(probability: float, queries: int) -> float:
    """Return 1 - (1 - p)^q, to the last digit for small p too."""
    if probability >= 1.0:
        return 1.0
    return -math.expm1(queries * math.log1p(-probability))


def converted(found: Estimate, queries: int) -> Estimate:
    """Return an estimate of p as one of 1 - (1 - p)^q: it rises with p, so the ends of the interval stay ends of one."""
    low, value, high = (at_least_once(end, queries) for end in (found.low, found.value, found.high))
    upper = None if found.upper is None else min(max(at_least_once(found.upper, queries), value), high)
    method = f"{found.method}; converted to {queries:,} independent queries"
    return found.model_copy(update={"low": low, "value": value, "high": high, "upper": upper, "method": method})


def conversions(findings: Sequence[Finding], budget: QueryBudget) -> tuple[Conversion, ...]:
    """Return every probability of one query beside what becomes of it at the declared numbers of queries.

    Args:
        findings: The findings; numbers of a test that is invalid mean nothing and are left out.
        budget: The declared query budget.
    """
    return tuple(
        _conversion(finding.test, item, budget)
        for finding in findings
        if finding.measurement is not None and finding.outcome not in _MEANS_NOTHING
        for item in finding.measurement.per_query
    )


def _conversion(test: str, item: PerQuery, budget: QueryBudget) -> Conversion:
    control = item.control
    return Conversion(
        test=test,
        what=item.what,
        asked=item.asked,
        per_query=item.estimate,
        subject_queries=budget.per_subject,
        per_subject=converted(item.estimate, budget.per_subject),
        lifetime_queries=budget.lifetime,
        lifetime=converted(item.estimate, budget.lifetime),
        control_per_query=control,
        control_per_subject=None if control is None else converted(control, budget.per_subject),
        control_lifetime=None if control is None else converted(control, budget.lifetime),
    )
