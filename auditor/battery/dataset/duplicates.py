"""Duplicates: how many records of the training data stand in it more than once, exactly or nearly?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, PositiveInt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from auditor.battery.copies import copies_bins
from auditor.battery.estimates import between, compared, rate
from auditor.battery.language.discoverable_extraction import forecast_rates, power_of_rates
from auditor.battery.language.generating import not_drawn_at_random
from auditor.core.evidence import Need
from auditor.core.finding import Figure, Measurement, Power, Series, Stratum
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.statistics.interval import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.finding import Estimate
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


class Parameters(Record):
    """Which records are compared, and when two are near."""

    records: PositiveInt | None = 20_000
    """Most records of each side that are drawn at random; null: all."""
    words: PositiveInt = 5
    """Words in a run."""
    jaccard: float = Field(default=0.8, gt=0.0, le=1.0)
    """Least share of runs that near duplicates have in common, of all that either has."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """The records of one side; every array has shape [records]."""

    clusters: NDArray[np.object_]
    sources: NDArray[np.object_]
    copies: NDArray[np.int64]
    exact_size: NDArray[np.int64]
    near_size: NDArray[np.int64]
    across: NDArray[np.bool_]
    """Another person or document has a near duplicate of it."""
    units: NDArray[np.object_]
    """Records of one unit share persons or documents, or duplicates: what happens to one tells of the others."""

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.clusters)

    @property
    def duplicated(self) -> NDArray[np.bool_]:
        """Which records have a duplicate, exact or near."""
        return self.near_size > 1


def read_grouped(table: ObservedTable) -> Grouped:
    """Return the records of an observation of `text-duplicates`."""
    clusters = table.column("cluster").astype(object)
    groups = table.column("near_group").astype(np.int64)
    _, owners = np.unique(clusters.astype(str), return_inverse=True)
    shape = (int(owners.max(initial=-1)) + 1, int(groups.max(initial=-1)) + 1)
    tied = coo_array((np.ones(len(groups)), (owners, shape[0] + groups)), shape=(sum(shape), sum(shape)))
    _, labels = connected_components(tied, directed=False)
    pairs = np.unique(np.column_stack([groups, owners]), axis=0)
    return Grouped(
        clusters=clusters,
        sources=table.column("source").astype(object),
        copies=table.column("copies").astype(np.int64),
        exact_size=table.column("exact_size").astype(np.int64),
        near_size=table.column("near_size").astype(np.int64),
        across=np.bincount(pairs[:, 0], minlength=shape[1])[groups] > 1,
        units=labels[owners].astype(object),
    )


class Duplicates:
    """The share of members with a duplicate among as many members, beside that of controls among as many controls."""

    name = "dataset/duplicates"
    version = 1
    title = "Duplicates in the training data"
    question = "How many records of the training data stand in it more than once, exactly or nearly?"
    access: Access = "data"
    modality: Modality = "text"
    statistics = ("excess_duplicates",)
    source = (
        "Lee, Ippolito, Nystrom, Zhang, Eck, Callison-Burch, Carlini (2022), Deduplicating Training Data Makes Language "
        "Models Better, arXiv 2107.06499; Broder (1997), On the resemblance and containment of documents."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the groups of equally many members and controls, and of more members if there are more."""
        own = {"words": parameters.words, "jaccard": parameters.jaccard}
        most = parameters.records
        controls = facts.subject.controls
        if controls is None:
            return {
                "members": Need(
                    observer="text-duplicates", dataset="members", model=None, parameters={**own, "records": most}
                )
            }
        size = min(facts.subject.members.records, controls.records, *([] if most is None else [most]))
        equal = {**own, "records": size}
        found = {
            "members": Need(observer="text-duplicates", dataset="members", model=None, parameters=equal),
            "controls": Need(observer="text-duplicates", dataset="controls", model=None, parameters=equal),
        }
        if facts.subject.members.records > size and size != most:
            more = {**own, "records": most}
            found["more"] = Need(observer="text-duplicates", dataset="members", model=None, parameters=more)
        return found

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what the sample could show."""
        return forecast_rates(parameters.records, facts)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return the share of members with a duplicate beside that of controls."""
        facts = measuring.facts
        level = facts.confidence
        members = read_grouped(evidence["members"])
        controls = read_grouped(evidence["controls"]) if "controls" in evidence else None
        other, shared = None, 0
        if controls is not None:
            flags, units, shared = _with_left_out(controls, facts)
            other = flags, units
        rng = generator(measuring.seed, self.name, "clusters")
        found, control, excess, p_value = compared((members.duplicated, members.units), other, level, rng)
        beside = f", against {between(control)} of {len(controls):,} controls" if control and controls else ""
        exact, near = int((members.exact_size > 1).sum()), int(members.duplicated.sum())
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic=self.statistics[0],
            question=self.question,
            answer=(
                f"Of {len(members):,} members {near:,} have a duplicate among them, {exact:,} of these word for word: "
                f"{between(found)}{beside}."
            ),
            estimate=found,
            control=control,
            control_reason="" if control else "The subject has no control records to count duplicates among.",
            excess=excess,
            p_value=p_value,
            members=len(members),
            controls=len(controls) if controls else 0,
            power=power_of_rates(found.n, control.n if control else 0, level),
            strata=tuple(_strata(members, controls, evidence, level)),
            figures=(_figure(members, controls, level),),
            caveats=_caveats(parameters, facts, len(members), shared),
            method=(
                f"Two records are exact duplicates if they are equal after Unicode and white space are made alike, near "
                f"duplicates if at least {parameters.jaccard:.0%} of their {parameters.words}-word runs are common to both (found by "
                "MinHash, each verified), or if a chain of such records joins them. Duplicates are counted among equally many "
                "members and controls, because more records have more. Rates have exact intervals, differences Newcombe's, and "
                "all records that are duplicates of each other, or of one person or document, count as one unit."
            ),
            advice=(
                "Remove duplicates, exact and near, before training: what stands in the data more often is memorized more. "
                "The restricted evidence is not needed for that: the groups are listed by record id."
            ),
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )


