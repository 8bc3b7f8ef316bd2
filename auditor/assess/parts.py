"""Finds the part of the data of which each test found most (rule R6): a mean over all hides whom it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.core.finding import Outcome
from auditor.core.reading import ExposedPart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.finding import Finding, Measurement, Stratum

DIVIDES = frozenset(
    {
        "copies",
        "declared copies",
        "repetitions",
        "source",
        "type",
        "work",
        "person",
        "document",
        "class",
        "rarity",
        "part",
    }
)
"""What strata divide the data by; others are further statistics of the same data (`queries`, `prefix`, `score`, ...)."""

_MEANS_NOTHING = frozenset({Outcome.INVALID, Outcome.NOT_RUN, Outcome.NOT_APPLICABLE})


def exposed_parts(findings: Sequence[Finding]) -> tuple[ExposedPart, ...]:
    """Return the most exposed part of the data under each test that looked at parts of it, in the order of the battery."""
    found = []
    for finding in findings:
        measured = finding.measurement
        if measured is None or measured.estimate is None or finding.outcome in _MEANS_NOTHING:
            continue
        rows = _parts(measured)
        if rows:
            found.append(_exposed(finding, measured, max(rows, key=_exposure)))
    return tuple(found)


def _parts(measured: Measurement) -> list[Stratum]:
    """Return the strata that are parts of the data, in the unit of the whole, with something in them."""
    unit = measured.estimate.unit if measured.estimate is not None else ""
    return [row for row in measured.strata if row.by in DIVIDES and row.estimate.unit == unit and row.estimate.n > 0]


def _exposure(row: Stratum) -> tuple[float, float, str, str]:
    """Return how exposed a part is: its excess over its control, then how little bounds it; names settle what is equal."""
    excess = row.estimate.value - (row.control.value if row.control is not None else 0.0)
    return excess, row.estimate.bound, row.by, row.label


def _exposed(finding: Finding, measured: Measurement, row: Stratum) -> ExposedPart:
    whole, tolerance = measured.estimate, finding.tolerance
    assert whole is not None  # noqa: S101  (a test without an estimate has no parts)
    within = None
    if tolerance is not None and tolerance.statistic == measured.statistic and tolerance.unit == row.estimate.unit:
        most = tolerance.at_most if tolerance.absolute_at_most is None else tolerance.absolute_at_most
        within = row.estimate.bound <= most
    return ExposedPart(
        test=finding.test,
        by=row.by,
        label=row.label,
        estimate=row.estimate,
        control=row.control,
        whole=whole,
        within=within,
    )
