"""The long-term form of a report (PAdES B-LTA): the signed report byte for byte, and behind it proofs that outlive its certificates.

Behind the report stand certificates and revocation lists (a document security store) and a time stamp over all of it. The report inside is
never touched, so that it is verified as it always is: one signature over its every byte. What stands behind it may hold proofs alone; that
is looked at object by object, and nobody is asked whether some other change would be harmless.
"""

from __future__ import annotations

import asyncio
import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from auditor.errors import AuditorError, IntegrityError
from auditor.seal.keys import common_name
from auditor.seal.pades import check_pdf_signature, incremental_writer
from auditor.seal.quiet import quietly
from auditor.seal.timestamp import read_time_stamp
from auditor.seal.token_form import one_form

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from auditor.seal.pades import PdfCheck
    from auditor.seal.timestamp import TimeStamp

_RESERVED = 32768
"""Characters kept for a time stamp with its certificates, in hexadecimal."""
_RANGES = re.compile(rb"/ByteRange \[0 (\d{1,15}) (\d{1,15}) (\d{1,15})\]")
_CONTAINER = re.compile(rb"<(?:[0-9A-F]{2})+>")
_CATALOG = {"/DSS", "/AcroForm", "/Extensions"}
"""What proofs may change in the catalog of a report; of a page, `/Annots` alone."""
AGAIN = "Make the archive form again from report.pdf with `auditor archive`."


class Proofs(NamedTuple):
    """What stands behind a report."""

    report: bytes
    """The report, as it was signed."""
    signed: PdfCheck
    """What the report's own signature shows."""
    stamps: tuple[TimeStamp, ...]
    """The time stamps over the file as it was then, the earliest first; the last is over all of it."""
    certificates: tuple[x509.Certificate, ...]
    revocation_lists: tuple[x509.CertificateRevocationList, ...]


def make_archive(
    pdf: bytes,
    certificates: Sequence[x509.Certificate],
    revocation_lists: Sequence[x509.CertificateRevocationList],
    stamp: Callable[[bytes], bytes],
) -> bytes:
    """Return a report with proofs behind it; one that has some already gets more behind those.

    Args:
        pdf: The signed report, or an archive form of it.
        certificates: Those of the signer, of the authorities above, and of the time stamps.
        revocation_lists: What those authorities have revoked.
        stamp: Returns a time-stamp token (RFC 3161, DER) over a SHA-256 digest.

    Raises:
        IntegrityError: What came is not a time stamp over the file.

    Source: ETSI EN 319 142-1, sections 5.4.2 and 5.5 (document security store and document time stamp); ISO 32000-2, 12.8.4 and 12.8.5.
    """
    from asn1crypto import cms, crl  # noqa: PLC0415  (heavy)
    from asn1crypto import x509 as asn1_x509  # noqa: PLC0415
    from pyhanko.sign.fields import InvisSigSettings
    from pyhanko.sign.signers.pdf_signer import PdfTimeStamper
    from pyhanko.sign.timestamps import TimeStamper
    from pyhanko.sign.validation.dss import DocumentSecurityStore

    class Asked(TimeStamper):  # type: ignore[misc]  # untyped library
        async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> Any:  # noqa: ANN401, ARG002
            token = one_form(await asyncio.to_thread(stamp, message_digest))
            if 2 * len(token) > _RESERVED:
                msg = f"the time stamp has {len(token)} bytes, more than there is room for"
                raise IntegrityError(msg, hint="Name another time-stamping authority.")
            return cms.ContentInfo.load(token)

    with quietly():
        writer = incremental_writer(pdf)
        DocumentSecurityStore.supply_dss_in_writer(
            writer,
            None,
            certs=[asn1_x509.Certificate.load(item.public_bytes(Encoding.DER)) for item in certificates],
            crls=[crl.CertificateList.load(item.public_bytes(Encoding.DER)) for item in revocation_lists],
        )
        out = io.BytesIO()
        PdfTimeStamper(
            Asked(),
            field_name=f"ArchiveTimeStamp{len(_RANGES.findall(pdf))}",
            invis_settings=InvisSigSettings(box_out_of_bounds=True),
            readable_field_name="Time stamp over the archived report",
        ).timestamp_pdf(writer, "sha256", bytes_reserved=_RESERVED, output=out)
    made = out.getvalue()
    _stamps(made, len(report_in(made)), None)
    return made


def report_in(content: bytes) -> bytes:
    """Return the report that a file begins with: as far as its first signature reaches; all of it where nothing stands behind.

    Raises:
        IntegrityError: There is no signature.
    """
    found = _RANGES.search(content)
    if found is None:
        msg = "0 signatures where there must be at least one"
        raise IntegrityError(msg, hint="Give a report that `auditor run` signed, or an archive form of one.")
    return content[: int(found.group(2)) + int(found.group(3))]


def is_archive(content: bytes) -> bool:
    """Return whether a file looks like the archive form of a report: time stamps over a whole document stand behind the first signature."""
    found = _RANGES.search(content)
    return found is not None and b"/DocTimeStamp" in content[int(found.group(2)) + int(found.group(3)) :]


