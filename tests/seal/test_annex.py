"""The annex: opens with openssl alone, holds all that is withheld, and is held against the signed manifest."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import small_audit
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import IntegrityError, KeyMaterialError, UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle
from auditor.seal import annex as annexing
from auditor.seal.annex import annexes_in, read_recipient, write_annex, write_annexes
from auditor.seal.envelope import EnvelopeWriter, check_recipient
from auditor.seal.verify import verify_bundle

NOW = small_audit.NOW
KINDS = ("rsa-2048", "rsa-3072", "P-256", "P-384", "P-521")


def key_of(kind: str):
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind.split("-")[1]))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}[kind]())


def certificate_of(key, *, days: int = 30, usage: str | None = None, begin: dt.datetime = NOW) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "Datenschutzbehörde"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Land"),
        ]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - dt.timedelta(days=1))
        .not_valid_after(begin + dt.timedelta(days=days))
    )
    if usage is not None:
        flags = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
             "crl_sign", "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        made = made.add_extension(x509.KeyUsage(**(flags | {usage: True})), critical=True)
    return made.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def write(folder: Path, key, certificate) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    (folder / "authority.crt.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "authority.key.pem").write_bytes(private)
    return folder / "authority.crt.pem", folder / "authority.key.pem"


def opened(envelope: Path, certificate: Path, key: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", envelope, "-recip", certificate, "-inkey", key],
        capture_output=True,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def recipient(request, tmp_path_factory):
    key = key_of(request.param)
    return write(tmp_path_factory.mktemp("authority"), key, certificate_of(key))


def test_openssl_opens_what_was_encrypted_and_nobody_else_does(recipient, tmp_path):
    certificate, key = recipient
    read = read_recipient(certificate, now=NOW)
    for size in (0, 1, 15, 16, 17, 65519, 65536, 200_000):
        content = bytes(place * 7 % 251 for place in range(size))
        with (tmp_path / "e.cms").open("wb") as sink:
            envelope = EnvelopeWriter(sink, read.certificate)
            for start in range(0, size, 1000):
                envelope.write(content[start : start + 1000])
            envelope.close()
        done = opened(tmp_path / "e.cms", certificate, key)
        assert done.returncode == 0, done.stderr
        assert done.stdout == content
    stranger = key_of("P-256")
    other = write(tmp_path / "stranger", stranger, certificate_of(stranger))
    assert opened(tmp_path / "e.cms", *other).returncode != 0


def test_the_envelope_is_what_another_library_reads(recipient, tmp_path):
    from asn1crypto import cms

    certificate, _ = recipient
    read = read_recipient(certificate, now=NOW)
    sink = io.BytesIO()
    envelope = EnvelopeWriter(sink, read.certificate)
    envelope.write(b"x" * 100)
    envelope.close()
    found = cms.ContentInfo.load(sink.getvalue(), strict=True)
    assert found["content_type"].native == "enveloped_data"
    content = found["content"]
    assert content["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"].native == "aes256_cbc"
    transported = content["recipient_infos"][0].name == "ktri"
    assert transported == isinstance(read.certificate.public_key(), rsa.RSAPublicKey)
    assert content["version"].native == ("v0" if transported else "v2")
    if transported:
        algorithm = content["recipient_infos"][0].chosen["key_encryption_algorithm"]
        assert algorithm["algorithm"].native == "rsaes_oaep"
        assert algorithm["parameters"]["hash_algorithm"]["algorithm"].native == "sha256"


@settings(derandomize=True, deadline=None, max_examples=25)
@given(parts=st.lists(st.binary(max_size=40), max_size=8))
def test_two_envelopes_of_the_same_have_nothing_in_common_but_their_form(parts):
    key = key_of("P-256")
    certificate = certificate_of(key)
    sinks = []
    for _ in range(2):
        sink = io.BytesIO()
        envelope = EnvelopeWriter(sink, certificate)
        for part in parts:
            envelope.write(part)
        envelope.close()
        sinks.append(sink.getvalue())
    assert len(sinks[0]) == len(sinks[1])
    assert sinks[0][-30:] != sinks[1][-30:]


REFUSED = {
    "ed25519": ({}, "nothing can be encrypted"),
    "rsa-1024": ({}, "too short"),
    "rsa-2048": ({"usage": "digital_signature"}, "its key is for signing"),
    "P-256": ({"usage": "key_encipherment"}, "does not allow key agreement"),
    "P-384": ({"begin": NOW - dt.timedelta(days=90)}, "valid from"),
    "P-521": ({"begin": NOW + dt.timedelta(days=90)}, "valid from"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_certificates_that_cannot_keep_a_secret_are_refused(kind, tmp_path):
    options, said = REFUSED[kind]
    key = key_of(kind)
    certificate, _ = write(tmp_path, key, certificate_of(key, **options))
    with pytest.raises(KeyMaterialError) as caught:
        read_recipient(certificate, now=NOW)
    assert said in caught.value.message
    assert caught.value.hint


def test_a_certificate_for_encryption_is_taken():
    for kind, usage in (("rsa-2048", "key_encipherment"), ("P-256", "key_agreement")):
        assert "AES-256" in check_recipient(certificate_of(key_of(kind), usage=usage), "here", now=NOW)


@pytest.fixture(autouse=True)
def no_exhibits(monkeypatch):
    """The findings of the small bundle are not those of a battery; exhibits are tried on a real audit."""
    monkeypatch.setattr(annexing, "full_exhibits", lambda bundle: iter(()))


@pytest.fixture
def authority(tmp_path):
    key = key_of("P-256")
    return write(tmp_path / "authority", key, certificate_of(key))


def test_laid_over_the_shared_bundle_nothing_is_withheld_any_more(sealed, authority, tmp_path):
    made = write_annex(
        Bundle(sealed.bundle), read_recipient(authority[0], now=NOW), tmp_path / "annex.cms", "annex.cms"
    )
    shared = tmp_path / "shared"
    shutil.copytree(sealed.bundle, shared, ignore=shutil.ignore_patterns("restricted"))
    done = opened(tmp_path / "annex.cms", *authority)
    assert done.returncode == 0
    with zipfile.ZipFile(io.BytesIO(done.stdout)) as archive:
        archive.extractall(tmp_path / "opened")
    contents = json.loads((tmp_path / "opened" / "contents.json").read_bytes())
    for entry in contents["files"]:
        assert hashlib.sha256((tmp_path / "opened" / entry["path"]).read_bytes()).hexdigest() == entry["sha256"]
    assert contents["audit"]["manifest.json"] == small_audit.digest(sealed.bundle / layout.MANIFEST)
    assert sum(entry["path"].startswith("bundle/") for entry in contents["files"]) == made.files == 3
    before = verify_bundle(shared, sealed.signer.certificate, small_audit.repeated(shared))
    assert all(step.held for step in before)
    assert "3 restricted withheld" in before[3].detail
    shutil.copytree(tmp_path / "opened" / "bundle", shared, dirs_exist_ok=True)
    after = verify_bundle(shared, sealed.signer.certificate, small_audit.repeated(shared))
    assert all(step.held for step in after)
    assert "nothing withheld" in after[3].detail
    forged = next((shared / "observations").glob("*/restricted/shard-00000.parquet"))
    forged.write_bytes(forged.read_bytes()[:-1] + b"X")
    assert not verify_bundle(shared, sealed.signer.certificate)[3].held


def test_an_annex_in_the_bundle_is_sealed_named_and_held_to(tmp_path, authority, origin):
    bundle = tmp_path / "bundle"
    small_audit.audited(bundle)
    (made,) = write_annexes(Bundle(bundle), [read_recipient(authority[0], now=NOW)])
    small_audit.seal(bundle, origin.signer)
    assert annexes_in(bundle) == (made,)
    assert made.sha256 == small_audit.digest(bundle / made.file)
    assert made.recipient == "O=Land,CN=Datenschutzbehörde"
    steps = verify_bundle(bundle, origin.signer.certificate)
    assert steps[3].held
    assert "annex/1.cms is an annex for O=Land,CN=Datenschutzbehörde alone" in steps[3].detail
    listed = {entry["path"]: entry for entry in json.loads((bundle / "manifest.json").read_bytes())["entries"]}
    assert (listed[made.file]["media_type"], listed[made.file]["restricted"]) == ("application/cms", False)
    (bundle / made.file).write_bytes((bundle / made.file).read_bytes() + b"\x00")
    assert not verify_bundle(bundle, origin.signer.certificate)[3].held
    with pytest.raises(IntegrityError, match="not the file"):
        annexes_in(bundle)
    (bundle / made.file).unlink()
    with pytest.raises(IntegrityError, match="names other files"):
        annexes_in(bundle)
    # Sealed again for nobody: the old annex is gone.
    assert write_annexes(Bundle(bundle), []) == ()
    assert annexes_in(bundle) == ()
    assert not (bundle / layout.ANNEXES).exists()


def test_too_much_and_nothing_are_said(sealed, authority, tmp_path, monkeypatch):
    recipient = read_recipient(authority[0], now=NOW)
    monkeypatch.setattr(annexing, "LARGEST", 100)
    with pytest.raises(UsageError, match="100 at most"):
        write_annex(Bundle(sealed.bundle), recipient, tmp_path / "a.cms", "a.cms")
    monkeypatch.setattr(annexing, "LARGEST", 1 << 30)
    for folder in sealed.bundle.rglob("restricted"):
        shutil.rmtree(folder)
    with pytest.raises(UsageError, match="nothing to put into an annex"):
        write_annex(Bundle(sealed.bundle), recipient, tmp_path / "a.cms", "a.cms")
    assert not (tmp_path / "a.cms").exists()
