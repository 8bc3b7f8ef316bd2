"""The seal as a Sigstore bundle: read by Sigstore's own verifier for JavaScript where it is installed.

Needs node on the path, and `npm install @sigstore/verify @sigstore/bundle`: in `node_modules/`, or where NODE_PATH says.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from small_audit import new_signer

from auditor.core.record import canonical_bytes, parse_json
from auditor.errors import IntegrityError, UnsupportedError
from auditor.evidence import bundle as layout
from auditor.seal.dsse import open_envelope, sign
from auditor.seal.sigstore_bundle import MEDIA_TYPE, sigstore_bundle

PACKAGES = Path(os.environ.get("NODE_PATH", "node_modules"))
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(
    NODE is None or not (PACKAGES / "@sigstore" / "verify").exists(), reason="node or @sigstore/verify is not installed"
)


@pytest.fixture
def made(origin, tmp_path):
    """The bundle in a file, the public key in another, and the report it is about."""
    certificate = origin.signer.certificate
    (tmp_path / "seal.json").write_bytes(sigstore_bundle((origin.bundle / layout.SEAL).read_bytes(), certificate))
    key = certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(key)
    return tmp_path, origin.bundle / layout.PDF


def seen(folder: Path, report: Path) -> subprocess.CompletedProcess[str]:
    command = [NODE, str(Path(__file__).with_name("sigstore_verify.js")), "seal.json", "key.pem", str(report)]
    environment = {**os.environ, "NODE_PATH": str(PACKAGES.resolve())}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_what_was_signed_stays_as_it_was(origin):
    envelope = (origin.bundle / layout.SEAL).read_bytes()
    plain = parse_json(sigstore_bundle(envelope, origin.signer.certificate))
    assert plain["mediaType"] == MEDIA_TYPE
    assert plain["verificationMaterial"] == {"publicKey": {"hint": plain["dsseEnvelope"]["signatures"][0]["keyid"]}}
    assert base64.b64decode(plain["dsseEnvelope"]["payload"]) == open_envelope(envelope)[0]


def test_a_seal_that_does_not_hold_is_never_written(origin, tmp_path):
    with pytest.raises(IntegrityError, match="not made with the key"):
        sigstore_bundle((origin.bundle / layout.SEAL).read_bytes(), new_signer(tmp_path / "other")[1].certificate)
    _, rsa = new_signer(tmp_path / "rsa", kind="rsa")
    with pytest.raises(UnsupportedError, match="padding"):
        sigstore_bundle(sign(b"{}", "application/json", rsa), rsa.certificate)


@needs_node
def test_sigstores_own_verifier_believes_it(made):
    done = seen(*made)
    assert done.returncode == 0, done.stderr
    assert "memorization-audit:v0.1" in done.stdout


def changed(folder: Path, change) -> None:
    plain = parse_json((folder / "seal.json").read_bytes())
    change(plain)
    (folder / "seal.json").write_bytes(canonical_bytes(plain))


def flipped(text: str, place: int) -> str:
    content = bytearray(base64.b64decode(text))
    content[place] ^= 1
    return base64.b64encode(bytes(content)).decode()


@needs_node
@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_flipped_byte_of_the_statement_or_the_signature_is_refused(made, place):
    folder, report = made
    whole = (folder / "seal.json").read_bytes()
    changed(
        folder, lambda plain: plain["dsseEnvelope"].update(payload=flipped(plain["dsseEnvelope"]["payload"], place))
    )
    assert seen(folder, report).returncode != 0
    (folder / "seal.json").write_bytes(whole)
    (entry,) = parse_json(whole)["dsseEnvelope"]["signatures"]
    entry["sig"] = flipped(entry["sig"], min(place, 60))
    changed(folder, lambda plain: plain["dsseEnvelope"].update(signatures=[entry]))
    assert seen(folder, report).returncode != 0
    (folder / "seal.json").write_bytes(whole)
    assert seen(folder, report).returncode == 0


@needs_node
def test_another_key_or_another_report_is_refused(made, tmp_path, origin):
    folder, report = made
    assert seen(folder, origin.bundle / layout.PLAN).returncode != 0
    other = new_signer(tmp_path / "other")[1].certificate
    key = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pem").write_bytes(key)
    assert seen(folder, report).returncode != 0