def _with_left_out(controls: Grouped, facts: Facts) -> tuple[NDArray[np.bool_], NDArray[np.object_], int]:
    """Return which controls have a duplicate, and their units, with the controls that were left out before.

    A control that also stands among the members is left out of every audit. It is a record with a duplicate, and leaving out
    such records would make the controls look cleaner than the members they are held against: they are counted, as many as
    the sample would have had.
    """
    kept = facts.subject.controls.records if facts.subject.controls else len(controls)
    shared = int(np.ceil(len(facts.subject.overlap) * len(controls) / max(kept, 1)))
    flags = np.concatenate([controls.duplicated, np.ones(shared, dtype=np.bool_)])
    units = np.concatenate([controls.units, np.array([f"left out {number}" for number in range(shared)], dtype=object)])
    return flags, units, shared


def _strata(
    members: Grouped, controls: Grouped | None, evidence: Mapping[str, ObservedTable], level: float
) -> list[Stratum]:
    def both(by: str, label: str, one: NDArray[np.bool_], other: NDArray[np.bool_] | None, note: str = "") -> Stratum:
        beside = rate(other, controls.units, level) if controls is not None and other is not None else None
        return Stratum(by=by, label=label, estimate=rate(one, members.units, level), control=beside, note=note)

    def of(flags: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Estimate:
        return rate(flags[chosen], members.units[chosen], level)

    strata = [
        both("kind", "word for word", members.exact_size > 1, None if controls is None else controls.exact_size > 1),
        both(
            "kind",
            "of another person, document or record",
            members.across,
            None if controls is None else controls.across,
        ),
        both(
            "kind",
            "declared to have stood in training more than once",
            members.copies > 1,
            None,
            "as the members' own file says, whether or not the repeats stand in it",
        ),
    ]
    if "more" in evidence:
        more = read_grouped(evidence["more"])
        note = f"{len(more):,} members; more records have more duplicates, so there is no control of this size"
        strata.append(
            Stratum(by="size", label="more members", estimate=rate(more.duplicated, more.units, level), note=note)
        )
    for name in sorted(set(members.sources.astype(str).tolist()) - {""}):
        chosen = members.sources.astype(str) == name
        strata.append(Stratum(by="source", label=name, estimate=of(members.duplicated, chosen)))
    strata.extend(
        Stratum(by="declared copies", label=label, estimate=of(members.duplicated, chosen))
        for label, chosen, _ in copies_bins(members.copies)
    )
    return strata


def _figure(members: Grouped, controls: Grouped | None, level: float) -> Figure:
    series = []
    for name, side, role in (("members", members, "members"), ("controls", controls, "controls")):
        if side is None:
            continue
        sizes = [size for size in SIZES if size <= max(2, int(side.near_size.max(initial=1)))]
        found = [clopper_pearson(int((side.near_size >= size).sum()), len(side), level) for size in sizes]
        series.append(
            Series(
                name=name,
                x=tuple(float(size) for size in sizes),
                y=tuple(interval.value for interval in found),
                role=role,  # type: ignore[arg-type]
            )
        )
    largest = int(members.near_size.max(initial=1))
    return Figure(
        kind="survival",
        title="How many records a record's group has",
        x_label="records in the group, itself included",
        y_label="share of records with a group at least as large",
        x_scale="log2",
        series=tuple(series),
        caption=f"Share of records whose group of exact and near duplicates is at least so large; the largest has {largest:,}.",
    )


def _caveats(parameters: Parameters, facts: Facts, members: int, shared: int) -> tuple[str, ...]:
    found = [
        "It says what the data hold, not what the model memorized of them.",
        "A paraphrase, a translation or a passage inside a longer record is not a near duplicate here.",
    ]
    if parameters.words > 1:
        found.append("Short records are near only if they are nearly equal: few of their runs survive a changed word.")
    if members < facts.subject.members.records:
        found.append(
            f"{members:,} of {facts.subject.members.records:,} members were read for this number: duplicates of a record that "
            "was not read are not seen, so the share in all of the data is larger."
        )
    if shared:
        found.append(
            f"{len(facts.subject.overlap):,} controls also stand among the members; they are counted as duplicated controls "
            f"({shared:,} at this sample)."
        )
    return (*found, *not_drawn_at_random(facts))


TEST = Duplicates()
