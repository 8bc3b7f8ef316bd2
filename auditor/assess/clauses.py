"""Gives each clause its state: the worst outcome among its tests, and whether its statement is there.

Rules R5 and R14: the worst state wins, one confirmed record of a real person is a signal for the prong it is evidence about, whatever
the average, the prongs stay apart, and there is no score. `docs/assessment.md` says where each rule is enforced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.assess.access import assumed_access
from auditor.assess.attack_classes import attack_class_states, attack_classes_not_tested, bring_out
from auditor.assess.by_queries import conversions
from auditor.assess.conclusion import Readings, conclude, limits, triggers
from auditor.assess.contradiction import Declared, contradictions
from auditor.assess.formal_bound import formal_bounds
from auditor.assess.parts import exposed_parts
from auditor.assess.prongs import confirmed_in, prong_states
from auditor.assess.severity import worst
from auditor.core.assessment import Assessment, ClauseState, Contradiction, Statement, StatementState
from auditor.core.clause import Clause, ClauseKind
from auditor.core.finding import Finding, Outcome
from auditor.errors import EXIT_CLEAR, EXIT_SIGNAL, EXIT_UNRESOLVED

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from auditor.assess.contradiction import Parameters
    from auditor.core.clause import AttackClass, Catalogue
    from auditor.core.policy import Policy
    from auditor.core.subject import Subject


def assess(
    policy: Policy,
    catalogues: Sequence[Catalogue],
    findings: Sequence[Finding],
    statements: Sequence[Statement],
    subject: Subject,
    *,
    created: dt.date,
    classes: Sequence[AttackClass] = (),
    parameters: Mapping[str, Parameters] | None = None,
) -> Assessment:
    """Return the assessment of every clause of the policy's catalogues.

    Args:
        policy: The policy.
        catalogues: Its clause catalogues.
        findings: The findings of its battery.
        statements: The controller's statements.
        subject: What was audited.
        created: The day of the audit, from which its validity counts.
        classes: The attack classes that the clauses speak of.
        parameters: Parameters of the tests by name, defaults filled in; None: nothing that rests on them is said.
    """
    said = said_of(catalogues, statements)
    against = {item.id: contradictions(item, findings, Declared.of(subject), parameters or {}) for item in statements}
    attacks = attack_class_states(catalogues, classes, findings)
    speaking = _Speaking(policy, findings)
    states = tuple(
        _state(clause, catalogue.id, speaking, said.get(clause.id, ()), against)
        for catalogue in catalogues
        for clause in catalogue.clauses
    )
    access = assumed_access(subject.release_context, findings)
    refuted = frozenset(item.statement for found in against.values() for item in found if item.key == "epsilon")
    readings = Readings(
        prongs=prong_states(states, findings, access),
        parts=exposed_parts(findings),
        conversions=conversions(findings, policy.queries),
        bounds=formal_bounds(statements, findings, refuted),
        bring_out=bring_out(classes),
        by_person=subject.members.clustered_by == "person",
    )
    return Assessment(
        clauses=states,
        conclusion=conclude(findings, states, readings),
        prongs=readings.prongs,
        access=access,
        conversions=readings.conversions,
        exposed_parts=readings.parts,
        formal_bounds=readings.bounds,
        attack_classes=attacks,
        attack_classes_not_tested=attack_classes_not_tested(catalogues, attacks, findings),
        limits=limits(subject, findings, access),
        triggers=triggers(policy, created),
        exit_code=exit_code(findings),
    )


def exit_code(findings: Sequence[Finding]) -> int:
    """Return the exit code of an audit: a signal outweighs everything, then what is required and unresolved."""
    if any(finding.outcome is Outcome.SIGNAL for finding in findings):
        return EXIT_SIGNAL
    unresolved = {Outcome.INCONCLUSIVE, Outcome.INVALID, Outcome.NOT_RUN}
    if any(finding.required and finding.outcome in unresolved for finding in findings):
        return EXIT_UNRESOLVED
    return EXIT_CLEAR


def said_of(catalogues: Sequence[Catalogue], statements: Sequence[Statement]) -> dict[str, tuple[Statement, ...]]:
    """Return the statements that answer each clause of the catalogues, by its id."""
    known = {clause.id for catalogue in catalogues for clause in catalogue.clauses}
    found: dict[str, list[Statement]] = {}
    for statement in statements:
        for name in dict.fromkeys(statement.clauses):
            if name in known:
                found.setdefault(name, []).append(statement)
    return {name: tuple(own) for name, own in found.items()}


def unanswered(clause: Clause, own: Sequence[Statement]) -> tuple[str, ...]:
    """Return the keys that a clause asks and that none of its statements answers; none where all are in free text."""
    written = [statement for statement in own if statement.form]
    if clause.statement is None or not written:
        return ()
    answered = {key for statement in written for key in statement.answers}
    return tuple(key for key in clause.statement.asks if key not in answered)


def of_clause(clause: Clause, own: Sequence[Statement], found: Sequence[Contradiction]) -> tuple[Contradiction, ...]:
    """Return the contradictions that concern a clause: those of the answers it asks, and of words that answer no one clause's question."""
    asks = set(clause.statement.asks) if clause.statement is not None else set()
    free = {statement.id for statement in own if not statement.form}
    return tuple(item for item in found if not item.key or item.key in asks or item.statement in free)


