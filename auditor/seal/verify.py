"""Verification as a numbered list, one line a step: repeats all that is pure, believes nothing a bundle says of itself.

Of a bundle:
 (1) the seal's signature was made with the trusted key; the key comes from the user, never from the bundle
 (2) the payload is an in-toto statement of a known type
 (3) the digest of every subject fits: manifest and report by their bytes, the model by what subject.json says
 (4) nothing is missing, added or changed; what is withheld is restricted, and named
 (5) the Merkle root of every observation, made again from its records, is the one in its record and in the manifest
 (6) the PDF carries one signature over the entire file, by the trusted key, and its attachments are the bundle's files
 (7) the findings, measured again from the evidence, are the same bytes
 (8) the assessment, made again from findings, statements and clauses, is the same bytes
 (9) the report, rendered again, is the same bytes
Steps 1 to 6 need no plug-in and no model; 7 needs the tests at their versions, 9 the same templates. None uses the
network.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from auditor.core.record import parse_json
from auditor.errors import AuditorError, IntegrityError
from auditor.evidence.bundle import MANIFEST, OBSERVATIONS, PDF, SEAL, SIGNER, SUBJECT
from auditor.evidence.manifest import Manifest, check_manifest, read_manifest
from auditor.evidence.shards import observation_root
from auditor.evidence.table import ObservedTable
from auditor.seal.dsse import open_envelope, signature_holds
from auditor.seal.keys import describe_signer, fingerprint, read_certificate
from auditor.seal.pades import attachments_of, check_pdf_signature
from auditor.seal.statement import FILES, MODEL, read_statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cryptography import x509


class Step(NamedTuple):
    """One step of a verification."""

    number: int
    name: str
    held: bool
    detail: str
    needs: str


class Recompute(NamedTuple):
    """The pure stages, each returning the files it would write."""

    measured: Callable[[], Mapping[str, bytes]]
    assessed: Callable[[], Mapping[str, bytes]]
    rendered: Callable[[], Mapping[str, bytes]]


def verify_bundle(bundle: Path, trusted: x509.Certificate | None, again: Recompute) -> tuple[Step, ...]:
    """Return the steps of a bundle's verification; later steps run even where an earlier one fails."""
    steps = [_signature(bundle, trusted)]
    statement, digests = _statement(bundle)
    steps.append(statement)
    steps.append(_subjects(bundle, digests))
    manifest, listed = _manifest(bundle)
    steps.append(manifest)
    steps.append(_roots(bundle, listed))
    steps.append(_pdf(bundle, trusted))
    for number, (name, needs, made) in enumerate(
        (
            ("measure again", "the tests at their versions", again.measured),
            ("assess again", "policy and clauses of the bundle", again.assessed),
            ("render again", "the templates of this version", again.rendered),
        ),
        start=7,
    ):
        steps.append(_repeat(bundle, Step(number, name, False, "", needs), made))
    return tuple(steps)


def _read(bundle: Path, name: str) -> bytes:
    try:
        return (bundle / name).read_bytes()
    except OSError as error:
        msg = f"{name} is missing ({error.strerror or error})"
        raise IntegrityError(msg) from error


def _signature(bundle: Path, trusted: x509.Certificate | None) -> Step:
    step = Step(1, "signature of the seal", False, "", "the signer's certificate")
    try:
        envelope = _read(bundle, SEAL)
        if trusted is not None:
            held = signature_holds(envelope, trusted)
            detail = f"by {describe_signer(trusted)}" if held else "not made with the trusted key, or changed since"
            return step._replace(held=held, detail=detail)
        own = read_certificate(bundle / SIGNER)
        consistent = "consistent with" if signature_holds(envelope, own) else "NOT made with"
        detail = (
            f"{consistent} the bundle's own certificate ({fingerprint(own)}), but the signer is not trusted: "
            "give the signer's certificate with --trust"
        )
        return step._replace(detail=detail)
    except AuditorError as error:
        return step._replace(detail=error.message)


def _statement(bundle: Path) -> tuple[Step, dict[str, str]]:
    step = Step(2, "statement", False, "", "nothing")
    try:
        payload, kind, _ = open_envelope(_read(bundle, SEAL))
        digests, predicate = read_statement(payload, kind)
    except AuditorError as error:
        return step._replace(detail=error.message), {}
    said = f"in-toto statement by auditor {predicate.get('auditor', '?')}, {predicate.get('created', '?')}"
    return step._replace(held=True, detail=said), digests


