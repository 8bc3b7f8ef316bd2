"""What another tool found, put into a bundle or beside one: read, bounded, marked, and never mixed with what was measured."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Literal

from auditor.core.external import ExternalFile, ExternalFindings, ExternalForm
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
    from auditor.core.subject import ModelIdentity
    from auditor.exchange.reading.given import Given
    from auditor.exchange.source import Source

_READERS: Mapping[str, Callable[[Path, str], Given]] = {
    "minimal": read_minimal,
    "memaudit": read_memaudit,
    "garak": read_garak,
}


def external(path: Path, form: ExternalForm | None, source: Source, *, read: str) -> ExternalFindings:
    """Return what a file of another tool says, tied to a bundle.

    Args:
        path: The file.
        form: What wrote it; None: what its content shows.
        source: The bundle it is put beside; nothing of it is changed.
        read: When it is read, ISO 8601.

    Raises:
        DataError: The file cannot be read, does not fit its format, or says by digest that it is about another model.
    """
    given = external_file(path, source.subject.model, form=form)
    return ExternalFindings(**dict(given), bundle=source.bundle, read=read)


def external_file(
    path: Path, model: ModelIdentity, *, form: ExternalForm | None = None, name: str = ""
) -> ExternalFile:
    """Return what a file of another tool says about a model.

    Args:
        path: The file.
        model: The audited model.
        form: What wrote the file; None: what its content shows.
        name: What the file was called where it came from; empty: as it is called now.

    Raises:
        DataError: The file cannot be read, does not fit its format, or says by digest that it is about another model.
    """
    text = read_text(path)
    known = form or form_of(path, text)
    given = _READERS[known](path, text)
    content = text.encode()
    return ExternalFile(
        form=known,
        tool=given.tool,
        created=given.created,
        file=Artifact(path=name or line(path.name), bytes=len(content), sha256=hashlib.sha256(content).hexdigest()),
        model=model.digest,
        model_named=given.model,
        about_this_model=_about(path, text, given.model, model),
        findings=given.findings,
        left_out=given.left_out,
    )


def form_of(path: Path, text: str) -> ExternalForm:
    """Return what wrote a file, by its content: the format it names, the fields of memaudit, or rows of garak.

    Raises:
        DataError: It is none of these.
    """
    hint = "Give a file of the minimal format (docs/exchange.md), memaudit's JSON report, or garak's .report.jsonl."
    first = next((row for row in text.split("\n") if row.strip()), "")
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict) and "entry_type" in row:
        return "garak"
    value = JsonFile(path, text).value
    if "format" in value:
        return "minimal"
    if {"report_sha256", "membership"} & value.keys():
        return "memaudit"
    msg = f"{path}:1: neither the minimal format, nor a report of memaudit or garak"
    raise DataError(msg, hint=hint)


def _about(path: Path, text: str, named: GivenModel, model: ModelIdentity) -> Literal["by digest", "not shown"]:
    if named.sha256 is None:
        return "not shown"
    if named.sha256 in {model.digest, *(item.sha256 for item in model.files)}:
        return "by digest"
    place = JsonFile(path, text).line_of(("model", "sha256"))
    msg = f"{path}:{place}: the findings are about another model ({named.sha256[:16]}) than the audited one ({model.digest[:16]})"
    raise DataError(
        msg,
        hint="Give the audit of that model. The digest may be that of one of its files or the one in subject.json.",
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
