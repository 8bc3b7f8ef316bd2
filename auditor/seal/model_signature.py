"""Reads OpenSSF model signatures (Sigstore bundles of `model-signing` 1.x): which files of a model somebody signed, and with which key.

A publisher signs a model's files; an audit names the files that it opened. Held together they say that the audited model is the
published one. Signed with a key or a certificate that the user has from the publisher; signatures with Sigstore's own certificates need its
roots and its log, and are refused here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from auditor.core.record import parse_json
from auditor.errors import IntegrityError, KeyMaterialError, UnsupportedError
from auditor.seal.dsse import pre_authentication_encoding
from auditor.seal.statement import PAYLOAD_TYPE, STATEMENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MEDIA_TYPES = {f"application/vnd.dev.sigstore.bundle.{form}" for form in ("v0.3+json", "v0.4+json")} | {
    f"application/vnd.dev.sigstore.bundle+json;version=0.{minor}" for minor in (1, 2, 3)
}
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
LARGEST = 64 * 1024 * 1024
"""Bytes of the largest model signature that is read."""
_DIGESTS: dict[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
"""Which digest a key signs with, by the bits of its curve."""


class SignedModel(NamedTuple):
    """What somebody signed of a model."""

    name: str
    digest: str
    """SHA-256 over the raw digests of the files: the subject of the statement."""
    files: dict[str, str]
    """SHA-256 by path."""


def read_model_key(path: Path) -> ec.EllipticCurvePublicKey:
    """Return the publisher's public key, from a PEM file that holds it or a certificate of it.

    Raises:
        KeyMaterialError: It cannot be read, or is of a kind that signs no models.
    """
    try:
        content = path.read_bytes()
        if b"BEGIN CERTIFICATE" in content:
            key = x509.load_pem_x509_certificate(content).public_key()
        else:
            key = serialization.load_pem_public_key(content)  # type: ignore[assignment]  # its kind is looked at below
    except (OSError, ValueError) as error:
        msg = f"{path}: neither a public key nor a certificate in PEM form ({error})"
        raise KeyMaterialError(msg, hint="Give what the publisher of the model publishes beside it.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.key_size not in _DIGESTS:
        msg = f"{path}: a key of a kind that signs no models"
        raise KeyMaterialError(msg, hint="Model signatures are made with EC keys on P-256, P-384 or P-521.")
    return key


def open_model_signature(content: bytes, key: ec.EllipticCurvePublicKey) -> SignedModel:
    """Return what a model signature is over, after it was checked with the publisher's key.

    Args:
        content: The signature, a Sigstore bundle with a DSSE envelope.
        key: The publisher's key, from the publisher.

    Raises:
        IntegrityError: It is damaged, or by another key, or contradicts itself.
        UnsupportedError: It is of a kind that is not read here.

    Source: OpenSSF model-signing 1.1, `_signing/signing.py` (statement and root digest), `_signing/sign_ec_key.py` (digest by curve).
    """
    payload = _checked(content, key)
    try:
        statement = parse_json(payload)
        kinds = (statement["_type"], statement["predicateType"])
        ((name, digest),) = [(item["name"], item["digest"]["sha256"]) for item in statement["subject"]]
        how = statement["predicate"]["serialization"]
        listed = [(item["name"], item["algorithm"], item["digest"]) for item in statement["predicate"]["resources"]]
        joined = hashlib.sha256(b"".join(bytes.fromhex(item) for _, _, item in listed)).hexdigest()
        method = (how["method"], how["hash_type"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(error) from error
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE) or method != ("files", "sha256"):
        msg = f"the model signature is of a kind that is not read here ({kinds[1]}, {' by '.join(map(str, method))})"
        raise UnsupportedError(msg, hint="Sign the model with model-signing 1.x, whole files by SHA-256 (its default).")
    files = {str(path): str(value) for path, _, value in listed}
    if joined != digest or len(files) != len(listed) or {algorithm for _, algorithm, _ in listed} - {"sha256"}:
        msg = "the model signature contradicts itself: its files do not lead to the digest it names"
        raise IntegrityError(msg, hint="Take the signature again from the publisher.")
    return SignedModel(str(name), str(digest), files)


def held_against(signed: SignedModel, audited: Mapping[str, str]) -> str:
    """Return in words that the audited files are the signed ones.

    Args:
        signed: What the publisher signed.
        audited: SHA-256 of the audited files, by path.

    Raises:
        IntegrityError: A file that was audited was not signed, or is another one; or no file was.
    """
    other = [
        f"{path} {'differs' if path in signed.files else 'is not signed'}"
        for path in audited
        if signed.files.get(path) != audited[path]
    ]
    if other or not audited:
        msg = f"the audited model is not the signed one: {'; '.join(sorted(other)[:5]) or 'no file of it was seen'}"
        raise IntegrityError(msg, hint="Compare the files of the model with those that its publisher signed.")
    more = len(signed.files) - len(audited)
    beside = f"; {more} more files are signed, which the audit did not open" if more else f", digest {signed.digest}"
    return f"all {len(audited)} audited files are as their publisher signed them{beside}"


def _checked(content: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the payload of a bundle whose signature fits the key."""
    try:
        if len(content) > LARGEST:
            raise ValueError("it is too large")  # noqa: TRY301, EM101, TRY003
        plain = parse_json(content)
        material: Mapping[str, Any] = plain["verificationMaterial"]
        envelope = plain["dsseEnvelope"]
        (entry,) = envelope["signatures"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(entry["sig"], validate=True)
        written = (envelope["payload"], entry["sig"])
        if written != (base64.b64encode(payload).decode(), base64.b64encode(signature).decode()):
            raise ValueError("its base64 is not the one form")  # noqa: TRY301, EM101, TRY003
        kind = (plain["mediaType"], envelope["payloadType"])
        logged = bool(material.get("tlogEntries"))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise _unreadable(error) from error
    if kind[0] not in MEDIA_TYPES or kind[1] != PAYLOAD_TYPE or logged:
        msg = (
            "the model was signed with Sigstore's certificates or log, which need its roots"
            if logged
            else f"a bundle of type {kind}"
        )
        raise UnsupportedError(
            msg, hint="Check it with `model_signing verify sigstore`; here keys and certificates are checked."
        )
    try:
        key.verify(signature, pre_authentication_encoding(kind[1], payload), ec.ECDSA(_DIGESTS[key.curve.key_size]))
    except InvalidSignature as error:
        msg = "the model signature was not made with this key, or was changed since"
        raise IntegrityError(msg, hint="Give the key or certificate of whoever published the model.") from error
    return payload


def _unreadable(error: Exception) -> IntegrityError:
    return IntegrityError(
        f"not a model signature ({type(error).__name__}: {error})",
        hint="Give the `model.sig` that model-signing wrote.",
    )
