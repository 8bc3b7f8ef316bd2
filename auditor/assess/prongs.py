"""Keeps the two ways to obtain training data apart (rules R5 and R14): extraction from the model, and queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from auditor.assess.access import OF_QUERIES, level
from auditor.assess.severity import WORST_FIRST, worst
from auditor.assess.wording import clauses_named, say, tests_named
from auditor.core.finding import Outcome
from auditor.core.reading import ProngState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.assessment import ClauseState
    from auditor.core.finding import Finding
    from auditor.core.reading import AssumedAccess

Prong = Literal[1, 2]
PRONGS: tuple[Prong, ...] = (1, 2)

NAMES: dict[Prong, str] = {
    1: "Prong 1, direct extraction of training data from the model",
    2: "Prong 2, training data obtained from queries, intentionally or not",
}

STATES: dict[Outcome, str] = {
    Outcome.SIGNAL: (
        "{prong} ({clauses}): signal, shown by {tests}. A claim that the likelihood is insignificant for any person is not supported "
        "by this evidence."
    ),
    Outcome.INVALID: "{prong} ({clauses}): invalid, because a control failed for {tests}. Nothing can be concluded about it.",
    Outcome.NOT_RUN: (
        "{prong} ({clauses}): not run, for {tests}. What they would have shown is unknown, and no conclusion of low likelihood may be "
        "drawn."
    ),
    Outcome.INCONCLUSIVE: (
        "{prong} ({clauses}): inconclusive, by {tests}. The evidence does not allow a statement either way, and no conclusion of low "
        "likelihood may be drawn from the absence of a finding."
    ),
    Outcome.NO_SIGNAL: (
        "{prong} ({clauses}): no signal above the declared tolerances, by {tests}. It bounds averages over a sample of records, not "
        "every person, and speaks of these tests only."
    ),
}
NO_TEST = "{prong} ({clauses}): no test of this policy speaks to it. This report is no evidence about it."
NOT_APPLICABLE = (
    "{prong} ({clauses}): every test that speaks to it ({tests}) was declared not applicable by a person. This report is no evidence "
    "about it."
)
PERSONS = "Records of at least {count} real {noun} came out, and one is enough, whatever the average."
BESIDE = "Beside it: {rest}."
BESIDE_ONE = "{outcome} for {tests}"
NOT_REACHED = "None of its tests measured under the access assumed ({access}); what such access brings out is unknown."
BEYOND = "More than the access assumed ({access}) was needed by {tests}: what that shows stays evidence about the parameters."
WORDS = {
    Outcome.SIGNAL: "signal",
    Outcome.INVALID: "invalid",
    Outcome.NOT_RUN: "not run",
    Outcome.INCONCLUSIVE: "inconclusive",
    Outcome.NO_SIGNAL: "no signal",
}


def prong_states(
    states: Sequence[ClauseState], findings: Sequence[Finding], access: AssumedAccess
) -> tuple[ProngState, ...]:
    """Return the state of each prong that a clause is about, each with its own sentence.

    Args:
        states: States of the clauses; those about a prong decide.
        findings: The findings of the battery.
        access: The access assumed.
    """
    found = []
    for prong in PRONGS:
        about = [state for state in states if state.clause.prong == prong]
        if about:
            tests = {test for state in about for test in state.tests}
            found.append(_state(prong, about, [item for item in findings if item.test in tests], access))
    return tuple(found)


def _state(
    prong: Prong, about: Sequence[ClauseState], speaking: Sequence[Finding], access: AssumedAccess
) -> ProngState:
    outcome = worst([finding.outcome for finding in speaking])
    wanted = level(access.assumed) if prong == 1 else min(level(access.assumed), level(OF_QUERIES))
    measured = [finding for finding in speaking if finding.measurement is not None]
    needs = {item.test: item.access for item in access.tests}
    state = ProngState(
        prong=prong,
        clauses=tuple(item.clause.id for item in about),
        outcome=outcome,
        decided_by=tuple(finding.test for finding in speaking if finding.outcome is outcome),
        tests=tuple(finding.test for finding in speaking),
        beyond=tuple(item.test for item in measured if level(needs.get(item.test)) > level(access.assumed)),
        reached=any(level(needs.get(item.test)) >= wanted for item in measured),
        confirmed=max((confirmed_in(item) for item in measured if item.outcome is Outcome.SIGNAL), default=0),
        sentence="-",
    )
    unknown = all(needs.get(item.test) is None for item in measured)
    return state.model_copy(update={"sentence": _sentence(state, speaking, access, unknown=unknown)})


def confirmed_in(finding: Finding) -> int:
    """Return how many real persons' records came out for sure under a test."""
    return finding.measurement.confirmed if finding.measurement is not None else 0


def _sentence(state: ProngState, speaking: Sequence[Finding], access: AssumedAccess, *, unknown: bool) -> str:
    """Return state, tests and meaning of a prong.

    Args:
        state: Its state.
        speaking: The findings that are evidence about it.
        access: The access assumed.
        unknown: No test says what it needed to see.
    """
    head, ids = NAMES[state.prong], clauses_named(state.clauses)
    if state.outcome is None:
        template = NOT_APPLICABLE if speaking else NO_TEST
        return say(template, prong=head, clauses=ids, tests=tests_named(state.tests))
    said = [say(STATES[state.outcome], prong=head, clauses=ids, tests=tests_named(state.decided_by))]
    if state.confirmed:
        said.append(say(PERSONS, count=state.confirmed, noun="person" if state.confirmed == 1 else "persons"))
    rest = [
        say(BESIDE_ONE, outcome=WORDS[outcome], tests=tests_named(tests))
        for outcome in WORST_FIRST
        if outcome is not state.outcome
        and (tests := [finding.test for finding in speaking if finding.outcome is outcome])
    ]
    if rest:
        said.append(BESIDE.format(rest="; ".join(rest)))
    if not state.reached and not unknown and state.outcome in {Outcome.NO_SIGNAL, Outcome.INCONCLUSIVE}:
        assumed = access.assumed if state.prong == 1 or level(access.assumed) <= level(OF_QUERIES) else OF_QUERIES
        said.append(say(NOT_REACHED, access=assumed))
    if state.beyond:
        said.append(say(BEYOND, access=access.assumed, tests=tests_named(state.beyond)))
    return " ".join(said)
