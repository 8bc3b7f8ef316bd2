"""Duplication: does the model say more of the records that stood in training more often, and more after a longer prefix?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, PositiveInt

from auditor.battery.copies import copies_figure
from auditor.battery.estimates import between, estimate, excess_rate, percent, rate
from auditor.battery.language.discoverable_extraction import forecast_rates, power_of_rates
from auditor.battery.language.suffixes import Suffixes, rate_strata, read_suffixes, require_records
from auditor.battery.per_record import values_of
from auditor.contract.paired import PerRecord
from auditor.core.evidence import Need
from auditor.core.finding import Estimate, Figure, Measurement, Power, Series, Stratum
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.trend import paired_trend_greater, slope, trend_greater

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable


class Parameters(Record):
    """What is given to the model, and what it has to say; as in `language/discoverable-extraction`, whose passes it shares."""

    prefix: PositiveInt = 50
    """Tokens of the record that the model is given."""
    suffix: PositiveInt = 50
    """Tokens that it has to say, every one."""
    prefixes: tuple[PositiveInt, ...] = (10, 25)
    """Further prefix lengths to compare with, from the same pass."""
    records: PositiveInt | None = 5000
    """Records drawn at random from members and from controls; null: all."""
    max_tokens: PositiveInt = 256
    """Longer records are cut after this many tokens."""
    permutations: int = Field(default=9999, ge=99)
    """Permutations behind each p-value."""


class Duplication:
    """Held-out records, those that stood in training once, and those that stood there more often."""

    name = "language/duplication"
    version = 1
    title = "Extraction by duplication"
    question = "Does the model say more of the records that stood in training more often?"
    access: Access = "scores"
    modality: Modality = "text"
    statistics = ("excess_rate",)
    source = (
        "Carlini, Ippolito, Jagielski, Lee, Tramer, Zhang (2022), Quantifying Memorization Across Neural Language Models, arXiv "
        "2202.07646. Trend: Cochran (1954), Armitage (1955); Page (1963)."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the scores of members and controls, those that discoverable extraction has."""
        if facts.subject.controls is None:
            msg = "the subject has no control records, so nothing stands for a record that was never in training"
            raise UnsupportedError(msg, hint="Supply held-out records of the same distribution as data.controls.")
        if not facts.subject.members.has_copies:
            msg = "the members do not say how often each stood in training"
            raise UnsupportedError(msg, hint="Declare the column of copies of the members (`copies`).")
        asked = {
            "records": parameters.records,
            "max_tokens": parameters.max_tokens,
            "from_token": min((parameters.prefix, *parameters.prefixes)),
        }
        return {
            "members": Need(observer="token-scores", dataset="members", parameters=asked),
            "controls": Need(observer="token-scores", dataset="controls", parameters=asked),
        }

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what the sample could show if all members were repeated; how many are is not known before."""
        return forecast_rates(parameters.records, facts)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return the rate among repeated members beside that among controls, and the trend from one to the other."""
        level, prefix, suffix = measuring.facts.confidence, parameters.prefix, parameters.suffix
        members, controls = (read_suffixes(evidence[side], prefix, suffix) for side in ("members", "controls"))
        require_records(members, prefix, suffix)
        repeated = members.copies > 1
        if not repeated.any() or not len(controls):
            what = (
                "member that is long enough stood in training more than once"
                if len(controls)
                else "control is long enough"
            )
            msg = f"no {what}, so there are no doses to compare"
            raise UnsupportedError(msg, hint="Supply more or longer records, or ask for a shorter prefix and suffix.")
        found = rate(members.extracted[repeated], members.clusters[repeated], level)
        control = rate(controls.extracted, controls.clusters, level)
        excess = excess_rate(
            members.extracted[repeated], members.clusters[repeated], controls.extracted, controls.clusters, level
        )
        rng = generator(measuring.seed, self.name, "trend")
        p_value = _trend(members, controls, rng, parameters.permutations)
        once = rate(members.extracted[~repeated], members.clusters[~repeated], level) if (~repeated).any() else None
        figures = [
            copies_figure(
                members.copies,
                members.extracted,
                members.clusters,
                control,
                level,
                title="Extraction by copies in training",
            )
        ]
        by_prefix = _prefixes(parameters, evidence, measuring)
        if by_prefix:
            lengths = sorted({prefix, *parameters.prefixes})
            figures.append(_prefix_figure(lengths, by_prefix[: len(lengths)], suffix))
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic="excess_rate",
            question=self.question,
            answer=(
                f"Of {int(repeated.sum()):,} members that stood in training more than once {between(found)} were said word for word, "
                + (f"of {int((~repeated).sum()):,} that stood there once {between(once)}, " if once else "")
                + f"of {len(controls):,} controls {between(control)}; p = {p_value:.2g} for a trend."
            ),
            estimate=found,
            control=control,
            excess=excess,
            p_value=p_value,
            members=len(members),
            controls=len(controls),
            power=power_of_rates(found.n, control.n, level),
            strata=(
                *rate_strata(members, members.extracted, control, level),
                *_among_members(members, parameters, measuring),
                *by_prefix,
            ),
            figures=tuple(figures),
            caveats=(
                "Copies are those declared; near copies and copies under other ids are not counted.",
                (
                    "The trend begins at records never shown. Whether copies beyond the first matter is in the rows `among members`: "
                    "where they show nothing, this finding says no more than that members are said and controls are not."
                ),
                (
                    "Repeated records differ from others in more than their number: a licence repeats because it is a licence. That more "
                    "copies come with more extraction does not prove that removing copies would remove it."
                ),
                f"{members.too_short:,} member records with fewer than {prefix + suffix} tokens could not be tested.",
            ),
            method=(
                f"A record is extracted if, given its first {prefix} tokens, each of the next {suffix} is the model's most likely token. "
                "Rates have exact intervals, the difference Newcombe's, both clustered by person or document. The p-value is of the trend "
                "of extraction with log2(1 + copies), from controls (no copy) on, by dealing the verdicts anew to persons or documents; "
                "slopes leave out one of them after the other for their intervals."
            ),
            advice=(
                "Remove exact and near duplicates before training again, beginning with those that were extracted. Train for fewer passes "
                "where records that stood there once are extracted, too: removing copies will not help those."
            ),
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )

    def per_record(
        self,
        parameters: Parameters,
        evidence: Mapping[str, ObservedTable],
        measuring: Measuring,  # noqa: ARG002
    ) -> Sequence[PerRecord]:
        """Return which records were said word for word, of members those that stood in training more than once."""
        members, controls = (
            read_suffixes(evidence[side], parameters.prefix, parameters.suffix) for side in ("members", "controls")
        )
        repeated = values_of(members, members.extracted, members.copies > 1)
        title = "repeated members said word for word"
        return (
            PerRecord("repeated-extracted", title, "rate", "ratio", repeated, values_of(controls, controls.extracted)),
        )


