"""Keys and certificates: read, and refused where they could not carry a signature that lasts."""

from __future__ import annotations

import datetime as dt
import hashlib
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from typing_extensions import override

from auditor.errors import KeyMaterialError

if TYPE_CHECKING:
    from pathlib import Path

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

LEAST_RSA = 3072  # bits
PKCS12 = {".p12", ".pfx"}
"""Endings of files that hold a key with its certificate."""
PURPOSES = {
    "1.3.6.1.5.5.7.3.36",  # documentSigning, RFC 9336
    "1.3.6.1.5.5.7.3.4",  # emailProtection, what document signing was done with before it
    "1.3.6.1.4.1.311.10.3.12",  # Microsoft document signing
    "1.2.840.113583.1.1.5",  # Adobe authentic documents
    "2.5.29.37.0",  # any
}
"""Extended key usages with which a certificate may sign a report; one without any may, too."""


class HeldKey(Protocol):
    """A private key that never leaves where it is held: a token or a module for hardware security."""

    def sign(self, message: bytes, *, pss: bool) -> bytes:
        """Return a signature over a message, with SHA-256; that of an EC key in DER."""
        ...


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that can sign, with its certificate."""

    key: PrivateKey | HeldKey
    certificate: x509.Certificate

    @property
    def certificate_pem(self) -> bytes:
        """The certificate, PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def common_name(self) -> str:
        """Who signs, as the certificate says."""
        return common_name(self.certificate)

    def sign(self, message: bytes, *, pss: bool) -> bytes:
        """Return a signature over a message, with SHA-256; of an EC key in software, always the same one.

        Args:
            message: What is signed.
            pss: RSA keys pad with PSS (the seal); False: PKCS#1 1.5 (the PDF, for the sake of its readers).
        """
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        if isinstance(self.key, rsa.RSAPrivateKey):
            salt = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
            return self.key.sign(message, salt if pss else padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(message, pss=pss)

    @override
    def __repr__(self) -> str:
        """Return who signs; never the key."""
        return f"Signer({self.common_name!r})"


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name of a certificate's subject, or the whole subject."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate (DER), in pairs separated by colons."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def key_id(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the public key (SubjectPublicKeyInfo, DER), lower-case hexadecimal."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(certificate.public_key().public_bytes(serialization.Encoding.DER, form)).hexdigest()


def describe_signer(certificate: x509.Certificate) -> str:
    """Return who a certificate names and what a signature by it shows, in words for the report."""
    issuer = issuer_name(certificate)
    meaning = "self-signed: a signature by it shows that nothing was changed, not who the signer is"
    if issuer:
        meaning = f"issued by {issuer}: whoever trusts that authority can trust the name"
    words = [common_name(certificate), role_name(certificate), organisation_name(certificate)]
    return f"{', '.join(filter(None, words))}, certificate SHA-256 {fingerprint(certificate)} ({meaning})"


def issuer_name(certificate: x509.Certificate) -> str:
    """Return who issued a certificate; nothing where it is self-signed."""
    return "" if certificate.issuer == certificate.subject else certificate.issuer.rfc4514_string()


def role_name(certificate: x509.Certificate) -> str:
    """Return as what somebody signs, as the certificate says; nothing where it does not say."""
    return _named(certificate, NameOID.TITLE)


def organisation_name(certificate: x509.Certificate) -> str:
    """Return for whom somebody signs, as the certificate says; nothing where it does not say."""
    return _named(certificate, NameOID.ORGANIZATION_NAME)


def _named(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> str:
    names = certificate.subject.get_attributes_for_oid(kind)
    return str(names[0].value) if names else ""


def read_certificate(path: Path) -> x509.Certificate:
    """Return the certificate of a PEM file.

    Raises:
        KeyMaterialError: It cannot be read or holds no certificate.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"{path}: the certificate cannot be read ({error.strerror or error})"
        hint = "Give the signer's certificate (PEM), as `auditor keygen` writes it."
        raise KeyMaterialError(msg, hint=hint) from error
    return parse_certificate(content, str(path))


def parse_certificate(content: bytes, where: str) -> x509.Certificate:
    """Return the certificate in PEM text.

    Args:
        content: The text.
        where: Where it was read, for the message.

    Raises:
        KeyMaterialError: It holds no certificate, or more than one: which is meant would be a guess.
    """
    try:
        (certificate,) = x509.load_pem_x509_certificates(content)
    except ValueError as error:
        msg = f"{where}: not one certificate in PEM form"
        raise KeyMaterialError(
            msg, hint="It begins with -----BEGIN CERTIFICATE-----, and there is only one."
        ) from error
    return certificate


def outside_dates(certificate: x509.Certificate, moment: dt.datetime) -> str:
    """Return how a moment lies outside a certificate's dates, in words; nothing where it lies inside.

    Args:
        certificate: The certificate.
        moment: A time with its zone.
    """
    if moment > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if moment < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    return ""


def needs_passphrase(key: Path) -> bool:
    """Return whether a key cannot be used without a passphrase or PIN."""
    if is_held(key):
        return True
    try:
        content = key.read_bytes()
    except OSError:
        return False
    return b"ENCRYPTED" in content or key.suffix.lower() in PKCS12


def brings_certificate(key: Path) -> bool:
    """Return whether the certificate lies with the key: in a PKCS#12 file or a PKCS#11 token."""
    return is_held(key) or key.suffix.lower() in PKCS12


def is_held(key: Path) -> bool:
    """Return whether a key is named by a PKCS#11 address (RFC 7512) and not by a file."""
    return str(key).startswith("pkcs11:")


def load_signer(key_path: Path, certificate_path: Path | None, passphrase: bytes | None, *, now: dt.datetime) -> Signer:
    """Return a key with its certificate, both fit to sign now.

    Args:
        key_path: A PEM file, a PKCS#12 file (.p12, .pfx), or a PKCS#11 address (RFC 7512, `pkcs11:...`).
        certificate_path: Its certificate, PEM. None: the one that lies with a PKCS#12 or PKCS#11 key.
        passphrase: Passphrase of the file or PIN of the token.
        now: The time, UTC.

    Raises:
        KeyMaterialError: One of them is missing or unreadable, they do not belong together, the key is of a refused
            kind, others can read it, or the certificate may not sign or is not valid now.
        UnsupportedError: A PKCS#11 address without the extra `[pkcs11]`.
    """
    key: PrivateKey | HeldKey
    found: x509.Certificate | None = None
    if is_held(key_path):
        from auditor.seal.held_key import open_held_key  # noqa: PLC0415  (an optional package)

        key, public, found = open_held_key(str(key_path), passphrase)
    else:
        own, found = _load_key(key_path, passphrase)
        key, public = own, own.public_key()
    _check_kind(public, key_path)
    if certificate_path is not None:
        found = read_certificate(certificate_path)
    if found is None:
        msg = f"{key_path}: no certificate lies with the key"
        raise KeyMaterialError(msg, hint="Name the certificate (PEM) with --cert.")
    where = certificate_path or key_path
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    encoded = public.public_bytes(serialization.Encoding.DER, form)
    if encoded != found.public_key().public_bytes(serialization.Encoding.DER, form):
        msg = f"{key_path}: the key does not belong to the certificate {where}"
        raise KeyMaterialError(msg, hint="Give the pair that `auditor keygen` wrote together.")
    _check_usage(found, where)
    _check_dates(found, where, now)
    return Signer(key, found)


def _load_key(path: Path, passphrase: bytes | None) -> tuple[PrivateKey, x509.Certificate | None]:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        msg = f"{path}: the signing key cannot be read ({error.strerror or error})"
        raise KeyMaterialError(
            msg, hint="Make one with `auditor keygen --name NAME`, or name it with --key."
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        msg = f"{path}: others than its owner can reach the signing key (mode {stat.S_IMODE(mode):04o})"
        raise KeyMaterialError(msg, hint=f"chmod 600 {path}")
    if path.suffix.lower() in PKCS12:
        return _from_pkcs12(path, content, passphrase)
    try:
        key = serialization.load_pem_private_key(content, passphrase)
    except TypeError as error:
        needed = "is encrypted and no passphrase was given" if passphrase is None else "is not encrypted"
        msg = f"{path}: the signing key {needed}"
        raise KeyMaterialError(msg, hint="Set AUDITOR_PASSPHRASE for an encrypted key, and only for one.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"{path}: not a private key in PEM form, or the passphrase is wrong"
        raise KeyMaterialError(msg, hint="Check AUDITOR_PASSPHRASE and the file.") from error
    return key, None  # type: ignore[return-value]  # _check_kind refuses every other kind


def _from_pkcs12(path: Path, content: bytes, passphrase: bytes | None) -> tuple[PrivateKey, x509.Certificate | None]:
    try:
        key, certificate, _ = pkcs12.load_key_and_certificates(content, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = f"{path}: not a PKCS#12 file, or the passphrase is wrong"
        raise KeyMaterialError(msg, hint="Check AUDITOR_PASSPHRASE and the file.") from error
    if key is None:
        msg = f"{path}: the PKCS#12 file holds no private key"
        raise KeyMaterialError(msg, hint="Export it again with its private key.")
    return key, certificate  # type: ignore[return-value]  # _check_kind refuses every other kind


def _check_kind(key: object, path: Path) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        msg = f"{path}: Ed25519 keys are refused, because common PDF readers take their signatures for damaged data"
        raise KeyMaterialError(msg, hint="Use EC P-256 (`auditor keygen`) or RSA of 3072 bits and more.")
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < LEAST_RSA:
            msg = f"{path}: an RSA key of {key.key_size} bits is too short"
            raise KeyMaterialError(msg, hint=f"Use EC P-256 (`auditor keygen`) or RSA of {LEAST_RSA} bits and more.")
        return
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        msg = f"{path}: keys of this kind are not supported"
        raise KeyMaterialError(msg, hint="Use EC P-256 (`auditor keygen`) or RSA of 3072 bits and more.")


def _check_usage(certificate: x509.Certificate, path: Path) -> None:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    kinds = [item.value for item in certificate.extensions if isinstance(item.value, x509.ExtendedKeyUsage)]
    purposes = {item.dotted_string for kind in kinds for item in kind}
    if purposes and not purposes & PURPOSES:
        msg = f"{path}: the certificate is for {', '.join(sorted(purposes))}, which is not the signing of documents"
        raise KeyMaterialError(msg, hint="Use a certificate for document signing or e-mail, or one for no set purpose.")
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        msg = f"{path}: the certificate is not one for signatures (its key usage allows none)"
        raise KeyMaterialError(msg, hint="Use a certificate with digitalSignature or nonRepudiation.")


def _check_dates(certificate: x509.Certificate, path: Path, now: dt.datetime) -> None:
    outside = outside_dates(certificate, now)
    if outside:
        msg = f"{path}: the certificate {outside}"
        early = now < certificate.not_valid_before_utc
        raise KeyMaterialError(
            msg, hint="Check this machine's clock, or wait." if early else "Make a new pair with `auditor keygen`."
        )
