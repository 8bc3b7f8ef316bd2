"""The signed commitment: an in-toto statement in a DSSE envelope, over the plan, the policy and the model."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.core.preregistration import Preregistration
from auditor.core.record import canonical_bytes
from auditor.errors import IntegrityError
from auditor.seal.dsse import open_envelope, sign, signature_holds
from auditor.seal.keys import common_name, fingerprint, outside_dates
from auditor.seal.statement import MODEL, PAYLOAD_TYPE, STATEMENT_TYPE, read_statement
from auditor.seal.timestamp import TimeStamp, read_time_stamp

if TYPE_CHECKING:
    from cryptography import x509

    from auditor.seal.keys import Signer

PREDICATE_TYPE = "urn:memorization-auditor:attestation:preregistration:v0.1"
PLAN = "plan.json"
POLICY = "policy.yaml"
_AGAIN = "Take the commitment again from where `auditor plan --commit` wrote it."


@dataclass(frozen=True, slots=True)
class Committed:
    """A signed commitment whose signature holds, with its time stamp if it has one."""

    preregistration: Preregistration
    certificate: x509.Certificate
    stamp: TimeStamp | None

    @property
    def created(self) -> dt.datetime:
        """When it was signed, by the clock of the machine that did."""
        return dt.datetime.fromisoformat(self.preregistration.created)

    @property
    def latest(self) -> dt.datetime:
        """The later of its own clock and its time stamp, in whole seconds, as audits write when they began."""
        return max(self.created, self.stamp.time.replace(microsecond=0)) if self.stamp else self.created

    def described(self) -> str:
        """Return by whom and when, in words."""
        who = f"{common_name(self.certificate)} (certificate SHA-256 {fingerprint(self.certificate)})"
        stamped = f"time-stamped {self.stamp.described()}" if self.stamp else "no time stamp"
        return f"by {who} on {self.created:%F %T} UTC by the local clock, {stamped}"


def sign_preregistration(preregistration: Preregistration, signer: Signer) -> bytes:
    """Return the envelope over a commitment; with an EC key, always the same one."""
    digests = _digests(preregistration)
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items()],
        "predicateType": PREDICATE_TYPE,
        "predicate": preregistration.plain(),
    }
    return sign(canonical_bytes(statement), PAYLOAD_TYPE, signer)


def _digests(preregistration: Preregistration) -> dict[str, str]:
    made = preregistration.commitment
    return {PLAN: made.plan, POLICY: made.policy.files[0], MODEL: made.subject.model}


def open_preregistration(
    envelope: bytes,
    certificate: x509.Certificate,
    token: bytes | None = None,
    *,
    authority: x509.Certificate | None = None,
) -> Committed:
    """Return what was committed, after signature and time stamp were checked.

    Args:
        envelope: The signed commitment.
        certificate: Certificate of whoever committed.
        token: The time stamp over it; None: there is none.
        authority: Certificate of the time-stamping authority or of its issuer, from the user; None: it is not checked whose time
            stamp it is.

    Raises:
        IntegrityError: It is no such commitment, was not signed with that key, was signed outside the dates of the certificate, or
            the time stamp does not hold.
    """
    payload, kind, _ = open_envelope(envelope)
    if not signature_holds(envelope, certificate):
        msg = f"the commitment was not signed with the key of {common_name(certificate)}, or was changed since"
        raise IntegrityError(msg, hint="Give the certificate of whoever committed with --committed-by.")
    digests, predicate = read_statement(payload, kind, PREDICATE_TYPE)
    try:
        found = Preregistration.from_plain(predicate)
        made = Committed(found, certificate, None)
        outside = outside_dates(certificate, made.created)
        fits = found.commitment.policy.files and digests == _digests(found)
    except (ValueError, TypeError) as error:
        msg = f"the commitment does not fit its schema ({str(error).splitlines()[0]})"
        raise IntegrityError(msg, hint="It was damaged or written by another version; see docs/schemas.") from error
    if not fits:
        msg = "the commitment is about something else than it spells out"
        raise IntegrityError(msg, hint=_AGAIN)
    if outside:
        msg = f"the certificate of {common_name(certificate)} {outside}, and the commitment is of {found.created}"
        raise IntegrityError(msg, hint="Commit again with a valid certificate.")
    if token is None:
        return made
    return Committed(found, certificate, read_time_stamp(token, envelope, authority))
