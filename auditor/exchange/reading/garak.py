"""Reads the JSONL report of garak (seen with 0.17): the rows `eval` of the probes that ask what was memorized.

Prompts and outputs, which stand in the rows `attempt`, are never taken in.
Source: garak 0.17.1, `evaluators/base.py` (the fields of `eval`), `command.py` (`init`, `start_run setup`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from auditor.core.external import ExternalEstimate, ExternalFinding, GivenModel, GivenTool
from auditor.errors import DataError
from auditor.exchange.reading.given import Given, shortened

if TYPE_CHECKING:
    from pathlib import Path

FAMILIES = frozenset({"leakreplay", "divergence", "propile", "apikey"})
"""Modules of garak whose probes ask for training data."""
_LONGEST = 16 << 20
_WHOLE = "Is it the file garak wrote, to its end?"


def read_garak(path: Path, text: str) -> Given:
    """Return what a report of garak says of memorization.

    Raises:
        DataError: It is no such report, or holds no row about memorization, with file and line.
    """
    version, created, model = "", "", ""
    findings: list[ExternalFinding] = []
    others: set[str] = set()
    for number, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        row = _row(path, number, content)
        kind = row.get("entry_type")
        if kind == "init":
            version, created = (_words(row.get(key)) for key in ("garak_version", "start_time"))
        elif kind == "start_run setup":
            model = _words(row.get("plugins.target_name") or row.get("plugins.model_name"))
            version = version or _words(row.get("_config.version"))
        elif kind == "eval":
            finding = _finding(path, number, row)
            family = finding.name.split(".")[0]
            if family in FAMILIES:
                findings.append(finding)
            else:
                others.add(family)
    if not findings:
        msg = f"{path}: no row about memorization ({', '.join(sorted(FAMILIES))})"
        what = (
            f"It holds rows of: {', '.join(sorted(others))}." if others else "Give the file that ends in .report.jsonl."
        )
        raise DataError(msg, hint=what)
    left_out = ["Prompts and outputs were not taken in."]
    if others:
        left_out.append(f"Not about memorization, and not taken in: {', '.join(sorted(others))}.")
    tool = GivenTool(name="garak", version=version or "not named", url="https://github.com/NVIDIA/garak")
    return Given(tool, created, GivenModel(name=model or "not named"), tuple(_distinct(findings)), tuple(left_out))


def _row(path: Path, number: int, content: str) -> dict[str, Any]:
    if len(content) > _LONGEST:
        _wrong(path, number, f"the line has {len(content):,} letters", _WHOLE)
    try:
        # Scores may be NaN in rows that are not taken in; where a number is taken in, None is refused.
        row = json.loads(content, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        _wrong(path, number, f"not JSON ({error.msg})", _WHOLE)
    except (ValueError, RecursionError) as error:
        _wrong(path, number, f"not JSON ({type(error).__name__})", _WHOLE)
    if not isinstance(row, dict) or not isinstance(row.get("entry_type"), str):
        _wrong(
            path,
            number,
            "no row of a garak report: `entry_type` is missing",
            "Give the file that ends in .report.jsonl.",
        )
    return row


def _finding(path: Path, number: int, row: dict[str, Any]) -> ExternalFinding:
    probe, detector = (_words(row.get(key)) for key in ("probe", "detector"))
    if not probe or not detector:
        _wrong(path, number, "`probe` or `detector` is missing", _WHOLE)
    total = _count(path, number, row, "total_evaluated" if "total_evaluated" in row else "total")
    passed = _count(path, number, row, "passed")
    if passed > total:
        _wrong(path, number, f"passed ({passed}) is more than there were ({total})", _WHOLE)
    notes = ["No control is given: the same probe was not asked about records outside the training data."]
    if not total:
        notes.append("No output was scored.")
    estimate = _estimate(path, number, row, (total - passed) / total, total) if total else None
    if (
        estimate
        and estimate.low is not None
        and estimate.high is not None
        and not estimate.low <= estimate.value <= estimate.high
    ):
        notes.append("The interval, which corrects for errors of the detector, does not hold the rate itself.")
    return ExternalFinding(
        name=shortened(f"{probe.removeprefix('probes.')} / {detector.removeprefix('detector.')}"),
        question="In which share of its outputs did the detector find what the probe asks for?",
        statistic="share of outputs that the detector flagged",
        estimate=estimate,
        notes=tuple(notes),
        line=number,
    )


def _estimate(path: Path, number: int, row: dict[str, Any], value: float, total: int) -> ExternalEstimate:
    ends: list[Any] = [row.get(key) for key in ("confidence_lower", "confidence_upper", "confidence")]
    if None in ends:
        return ExternalEstimate(value=value, n=total)
    if (
        not all(isinstance(end, int | float) and 0 <= end <= 1 for end in ends)
        or not 0 < ends[2] < 1
        or ends[0] > ends[1]
    ):
        _wrong(
            path, number, "`confidence`, `confidence_lower` and `confidence_upper` are no interval of a share", _WHOLE
        )
    low, high, level = (float(end) for end in ends)
    return ExternalEstimate(
        value=value, low=low, high=high, level=level, n=total, method=_words(row.get("confidence_method"))
    )


def _count(path: Path, number: int, row: dict[str, Any], key: str) -> int:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        _wrong(path, number, f"`{key}` is not a number of outputs", _WHOLE)
    return value


def _distinct(findings: list[ExternalFinding]) -> list[ExternalFinding]:
    """Return the findings with names that stand once each."""
    seen: dict[str, int] = {}
    made = []
    for finding in findings:
        seen[finding.name] = seen.get(finding.name, 0) + 1
        again = seen[finding.name]
        made.append(finding if again == 1 else finding.model_copy(update={"name": f"{finding.name[:380]} ({again})"}))
    return made


def _words(value: object) -> str:
    return shortened(value) if isinstance(value, str) else ""


def _wrong(path: Path, number: int, what: str, hint: str) -> NoReturn:
    msg = f"{path}:{number}: {what}"
    raise DataError(msg, hint=hint)
