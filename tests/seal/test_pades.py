"""One signature over every byte of the PDF, and no way around it."""

from __future__ import annotations

import datetime as dt
import io
import time

import pikepdf
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from small_audit import ATTACHED, NOW, new_signer, printed
from test_keys import written
from wrapping import wrapped

from auditor.evidence import bundle as layout
from auditor.seal.keys import load_signer, read_certificate
from auditor.seal.new_key import generate_key
from auditor.seal.pades import attachments_of, check_pdf_signature, sign_pdf, signer_of


@pytest.fixture(scope="module")
def unsigned(origin) -> bytes:
    return printed(origin.bundle)


@pytest.fixture(scope="module")
def signed(origin) -> bytes:
    return (origin.bundle / layout.PDF).read_bytes()


@pytest.fixture(scope="module")
def certificate(origin):
    return origin.signer.certificate


def again(pdf, signer) -> bytes:
    return sign_pdf(pdf, signer, signing_time=NOW, reason="r", name="n")


def append(pdf: bytes, change) -> bytes:
    """Add an incremental update after the signature, as an editor would."""
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    change(writer)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def retitle(writer) -> None:
    from pyhanko.pdf_utils import generic

    writer.root["/Lang"] = generic.TextStringObject("fr")
    writer.update_root()


def test_a_signed_pdf_holds_and_says_by_whom_and_when(signed, certificate):
    check = check_pdf_signature(signed, certificate)
    assert check.holds
    assert "entire file" in check.detail
    assert "2026-05-04 12:00 UTC" in check.detail
    assert signer_of(signed) == certificate


def test_the_attachments_are_the_files(origin, signed):
    assert attachments_of(signed) == {name: (origin.bundle / name).read_bytes() for name in ATTACHED}


def test_the_same_pdf_time_and_key_give_the_same_bytes(origin, unsigned):
    assert again(unsigned, origin.signer) == again(unsigned, origin.signer)
    other = sign_pdf(unsigned, origin.signer, signing_time=NOW + dt.timedelta(1), reason="r", name="n")
    assert other != again(unsigned, origin.signer)


def test_an_rsa_key_signs_too(unsigned, tmp_path):
    pair = written(tmp_path, rsa.generate_private_key(public_exponent=65537, key_size=3072))
    signer = load_signer(*pair, None, now=NOW)
    assert check_pdf_signature(again(unsigned, signer), signer.certificate).holds


def test_the_signature_leaves_what_makes_it_pdf_a(unsigned, signed):
    """Invisible without the hidden flag, outside the page box; metadata, output intent and attachments as they were."""
    with pikepdf.open(io.BytesIO(signed)) as after, pikepdf.open(io.BytesIO(unsigned)) as before:
        (field,) = after.Root.AcroForm.Fields
        hidden, printable = 1 << 1, 1 << 2
        assert not int(field.F) & hidden
        assert int(field.F) & printable
        assert max(float(edge) for edge in field.Rect) < 0
        assert str(field.TU) == "Signature of the audit report"
        assert after.Root.Metadata.read_bytes() == before.Root.Metadata.read_bytes()
        assert after.docinfo == before.docinfo
        assert len(after.Root.OutputIntents) == 1
        assert after.Root.MarkInfo.Marked
        assert field.V.SubFilter == "/ETSI.CAdES.detached"
        assert int(field.V.Reference[0].TransformParams.P) == 1  # no changes permitted
        assert after.trailer.ID[0] == before.trailer.ID[0]
    assert signed.startswith(unsigned)


def test_every_changed_byte_around_the_signature_is_caught(signed, certificate):
    """The hole that the digest leaves out, where a change in structure or padding could go unseen."""
    start = signed.index(b"/Contents <") - 20
    end = signed.index(b">", start + 20) + 40
    places = [*range(start, start + 60), *range(start + 60, end - 40, 3), *range(end - 40, end)]
    survived = [
        place
        for place in places
        if check_pdf_signature(
            signed[:place] + bytes([signed[place] ^ 1 << place % 7]) + signed[place + 1 :], certificate
        ).holds
    ]
    assert survived == []


def test_no_parser_sees_a_file_that_is_not_signed(signed, certificate):
    """A cross-reference table that points to itself, and a stream that would fill the memory, are never opened."""
    import zlib

    loop = b"%PDF-1.7\nxref\n0 1\n0000000000 65535 f \ntrailer\n<< /Size 1 /Prev 9 >>\nstartxref\n9\n%%EOF"
    packed = zlib.compress(b"\x00" * 50_000_000)
    bomb = b"%%PDF-1.7\n1 0 obj\n<< /Type /XRef /Size 1 /W [1 2 1] /Filter /FlateDecode /Length %d >>\nstream\n" % len(
        packed
    )
    bomb += packed + b"\nendstream\nendobj\nstartxref\n9\n%%EOF"
    for content in (loop, bomb, signed.replace(b"/Type", b"/Tipe", 1)):
        began = time.perf_counter()
        assert not check_pdf_signature(content, certificate).holds
        assert time.perf_counter() - began < 1.0


