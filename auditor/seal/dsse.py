"""DSSE envelopes: the bytes that were signed are carried as they are, and never written anew.

Source: secure-systems-lab/dsse, protocol version 1 (pre-authentication encoding, PAE).
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from auditor.core.record import canonical_bytes, parse_json
from auditor.errors import IntegrityError
from auditor.seal.keys import key_id

if TYPE_CHECKING:
    from cryptography import x509

    from auditor.seal.keys import Signer


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: `DSSEv1`, length and type, length and payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, signer: Signer) -> bytes:
    """Return an envelope over the payload, in canonical JSON; with an EC key, always the same one.

    Args:
        payload: The bytes to sign, carried as they are.
        payload_type: Their media type.
        signer: Key and certificate. EC keys sign with ECDSA and SHA-256 (RFC 6979), RSA keys with RSASSA-PSS and
            SHA-256.
    """
    message = pre_authentication_encoding(payload_type, payload)
    signature = signer.sign(message, pss=True)
    return canonical_bytes(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": [{"keyid": key_id(signer.certificate), "sig": base64.b64encode(signature).decode()}],
        }
    )


def open_envelope(envelope: bytes) -> tuple[bytes, str, bytes]:
    """Return payload, payload type and signature of an envelope with exactly one signature, unverified.

    Raises:
        IntegrityError: It is not the one encoding of such an envelope.
    """
    try:
        plain = parse_json(envelope)
        (entry,) = plain["signatures"]
        payload = base64.b64decode(plain["payload"], validate=True)
        signature = base64.b64decode(entry["sig"], validate=True)
        kind = plain["payloadType"]
        canonical = canonical_bytes(
            {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": kind,
                "signatures": [{"keyid": entry["keyid"], "sig": base64.b64encode(signature).decode()}],
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        msg = f"the seal is not a DSSE envelope ({type(error).__name__}: {error})"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.") from error
    if canonical != envelope or not isinstance(kind, str):
        msg = "the seal is not in canonical form"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
    return payload, kind, signature


def signature_holds(envelope: bytes, certificate: x509.Certificate) -> bool:
    """Return whether the envelope's signature was made with the key of a certificate; its key id must name that key.

    Raises:
        IntegrityError: It is not an envelope.
    """
    payload, kind, signature = open_envelope(envelope)
    if parse_json(envelope)["signatures"][0]["keyid"] != key_id(certificate):
        return False
    message = pre_authentication_encoding(kind, payload)
    key = certificate.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            salt = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
            key.verify(signature, message, salt, hashes.SHA256())
        else:
            return False
    except InvalidSignature:
        return False
    return True
