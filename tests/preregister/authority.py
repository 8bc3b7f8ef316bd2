"""A time-stamping authority of our own, on loopback: a root, a certificate for time-stamping under it, and a server (RFC 3161)."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator

DER = serialization.Encoding.DER


@dataclass(frozen=True)
class Authority:
    """Keys and certificates of an authority."""

    root: x509.Certificate
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    def stamp(self, content: bytes, moment: dt.datetime | None = None) -> bytes:
        """Return a token over a content, at a moment of our choice."""
        import hashlib

        return self.answer(hashlib.sha256(content).digest(), moment)

    def answer(self, digest: bytes, moment: dt.datetime | None = None) -> bytes:
        import asyncio

        token = asyncio.run(self.stamper(moment).async_timestamp(digest, "sha256"))
        return token.dump()

    def stamper(self, moment: dt.datetime | None = None):
        from asn1crypto import keys
        from asn1crypto import x509 as asn1_x509
        from pyhanko.sign.timestamps.dummy_client import DummyTimeStamper

        plain = self.key.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return DummyTimeStamper(
            asn1_x509.Certificate.load(self.certificate.public_bytes(DER)),
            keys.PrivateKeyInfo.load(plain),
            fixed_dt=moment,
        )


def _certificate(name, key, issuer, issuer_key, purpose) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2060, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is not None:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
    return builder.sign(issuer_key or key, hashes.SHA256())


def make_authority(name: str = "Loopback", purpose=ExtendedKeyUsageOID.TIME_STAMPING) -> Authority:
    root_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    root = _certificate(f"{name} root", root_key, None, None, None)
    return Authority(root, _certificate(f"{name} time stamps", key, root, root_key, purpose), key)


@contextlib.contextmanager
def listening(authority: Authority, moment: dt.datetime | None = None, *, broken: str = "") -> Iterator[str]:
    """Answer time-stamp requests on loopback, and return the address."""
    from asn1crypto import tsp

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = tsp.TimeStampReq.load(self.rfile.read(int(self.headers["Content-Length"])))
            content = authority.stamper(moment).request_tsa_response(asked).dump()
            if broken == "other digest":
                asked["message_imprint"]["hashed_message"] = b"\0" * 32
                content = authority.stamper(moment).request_tsa_response(asked).dump()
            if broken == "refused":
                content = tsp.TimeStampResp({"status": {"status": "rejection"}}).dump()
            if broken == "noise":
                content = b"\x30\x03abc"
            self.send_response(500 if broken == "fault" else 200)
            self.send_header("Content-Type", "text/html" if broken == "page" else "application/timestamp-reply")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
