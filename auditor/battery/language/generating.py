"""What both tests of open generations ask of the model, so that one observation serves both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.battery.language.discoverable_extraction import power_of_rates
from auditor.battery.language.extracted import can_generate
from auditor.core.evidence import Need
from auditor.core.record import Record

if TYPE_CHECKING:
    from auditor.contract.protocol import Facts
    from auditor.core.finding import Power


class GenerationParameters(Record):
    """How the model is asked, and what counts as coming out."""

    unprompted: NonNegativeInt = 100
    """Generations from the beginning, sampled among the top k."""
    decaying: NonNegativeInt = 100
    """Generations from the beginning whose temperature decays to 1."""
    prompted: NonNegativeInt = 200
    """Generations after some tokens of a record, half members and half controls."""
    prompt: PositiveInt = 10
    """Tokens of the record that such a generation begins with."""
    tokens: PositiveInt = 128
    """Tokens of each generation."""
    top_k: PositiveInt = 40
    """Tokens are drawn among the k likeliest."""
    temperature: float = Field(default=10.0, gt=0.0)
    """First temperature of those that decay."""
    decay: PositiveInt = 20
    """Tokens over which it decays to 1."""
    documents: PositiveInt | None = None
    """Most documents of each side that are compared; null: as many as the smaller side has."""
    match: PositiveInt = 50
    """Tokens in a row that stand word for word in a document for it to have come out."""
    distinct: PositiveInt = 10
    """A run with fewer different tokens is trivial and does not count."""


def generation_need(parameters: GenerationParameters, references: tuple[str, ...] = (), *, scored: bool = True) -> Need:
    """Return the observation of open generations that the parameters ask for; `scored`: with what the model finds likely of it."""
    plain: dict[str, Any] = parameters.plain()
    names = ("unprompted", "decaying", "prompted", "prompt", "tokens", "top_k", "temperature", "decay", "documents")
    asked = {name: plain[name] for name in names} | {"least": parameters.match, "references": list(references)}
    asked |= {} if scored else {"scored": False}
    return Need(observer="open-generations", dataset="members+controls", parameters=asked)


def how_asked(parameters: GenerationParameters) -> str:
    """Return how the generations were asked for, and in which shares."""
    ways = (
        (parameters.unprompted, "from the beginning"),
        (parameters.decaying, "from the beginning at a temperature that decays"),
        (parameters.prompted, f"after {parameters.prompt} tokens of a record, of either side"),
    )
    return "; ".join(f"{count:,} {way}" for count, way in ways if count) or "no generation"


class Compared(Protocol):
    """Parameters of a test that matches what comes out."""

    @property
    def tokens(self) -> int:
        """Tokens of each generation."""
        ...

    @property
    def match(self) -> int:
        """Tokens of a run that counts."""
        ...

    @property
    def documents(self) -> int | None:
        """Most documents of each side that are compared."""
        ...


def listing_need(parameters: Compared) -> Need:
    """Return the observation that lists the compared records and matches real text against the other side."""
    asked = {"tokens": parameters.tokens, "least": parameters.match, "documents": parameters.documents}
    return Need(observer="corpus-matches", dataset="members+controls", parameters=asked)


def forecast_units(parameters: GenerationParameters, facts: Facts) -> Power:
    """Return what a comparison of the documents of both sides could show.

    Raises:
        UnsupportedError: The subject cannot be asked.
    """
    can_generate(facts)
    compared = min(identity.records for identity in (facts.subject.members, facts.subject.controls) if identity)
    compared = compared if parameters.documents is None else min(compared, parameters.documents)
    sides = [
        max(1, round(identity.clusters * compared / max(identity.records, 1)))
        for identity in (facts.subject.members, facts.subject.controls)
        if identity is not None
    ]
    return power_of_units(sides[0], sides[1], facts.confidence)


def power_of_units(members: int, controls: int, level: float) -> Power:
    """Return what the comparison could show, said of documents that come out in these generations."""
    power = power_of_rates(members, controls, level)
    said = f"{power.statement} More generations bring out more: this holds for those that were made."
    return power.model_copy(update={"statement": said})


def not_drawn_at_random(facts: Facts) -> tuple[str, ...]:
    """Return the caveat of controls that were not declared as drawn at random, if it holds."""
    if facts.subject.controls_drawn == "at-random-before-training":
        return ()
    return ("The controls were not declared as drawn at random before training.",)
