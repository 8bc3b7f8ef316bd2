"""What open generations brought out of the corpus: runs, the documents they are from, and rates of documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np

from auditor.battery.confirmed import Confirmed, beyond_chance
from auditor.battery.estimates import estimate, excess_rate, excess_rate_p, one_sided, rate
from auditor.core.finding import Estimate, Exhibit, Gate, PerQuery, Series, Stratum
from auditor.errors import IntegrityError, UnsupportedError
from auditor.statistics.interval import clopper_pearson, clustered_rate
from auditor.statistics.rate_interval import Interval
from auditor.statistics.richness import chao1, unseen_mass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.contract.protocol import Facts
    from auditor.evidence.table import ObservedTable, Ragged

Side = Literal["member", "control", "other"]
SIDES: tuple[Side, ...] = ("member", "control", "other")
MOST_EXHIBITS = 5
FEWEST_GROUPS = 20
"""Different generations without which nothing was looked for."""


class Runs(NamedTuple):
    """Maximal runs of generations that stand in one corpus; every array has shape [runs]."""

    row: NDArray[np.int64]
    """Row of the generation."""
    length: NDArray[np.int64]
    distinct: NDArray[np.int64]
    """Different tokens."""
    record: NDArray[np.int64]
    """Number of the record."""
    unit: NDArray[np.int64]
    """Number of the person or document it belongs to."""
    documents: NDArray[np.int64]
    """How many documents it stands in."""
    common: NDArray[np.bool_]
    """It stands on the other side, too."""

    def where(self, chosen: NDArray[np.bool_]) -> Runs:
        """Return some of the runs."""
        row, length, distinct, record, unit, documents = (values[chosen] for values in self[:6])
        return Runs(row, length, distinct, record, unit, documents, self.common[chosen])


@dataclass(frozen=True, slots=True)
class Generations:
    """One entry per generation; arrays have shape [generations]."""

    kinds: NDArray[np.object_]
    sides: NDArray[np.object_]
    clusters: NDArray[np.object_]
    """Person or document it begins with, else the first generation that it repeats."""
    groups: NDArray[np.int64]
    """The first generation that it repeats."""
    tokens: NDArray[np.int64]
    excerpts: NDArray[np.object_]
    nearest: NDArray[np.object_]
    """Id of the member that holds its longest match."""
    longest: dict[Side, NDArray[np.int64]]
    covered: dict[Side, NDArray[np.int64]]
    records: dict[Side, int]
    """Records in each corpus."""
    runs: dict[Side, Runs]

    def __len__(self) -> int:
        """Return the number of generations."""
        return len(self.kinds)

    @property
    def first(self) -> NDArray[np.bool_]:
        """Generations that repeat no earlier one."""
        return np.asarray(self.groups == np.arange(len(self)))

    def extracted(self, side: Side, chosen: NDArray[np.bool_], least: int, distinct: int) -> NDArray[np.bool_]:
        """Return which records of a corpus came out in some of the generations, shape [records].

        Args:
            side: The corpus.
            chosen: Which generations, shape [generations].
            least: Fewest tokens of a run.
            distinct: Fewest different tokens of a run: below it the run is trivial.
        """
        runs = self.runs[side]
        flags = np.zeros(self.records[side], dtype=np.bool_)
        flags[runs.record[chosen[runs.row] & (runs.length >= least) & (runs.distinct >= distinct)]] = True
        return flags


def read_generations(table: ObservedTable) -> Generations:
    """Return what the observation says; rows are the numbers of the generations.

    Raises:
        UnsupportedError: Nothing was generated.
    """
    if not table.record.items:
        msg = "no generation was asked for"
        raise UnsupportedError(msg, hint="Ask for unprompted, decaying or prompted generations.")
    groups = table.column("group").astype(np.int64)
    prompts = table.column("prompt_cluster").astype(str)
    return Generations(
        kinds=table.column("kind"),
        sides=table.column("side"),
        clusters=np.where(prompts != "", prompts, np.char.add("generation ", groups.astype(str))).astype(object),
        groups=groups,
        tokens=table.column("tokens").astype(np.int64),
        excerpts=table.column("excerpt"),
        nearest=table.column("member_id"),
        longest={side: table.column(f"{side}_longest").astype(np.int64) for side in SIDES},
        covered={side: table.column(f"{side}_covered").astype(np.int64) for side in SIDES},
        records={side: int(table.column(f"{side}_records")[0]) for side in SIDES},
        runs=read_runs(table),
    )


def read_runs(table: ObservedTable) -> dict[Side, Runs]:
    """Return the runs of each corpus that the observation lists."""
    lists = ("lengths", "distinct", "record", "unit", "documents", "common")
    parts: dict[Side, list[list[NDArray[np.generic]]]] = {side: [] for side in SIDES}
    start = 0
    for shard in table.shards(*(f"{side}_{name}" for side in SIDES for name in lists)):
        for side in SIDES:
            columns = [cast("Ragged", shard[f"{side}_{name}"]) for name in lists]
            rows = start + np.repeat(np.arange(len(columns[0])), columns[0].lengths)
            parts[side].append([rows, *(column.values for column in columns)])
        start += len(cast("Ragged", shard["member_lengths"]))
    runs: dict[Side, Runs] = {}
    for side, some in parts.items():
        joined = [np.concatenate([part[number] for part in some]) for number in range(7)]
        row, length, distinct, record, unit, documents = (values.astype(np.int64) for values in joined[:6])
        runs[side] = Runs(row, length, distinct, record, unit, documents, joined[6].astype(np.bool_))
    return runs


@dataclass(frozen=True, slots=True)
class Listing:
    """The compared records of both sides, in the order of their numbers."""

    clusters: dict[Side, NDArray[np.object_]]
    """Person or document of each record; those of other members are not listed."""

    def rate(self, side: Side, flags: NDArray[np.bool_], level: float) -> Estimate:
        """Return the share of flagged records of a side, its interval clustered by person or document."""
        return rate(flags, self.clusters[side], level)

    def excess(
        self, members: NDArray[np.bool_], controls: NDArray[np.bool_], level: float, rng: np.random.Generator
    ) -> Excess:
        """Return the shares of records that came out and their difference.

        What was generated does not know which record is a member. If the model does not know either, every division of
        all persons or documents into members and controls was as likely, however the generations depend on each other: so
        Fisher's test, or a permutation of whole clusters, holds. Rates are of records, so that it does not matter if
        one side was sampled and its clusters are smaller.
        """
        sides = (members, self.clusters["member"], controls, self.clusters["control"])
        return Excess(
            self.rate("member", members, level),
            self.rate("control", controls, level),
            excess_rate(*sides, level),
            excess_rate_p(*sides, rng),
        )


def per_generation(found: Generations, least: int, distinct: int, asked: str, level: float) -> PerQuery:
    """Return the probability that one generation says a long run of a member, beside that of as many controls.

    Args:
        found: The generations, each of them one query.
        least: Fewest tokens of a run.
        distinct: Fewest different tokens of a run.
        asked: How they were asked for.
        level: Confidence level of the intervals, clustered by what a generation begins with.
    """
    sides = []
    for side in ("member", "control"):
        runs = found.runs["member" if side == "member" else "control"]
        flags = np.zeros(len(found), dtype=np.bool_)
        flags[runs.row[(runs.length >= least) & (runs.distinct >= distinct)]] = True
        sides.append(rate(flags, found.clusters, level))
    return PerQuery(
        what=f"{least} tokens or more in a row of some training record",
        asked=asked,
        estimate=sides[0],
        control=sides[1],
    )


def read_listing(table: ObservedTable, found: Generations) -> Listing:
    """Return the compared records of both sides.

    Raises:
        IntegrityError: They are not those that generations were matched against.
    """
    member, clusters = table.column("member").astype(np.bool_), table.column("cluster").astype(object)
    sides: dict[Side, NDArray[np.object_]] = {"member": clusters[member], "control": clusters[~member]}
    for side, own in sides.items():
        if len(own) != found.records[side]:
            msg = f"{len(own)} {side}s are listed and {found.records[side]} were matched against"
            raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
    return Listing(sides)


class Excess(NamedTuple):
    """Share of members that came out, beside the share of controls."""

    members: Estimate
    controls: Estimate
    excess: Estimate
    p_value: float


def others_rate(flags: NDArray[np.bool_], level: float) -> Estimate:
    """Return the share of other members that came out; their clusters are not listed and taken as single records."""
    return rate(flags, np.arange(len(flags)).astype(str).astype(object), level)


def share_of_tokens(found: Generations, side: Side, chosen: NDArray[np.bool_], level: float) -> Estimate:
    """Return the share of generated tokens that lie in listed matches, clustered by what they begin with."""
    _, codes = np.unique(found.clusters[chosen].astype(str), return_inverse=True)
    inside = np.bincount(codes, weights=found.covered[side][chosen])
    total = np.bincount(codes, weights=found.tokens[chosen])
    narrower = clustered_rate(inside, total, one_sided(level))
    return estimate(clustered_rate(inside, total, level), "ratio", len(total), narrower)


def draws_of_records(found: Generations, side: Side, least: int, distinct: int) -> NDArray[np.int64]:
    """Return in how many generations each record came out, shape [records]; windows of one passage are one draw."""
    runs = found.runs[side]
    kept = runs.where((runs.length >= least) & (runs.distinct >= distinct))
    pairs = np.unique(np.column_stack([kept.row, kept.record]), axis=0)
    return np.bincount(pairs[:, 1], minlength=found.records[side]).astype(np.int64)


def counted(interval: Interval, unit: str, n: int) -> Estimate:
    """Return an interval of a count or mass as an estimate."""
    return estimate(interval, unit, n)


def left_to_come(found: Generations, least: int, distinct: int, level: float) -> list[Stratum]:
    """Return how much is left to come out, from how often each document did."""
    draws = draws_of_records(found, "member", least, distinct)
    if not draws.any():
        return []
    seen = int((draws > 0).sum())
    mass, kinds = unseen_mass(draws, level), chao1(draws, level)
    # No more can come out than was compared.
    bounded = kinds._replace(**{end: min(getattr(kinds, end), float(len(draws))) for end in ("value", "low", "high")})
    times = f"{int(draws.sum()):,} times that {seen:,} records came out"
    return [
        Stratum(
            by="left",
            label="share of what comes out next that has not come out yet (Good-Turing)",
            estimate=counted(mass, "ratio", int(draws.sum())),
            note=f"From {times}, {int((draws == 1).sum()):,} of them once.",
        ),
        Stratum(
            by="left",
            label="records that can come out, at least (Chao1)",
            estimate=counted(bounded, "records", int(draws.sum())),
            note="A lower bound for generations of this kind, not an estimate of all.",
        ),
    ]


def floor_of_text(floor: ObservedTable, least: int, level: float) -> list[Stratum]:
    """Return how much real text of one side stands on the other: what comes without any model."""
    matched = floor.column("matched").astype(np.bool_)
    longest, member, clusters = (floor.column(name)[matched] for name in ("longest", "member", "cluster"))
    if member.all() or not member.any():
        return []
    return [
        Stratum(
            by="floor",
            label=f"held-out texts with {least} tokens in a row of a member",
            estimate=rate(longest[~member] >= least, clusters[~member], level),
            control=rate(longest[member] >= least, clusters[member], level),
            note="Real text that no model made: what quotes and forms alone bring. Beside it members against controls.",
        )
    ]


def survival(name: str, longest: np.ndarray, lengths: np.ndarray, level: float, role: str) -> Series:
    """Return the share of matches at least as long as each length, with its interval."""
    found = [clopper_pearson(int((longest >= length).sum()), len(longest), level) for length in lengths]
    return Series(
        name=name,
        x=tuple(float(length) for length in lengths),
        y=tuple(interval.value for interval in found),
        low=tuple(interval.low for interval in found),
        high=tuple(interval.high for interval in found),
        role=role,  # type: ignore[arg-type]
    )


def confirmed_units(
    found: Generations, chosen: NDArray[np.bool_], least: int, distinct: int, *, persons: Listing | None
) -> Confirmed:
    """Return at least how many persons had a text come out without doubt.

    A run counts that is not trivial and stands in no control; and none does if such a run of a control stands in no
    member, for then a match says nothing; nor do so few that it can be chance.

    Args:
        found: The generations.
        chosen: Which of them count, shape [generations].
        least: Tokens of a run that counts.
        distinct: Different tokens of a run that is not trivial.
        persons: The compared records by person; None: records are not tied to persons.
    """
    if persons is None:
        return Confirmed()
    sure = {}
    for side in SIDES:
        runs = found.runs[side]
        kept = chosen[runs.row] & (runs.length >= least) & (runs.distinct >= distinct) & ~runs.common
        sure[side] = len(np.unique(runs.unit[kept]))
    if sure["control"]:
        return Confirmed()
    compared = beyond_chance(sure["member"], persons.clusters["member"], persons.clusters["control"])
    return Confirmed(max(compared.persons, sure["other"])) if compared.persons else compared


def variety(found: Generations) -> Gate:
    """Return the gate that the model said different things, so that something could come out."""
    different = int(found.first.sum())
    return Gate(
        name="the generations differ",
        held=different >= min(FEWEST_GROUPS, len(found)),
        on_failure="inconclusive",
        detail=f"{different:,} of {len(found):,} generations repeat no earlier one",
    )


def exhibits(found: Generations, chosen: NDArray[np.bool_], least: int, distinct: int) -> tuple[Exhibit, ...]:
    """Return the longest runs from different members, masked."""
    runs = found.runs["member"]
    shown: list[Exhibit] = []
    seen: set[int] = set()
    kept = chosen[runs.row] & (runs.length >= least) & (runs.distinct >= distinct) & ~runs.common
    for number in np.flatnonzero(kept)[np.argsort(-runs.length[kept], kind="stable")].tolist():
        row = int(runs.row[number])
        # The excerpt is of the generation's longest run.
        if int(runs.unit[number]) in seen or int(runs.length[number]) < int(found.longest["member"][row]):
            continue
        seen.add(int(runs.unit[number]))
        count = int(runs.documents[number])
        stands = f"stands in {count:,} {'document' if count == 1 else 'documents'}, begun with {_beginning(found, row)}"
        shown.append(Exhibit(record=str(found.nearest[row]), excerpt=str(found.excerpts[row]), note=stands))
        if len(shown) == MOST_EXHIBITS:
            break
    return tuple(shown)


def _beginning(found: Generations, row: int) -> str:
    if found.kinds[row] == "repeated":
        return "one token many times"
    if found.kinds[row] != "prompted":
        return "nothing"
    return f"some tokens of a {str(found.sides[row])[:-1]}"


def can_generate(facts: Facts) -> None:
    """Refuse subjects whose model cannot generate or that have no controls.

    Raises:
        UnsupportedError: One of them is missing; the message says which.
    """
    if "samples-tokens" not in facts.subject.model.capabilities:
        msg = "the model cannot be asked to generate by sampling"
        raise UnsupportedError(msg, hint="Open the model itself, as a causal-lm.")
    if facts.subject.controls is None:
        msg = "what comes out is matched against members and controls, and the subject has no controls"
        raise UnsupportedError(msg, hint="Name records held out at random before training as `controls`.")
