"""The sentences a report may conclude with: templates with numbers, and no other words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from auditor.core.assessment import StatementState
from auditor.core.finding import Estimate, Finding, Outcome

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from auditor.core.assessment import ClauseState
    from auditor.core.policy import Policy
    from auditor.core.subject import Subject

FORBIDDEN = (
    "compliant",
    "non-compliant",
    "anonymous",
    "anonymised",
    "de-identified",
    "de-personalised",
    "certified",
    "guaranteed",
    "safe",
    "GDPR-proof",
    "passes EDPB",
    "zero risk",
)
"""Words that cannot stand in a conclusion: no test can carry them."""

_FORBIDDEN = re.compile(
    "(?<![a-z0-9])(?:" + "|".join(r"\s+".join(map(re.escape, word.split())) for word in FORBIDDEN) + ")(?![a-z0-9])",
    re.IGNORECASE,
)

_NO_SIGNAL = (
    "For the model and data identified in this report, under the access, knowledge and budget it states, the tests "
    "listed as run showed no leakage above the declared tolerances: {tests}. This is evidence about those tests only. "
    "Whether any legal duty is met is for the controller and the supervisory authority to assess."
)
_SIGNAL = "{test} shows more about the training records than about its control: {answer}"
_CAME_OUT = "{test} brought out training records, checked against its control: {answer}"
_IN_THE_DATA = "{test} found it in the training data more often than in the control records: {answer}"
_NOT_SUPPORTED = (
    "A claim that the likelihood of obtaining training data is insignificant is not supported by this evidence for the "
    "access tested."
)
_CONFIRMED = (
    "Records of at least {count} real {noun} came out. A person must decide whether Art. 33 GDPR (notification of a "
    "breach) applies; its 72 hours may have begun."
)
_CONFIRMED_IN_DOUBT = (
    "{tests}: a control failed, and records came out that may be of real persons. A person must look at them and decide "
    "whether Art. 33 GDPR (notification of a breach) applies; its 72 hours may have begun."
)
_UNRESOLVED = (
    "The evidence does not allow a statement either way for {tests}. No conclusion of low likelihood may be drawn "
    "from the absence of a finding."
)
_INVALID = "{tests}: a control failed, so the numbers mean nothing and are shown only for inspection."
_NOT_RUN = "Asked for and not done: {tests}. This report is no evidence about them."
_MISSING = "Statements that the policy asks for are missing for {clauses}."
_CONTRADICTED = "Measured facts disagree with the controller's statements on {clauses}."

_EXFILTRATION = (
    "\u201cExfiltration\u201d (paragraph 55) is not defined there; this report reads it as training data leaving through "
    "the declared interface under a budget. Theft of the weights is outside it."
)


def forbidden_words(text: str) -> tuple[str, ...]:
    """Return the words in a text that cannot stand in a conclusion, as they are written there."""
    return tuple(match.group() for match in _FORBIDDEN.finditer(text))


def _named(tests: Sequence[str]) -> str:
    """Return the names of tests; a third party chose them, so a name is held to the same words."""
    return ", ".join("a test whose name stands under its finding" if forbidden_words(name) else name for name in tests)


def _answered(finding: Finding) -> str:
    """Return the answer of a test in its own words, or as bare numbers where the words could not stand here."""
    measured = finding.measurement
    if measured is None:
        return "no number is given."
    if not forbidden_words(measured.answer):
        return measured.answer
    if measured.estimate is None:
        return "see the finding."
    control = f"; control {_numbers(measured.control)}" if measured.control is not None else ""
    return f"{_numbers(measured.estimate)}{control}."


def _numbers(estimate: Estimate) -> str:
    unit = "" if estimate.unit == "ratio" or forbidden_words(estimate.unit) else f" {estimate.unit}"
    return f"{estimate.value:.3g}{unit} ({100 * estimate.level:g} % interval {estimate.low:.3g} to {estimate.high:.3g}{unit})"


def _persons(findings: Sequence[Finding]) -> list[str]:
    """Return the question of Art. 33 GDPR: a test raises it, a person answers it."""
    counts = {finding.test: finding.measurement.confirmed for finding in findings if finding.measurement}
    outcomes = {finding.test: finding.outcome for finding in findings}
    sure = max((count for test, count in counts.items() if outcomes[test] is Outcome.SIGNAL), default=0)
    doubtful = [test for test, count in counts.items() if count and outcomes[test] is Outcome.INVALID]
    sentences = []
    if sure:
        sentences.append(_CONFIRMED.format(count=sure, noun="person" if sure == 1 else "persons"))
    if doubtful:
        sentences.append(_CONFIRMED_IN_DOUBT.format(tests=_named(doubtful)))
    return sentences


def conclude(findings: Sequence[Finding], clauses: Sequence[ClauseState]) -> tuple[str, ...]:
    """Return the conclusions, the gravest first; no word of `FORBIDDEN` is in them, whatever a test calls or says itself."""
    signals = [finding for finding in findings if finding.outcome is Outcome.SIGNAL]
    sentences = [
        _template(finding).format(test=_named([finding.test]), answer=_answered(finding)) for finding in signals
    ]
    if any(not _of_the_data(finding) for finding in signals):
        sentences.append(_NOT_SUPPORTED)
    sentences += _persons(findings)
    for outcome, template in (
        (Outcome.INVALID, _INVALID),
        (Outcome.NOT_RUN, _NOT_RUN),
        (Outcome.INCONCLUSIVE, _UNRESOLVED),
        (Outcome.NO_SIGNAL, _NO_SIGNAL),
    ):
        tests = [finding.test for finding in findings if finding.outcome is outcome]
        if tests:
            sentences.append(template.format(tests=_named(tests)))
    for state, template in ((StatementState.CONTRADICTED, _CONTRADICTED), (StatementState.MISSING, _MISSING)):
        ids = [item.clause.id for item in clauses if item.statement is state]
        if ids:
            sentences.append(template.format(clauses=", ".join(ids)))
    return tuple(sentences)


def _of_the_data(finding: Finding) -> bool:
    """Return whether a test looked at the data alone: what it finds is nothing that a model gave away."""
    return finding.measurement is not None and finding.measurement.access == "data"


def _template(finding: Finding) -> str:
    if _of_the_data(finding):
        return _IN_THE_DATA
    return _CAME_OUT if finding.measurement is not None and finding.measurement.confirmed else _SIGNAL


def limits(subject: Subject, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return what no reader may take from the report."""
    found = [
        "Tests show resistance to the attacks they are, and to no others (EDPB Opinion 28/2024, paragraph 55).",
        "A sample bounds an average or a stratum, not every person; only a census or a formal bound speaks to all.",
        "The tolerances are the controller's or engineering defaults; no regulator has set a number.",
        f"The release context ({subject.release_context.value}) is declared by a person and was not inferred.",
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
