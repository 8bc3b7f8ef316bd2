"""One-run epsilon: do guesses about the canaries' coin flips refute a declared differential privacy?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from auditor.battery.language.coins import Coins, Guessing, estimate_of, moved, read_coins
from auditor.core.evidence import Need
from auditor.core.finding import Figure, Gate, Measurement, Power, Series, Stratum
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.epsilon import (
    LARGEST,
    Guesses,
    one_run_p_value,
    smallest_detectable_epsilon,
)
from auditor.statistics.interval import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.contract.protocol import Access, Facts, Measuring
    from auditor.core.canary import Canary
    from auditor.core.subject import Modality
    from auditor.evidence.table import ObservedTable

PROBABILITY = 0.8
UNFAIR = 0.001
"""Level at which as many planted canaries as these are not what fair coins give."""
GAUSSIAN = "Mahloujifar et al. (2024), arXiv 2410.22235, algorithm 3"
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Parameters(Record):
    """What is declared, what it protects, and how the coins are guessed; all of it fixed before the scores are seen."""

    candidates: PositiveInt = 4096
    """Never-planted candidates per format that a canary's score is held against."""
    declared: NonNegativeFloat | None = None
    """Epsilon that training is declared to have, nat; null: none is declared, and the bound is held against 0."""
    delta: Annotated[float, Field(ge=0.0, lt=1.0)] = 1e-5
    """Delta that goes with it."""
    unit: Literal["record", "person"] = "record"
    """What epsilon protects: one record (only canaries planted once are used) or all copies of a canary, as of one person."""
    shares: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.6,)
    """Shares of the canaries to guess, half as planted and half as left out; several are corrected for."""
    permutations: PositiveInt = 999
    """Permutations of the coin flips behind the control."""


