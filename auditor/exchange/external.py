"""What another tool found, put beside a bundle: read, bounded, marked, and never mixed with what was measured."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from auditor.core.external import ExternalFindings
from auditor.core.subject import Artifact
from auditor.errors import DataError
from auditor.exchange.reading.garak import read_garak
from auditor.exchange.reading.given import JsonFile, read_text
from auditor.exchange.reading.memaudit import read_memaudit
from auditor.exchange.reading.minimal import read_minimal
from auditor.exchange.source import line, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from auditor.core.external import ExternalEstimate, GivenModel
    from auditor.exchange.reading.given import Given
    from auditor.exchange.source import Source

Tool = Literal["minimal", "memaudit", "garak"]
_READERS: Mapping[str, Callable[[Path, str], Given]] = {
    "minimal": read_minimal,
    "memaudit": read_memaudit,
    "garak": read_garak,
}


def external(path: Path, tool: Tool, source: Source, *, read: str) -> ExternalFindings:
    """Return what a file of another tool says, tied to a bundle.

    Args:
        path: The file.
        tool: What wrote it.
        source: The bundle it is put beside; nothing of it is changed.
        read: When it is read, ISO 8601.

    Raises:
        DataError: The file cannot be read, does not fit its format, or says by digest that it is about another model.
    """
    text = read_text(path)
    given = _READERS[tool](path, text)
    content = text.encode()
    return ExternalFindings(
        bundle=source.bundle,
        model=source.subject.model.digest,
        tool=given.tool,
        created=given.created,
        read=read,
        file=Artifact(path=line(path.name), bytes=len(content), sha256=hashlib.sha256(content).hexdigest()),
        model_named=given.model,
        about_this_model=_about(path, text, given.model, source),
        findings=given.findings,
        left_out=given.left_out,
    )


def _about(path: Path, text: str, model: GivenModel, source: Source) -> Literal["by digest", "not shown"]:
    if model.sha256 is None:
        return "not shown"
    known = {source.subject.model.digest, *(item.sha256 for item in source.subject.model.files)}
    if model.sha256 in known:
        return "by digest"
    place = JsonFile(path, text).line_of(("model", "sha256"))
    msg = f"{path}:{place}: the findings are about another model ({model.sha256[:16]}) than the bundle ({source.subject.model.digest[:16]})"
    raise DataError(
        msg,
        hint="Give the bundle of that model. The digest may be that of one of its files or the one in subject.json.",
    )


def estimate_worded(found: ExternalEstimate | None, unit: str) -> str:
    """Return a number of another tool as a reader would write it, with what it does not say."""
    if found is None:
        return "no number"
    interval = "no interval given"
    if found.low is not None and found.high is not None:
        level = f"{100 * found.level:g} % interval" if found.level is not None else "interval of no stated level"
        interval = f"{level} {number(found.low)} to {number(found.high)}"
    units = f", n = {found.n:,}" if found.n is not None else ""
    return f"{number(found.value)}{'' if unit == 'ratio' else f' {unit}'} ({interval}{units})"
