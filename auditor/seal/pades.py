"""PAdES signatures in the PDF, and the check that one signature covers the whole file."""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from auditor.seal.keys import Signer

FIELD = "AuditSignature"


@dataclass(frozen=True, slots=True)
class PdfCheck:
    """What a signature check of a PDF found."""

    holds: bool
    detail: str


def sign_pdf(pdf: bytes, signer: Signer, *, reason: str, name: str) -> bytes:
    """Return the PDF with a PAdES baseline B-B signature that allows no later change.

    The time in it is the machine's: the signer's claim, which nobody vouches for without a time stamp.

    The field is invisible, outside the page box, and not hidden: anything else would break PDF/A-3 or PDF/UA-1.

    Args:
        pdf: An unsigned PDF.
        signer: Key and certificate.
        reason: Why it is signed.
        name: Who signs.
    """
    from asn1crypto import keys as asn1_keys  # noqa: PLC0415  (heavy)
    from asn1crypto import x509 as asn1_x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import fields, signers
    from pyhanko_certvalidator.registry import SimpleCertificateStore  # noqa: PLC0415

    encoding = serialization.Encoding.DER
    certificate = asn1_x509.Certificate.load(signer.certificate.public_bytes(encoding))
    key = asn1_keys.PrivateKeyInfo.load(
        signer.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    simple = signers.SimpleSigner(signing_cert=certificate, signing_key=key, cert_registry=SimpleCertificateStore())
    metadata = signers.PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm="sha256",
        subfilter=fields.SigSeedSubFilter.PADES,
        reason=reason,
        name=name,
        certify=True,
        docmdp_permissions=fields.MDPPerm.NO_CHANGES,
    )
    place = fields.SigFieldSpec(
        FIELD,
        invis_sig_settings=fields.InvisSigSettings(box_out_of_bounds=True),
        readable_field_name="Signature of the audit report",
    )
    with _quietly():
        out = io.BytesIO()
        writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
        signers.PdfSigner(metadata, signer=simple, new_field_spec=place).sign_pdf(writer, output=out)
    return out.getvalue()


def check_pdf_signature(pdf: bytes, certificate: x509.Certificate) -> PdfCheck:
    """Return whether exactly one signature, by the key of a certificate, covers the entire file.

    Changes after signing are not analysed: any is one too many, and the analysis takes minutes on a hostile file.
    """
    from asn1crypto import x509 as asn1_x509  # noqa: PLC0415  (heavy)
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from pyhanko.pdf_utils.misc import PdfError
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.general import SigningError
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko.sign.validation.errors import SignatureValidationError
    from pyhanko.sign.validation.status import SignatureCoverageLevel
    from pyhanko_certvalidator import ValidationContext  # noqa: PLC0415

    trusted = asn1_x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
    try:
        with _quietly():
            found = list(PdfFileReader(io.BytesIO(pdf), strict=True).embedded_signatures)
            if len(found) != 1:
                return PdfCheck(holds=False, detail=f"{len(found)} signatures where there must be exactly one")
            signature: Any = found[0]
            signature.compute_integrity_info(skip_diff=True)
            if signature.evaluate_signature_coverage() != SignatureCoverageLevel.ENTIRE_FILE:
                return PdfCheck(
                    holds=False, detail="modified after signing: the signature does not cover the whole file"
                )
            if signature.signer_cert.sha256 != trusted.sha256:
                return PdfCheck(holds=False, detail="signed by another certificate than the trusted one")
            context = ValidationContext(trust_roots=[trusted], allow_fetching=False)
            status = validate_pdf_signature(signature, context, skip_diff=True)
    except (PdfError, SigningError, SignatureValidationError, ValueError, KeyError, TypeError, IndexError) as error:
        return PdfCheck(holds=False, detail=f"the PDF or its signature cannot be read ({type(error).__name__})")
    except Exception as error:  # noqa: BLE001  (a hostile file can make the parser fail in any way; none of them holds)
        return PdfCheck(holds=False, detail=f"the PDF or its signature cannot be read ({type(error).__name__})")
    if not (status.intact and status.valid):
        return PdfCheck(holds=False, detail="the digest does not fit: the PDF was changed")
    return PdfCheck(holds=True, detail="one signature, by the trusted key, over the entire file")


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


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the PDF library's log out of the command's output."""
    logger = logging.getLogger("pyhanko")
    validator = logging.getLogger("pyhanko_certvalidator")
    before = logger.level, validator.level
    logger.setLevel(logging.CRITICAL)
    validator.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before[0])
        validator.setLevel(before[1])
