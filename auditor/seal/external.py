"""The signed addendum: external findings in a DSSE envelope, tied by digest to the bundle, the model and the file they were read from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.core.external import NOTICE, ExternalFindings
from auditor.core.record import canonical_bytes
from auditor.errors import IntegrityError
from auditor.evidence.bundle import MANIFEST
from auditor.seal.dsse import open_envelope, sign, signature_holds
from auditor.seal.keys import common_name
from auditor.seal.statement import MODEL, PAYLOAD_TYPE, STATEMENT_TYPE, read_statement

if TYPE_CHECKING:
    from cryptography import x509

    from auditor.seal.keys import Signer

PREDICATE_TYPE = "urn:memorization-auditor:attestation:external-findings:v0.1"
FILE = "external file"
"""Name of the statement's subject that stands for the file of the other tool."""


def sign_external(found: ExternalFindings, signer: Signer) -> bytes:
    """Return the envelope over external findings; with an EC key, always the same one."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in _digests(found).items()],
        "predicateType": PREDICATE_TYPE,
        "predicate": found.plain(),
    }
    return sign(canonical_bytes(statement), PAYLOAD_TYPE, signer)


def open_external(envelope: bytes, certificate: x509.Certificate) -> ExternalFindings:
    """Return the external findings of an addendum, after its signature was checked.

    Raises:
        IntegrityError: It is no such addendum, was not signed with that key, or was changed since.
    """
    payload, kind, _ = open_envelope(envelope)
    if not signature_holds(envelope, certificate):
        msg = f"the addendum was not signed with the key of {common_name(certificate)}, or was changed since"
        raise IntegrityError(msg, hint="Give the certificate of whoever signed it with --trust.")
    digests, predicate = read_statement(payload, kind, PREDICATE_TYPE)
    try:
        found = ExternalFindings.from_plain(predicate)
    except (ValueError, TypeError) as error:
        msg = f"the addendum does not fit its schema ({str(error).splitlines()[0]})"
        raise IntegrityError(msg, hint="It was written by another version; see docs/schemas.") from error
    if digests != _digests(found) or found.notice != NOTICE:
        msg = "the addendum is about something else than it spells out"
        raise IntegrityError(msg, hint="Take it again from where `auditor import` wrote it.")
    return found


def _digests(found: ExternalFindings) -> dict[str, str]:
    return {MANIFEST: found.bundle, MODEL: found.model, FILE: found.file.sha256}
