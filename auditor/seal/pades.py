"""PAdES signatures in the PDF, and the check that one signature covers every byte of the file.

Traps this module is built around, each with a test:

- after an incremental update a signature is still "valid": only one that covers the entire file counts;
- asking which changes are harmless takes minutes on a hostile file: the question is never asked;
- a parser is a large thing to show a hostile file to: none sees one that the trusted key has not signed;
- a signature that is moved (signature wrapping) leaves a hole for other content: the hole in the signed ranges has to be
  the signature and nothing else, byte for byte;
- a CMS structure has fields that no signature covers: the whole structure has to be the one this module writes.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from auditor.errors import IntegrityError, KeyMaterialError
from auditor.seal.keys import outside_dates
from auditor.seal.quiet import quietly
from auditor.seal.timestamp import check_distance, read_time_stamp
from auditor.seal.token_form import one_form

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from auditor.seal.keys import Signer
    from auditor.seal.timestamp import TimeStamp

FIELD = "AuditSignature"
STAMPED = ", time-stamped (RFC 3161)"
"""What the reason of a signature ends with that has a time stamp: it is signed, and the time stamp is not."""

_STAMP = "signature_time_stamp_token"
_RESERVED = 32768
"""Characters kept for a signature with its time stamp and the authority's certificates, in hexadecimal."""
_REST = 12288
"""Of them, those for all but the time stamp."""

_BYTE_RANGE = re.compile(rb"/ByteRange \[0 (\d{1,15}) (\d{1,15}) (\d{1,15})\]")
_CONTAINER = re.compile(rb"<(?:[0-9A-F]{2})+>")


@dataclass(frozen=True, slots=True)
class PdfCheck:
    """What a signature check of a PDF found."""

    holds: bool
    detail: str
    stamp: TimeStamp | None = None
    """The time stamp over the signature, where it holds and has one."""


def sign_pdf(
    pdf: bytes,
    signer: Signer,
    *,
    signing_time: dt.datetime,
    reason: str,
    name: str,
    time_stamp: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """Return the PDF with a PAdES baseline B-B or, with a time stamp, B-T signature that allows no later change.

    The same PDF, time and EC key give the same bytes without a time stamp. The field is invisible, outside the page box, and not hidden:
    anything else would break PDF/A-3 or PDF/UA-1.

    Args:
        pdf: An unsigned PDF.
        signer: Key and certificate.
        signing_time: The time of signing, with time zone: the signer's claim, which nobody vouches for without a time
            stamp.
        reason: Why it is signed. With a time stamp that is said behind it, under the signature: whoever takes the time stamp
            away is found.
        name: Who signs.
        time_stamp: Returns a time-stamp token (RFC 3161, DER) over the bytes it is given. None: there is no time stamp.

    Raises:
        KeyMaterialError: The certificate is not valid at that time.
        IntegrityError: What came is not a time stamp over this signature, of about this time.

    Source: ETSI EN 319 142-1 (PAdES baseline B-B and B-T); ISO 32000-2, 12.8.2.2 (certification, no changes permitted).
    """
    from pyhanko.sign import fields, signers

    outside = outside_dates(signer.certificate, signing_time)
    if outside:
        msg = f"the certificate of {signer.common_name} {outside}; the report cannot be signed at {signing_time:%F}"
        raise KeyMaterialError(msg, hint="Make a new pair with `auditor keygen` and run the same command again.")
    metadata = signers.PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm="sha256",
        subfilter=fields.SigSeedSubFilter.PADES,
        reason=reason + STAMPED if time_stamp else reason,
        name=name,
        certify=True,
        docmdp_permissions=fields.MDPPerm.NO_CHANGES,
    )
    place = fields.SigFieldSpec(
        FIELD,
        invis_sig_settings=fields.InvisSigSettings(box_out_of_bounds=True),
        readable_field_name="Signature of the audit report",
    )
    out = io.BytesIO()
    with quietly():
        _at(signing_time)(
            metadata, signer=_cms_signer(signer, signing_time, time_stamp), new_field_spec=place
        ).sign_pdf(incremental_writer(pdf), output=out, bytes_reserved=_RESERVED if time_stamp else None)
    return out.getvalue()


