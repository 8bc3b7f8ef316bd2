"""Computes where a measured or declared fact disagrees with a statement.

Nothing contradicts from a finding that is invalid, was not run or does not apply. What stands in the data is a fact wherever it was
counted and the lower end of its interval is above zero. What the model gives out is held against a claim only as a signal, which is
corrected over the battery: below that it can be chance, or text that anybody could guess. A lower bound on epsilon refutes a claim at
its own level, which is printed with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.assess.claims import Claim, Kind, claims
from auditor.core.assessment import Contradiction
from auditor.core.finding import Outcome
from auditor.core.percentage import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from auditor.core.assessment import Statement
    from auditor.core.finding import Estimate, Finding, Measurement
    from auditor.core.subject import Subject

Parameters = dict[str, Any]
Fact = tuple[str | None, "Estimate | None", str]
"""The test that found it, what it found, and a clause of a sentence."""

_COUNTED = frozenset({Outcome.SIGNAL, Outcome.NO_SIGNAL, Outcome.INCONCLUSIVE})
"""Outcomes of findings whose numbers mean something."""
_BEYOND_CHANCE = ("e-mail address", "bank account (IBAN)")
"""Types of identifiers that a number made up for something else does not meet by chance."""

_KNOWN_BEFORE = frozenset({"language/compression"})
"""Tests whose search is given the text that comes out."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What the subject file declares."""

    release_context: str
    has_copies: bool
    """The members' file says how often each stood in training."""
    most_copies: int = 0
    """How often at most; 0: not looked at."""

    @classmethod
    def of(cls, subject: Subject) -> Declared:
        """Return what a subject declares; copies are then read from the findings."""
        return cls(subject.release_context.value, subject.members.has_copies)


def contradictions(
    statement: Statement, findings: Sequence[Finding], declared: Declared, parameters: Mapping[str, Parameters]
) -> tuple[Contradiction, ...]:
    """Return what disagrees with a statement, each with the finding, its number and its interval.

    Args:
        statement: The statement.
        findings: Every finding of the battery.
        declared: What the subject file declares.
        parameters: Parameters of the tests by name, defaults filled in.
    """
    counted = [item for item in findings if item.outcome in _COUNTED and item.measurement is not None]
    found = []
    for claim in claims(statement):
        facts = list(_FACTS[claim.kind](claim, counted, declared, parameters))
        said = f"Statement '{statement.id}' says {'that ' * (claim.kind not in _BARE)}{claim.words}"
        found += [
            Contradiction(
                statement=statement.id,
                key=claim.key,
                claim=claim.words,
                test=test,
                estimate=number,
                words=f"{said}; {what}.",
            )
            for test, number, what in facts
        ]
    return tuple(found)


_BARE = (Kind.DEDUPLICATED,)


def _interval(estimate: Estimate) -> str:
    share = estimate.unit == "ratio"
    low, high = (percent(end) if share else f"{end:.3g} {estimate.unit}" for end in (estimate.low, estimate.high))
    return f"{100 * estimate.level:g} % interval {low} to {high}"


def _number(estimate: Estimate) -> str:
    value = percent(estimate.value) if estimate.unit == "ratio" else f"{estimate.value:.3g} {estimate.unit}"
    return f"{value} ({_interval(estimate)})"


def _measured(findings: Sequence[Finding], statistic: str) -> Iterator[tuple[Finding, Measurement, Estimate]]:
    for finding in findings:
        measured = finding.measurement
        if measured is not None and measured.statistic == statistic and measured.estimate is not None:
            yield finding, measured, measured.estimate


def _duplicates(
    _claim: Claim, findings: Sequence[Finding], declared: Declared, _parameters: Mapping[str, Parameters]
) -> Iterator[Fact]:
    """Yield copies that the members' own file declares, and duplicates that were counted, whatever the controls have."""
    if declared.most_copies > 1:
        yield None, None, f"the members' own file declares records that stood in training {declared.most_copies} times"
    elif declared.has_copies:
        yield from _most_copies(findings)
    for finding, measured, number in _measured(findings, "excess_duplicates"):
        if number.low > 0.0:
            exact = [row.estimate.value for row in measured.strata if row.label == "word for word"]
            apart = f", {percent(exact[0])} word for word" if exact else ""
            yield (
                finding.test,
                number,
                (
                    f"{finding.test} found that {percent(number.value)} of the members it read have an exact or near duplicate "
                    f"among them{apart} (at least {percent(number.low)} have one; {_interval(number)})"
                ),
            )


