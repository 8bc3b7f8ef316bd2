"""Reads the minimal format (`docs/exchange.md`): what any tool can write to have its findings taken in."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pydantic import ValidationError

from auditor.core.external import ExternalFinding, GivenFile, GivenModel, GivenTool
from auditor.exchange.reading.given import Given, JsonFile, lines_of_members
from auditor.exchange.source import line

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.core.external import ExternalEstimate

MOST = 400
"""Letters of a name, as the format has it; spelled out, hidden ones take more."""
_HINT = "docs/exchange.md and docs/schemas/external-findings.schema.json say what the file may hold."


def read_minimal(path: Path, text: str) -> Given:
    """Return what a file of the minimal format says.

    Raises:
        DataError: The file does not fit, with file and line.
    """
    document = JsonFile(path, text)
    try:
        given = GivenFile.from_plain(document.value)
    except ValidationError as error:
        first = error.errors()[0]
        document.wrong(first["loc"], f"does not fit: {first['msg'][:1].lower()}{first['msg'][1:]}", _HINT)
    if given.created:
        _moment(document, given.created)
    seen: set[str] = set()
    for number, finding in enumerate(given.findings):
        if finding.name in seen:
            document.wrong(("findings", number, "name"), "stands twice", "Give each finding a name of its own.")
        seen.add(finding.name)
        for part in ("estimate", "control"):
            _ordered(document, number, part, getattr(finding, part))
    findings = tuple(
        ExternalFinding(
            name=_name(finding.name),
            question=line(finding.question),
            statistic=_name(finding.statistic),
            unit=line(finding.unit),
            estimate=finding.estimate,
            control=finding.control,
            verdict=line(finding.verdict),
            notes=tuple(line(note) for note in finding.notes),
            line=place,
        )
        for finding, place in zip(given.findings, lines_of_members(text, ("findings",)), strict=True)
    )
    tool = GivenTool(name=_name(given.tool.name), version=_name(given.tool.version), url=line(given.tool.url)[:MOST])
    model = GivenModel(name=_name(given.model.name), sha256=given.model.sha256)
    return Given(tool, given.created, model, findings)


def _name(text: str) -> str:
    return line(text)[:MOST] or "not named"


def _moment(document: JsonFile, text: str) -> None:
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        document.wrong(
            ("created",), "is not a date or time in ISO 8601", 'Write for example "2026-01-31T12:00:00+00:00".'
        )


def _ordered(document: JsonFile, number: int, part: str, found: ExternalEstimate | None) -> None:
    if found is None:
        return
    place = ("findings", number, part)
    if (found.low is None) != (found.high is None):
        document.wrong(place, "has one end of an interval without the other", "Give `low` and `high`, or neither.")
    if found.low is not None and found.high is not None and not found.low <= found.value <= found.high:
        document.wrong(place, "does not lie in its interval", "low <= value <= high must hold.")
