"""What other tools found, as the report shows it: apart from every finding, marked, and with what it does not say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from auditor.report.finding_page import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.external import ExternalEstimate, ExternalFile, ExternalFinding


def external_pages(files: Sequence[ExternalFile]) -> list[dict[str, Any]]:
    """Return what the template prints of each file of another tool: at most `MOST_ROWS` findings of it, in the file's order."""
    return [
        {
            "tool": found.tool.name,
            "version": found.tool.version,
            "url": found.tool.url,
            "created": found.created,
            "file": found.file.path,
            "sha256": found.file.sha256,
            "model_named": found.model_named.name,
            "english": found.form != "minimal",  # our readers word what they take from the other two
            "shown_to_be_this_model": found.about_this_model == "by digest",
            "left_out": found.left_out,
            "rows": [_row(item) for item in found.findings[:MOST_ROWS]],
            "all": len(found.findings),
        }
        for found in files
    ]


def _row(found: ExternalFinding) -> dict[str, Any]:
    return {
        "name": found.name,
        "question": found.question,
        "statistic": found.statistic,
        "estimate": _estimate(found.estimate, found.unit),
        "control": _estimate(found.control, found.unit),
        "verdict": found.verdict,
        "notes": found.notes,
        "line": found.line,
    }


def _estimate(found: ExternalEstimate | None, unit: str) -> dict[str, Any] | None:
    """Return a number as it was given; nothing that was not given is made up."""
    if found is None:
        return None
    interval = found.low is not None and found.high is not None
    return {
        "value": _number(found.value, unit),
        "interval": f"[{_number(found.low or 0.0, '')}, {_number(found.high or 0.0, '')}]" if interval else "",
        "level": f"{100 * found.level:g}\u00a0%" if found.level is not None else "",
        "n": f"{found.n:,}" if found.n is not None else "",
        "method": found.method,
    }


def _number(value: float, unit: str) -> str:
    """Return a number to six digits that count: the tool's own scale, never turned into percentages."""
    shown = f"{value:.6g}".replace("-", "\u2212") if math.isfinite(value) else "\u2013"
    return shown if unit in {"", "ratio"} else f"{shown}\u00a0{unit}"
