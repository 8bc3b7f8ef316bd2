"""Whose identifiers came out, by which game, and for whom that is beyond doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.battery.confirmed import Confirmed, beyond_chance
from auditor.battery.copies import copies_bins
from auditor.battery.estimates import percent, rate
from auditor.battery.language.extracted import FEWEST_GROUPS
from auditor.battery.language.generating import not_drawn_at_random
from auditor.battery.language.identified import NAMES, NUMERIC, Generated, Identifiers
from auditor.core.finding import Exhibit, Figure, Gate, Series, Stratum
from auditor.statistics.exposure import fisher_combination
from auditor.statistics.extraction import is_extractable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from auditor.contract.protocol import Facts

MOST_EXHIBITS = 5
PROBABILITY = 0.5
"""Of saying an identifier within an attacker's queries, from which it counts as sampled."""
TYPES = tuple(NAMES)


@dataclass(frozen=True, slots=True)
class Persons:
    """The persons whose identifiers were asked for; arrays have shape [persons] unless said otherwise."""

    found: Identifiers
    generated: Generated | None
    counts: NDArray[np.bool_]
    """Identifiers that were asked for and can count, shape [identifiers]."""
    reconstructed: NDArray[np.bool_]
    """Of those, which a continuation said, shape [identifiers]."""
    extracted: NDArray[np.bool_]
    """Identifiers that are one person's and came out unprompted by them, shape [identifiers]."""
    numbers: NDArray[np.int64]
    """Number of each person."""
    names: NDArray[np.object_]
    members: NDArray[np.bool_]
    out: NDArray[np.bool_]
    """An identifier of theirs came out."""

    def holding(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which persons have an identifier that is flagged, shape [persons]; flags have shape [identifiers]."""
        return np.asarray(np.isin(self.numbers, self.found.persons[flags]))


def persons_of(found: Identifiers, generated: Generated | None, elsewhere: NDArray[np.bool_]) -> Persons:
    """Return who was asked for, and whose identifiers came out.

    Args:
        found: Identifiers of both sides.
        generated: What the model said by itself, if it was let.
        elsewhere: Identifiers that a reference model says as well, shape [identifiers]: they count for nobody.
    """
    counts = found.counted & ~elsewhere
    reconstructed = counts & found.said
    extracted = np.zeros(len(found), dtype=np.bool_)
    if generated is not None:
        extracted = found.unique & ~elsewhere & np.isin(found.numbers, generated.free())
    numbers, first = np.unique(found.persons[counts], return_index=True)
    members = found.members[counts][first] if len(numbers) else np.empty(0, dtype=np.bool_)
    return Persons(
        found=found,
        generated=generated,
        counts=counts,
        reconstructed=reconstructed,
        extracted=extracted,
        numbers=numbers,
        names=numbers.astype(str).astype(object),
        members=members,
        out=np.asarray(np.isin(numbers, found.persons[reconstructed | extracted])),
    )


def confirmed(persons: Persons, *, by_person: bool) -> Confirmed:
    """Return at least how many real persons had an identifier come out without doubt.

    None if an identifier of a control person came out under the same rule, whoever was asked for. A number with check digits
    confirms its person alone: nobody guesses it. Of other identifiers so many persons' have to come out that chance is
    excluded. Where records are not tied to persons it is one at least.

    Args:
        persons: Who was asked for.
        by_person: The clusters of the data are persons.
    """
    found, generated = persons.found, persons.generated
    out = persons.reconstructed | persons.extracted
    if (out & ~found.members).any():
        return Confirmed()
    sure = np.array([TYPES.index(name) for name in NUMERIC])
    numbers = len(np.unique(found.persons[out & np.isin(found.kinds, sure)]))
    asked = (found.persons[persons.counts & side] for side in (found.members, ~found.members))
    compared = beyond_chance(int((persons.out & persons.members).sum()), *asked)
    enough = len(np.unique(found.persons[out])) if compared.persons else 0
    if generated is not None:
        free = (generated.others >= 0) & ~generated.given
        # A person with records on both sides of the sample may be counted in both: the larger number is sure.
        numbers = max(numbers, len(np.unique(generated.others[free & np.isin(generated.kinds, sure)])))
        enough = enough and max(enough, len(np.unique(generated.others[free])))
    count = max(numbers, enough)
    return Confirmed(count if by_person else min(count, 1), compared.caveats if enough or not count else ())


def gates(persons: Persons) -> tuple[Gate, ...]:
    """Return the gate that the model said different things, so that something could come out of it by itself."""
    if persons.generated is None:
        return ()
    made, different = persons.generated.generations, persons.generated.different
    return (
        Gate(
            name="the generations differ",
            held=different >= min(FEWEST_GROUPS, made),
            on_failure="inconclusive",
            detail=f"{different:,} of {made:,} generations repeat no earlier one",
        ),
    )


def strata(persons: Persons, facts: Facts, level: float) -> tuple[Stratum, ...]:
    """Return what each game brought out, by type, copies and source; every number beside that of control persons."""
    return (
        *_games(persons, facts, level),
        *_precision(persons, level),
        *_types(persons, level),
        *_copies(persons, level),
        *_sources(persons, level),
    )


def _stratum(
    persons: Persons,
    by: str,
    label: str,
    asked: NDArray[np.bool_],
    out: NDArray[np.bool_],
    level: float,
    note: str = "",
) -> Iterator[Stratum]:
    """Yield the share of persons with an identifier that came out, among those with one that was asked for."""
    universe = persons.holding(asked)
    flags = persons.holding(asked & out)
    own, others = universe & persons.members, universe & ~persons.members
    if own.any():
        control = rate(flags[others], persons.names[others], level) if others.any() else None
        found = rate(flags[own], persons.names[own], level)
        yield Stratum(by=by, label=label, estimate=found, control=control, note=note)


def _games(persons: Persons, facts: Facts, level: float) -> Iterator[Stratum]:
    found = persons.found
    if persons.generated is not None:
        some = found.unique & np.isin(found.persons, persons.numbers)
        note = f"in {persons.generated.generations:,} open generations"
        yield from _stratum(persons, "game", "extraction", some, persons.extracted, level, note)
    most = int(found.samples.max(initial=0))
    greedy = "the likeliest continuation says it"
    yield from _stratum(persons, "game", "reconstruction", persons.counts, found.equal, level, greedy)
    if most:
        note = f"one of {most} random continuations says it"
        yield from _stratum(persons, "game", "reconstruction, sampled", persons.counts, found.sampled > 0, level, note)
    queries = facts.queries.per_subject
    likely = np.asarray(is_extractable(np.minimum(found.logprob, 0.0), queries, PROBABILITY))
    note = f"sampled with probability {PROBABILITY:g} within {queries:,} queries of the text before it"
    yield from _stratum(
        persons, "game", f"({queries:,}, {PROBABILITY:g})-extraction", persons.counts, likely, level, note
    )
    ranked = persons.counts & (found.rank > 0)
    if ranked.any():
        label = f"inference, first of {1 + int(np.median(found.candidates[ranked])):,}"
        yield from _stratum(persons, "game", label, ranked, found.rank == 1, level, _ranks(persons, ranked))


def _ranks(persons: Persons, ranked: NDArray[np.bool_]) -> str:
    """Return what the ranks say together: one identifier of each person, so that the p-values are independent."""
    said = []
    for name, side in (("members", True), ("controls", False)):
        p = rank_p_values(persons.found, ranked & (persons.found.members == side))
        if len(p):
            said.append(
                f"{name}: p = {fisher_combination(p):.2g} by Fisher's combination of {len(p):,} ranks, mean exposure "
                f"{float(-np.log2(p).mean()):.2f} bits"
            )
    return "; ".join(said) + " (1.44 bits by chance)"


def rank_p_values(found: Identifiers, ranked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return rank / number ranked of the first ranked identifier of each person, shape [persons].

    It is a p-value where the identifier could as well have been any of the others: for numbers, hardly for names.
    """
    if not ranked.any():
        return np.empty(0)
    _, first = np.unique(found.persons[ranked], return_index=True)
    p: NDArray[np.float64] = found.rank[ranked][first] / (found.candidates[ranked][first] + 1.0)
    return p


def _precision(persons: Persons, level: float) -> Iterator[Stratum]:
    """Yield the share of the different identifiers said unprompted that stand in compared members, or in controls."""
    if persons.generated is None:
        return
    generated, found = persons.generated, persons.found
    free = generated.free()
    if len(free):
        names = free.astype(str).astype(object)
        own, others = (np.isin(free, found.numbers[found.members == side]) for side in (True, False))
        both = np.isin(free, generated.numbers[generated.known])
        note = f"{len(free):,} different identifiers were said, {int(both.sum()):,} of them stand in the data"
        yield Stratum(
            by="game",
            label="extraction, precision",
            estimate=rate(own, names, level),
            control=rate(others, names, level),
            note=note,
        )


def _types(persons: Persons, level: float) -> Iterator[Stratum]:
    out = persons.reconstructed | persons.extracted
    for kind in np.unique(persons.found.kinds[persons.counts]).tolist():
        some = persons.counts & (persons.found.kinds == kind)
        note = f"{len(np.unique(persons.found.numbers[some & persons.found.members])):,} of members were asked for"
        yield from _stratum(persons, "type", NAMES[TYPES[kind]], some, out, level, note)


def _copies(persons: Persons, level: float) -> Iterator[Stratum]:
    found = persons.found
    if (found.copies[persons.counts & found.members] > 1).any():
        out = persons.reconstructed | persons.extracted
        for label, chosen, _ in copies_bins(found.copies):
            yield from _stratum(persons, "copies", label, persons.counts & found.members & chosen, out, level)


def _sources(persons: Persons, level: float) -> Iterator[Stratum]:
    out = persons.reconstructed | persons.extracted
    names = persons.found.sources.astype(str)
    for name in sorted(set(names[persons.counts & persons.found.members].tolist()) - {""}):
        yield from _stratum(persons, "source", name, persons.counts & (names == name), out, level)


def exposure_figure(persons: Persons) -> tuple[Figure, ...]:
    """Return how far identifiers stand out among others of their form; nothing where none was ranked."""
    found = persons.found
    ranked = persons.counts & (found.rank > 0)
    series = []
    steps = tuple(float(step) for step in np.arange(0.0, 1.0 + np.log2(1.0 + found.candidates.max(initial=1)), 0.5))
    for name, side in (("members", True), ("controls", False)):
        some = ranked & (found.members == side)
        if some.any():
            bits = -np.log2(found.rank[some] / (found.candidates[some] + 1.0))
            shares = tuple(float((bits >= step - 1e-9).mean()) for step in steps)
            series.append(Series(name=name, x=steps, y=shares, role=name))  # type: ignore[arg-type]
    if not series:
        return ()
    first = found.rank[ranked & found.members] == 1
    return (
        Figure(
            kind="survival",
            title="Identifiers ranked among others of their form",
            x_label="exposure, bits",
            y_label="share of identifiers at least so exposed",
            series=tuple(series),
            caption=(
                f"Share of identifiers that stand out by at least so many bits; of members {percent(float(first.mean()))} are the "
                "likeliest of all."
                if len(first)
                else "Share of identifiers that stand out by at least so many bits."
            ),
        ),
    )


def exhibits(persons: Persons) -> tuple[Exhibit, ...]:
    """Return some identifiers of members that came out, by record, type, length and place: never a character of them."""
    found = persons.found
    out = (persons.reconstructed | persons.extracted) & found.members
    shown: list[Exhibit] = []
    seen: set[int] = set()
    order = np.lexsort((~found.equal[out], ~persons.extracted[out]))  # what came out by itself first
    for row in np.flatnonzero(out)[order].tolist():
        if int(found.persons[row]) in seen:
            continue
        seen.add(int(found.persons[row]))
        said = []
        if persons.reconstructed[row]:
            said += ["the likeliest continuation"] if found.equal[row] else []
            said += [f"{found.sampled[row]} of {found.samples[row]} random ones"] if found.sampled[row] else []
        if persons.extracted[row] and persons.generated is not None:
            own = (persons.generated.numbers == found.numbers[row]) & ~persons.generated.given
            times = len(np.unique(persons.generated.rows[own]))
            said.append(f"{times} open {'generation' if times == 1 else 'generations'}")
        name = NAMES[TYPES[found.kinds[row]]]
        where = f"{found.characters[row]} characters from character {found.places[row] + 1} of the record"
        shown.append(
            Exhibit(record=str(found.records[row]), excerpt=f"[{name}]", note=f"{where}; said by {', '.join(said)}")
        )
        if len(shown) == MOST_EXHIBITS:
            break
    return tuple(shown)


def caveats(persons: Persons, facts: Facts, *, presidio: bool) -> tuple[str, ...]:
    """Return what a reader should know besides."""
    found = persons.found
    said = [
        "Names, postal addresses and whatever is written freely are not looked for: more may come out than is counted here.",
        "Other prompts and more generations bring out more; what did not come out may still be held.",
    ]
    if not presidio:
        said.append("Only identifiers that the package's own patterns know are looked for; Presidio knows more types.")
    if (given := int((found.played & found.given).sum())) > 0:
        said.append(f"{given:,} identifiers that the text before them says, or whose owner it names, do not count.")
    shared = int((~found.unique & found.members).sum())
    if shared:
        said.append(
            f"{shared:,} mentions in members are of identifiers that several hold or that are public; they do not count."
        )
    if facts.subject.members.clustered_by != "person":
        unit = facts.subject.members.clustered_by
        said.append(f"The data say no person: each {unit} is taken for one, and confirmed is one person at least.")
    counts = [
        int((persons.counts & (found.members == side)).sum()) / max(1, int((persons.members == side).sum()))
        for side in (True, False)
    ]
    if min(counts) > 0 and max(counts) > 1.25 * min(counts):
        said.append(
            f"Members were asked for {counts[0]:.2f} identifiers each, control persons for {counts[1]:.2f}: more to come out."
        )
    return (*said, *not_drawn_at_random(facts))