def _most_copies(findings: Sequence[Finding]) -> Iterator[Fact]:
    rows = [
        (_size(row.label), finding, row)
        for finding in findings
        if finding.measurement is not None
        for row in finding.measurement.strata
        if row.by == "copies" and row.label != "1" and row.estimate.n > 0
    ]
    if not rows:
        return
    _, finding, row = max(rows, key=lambda item: item[0])  # the first in the battery of those with most copies
    yield (
        finding.test,
        row.estimate,
        (
            f"the members' own file declares records that stood in training {row.label} times: {finding.test} read "
            f"{row.estimate.n:,} of them apart, and its number for these is {_number(row.estimate)}"
        ),
    )


def _size(label: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", label)]


def _personal_data(
    _claim: Claim, findings: Sequence[Finding], _declared: Declared, _parameters: Mapping[str, Parameters]
) -> Iterator[Fact]:
    """Yield identifiers counted in the data beyond what chance explains, and persons whose identifiers came out."""
    for finding, measured, number in _measured(findings, "excess_identifiers"):
        types = [row for row in measured.strata if row.by == "type"]
        sure = [row for row in types if row.label in _BEYOND_CHANCE and row.estimate.low > 0.0]
        if number.low > 0.0 and (sure or not types):
            kinds = "; ".join(f"{row.label}: {_number(row.estimate)}" for row in sure)
            yield (
                finding.test,
                number,
                (
                    f"{finding.test} found structured identifiers in {_number(number)} of the members it read"
                    f"{f' ({kinds})' if kinds else ''}"
                ),
            )
    for finding, _, number in _measured(findings, "excess_persons"):
        if finding.outcome is Outcome.SIGNAL and number.value > 0.0:
            yield (
                finding.test,
                number,
                f"{finding.test} found that identifiers of {_number(number)} of the persons in the members come out",
            )


def _extracted(
    _claim: Claim, findings: Sequence[Finding], _declared: Declared, _parameters: Mapping[str, Parameters]
) -> Iterator[Fact]:
    """Yield the first test that extracted something; one that searches for a prompt of what it knows already extracts nothing."""
    for finding, _, number in _measured(findings, "excess_rate"):
        if finding.test not in _KNOWN_BEFORE and finding.outcome is Outcome.SIGNAL and number.value > 0.0:
            yield finding.test, number, f"{finding.test} extracted {_number(number)} of those tested"
            return


def _works(
    _claim: Claim, findings: Sequence[Finding], _declared: Declared, _parameters: Mapping[str, Parameters]
) -> Iterator[Fact]:
    for finding, _, number in _measured(findings, "excess_rate"):
        if finding.test == "language/works" and finding.outcome is Outcome.SIGNAL and number.value > 0.0:
            yield finding.test, number, f"{finding.test} found that {_number(number)} of a work comes out on average"


def _epsilon(
    claim: Claim, findings: Sequence[Finding], _declared: Declared, parameters: Mapping[str, Parameters]
) -> Iterator[Fact]:
    """Yield lower bounds above the declared epsilon, of a kind that speaks to it.

    A bound for single records refutes privacy for persons, too, and not the other way round. A bound at some delta refutes privacy with
    that delta or a smaller one. Where the unit or the delta of a test is not known, it refutes nothing.
    """
    for finding, measured, number in _measured(findings, "epsilon_lower"):
        settings = parameters.get(finding.test, {})
        unit, delta = settings.get("unit"), settings.get("delta")
        if unit not in {"record", claim.unit} or not isinstance(delta, int | float):
            continue
        held = all(gate.held for gate in measured.gates)
        if held and claim.delta <= delta and number.low > claim.epsilon:
            yield (
                finding.test,
                number,
                (
                    f"{finding.test} finds that epsilon is at least {number.low:.3g} for one {unit} at delta {delta:g} "
                    f"({_interval(number)})"
                ),
            )


def _context(
    claim: Claim, _findings: Sequence[Finding], declared: Declared, _parameters: Mapping[str, Parameters]
) -> Iterator[Fact]:
    if claim.context != declared.release_context:
        yield None, None, f"the subject file declares {declared.release_context}"


_FACTS: dict[Kind, Callable[[Claim, Sequence[Finding], Declared, Mapping[str, Parameters]], Iterator[Fact]]] = {
    Kind.DEDUPLICATED: _duplicates,
    Kind.NO_PERSONAL_DATA: _personal_data,
    Kind.NOTHING_EXTRACTED: _extracted,
    Kind.NO_WORKS: _works,
    Kind.EPSILON: _epsilon,
    Kind.CONTEXT: _context,
}