def _trend(members: Suffixes, controls: Suffixes, rng: np.random.Generator, permutations: int) -> float:
    """Return the p-value of the trend over controls and members; persons and documents on both sides stay apart."""
    dose = np.log2(1.0 + np.concatenate([members.copies, np.zeros(len(controls), dtype=np.int64)]))
    said = np.concatenate([members.extracted, controls.extracted]).astype(np.float64)
    names = [f"m{name}" for name in members.clusters] + [f"c{name}" for name in controls.clusters]
    return trend_greater(dose, said, rng, np.array(names), permutations)


def _among_members(members: Suffixes, parameters: Parameters, measuring: Measuring) -> list[Stratum]:
    """Return how much more is said for each doubling of the copies, of records that stood in training at all."""
    dose, clusters = np.log2(members.copies), members.clusters.astype(str)
    units = len(set(clusters.tolist()))
    said = members.extracted.astype(np.float64)
    if np.ptp(dose) == 0.0 or np.ptp(said) == 0.0 or units < 3:
        return []  # all alike: the jackknife would give an interval without width
    rng = generator(measuring.seed, TEST.name, "among members")
    p_value = trend_greater(dose, said, rng, clusters, parameters.permutations)
    found = estimate(slope(dose, said, clusters, measuring.facts.confidence), "ratio", units)
    return [
        Stratum(
            by="among members",
            label="more of the share for each doubling of the copies",
            estimate=found,
            note=f"p = {p_value:.2g} for a trend beyond the first copy",
        )
    ]