def check_archive(content: bytes, trusted: x509.Certificate, authority: x509.Certificate | None = None) -> Proofs:
    """Return what stands behind a report, after all of it and the report itself were checked.

    Args:
        content: The file.
        trusted: The signer's certificate, from the user.
        authority: Certificate of the time-stamping authority, or of the one that issued it, from the user; None: not whose they are.

    Raises:
        IntegrityError: The report inside does not hold, or what stands behind it is not proofs alone.
    """
    report = report_in(content)
    # (1) the report inside is signed over its every byte: no parser has seen anything behind it yet
    check = check_pdf_signature(report, trusted, authority=authority)
    if not check.holds:
        raise IntegrityError(check.detail, hint=AGAIN)
    try:
        # (2) the time stamps: each over all that was there, the last over the whole file
        stamps = _stamps(content, len(report), authority)
        # (3) to (4) behind the report stand proofs and nothing else
        with quietly():
            certificates, lists = _read_proofs(content, len(report), len(stamps))
    except AuditorError:
        raise
    except Exception as error:  # a hostile file can make a parser fail in any way; none of them holds
        msg = f"what stands behind the report cannot be read ({type(error).__name__})"
        raise IntegrityError(msg, hint=AGAIN) from error
    return Proofs(report, check, stamps, certificates, lists)


def described(proofs: Proofs, signer: x509.Certificate, *, trusted: bool) -> str:
    """Return what the proofs show, in words, and what is missing for the baseline B-LTA.

    Args:
        proofs: What stands behind a report.
        signer: The signer's certificate.
        trusted: Whether the user has named the authority of the time stamps.

    Raises:
        IntegrityError: A certificate had been revoked when the first time stamp was made.
    """
    own = proofs.signed.stamp
    first = min(item.time for item in (*proofs.stamps, *([own] if own else [])))
    needed = [signer, *([own.authority] if own else []), *(item.authority for item in proofs.stamps[:-1])]
    needed += [item for item in proofs.certificates if item not in needed and item != proofs.stamps[-1].authority]
    issued = [item for item in dict.fromkeys(needed) if item.issuer != item.subject]
    missing = [common_name(item) for item in issued if not _not_revoked(item, proofs, first)]
    times = ", ".join(item.described() for item in proofs.stamps)
    whose = "" if trusted else ", which is NOT checked: give its certificate with --trust-timestamp"
    level = (
        "long-term form (PAdES B-LTA)"
        if not missing
        else f"no revocation list of that time for {', '.join(missing)}: not B-LTA yet"
    )
    alone = (
        "; the signer's certificate is self-signed, which no list can revoke" if signer.issuer == signer.subject else ""
    )
    lists = f"{len(proofs.certificates)} certificates and {len(proofs.revocation_lists)} revocation lists"
    return f"nothing but proofs behind the report's {len(proofs.report):,} bytes: {lists}, time-stamped {times}{whose}; {level}{alone}"


def _not_revoked(certificate: x509.Certificate, proofs: Proofs, moment: dt.datetime) -> bool:
    """Return whether a list of the issuer, in force at a moment or later, shows that a certificate had not been revoked."""
    for listed in proofs.revocation_lists:
        above = [item for item in proofs.certificates if item.subject == listed.issuer == certificate.issuer]
        ahead = listed.next_update_utc is not None and listed.next_update_utc < moment
        if ahead or listed.last_update_utc > proofs.stamps[-1].time or not any(_by(listed, item) for item in above):
            continue
        revoked = listed.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if revoked is not None and revoked.revocation_date_utc <= moment:
            msg = f"the certificate of {common_name(certificate)} was revoked on {revoked.revocation_date_utc:%F}, before the time stamp"
            raise IntegrityError(msg, hint="Ask the signer for a report that is signed with a certificate that holds.")
        return True
    return False


