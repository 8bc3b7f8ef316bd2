"""What the report says of the evidence that it withholds: what it is, how much, how it is bound, and who was given it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.annex import Annex
    from auditor.core.evidence import ObservationRecord


class Withheld(NamedTuple):
    """What a bundle withholds, and for whom it is encrypted."""

    observations: Sequence[ObservationRecord]
    """Observations with restricted columns."""
    canaries: int
    """Canaries whose secrets are withheld."""
    annexes: Sequence[Annex]


NOTHING = Withheld((), 0, ())


def withheld(source: Withheld) -> dict[str, Any]:
    """Return what the report prints of it."""
    own = [record for record in source.observations if record.observation.subject == "audited"]
    controls = [record for record in source.observations if record.observation.subject != "audited"]
    return {
        "rows": [_row(record) for record in sorted(own, key=_order)],
        "records": sum(record.items for record in own),
        "controls": {"observations": len(controls), "records": sum(record.items for record in controls)},
        "canaries": source.canaries,
        "annexes": [
            {
                "file": annex.file,
                "recipient": annex.recipient,
                "certificate": _pairs(annex.certificate),
                "sha256": annex.sha256,
                "bytes": annex.bytes,
                "cipher": annex.cipher,
                "holds": {"files": annex.files, "exhibits": annex.exhibits},
            }
            for annex in source.annexes
        ],
    }


def _row(record: ObservationRecord) -> dict[str, Any]:
    seen = record.observation
    columns = [column for column in record.columns if column.restricted]
    return {
        "observer": seen.observer,
        "dataset": seen.dataset,
        "role": seen.model_role or "",
        "items": f"{record.items:,}",
        "columns": [{"name": column.name, "meaning": column.meaning} for column in columns],
        "id": record.id,
    }


def _order(record: ObservationRecord) -> tuple[str, ...]:
    seen = record.observation
    return (seen.observer, seen.dataset, seen.model_role or "", record.id)


def _pairs(digest: str) -> str:
    """Return a digest as certificates are compared: pairs, with colons."""
    return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2)).upper()
