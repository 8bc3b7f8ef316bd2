"""Encrypts a stream to one certificate, in the form that `openssl cms -decrypt` opens: CMS EnvelopedData (RFC 5652), AES-256-CBC.

To an RSA key the content's key is encrypted with OAEP (RFC 3560); with an EC key it is agreed by ephemeral-static Diffie-Hellman (RFC
5753). The file is made in one pass, so that nothing is written in the clear and memory holds one block. Encryption alone shows no
change: the digest of the file stands in a signed manifest.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives import hashes, keywrap, padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from auditor.errors import KeyMaterialError

if TYPE_CHECKING:
    import datetime as dt

LEAST_RSA = 2048  # bits
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_OID_ENVELOPED = bytes.fromhex("06092a864886f70d010703")
_OID_DATA = bytes.fromhex("06092a864886f70d010701")
_AGREE = "1.3.132.1.11.1"  # dhSinglePass-stdDH-sha256kdf-scheme
_WRAP = "2.16.840.1.101.3.4.1.45"  # id-aes256-wrap, RFC 3394
_CBC = "2.16.840.1.101.3.4.1.42"  # aes256-CBC
_BLOCK = 1 << 16


def check_recipient(certificate: x509.Certificate, where: str, *, now: dt.datetime) -> str:
    """Return how a key will be encrypted to a certificate, in words, if it can be.

    Args:
        certificate: The recipient's.
        where: Where it is from, for the error.
        now: The time, UTC.

    Raises:
        KeyMaterialError: Its key is of another kind, too short, only for signing, or out of its dates.
    """
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < LEAST_RSA:
            msg = f"{where}: an RSA key of {key.key_size} bits, too short to keep a secret"
            raise KeyMaterialError(msg, hint=f"Ask the recipient for a certificate with at least {LEAST_RSA} bits.")
        said, needed = "AES-256-CBC, RSA-OAEP with SHA-256", "key_encipherment"
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        said, needed = f"AES-256-CBC, ECDH on {CURVES[key.curve.name]} with SHA-256", "key_agreement"
    else:
        msg = f"{where}: nothing can be encrypted to a key of this kind ({type(key).__name__.removesuffix('PublicKey').lstrip('_')})"
        hint = "openssl opens CMS for RSA keys and EC keys on P-256, P-384 or P-521; Ed25519 can only sign. Ask for such a certificate."
        raise KeyMaterialError(msg, hint=hint)
    try:
        usage: Any = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not getattr(usage, needed):
        msg = f"{where}: the certificate does not allow {needed.replace('_', ' ')}: its key is for signing"
        raise KeyMaterialError(msg, hint="Ask the recipient for the certificate that is meant for encryption.")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        dates = f"{certificate.not_valid_before_utc.date()} to {certificate.not_valid_after_utc.date()}"
        msg = f"{where}: the certificate is valid from {dates}"
        raise KeyMaterialError(msg, hint="Ask the recipient for one that is valid today.")
    return said


class EnvelopeWriter:
    """Encrypts what is written to it and writes the envelope, in one pass.

    Args:
        sink: Where the envelope goes.
        certificate: The recipient's, after `check_recipient`.
    """

    def __init__(self, sink: BinaryIO, certificate: x509.Certificate) -> None:
        """Draw key and initial vector and write the head."""
        key, vector = os.urandom(32), os.urandom(16)
        self._sink = sink
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
        self._padder = padding.PKCS7(128).padder()
        self._waiting = bytearray()
        info, version = _recipient(certificate, key)
        # Lengths are left open (BER): nobody knows them before the end. openssl writes the same with -stream.
        head = b"\x30\x80" + _OID_ENVELOPED + b"\xa0\x80" + b"\x30\x80" + bytes([2, 1, version])
        head += _tlv(0x31, info) + b"\x30\x80" + _OID_DATA + _algorithm(_CBC, vector) + b"\xa0\x80"
        sink.write(head)

    def write(self, content: bytes | bytearray | memoryview) -> int:
        """Encrypt some bytes and return how many they were."""
        self._waiting += self._cipher.update(self._padder.update(bytes(content)))
        while len(self._waiting) >= _BLOCK:
            self._put(bytes(self._waiting[:_BLOCK]))
            del self._waiting[:_BLOCK]
        return len(content)

    def flush(self) -> None:
        """Do nothing: blocks are written when they are full."""

    def close(self) -> None:
        """Write what is left, and the end of the envelope."""
        self._waiting += self._cipher.update(self._padder.finalize()) + self._cipher.finalize()
        self._put(bytes(self._waiting))
        self._sink.write(b"\x00\x00" * 5)  # encrypted content, its info, the data, [0], the whole

    def _put(self, block: bytes) -> None:
        self._sink.write(_tlv(0x04, block))


def _recipient(certificate: x509.Certificate, key: bytes) -> tuple[bytes, int]:
    """Return the recipient's part, DER, and the version that an envelope with it has."""
    from asn1crypto import cms, core  # noqa: PLC0415  (heavy)
    from asn1crypto import x509 as asn1  # noqa: PLC0415

    own = asn1.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
    issuer = cms.IssuerAndSerialNumber({"issuer": own.issuer, "serial_number": own.serial_number})
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        hidden = public.encrypt(key, OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None))
        digest = {"algorithm": "sha256", "parameters": core.Null()}
        oaep = {"hash_algorithm": digest, "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": digest}}
        info = cms.KeyTransRecipientInfo(
            {
                "version": "v0",
                "rid": cms.RecipientIdentifier("issuer_and_serial_number", issuer),
                "key_encryption_algorithm": {"algorithm": "rsaes_oaep", "parameters": oaep},
                "encrypted_key": hidden,
            }
        )
        return bytes(info.dump()), 0
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise TypeError(type(public))
    ephemeral = ec.generate_private_key(public.curve)
    wrap = _algorithm(_WRAP)
    # ECC-CMS-SharedInfo (RFC 5753, 7.2): the algorithm, and the length of its key in bits.
    shared = _tlv(0x30, wrap + _tlv(0xA2, _tlv(0x04, (256).to_bytes(4, "big"))))
    agreed = X963KDF(hashes.SHA256(), 32, shared).derive(ephemeral.exchange(ec.ECDH(), public))
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    sender = _tlv(0xA1, _inner(ephemeral.public_key().public_bytes(*form)))
    keys = _tlv(0x30, _tlv(0x30, issuer.dump() + _tlv(0x04, keywrap.aes_key_wrap(agreed, key))))
    body = bytes([2, 1, 3]) + _tlv(0xA0, sender) + _algorithm(_AGREE, wrap, raw=True) + keys
    return _tlv(0xA1, body), 2


def _inner(sequence: bytes) -> bytes:
    """Return what a DER sequence holds, without its head."""
    size = sequence[1]
    return sequence[2:] if size < 0x80 else sequence[2 + (size & 0x7F) :]


def _algorithm(oid: str, parameters: bytes = b"", *, raw: bool = False) -> bytes:
    from asn1crypto import core  # noqa: PLC0415

    given = parameters if raw or not parameters else _tlv(0x04, parameters)
    return _tlv(0x30, core.ObjectIdentifier(oid).dump() + given)


def _tlv(tag: int, content: bytes) -> bytes:
    """Return a value in DER: tag, length, content."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