def test_lower_case_hexadecimal_is_another_file(signed, certificate):
    start = signed.index(b"/Contents <") + 11
    end = signed.index(b">", start)
    other = signed[:start] + signed[start:end].lower() + signed[end:]
    assert not check_pdf_signature(other, certificate).holds


@pytest.mark.parametrize("tail", [b"\n", b"\x00", b"% comment\n%%EOF\n"])
def test_a_byte_after_the_end_is_caught(signed, certificate, tail):
    assert not check_pdf_signature(signed + tail, certificate).holds


@pytest.mark.parametrize("cut", [1, 10, 1000])
def test_a_cut_file_is_caught(signed, certificate, cut):
    assert not check_pdf_signature(signed[:-cut], certificate).holds


def test_an_incremental_update_is_refused_and_quickly(origin, certificate):
    """On a tagged document the analysis of differences would take the better part of a minute; it is never begun."""
    import gc
    import warnings

    import weasyprint

    rows = "".join(f"<tr><td>{row}</td><td>{row * row}</td></tr>" for row in range(400))
    page = f'<html lang="en"><title>t</title><table><thead><tr><th>n</th><th>s</th></tr></thead>{rows}</table></html>'
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # WeasyPrint leaves its colour profile open
        long = weasyprint.HTML(string=page).write_pdf(pdf_variant="pdf/a-3a", pdf_identifier=b"\x02" * 16)
        gc.collect()
    signed = again(long, origin.signer)
    assert check_pdf_signature(signed, certificate).holds
    updated = append(signed, retitle)
    began = time.perf_counter()
    check = check_pdf_signature(updated, certificate)
    assert time.perf_counter() - began < 5.0
    assert not check.holds
    assert "does not cover the entire file" in check.detail


def sign_elsewhere(pdf: bytes, keys, field: str) -> bytes:
    """Sign as other software would: with the clock's time, and without forbidding changes."""
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import fields, signers

    tool = signers.SimpleSigner.load(str(keys.key), str(keys.certificate))
    metadata = signers.PdfSignatureMetadata(
        field_name=field, subfilter=fields.SigSeedSubFilter.PADES, md_algorithm="sha256"
    )
    return signers.sign_pdf(IncrementalPdfFileWriter(io.BytesIO(pdf)), metadata, signer=tool).getvalue()


def test_a_second_signature_is_refused(origin, unsigned, certificate):
    once = sign_elsewhere(unsigned, origin.keys, "First")
    twice = sign_elsewhere(once, origin.keys, "Second")
    assert "2 signatures" in check_pdf_signature(twice, certificate).detail


def test_a_signature_by_another_is_refused(origin, unsigned, certificate, tmp_path):
    _, other = new_signer(tmp_path)
    check = check_pdf_signature(again(unsigned, other), certificate)
    assert not check.holds
    assert "another certificate" in check.detail


def test_a_wrapped_signature_is_refused(signed, certificate):
    """The PDF library alone calls this forgery valid, over the entire file and without changes; see `wrapping`."""
    from pyhanko.pdf_utils.reader import PdfFileReader

    forged = wrapped(signed, b"1 0 0 rg 100 100 300 300 re f")
    page = PdfFileReader(io.BytesIO(forged)).root["/Pages"]["/Kids"][0]
    assert page["/Contents"].data == b"1 0 0 rg 100 100 300 300 re f"
    check = check_pdf_signature(forged, certificate)
    assert not check.holds
    assert "does not cover the entire file" in check.detail


def test_a_signature_dated_outside_the_certificate_is_refused(unsigned, tmp_path):
    keys = generate_key(tmp_path, "Long ago", now=dt.datetime(2001, 5, 4, tzinfo=dt.UTC), days=2)
    check = check_pdf_signature(sign_elsewhere(unsigned, keys, "Late"), read_certificate(keys.certificate))
    assert not check.holds
    assert "expired on 2001-05-06" in check.detail


@pytest.mark.parametrize(
    "content", [b"", b"%PDF-1.7\n", b"\x00" * 1000, b"%PDF-1.7\n" + b"[" * 50_000, b"startxref\n0\n%%EOF"]
)
def test_what_is_no_pdf_does_not_hold(certificate, content):
    assert not check_pdf_signature(content, certificate).holds
    assert signer_of(content) is None
    with pytest.raises(ValueError, match="attachments cannot be read"):
        attachments_of(content)
