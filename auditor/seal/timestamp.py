"""Reads time-stamp tokens (RFC 3161): over which bytes, when, by which authority. Asks nobody: `preregister.stamping` does."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from auditor.errors import IntegrityError
from auditor.seal.keys import common_name, fingerprint
from auditor.seal.quiet import quietly
from auditor.seal.token_form import is_of

if TYPE_CHECKING:
    import datetime as dt

DIGESTS = ("sha256", "sha384", "sha512")
"""Digests that a time stamp may be over."""
FARTHEST_S = 600
"""Longest time between a signature, by the signer's clock, and its time stamp, seconds."""


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """What a time-stamp token says, after its signature was checked."""

    time: dt.datetime
    """When the authority saw the digest, UTC."""
    authority: x509.Certificate
    """Certificate it was signed with."""
    trusted: bool
    """Whether its chain leads to a certificate the user trusts; False: only its own signature was checked."""

    def described(self) -> str:
        """Return time and authority, in words."""
        return f"{self.time:%F %T} UTC by {common_name(self.authority)} (certificate SHA-256 {fingerprint(self.authority)})"


def check_distance(stamped: dt.datetime, claimed: dt.datetime) -> None:
    """Refuse a time stamp that is not of the time that a signature claims: it was stamped again, or a clock is wrong.

    Args:
        stamped: When the authority saw it.
        claimed: When the signer says it was signed.

    Raises:
        IntegrityError: They lie more than ten minutes apart.
    """
    if abs((stamped - claimed).total_seconds()) > FARTHEST_S:
        msg = f"the time stamp is of {stamped:%F %T} UTC, and the signature claims {claimed:%F %T} UTC"
        raise IntegrityError(msg, hint="Check this machine's clock and the authority's.")


def read_time_stamp(token: bytes, content: bytes, trusted: x509.Certificate | None = None) -> TimeStamp:
    """Return what a token says of a content: it is over these bytes, and signed by a certificate for time-stamping.

    Args:
        token: The token (CMS ContentInfo, DER).
        content: What it has to be over.
        trusted: Certificate of the authority or of the one that issued it, from the user. None: the signature is checked with the
            certificate in the token, which shows that the token is whole and not whose it is.

    Raises:
        IntegrityError: The token is damaged, over something else, or not by the trusted authority.

    Source: RFC 3161, section 2.4.2; RFC 5816.
    """
    try:
        structure, info, certificate = _parts(token)
        with quietly():
            status = asyncio.run(_status(structure, info, content, trusted or certificate))
    except IntegrityError:
        raise
    except Exception as error:  # a hostile token can make a parser fail in any way; none of them holds
        msg = f"the time stamp cannot be read ({type(error).__name__})"
        raise IntegrityError(msg, hint="Take the commitment and its time stamp again from their origin.") from error
    if not (status["intact"] and status["valid"]):
        msg = "the time stamp does not fit: it is over other bytes, or its signature does not hold"
        raise IntegrityError(msg, hint="Take the commitment and its time stamp again from their origin.")
    # Asked here too: a certificate that is its own anchor is not asked for its purpose by the library.
    if status["trust_problem_indic"] is not None or not _stamps(certificate):
        whose = "the trusted authority" if trusted else "a certificate for time-stamping"
        msg = f"the time stamp is not by {whose} ({common_name(certificate)}, SHA-256 {fingerprint(certificate)})"
        raise IntegrityError(msg, hint="Give the certificate of the authority, or of the one that issued it.")
    return TimeStamp(info["gen_time"].native, certificate, trusted is not None)


def _stamps(certificate: x509.Certificate) -> bool:
    """Return whether a certificate is for time-stamping alone, and says so (RFC 3161, section 2.3)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return usage.critical and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]


def _parts(token: bytes) -> tuple[Any, Any, x509.Certificate]:
    """Return signed data, time-stamp information and the signer's certificate of a token."""
    from asn1crypto import cms, tsp  # noqa: PLC0415  (heavy)

    outer = cms.ContentInfo.load(token, strict=True)
    if outer["content_type"].native != "signed_data":
        msg = "the time stamp is not signed"
        raise IntegrityError(msg, hint="Give the token as the authority sent it.")
    structure = outer["content"]
    info = structure["encap_content_info"]["content"].parsed
    if not isinstance(info, tsp.TSTInfo):
        msg = "what is signed is not a time stamp"
        raise IntegrityError(msg, hint="Give the token as the authority sent it.")
    if info["message_imprint"]["hash_algorithm"]["algorithm"].native not in DIGESTS:
        msg = "the time stamp is over a digest that is not SHA-256, SHA-384 or SHA-512"
        raise IntegrityError(msg, hint="Name an authority that keeps the digest it was asked for.")
    (signer,) = structure["signer_infos"]
    for item in structure["certificates"]:
        certificate = x509.load_der_x509_certificate(item.chosen.dump())
        if is_of(signer["sid"], item.chosen):
            return structure, info, certificate
    msg = "the time stamp does not carry the certificate it was signed with"
    raise IntegrityError(msg, hint="Name an authority that sends its certificate.")


async def _status(structure: Any, info: Any, content: bytes, root: x509.Certificate) -> dict[str, Any]:  # noqa: ANN401
    from asn1crypto import x509 as asn1_x509  # noqa: PLC0415  (heavy)
    from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
    from pyhanko_certvalidator import ValidationContext  # noqa: PLC0415  (heavy)

    anchor = asn1_x509.Certificate.load(root.public_bytes(serialization.Encoding.DER))
    context = ValidationContext(trust_roots=[anchor], allow_fetching=False, moment=info["gen_time"].native)
    found = await validate_tst_signed_data(
        structure, context, lambda algorithm: hashlib.new(algorithm, content).digest()
    )
    return {"intact": False, "valid": False, "trust_problem_indic": None, **found}
