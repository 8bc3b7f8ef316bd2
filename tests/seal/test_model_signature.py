"""Our digest of a model is that of OpenSSF model-signing, and its signatures are read: both against files that the real tool made."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from small_audit import new_signer
from test_commands import auditor

from auditor.core.record import canonical_bytes, parse_json
from auditor.errors import EXIT_INPUT, EXIT_INTEGRITY, AuditorError, IntegrityError, KeyMaterialError, UnsupportedError
from auditor.evidence import bundle as layout
from auditor.evidence.digests import artifacts, joint_digest
from auditor.seal.model_signature import held_against, open_model_signature, read_model_key

MADE = Path(__file__).parent / "model_signing"
SAMPLE = Path(__file__).parents[2] / "samples" / "notes-lm" / "model"


def files_of(folder: Path):
    return artifacts([path for path in folder.rglob("*") if path.is_file()], folder)


AUDITED = {item.path: item.sha256 for item in files_of(MADE / "model")}


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePublicKey:
    return read_model_key(MADE / "key.pub")


@pytest.mark.parametrize("kind", ["key", "certificate"])
def test_the_digest_is_the_one_that_the_real_tool_signed(kind, key):
    """Files named so that an order by path as text is another one: `a/b.bin` comes before `a-b.txt`."""
    signed = open_model_signature((MADE / f"{kind}.sig").read_bytes(), key)
    assert signed.digest == joint_digest(files_of(MADE / "model"))
    assert list(signed.files) == [item.path for item in files_of(MADE / "model")]
    assert held_against(signed, AUDITED).startswith("all 6 audited files are as their publisher signed them, digest ")
    as_text = hashlib.sha256(b"".join(bytes.fromhex(AUDITED[name]) for name in sorted(AUDITED))).hexdigest()
    assert as_text != signed.digest


def test_the_digest_of_the_sample():
    """Source: the subject digest in what `model_signing sign key` 1.1.1 wrote for this folder."""
    assert joint_digest(files_of(SAMPLE)) == "ae0dd5466bc7209f3d4eda518df0bfaca895397b26ee1ef56250bd18aa4b2c20"


def test_the_key_may_stand_in_a_certificate():
    key = read_model_key(MADE / "certificate.crt.pem")
    assert open_model_signature((MADE / "certificate.sig").read_bytes(), key).name


def test_every_changed_byte_of_payload_or_signature_is_caught(key):
    content = (MADE / "key.sig").read_bytes()
    for part in ("payload", "sig"):
        start = content.index(f'"{part}"'.encode()) + len(part) + 2
        start = content.index(b'"', start) + 1
        end = content.index(b'"', start)
        for place in range(start, end):
            changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            with pytest.raises(AuditorError):
                open_model_signature(changed, key)


def test_another_key_or_another_kind_of_key_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match="not made with this key"):
        open_model_signature((MADE / "key.sig").read_bytes(), ec.generate_private_key(ec.SECP256R1()).public_key())
    rsa = new_signer(tmp_path / "rsa", kind="rsa")[0].certificate
    (tmp_path / "noise.pem").write_bytes(b"noise")
    for path in (rsa, tmp_path / "noise.pem", tmp_path / "none.pem"):
        with pytest.raises(KeyMaterialError):
            read_model_key(path)


def signed_again(change) -> tuple[bytes, ec.EllipticCurvePublicKey]:
    """Return the real signature with another statement, signed anew by a key of the test."""
    from cryptography.hazmat.primitives import hashes

    from auditor.seal.dsse import pre_authentication_encoding

    bundle = json.loads((MADE / "key.sig").read_bytes())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement, bundle)
    payload = json.dumps(statement).encode()
    private = ec.generate_private_key(ec.SECP384R1())
    kind = bundle["dsseEnvelope"]["payloadType"]
    signature = private.sign(pre_authentication_encoding(kind, payload), ec.ECDSA(hashes.SHA384()))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    return json.dumps(bundle).encode(), private.public_key()


CHANGES = {
    "one digest": (lambda s, b: s["predicate"]["resources"][0].update(digest="00" * 32), IntegrityError),
    "one file twice": (lambda s, b: s["predicate"]["resources"][0].update(name="a.txt"), IntegrityError),
    "other order": (lambda s, b: s["predicate"]["resources"].reverse(), IntegrityError),
    "other digest": (lambda s, b: s["predicate"]["resources"][0].update(algorithm="blake2b"), IntegrityError),
    "by shards": (lambda s, b: s["predicate"]["serialization"].update(method="shards"), UnsupportedError),
    "other predicate": (lambda s, b: s.update(predicateType="https://model_signing/Digests/v0.1"), UnsupportedError),
    "in a log": (lambda s, b: b["verificationMaterial"].update(tlogEntries=[{}]), UnsupportedError),
    "other bundle": (lambda s, b: b.update(mediaType="text/plain"), UnsupportedError),
    "no predicate": (lambda s, b: s.pop("predicate"), IntegrityError),
    "two subjects": (lambda s, b: s["subject"].append(s["subject"][0]), IntegrityError),
}


def test_a_key_on_another_curve_signs_with_its_own_digest():
    assert open_model_signature(*signed_again(lambda s, b: None)).name == "m2"


@pytest.mark.parametrize("name", CHANGES)
def test_what_contradicts_itself_or_is_not_read_here_is_refused(name):
    change, error = CHANGES[name]
    with pytest.raises(error):
        open_model_signature(*signed_again(change))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"verificationMaterial":1}', b"[" * 5000])
def test_noise_is_no_signature(content, key):
    with pytest.raises(IntegrityError, match="not a model signature"):
        open_model_signature(content, key)


def test_other_files_are_named(key):
    signed = open_model_signature((MADE / "key.sig").read_bytes(), key)
    with pytest.raises(IntegrityError, match=r"a\.txt differs"):
        held_against(signed, AUDITED | {"a.txt": "00" * 32})
    with pytest.raises(IntegrityError, match=r"new\.txt is not signed"):
        held_against(signed, AUDITED | {"new.txt": "00" * 32})
    with pytest.raises(IntegrityError, match="no file of it was seen"):
        held_against(signed, {})
    part = {path: value for path, value in AUDITED.items() if path.endswith(".txt")}
    assert "all 3 audited files" in held_against(signed, part)
    assert "3 more files are signed, which the audit did not open" in held_against(signed, part)


def test_the_command_holds_the_audited_model_against_the_signature(sealed):
    subject = parse_json((sealed.bundle / layout.SUBJECT).read_bytes())
    files = [item.plain() for item in files_of(MADE / "model")]
    subject["model"]["files"] = files
    (sealed.bundle / layout.SUBJECT).write_bytes(canonical_bytes(subject))
    asked = ["verify", sealed.bundle, "--trust", sealed.keys.certificate, "--model-signature", MADE / "key.sig"]
    shown = auditor(*asked, "--model-key", MADE / "key.pub")
    assert "(11) holds  model signature: all 6 audited files" in shown.stdout
    subject["model"]["files"] = [files[0] | {"sha256": "00" * 32}, *files[1:]]
    (sealed.bundle / layout.SUBJECT).write_bytes(canonical_bytes(subject))
    shown = auditor(*asked, "--model-key", MADE / "key.pub")
    assert shown.returncode == EXIT_INTEGRITY
    assert "(11) FAILS  model signature: the audited model is not the signed one" in shown.stdout
    shown = auditor(*asked)
    assert shown.returncode == EXIT_INPUT
    assert "--model-key" in shown.stderr