def _at(signing_time: dt.datetime) -> Any:  # noqa: ANN401  (a class of an untyped library)
    """Return a PDF signer that takes the time it is told instead of the clock's."""
    from pyhanko.sign import signers

    class At(signers.PdfSigner):  # type: ignore[misc]  # untyped library
        def init_signing_session(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            session = super().init_signing_session(*arguments, **options)
            session.system_time = signing_time
            return session

    return At


def incremental_writer(pdf: bytes) -> Any:  # noqa: ANN401
    """Return a writer that adds what it is told to and nothing else: no new metadata, no random file identifier."""
    from pyhanko.pdf_utils import generic
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    class SignatureOnly(IncrementalPdfFileWriter):  # type: ignore[misc]  # untyped library
        def _update_meta(self) -> None:
            """Leave the metadata as the report was rendered with."""

        @classmethod
        def _handle_id(cls, prev: Any) -> Any:  # noqa: ANN401
            fresh = generic.ByteStringObject(hashlib.sha256(pdf).digest()[:16])
            first = prev.trailer["/ID"][0] if "/ID" in prev.trailer else fresh
            if isinstance(first, generic.TextStringObject):
                first = generic.ByteStringObject(first.original_bytes)
            return generic.ArrayObject([first, fresh])

    return SignatureOnly(io.BytesIO(pdf))


def _cms_signer(signer: Signer, signing_time: dt.datetime, time_stamp: Callable[[bytes], bytes] | None) -> Any:  # noqa: ANN401
    """Return the PDF library's view of a signer; the private key itself is not handed over."""
    from asn1crypto import cms  # noqa: PLC0415  (heavy)
    from pyhanko.sign import signers
    from pyhanko_certvalidator.registry import SimpleCertificateStore  # noqa: PLC0415  (heavy)

    class Keyed(signers.Signer):  # type: ignore[misc]  # untyped library
        async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:  # noqa: ARG002
            return signer.sign(data, pss=False)

        async def unsigned_attrs(self, digest_algorithm: str, signature: bytes, signed_attrs: Any, **_: Any) -> Any:  # noqa: ANN401, ARG002
            if time_stamp is None:
                return None
            # In a thread of its own: whoever asks an authority may run a loop of his own.
            token = await asyncio.to_thread(_stamped, time_stamp, signature, signing_time)
            values = [cms.ContentInfo.load(token)]
            return cms.CMSAttributes([cms.CMSAttribute({"type": _STAMP, "values": values})])

    return Keyed(signing_cert=_asn1(signer.certificate), cert_registry=SimpleCertificateStore())


def _stamped(time_stamp: Callable[[bytes], bytes], signature: bytes, signing_time: dt.datetime) -> bytes:
    """Return a time stamp over a signature in its one form, after it was checked."""
    token = one_form(time_stamp(signature))
    check_distance(read_time_stamp(token, signature).time, signing_time)
    if 2 * len(token) > _RESERVED - _REST:
        msg = f"the time stamp has {len(token)} bytes, more than a signature has room for"
        raise IntegrityError(msg, hint="Name another time-stamping authority.")
    return token


def _asn1(certificate: x509.Certificate) -> Any:  # noqa: ANN401
    from asn1crypto import x509 as asn1_x509  # noqa: PLC0415  (heavy)

    return asn1_x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))


class _Refused(Exception):  # noqa: N818  (never leaves this module)
    """A signature that does not hold, with why."""


def signer_of(pdf: bytes) -> x509.Certificate | None:
    """Return the certificate that a PDF says it was signed with, unverified; None where it says nothing readable."""
    try:
        structure = _structure(_hole(pdf)[1])
        return x509.load_der_x509_certificate(structure["certificates"][0].chosen.dump())
    except Exception:  # noqa: BLE001  (a hostile file can make the parser fail in any way)
        return None


