"""Verification of the report alone, without its bundle.

 (1) the PDF carries one signature over the entire file, by the trusted key: bytes first, then as a PDF (decision 6)
 (2) the evidence is attached; each file is named with its digest, so that it can be compared with a bundle
 (3) the attached files belong together: the plan is about the attached policy and subject, and the assessment ends as the
     findings do
Of its long-term form, as `auditor archive` makes it, these steps are about the report that the file begins with, and one more:
 (4) behind the report stand proofs and nothing else, under a time stamp over the entire file
What is not checked is named: it needs the bundle.
"""

from __future__ import annotations

import hashlib
import stat
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from auditor.core.record import canonical_bytes, digest_of_files, parse_json
from auditor.errors import EXIT_CLEAR, EXIT_SIGNAL, EXIT_UNRESOLVED, IntegrityError
from auditor.evidence.bundle import ASSESSMENT, FINDINGS, PLAN, POLICIES, POLICY, SUBJECT
from auditor.seal.keys import fingerprint
from auditor.seal.long_term import check_archive, described, is_archive, report_in
from auditor.seal.pades import attachments_of, check_pdf_signature, signer_of
from auditor.seal.step import Step, checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cryptography import x509

ATTACHED = frozenset({FINDINGS, ASSESSMENT})
"""What every report carries as attachments, whatever else it carries."""

NEEDS_BUNDLE = (
    ("seal over every file (steps 1 to 4 of a bundle)", "manifest.json and seal.dsse.json"),
    ("Merkle roots of the evidence (step 5)", "the observations"),
    ("the attachments are the bundle's files (step 6)", "the files"),
    ("measure again (step 7)", "the observations, and the tests at their versions"),
    ("assess again (step 8)", "statements and clauses"),
    ("render again (step 9)", "report.html and all of the above"),
)
"""What cannot be checked of a report alone, and what it would need."""

LARGEST_PDF = 512 * 1024 * 1024
"""Bytes of the largest file that is read as a report."""


def verify_pdf(
    path: Path, trusted: x509.Certificate | None, *, authority: x509.Certificate | None = None
) -> tuple[Step, ...]:
    """Return the steps of a verification of the PDF alone; `NEEDS_BUNDLE` names what they leave out.

    Args:
        path: The PDF.
        trusted: The signer's certificate, from the user. None: it can be said what is consistent, and nothing holds.
        authority: Certificate of the time-stamping authority, or of the one that issued it, from the user.
    """
    own = "the signer's certificate"
    steps = (
        checked(1, "signature of the PDF", own, lambda: _of_report(path, trusted, authority)),
        checked(2, "attachments", own, lambda: _attachments(_signed(path, trusted, authority))),
        checked(3, "attached evidence", own, lambda: _agreeing(_signed(path, trusted, authority))),
    )
    if not _archived(path):
        return steps
    needs = "the certificates of the signer and of the time-stamping authority"
    return (*steps, checked(4, "long-term proofs", needs, lambda: _proofs(_read(path), trusted, authority)))


def _of_report(path: Path, trusted: x509.Certificate | None, authority: x509.Certificate | None) -> str:
    said = _signature(_report(path), trusted, authority)
    return f"of the report that the file begins with: {said}" if _archived(path) else said


def _archived(path: Path) -> bool:
    try:
        return is_archive(_read(path))
    except IntegrityError:
        return False


def _report(path: Path) -> bytes:
    """Return the report: the file, or where it is a long-term form, what that begins with."""
    content = _read(path)
    return report_in(content) if is_archive(content) else content


def _proofs(content: bytes, trusted: x509.Certificate | None, authority: x509.Certificate | None) -> str:
    if trusted is None:
        msg = "not read: the signer is NOT trusted"
        raise IntegrityError(msg)
    return described(check_archive(content, trusted, authority), trusted, trusted=authority is not None)


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_PDF:
            msg = f"{path}: not a file that can be a report"
            raise IntegrityError(msg)
        return path.read_bytes()
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise IntegrityError(msg) from error


def _signature(pdf: bytes, trusted: x509.Certificate | None, authority: x509.Certificate | None) -> str:
    if trusted is not None:
        check = check_pdf_signature(pdf, trusted, authority=authority)
        if check.holds:
            return check.detail
        raise IntegrityError(check.detail)
    own = signer_of(pdf)
    if own is None or not check_pdf_signature(pdf, own, authority=authority).holds:
        msg = "does not even hold for the certificate in the file; give the signer's certificate with --trust"
        raise IntegrityError(msg)
    msg = f"consistent with the certificate in the file ({fingerprint(own)}), but the signer is NOT trusted: "
    raise IntegrityError(msg + "give the signer's certificate with --trust")


def _signed(path: Path, trusted: x509.Certificate | None, authority: x509.Certificate | None) -> dict[str, bytes]:
    """Return the attachments of a PDF that the trusted key has signed; nothing of another one is opened."""
    pdf = _report(path)
    if trusted is None or not check_pdf_signature(pdf, trusted, authority=authority).holds:
        msg = "not read: nobody trusted has signed them"
        raise IntegrityError(msg)
    attached = attachments_of(pdf)
    missing = sorted(ATTACHED - attached.keys())
    if missing:
        msg = f"not attached: {', '.join(missing)}"
        raise IntegrityError(msg)
    return attached


def _attachments(attached: Mapping[str, bytes]) -> str:
    return ", ".join(f"{name} {hashlib.sha256(content).hexdigest()}" for name, content in attached.items())


def _agreeing(attached: Mapping[str, bytes]) -> str:
    plain = {name: _canonical(name, content) for name, content in attached.items() if name.endswith(".json")}
    said: list[str] = []
    wrong: list[str] = []
    plan = plain.get(PLAN, {})
    for key, name in (("policy", POLICY), ("subject", SUBJECT)):
        if key in plan and name in attached:
            files = [attached[name], *(_extended(attached) if name == POLICY else ())]
            fits = plan[key] == digest_of_files(files)
            (said if fits else wrong).append(f"the plan is {'' if fits else 'not '}about {name}")
    findings, ending = plain[FINDINGS], plain[ASSESSMENT]["exit_code"]
    if ending == _ending(findings):
        said.append(f"the assessment ends with {ending}, as {len(findings)} findings do")
    else:
        wrong.append(f"the assessment ends with {ending}, and its findings do not")
    if wrong:
        raise IntegrityError("; ".join(wrong))
    return "; ".join(said)


def _extended(attached: Mapping[str, bytes]) -> Iterator[bytes]:
    """Return the policies that the attached one extends, the nearest first."""
    names = (f"{POLICIES}/{number}.yaml" for number in count(1))
    return (attached[name] for name in takewhile(attached.__contains__, names))


def _canonical(name: str, content: bytes) -> Any:  # noqa: ANN401  (any JSON value)
    plain = parse_json(content)
    if canonical_bytes(plain) != content:
        msg = f"{name}: not in canonical form"
        raise IntegrityError(msg)
    return plain


def _ending(findings: list[dict[str, Any]]) -> int:
    """Return the exit code of an audit with these findings."""
    if any(finding["outcome"] == "signal" for finding in findings):
        return EXIT_SIGNAL
    unresolved = {"inconclusive", "invalid", "not_run"}
    if any(finding.get("required") and finding["outcome"] in unresolved for finding in findings):
        return EXIT_UNRESOLVED
    return EXIT_CLEAR
