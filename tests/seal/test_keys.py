"""A key that could not carry a signature that lasts is refused before anything is signed."""

from __future__ import annotations

import datetime as dt
import os
import stat
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from small_audit import NOW

from auditor.errors import EXIT_INPUT, KeyMaterialError, StorageError
from auditor.seal.keys import fingerprint, key_id, load_signer, read_certificate
from auditor.seal.new_key import generate_key


def written(folder, key, *, usage=None, days=(-1, 30), name="Someone"):
    """Write a key of any kind and a certificate for it, as other tools would."""
    folder.mkdir(parents=True, exist_ok=True)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(NOW + dt.timedelta(days=days[0]))
    builder = builder.not_valid_after(NOW + dt.timedelta(days=days[1]))
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    certificate = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "key.pem").chmod(0o600)
    (folder / "crt.pem").write_bytes(certificate.public_bytes(pem))
    return folder / "key.pem", folder / "crt.pem"


def test_a_new_pair_signs(tmp_path):
    files = generate_key(tmp_path / "new" / "folder", "Zoë Auditor", now=NOW)
    signer = load_signer(files.key, files.certificate, None, now=NOW)
    assert signer.common_name == "Zoë Auditor"
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    certificate = signer.certificate
    assert certificate.not_valid_after_utc - NOW == dt.timedelta(days=825)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.content_commitment
    assert not usage.value.key_cert_sign
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_key_is_made_for_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        files = generate_key(tmp_path, "A", now=NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


@pytest.mark.parametrize("there", ["auditor.key.pem", "auditor.crt.pem"])
def test_nothing_is_overwritten(tmp_path, there):
    (tmp_path / there).write_bytes(b"precious")
    with pytest.raises(KeyMaterialError, match="already"):
        generate_key(tmp_path, "A", now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "é" * 33, "a\nb", "a\x00b"])
def test_a_name_that_no_certificate_takes_is_refused(tmp_path, name):
    with pytest.raises(KeyMaterialError, match="name of the signer"):
        generate_key(tmp_path, name, now=NOW)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        generate_key(tmp_path / "file" / "folder", "A", now=NOW)


def test_a_passphrase_protects_the_key(tmp_path):
    files = generate_key(tmp_path, "A", now=NOW, passphrase=b"right")
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in files.key.read_bytes()
    assert load_signer(files.key, files.certificate, b"right", now=NOW)
    with pytest.raises(KeyMaterialError, match="passphrase is wrong"):
        load_signer(files.key, files.certificate, b"wrong", now=NOW)
    with pytest.raises(KeyMaterialError, match="no passphrase"):
        load_signer(files.key, files.certificate, None, now=NOW)
    with pytest.raises(KeyMaterialError, match="empty passphrase"):
        generate_key(tmp_path / "other", "A", now=NOW, passphrase=b"")


def test_a_passphrase_for_a_key_without_one_is_named(tmp_path):
    files = generate_key(tmp_path, "A", now=NOW)
    with pytest.raises(KeyMaterialError, match="not encrypted"):
        load_signer(files.key, files.certificate, b"one", now=NOW)


def test_missing_and_unreadable_files_are_named(tmp_path):
    files = generate_key(tmp_path, "A", now=NOW)
    with pytest.raises(KeyMaterialError, match=r"none\.pem"):
        load_signer(tmp_path / "none.pem", files.certificate, None, now=NOW)
    with pytest.raises(KeyMaterialError, match=r"none\.pem"):
        load_signer(files.key, tmp_path / "none.pem", None, now=NOW)
    (tmp_path / "noise.pem").write_bytes(b"\x00noise")
    (tmp_path / "noise.pem").chmod(0o600)
    with pytest.raises(KeyMaterialError, match=r"noise\.pem: not a private key"):
        load_signer(tmp_path / "noise.pem", files.certificate, None, now=NOW)
    with pytest.raises(KeyMaterialError, match=r"noise\.pem: not one certificate"):
        load_signer(files.key, tmp_path / "noise.pem", None, now=NOW)
    with pytest.raises(KeyMaterialError, match="cannot be read"):
        load_signer(tmp_path, files.certificate, None, now=NOW)


def test_a_file_of_several_certificates_is_not_guessed_from(tmp_path):
    one = generate_key(tmp_path / "one", "A", now=NOW)
    two = generate_key(tmp_path / "two", "B", now=NOW)
    (tmp_path / "both.pem").write_bytes(one.certificate.read_bytes() + two.certificate.read_bytes())
    with pytest.raises(KeyMaterialError, match="not one certificate"):
        read_certificate(tmp_path / "both.pem")


def test_a_key_and_the_certificate_of_another_do_not_go_together(tmp_path):
    one = generate_key(tmp_path / "one", "A", now=NOW)
    two = generate_key(tmp_path / "two", "A", now=NOW)
    with pytest.raises(KeyMaterialError, match="does not belong"):
        load_signer(one.key, two.certificate, None, now=NOW)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o660])
