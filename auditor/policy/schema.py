"""Writes the JSON Schemas of all that a user writes or a bundle holds: `python -m auditor.policy.schema FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from auditor.core.annex import Annex
from auditor.core.assessment import Assessment, Statement
from auditor.core.canary import CanarySet
from auditor.core.clause import AttackClasses, Catalogue
from auditor.core.comparison import Comparison
from auditor.core.evidence import ObservationRecord
from auditor.core.external import ExternalFile, ExternalFindings, GivenFile
from auditor.core.finding import Finding, InstrumentCheck
from auditor.core.plan import Plan
from auditor.core.policy import Policy
from auditor.core.preregistration import Deviation, Preregistration
from auditor.core.redaction import Redaction
from auditor.core.statement import Forms, StatementEntry, StatementFile
from auditor.core.subject import Subject, SubjectSpec
from auditor.evidence.manifest import Manifest

FILES: dict[str, Any] = {
    "annexes": list[Annex],
    "assessment": Assessment,
    "attack-classes": AttackClasses,
    "canaries": CanarySet,
    "catalogue": Catalogue,
    "comparison": Comparison,
    "deviations": list[Deviation],
    "external": list[ExternalFile],
    "external-addendum": ExternalFindings,
    "external-findings": GivenFile,
    "findings": list[Finding],
    "instrument": list[InstrumentCheck],
    "manifest": Manifest,
    "observation": ObservationRecord,
    "plan": Plan,
    "policy": Policy,
    "preregistration": Preregistration,
    "redaction": Redaction,
    "statement-forms": Forms,
    "statements": list[Statement],
    "statements-file": list[StatementEntry] | StatementFile,
    "subject": Subject,
    "subject-file": SubjectSpec,
}
"""What each schema describes."""


def schemas() -> dict[str, str]:
    """Return the text of every schema (JSON Schema, draft 2020-12), by file name."""
    found = {}
    for name, kind in FILES.items():
        schema = TypeAdapter(kind).json_schema()
        if kind is Policy:
            schema = _or_extending(schema)
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:memorization-auditor:{name}:1"}
        found[f"{name}.schema.json"] = json.dumps(head | schema, indent=2, ensure_ascii=False) + "\n"
    return found


def _or_extending(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a policy that is written out, or of one that extends another and names what differs."""
    definitions = schema.pop("$defs")
    whole = {key: value for key, value in schema.items() if key != "description"}
    known: dict[str, Any] = {name: {} for name in whole["properties"] if name != "overrides"}
    least = ["id", "version", "title", "extends", "because"]
    extending = {"type": "object", "properties": known, "required": least, "additionalProperties": False}
    return {"description": schema["description"], "$defs": definitions, "anyOf": [whole, extending]}


def write_schemas(folder: Path) -> None:
    """Write every schema into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas"))