def _subjects(bundle: Path, digests: Mapping[str, str]) -> Step:
    step = Step(3, "digests of what is sealed", False, "", "nothing")
    wrong = []
    try:
        if set(digests) != {*FILES, MODEL}:
            wrong.append(f"the statement is about {sorted(digests) or 'nothing'}")
        wrong += [
            name
            for name in FILES
            if name in digests and hashlib.sha256(_read(bundle, name)).hexdigest() != digests[name]
        ]
        model = parse_json(_read(bundle, SUBJECT))["model"]["digest"]
        if digests.get(MODEL) != model:
            wrong.append("model (subject.json names another)")
    except (AuditorError, ValueError, KeyError, TypeError) as error:
        return step._replace(detail=str(error))
    if wrong:
        return step._replace(detail=f"do not fit: {', '.join(wrong)}")
    return step._replace(held=True, detail=f"{', '.join(FILES)} and the model fit")


def _manifest(bundle: Path) -> tuple[Step, Manifest | None]:
    step = Step(4, "completeness", False, "", "nothing")
    try:
        manifest = read_manifest(bundle)
    except AuditorError as error:
        return step._replace(detail=error.message), None
    problems, withheld = check_manifest(bundle, manifest)
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        return step._replace(detail="; ".join(problems[:5]) + more), manifest
    kept = f", {len(withheld)} restricted files withheld" if withheld else ", nothing withheld"
    return step._replace(held=True, detail=f"{len(manifest.entries)} files as listed{kept}"), manifest


def _roots(bundle: Path, manifest: Manifest | None) -> Step:
    step = Step(5, "Merkle roots of the evidence", False, "", "nothing")
    if manifest is None:
        return step._replace(detail=f"{MANIFEST} cannot be read")
    try:
        for identity, expected in manifest.merkle_roots.items():
            table = ObservedTable(bundle / OBSERVATIONS / identity)
            found = observation_root(table.folder, table.record.shards)
            if not found == expected == table.record.merkle_root:
                return step._replace(detail=f"observation {identity[:16]}: the records do not lead to the root")
            if table.record.observation.identity() != identity or table.record.id != identity:
                return step._replace(detail=f"observation {identity[:16]}: its name is not its digest")
    except AuditorError as error:
        return step._replace(detail=error.message)
    return step._replace(held=True, detail=f"{len(manifest.merkle_roots)} observations lead to their roots")


def _pdf(bundle: Path, trusted: x509.Certificate | None) -> Step:
    step = Step(6, "signature and attachments of the PDF", False, "", "the signer's certificate")
    try:
        pdf = _read(bundle, PDF)
        certificate = trusted or read_certificate(bundle / SIGNER)
        check = check_pdf_signature(pdf, certificate)
        if not check.holds:
            return step._replace(detail=check.detail)
        attached = attachments_of(pdf)
        different = [name for name, content in attached.items() if _read(bundle, name) != content]
    except (AuditorError, ValueError) as error:
        return step._replace(detail=str(error))
    if different or not attached:
        return step._replace(detail=f"attachments differ from the bundle: {', '.join(different) or 'there are none'}")
    whose = "" if trusted else " (the bundle's own certificate: NOT trusted)"
    held = trusted is not None
    return step._replace(held=held, detail=f"{check.detail}{whose}; {len(attached)} attachments are the bundle's files")


def _repeat(bundle: Path, step: Step, made: Callable[[], Mapping[str, bytes]]) -> Step:
    try:
        files = made()
        different = [name for name, content in files.items() if _read(bundle, name) != content]
    except AuditorError as error:
        return step._replace(detail=error.message)
    except Exception as error:  # noqa: BLE001  (a damaged bundle can break a pure stage in any way; none of them holds)
        return step._replace(detail=f"cannot be repeated ({type(error).__name__}: {error})")
    if different:
        return step._replace(detail=f"gives other bytes: {', '.join(different)}")
    return step._replace(held=True, detail=f"{', '.join(files)}: the same bytes")


def verify_pdf(path: Path, trusted: x509.Certificate | None) -> tuple[Step, ...]:
    """Return the steps of a verification of the PDF alone: its signature, and the digests of what is attached."""
    first = Step(1, "signature of the PDF", False, "", "the signer's certificate")
    second = Step(2, "attachments", False, "", "nothing")
    try:
        pdf = path.read_bytes()
    except OSError as error:
        return (first._replace(detail=f"cannot be read ({error.strerror or error})"),)
    if trusted is None:
        first = first._replace(detail="the signer is not trusted: give the signer's certificate with --trust")
    else:
        check = check_pdf_signature(pdf, trusted)
        first = first._replace(held=check.holds, detail=check.detail)
    try:
        attached = attachments_of(pdf)
    except ValueError as error:
        return first, second._replace(detail=str(error))
    listed = ", ".join(f"{name} {hashlib.sha256(content).hexdigest()[:16]}" for name, content in attached.items())
    return first, second._replace(held=bool(attached), detail=listed or "there are none")
