"""Works: how much of a whole work comes out, passage by passage, beside works the model cannot have seen?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from auditor.battery.confirmed import Confirmed
from auditor.battery.estimates import between, percent
from auditor.battery.language.discoverable_extraction import PROBABILITY
from auditor.battery.language.generating import not_drawn_at_random
from auditor.battery.language.suffixes import no_controls
from auditor.battery.language.work_figures import figures
from auditor.battery.language.work_rows import (
    Side,
    above_controls,
    confirmed_persons,
    difference,
    difference_p,
    exhibits,
    named,
    share,
    strata,
)
from auditor.battery.language.work_windows import Rule, read_works
from auditor.core.evidence import Need
from auditor.core.finding import Measurement, Power
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.power import smallest_detectable_excess, upper_bound_if_none

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

RECALLED = 0.5
"""Probability of one token, least, that counts as recall on a control subject: the memorizer's is fixed, whatever a policy asks."""
MOST_CONTROL_WORKS = 100
"""Of a control subject: enough to see whether the test works, however many works the audited subject has."""
MOST_NAMED = 5


class Parameters(Record):
    """Which works are read, through which windows, and when a window counts."""

    works: PositiveInt | None = 100
    """Works drawn at random from members and from controls; null: all."""
    prefix: PositiveInt = 50
    """Tokens of a window that the model is given."""
    suffix: PositiveInt = 50
    """Tokens of a window that it has to say, every one."""
    stride: PositiveInt = 10
    """Tokens from one window to the next; it divides the suffix."""
    max_tokens: PositiveInt = 200_000
    """Longer works are cut after this many tokens."""
    separator: str | None = None
    """What stands between the records of a work where windows may cross it; null: each record is a passage of its own."""
    temperature: float = Field(default=1.0, gt=0.0)
    """Temperature of the sampling."""
    top_k: PositiveInt = 40
    """Tokens that sampling chooses among."""
    probability: float = Field(default=0.1, gt=0.0, lt=1.0)
    """A window counts if one query says its suffix with this probability or more."""
    thresholds: tuple[float, ...] = (0.001, 0.01, 0.1, 0.5, 0.9)
    """Further such probabilities to report, from the same pass."""
    distinct: PositiveInt = 10
    """A suffix with fewer different tokens is trivial and does not count."""
    echo: float = Field(default=0.5, gt=0.0, le=1.0)
    """A suffix with a longer run, as a share of it, that stands in its own prefix is trivial, too: it can be copied from there."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.suffix % self.stride:
            msg = f"a stride of {self.stride} does not divide a suffix of {self.suffix} tokens: windows would not tile"
            raise ValueError(msg)
        if self.distinct > self.suffix:
            msg = f"no suffix of {self.suffix} tokens has {self.distinct} different ones: ask for fewer `distinct`"
            raise ValueError(msg)
        if any(not 0.0 < threshold < 1.0 for threshold in self.thresholds):
            msg = f"thresholds are probabilities above 0 and below 1, got {list(self.thresholds)}"
            raise ValueError(msg)
        return self


class Works:
    """Share of a work's windows that come out, members' works beside controls' works."""

    name = "language/works"
    version = 1
    title = "Coverage of whole works"
    question = "How much of a whole work does the model say word for word, passage by passage?"
    access: Access = "distribution"
    modality: Modality = "text"
    statistics = ("excess_rate",)
    source = (
        "Cooper, Gokaslan, Ahmed, Cyphert, De Sa, Lemley, Ho, Liang (2025), Extracting memorized pieces of (copyrighted) "
        "books from open-weight language models, arXiv 2505.12546; near-verbatim passages as in Ahmed, Cooper, Koyejo, "
        "Liang (2026), arXiv 2601.02671."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the windows of the members' works and of the controls' works."""
        window = parameters.prefix + parameters.suffix
        if 0 < facts.context_length < window:
            msg = f"a window of {window} tokens does not fit the model's context of {facts.context_length}"
            raise UnsupportedError(msg, hint="Ask for a shorter prefix and suffix.")
        names = ("works", "prefix", "suffix", "stride", "max_tokens", "separator", "top_k", "temperature")
        asked = {name: getattr(parameters, name) for name in names}
        if facts.instrument:
            asked["works"] = min(parameters.works or MOST_CONTROL_WORKS, MOST_CONTROL_WORKS)
        found = {}
        for side, identity in (("members", facts.subject.members), ("controls", facts.subject.controls)):
            if identity is not None:
                found[side] = Need(observer="work-scores", dataset=_dataset(side), parameters=asked)
        return found

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what so many works could show."""
        sides = [
            0 if identity is None else min(parameters.works or identity.clusters, identity.clusters)
            for identity in (facts.subject.members, facts.subject.controls)
        ]
        return power_of_works(sides[0], sides[1], facts.confidence)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return the share of members' windows that come out beside that of controls' windows; the unit is the work."""
        level, facts = measuring.facts.confidence, measuring.facts
        rule = _rule(parameters, facts)
        members = Side.of(read_works(evidence["members"], parameters.stride, parameters.suffix), rule)
        if not members.works:
            msg = f"none of the {members.without:,} works has a passage of {parameters.prefix} + {parameters.suffix} tokens"
            hint = "Ask for a shorter prefix and suffix, or name the `separator` that joins the records of a work."
            raise UnsupportedError(msg, hint=hint)
        controls = None
        if "controls" in evidence:
            read = Side.of(read_works(evidence["controls"], parameters.stride, parameters.suffix), rule)
            controls = read if read.works else None
        found = share(members.out, members.windows, level)
        control, excess, p_value = None, None, None
        if controls is not None:
            control = share(controls.out, controls.windows, level)
            excess = difference(members, controls, level)
            p_value = difference_p(members, controls, generator(measuring.seed, self.name, "works"))
        persons = facts.subject.members.clustered_by == "person"
        beside = (
            f", against {between(control)} in {len(controls.works):,} control works" if control and controls else ""
        )
        sure = confirmed_persons(members, controls) if persons else Confirmed()
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic="excess_rate",
            question=self.question,
            answer=(
                f"Of {int(members.windows.sum()):,} passages of {parameters.suffix} tokens in {len(members.works):,} works "
                f"{int(members.out.sum()):,} come out in one query with a probability of {rule.probability:.3g} or more: of a work "
                f"{between(found)} on average{beside}. {_worst(members, controls, persons=persons)}"
            ),
            estimate=found,
            control=control,
            control_reason="" if control else no_controls(),
            excess=excess,
            p_value=p_value,
            confirmed=sure.persons,
            members=len(members.works),
            controls=len(controls.works) if controls else 0,
            power=power_of_works(len(members.works), len(controls.works) if controls else 0, level),
            strata=tuple(strata(parameters.thresholds, facts.queries, members, controls, level, persons=persons)),
            figures=tuple(figures(members, controls, level, persons=persons)),
            exhibits=exhibits(members, persons=persons),
            caveats=(*sure.caveats, *_caveats(parameters, members, controls, measuring)),
            method=_method(parameters),
            advice=(
                "Look at the works named first, and at how often they stood in training, quotations and near copies included. Remove "
                "copies and train again, for fewer passes; an output filter helps against queries, not against who holds the weights. What "
                "coverage of a work means in law is for a lawyer to say."
            ),
            source=self.source,
            observations=tuple(table.record.id for table in evidence.values()),
        )


def power_of_works(members: int, controls: int, level: float) -> Power:
    """Return what a comparison of so many works could show if each is either known or not."""
    bound = upper_bound_if_none(max(members, 1), level)
    if not controls:
        statement = (
            f"Without control works no excess can be shown; nothing in {members:,} works bounds the share known at "
            f"{percent(bound)}."
        )
        return Power(smallest_effect=1.0, unit="ratio", probability=PROBABILITY, statement=statement)
    effect = min(smallest_detectable_excess(max(members, 1), controls, level, PROBABILITY), 1.0)
    statement = (
        f"With {members:,} members' works and {controls:,} control works an excess of {percent(effect)} of the works known from end to end "
        f"would be called a signal four times in five; nothing found bounds that share at {percent(bound)}. More passages of the same "
        "works would not help, more works would."
    )
    return Power(smallest_effect=effect, unit="ratio", probability=PROBABILITY, statement=statement)


def _dataset(side: str) -> Literal["members", "controls"]:
    return "members" if side == "members" else "controls"


def _rule(parameters: Parameters, facts: Facts) -> Rule:
    """Return when a window counts; a control subject says each token with a fixed probability, and never more."""
    probability = parameters.probability
    if facts.instrument:
        probability = min(probability, RECALLED**parameters.suffix)
    return Rule(probability, parameters.distinct, int(parameters.echo * parameters.suffix + 1e-9))


def _method(parameters: Parameters) -> str:
    return (
        f"A window of {parameters.prefix} + {parameters.suffix} tokens slides over every work by {parameters.stride} tokens; the "
        "probability that one query says its second part after its first alone (temperature "
        f"{parameters.temperature:g}, top-{parameters.top_k}) is read from one pass, and a window whose second part has fewer than "
        f"{parameters.distinct} different tokens or repeats its first part does not count. Windows of one work are one witness: each "
        "work gives one share, and the intervals (Clopper-Pearson, and Newcombe's for the difference) and the permutation of whole works "
        "between members and controls are over these. What of a work is covered, the longest run and the queries it takes come from the "
        "same pass."
    )


def _worst(members: Side, controls: Side | None, *, persons: bool) -> str:
    """Return the work of which most comes out, and those that lie above every control work."""
    worst = members.order()[0]
    if not members.out[worst]:
        return "No work has such a passage."
    work = members.works[worst]
    said = (
        f"Most comes out of '{named(work, persons=persons)}': {percent(members.shares()[worst])} of its passages, "
        f"{members.longest[worst]:,} tokens in a row."
    )
    above = above_controls(members, controls)
    if controls is None or not above:
        return said
    names = ", ".join(f"'{named(members.works[place], persons=persons)}'" for place in above[:MOST_NAMED])
    more = f" and {len(above) - MOST_NAMED:,} more" if len(above) > MOST_NAMED else ""
    most = percent(float(controls.shares().max()))
    return f"{said} Above every one of the control works (at most {most}): {names}{more}."


def _caveats(parameters: Parameters, members: Side, controls: Side | None, measuring: Measuring) -> tuple[str, ...]:
    found = [
        "Only what follows a work's own words directly is counted, word for word; other prompts may bring more.",
        "The interval of one work takes its consecutive blocks as a sample of such text; the work itself was read whole.",
        (
            "Nearly word for word is counted with the model set right after each mistake: left alone, it may lose the thread where a "
            "person would help it on."
        ),
        "Queries are taken as independent samples with these settings.",
        *not_drawn_at_random(measuring.facts),
    ]
    if measuring.facts.subject.controls_drawn != "at-random-before-training" and controls is not None:
        found.append(
            "Control works newer than the model differ from older ones in more than that: they are quoted less. Passages that are famous "
            "by themselves are remembered with or without the work."
        )
    if measuring.facts.subject.members.clustered_by == "record":
        found.append("No column names the work a record comes from (`document`): every record is taken as a work.")
    if measuring.facts.instrument:
        found.append("On a control subject a lower probability counts: its recall is fixed.")
    for side, name in ((members, "members'"), (controls, "control")):
        if side is None:
            continue
        if side.without:
            found.append(
                f"{side.without:,} {name} works without a passage of {parameters.prefix + parameters.suffix} tokens are left out."
            )
        if side.cut:
            found.append(f"{side.cut:,} {name} works were cut after {parameters.max_tokens:,} tokens.")
    return tuple(found)


TEST = Works()