def check_pdf_signature(
    pdf: bytes, trusted: x509.Certificate, *, authority: x509.Certificate | None = None
) -> PdfCheck:
    """Return whether exactly one signature, by a trusted certificate, covers every byte of the file.

    Args:
        pdf: The file.
        trusted: The signer's certificate, from the user.
        authority: Certificate of the time-stamping authority, or of the one that issued it, from the user. None: it is said
            which certificate a time stamp was made with, not whose it is.

    Steps 1 to 4 look at bytes alone: no PDF parser sees a file that the trusted key has not signed. The certificate is
    trusted by itself, so no chain is built and nothing is fetched. Its dates are held against the time that the signer
    claims, since no clock is asked here.
    """
    try:
        # (1) the signed ranges are the whole file but the signature itself
        signed, container = _hole(pdf)
        # (2) to (4) the signature is by the trusted key, over these ranges, in the one form
        stamp = _check_container(signed, container, trusted, authority)
        # (5) to (8) the file, read as a PDF, says the same
        with quietly():
            return _check_document(pdf, trusted, stamp)
    except _Refused as refused:
        return PdfCheck(holds=False, detail=str(refused))
    except IntegrityError as error:
        return PdfCheck(holds=False, detail=error.message)
    except Exception as error:  # noqa: BLE001  (a hostile file can make a parser fail in any way; none of them holds)
        return PdfCheck(holds=False, detail=f"the PDF or its signature cannot be read ({type(error).__name__})")


def _hole(pdf: bytes) -> tuple[bytes, bytes]:
    """Return the signed bytes and the signature's container of the last signature in a file.

    The hole between the two signed ranges has to be the container in hexadecimal and nothing else, and the ranges the
    rest of the file.
    """
    found = _BYTE_RANGE.search(pdf, max(0, pdf.rfind(b"/ByteRange")))
    if found is None:
        msg = "0 signatures where there must be exactly one"
        raise _Refused(msg)
    first, second, rest = (int(word) for word in found.groups())
    hole = pdf[first:second]
    if second + rest != len(pdf) or not _CONTAINER.fullmatch(hole):
        msg = "modified after signing: the signature does not cover the entire file"
        raise _Refused(msg)
    return pdf[:first] + pdf[second:], bytes.fromhex(hole[1:-1].decode())


def _structure(container: bytes) -> Any:  # noqa: ANN401
    from asn1crypto import cms  # noqa: PLC0415  (heavy)

    return cms.ContentInfo.load(container)["content"]


def _check_container(
    signed: bytes, container: bytes, trusted: x509.Certificate, authority: x509.Certificate | None
) -> TimeStamp | None:
    structure, certificate = _structure(container), _asn1(trusted)
    (info,) = structure["signer_infos"]
    # (2) the signer is the one who is trusted
    if [item.chosen.dump() for item in structure["certificates"]] != [certificate.dump()]:
        msg = "signed with another certificate than the trusted one"
        raise _Refused(msg)
    # (3) the structure around the signature is the one this module writes: no field of it is left to chance
    attributes, signature = info["signed_attrs"].untag(), info["signature"].native
    token = _token(info, authority)
    expected = _only_form(certificate, attributes, signature, token)
    if container[: len(expected)] != expected or any(container[len(expected) :]):
        msg = "modified after signing: the signature's own structure was changed"
        raise _Refused(msg)
    # (4) digest and signature fit
    (digest,) = (item["values"][0].native for item in attributes if item["type"].native == "message_digest")
    key = trusted.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, attributes.dump(), ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, attributes.dump(), padding.PKCS1v15(), hashes.SHA256())
        else:
            msg = "the trusted key is of a kind that signs no report"
            raise _Refused(msg)
    except InvalidSignature:
        digest = None
    if digest != hashlib.sha256(signed).digest():
        msg = "the digest or signature does not fit: the PDF was changed"
        raise _Refused(msg)
    return read_time_stamp(token, signature, authority) if token else None


def _token(info: Any, authority: x509.Certificate | None) -> bytes | None:  # noqa: ANN401
    """Return the time stamp of a signature in its one form, whatever form it has; None where there is none."""
    attributes = info["unsigned_attrs"]
    if not attributes.native:
        return None
    (attribute,) = attributes
    if attribute["type"].native != _STAMP:
        msg = "modified after signing: the signature's own structure was changed"
        raise _Refused(msg)
    (value,) = attribute["values"]
    return one_form(value.dump(), authority)