class EpsilonTest:
    """Lower bound on epsilon from one training run, against a declared epsilon."""

    name = "language/epsilon"
    version = 1
    title = "Epsilon from one training run"
    question = "Do guesses about which canaries were trained on refute the declared differential privacy?"
    access: Access = "scores"
    modality: Modality = "text"
    statistics = ("epsilon_lower",)
    source = (
        "Steinke, Nasr, Jagielski (2023), Privacy Auditing with One (1) Training Run, arXiv 2305.08846, theorem 5.2."
    )
    parameters = Parameters

    def needs(self, parameters: Parameters, facts: Facts) -> dict[str, Need]:
        """Return the scores of canaries and candidates."""
        if facts.canaries is None:
            msg = "the subject has no canaries"
            raise UnsupportedError(msg, hint="Make and plant them before training: auditor canary make.")
        if (count := len(_used(facts.canaries.canaries, parameters.unit))) < 2:
            msg = f"{count} canaries audit the privacy of one {parameters.unit}"
            hint = "Make canaries of tier 1; those planted several times audit several records together (unit: person)."
            raise UnsupportedError(msg, hint=hint)
        asked = {"candidates": parameters.candidates}
        return {"canaries": Need(observer="canary-scores", dataset="canaries", parameters=asked)}

    def forecast(self, parameters: Parameters, facts: Facts) -> Power:
        """Return the largest epsilon that the canaries could show."""
        made = facts.canaries.canaries if facts.canaries else ()
        return _power(len(_used(made, parameters.unit)), parameters, facts)

    def measure(
        self, parameters: Parameters, evidence: Mapping[str, ObservedTable], measuring: Measuring
    ) -> Measurement:
        """Return the lower bound beside the bounds that shuffled coins give."""
        table, level = evidence["canaries"], measuring.facts.confidence
        claimed = _claimed(parameters, measuring.facts)
        everything = read_coins(table)
        coins = everything.of(everything.repetitions == 1) if parameters.unit == "record" else everything
        if len(coins) < 2:
            msg = f"{len(coins)} canaries were scored that audit the privacy of one {parameters.unit}"
            raise UnsupportedError(msg, hint="Make at least twenty canaries of tier 1.")
        declared = claimed or 0.0
        guessing = Guessing(parameters.shares, parameters.delta, level)
        rules, ceiling = guessing.guesses(coins), guessing.ceiling(len(coins))
        found, chosen = guessing.estimate(coins)
        rng = generator(measuring.seed, self.name, "coins")
        control, alarms = guessing.shuffled(coins, rng, parameters.permutations)
        least = min(one_run_p_value(len(coins), guesses, declared, parameters.delta) for guesses in rules)
        claim = "none is declared" if claimed is None else f"{declared:g} is declared"
        return Measurement(
            test=self.name,
            test_version=self.version,
            title=self.title,
            statistic="epsilon_lower",
            question=self.question,
            answer=(
                f"Of {chosen.made} guesses about {len(coins)} coin flips {chosen.right} were right: epsilon is at least {found.low:.2f} "
                f"nat for one {parameters.unit} (one-sided {100 * level:g} % bound, delta {parameters.delta:g}); {claim}. With shuffled "
                f"coins the bound is {control.value:.2f} (up to {control.high:.2f}); the most these canaries could show is {ceiling:.2f}."
            ),
            estimate=found,
            control=control,
            excess=moved(found, declared),
            p_value=min(1.0, len(rules) * least),
            canaries=int(coins.planted.sum()),
            gates=(
                _fair(coins),
                _quiet(alarms, parameters.permutations, level),
                _reach(found.low, ceiling, declared),
            ),
            power=_power(len(coins), parameters, measuring.facts),
            strata=tuple(_strata(everything, coins, guessing)),
            figures=(_figure(everything, guessing, claimed),),
            caveats=self._caveats(parameters, rules),
            method=(
                "Each canary's log-probability is set against never-planted secrets of its format; the likeliest are guessed to have been "
                "trained on, the unlikeliest not, as many of each as was fixed beforehand. Under differential privacy each guess is right "
                "with odds of at most e to the epsilon, so too many right ones refute it; the bound is the smallest epsilon not refuted. "
                "The control repeats this with the coins shuffled."
            ),
            advice=(
                "If a declared epsilon is refuted, look for records that pass the privacy mechanism more than once, gradients that "
                "are not clipped per record, noise of the wrong scale or a wrong unit of privacy, and correct the statement."
            ),
            source=self.source,
            observations=(table.record.id,),
        )

    def _caveats(self, parameters: Parameters, rules: list[Guesses]) -> tuple[str, ...]:
        found = [
            "A lower bound: that it stays below what is declared is consistent with the claim and does not prove it.",
            "The upper end says what guessing in this way shows of epsilon; other guesses may show more.",
            "It rests on fair and independent coin flips before training, one for each canary; a fixed half is not that.",
        ]
        if len(rules) > 1:
            found.append(
                f"The bound is the largest of {len(rules)} rules of guessing and is corrected for their number."
            )
        if parameters.unit == "person":
            found.append(
                "All copies of a canary count as one person's: an epsilon declared for single records is not refuted."
            )
        if any(guesses.right == guesses.made for guesses in rules):
            found.append(f"Every guess was right: there is no upper end, {LARGEST:.1f} stands for it.")
        return tuple(found)


def _used(canaries: tuple[Canary, ...], unit: str) -> list[Canary]:
    return [canary for canary in canaries if unit == "person" or canary.repetitions == 1]


def _fair(coins: Coins) -> Gate:
    count, total = int(coins.planted.sum()), len(coins)
    share = clopper_pearson(count, total, 1.0 - UNFAIR)
    return Gate(
        name="fair coins",
        held=share.low <= 0.5 <= share.high,
        on_failure="invalid",
        detail=f"{count} of {total} canaries were planted, where fair coins plant about half",
    )


def _quiet(alarms: int, permutations: int, level: float) -> Gate:
    allowed = 2.0 * (1.0 - level) + 0.02  # a lattice of few guesses, and as many planted in every shuffle
    return Gate(
        name="label permutation",
        held=alarms <= allowed * permutations,
        on_failure="invalid",
        detail=f"{alarms} of {permutations} shuffles of the coins give a bound above 0, at level {1.0 - level:.2g}",
    )