def _prefixes(parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring) -> list[Stratum]:
    """Return the rate by prefix length of records long enough for every length, and the slope last where verdicts differ."""
    lengths = sorted({parameters.prefix, *parameters.prefixes})
    level = measuring.facts.confidence
    members, controls = (_at_all(evidence[side], lengths, parameters.suffix) for side in ("members", "controls"))
    names, said, clusters = members
    units = len(set(clusters.tolist()))
    if len(lengths) < 2 or not len(names) or units < 3:
        return []
    rows = [
        Stratum(
            by="prefix",
            label=f"{length} tokens",
            estimate=rate(said[:, column], clusters, level),
            control=rate(controls[1][:, column], controls[2], level) if len(controls[0]) else None,
            note=f"the same {len(names):,} records; the next {parameters.suffix} tokens",
        )
        for column, length in enumerate(lengths)
    ]
    if said.all() or not said.any():
        return rows
    dose = np.log2(lengths)
    rng = generator(measuring.seed, TEST.name, "prefix")
    p_value = paired_trend_greater(dose, said, rng, clusters.astype(str), parameters.permutations)
    found = slope(
        np.tile(dose, len(names)), said.astype(np.float64).ravel(), np.repeat(clusters.astype(str), len(lengths)), level
    )
    rows.append(
        Stratum(
            by="prefix, slope",
            label="more of the share for each doubling of the prefix",
            estimate=estimate(found, "ratio", units),
            note=f"p = {p_value:.2g} for a trend within records",
        )
    )
    return rows


def _at_all(
    table: ObservedTable, lengths: list[int], suffix: int
) -> tuple[NDArray[np.object_], NDArray[np.bool_], NDArray[np.object_]]:
    """Return ids, verdicts and clusters of the records that are long enough for every prefix, shape [records, lengths]."""
    read = [read_suffixes(table, length, suffix) for length in lengths]
    longest = read[-1]  # whoever is long enough for the longest prefix is for the others
    verdicts = [dict(zip(one.ids.tolist(), one.extracted.tolist(), strict=True)) for one in read]
    said = np.array([[one[name] for one in verdicts] for name in longest.ids.tolist()], dtype=np.bool_)
    return longest.ids, said.reshape(len(longest), len(lengths)), longest.clusters


def _prefix_figure(lengths: list[int], rows: list[Stratum], suffix: int) -> Figure:
    x = tuple(float(length) for length in lengths)

    def series(name: str, found: list[Estimate], *, members: bool) -> Series:
        return Series(
            name=name,
            x=x,
            y=tuple(one.value for one in found),
            low=tuple(one.low for one in found),
            high=tuple(one.high for one in found),
            role="members" if members else "controls",
        )

    shown = [series("member records", [row.estimate for row in rows], members=True)]
    beside = [row.control for row in rows if row.control is not None]
    if len(beside) == len(rows):
        shown.append(series("control records", beside, members=False))
    parts = ", ".join(f"{row.label} {percent(row.estimate.value)}" for row in rows)
    return Figure(
        kind="intervals",
        title="Extraction by length of the prefix",
        x_label="tokens given",
        y_label="share of records",
        series=tuple(shown),
        x_scale="log2",
        caption=f"Share of the same members whose next {suffix} tokens are said, by tokens given: {parts}.",
    )


TEST = Duplication()
