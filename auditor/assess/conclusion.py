"""The sentences a report may conclude with: templates with numbers, and no other words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.assess.prongs import confirmed_in
from auditor.assess.wording import (
    FORBIDDEN,
    Foreign,
    chance,
    clauses_named,
    forbidden_words,
    numbers,
    overclaims,
    say,
    shares,
    shortened,
    tests_named,
)
from auditor.core.assessment import StatementState
from auditor.core.finding import Estimate, Finding, Outcome
from auditor.core.percentage import percent

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from auditor.core.assessment import ClauseState
    from auditor.core.policy import Policy
    from auditor.core.reading import AssumedAccess, Conversion, ExposedPart, FormalBound, ProngState
    from auditor.core.subject import Subject

__all__ = ["FORBIDDEN", "Readings", "conclude", "forbidden_words", "limits", "overclaims", "triggers"]

_NO_SIGNAL = (
    "For the model and data identified in this report, under the access, knowledge and budget it states, the tests "
    "listed as run showed no leakage above the declared tolerances: {tests}. This is evidence about those tests only. "
    "Whether any legal duty is met is for the controller and the supervisory authority to assess."
)
_NO_SIGNAL_OF_DATA = (
    "Of the training data alone: {tests} found no more in it, above the control records, than the declared tolerances allow. No model was "
    "asked, so this is no evidence of what one gives away. Whether any legal duty is met is for the controller and the supervisory "
    "authority to assess."
)
_SIGNAL = "{test} shows more about the training records than about its control: {answer}"
_CAME_OUT = "{test} brought out training records, checked against its control: {answer}"
_IN_THE_DATA = "{test} found it in the training data more often than in the control records: {answer}"
_NOT_SUPPORTED = (
    "A claim that the likelihood of obtaining training data is insignificant is not supported by this evidence for the "
    "access tested."
)
_DECIDE = "A person must decide whether Art. 33 GDPR (notification of a breach) applies; its 72 hours may have begun."
_LOOK = "A person must look at them and decide whether Art. 33 GDPR (notification of a breach) applies; its 72 hours may have begun."
_CONFIRMED = f"Records of at least {{count}} real {{noun}} came out. {_DECIDE}"
_CONFIRMED_IN_DOUBT = f"{{tests}}: a control failed, and records came out that may be of real persons. {_LOOK}"
_CONFIRMED_UNDECIDED = f"{{tests}}: no signal is called, and records came out that may be of real persons. {_LOOK}"
_OF_PERSONS = (
    "{tests}: training records came out, the records are of persons, and none was confirmed one by one against the controls. "
    f"{_LOOK}"
)
_OF_WHOM = (
    "{tests}: training records came out, and the subject file does not say which persons they are about. If they are about persons, "
    "a person must decide whether Art. 33 GDPR (notification of a breach) applies; its 72 hours may have begun."
)
_PART = "{test} found most for {by} {label}: {part} over {units:,} independent units{control}; {whole} over all of the data."
_PART_BEYOND = (
    "{test} bounds an average over all of the data, and not each part of it: for {by} {label} ({units:,} independent units) the bound "
    "is {bound}, above what is tolerated."
)
_PER_QUERY = (
    "{test} measured single queries: one brings out {what} with probability {once}; {subject:,} independent queries made so, as "
    "declared for one person or work, do at least once with probability {per_subject}, and the {lifetime:,} declared over the lifetime "
    "with {over}{control}."
)
_UNRESOLVED = (
    "The evidence does not allow a statement either way for {tests}. No conclusion of low likelihood may be drawn "
    "from the absence of a finding."
)
_UNRESOLVED_OF_DATA = (
    "Of the training data alone, the evidence does not allow a statement either way for {tests}: neither that more stands in it than in "
    "the control records, nor that it stays within the tolerances."
)
_INVALID = "{tests}: a control failed, so the numbers mean nothing and are shown only for inspection."
_INVALID_OF_DATA = (
    "{tests}: a control failed, so the numbers on the training data mean nothing and are shown only for inspection."
)
_NOT_RUN = "Asked for and not done: {tests}. This report is no evidence about them."
_NOT_APPLICABLE = "Declared not applicable by a person, and not done: {tests}. This report is no evidence about them."
_MISSING = "Statements that the policy asks for are missing for {clauses}."
_CONTRADICTED = "Measured facts disagree with the controller's statements on {clauses}."

_EXFILTRATION = (
    "\u201cExfiltration\u201d (paragraph 55) is not defined there; this report reads it as training data leaving through "
    "the declared interface under a budget. Theft of the weights is outside it."
)
_ACCESS = (
    "Assumed is access to the model's {assumed}, {why}. Lack of motive and terms of a contract lower no outcome; tests that need more stay "
    "evidence about the parameters."
)
_ONE_ABOVE = "one level above the {declared} that the declared release context gives"
_ALREADY_MOST = "the most there is, as the declared release context gives them away"


@dataclass(frozen=True, slots=True)
class Readings:
    """What is read out of the findings beside the states of clauses."""

    prongs: tuple[ProngState, ...] = ()
    parts: tuple[ExposedPart, ...] = ()
    conversions: tuple[Conversion, ...] = ()
    bounds: tuple[FormalBound, ...] = ()
    bring_out: frozenset[str] = frozenset()
    """Tests that bring out records where they succeed."""
    by_person: bool = False
    """The subject file says which person each member is about."""


def conclude(
    findings: Sequence[Finding], clauses: Sequence[ClauseState], readings: Readings | None = None
) -> tuple[str, ...]:
    """Return the conclusions, the gravest first; no word of `FORBIDDEN` is in them, whatever a test calls or says itself.

    Args:
        findings: The findings of the battery.
        clauses: The states of the clauses.
        readings: What is read out of the findings beside them; None: nothing.
    """
    readings = readings or Readings()
    signals = [finding for finding in findings if finding.outcome is Outcome.SIGNAL]
    sentences = [
        say(_template(finding), test=tests_named([finding.test]), answer=_answered(finding)) for finding in signals
    ]
    if any(not _of_the_data(finding) for finding in signals):
        sentences.append(_NOT_SUPPORTED)
    sentences += _persons(findings, readings)
    sentences += [state.sentence for state in readings.prongs]
    sentences += _parts(findings, readings.parts)
    sentences += _by_queries(readings.conversions)
    for outcome, template, of_data in (
        (Outcome.INVALID, _INVALID, _INVALID_OF_DATA),
        (Outcome.NOT_RUN, _NOT_RUN, _NOT_RUN),
        (Outcome.INCONCLUSIVE, _UNRESOLVED, _UNRESOLVED_OF_DATA),
        (Outcome.NO_SIGNAL, _NO_SIGNAL, _NO_SIGNAL_OF_DATA),
        (Outcome.NOT_APPLICABLE, _NOT_APPLICABLE, _NOT_APPLICABLE),
    ):
        reached = [finding for finding in findings if finding.outcome is outcome]
        for said, tests in (
            (template, [finding.test for finding in reached if not _of_the_data(finding)]),
            (of_data, [finding.test for finding in reached if _of_the_data(finding)]),
        ):
            if tests:
                sentences.append(say(said, tests=tests_named(tests)))
    for state, template in ((StatementState.CONTRADICTED, _CONTRADICTED), (StatementState.MISSING, _MISSING)):
        ids = [item.clause.id for item in clauses if item.statement is state]
        if ids:
            sentences.append(say(template, clauses=clauses_named(ids)))
    return (*sentences, *(bound.sentence for bound in readings.bounds))


def _answered(finding: Finding) -> Foreign:
    """Return the answer of a test in its own words, and as bare numbers where the words could not stand here."""
    measured = finding.measurement
    if measured is None:
        return Foreign("no number is given.", "no number is given.")
    if measured.estimate is None:
        return Foreign(shortened(measured.answer), "see the finding.")
    control = f"; control {numbers(measured.control)}" if measured.control is not None else ""
    return Foreign(shortened(measured.answer), f"{numbers(measured.estimate)}{control}.")


def _persons(findings: Sequence[Finding], readings: Readings) -> list[str]:
    """Return the question of Art. 33 GDPR, whichever way records came out: a test raises it, a person answers it."""
    ways: dict[str, list[str]] = {}
    for finding in findings:
        ways.setdefault(_way(finding, readings), []).append(finding.test)
    sentences = []
    if "sure" in ways:
        sure = max(confirmed_in(finding) for finding in findings if finding.test in ways["sure"])
        sentences.append(say(_CONFIRMED, count=sure, noun="person" if sure == 1 else "persons"))
    elif "open" in ways:  # where a person is confirmed the question is put already
        sentences.append(say(_OF_PERSONS if readings.by_person else _OF_WHOM, tests=tests_named(ways["open"])))
    for way, template in (("in doubt", _CONFIRMED_IN_DOUBT), ("undecided", _CONFIRMED_UNDECIDED)):
        if way in ways:
            sentences.append(say(template, tests=tests_named(ways[way])))
    return sentences


def _way(finding: Finding, readings: Readings) -> str:
    """Return how records of persons came out under a test; empty where nothing says that they did."""
    if finding.measurement is None:
        return ""
    confirmed, came_out = confirmed_in(finding), _came_out(finding, readings.bring_out)
    if finding.outcome is Outcome.INVALID:
        return "in doubt" if confirmed or (readings.by_person and came_out) else ""
    if confirmed:
        return "sure" if finding.outcome is Outcome.SIGNAL else "undecided"
    return "open" if finding.outcome is Outcome.SIGNAL and came_out else ""


def _came_out(finding: Finding, bring_out: frozenset[str]) -> bool:
    """Return whether something of the members' records came out of the model; canaries are nobody's, data gave nothing away."""
    measured = finding.measurement
    if measured is None or _of_the_data(finding) or (measured.canaries and not measured.members):
        return False
    brings = finding.test in bring_out or bool(measured.exhibits)
    return brings and (measured.estimate is None or measured.estimate.value > 0.0)


def _parts(findings: Sequence[Finding], parts: Sequence[ExposedPart]) -> list[str]:
    """Return the most exposed part under each signal, and each part in which a bound over all does not hold."""
    outcomes = {finding.test: finding.outcome for finding in findings}
    sentences = []
    for item in parts:
        words: dict[str, Foreign | str | float] = {
            "test": tests_named([item.test]),
            "by": Foreign(shortened(item.by), "a part"),
            "label": Foreign(shortened(item.label), "whose name stands under the finding"),
            "units": item.estimate.n,
        }
        outcome = outcomes.get(item.test)
        if outcome is Outcome.SIGNAL and item.estimate.value > item.whole.value:
            control = f"; control {shares(item.control)}" if item.control is not None else ""
            sentences.append(say(_PART, **words, part=shares(item.estimate), control=control, whole=shares(item.whole)))
        elif outcome is Outcome.NO_SIGNAL and item.within is False:
            sentences.append(say(_PART_BEYOND, **words, bound=_bound(item.estimate)))
    return sentences


def _bound(found: Estimate) -> str:
    return percent(found.bound) if found.unit == "ratio" else f"{found.bound:.3g}"


def _by_queries(found: Sequence[Conversion]) -> list[str]:
    """Return what a probability of one query becomes when the model is asked as often as declared; the first of each test."""
    sentences = []
    for item in {item.test: item for item in reversed(found)}.values():
        control = (
            f"; control {chance(item.control_lifetime)} over the lifetime" if item.control_lifetime is not None else ""
        )
        sentences.append(
            say(
                _PER_QUERY,
                test=tests_named([item.test]),
                what=Foreign(shortened(item.what), "what stands under its finding"),
                once=chance(item.per_query),
                subject=item.subject_queries,
                per_subject=chance(item.per_subject),
                lifetime=item.lifetime_queries,
                over=chance(item.lifetime),
                control=control,
            )
        )
    return sentences[::-1]


def _of_the_data(finding: Finding) -> bool:
    """Return whether a test looked at the data alone: what it finds is nothing that a model gave away."""
    return finding.measurement is not None and finding.measurement.access == "data"


def _template(finding: Finding) -> str:
    if _of_the_data(finding):
        return _IN_THE_DATA
    return _CAME_OUT if finding.measurement is not None and finding.measurement.confirmed else _SIGNAL


def limits(subject: Subject, findings: Sequence[Finding], access: AssumedAccess) -> tuple[str, ...]:
    """Return what no reader may take from the report."""
    why = _ALREADY_MOST if access.assumed == access.declared else _ONE_ABOVE.format(declared=access.declared)
    found = [
        "Tests show resistance to the attacks they are, and to no others (EDPB Opinion 28/2024, paragraph 55).",
        "A sample bounds an average or a stratum, not every person; only a census or a formal bound speaks to all.",
        "The tolerances are the controller's or engineering defaults; no regulator has set a number.",
        f"The release context ({subject.release_context.value}) is declared by a person and was not inferred.",
        _ACCESS.format(assumed=access.assumed, why=why),
        _EXFILTRATION,
    ]
    if subject.controls is None:
        found.append("No control records were supplied: no excess could be measured.")
    elif subject.controls_drawn != "at-random-before-training":
        found.append(
            "The controls were not declared to be drawn at random before training; members and controls may differ."
        )
    if subject.overlap:
        found.append(f"{len(subject.overlap)} control records also stand among the members and were left out.")
    if any(finding.outcome is Outcome.NOT_RUN for finding in findings):
        found.append("Some tests were asked for and not run; what they would have shown is unknown.")
    return tuple(found)


def triggers(policy: Policy, created: dt.date) -> tuple[str, ...]:
    """Return until when the report may be relied on, and what ends that sooner (rule R15)."""
    months = created.month - 1 + policy.valid_months
    year, month = created.year + months // 12, months % 12 + 1
    until = f"{year:04d}-{month:02d}-{min(created.day, 28):02d}"
    return (
        f"Test again by {until}.",
        "New weights, a new adapter or a further training run.",
        "A new or changed output measure.",
        "A wider release than the declared one.",
        "A published attack on a comparable model.",
        "An incident.",
    )
