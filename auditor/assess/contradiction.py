"""Computes where a measured or declared fact disagrees with a statement."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from auditor.core.finding import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.assessment import Statement
    from auditor.core.finding import Finding
    from auditor.core.subject import Subject

_DEDUPLICATED = re.compile(
    r"\b(?:was|were|is|are|have been|has been|we|we have)\s+(?:fully\s+|all\s+)?de-?duplicated\b", re.IGNORECASE
)
_NO_MEMORY = re.compile(
    r"\b(?:no|none of the)\s+(?:training\s+)?records?\s+(?:can|could)\s+be\s+extracted\b", re.IGNORECASE
)

_UNSURE = re.compile(
    r"\b(?:not|never|cannot|neither|whether|if|unless|partly|partially|only|should|shall|will|would|may|might|to be)\b|n't\b",
    re.IGNORECASE,
)
"""Words that make a sentence something other than a plain claim: a statement is only contradicted where it plainly claims."""


def _claims(text: str, claim: re.Pattern[str]) -> bool:
    """Return whether a sentence of the text plainly makes the claim."""
    return any(
        claim.search(sentence) and not _UNSURE.search(sentence) for sentence in re.split(r"(?<=[.;:!?])\s+|\n\n", text)
    )


def contradiction(statements: Sequence[Statement], findings: Sequence[Finding], subject: Subject) -> str:
    """Return what disagrees with one of the statements, in words; empty where nothing does."""
    found = []
    for statement in statements:
        if _claims(statement.text, _DEDUPLICATED):
            against = [what for what in (_most_copies(findings, subject), _duplicates(findings)) if what]
            if against:
                found.append(f"Statement '{statement.id}' says the data was deduplicated; {', and '.join(against)}.")
        if _claims(statement.text, _NO_MEMORY) and (which := _extracted(findings)):
            found.append(f"Statement '{statement.id}' says that no record can be extracted; {which}.")
    return " ".join(found)


def _most_copies(findings: Sequence[Finding], subject: Subject) -> str:
    if not subject.members.has_copies:
        return ""
    labels = {
        stratum.label
        for finding in findings
        if finding.measurement is not None
        for stratum in finding.measurement.strata
        if stratum.by == "copies" and stratum.estimate.n > 0
    }
    repeated = sorted(labels - {"1"}, key=lambda label: [int(part) for part in re.findall(r"\d+", label)])
    if not repeated:
        return ""
    return f"the members' own file declares records that stood in training {repeated[-1]} times"


def _duplicates(findings: Sequence[Finding]) -> str:
    """Return what was counted in the data itself: duplicates there are a fact, whatever the controls have."""
    for finding in findings:
        measured = finding.measurement
        if measured is None or measured.statistic != "excess_duplicates" or measured.estimate is None:
            continue
        if finding.outcome is not Outcome.INVALID and measured.estimate.low > 0.0:
            exact = [row.estimate.value for row in measured.strata if row.label == "word for word"]
            apart = f", {exact[0]:.2%} word for word" if exact else ""
            return (
                f"{finding.test} found that {measured.estimate.value:.2%} of the members it read have an exact or near "
                f"duplicate among them{apart} (at least {measured.estimate.low:.2%} have one)"
            )
    return ""


def _extracted(findings: Sequence[Finding]) -> str:
    for finding in findings:
        measured = finding.measurement
        if measured is None or measured.statistic != "excess_rate" or measured.estimate is None:
            continue
        # Below a signal it can be chance, or text that anybody could guess; after a failed control it means nothing.
        if finding.outcome is Outcome.SIGNAL and measured.estimate.value > 0.0:
            return f"{finding.test} extracted {measured.estimate.value:.2%} of those tested"
    return ""
