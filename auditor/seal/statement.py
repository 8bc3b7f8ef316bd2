"""The in-toto statement that the seal signs: what the bundle is, by digest, and what was found, in a few words."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from auditor.core.record import canonical_bytes, parse_json
from auditor.errors import IntegrityError
from auditor.evidence.bundle import ENVIRONMENT, HTML, MANIFEST, PDF, PLAN, POLICY, PREREGISTRATION, Bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditor.core.assessment import Assessment
    from auditor.core.finding import Finding
    from auditor.core.policy import Policy
    from auditor.core.subject import Subject

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "urn:memorization-auditor:attestation:memorization-audit:v0.1"
MODEL = "model"
"""Name of the subject that stands for the model; its digest is that of OpenSSF model-signing."""
FILES = (MANIFEST, HTML, PDF)


def predicate_of(
    bundle: Bundle, *, subject: Subject, policy: Policy, findings: Sequence[Finding], assessment: Assessment
) -> dict[str, Any]:
    """Return what the audit was and found, in a few words, as the seal says it."""
    environment = bundle.read_plain(ENVIRONMENT)
    committed = {"preregistration": _digest(bundle.read(PREREGISTRATION))} if bundle.has(PREREGISTRATION) else {}
    return committed | {
        "auditor": environment["auditor"],
        "created": environment["created"],
        "operator": environment["operator"],
        "policy": {"id": policy.id, "version": policy.version, "sha256": _digest(bundle.read(POLICY))},
        "plan": _digest(bundle.read(PLAN)),
        "subject": subject.identity(),
        "data": {
            "members": subject.members.digest,
            "controls": subject.controls.digest if subject.controls else None,
        },
        "outcomes": {finding.test: finding.outcome.value for finding in findings},
        "exit_code": assessment.exit_code,
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def build_statement(bundle: Path, *, model: str, predicate: dict[str, Any]) -> bytes:
    """Return the statement over a bundle's manifest and report and over the model, in canonical JSON.

    Args:
        bundle: The bundle, with its manifest and report written.
        model: Digest of the model.
        predicate: What the audit was and found, plain JSON.
    """
    subjects = [
        {"name": name, "digest": {"sha256": hashlib.sha256((bundle / name).read_bytes()).hexdigest()}} for name in FILES
    ]
    subjects.append({"name": MODEL, "digest": {"sha256": model}})
    return canonical_bytes(
        {"_type": STATEMENT_TYPE, "subject": subjects, "predicateType": PREDICATE_TYPE, "predicate": predicate}
    )


def read_statement(
    payload: bytes, payload_type: str, predicate_type: str = PREDICATE_TYPE
) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the digests of a statement's subjects by name, and its predicate.

    Fields of the predicate that are not known are ignored (the rule of the in-toto framework for v0.x predicates).

    Args:
        payload: The statement.
        payload_type: Its media type.
        predicate_type: What the statement has to be about.

    Raises:
        IntegrityError: It is not a statement of the known type, or names a subject twice.
    """
    if payload_type != PAYLOAD_TYPE:
        msg = f"the payload is of type '{payload_type}', not {PAYLOAD_TYPE}"
        raise IntegrityError(msg, hint="This is not a seal of this tool.")
    try:
        statement = parse_json(payload)
        kinds = (statement["_type"], statement["predicateType"])
        subjects = [(item["name"], item["digest"]["sha256"]) for item in statement["subject"]]
        digests = dict(subjects)
        predicate = dict(statement["predicate"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"the payload is not an in-toto statement ({error})"
        raise IntegrityError(msg, hint="This is not a seal of this tool.") from error
    if kinds != (STATEMENT_TYPE, predicate_type):
        msg = f"statement and predicate are of the types {kinds}, which this version does not know"
        raise IntegrityError(msg, hint="Use the version of auditor that the report names.")
    if len(digests) != len(subjects):
        msg = "the statement names a subject twice"
        raise IntegrityError(msg, hint="This is not a seal of this tool.")
    return digests, predicate
