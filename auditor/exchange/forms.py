"""The forms a bundle can be handed out in, each as bytes that are the same for the same bundle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from auditor.exchange.cyclonedx import SpecVersion, cyclonedx
from auditor.exchange.in_toto import test_result
from auditor.exchange.junit import junit
from auditor.exchange.oscal import oscal
from auditor.exchange.tables import to_csv, to_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from auditor.exchange.source import Source

Form = Literal["oscal", "cyclonedx", "in-toto", "csv", "parquet", "junit"]
Predicate = Literal["test-result", "memorization-audit"]

_WRITERS: Mapping[str, Callable[[Source], bytes]] = {
    "oscal": lambda source: _json(oscal(source)),
    "csv": to_csv,
    "parquet": to_parquet,
    "junit": junit,
}


def exported(
    source: Source, form: Form, predicate: Predicate = "test-result", *, spec_version: SpecVersion = "1.7"
) -> bytes:
    """Return a bundle in one form.

    Args:
        source: The bundle.
        form: Which form.
        predicate: What the in-toto statement is about; `memorization-audit` is the statement that the seal signs, as it was signed.
        spec_version: Version of CycloneDX.
    """
    if form == "cyclonedx":
        return _json(cyclonedx(source, spec_version))
    if form != "in-toto":
        return _WRITERS[form](source)
    return source.seal if predicate == "memorization-audit" else _json(test_result(source))


def _json(value: dict[str, Any]) -> bytes:
    """Return JSON that a person can read, always the same bytes."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
