"""PAdES B-T: the signature's time stamp, by an authority of our own on loopback."""

from __future__ import annotations

import datetime as dt
import io
import subprocess
import sys
from pathlib import Path

import pytest
from small_audit import NOW, printed

from auditor.errors import IntegrityError, StorageError
from auditor.preregister.stamping import request_time_stamp
from auditor.seal.pades import STAMPED, check_pdf_signature, sign_pdf, signer_of

sys.path.insert(0, str(Path(__file__).parents[1] / "preregister"))
from authority import listening, make_authority


@pytest.fixture(scope="module")
def authority():
    return make_authority()


@pytest.fixture(scope="module")
def unsigned(origin):
    return printed(origin.bundle)


def signed_with(unsigned, signer, stamp, **options):
    return sign_pdf(unsigned, signer, signing_time=NOW, reason="Audit report", name="n", time_stamp=stamp, **options)


@pytest.fixture(scope="module")
def stamped(origin, unsigned, authority):
    with listening(authority, NOW) as address:
        return signed_with(unsigned, origin.signer, lambda content: request_time_stamp(content, address))


def test_a_time_stamp_says_when_and_by_whom(origin, stamped, authority):
    certificate = origin.signer.certificate
    for trusted in (authority.root, authority.certificate):
        check = check_pdf_signature(stamped, certificate, authority=trusted)
        assert check.holds, check.detail
        assert "time-stamped 2026-05-04 12:00:00 UTC by Loopback time stamps" in check.detail
        assert "NOT checked" not in check.detail
    check = check_pdf_signature(stamped, certificate)
    assert check.holds
    assert "NOT checked: give its certificate with --trust-timestamp" in check.detail
    assert signer_of(stamped) == certificate


def test_another_authority_is_not_the_trusted_one(origin, stamped):
    check = check_pdf_signature(stamped, origin.signer.certificate, authority=make_authority("Other").root)
    assert not check.holds
    assert "not by the trusted authority" in check.detail or "does not lead" in check.detail


def test_other_eyes_see_the_time_stamp(stamped, tmp_path, authority):
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko_certvalidator import ValidationContext

    from auditor.seal.pades import _asn1 as asn1

    signature = PdfFileReader(io.BytesIO(stamped)).embedded_signatures[0]
    context = ValidationContext(trust_roots=[asn1(authority.root)], allow_fetching=False, moment=NOW)
    status = validate_pdf_signature(signature, context, skip_diff=True)
    assert status.timestamp_validity is not None
    assert status.timestamp_validity.intact
    assert status.timestamp_validity.valid
    assert status.timestamp_validity.timestamp == NOW
    (tmp_path / "report.pdf").write_bytes(stamped)
    shown = subprocess.run(
        ["pdfsig", "-nocert", str(tmp_path / "report.pdf")], capture_output=True, text=True, check=False
    ).stdout
    assert "Signature is Valid" in shown
    assert "- Total document signed" in shown


def test_openssl_verifies_the_time_stamp(stamped, tmp_path, authority):
    from cryptography.hazmat.primitives.serialization import Encoding
    from pyhanko.pdf_utils.reader import PdfFileReader

    info = PdfFileReader(io.BytesIO(stamped)).embedded_signatures[0].signer_info
    (attribute,) = info["unsigned_attrs"]
    (tmp_path / "token.der").write_bytes(attribute["values"][0].dump())
    (tmp_path / "signature.bin").write_bytes(info["signature"].native)
    (tmp_path / "root.pem").write_bytes(authority.root.public_bytes(Encoding.PEM))
    (tmp_path / "tsa.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    command = "openssl ts -verify -token_in -in token.der -data signature.bin -CAfile root.pem -untrusted tsa.pem"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Verification: OK" in done.stdout, done.stdout + done.stderr


def test_every_changed_byte_of_the_time_stamp_is_caught(origin, stamped, authority):
    """It lies outside what the signer signs: the one form of the token leaves nothing to chance."""
    start = stamped.index(b"/Contents <") + 11
    end = stamped.index(b">", start)
    used = len(stamped[start:end].rstrip(b"0")) + 2
    certificate = origin.signer.certificate
    survived = []
    places = [*range(start, start + used, 2), *range(start + used, end, 997)]
    for place in places:
        flipped = stamped[place : place + 2].decode()
        other = f"{int(flipped, 16) ^ (1 << place // 2 % 8):02X}".encode()
        changed = stamped[:place] + other + stamped[place + 2 :]
        if check_pdf_signature(changed, certificate, authority=authority.root).holds:
            survived.append(place)
    assert survived == []
    assert len(places) > 2000


def test_a_time_stamp_that_is_taken_away_is_missed(origin, unsigned, authority, stamped):
    from asn1crypto import cms

    def rebuilt(pdf: bytes, change) -> bytes:
        start = pdf.index(b"/Contents <") + 11
        end = pdf.index(b">", start)
        outer = cms.ContentInfo.load(bytes.fromhex(pdf[start:end].decode()))
        change(outer["content"]["signer_infos"][0])
        content = outer.dump(force=True).hex().upper().encode()
        return pdf[:start] + content.ljust(end - start, b"0") + pdf[end:]

    def away(info):
        del info["unsigned_attrs"]

    bare = rebuilt(stamped, away)
    check = check_pdf_signature(bare, origin.signer.certificate)
    assert not check.holds
    assert "taken away" in check.detail

    def late(info):
        token = authority.stamp(info["signature"].native, NOW + dt.timedelta(days=2))
        attribute = {"type": "signature_time_stamp_token", "values": [cms.ContentInfo.load(token)]}
        info["unsigned_attrs"] = cms.CMSAttributes([cms.CMSAttribute(attribute)])

    check = check_pdf_signature(rebuilt(stamped, late), origin.signer.certificate, authority=authority.root)
    assert not check.holds


def test_a_report_that_was_stamped_again_later_does_not_hold(origin, unsigned, authority, monkeypatch):
    """In the one form, by the trusted authority, over this very signature: but two days after the time it claims."""
    monkeypatch.setattr("auditor.seal.pades.check_distance", lambda *_: None)
    late = signed_with(unsigned, origin.signer, lambda content: authority.stamp(content, NOW + dt.timedelta(days=2)))
    assert check_pdf_signature(late, origin.signer.certificate, authority=authority.root).holds
    monkeypatch.undo()
    check = check_pdf_signature(late, origin.signer.certificate, authority=authority.root)
    assert not check.holds
    assert "2026-05-06 12:00:00 UTC, and the signature claims 2026-05-04" in check.detail


def test_what_is_no_time_stamp_over_the_signature_is_never_written(origin, unsigned, authority):
    with pytest.raises(IntegrityError, match="over other bytes"):
        signed_with(unsigned, origin.signer, lambda _: authority.stamp(b"something else", NOW))
    with pytest.raises(IntegrityError, match="the signature claims"):
        signed_with(unsigned, origin.signer, lambda content: authority.stamp(content, NOW + dt.timedelta(hours=1)))
    for broken in ("refused", "noise", "fault", "page", "other digest"):
        with listening(authority, NOW, broken=broken) as address, pytest.raises((StorageError, IntegrityError)):
            signed_with(unsigned, origin.signer, lambda content, to=address: request_time_stamp(content, to))


def test_a_reason_cannot_pretend_a_time_stamp(origin, unsigned):
    pdf = sign_pdf(unsigned, origin.signer, signing_time=NOW, reason="Audit report" + STAMPED, name="n")
    check = check_pdf_signature(pdf, origin.signer.certificate)
    assert not check.holds
    assert "taken away" in check.detail