class _Speaking:
    """Which findings speak to which clause, and what the policy asks; looked up, as there may be very many clauses."""

    def __init__(self, policy: Policy, findings: Sequence[Finding]) -> None:
        self.asked = frozenset(policy.statements or ())
        self.families = {_family(entry.test) for entry in policy.tests}
        self._by_clause: dict[str, list[Finding]] = {}
        for finding in findings:
            for name in dict.fromkeys(finding.evidence_for):
                self._by_clause.setdefault(name, []).append(finding)
        self._findings = findings

    def to(self, clause: Clause) -> list[Finding]:
        """Return the findings that speak to a clause, in the order of the battery.

        One confirmed record of a real person counts for a prong that names its test, whatever clauses the policy maps the test to.
        """
        if clause.kind is ClauseKind.INTERPRETIVE:
            return []
        mapped = self._by_clause.get(clause.id, [])
        if clause.prong is None:
            return mapped
        names = {finding.test for finding in mapped}
        return [item for item in self._findings if item.test in names or _shows_person(item, clause)]


def _shows_person(finding: Finding, clause: Clause) -> bool:
    named = clause.every_test or finding.test in clause.tests
    return named and finding.outcome is Outcome.SIGNAL and confirmed_in(finding) > 0


def _state(
    clause: Clause,
    catalogue: str,
    among: _Speaking,
    own: Sequence[Statement],
    against: Mapping[str, tuple[Contradiction, ...]],
) -> ClauseState:
    speaking = among.to(clause)
    outcome = worst([finding.outcome for finding in speaking])
    decided = tuple(finding.test for finding in speaking if finding.outcome is outcome)
    conflicts = of_clause(clause, own, [item for statement in own for item in against[statement.id]])
    state: StatementState | None = None
    if clause.statement is not None and (own or clause.id in among.asked):
        state = StatementState.SUPPLIED if own else StatementState.MISSING
    if conflicts:  # also where the clause asks no statement: what was said and is not so is never left out
        state = StatementState.CONTRADICTED
    return ClauseState(
        clause=clause,
        catalogue=catalogue,
        outcome=outcome,
        decided_by=decided,
        tests=tuple(finding.test for finding in speaking),
        statement=state,
        statement_ids=tuple(statement.id for statement in own),
        unanswered=unanswered(clause, own),
        contradiction=" ".join(item.words for item in conflicts),
        contradictions=conflicts,
        rationale=_rationale(clause, speaking, outcome, decided, among.families),
    )


def _family(test: str) -> str:
    return test.partition("/")[0]


def _rationale(
    clause: Clause, speaking: Sequence[Finding], outcome: Outcome | None, decided: Sequence[str], families: set[str]
) -> str:
    """Return why the clause is in its state; what is missing is named among the families of tests that the policy has."""
    if clause.kind is ClauseKind.INTERPRETIVE:
        return "Frames the report; it is printed and not scored."
    if clause.kind is ClauseKind.DOCUMENTARY:
        against = f" What {', '.join(clause.tests)} find can contradict it." if clause.tests else ""
        return f"No test can answer it; it rests on the controller's statement.{against}"
    measured = {finding.test for finding in speaking if finding.measurement is not None}
    named = [name for name in clause.tests if _family(name) in families] or clause.tests
    missing = [*(name for name in named if name not in measured), *clause.attack_classes]
    untested = f" Named by the clause and not tested here: {', '.join(missing)}." if missing else ""
    if outcome is not None:
        among = (
            "The outcome of the one test" if len(speaking) == 1 else f"The worst outcome among {len(speaking)} tests"
        )
        return f"{among} is {outcome.value}: {', '.join(decided)}.{untested}"
    if speaking:
        return f"Every test of the policy that speaks to it was declared not applicable.{untested}"
    if missing:
        return f"Not tested: no test of this policy speaks to it. This report is no evidence about it.{untested}"
    return "No test can answer it; it rests on the controller's statement."
