"""Whole audits of innocent subjects: evidence of every language and data test in memory, and what the battery makes of it.

The subjects have something to find, as often on one side as on the other: texts that any model says, secrets that happen to be
likely, records that stand twice, addresses. A subject with nothing at all would make every rate test silent and show little.

Figures over many: `python benchmarks/false_alarms.py`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from divergence_tables import output_table
from generation_tables import floor_table, generation_table, innocent_runs
from tables import canary_table, continuations, measuring, score_tables, suffix_table
from test_compression import prompts_found
from test_divergence import innocent as innocent_outputs
from test_duplicates import pool, relabelled
from test_duplicates import table as duplicates_table
from test_epsilon import drawn
from test_language_personal_data import EMAIL, generations, listing
from test_near_verbatim import continued
from test_personal_data import table as personal_table
from test_secret_search import searched
from test_works import innocent as innocent_works
from test_works import table as works_table

from auditor.assess.outcome import judge
from auditor.contract.registry import listed, load
from auditor.core.finding import Measurement, Outcome
from auditor.core.policy import TestEntry
from auditor.core.seeds import generator
from auditor.policy.load import load_policy

POLICY = "edpb-28-2024"
FAMILIES = ("language/", "dataset/")
ALPHA = 0.05
RECORDS = 150
RATES = (0.02, 0.1, 0.3)
"""How often a record comes out, member or control."""


@dataclass(frozen=True)
class Audit:
    """What one innocent audit came to."""

    alone: frozenset[str]
    """Tests that alone would call a signal at 0.05."""
    corrected: frozenset[str]
    """Tests whose corrected p-value makes them a signal, with no gate to stop it."""
    confirmed: frozenset[str]
    """Tests that confirm persons: a signal by itself, which the correction does not cover."""
    signals: frozenset[str]
    """Tests that are a signal in either way."""


@functools.cache
def battery() -> tuple[TestEntry, ...]:
    """Return the shipped policy's entries, and one for every other installed test of a language model or its data."""
    entries = load_policy(POLICY, base=None, known_tests=None).policy.tests
    asked = {entry.test: entry.parameters for entry in entries if _ours(entry.test)}
    asked |= {item.name: {} for item in listed("tests") if _ours(item.name) and item.name not in asked}
    return tuple(TestEntry(test=name, parameters=parameters, evidence_for=()) for name, parameters in asked.items())


def _ours(name: str) -> bool:
    return name.startswith(FAMILIES)


