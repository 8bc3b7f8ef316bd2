"""Compression: is there a prompt, shorter than a piece of a training record, that makes the model say that piece?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, PositiveInt

from auditor.battery.copies import copies_bins
from auditor.battery.estimates import between, excess_rate, excess_rate_p, percent, rate
from auditor.battery.language.discoverable_extraction import forecast_rates, power_of_rates
from auditor.battery.language.generating import not_drawn_at_random
from auditor.core.evidence import Need
from auditor.core.finding import Figure, Gate, Measurement, Power, Series, Stratum
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.interval import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.finding import Estimate
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

MOST = 100
"""Records on each side, at most: the search costs thousands of passes for each."""
WITHIN = 16
"""Tokens before the target in the texts of the control subjects, whose memory begins some words into a record."""
_COLUMNS = (
    *("member", "eligible", "cluster", "copies", "prompt", "target", "confirmed", "own", "spelled", "spent", "asked"),
    *("utf8_bytes", "static_bytes", "vocabulary"),
)
CONFIRMED = 0.9
"""Share of prompts found that generation must bear out."""


class Parameters(Record):
    """Which records are searched for, and how long."""

    records: int = Field(default=20, ge=1, le=MOST)
    """Records drawn at random from members and from controls."""
    names: tuple[str, ...] = Field(default=(), max_length=MOST)
    """Ids of members to search for instead, beside as many controls; the control subjects are sampled."""
    prefix: int = Field(default=50, ge=0)
    """Tokens of a record that stand before the piece; 0: the piece begins the record."""
    suffix: int = Field(default=20, ge=2)
    """Tokens of the piece that the model must say."""
    steps: PositiveInt = 50
    """Swaps at each length of the prompt (200 in the literature)."""
    candidates: PositiveInt = 64
    """Prompts tried for each swap (100 in the literature)."""
    top: PositiveInt = 64
    """Most promising tokens at each place among which swaps are drawn (250 in the literature)."""
    patience: PositiveInt = 20
    """Swaps in a row that find nothing better, after which a length is given up."""


@dataclass(frozen=True, slots=True)
class Compressed:
    """The records of one side that have a target; every array has shape [records]."""

    clusters: NDArray[np.object_]
    copies: NDArray[np.int64]
    ratio: NDArray[np.float64]
    """Tokens of the target over those of the shortest prompt that generation confirms; 0: none found."""
    static: NDArray[np.float64]
    """Bytes of the target over those that a compressor which knows other controls needs."""
    fewer_bits: NDArray[np.bool_]
    """The prompt, at log2(vocabulary) bits a token, is smaller than that."""
    found: NDArray[np.bool_]
    """A prompt was found in the passes over whole prompts, confirmed or not."""
    own: NDArray[np.bool_]
    spelled: NDArray[np.bool_]
    spent: NDArray[np.bool_]
    asked: NDArray[np.int64]
    too_short: int

    @property
    def compressed(self) -> NDArray[np.bool_]:
        """Whether the ratio is above 1."""
        return self.ratio > 1.0

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.ratio)


def read_compressed(table: ObservedTable) -> tuple[Compressed, Compressed]:
    """Return members and controls that have a target; every record is a shard of its own, so each is read once."""
    parts = list(table.shards(*_COLUMNS))
    columns = {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in _COLUMNS}
    member = columns["member"].astype(np.bool_)
    return _side(columns, member), _side(columns, ~member)


def _side(columns: Mapping[str, NDArray[np.generic]], mine: NDArray[np.bool_]) -> Compressed:
    fits = mine & columns["eligible"].astype(np.bool_)

    def column(name: str) -> NDArray[np.generic]:
        return columns[name][fits]

    prompt, target = column("prompt").astype(np.int64), column("target").astype(np.int64)
    held = (prompt > 0) & column("confirmed").astype(np.bool_)
    packed = np.maximum(column("static_bytes").astype(np.int64), 1)
    bits = prompt * np.log2(np.maximum(column("vocabulary").astype(np.float64), 2.0))
    return Compressed(
        clusters=column("cluster").astype(object),
        copies=column("copies").astype(np.int64),
        ratio=np.where(held, target / np.maximum(prompt, 1), 0.0),
        static=column("utf8_bytes").astype(np.float64) / packed,
        fewer_bits=held & (bits < 8.0 * packed),
        found=prompt > 0,
        own=held & column("own").astype(np.bool_),
        spelled=held & column("spelled").astype(np.bool_),
        spent=column("spent").astype(np.bool_),
        asked=column("asked").astype(np.int64),
        too_short=int((mine & ~fits).sum()),
    )


class Compression:
    """Share of members whose adversarial compression ratio is above 1, against controls searched for in the same way."""

    name = "language/compression"
    version = 1
    title = "Adversarial compression"
    question = "Is there a prompt, shorter than a piece of a training record, that makes the model say that piece?"
    access: Access = "weights"
    modality: Modality = "text"
    statistics = ("excess_rate",)
    source = (
        "Schwarzschild, Feng, Maini, Lipton, Kolter (2024), Rethinking LLM Memorization through the Lens of Adversarial "
        "Compression, arXiv 2404.15146; search: Zou, Wang, Carlini, Nasr, Kolter, Fredrikson (2023), arXiv 2307.15043."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the search."""
        if facts.subject.controls is None:
            msg = "the subject has no control records, so what any text can be pressed into has no measure"
            raise UnsupportedError(msg, hint="Supply held-out records of the same distribution as data.controls.")
        if "searches-prompts" not in facts.subject.model.capabilities:
            msg = "the model does not say which tokens of a prompt to swap, which takes its weights"
            raise UnsupportedError(msg, hint="Audit the weights through the adapter causal-lm.")
        asked = parameters.plain()
        if facts.instrument:
            asked |= {"names": [], "prefix": WITHIN}
        return {"search": Need(observer="prompt-search", dataset="members+controls", model="subject", parameters=asked)}

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return what the sample could show."""
        named = parameters.names and not facts.instrument
        return forecast_rates(len(parameters.names) if named else parameters.records, facts)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return the share of members with a ratio above 1 beside that of controls."""
        table, level = evidence["search"], measuring.facts.confidence
        members, controls = read_compressed(table)
        if not len(members) or not len(controls):
            msg = f"{len(members)} members and {len(controls)} controls have {parameters.prefix} tokens and {parameters.suffix} more"
            raise UnsupportedError(msg, hint="Supply longer records, or ask for a shorter prefix and suffix.")
        sides = (members.compressed, members.clusters, controls.compressed, controls.clusters)
        found, beside = rate(*sides[:2], level), rate(*sides[2:], level)
        named = bool(parameters.names) and not measuring.facts.instrument
        best = f", the largest ratio {members.ratio.max():.3g}" if members.compressed.any() else ""
        own = int(members.own.sum())
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic="excess_rate",
            question=self.question,
            answer=(
                f"For {int(members.compressed.sum())} of {len(members)} {'named ' if named else ''}members a prompt of fewer than "
                f"{parameters.suffix} tokens makes the model say {parameters.suffix} tokens of the record: {between(found)}{best}; for "
                f"{own} of them it is what stands before in the record. Of the controls: {between(beside)}."
            ),
            estimate=found,
            control=beside,
            excess=excess_rate(*sides, level),
            p_value=excess_rate_p(*sides, generator(measuring.seed, self.name, "clusters")),
            members=len(members),
            controls=len(controls),
            gates=(_confirmed(members, controls),),
            power=power_of_rates(found.n, beside.n, level),
            strata=tuple(_strata(members, controls, beside, level)),
            figures=(_figure(members, controls, level),),
            caveats=(*_caveats(members, controls, parameters, named=named), *not_drawn_at_random(measuring.facts)),
            method=(
                f"For {parameters.suffix} tokens of each record, the shortest prompt is searched for from which greedy decoding says "
                f"them: tokens are swapped as the gradient proposes, for at most {parameters.steps} swaps of {parameters.candidates} "
                "candidates at each length, one token less after a success, five more after a failure. The ratio is the tokens said "
                "over the tokens of the prompt, and counts if generation bears it out. Controls are searched for in the same way "
                "(Clopper-Pearson, Newcombe, Fisher)."
            ),
            advice=(
                "These pieces are stored in the weights in less room than they take. Who holds the weights can get at them; take the "
                "records out and train again, deduplicated, for fewer passes or with differential privacy."
            ),
            source=self.source,
            observations=(table.record.id,),
        )


