"""The course of a training run: losses and findings over the bundles in their order, and what they show together."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from auditor.compare.numbers import LEAST_CLUSTERS, estimate_of, match
from auditor.core.comparison import Curve
from auditor.core.finding import Outcome
from auditor.statistics.paired import mean_interval, paired_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.compare.source import Source
    from auditor.contract.paired import RecordValues

_LEAST_BUNDLES = 2


def curves(sources: Sequence[Source], level: float) -> tuple[Curve, ...]:
    """Return training loss, held-out loss and the excess of every test, over the bundles that have them in the same unit."""
    found = [_loss("training loss", sources, level), _loss("held-out loss", sources, level)]
    found += [_excess(name, sources) for name in dict.fromkeys(f.test for source in sources for f in source.findings)]
    return tuple(curve for curve in found if curve is not None)


def _held(source: Source, role: str) -> RecordValues | None:
    if source.losses is None:
        return None
    return source.losses.members if role == "training loss" else source.losses.controls


def _loss(role: str, sources: Sequence[Source], level: float) -> Curve | None:
    units = {source.losses.unit for source in sources if source.losses is not None}
    steps, estimates = [], []
    for source in sources:
        held = _held(source, role)
        if held is None or len(set(held.clusters.astype(str).tolist())) < LEAST_CLUSTERS:
            continue
        clusters = held.clusters.astype(str)
        units_of = len(set(clusters.tolist()))
        estimates.append(estimate_of(mean_interval(held.values, clusters, level), next(iter(units)), units_of))
        steps.append(source.identity.step)
    if len(steps) < _LEAST_BUNDLES or len(units) != 1:
        return None
    return Curve.model_validate(
        {"name": role, "unit": units.pop(), "role": role, "steps": tuple(steps), "estimates": tuple(estimates)}
    )


def _excess(name: str, sources: Sequence[Source]) -> Curve | None:
    """Return the excess that each bundle reports of a test; those that report another statistic are left out."""
    rows = []
    for source in sources:
        finding = source.finding(name)
        measured = finding.measurement if finding else None
        if measured and measured.excess:
            rows.append((source.identity.step, measured.excess, measured.statistic))
    if not rows:
        return None
    last = rows[-1]
    kept = [row for row in rows if row[2] == last[2] and row[1].unit == last[1].unit]
    if len(kept) < _LEAST_BUNDLES:
        return None
    return Curve(
        name=f"{name}: {last[2]}",
        unit=last[1].unit,
        role="finding",
        steps=tuple(row[0] for row in kept),
        estimates=tuple(row[1] for row in kept),
    )


def course(sources: Sequence[Source], level: float) -> tuple[str, ...]:
    """Return what the order shows, in words: from where on each test signals, and how long held-out loss still fell."""
    words = []
    stopped, sentence = _falls_until(sources, level)
    words += [sentence] if sentence else []
    for name in dict.fromkeys(finding.test for source in sources for finding in source.findings):
        outcomes = [(source, source.finding(name)) for source in sources]
        signals = [source for source, finding in outcomes if finding and finding.outcome is Outcome.SIGNAL]
        if not signals:
            continue
        first = signals[0].identity
        said = (
            f"{name} is a signal from {first.label} on"
            if _all_after(name, sources, signals[0])
            else (f"{name} is a signal first in {first.label}")
        )
        if stopped is not None and first.step < stopped:
            said += ": held-out loss still falls after it, so held-out loss alone would not have shown it"
        words.append(f"{said}.")
    return tuple(words)


def _all_after(name: str, sources: Sequence[Source], first: Source) -> bool:
    later = sources[list(sources).index(first) :]
    return all((found := source.finding(name)) is not None and found.outcome is Outcome.SIGNAL for source in later)


def _falls_until(sources: Sequence[Source], level: float) -> tuple[float | None, str]:
    """Return the last step up to which held-out loss is shown to fall from bundle to bundle, record by record."""
    last: Source | None = None
    for before, after in itertools.pairwise(sources):
        pair = _held(before, "held-out loss"), _held(after, "held-out loss")
        if pair[0] is None or pair[1] is None or before.subject.controls != after.subject.controls:
            return None, ""
        both = match(pair[0], pair[1])
        if both.units < LEAST_CLUSTERS:
            return None, ""
        if paired_means(both.second, both.first, both.clusters, level).high >= 0.0:
            break
        last = after
    if last is None:
        return None, "Held-out loss is not shown to fall from the first bundle to the next."
    return (
        last.identity.step,
        f"Held-out loss falls from bundle to bundle up to {last.identity.label}, record by record.",
    )