class Evidence:
    """The evidence of one innocent subject, drawn on demand; one pass that several tests read is drawn once."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rate = RATES[seed % len(RATES)]
        self.of_persons = seed % 2 == 1

    def rng(self, name: str) -> np.random.Generator:
        return generator(self.seed, "innocent audits", name)

    @functools.cached_property
    def scored(self) -> dict:
        """One pass over both sides: whether greedy decoding says the suffix, and what sampling thinks of it."""
        rng, found = self.rng("scored"), {}
        for side, name in (("members", "m"), ("controls", "c")):
            flags, clusters = rng.random(RECORDS) < self.rate, None
            if self.of_persons:  # all records of a person come out or none: the hardest case
                flags = np.repeat(rng.random(RECORDS // 5) < self.rate, 5)
                clusters = [f"{name}{number // 5}" for number in range(RECORDS)]
            copies = rng.choice([1, 2, 4, 8], RECORDS) if name == "m" else None
            found[side] = suffix_table(
                flags, log_p=np.where(flags, -0.1, -90.0), side=name, clusters=clusters, copies=copies
            )
        return found | {"continuations": continuations(found["members"])}

    @functools.cached_property
    def generated(self) -> dict:
        """What the model says by itself: some documents more often than others, of either side."""
        rng = self.rng("generated")
        runs = innocent_runs(rng)
        scores = {name: rng.normal(-2, 0.4, len(runs)).clip(max=-0.1) for name in ("logprob", "window", "lowercase")}
        return {"generations": generation_table(runs, scores=scores), "floor": floor_table()}

    def near(self) -> dict:
        rng = self.rng("near")
        persons = rng.integers(1, 6, size=80)
        own = np.repeat(rng.random(80) < self.rate, persons)
        names = np.repeat([f"p{number}" for number in range(80)], persons)
        distance = np.where(own, rng.integers(0, 9, len(own)), rng.integers(20, 50, len(own)))
        member = np.repeat(rng.permutation(80) < 40, persons)
        return {
            side: continued(distance[chosen], clusters=names[chosen])
            for side, chosen in (("members", member), ("controls", ~member))
        }

    def whole_works(self) -> dict:
        rng = self.rng("works")
        works = innocent_works(rng, 36, "w")
        rng.shuffle(works)
        return {"members": works_table(works[:18]), "controls": works_table(works[18:], "c")}

    def diverged(self) -> dict:
        runs = innocent_outputs(self.rng("diverged"), 192, 64, 0.05)
        return {"outputs": output_table(runs, tokens=np.arange(192) % 64), "floor": floor_table()}

    def identified(self) -> dict:
        """Persons of whom some identifiers are easy to guess, and come out whoever they are of."""
        rng, rows = self.rng("identified"), []
        for side in "mc":
            for person in range(60):
                said = rng.random(int(rng.integers(1, 4))) < rng.beta(0.3, 2.0)
                rows.append((side, f"{side}{person}", [{"equal": bool(one), "kind": EMAIL} for one in said]))
        total = sum(len(row[2]) for row in rows)
        mentions = [(row, int(rng.integers(total)), EMAIL, False, -1, True) for row in range(10)]
        return {"identifiers": listing(rows), "generations": generations(mentions)}

    def repeated(self) -> dict:
        rng = self.rng("repeated")
        return {
            side: duplicates_table(relabelled(pool(rng, 300)), name=name)
            for side, name in (("members", "0"), ("controls", "1"))
        }

    def personal(self) -> dict:
        rng, found = self.rng("personal"), {}
        for side, name in (("members", "0"), ("controls", "1")):
            people = [int(size) for size in rng.integers(1, 5, size=80)]
            share = np.repeat(rng.beta(0.2, 1.8, size=80), people)
            clusters = [f"{name}-{person}" for person, size in enumerate(people) for _ in range(size)]
            found[side] = personal_table(name, clusters, email=rng.binomial(2, share), phone=rng.binomial(1, share / 2))
        return found

    def of(self, test: str):
        """Return evidence and measuring of a test, None where no table of it is drawn here."""
        facts = measuring(clustered_by="person" if self.of_persons else "record", seed=self.seed)
        canaries = {
            "language/exposure": lambda: ("canaries", canary_table(self.rng("exposure"), candidates=150)),
            "language/epsilon": lambda: ("canaries", drawn(self.rng("epsilon"), candidates=100)),
            "language/secret-search": lambda: ("search", searched(self.rng("search"), chance=self.rate)),
        }
        if test in canaries:
            name, (table, made) = canaries[test]()
            return {name: table}, measuring(canaries=made, seed=self.seed)
        drawn_here = {
            "language/discoverable-extraction": lambda: self.scored,
            "language/probabilistic-extraction": lambda: self.scored,
            "language/duplication": lambda: self.scored,
            "language/membership": lambda: score_tables(
                self.rng("membership"), RECORDS, RECORDS, clusters=5 if self.of_persons else None
            ),
            "language/near-verbatim": self.near,
            "language/corpus-match": lambda: self.generated,
            "language/open-generation": lambda: self.generated | {"listing": self.generated["floor"]},
            "language/works": self.whole_works,
            "language/divergence": self.diverged,
            "language/personal-data": self.identified,
            "language/compression": lambda: {
                "search": prompts_found(
                    self.rng("compression"), 40, 40, chance=self.rate, per_cluster=4 if self.of_persons else 1
                )
            },
            "dataset/duplicates": self.repeated,
            "dataset/personal-data": self.personal,
        }
        return (drawn_here[test](), facts) if test in drawn_here else None


def measured(entry: TestEntry, evidence: Evidence) -> Measurement | None:
    found = evidence.of(entry.test)
    if found is None:
        return None
    test = load("tests", entry.test)
    tables, facts = found
    measurement = test.measure(test.parameters.from_plain(entry.parameters), tables, facts)
    # A gate can only keep a signal back: without gates the count is of what the correction alone holds.
    return measurement.model_copy(update={"gates": ()})


def audit(seed: int) -> Audit:
    """Return what the battery says of one innocent subject.

    A test without a table here enters as the worst that a valid test can be: its p-value is uniform and its interval always lies
    above zero.
    """
    evidence, entries = Evidence(seed), battery()
    found = {entry.test: measured(entry, evidence) for entry in entries}
    pattern = next(one for one in found.values() if one is not None)
    confirmed = frozenset(name for name, one in found.items() if one is not None and one.confirmed)
    plain = {}
    for name, one in found.items():
        own = {}
        if one is None:
            above = pattern.excess.model_copy(update={"value": 1.0, "low": 1.0, "high": 1.0, "upper": None})
            own = {"test": name, "p_value": float(evidence.rng(name).random()), "excess": above, "confirmed": 0}
        plain[name] = (one or pattern).model_copy(update=own)
    alone = frozenset(name for name, one in plain.items() if one.p_value <= ALPHA and one.excess.low > 0.0)
    nobody = {name: one.model_copy(update={"confirmed": 0}) for name, one in plain.items()}
    return Audit(alone, _signals(entries, nobody), confirmed, _signals(entries, plain))


def _signals(entries: tuple[TestEntry, ...], plain: dict[str, Measurement]) -> frozenset[str]:
    findings = judge(entries, plain, (), confidence=1.0 - ALPHA)
    return frozenset(finding.test for finding in findings if finding.outcome is Outcome.SIGNAL)


def stood_in_for() -> tuple[str, ...]:
    """Return the tests that have no table here."""
    evidence = Evidence(0)
    return tuple(entry.test for entry in battery() if evidence.of(entry.test) is None)