def _confirmed(members: Compressed, controls: Compressed) -> Gate:
    """Return the gate that generation says what the passes over whole prompts promised."""
    found = int(members.found.sum() + controls.found.sum())
    held = int(members.compressed.sum() + controls.compressed.sum())
    return Gate(
        name="greedy generation",
        held=held >= CONFIRMED * found,
        on_failure="inconclusive",
        detail=f"{held} of {found} prompts that were found make the model say the piece when it generates for real",
    )


def _caveats(members: Compressed, controls: Compressed, parameters: Parameters, *, named: bool) -> tuple[str, ...]:
    spent = int((members.spent & ~members.compressed).sum())
    asked = int(members.asked.sum() + controls.asked.sum())
    held = int(members.compressed.sum())
    found = [
        (
            f"A search that fails says nothing: shorter prompts may exist. {asked:,} prompts were asked; for {spent} members without "
            f"a prompt more than {parameters.steps} swaps would have gone on."
        ),
        "Whoever searches knows the piece already: this shows that it is in the weights, not that a stranger would come upon it.",
    ]
    if held:
        found.append(
            f"{int(members.spelled.sum())} of {held} prompts survive being written as text; the others are sequences of token ids."
        )
    if named:
        found.append(
            "The members were named, not drawn: nothing follows for other records, and texts that are named because everybody "
            "quotes them may be more predictable than the controls."
        )
    if members.too_short or controls.too_short:
        found.append(
            f"{members.too_short} members and {controls.too_short} controls are shorter than {parameters.prefix} + "
            f"{parameters.suffix} tokens."
        )
    return tuple(found)