def _only_form(certificate: Any, attributes: Any, signature: bytes, token: bytes | None) -> bytes:  # noqa: ANN401
    """Return the CMS structure that `sign_pdf` writes around given attributes and a signature."""
    from asn1crypto import cms  # noqa: PLC0415  (heavy)

    sid = {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
    algorithm = "sha256_ecdsa" if certificate.public_key.algorithm == "ec" else "sha256_rsa"
    signer = {
        "version": "v1",
        "sid": cms.SignerIdentifier("issuer_and_serial_number", sid),
        "digest_algorithm": {"algorithm": "sha256"},
        "signed_attrs": attributes,
        "signature_algorithm": {"algorithm": algorithm},
        "signature": signature,
    }
    if token is not None:
        stamp = cms.CMSAttribute({"type": _STAMP, "values": [cms.ContentInfo.load(token)]})
        signer["unsigned_attrs"] = cms.CMSAttributes([stamp])
    signed = {
        "version": "v1",
        "digest_algorithms": [{"algorithm": "sha256"}],
        "encap_content_info": {"content_type": "data"},
        "certificates": [certificate],
        "signer_infos": [signer],
    }
    info = cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})
    return bytes(info.dump())


def _check_document(pdf: bytes, trusted: x509.Certificate, stamp: TimeStamp | None) -> PdfCheck:
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko.sign.validation.settings import KeyUsageConstraints
    from pyhanko.sign.validation.status import SignatureCoverageLevel
    from pyhanko_certvalidator import ValidationContext  # noqa: PLC0415  (heavy)

    # (5) it is the only signature
    found = list(PdfFileReader(io.BytesIO(pdf), strict=True).embedded_signatures)
    if len(found) != 1:
        msg = f"{len(found)} signatures where there must be exactly one"
        raise _Refused(msg)
    signature: Any = found[0]
    # (6) and the PDF says of it what its bytes say
    first, length, second, rest = (int(value) for value in signature.byte_range)
    hole = b"<" + bytes(signature.pkcs7_content).hex().upper().encode() + b">"
    whole = (first, second + rest, pdf[length:second]) == (0, len(pdf), hole)
    if not whole or signature.evaluate_signature_coverage() != SignatureCoverageLevel.ENTIRE_FILE:
        msg = "modified after signing: the signature does not cover the entire file"
        raise _Refused(msg)
    # (7) the certificate was valid when, by the signer's claim, it was used
    signed_at = signature.self_reported_timestamp
    outside = outside_dates(trusted, signed_at) if signed_at else "cannot be dated: the signature names no time"
    if outside:
        msg = f"the certificate {outside}, and the signature is of {signed_at}"
        raise _Refused(msg)
    # and is time-stamped if it says so
    if str(signature.sig_object.get("/Reason", "")).endswith(STAMPED) != (stamp is not None):
        msg = f"the time stamp was {'added' if stamp else 'taken away'} after signing"
        raise _Refused(msg)
    if stamp is not None:
        check_distance(stamp.time, signed_at)
    # (8) the library agrees, by its own reading of CMS and PAdES
    context = ValidationContext(trust_roots=[_asn1(trusted)], allow_fetching=False, moment=signed_at)
    usage = KeyUsageConstraints(key_usage={"digital_signature", "non_repudiation"})
    status = validate_pdf_signature(signature, context, key_usage_settings=usage, skip_diff=True)
    if not (status.intact and status.valid and status.trusted):
        msg = "not a valid PAdES signature by a certificate for signatures"
        raise _Refused(msg)
    said = f"one signature, by the trusted key, over the entire file, dated {signed_at:%F %H:%M} UTC"
    if stamp is None:
        return PdfCheck(holds=True, detail=f"{said} by the signer's own claim")
    whose = "" if stamp.trusted else ", which is NOT checked: give its certificate with --trust-timestamp"
    return PdfCheck(holds=True, detail=f"{said}, time-stamped {stamp.described()}{whose}", stamp=stamp)


def attachments_of(pdf: bytes) -> dict[str, bytes]:
    """Return the files attached to a PDF, by name.

    Raises:
        ValueError: It is not a PDF.
    """
    import pikepdf  # noqa: PLC0415  (heavy)

    try:
        with pikepdf.open(io.BytesIO(pdf)) as document:
            return {name: spec.get_file().read_bytes() for name, spec in document.attachments.items()}
    except (pikepdf.PdfError, ValueError, KeyError) as error:
        msg = f"the attachments cannot be read ({error})"
        raise ValueError(msg) from error