def _by(listed: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return bool(listed.is_signature_valid(issuer.public_key()))  # type: ignore[arg-type]  # other kinds raise TypeError
    except (TypeError, InvalidSignature):
        return False


def _stamps(content: bytes, length: int, authority: x509.Certificate | None) -> tuple[TimeStamp, ...]:
    """Return the time stamps behind a report, each over the file up to where it ends; the last ends with the file."""
    stamps: list[TimeStamp] = []
    end = length
    for found in _RANGES.finditer(content, length):
        first, second, rest = (int(word) for word in found.groups())
        if not end < first < second < second + rest <= len(content) or not _CONTAINER.fullmatch(content[first:second]):
            msg = "a time stamp behind the report does not cover what stands before it"
            raise IntegrityError(msg, hint=AGAIN)
        container = bytes.fromhex(content[first + 1 : second - 1].decode())
        token = one_form(_first_value(container), authority)
        if container[: len(token)] != token or any(container[len(token) :]):
            msg = "modified: a time stamp behind the report was changed"
            raise IntegrityError(msg, hint=AGAIN)
        end = second + rest
        stamps.append(read_time_stamp(token, content[:first] + content[second:end], authority))
    if end != len(content) or not stamps:
        msg = "modified after archiving: no time stamp covers the entire file"
        raise IntegrityError(msg, hint=AGAIN)
    if [item.time for item in stamps] != sorted(item.time for item in stamps):
        msg = "the time stamps behind the report are not in the order of their times"
        raise IntegrityError(msg, hint=AGAIN)
    return tuple(stamps)


def _first_value(container: bytes) -> bytes:
    """Return the first DER value of a container; what follows it is padding."""
    from asn1crypto import parser  # noqa: PLC0415  (heavy)

    return bytes(container[: parser.peek(container)])


def _read_proofs(
    content: bytes, length: int, stamps: int
) -> tuple[tuple[x509.Certificate, ...], tuple[x509.CertificateRevocationList, ...]]:
    """Return certificates and revocation lists behind a report, after all that the report shows was found to be as it was.

    Every object of the report is compared with what the whole file makes of it. Only the catalog, the form and the list of a page's
    annotations may differ, and only by what a time stamp and a security store need; nothing that is added can be seen.
    """
    import pikepdf  # noqa: PLC0415  (heavy)

    with pikepdf.open(io.BytesIO(content[:length])) as before, pikepdf.open(io.BytesIO(content)) as after:
        lists, pages = _lists(before), {page.obj.objgen for page in before.pages}
        for was in before.objects:
            now = after.get_object(was.objgen)
            if _written(was) == _written(now):
                continue
            if was.objgen == before.Root.objgen:
                same = _but(was, now, _CATALOG)
            elif was.objgen in pages:
                same = _but(was, now, {"/Annots"}) and _added_fields(was.get("/Annots", []), now.get("/Annots", []))
            elif was.objgen == lists.form:
                same = _but(was, now, {"/Fields"}) and _added_fields(was["/Fields"], now["/Fields"])
            else:
                same = was.objgen in lists.arrays and _added_fields(was, now)
            if not same:
                msg = f"modified after signing: object {was.objgen[0]} of the report was changed behind it"
                raise IntegrityError(msg, hint=AGAIN)
        form = (before.Root.get("/AcroForm"), after.Root.get("/AcroForm"))
        if not (_but(*form, {"/Fields"}) and len(form[1]["/Fields"]) == len(form[0]["/Fields"]) + stamps):
            msg = "what stands behind the report is not a time stamp for each signature there"
            raise IntegrityError(msg, hint=AGAIN)
        store = after.Root.get("/DSS", {})
        certificates = [x509.load_der_x509_certificate(item.read_bytes()) for item in store.get("/Certs", [])]
        revoked = [x509.load_der_x509_crl(item.read_bytes()) for item in store.get("/CRLs", [])]
        return tuple(certificates), tuple(revoked)


class _Lists(NamedTuple):
    form: tuple[int, int]
    arrays: set[tuple[int, int]]


def _lists(document: Any) -> _Lists:  # noqa: ANN401  (an untyped library)
    """Return which objects of a report hold its form, its fields and the annotations of its pages."""
    form = document.Root["/AcroForm"]
    arrays = [form["/Fields"], *(page.obj["/Annots"] for page in document.pages if "/Annots" in page.obj)]
    return _Lists(form.objgen, {item.objgen for item in arrays if item.is_indirect})


def _written(item: Any) -> tuple[bytes, bytes]:  # noqa: ANN401
    """Return an object as it is written, references as references."""
    import pikepdf  # noqa: PLC0415  (heavy)

    if isinstance(item, pikepdf.Stream):
        return bytes(item.stream_dict.unparse(resolved=True)), bytes(item.read_raw_bytes())
    return bytes(item.unparse(resolved=True)), b""


def _but(was: Any, now: Any, keys: set[str]) -> bool:  # noqa: ANN401
    """Return whether two dictionaries say the same but for some keys, and none of these was taken away."""
    here, there = set(was.keys()), set(now.keys())
    same = here - keys == there - keys and here <= there
    return same and all(
        was[key].unparse() == now[key].unparse() if hasattr(was[key], "unparse") else was[key] == now[key]
        for key in here - keys
    )


def _added_fields(was: Any, now: Any) -> bool:  # noqa: ANN401
    """Return whether a list goes on with fields of time stamps alone, none of which shows anything."""
    old, new = [item.objgen for item in was], [item.objgen for item in now]
    return new[: len(old)] == old and all(_shows_nothing(item) for item in list(now)[len(old) :])


def _shows_nothing(field: Any) -> bool:  # noqa: ANN401
    keys = {"/Type", "/Subtype", "/FT", "/T", "/TU", "/V", "/F", "/P", "/Rect"}
    if not set(field.keys()) <= keys or field.get("/FT") != "/Sig" or field.get("/Subtype") != "/Widget":
        return False
    return bool(field["/V"].get("/Type") == "/DocTimeStamp")
