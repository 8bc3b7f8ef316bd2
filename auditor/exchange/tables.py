"""Findings as a table: one row for each finding, and one for each of its strata, in CSV or Parquet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from auditor.exchange.source import line

if TYPE_CHECKING:
    from auditor.core.finding import Estimate, Finding, Stratum
    from auditor.exchange.source import Source

TEXT, NUMBER, WHOLE, TRUTH = "text", "number", "whole", "truth"
_PARTS = {"value": NUMBER, "low": NUMBER, "high": NUMBER, "upper": NUMBER, "level": NUMBER, "n": WHOLE}
COLUMNS: dict[str, str] = {
    "row": TEXT,
    "test": TEXT,
    "test_version": WHOLE,
    "stratum_by": TEXT,
    "stratum": TEXT,
    "outcome": TEXT,
    "reason": TEXT,
    "required": TRUTH,
    "title": TEXT,
    "question": TEXT,
    "answer": TEXT,
    "statistic": TEXT,
    "unit": TEXT,
    **{f"{part}_{name}": kind for part in ("estimate", "control", "excess") for name, kind in _PARTS.items()},
    "method": TEXT,
    "tolerance": NUMBER,
    "tolerance_statistic": TEXT,
    "tolerance_set_by": TEXT,
    "p_value": NUMBER,
    "p_adjusted": NUMBER,
    "battery": WHOLE,
    "members": WHOLE,
    "controls": WHOLE,
    "canaries": WHOLE,
    "confirmed": WHOLE,
    "smallest_effect": NUMBER,
    "access": TEXT,
    "evidence_for": TEXT,
    "gates_failed": TEXT,
    "caveats": TEXT,
    "source": TEXT,
    "subject": TEXT,
    "model": TEXT,
    "policy": TEXT,
    "policy_version": WHOLE,
    "created": TEXT,
    "auditor": TEXT,
    "bundle": TEXT,
}
"""Every column and what it holds; `docs/exchange.md` says what each means. `row` is `finding` or `stratum`."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows(source: Source) -> list[dict[str, Any]]:
    """Return the table as plain values, one mapping a row; a value that does not exist is None.

    A finding comes once, and then its strata, which have no outcome of their own.
    """
    made = []
    for finding in source.findings:
        about = _about(source, finding)
        made.append(about | _finding(finding))
        strata = finding.measurement.strata if finding.measurement else ()
        made += [about | _stratum(stratum) for stratum in strata]
    return [{name: row.get(name) for name in COLUMNS} for row in made]


def to_csv(source: Source) -> bytes:
    """Return the table as CSV (RFC 4180, UTF-8, a head row); an empty field is a value that does not exist.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows(source):
        writer.writerow([_cell(row[name], kind) for name, kind in COLUMNS.items()])
    return buffer.getvalue().encode()


def _cell(value: Any, kind: str) -> str:  # noqa: ANN401  (any plain value)
    if value is None:
        return ""
    if kind == TRUTH:
        return "true" if value else "false"
    if kind == TEXT:
        return f"'{value}" if value.startswith(_FORMULA) else value
    return repr(value)


def to_parquet(source: Source) -> bytes:
    """Return the table as Parquet; the name of the bundle is in the metadata of the schema."""
    import pyarrow as pa  # noqa: PLC0415  (heavy)
    import pyarrow.parquet as pq  # noqa: PLC0415

    kinds = {TEXT: pa.string(), NUMBER: pa.float64(), WHOLE: pa.int64(), TRUTH: pa.bool_()}
    schema = pa.schema(
        [pa.field(name, kinds[kind]) for name, kind in COLUMNS.items()],
        metadata={"bundle": source.bundle, "auditor": source.auditor},
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows(source), schema=schema), sink, compression="zstd", store_schema=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _about(source: Source, finding: Finding) -> dict[str, Any]:
    measured = finding.measurement
    return {
        "test": finding.test,
        "test_version": measured.test_version if measured else None,
        "statistic": line(measured.statistic) if measured else None,
        "title": line(measured.title) if measured else None,
        "subject": line(source.subject.name),
        "model": source.subject.model.digest,
        "policy": line(source.policy.id),
        "policy_version": source.policy.version,
        "created": source.created,
        "auditor": source.auditor,
        "bundle": source.bundle,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    row: dict[str, Any] = {
        "row": "finding",
        "outcome": finding.outcome.value,
        "reason": line(finding.reason),
        "required": finding.required,
        "p_adjusted": finding.p_adjusted,
        "battery": finding.battery,
        "evidence_for": "; ".join(line(name) for name in finding.evidence_for),
    }
    if finding.tolerance is not None:
        row |= {
            "tolerance": finding.tolerance.at_most,
            "tolerance_statistic": line(finding.tolerance.statistic),
            "tolerance_set_by": line(finding.tolerance.set_by),
        }
    measured = finding.measurement
    if measured is None:
        return row
    shown = measured.estimate or measured.excess
    return row | {
        **_numbers("estimate", measured.estimate),
        **_numbers("control", measured.control),
        **_numbers("excess", measured.excess),
        "unit": line(shown.unit) if shown else None,
        "method": line(shown.method) if shown else None,
        "question": line(measured.question),
        "answer": line(measured.answer),
        "p_value": measured.p_value,
        "members": measured.members,
        "controls": measured.controls,
        "canaries": measured.canaries,
        "confirmed": measured.confirmed,
        "smallest_effect": measured.power.smallest_effect,
        "access": measured.access,
        "gates_failed": "; ".join(line(gate.name) for gate in measured.gates if not gate.held),
        "caveats": " ".join(line(text) for text in measured.caveats),
        "source": line(measured.source),
    }


def _stratum(stratum: Stratum) -> dict[str, Any]:
    return {
        "row": "stratum",
        "stratum_by": line(stratum.by),
        "stratum": line(stratum.label),
        **_numbers("estimate", stratum.estimate),
        **_numbers("control", stratum.control),
        "unit": line(stratum.estimate.unit),
        "method": line(stratum.estimate.method),
        "caveats": line(stratum.note) or None,
    }


def _numbers(part: str, estimate: Estimate | None) -> dict[str, Any]:
    return {} if estimate is None else {f"{part}_{name}": getattr(estimate, name) for name in _PARTS}
