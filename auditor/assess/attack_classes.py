"""Names every attack class that the clauses speak of, tested or not: success says something about the tested ones alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.assess.severity import worst
from auditor.core.assessment import AttackClassState
from auditor.core.finding import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.clause import AttackClass, Catalogue
    from auditor.core.finding import Finding

_NO_TEST = "there is no test of it here"
_NOT_ASKED = "not asked for by this policy"
_REASONS: dict[Outcome | None, str] = {
    Outcome.NOT_RUN: "asked for and not run",
    Outcome.NOT_APPLICABLE: "declared not applicable",
}


def attack_class_states(
    catalogues: Sequence[Catalogue], classes: Sequence[AttackClass], findings: Sequence[Finding]
) -> tuple[AttackClassState, ...]:
    """Return the state of every attack class that a clause speaks of, in the order of their file.

    What is about how tests are made, the controls of the instrument, is no attack and is left out.
    """
    spoken_of = {name for catalogue in catalogues for clause in catalogue.clauses for name in clause.classes}
    return tuple(_state(item, findings) for item in classes if item.id in spoken_of and not item.every_test)


def bring_out(classes: Sequence[AttackClass]) -> frozenset[str]:
    """Return the tests of attack classes that bring out records where they succeed."""
    return frozenset(test for item in classes if item.brings_out for test in item.tests)


def _state(item: AttackClass, findings: Sequence[Finding]) -> AttackClassState:
    asked = [finding for finding in findings if finding.test in item.tests]
    measured = tuple(finding.test for finding in asked if finding.measurement is not None)
    why = ""
    if not item.tests:
        why = _NO_TEST
    elif not asked:
        why = _NOT_ASKED
    elif not measured:
        why = _REASONS.get(asked[0].outcome, _REASONS[Outcome.NOT_RUN])
    return AttackClassState(
        id=item.id,
        name=item.name,
        tests=tuple(finding.test for finding in asked),
        outcome=worst([finding.outcome for finding in asked]),
        not_tested=why,
    )


def attack_classes_not_tested(
    catalogues: Sequence[Catalogue], states: Sequence[AttackClassState], findings: Sequence[Finding]
) -> tuple[str, ...]:
    """Return what the clauses speak of and nothing here tested, each with the reason.

    These are the attack classes without a measured test, and what clauses name outside every class: tests that the policy leaves
    out or that measured nothing. A shorter policy has a longer list.
    """
    outcomes = {finding.test: finding.outcome for finding in findings}
    clauses = [clause for catalogue in catalogues for clause in catalogue.clauses]
    known = {state.name for state in states}
    untested = [f"{state.name} ({state.not_tested})" for state in states if state.not_tested]
    alone = dict.fromkeys(name for clause in clauses if not clause.classes for name in clause.tests)
    reasons = {**_REASONS, None: _NOT_ASKED}
    left_out = [f"{name} ({reasons[outcomes.get(name)]})" for name in alone if outcomes.get(name) in reasons]
    named = [name for clause in clauses for name in clause.attack_classes if name not in known]
    return tuple(dict.fromkeys([*untested, *left_out, *named]))
