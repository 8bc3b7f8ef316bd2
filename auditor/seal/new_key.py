"""A new key with its self-signed certificate."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from auditor.errors import KeyMaterialError
from auditor.evidence.shards import storage_error
from auditor.seal.keys import LEAST_RSA

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.seal.keys import PrivateKey

KEY_FILE = "auditor.key.pem"
CERTIFICATE_FILE = "auditor.crt.pem"


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where a new key and its certificate lie."""

    key: Path
    certificate: Path


def generate_key(
    folder: Path,
    name: str,
    *,
    now: dt.datetime,
    days: int = 825,
    passphrase: bytes | None = None,
    kind: Literal["ec", "rsa"] = "ec",
    role: str = "",
    organisation: str = "",
) -> KeyFiles:
    """Write a new key, EC P-256 or RSA of 3072 bits, and its self-signed certificate, and return where they lie.

    Args:
        folder: Where to write; made if it is not there.
        name: Common name of the signer.
        now: The time, UTC.
        days: How long the certificate is valid.
        passphrase: Encrypts the key; None: it lies there in the clear, readable by its owner alone.
        kind: Kind of the key.
        role: As what the signer signs, printed in the report; empty: not said.
        organisation: For whom the signer signs, printed in the report; empty: not said.

    Raises:
        KeyMaterialError: There is a key already, or the name cannot be used.
        StorageError: The folder cannot be written.
    """
    files = KeyFiles(folder / KEY_FILE, folder / CERTIFICATE_FILE)
    for path in (files.key, files.certificate):
        if path.exists():
            msg = f"{path}: there is a key or certificate already"
            raise KeyMaterialError(msg, hint="Choose another folder with --out; keys are never overwritten.")
    given = {"name": name, "role": role, "organisation": organisation}
    for option, word in given.items():
        size = len(word.encode())
        if (size > 64 or not word.strip() or not word.isprintable()) and (word or option == "name"):
            msg = f"the {option} of the signer has {size} bytes; a certificate takes 1 to 64, printable and not all spaces"
            raise KeyMaterialError(msg, hint=f"Give another --{option}.")
    if passphrase == b"":
        msg = "an empty passphrase would leave the key unprotected"
        raise KeyMaterialError(msg, hint="Set AUDITOR_PASSPHRASE to something, or do not set it.")
    key: PrivateKey = (
        rsa.generate_private_key(65537, LEAST_RSA) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    )
    certificate = _self_signed(key, tuple(given.values()), now, days)
    protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.key.touch(mode=0o600, exist_ok=False)
        files.key.write_bytes(encoded)
        files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise storage_error(folder, error) from error
    return files


def _self_signed(key: PrivateKey, words: tuple[str, ...], now: dt.datetime, days: int) -> x509.Certificate:
    kinds = (NameOID.COMMON_NAME, NameOID.TITLE, NameOID.ORGANIZATION_NAME)
    subject = x509.Name([x509.NameAttribute(oid, word) for oid, word in zip(kinds, words, strict=True) if word])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.sign(key, hashes.SHA256())
