"""Reads the JSON report of memaudit (schema 1.x, seen with 0.2.0): membership of canaries, and their regurgitation.

Source: memaudit 0.2.0, `report.py` (the fields, and the digest `report_sha256` over the canonical content).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from auditor.core.external import ExternalEstimate, ExternalFinding, GivenModel, GivenTool
from auditor.exchange.reading.given import Given, JsonFile, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DIGEST = "report_sha256"
_MEMBERS = "canaries that were planted"


def read_memaudit(path: Path, text: str) -> Given:
    """Return what a report of memaudit says.

    Raises:
        DataError: It is no such report, or was changed since it was written, with file and line.
    """
    document = JsonFile(path, text)
    if not document.words("schema_version").startswith("1."):
        document.wrong(("schema_version",), "is not 1.x", "Only schema 1 of memaudit is known; use --from minimal.")
    _unchanged(document)
    tool = GivenTool(name="memaudit", version=document.words("tool_version"), url="https://pypi.org/project/memaudit/")
    document.mapping("membership")
    document.mapping("regurgitation")
    findings = [*_membership(document), *_regurgitation(document)]
    left_out = (
        "Scores of single canaries, real records, preflight and the tool's own annex on clauses were not taken in.",
    )
    return Given(
        tool,
        document.words("created_at", otherwise=""),
        GivenModel(name=document.words("model", "name_or_path", otherwise="not named")),
        tuple(findings),
        left_out,
    )


def _unchanged(document: JsonFile) -> None:
    """Compare the report with its own digest, which shows an accident and no forgery: anyone can write it anew."""
    stated = document.words(_DIGEST)
    body = {key: value for key, value in document.value.items() if key != _DIGEST}
    content = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest() != stated:
        document.wrong(
            (_DIGEST,), "is not the digest of this report", "It was changed since memaudit wrote it; take it again."
        )


def _membership(document: JsonFile) -> list[ExternalFinding]:
    rate = document.number("membership", "target_fpr")
    statistic = "true-positive rate" + (f" at a false-positive rate of {rate:g}" if rate is not None else "")
    name = "membership of canaries"
    members = document.count("membership", "n_members")
    notes = [f"{count} controls" for count in [document.count("membership", "n_controls")] if count is not None]
    if document.at(("membership", "headline_valid")) is not True:
        notes.append("The tool says itself that its headline is not valid.")
    if document.at(("membership", "warning")):
        notes.append(document.words("membership", "warning"))
    pooled = _estimate(document, ("membership",), "tpr_at_target_fpr", members)
    verdict = document.words("membership", "detection_claim", otherwise="")
    found = [_finding(document, ("membership",), name, statistic, pooled, verdict=verdict, notes=notes)]
    auc = document.number("membership", "auc")
    if auc is not None:
        place = ("membership", "auc")
        estimate = ExternalEstimate(value=auc, n=members)
        found.append(
            _finding(
                document, place, f"{name}, AUC", "area under the ROC curve", estimate, notes=["No interval is given."]
            )
        )
    for tier in _tiers(document, "membership", "by_repetition"):
        part = ("membership", "by_repetition", tier)
        tpr = _estimate(document, part, "tpr", document.count(*part, "n"))
        found.append(_finding(document, part, f"{name}, {_times(tier)}", statistic, tpr))
    return found


def _regurgitation(document: JsonFile) -> list[ExternalFinding]:
    statistic = f"share of {_MEMBERS} that came out"
    place = ("regurgitation", "overall")
    document.mapping(*place)
    control = document.number("negative_controls", "regurgitation_rate")
    beside = None if control is None else ExternalEstimate(value=control, n=document.count("negative_controls", "n"))
    verdict = document.words("regurgitation", "detected", "wording", otherwise="")
    overall = _estimate(document, place, "rate", document.count(*place, "n"))
    found = [
        _finding(document, place, "regurgitation of canaries", statistic, overall, control=beside, verdict=verdict)
    ]
    for tier in _tiers(document, "regurgitation", "by_tier"):
        part = ("regurgitation", "by_tier", tier)
        estimate = _estimate(document, part, "rate", document.count(*part, "n"))
        found.append(_finding(document, part, f"regurgitation of canaries, {_times(tier)}", statistic, estimate))
    return found


def _tiers(document: JsonFile, *place: str) -> list[str]:
    """Return the numbers of repetitions that have an entry of their own."""
    tiers = document.at(place)
    if tiers is None:
        return []
    return [
        tier for tier in document.mapping(*place) if tier.isdecimal() and document.mapping(*place, tier) is not None
    ]


def _times(tier: str) -> str:
    return f"planted {shortened(tier)} time{'' if tier == '1' else 's'}"


def _estimate(document: JsonFile, place: Sequence[str], key: str, n: int | None) -> ExternalEstimate | None:
    value = document.number(*place, key)
    if value is None:
        return None
    low, high = (document.number(*place, end) for end in ("ci_low", "ci_high"))
    if low is None or high is None:
        return ExternalEstimate(value=value, n=n)
    return ExternalEstimate(value=value, low=low, high=high, n=n)


def _finding(
    document: JsonFile,
    place: Sequence[str],
    name: str,
    statistic: str,
    estimate: ExternalEstimate | None,
    *,
    control: ExternalEstimate | None = None,
    verdict: str = "",
    notes: Sequence[str] = (),
) -> ExternalFinding:
    extra: list[Any] = ["The tool gives no number."] if estimate is None else []
    return ExternalFinding(
        name=name,
        statistic=statistic,
        estimate=estimate,
        control=control,
        verdict=verdict,
        notes=(*notes, *extra),
        line=document.line_of(place),
    )
