"""What every form of exchange is made of: a sealed bundle after reading."""

from __future__ import annotations

import datetime as dt
import unicodedata
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.core.finding import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.core.assessment import Assessment, Statement
    from auditor.core.finding import Estimate, Finding
    from auditor.core.plan import Plan
    from auditor.core.policy import Policy
    from auditor.core.subject import Subject

TOOL = "memorization-auditor"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:memorization-auditor:exchange")
"""Every UUID of an export is derived below this one."""
VENDOR = "urn:memorization-auditor"
"""Namespace of properties that are ours."""

MEANING: Mapping[Outcome, str] = {
    Outcome.SIGNAL: "more came out than the control explains",
    Outcome.NO_SIGNAL: "nothing above the tolerance was found with this sample",
    Outcome.INCONCLUSIVE: "the sample shows neither",
    Outcome.INVALID: "a control failed, so the numbers mean nothing",
    Outcome.NOT_RUN: "asked for and not done",
    Outcome.NOT_APPLICABLE: "declared not to apply, by a person",
}
"""Each outcome in a few words; none of them is `passed`."""
_MEANING_OF_DATA: Mapping[Outcome, str] = {
    Outcome.SIGNAL: "more stands in the training data than in the control records",
    Outcome.NO_SIGNAL: "no more stands in the training data, above the control records, than is tolerated",
}

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@dataclass(frozen=True, slots=True)
class Source:
    """A bundle that was found to hold, as far as an export may see it: no observation, no exhibit, no restricted file."""

    policy: Policy
    plan: Plan
    subject: Subject
    findings: tuple[Finding, ...]
    """Without exhibits: what a model gave back, even masked, goes into no export."""
    assessment: Assessment
    statements: tuple[Statement, ...]
    created: str
    """When the audit began, ISO 8601 with its offset from UTC, by the clock of the machine that made it."""
    auditor: str
    """Version of the tool that wrote the bundle."""
    operator: str
    signer: str
    """SHA-256 of the certificate whose key sealed it."""
    digests: Mapping[str, str]
    """SHA-256 of the files of the bundle that an export points to, by name; `manifest.json` is among them."""
    seal: bytes
    """The statement that the seal signs, the bytes as they were signed."""

    @property
    def bundle(self) -> str:
        """The name of the bundle: the SHA-256 of its manifest."""
        return self.digests["manifest.json"]

    @property
    def moment(self) -> dt.datetime:
        """When the audit began, in UTC."""
        return dt.datetime.fromisoformat(self.created).astimezone(dt.UTC)

    @property
    def expires(self) -> dt.datetime:
        """When the report can no longer be relied on, by the policy."""
        months = self.moment.month - 1 + self.policy.valid_months
        year, month = self.moment.year + months // 12, months % 12 + 1
        return self.moment.replace(year=year, month=month, day=min(self.moment.day, 28))

    def identifier(self, *parts: str) -> str:
        """Return the UUID (version 5) of a part of this bundle: the same for the same bundle, whoever exports it, and whenever."""
        return str(uuid.uuid5(NAMESPACE, "\x1f".join((self.bundle, *parts))))

    def count(self, *outcomes: Outcome) -> int:
        """Return how many findings have one of some outcomes."""
        return sum(finding.outcome in outcomes for finding in self.findings)


def shareable(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings without exhibits and figures: what an export may see."""
    return tuple(
        finding
        if finding.measurement is None
        else finding.model_copy(
            update={"measurement": finding.measurement.model_copy(update={"exhibits": (), "figures": ()})}
        )
        for finding in findings
    )


def line(text: str) -> str:
    """Return a text on one line, with every character that could mislead a reader or break a format spelled out."""
    plain = " ".join(text.split())
    return "".join(
        f"\u27e8U+{ord(letter):04X}\u27e9" if unicodedata.category(letter) in _HIDDEN else letter for letter in plain
    )


def number(value: float) -> str:
    """Return a number with six digits that count, the same on every machine."""
    return f"{value:.6g}"


def worded(estimate: Estimate | None) -> str:
    """Return an estimate as a reader would write it: value, interval, unit."""
    if estimate is None:
        return "none"
    level = f"{100 * estimate.level:g} % interval"
    if estimate.unit == "ratio":
        value, low, high = (f"{100 * part:.2f} %" for part in (estimate.value, estimate.low, estimate.high))
        return f"{value} ({level} {low} to {high})"
    value, low, high = (f"{part:.3g}" for part in (estimate.value, estimate.low, estimate.high))
    return f"{value} {line(estimate.unit)} ({level} {low} to {high})"


def of_the_data(finding: Finding) -> bool:
    """Return whether a test looked at the data alone: nothing that it finds came out of a model."""
    return finding.measurement is not None and finding.measurement.access == "data"


def meaning(finding: Finding) -> str:
    """Return the outcome of a finding in a few words."""
    words = MEANING[finding.outcome]
    return _MEANING_OF_DATA.get(finding.outcome, words) if of_the_data(finding) else words


def tolerated(finding: Finding) -> str:
    """Return the tolerance of a finding in words."""
    found = finding.tolerance
    if found is None:
        return "none declared"
    amount = f"{100 * found.at_most:g} %" if found.unit == "ratio" else f"{found.at_most:g} {line(found.unit)}"
    return f"{line(found.statistic)} at most {amount} of {line(found.population)}"