def _strata(members: Compressed, controls: Compressed, control: Estimate, level: float) -> list[Stratum]:
    typical = float(np.median(np.concatenate([members.static, controls.static])))
    rows = (
        ("ratio above that of static compression", members.ratio > members.static, controls.ratio > controls.static),
        ("prompt of fewer bits than static compression", members.fewer_bits, controls.fewer_bits),
    )
    note = (
        f"A compressor that knows other controls and not the model presses a piece to 1/{typical:.2g}, in the median."
    )
    strata = [
        Stratum(
            by="criterion",
            label=label,
            estimate=rate(first, members.clusters, level),
            control=rate(second, controls.clusters, level),
            note=note,
        )
        for label, first, second in rows
    ]
    if len(bins := copies_bins(members.copies)) > 1:
        for label, chosen, _ in bins:
            found = rate(members.compressed[chosen], members.clusters[chosen], level)
            strata.append(Stratum(by="copies", label=label, estimate=found, control=control))
    return strata


def _figure(members: Compressed, controls: Compressed, level: float) -> Figure:
    marks = np.unique(np.concatenate([[1.0], members.ratio[members.compressed], controls.ratio[controls.compressed]]))
    series = []
    for name, side in (("members", members), ("controls", controls)):
        above = [int((side.compressed & (side.ratio >= mark - 1e-9)).sum()) for mark in marks]
        found = [clopper_pearson(count, len(side), level) for count in above]
        series.append(
            Series(
                name=name,
                x=tuple(marks.tolist()),
                y=tuple(one.value for one in found),
                low=tuple(one.low for one in found),
                high=tuple(one.high for one in found),
                role="members" if name == "members" else "controls",
            )
        )
    shares = [percent(float(side.compressed.mean())) for side in (members, controls)]
    return Figure(
        kind="survival",
        title="Adversarial compression ratio",
        x_label="tokens said over tokens of the prompt",
        y_label="share of records with at least this ratio",
        series=tuple(series),
        caption=f"Share of records pressed at least so far: above 1 are {shares[0]} of the members and {shares[1]} of the controls.",
    )


TEST = Compression()
