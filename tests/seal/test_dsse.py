"""Envelopes: what was signed is carried as it is, in one encoding, and other tools agree."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from small_audit import NOW, new_signer
from test_keys import written

from auditor.core.record import canonical_bytes, parse_json
from auditor.errors import IntegrityError
from auditor.seal.dsse import open_envelope, pre_authentication_encoding, sign, signature_holds
from auditor.seal.keys import key_id, load_signer

TYPE = "application/vnd.in-toto+json"


@pytest.fixture(scope="module")
def signers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    long = written(folder / "rsa", rsa.generate_private_key(public_exponent=65537, key_size=3072))
    return {"ec": new_signer(folder / "ec")[1], "rsa": load_signer(*long, None, now=NOW)}


def test_the_encoding_is_that_of_the_specification():
    """The example of the DSSE protocol, version 1."""
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication_encoding("é", b"") == "DSSEv1 2 é 0 ".encode()


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_securesystemslib_agrees(signers, kind):
    signer = signers[kind]
    envelope = sign(b'{"a":1}', TYPE, signer)
    assert signature_holds(envelope, signer.certificate)
    key = SSlibKey.from_crypto(signer.certificate.public_key(), key_id(signer.certificate))
    assert Envelope.from_dict(parse_json(envelope)).verify([key], 1)
    other = parse_json(envelope)
    other["payload"] = base64.b64encode(b'{"a":2}').decode()
    with pytest.raises(VerificationError):
        Envelope.from_dict(other).verify([key], 1)


def test_the_same_payload_and_key_give_the_same_envelope(signers):
    assert sign(b"x", TYPE, signers["ec"]) == sign(b"x", TYPE, signers["ec"])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(payload=st.binary(max_size=300), kind=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_payload_and_type_come_back_as_they_went_in(signers, payload, kind):
    envelope = sign(payload, kind, signers["ec"])
    assert open_envelope(envelope)[:2] == (payload, kind)
    assert signature_holds(envelope, signers["ec"].certificate)
    assert not signature_holds(envelope, signers["rsa"].certificate)


def changed(envelope: bytes, change) -> bytes:
    plain = parse_json(envelope)
    change(plain)
    return canonical_bytes(plain)


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update(payload=base64.b64encode(b"other").decode()),
        lambda e: e.update(payloadType="application/json"),
        lambda e: e["signatures"][0].update(keyid="0" * 64),
        lambda e: e["signatures"][0].update(sig=base64.b64encode(b"\x30\x06\x02\x01\x01\x02\x01\x01").decode()),
        lambda e: e["signatures"][0].update(sig=""),
    ],
)
def test_anything_else_than_what_was_signed_does_not_hold(signers, change):
    envelope = sign(b"payload", TYPE, signers["ec"])
    assert not signature_holds(changed(envelope, change), signers["ec"].certificate)


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update(extra=1),
        lambda e: e.update(payload=e["payload"] + "\n"),
        lambda e: e.update(payload=e["payload"].rstrip("=")),
        lambda e: e.update(payload="cGF5bG9hZB=="),
        lambda e: e.update(payload=None),
        lambda e: e.update(payloadType=1),
        lambda e: e.update(signatures=[]),
        lambda e: e.update(signatures=e["signatures"] * 2),
        lambda e: e.update(signatures=None),
        lambda e: e["signatures"][0].update(extra=1),
        lambda e: e["signatures"][0].pop("keyid"),
        lambda e: e.pop("payloadType"),
    ],
)
def test_only_the_one_form_of_an_envelope_is_read(signers, change):
    envelope = sign(b"payload.", TYPE, signers["ec"])
    with pytest.raises(IntegrityError):
        open_envelope(changed(envelope, change))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"{",
        b"[" * 200_000,
        b'{"payload":"","payload":"","payloadType":"","signatures":[]}',
        '{"payload":"\ud800"}'.encode("utf-16", "surrogatepass"),
        b'{"payload":1e400,"payloadType":"a","signatures":[{"keyid":"","sig":""}]}',
        b'{"payload":NaN}',
    ],
)
def test_what_is_no_envelope_is_refused_in_words(content):
    with pytest.raises(IntegrityError, match="the seal is not"):
        open_envelope(content)


def test_a_reordered_or_spaced_envelope_is_another_file(signers):
    envelope = sign(b"payload", TYPE, signers["ec"])
    for other in (envelope + b"\n", b" " + envelope, envelope.replace(b'":', b'": ', 1), b"\xef\xbb\xbf" + envelope):
        with pytest.raises(IntegrityError):
            open_envelope(other)
