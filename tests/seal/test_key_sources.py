"""Keys from PKCS#12 files and from tokens (PKCS#11, SoftHSM), and passphrases that are on no command line."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from small_audit import NOW, printed
from test_keys import written

from auditor.errors import KeyMaterialError
from auditor.seal import dsse
from auditor.seal.keys import describe_signer, load_signer
from auditor.seal.new_key import generate_key
from auditor.seal.pades import check_pdf_signature, sign_pdf

KINDS = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 3072),
}
PLACES = (
    "/usr/lib/softhsm",
    "/usr/lib/x86_64-linux-gnu/softhsm",
    "/usr/local/lib/softhsm",
    "/opt/homebrew/lib/softhsm",
)
LIBRARY = next((f"{place}/libsofthsm2.so" for place in PLACES if Path(place, "libsofthsm2.so").exists()), "")


def holds(signer, unsigned) -> bool:
    """Sign a PDF and a statement, and hold both against the certificate."""
    pdf = sign_pdf(unsigned, signer, signing_time=NOW, reason="r", name="n")
    envelope = dsse.sign(b"{}", "application/json", signer)
    return check_pdf_signature(pdf, signer.certificate).holds and dsse.signature_holds(envelope, signer.certificate)


@pytest.fixture(scope="module")
def unsigned(origin):
    return printed(origin.bundle)


def bag(folder, key, passphrase=b"open sesame", name="key.p12", **options):
    _, crt = written(folder, key, **options)
    certificate = x509.load_pem_x509_certificate(crt.read_bytes())
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    path = folder / name
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"auditor", key, certificate, None, protection))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_pkcs12_file_brings_its_certificate(tmp_path, kind, unsigned):
    assert holds(load_signer(bag(tmp_path, KINDS[kind]()), None, b"open sesame", now=NOW), unsigned)


def test_pkcs12_refusals(tmp_path):
    path = bag(tmp_path / "a", KINDS["ec"](), name="key.pfx")
    for passphrase in (None, b"wrong"):
        with pytest.raises(KeyMaterialError, match="the passphrase is wrong"):
            load_signer(path, None, passphrase, now=NOW)
    with pytest.raises(KeyMaterialError, match="expired"):
        load_signer(path, None, b"open sesame", now=NOW + dt.timedelta(days=40))
    path.chmod(0o644)
    with pytest.raises(KeyMaterialError, match="others than its owner"):
        load_signer(path, None, b"open sesame", now=NOW)
    with pytest.raises(KeyMaterialError, match=r"Ed25519 .* refused"):
        load_signer(bag(tmp_path / "b", ed25519.Ed25519PrivateKey.generate()), None, b"open sesame", now=NOW)
    other = written(tmp_path / "c", KINDS["ec"]())[1]
    path.chmod(0o600)
    with pytest.raises(KeyMaterialError, match="does not belong"):
        load_signer(path, other, b"open sesame", now=NOW)


def test_a_pem_key_without_a_certificate_says_what_to_name(tmp_path):
    key, _ = written(tmp_path, KINDS["ec"]())
    with pytest.raises(KeyMaterialError, match="no certificate lies with the key") as caught:
        load_signer(key, None, None, now=NOW)
    assert "--cert" in caught.value.hint


def test_an_rsa_pair_of_our_own_signs(tmp_path, unsigned):
    files = generate_key(tmp_path, "RSA", now=NOW, kind="rsa")
    signer = load_signer(files.key, files.certificate, None, now=NOW)
    assert isinstance(signer.key, rsa.RSAPrivateKey)
    assert signer.key.key_size == 3072
    assert holds(signer, unsigned)


def test_the_signer_is_named_with_role_and_organisation(tmp_path):
    files = generate_key(tmp_path, "A. Auditor", now=NOW, role="lead auditor", organisation="Audit GmbH")
    signer = load_signer(files.key, files.certificate, None, now=NOW)
    assert describe_signer(signer.certificate).startswith("A. Auditor, lead auditor, Audit GmbH, certificate SHA-256 ")
    assert "shows that nothing was changed, not who the signer is" in describe_signer(signer.certificate)
    with pytest.raises(KeyMaterialError, match="the role of the signer has 65 bytes"):
        generate_key(tmp_path / "other", "A", now=NOW, role="x" * 65)


@pytest.mark.parametrize(
    ("purpose", "allowed"),
    [
        (ExtendedKeyUsageOID.SERVER_AUTH, False),
        (ExtendedKeyUsageOID.TIME_STAMPING, False),
        (ExtendedKeyUsageOID.EMAIL_PROTECTION, True),
        (ObjectIdentifier("1.3.6.1.5.5.7.3.36"), True),
    ],
)
def test_a_certificate_for_another_purpose_is_refused(tmp_path, purpose, allowed):
    pair = written(tmp_path, KINDS["ec"](), usage=x509.ExtendedKeyUsage([purpose]))
    if allowed:
        assert load_signer(*pair, None, now=NOW)
    else:
        with pytest.raises(KeyMaterialError, match="not the signing of documents"):
            load_signer(*pair, None, now=NOW)


# Tokens.


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    """A SoftHSM token with an EC and an RSA key, each with its certificate beside it, and one without."""
    if not LIBRARY or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed (apt-get install softhsm2)")
    pytest.importorskip("pkcs11", reason="the extra [pkcs11] is not installed")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    tool = ["softhsm2-util", "--module", LIBRARY]
    made = [*tool, "--init-token", "--free", "--label", "audit", "--pin", "4711", "--so-pin", "0815"]
    subprocess.run(made, check=True, capture_output=True)
    certificates = {}
    for number, kind in enumerate((*KINDS, "bare"), start=1):
        key, crt = written(folder / kind, KINDS["ec" if kind == "bare" else kind]())
        imported = [
            *tool,
            "--import",
            str(key),
            "--token",
            "audit",
            "--label",
            kind,
            "--id",
            f"0{number}",
            "--pin",
            "4711",
        ]
        subprocess.run(imported, check=True, capture_output=True)
        certificates[kind] = crt
    import pkcs11

    found = next(iter(pkcs11.lib(LIBRARY).get_tokens(token_label="audit")))
    with found.open(rw=True, user_pin="4711") as session:
        for number, kind in enumerate(KINDS, start=1):
            der = x509.load_pem_x509_certificate(certificates[kind].read_bytes()).public_bytes(
                serialization.Encoding.DER
            )
            session.create_object(
                {
                    pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
                    pkcs11.Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
                    pkcs11.Attribute.TOKEN: True,
                    pkcs11.Attribute.ID: bytes([number]),
                    pkcs11.Attribute.SUBJECT: b"0",
                    pkcs11.Attribute.VALUE: der,
                }
            )
    yield certificates
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def address(name: str, rest: str = "") -> Path:
    return Path(f"pkcs11:token=audit;object={name}?module-path={LIBRARY}{rest}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_in_a_token_signs_with_the_certificate_beside_it(token, kind, unsigned):
    assert holds(load_signer(address(kind), None, b"4711", now=NOW), unsigned)


def test_a_key_in_a_token_signs_with_a_certificate_from_a_file(token, unsigned):
    with pytest.raises(KeyMaterialError, match="no certificate lies with the key"):
        load_signer(address("bare"), None, b"4711", now=NOW)
    assert holds(load_signer(address("bare"), token["bare"], b"4711", now=NOW), unsigned)
    with pytest.raises(KeyMaterialError, match="does not belong"):
        load_signer(address("bare"), token["rsa"], b"4711", now=NOW)


def test_tokens_and_keys_that_cannot_be_used_are_named(token):
    for where, pin, said in (
        (address("ec"), b"0000", "the PIN is wrong"),
        (address("ec"), None, "the PIN is wrong or missing"),
        (address("none"), b"4711", "cannot be used"),
        (Path(f"pkcs11:token=other;object=ec?module-path={LIBRARY}"), b"4711", "0 tokens are meant"),
        (Path("pkcs11:token=audit;object=ec?module-path=/nowhere.so"), b"4711", "cannot be used"),
        (Path("pkcs11:token=audit;object=ec"), b"4711", "no library of the token"),
    ):
        with pytest.raises(KeyMaterialError, match=said):
            load_signer(where, None, pin, now=NOW)


@pytest.mark.parametrize("rest", ["&pin-value=4711", "&pin-source=/tmp/pin"])
def test_a_pin_on_the_command_line_is_refused_and_not_repeated(rest):
    with pytest.raises(KeyMaterialError, match="must not stand in the address") as caught:
        load_signer(Path(f"pkcs11:token=audit;object=ec?module-path=/x.so{rest}"), None, b"4711", now=NOW)
    assert "4711" not in caught.value.message + caught.value.hint
