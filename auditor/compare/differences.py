"""What the tests measured in two bundles, and the difference: record by record where that can be, else by the intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.compare.numbers import (
    LEAST_CLUSTERS,
    Matched,
    estimate_of,
    excess,
    excess_difference,
    excess_p,
    match,
    one_side,
    side_difference,
    side_p,
)
from auditor.core.comparison import Difference
from auditor.core.finding import Outcome
from auditor.core.seeds import generator
from auditor.statistics.interval import Interval, mover_difference
from auditor.statistics.multiplicity import holm
from auditor.statistics.paired import p_of_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.compare.source import Source
    from auditor.contract.paired import PerRecord
    from auditor.core.finding import Estimate, Measurement
    from auditor.core.plan import PlannedTest

SAMPLE = frozenset({"records"})
"""Parameters that say how many records are looked at, and nothing of what is looked for: the records in both can be compared."""


def differences(first: Source, second: Source, level: float) -> list[Difference]:
    """Return the differences of every test that stands in either battery, in the order of the second."""
    names = list(dict.fromkeys([*(f.test for f in second.findings), *(f.test for f in first.findings)]))
    return [row for name in names for row in _of_test(name, first, second, level)]


def corrected(rows: Sequence[Difference], level: float) -> tuple[Difference, ...]:
    """Return the rows with Holm's correction over those that decide, and what each shows.

    Args:
        rows: Differences of all pairs of a comparison.
        level: One minus the chance that any is shown to differ where none does.
    """
    family = [place for place, row in enumerate(rows) if row.decides and row.p_value is not None]
    adjusted = dict(zip(family, holm([rows[place].p_value or 0.0 for place in family]), strict=True))
    alpha = round(1.0 - level, 12)
    found = []
    for place, row in enumerate(rows):
        p = adjusted.get(place)
        direction = "not shown"
        if p is not None and p <= alpha and row.difference is not None:
            direction = "worse" if row.difference.low > 0.0 else "better" if row.difference.high < 0.0 else "not shown"
        found.append(row.model_copy(update={"p_adjusted": p, "direction": direction}))
    return tuple(found)


def _of_test(name: str, first: Source, second: Source, level: float) -> list[Difference]:
    measured = [_measured(source, name) for source in (first, second)]
    one, other = measured
    if isinstance(one, str) or isinstance(other, str):
        shown = [None if isinstance(found, str) else _shown(found) for found in measured]
        why = "; ".join(
            f"{source.identity.label}: {found}"
            for source, found in zip((first, second), measured, strict=True)
            if isinstance(found, str)
        )
        return [_none(name, shown[0], shown[1], why)]
    if apart := _not_alike(name, first, second):
        return [_none(name, _shown(one), _shown(other), apart)]
    if _same_evidence(first, second, name) and _numbers(one) == _numbers(other):
        return [_identical(name, one)]
    paired, why = _paired(name, first, second, level)
    return paired or [_unpaired(name, one, other, why)]


def _measured(source: Source, name: str) -> Measurement | str:
    """Return what a test measured, or why there is nothing."""
    finding = source.finding(name)
    if finding is None:
        return "not in the battery"
    return finding.measurement or f"{finding.outcome.value.replace('_', ' ')} ({finding.reason})"


def _shown(found: Measurement) -> Estimate | None:
    return found.excess or found.estimate


def _none(name: str, first: Estimate | None, second: Estimate | None, reason: str) -> Difference:
    return Difference(
        test=name,
        statistic="-",
        title="as each bundle reports it",
        of="excess",
        first=first,
        second=second,
        difference=None,
        basis="none",
        reason=reason,
    )


def _not_alike(name: str, first: Source, second: Source) -> str:
    """Return why two measurements of a test are not of the same thing; empty where they are."""
    one, other = first.tests.get(name), second.tests.get(name)
    if one is None or other is None:
        return "not in one of the plans"
    if one.test_version != other.test_version:
        return f"measured by version {one.test_version} and by version {other.test_version} of the test"
    apart = parameters_apart(one, other)
    if apart - SAMPLE:
        return f"the parameters differ: {', '.join(sorted(apart - SAMPLE))}"
    if (
        "queries" in one.parameters
        and one.parameters["queries"] is None
        and first.policy.queries != second.policy.queries
    ):
        return "the declared query budgets differ"
    return ""


def parameters_apart(one: PlannedTest, other: PlannedTest) -> set[str]:
    """Return the names of the parameters that differ."""
    names = one.parameters.keys() | other.parameters.keys()
    return {name for name in names if one.parameters.get(name) != other.parameters.get(name)}


def _same_evidence(first: Source, second: Source, name: str) -> bool:
    return first.tests[name].observations == second.tests[name].observations


def _numbers(found: Measurement) -> tuple[object, ...]:
    """Return what two measurements of one thing have in common, however much of it each shows."""
    return found.statistic, found.estimate, found.control, found.excess, found.p_value


def _identical(name: str, measured: Measurement) -> Difference:
    shown = _shown(measured)
    zero = None
    if shown is not None:
        zero = shown.model_copy(update={"value": 0.0, "low": 0.0, "high": 0.0, "upper": None, "method": "identity"})
    return Difference(
        test=name,
        statistic=measured.statistic,
        title=f"{measured.statistic}, as each bundle reports it",
        of="excess" if measured.excess else "members",
        first=shown,
        second=shown,
        difference=zero,
        basis="same evidence",
        reason="both bundles rest on the same observations",
        p_value=1.0,
        decides=zero is not None,
    )


def _unpaired(name: str, one: Measurement, other: Measurement, why: str) -> Difference:
    """Return the difference of two excesses as if independent, or why there is none."""
    first, second = _shown(one), _shown(other)
    apart = ""
    if one.statistic != other.statistic or (one.excess is None) != (other.excess is None):
        apart = f"the bundles report {_called(one)} and {_called(other)}"
    elif first is None or second is None:
        apart = "one of the bundles reports no number"
    elif first.unit != second.unit or first.level != second.level:
        apart = f"the numbers are in {first.unit} at {first.level:g} and in {second.unit} at {second.level:g}"
    if apart or first is None or second is None:
        return _none(name, first, second, f"{why}; {apart}")
    found = mover_difference(_interval(second), _interval(first))
    return Difference(
        test=name,
        statistic=one.statistic,
        title=f"{one.statistic}, as each bundle reports it",
        of="excess" if one.excess else "members",
        first=first,
        second=second,
        difference=estimate_of(found, first.unit, min(first.n, second.n)),
        basis="unpaired",
        reason=why,
        p_value=p_of_interval(found),
        decides=True,
    )


def _called(found: Measurement) -> str:
    return f"{found.statistic} ({'over a control' if found.excess else 'without a control'})"


def _interval(found: Estimate) -> Interval:
    return Interval(found.value, found.low, found.high, found.level, found.method)


def _paired(name: str, first: Source, second: Source, level: float) -> tuple[list[Difference], str]:
    """Return the differences record by record, or none and why."""
    if apart := _data_apart(first, second, name):
        return [], apart
    said = [source.per_record.get(name, "the test says nothing of single records") for source in (first, second)]
    for found in said:
        if isinstance(found, str):
            return [], found
    later = {one.statistic: one for one in said[1] if not isinstance(one, str)}
    rows: list[Difference] = []
    why = "the bundles hold no statistic of the test in common"
    for one in said[0]:
        if isinstance(one, str) or one.statistic not in later:
            continue
        made, reason = _statistic(name, one, later[one.statistic], level, first.plan.seed)
        why = reason or why
        if made and not rows:
            made[0] = made[0].model_copy(update={"decides": True})
        rows += made
    return rows, why


def _data_apart(first: Source, second: Source, name: str) -> str:
    """Return why ids do not name the same records in both bundles; empty where they do."""
    for key in sorted(first.tests[name].observations.keys() & second.tests[name].observations.keys()):
        pair = [
            next((job for job in source.plan.jobs if job.id == source.tests[name].observations[key]), None)
            for source in (first, second)
        ]
        if pair[0] and pair[1] and pair[0].observation.data != pair[1].observation.data:
            return f"the data are not the same files ({pair[0].observation.dataset})"
    return ""


def _statistic(name: str, one: PerRecord, other: PerRecord, level: float, seed: int) -> tuple[list[Difference], str]:
    """Return the differences of one statistic: of the excess where there are controls, then of each side."""
    members = match(one.members, other.members)
    if members.units < LEAST_CLUSTERS:
        return [], f"{members.units} member units stand in both bundles"
    controls = match(one.controls, other.controls) if one.controls and other.controls else None
    if controls is not None and controls.units < LEAST_CLUSTERS:
        return [], f"{controls.units} control units stand in both bundles"
    if one.kind == "area" and controls is None:
        return [], "an area needs controls in both bundles"
    rows = []
    common: dict[str, Any] = {"test": name, "statistic": one.statistic, "title": one.title, "basis": "paired"}
    rng = generator(seed, "compare", name, one.statistic)
    if controls is not None:
        units = min(members.units, controls.units)
        clusters = members.clusters, controls.clusters
        before = excess(one.kind, members.first, clusters[0], controls.first, clusters[1], level)
        after = excess(one.kind, members.second, clusters[0], controls.second, clusters[1], level)
        moved = excess_difference(one.kind, members, controls, level)
        rows.append(
            Difference(
                of="excess",
                first=estimate_of(before, one.unit, units),
                second=estimate_of(after, one.unit, units),
                difference=estimate_of(moved, one.unit, units),
                matched=len(members.first) + len(controls.first),
                unmatched=members.unmatched + controls.unmatched,
                p_value=excess_p(one.kind, members, controls, rng),
                **common,
            )
        )
    if one.kind != "area":
        rows.append(_side_row("members", members, one, level, common, rng))
        if controls is not None:
            rows.append(_side_row("controls", controls, one, level, common, rng))
    return rows, ""


def _side_row(
    of: str,
    side: Matched,
    one: PerRecord,
    level: float,
    common: Mapping[str, Any],
    rng: Any,  # noqa: ANN401
) -> Difference:
    before, after = (one_side(one.kind, values, side.clusters, level) for values in (side.first, side.second))
    return Difference.model_validate(
        {
            **common,
            "of": of,
            "first": estimate_of(before, one.unit, side.units),
            "second": estimate_of(after, one.unit, side.units),
            "difference": estimate_of(side_difference(one.kind, side, level), one.unit, side.units),
            "matched": len(side.first),
            "unmatched": side.unmatched,
            "p_value": side_p(side, rng),
        }
    )


def invalid_tests(first: Source, second: Source) -> frozenset[str]:
    """Return the tests whose number means nothing in one of the bundles."""
    return frozenset(
        finding.test for source in (first, second) for finding in source.findings if finding.outcome is Outcome.INVALID
    )
