"""Findings as a table: one row for each finding, and one for each of its strata, in CSV or Parquet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, NamedTuple

from auditor.exchange.source import line

if TYPE_CHECKING:
    from auditor.core.finding import Estimate, Finding, Stratum
    from auditor.exchange.source import Source

TEXT, NUMBER, WHOLE, TRUTH = "text", "number", "whole", "truth"


class Column(NamedTuple):
    """A column of the table."""

    kind: str
    meaning: str
    """What it holds, in a sentence; it stands in the metadata of Parquet and in `docs/exchange.md`."""


_PARTS = {
    "value": (NUMBER, "its value"),
    "low": (NUMBER, "lower end of its interval"),
    "high": (NUMBER, "upper end of its interval"),
    "upper": (NUMBER, "one-sided upper bound, where there is one"),
    "level": (NUMBER, "confidence level of its interval"),
    "n": (WHOLE, "independent units behind it"),
}
_NUMBERS = {
    "estimate": "the statistic of the members",
    "control": "the same statistic of the controls",
    "excess": "members above controls",
}
COLUMNS: dict[str, Column] = {
    "row": Column(TEXT, "`finding`, or `stratum`: a part of the data, without an outcome of its own"),
    "test": Column(TEXT, "name of the test"),
    "test_version": Column(WHOLE, "version of the test"),
    "stratum_by": Column(TEXT, "what the data are parted by"),
    "stratum": Column(TEXT, "which part"),
    "outcome": Column(TEXT, "`signal`, `no_signal`, `inconclusive`, `invalid`, `not_run` or `not_applicable`"),
    "reason": Column(TEXT, "why it is that outcome, in words"),
    "required": Column(TRUTH, "whether the policy asks for the test without exception"),
    "title": Column(TEXT, "name of the test for readers"),
    "question": Column(TEXT, "what was asked"),
    "answer": Column(TEXT, "what was found, in words"),
    "statistic": Column(TEXT, "what the numbers are"),
    "unit": Column(TEXT, "unit of the numbers; `ratio` is a share between 0 and 1"),
    **{
        f"{part}_{name}": Column(kind, f"{said}: {meaning}")
        for part, said in _NUMBERS.items()
        for name, (kind, meaning) in _PARTS.items()
    },
    "method": Column(TEXT, "how the interval was made"),
    "tolerance": Column(NUMBER, "how much is tolerated"),
    "tolerance_statistic": Column(TEXT, "of which statistic"),
    "tolerance_set_by": Column(TEXT, "by whose word"),
    "p_value": Column(NUMBER, "before the correction over the battery"),
    "p_adjusted": Column(NUMBER, "after it (Holm)"),
    "battery": Column(WHOLE, "number of tests it was corrected over"),
    "members": Column(WHOLE, "member records used"),
    "controls": Column(WHOLE, "control records used"),
    "canaries": Column(WHOLE, "canaries used"),
    "confirmed": Column(WHOLE, "persons whose record came out, confirmed one by one"),
    "smallest_effect": Column(
        NUMBER, "the smallest true excess that this sample would have called a signal four times in five"
    ),
    "access": Column(TEXT, "what the test has to see: `text`, `scores`, `distribution`, `weights`, or `data` alone"),
    "evidence_for": Column(TEXT, "ids of the clauses it is evidence for, `; ` between them"),
    "gates_failed": Column(TEXT, "conditions that did not hold, `; ` between them"),
    "caveats": Column(TEXT, "what a reader has to know about the number; of a stratum its note"),
    "source": Column(TEXT, "citation of the method"),
    "subject": Column(TEXT, "name of what was audited"),
    "model": Column(TEXT, "digest of the model (SHA-256)"),
    "policy": Column(TEXT, "id of the policy"),
    "policy_version": Column(WHOLE, "its version"),
    "created": Column(TEXT, "when the audit began, ISO 8601"),
    "auditor": Column(TEXT, "version of the tool that made the bundle"),
    "bundle": Column(TEXT, "name of the bundle: SHA-256 of its manifest"),
}
"""Every column, what kind of value it holds and what it means."""
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
        writer.writerow([_cell(row[name], column.kind) for name, column in COLUMNS.items()])
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
    """Return the table as Parquet, with the name of the bundle and the meaning of each column in its metadata."""
    import pyarrow as pa  # noqa: PLC0415  (heavy)
    import pyarrow.parquet as pq  # noqa: PLC0415

    kinds = {TEXT: pa.string(), NUMBER: pa.float64(), WHOLE: pa.int64(), TRUTH: pa.bool_()}
    schema = pa.schema(
        [
            pa.field(name, kinds[column.kind], metadata={"description": column.meaning})
            for name, column in COLUMNS.items()
        ],
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