def _reach(bound: float, ceiling: float, declared: float) -> Gate:
    return Gate(
        name="reach",
        held=ceiling > declared or bound > declared,
        on_failure="inconclusive",
        detail=f"the largest bound that these canaries could give is {ceiling:.2f} nat, {declared:g} is to be refuted",
    )


def _claimed(parameters: Parameters, facts: Facts) -> float | None:
    """Return the epsilon that is declared of this subject; of the controls of the instrument nothing is."""
    return None if facts.instrument else parameters.declared


def _power(canaries: int, parameters: Parameters, facts: Facts) -> Power:
    declared = _claimed(parameters, facts) or 0.0
    guessing = Guessing(parameters.shares, parameters.delta, facts.confidence)
    count = max(canaries, 2)
    settings = {"delta": parameters.delta, "level": guessing.corrected, "power": PROBABILITY}
    least = min(smallest_detectable_epsilon(count, made, declared, **settings) for made in guessing.made(count))
    said = f"With {canaries} canaries no bound above {guessing.ceiling(count):.2f} nat is possible, even if every guess is right; "
    if math.isfinite(least):
        said += f"guesses right with odds e^{least:.2f} would refute {declared:g} four times in five."
    else:
        said += f"nothing could refute {declared:g}."
    return Power(smallest_effect=min(least, LARGEST) - declared, unit="nat", probability=PROBABILITY, statement=said)


def _strata(everything: Coins, coins: Coins, guessing: Guessing) -> list[Stratum]:
    strata = []
    for times, tier in everything.tiers():
        note = f"{len(tier)} canaries; at most {guessing.ceiling(len(tier)):.2f} nat could be shown"
        label = f"{times} copies together" if times > 1 else "one copy"
        strata.append(Stratum(by="repetitions", label=label, estimate=guessing.estimate(tier)[0], note=note))
    if len(guessing.shares) > 1:
        for share in guessing.shares:
            found, guesses = guessing.alone(share).estimate(coins)
            note = f"{guesses.right} of {guesses.made} guesses right"
            strata.append(Stratum(by="rule", label=f"{share:.0%} of the canaries guessed", estimate=found, note=note))
    if guessing.delta > 0.0:
        rules = guessing.guesses(coins)
        bound, which = guessing.bound(len(coins), rules, gaussian=True)
        ceiling, _ = guessing.bound(len(coins), [Guesses(made, made) for made, _ in rules], gaussian=True)
        found = estimate_of(bound, rules, which, ceiling, guessing.level, GAUSSIAN)
        note = f"holds only if training is such a mechanism; at most {ceiling:.2f} nat could be shown"
        strata.append(Stratum(by="assumption", label="Gaussian mechanism", estimate=found, note=note))
    return strata


def _figure(everything: Coins, guessing: Guessing, declared: float | None) -> Figure:
    tiers = everything.tiers()
    bounds = [guessing.estimate(tier)[0].low for _, tier in tiers]
    ceilings = [guessing.ceiling(len(tier)) for _, tier in tiers]
    x = tuple(float(times) for times, _ in tiers)
    spread = (min(x), max(x)) if len(x) > 1 else (x[0] / 1.5, x[0] * 1.5)
    series = [
        Series(
            name="lower bound, up to what could be shown",
            x=x,
            y=tuple(bounds),
            low=tuple(bounds),
            high=tuple(max(bound, ceiling) for bound, ceiling in zip(bounds, ceilings, strict=True)),
            role="members",
        )
    ]
    if declared is not None:
        series.append(Series(name="declared", x=spread, y=(declared,) * 2, role="limit"))
    parts = ", ".join(f"{times} copies {bound:.2f}" for (times, _), bound in zip(tiers, bounds, strict=True))
    return Figure(
        kind="by-repetition",
        title="Lower bound on epsilon by how often a canary was planted",
        x_label="copies of a canary, audited together",
        y_label="epsilon, nat",
        series=tuple(series),
        x_scale="log2",
        caption=f"Lower bound on epsilon for all copies of a canary together, with the largest that could be shown: {parts} nat.",
    )


TEST = EpsilonTest()