def test_a_key_that_others_can_reach_is_refused(tmp_path, mode):
    files = generate_key(tmp_path, "A", now=NOW)
    files.key.chmod(mode)
    with pytest.raises(KeyMaterialError, match=f"mode 0{mode:o}") as raised:
        load_signer(files.key, files.certificate, None, now=NOW)
    assert raised.value.hint == f"chmod 600 {files.key}"


def test_dates_are_checked_before_the_run(tmp_path):
    files = generate_key(tmp_path, "A", now=NOW, days=30)
    last = NOW + dt.timedelta(days=30)
    assert load_signer(files.key, files.certificate, None, now=last)
    with pytest.raises(KeyMaterialError, match="expired on 2026-06-03"):
        load_signer(files.key, files.certificate, None, now=last + dt.timedelta(seconds=1))
    with pytest.raises(KeyMaterialError, match="not valid before"):
        load_signer(files.key, files.certificate, None, now=NOW - dt.timedelta(hours=1))


def test_kinds_of_key(tmp_path):
    ed = written(tmp_path / "ed", ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(KeyMaterialError, match="Ed25519 keys are refused, because common PDF readers"):
        load_signer(*ed, None, now=NOW)
    short = written(tmp_path / "short", rsa.generate_private_key(public_exponent=65537, key_size=2048))
    with pytest.raises(KeyMaterialError, match="2048 bits is too short"):
        load_signer(*short, None, now=NOW)
    curve = written(tmp_path / "curve", ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(KeyMaterialError, match="not supported"):
        load_signer(*curve, None, now=NOW)
    good = written(tmp_path / "good", ec.generate_private_key(ec.SECP256R1()))
    assert load_signer(*good, None, now=NOW)


def test_a_certificate_that_may_not_sign_is_refused(tmp_path):
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    )
    bits = dict.fromkeys([*names.split(), "encipher_only", "decipher_only"], False)
    key = ec.generate_private_key(ec.SECP256R1())
    pair = written(tmp_path, key, usage=x509.KeyUsage(**{**bits, "key_cert_sign": True}))
    with pytest.raises(KeyMaterialError, match="not one for signatures"):
        load_signer(*pair, None, now=NOW)
    pair = written(tmp_path, key, usage=x509.KeyUsage(**{**bits, "digital_signature": True}))
    assert load_signer(*pair, None, now=NOW)


def test_every_refusal_ends_with_the_exit_code_for_input_and_a_hint(tmp_path):
    with pytest.raises(KeyMaterialError) as raised:
        load_signer(tmp_path / "none", tmp_path / "none", None, now=NOW)
    assert raised.value.exit_code == EXIT_INPUT
    assert raised.value.hint


def test_the_key_is_in_no_message_and_no_repr(tmp_path):
    files = generate_key(tmp_path, "A", now=NOW)
    secret = files.key.read_text().splitlines()[1]
    signer = load_signer(files.key, files.certificate, None, now=NOW)
    number = str(signer.key.private_numbers().private_value)
    assert repr(signer) == "Signer('A')"
    said = [repr(signer), str(signer), f"{signer}", repr(files)]
    broken = tmp_path / "broken.pem"
    broken.write_text(files.key.read_text().replace("-----END PRIVATE KEY-----", ""))
    broken.chmod(0o600)
    with pytest.raises(KeyMaterialError) as raised:
        load_signer(broken, files.certificate, None, now=NOW)
    chain = raised.value
    while chain is not None:
        said.append(repr(chain))
        chain = chain.__cause__
    for words in said:
        assert secret not in words
        assert number not in words


def test_openssl_reads_the_pair_and_gives_the_same_fingerprint(tmp_path):
    files = generate_key(tmp_path, "A, B & C", now=NOW)
    certificate = read_certificate(files.certificate)

    def openssl(*arguments: object) -> bytes:
        return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=20).stdout

    shown = openssl("x509", "-in", files.certificate, "-noout", "-fingerprint", "-sha256").decode()
    assert shown.strip().split("=")[1] == fingerprint(certificate)
    public = openssl("x509", "-in", files.certificate, "-noout", "-pubkey")
    assert openssl("pkey", "-in", files.key, "-pubout") == public
    (tmp_path / "pub.pem").write_bytes(public)
    der = openssl("pkey", "-pubin", "-in", tmp_path / "pub.pem", "-outform", "DER")
    (tmp_path / "pub.der").write_bytes(der)
    assert key_id(certificate) in openssl("dgst", "-sha256", tmp_path / "pub.der").decode()
    moment = int(NOW.timestamp())
    verified = openssl("verify", "-attime", moment, "-CAfile", files.certificate, files.certificate)
    assert b": OK" in verified
