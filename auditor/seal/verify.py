"""Verification as a numbered list, one line a step: repeats all that is pure, believes nothing a bundle says of itself.

Of a bundle:
 (1) the seal's signature was made with the trusted key; the key comes from the user, never from the bundle
 (2) the payload is an in-toto statement of a known type
 (3) the digest of every subject fits: manifest and report by their bytes, the model by what subject.json says; and what
     the statement says was asked and found is what the files say
 (4) nothing is missing, added or changed; what is withheld is restricted, and named; a plan that was committed
     beforehand is signed, and was committed and time-stamped before the evidence was begun
 (5) the Merkle root of every observation, made again from its records, is the one in its record and in the manifest
 (6) the PDF carries one signature over the entire file, by the trusted key, and its attachments are the bundle's files
 (7) the findings, measured again from the evidence, are the same bytes
 (8) the assessment, made again from findings, statements and clauses, is the same bytes, and so is the list of deviations
     from a plan that was committed beforehand
 (9) the report, rendered again, is the same bytes
Steps 1 to 6 need no plug-in and no model; 7 needs the tests at their versions, 9 the same templates. None uses the
network. Every step runs and is reported, whatever became of those before it; only where the folder holds links, pipes or
devices are 5 to 9 left out, because they would open them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from auditor import __version__
from auditor.core.record import parse_json
from auditor.errors import AuditorError, IntegrityError
from auditor.evidence.bundle import (
    ASSESSMENT,
    DEVIATIONS,
    ENVIRONMENT,
    FINDINGS,
    OBSERVATIONS,
    PDF,
    PLAN,
    POLICY,
    PREREGISTRATION,
    PREREGISTRATION_SIGNER,
    PREREGISTRATION_TIME,
    SEAL,
    SIGNER,
    SUBJECT,
)
from auditor.evidence.manifest import Manifest, check_manifest, contents_of, read_manifest, read_regular
from auditor.evidence.records import observation_root
from auditor.evidence.table import RECORD_FILE, ObservedTable
from auditor.seal.annex import annexes_in
from auditor.seal.dsse import open_envelope, signature_holds
from auditor.seal.keys import describe_signer, fingerprint, parse_certificate
from auditor.seal.pades import attachments_of, check_pdf_signature
from auditor.seal.preregistration import open_preregistration
from auditor.seal.report_alone import ATTACHED
from auditor.seal.statement import FILES, MODEL, read_statement
from auditor.seal.step import Step, checked, refuse, some

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cryptography import x509


class Recompute(NamedTuple):
    """The pure stages, each returning the files it would write."""

    measured: Callable[[], Mapping[str, bytes]]
    assessed: Callable[[], Mapping[str, bytes]]
    rendered: Callable[[], Mapping[str, bytes]]


def verify_bundle(
    bundle: Path,
    trusted: x509.Certificate | None,
    again: Recompute | None = None,
    *,
    authority: x509.Certificate | None = None,
) -> tuple[Step, ...]:
    """Return the nine steps of a bundle's verification.

    Args:
        bundle: Folder of the bundle.
        trusted: The signer's certificate, from the user. None: steps 1 and 6 can say what is consistent, and do not
            hold.
        again: The stages to repeat. None: steps 7 to 9 are not done, and do not hold.
        authority: Certificate of the time-stamping authority, or of the one that issued it, from the user. None: step 4 says
            which certificate a time stamp was made with, not whose it is.
    """
    steps = list(verify_seal(bundle, trusted, authority))
    if contents_of(bundle).others:
        unsafe = "not done: the folder holds links, pipes or devices, which are never opened"
        steps += [checked(number, name, needs, refuse(unsafe)) for number, name, needs in _REST]
        return tuple(steps)
    made = (again.measured, again.assessed, again.rendered) if again else (None, None, None)
    checks = [
        lambda: _roots(bundle),
        lambda: _pdf(bundle, trusted, authority),
        *(_repeat(bundle, stage) if stage else refuse("not done: nothing to repeat it with") for stage in made),
    ]
    steps += [checked(*row, check) for row, check in zip(_REST, checks, strict=True)]
    return tuple(steps)


_REST = (
    (5, "Merkle roots of the evidence", "nothing"),
    (6, "signature and attachments of the PDF", "the signer's certificate"),
    (7, "measure again", "the tests at their versions"),
    (8, "assess again", "policy and clauses of the bundle"),
    (9, "render again", "the templates of this version"),
)


def verify_seal(
    bundle: Path, trusted: x509.Certificate | None, authority: x509.Certificate | None = None
) -> tuple[Step, ...]:
    """Return steps 1 to 4: whose seal it is, and that every byte of every file is under it.

    Args:
        bundle: Folder of the bundle.
        trusted: The signer's certificate, from the user.
        authority: Certificate of the time-stamping authority, or of the one that issued it, from the user.
    """
    return (
        checked(1, "signature of the seal", "the signer's certificate", lambda: _signature(bundle, trusted)),
        checked(2, "statement", "nothing", lambda: _statement(bundle)),
        checked(3, "digests of what is sealed", "nothing", lambda: _subjects(bundle)),
        checked(4, "completeness", "nothing", lambda: _complete(bundle, trusted, authority)),
    )


def _signature(bundle: Path, trusted: x509.Certificate | None) -> str:
    envelope = read_regular(bundle / SEAL)
    if trusted is not None:
        if signature_holds(envelope, trusted):
            return f"by {describe_signer(trusted)}"
        msg = "not made with the trusted key, or changed since"
        raise IntegrityError(msg)
    own = parse_certificate(read_regular(bundle / SIGNER), SIGNER)
    consistent = "consistent with" if signature_holds(envelope, own) else "NOT made with"
    msg = f"{consistent} the bundle's own certificate ({fingerprint(own)}), but the signer is NOT trusted: "
    raise IntegrityError(msg + "give the signer's certificate with --trust")


def _statement(bundle: Path) -> str:
    predicate = _read_statement(bundle)[1]
    return f"in-toto statement by auditor {predicate.get('auditor', '?')}, {predicate.get('created', '?')}"


def _read_statement(bundle: Path) -> tuple[dict[str, str], dict[str, Any]]:
    payload, kind, _ = open_envelope(read_regular(bundle / SEAL))
    return read_statement(payload, kind)


def _subjects(bundle: Path) -> str:
    digests, predicate = _read_statement(bundle)
    wrong = []
    if set(digests) != {*FILES, MODEL}:
        wrong.append(f"the statement is about {sorted(digests) or 'nothing'}")
    wrong += [name for name in FILES if name in digests and _sha256(bundle, name) != digests[name]]
    if digests.get(MODEL) != parse_json(read_regular(bundle / SUBJECT))["model"]["digest"]:
        wrong.append("model (subject.json names another)")
    wrong += [f"the statement's '{key}'" for key in _false_claims(bundle, predicate)]
    if wrong:
        msg = f"do not fit: {', '.join(wrong)}"
        raise IntegrityError(msg)
    return f"{', '.join(FILES)} and the model fit, and so do policy, plan and outcomes"


def _false_claims(bundle: Path, predicate: Mapping[str, Any]) -> list[str]:
    """Return the fields of the predicate that say something else than the files do."""
    findings = parse_json(read_regular(bundle / FINDINGS))
    told = {
        "policy": (predicate["policy"]["sha256"], _sha256(bundle, POLICY)),
        "plan": (predicate["plan"], _sha256(bundle, PLAN)),
        "outcomes": (predicate["outcomes"], {finding["test"]: finding["outcome"] for finding in findings}),
        "exit_code": (predicate["exit_code"], parse_json(read_regular(bundle / ASSESSMENT))["exit_code"]),
    }
    if "preregistration" in predicate or (bundle / PREREGISTRATION).exists():
        told["preregistration"] = (predicate.get("preregistration"), _sha256(bundle, PREREGISTRATION))
    return [key for key, (said, is_so) in told.items() if said != is_so]


def _sha256(bundle: Path, name: str) -> str:
    return hashlib.sha256(read_regular(bundle / name)).hexdigest()


def _complete(bundle: Path, trusted: x509.Certificate | None, authority: x509.Certificate | None) -> str:
    manifest = read_manifest(bundle)
    problems, withheld = check_manifest(bundle, manifest)
    if problems:
        raise IntegrityError(some(problems))
    kept = f", {len(withheld)} restricted withheld: {some(withheld)}" if withheld else ", nothing withheld"
    committed = _committed(bundle, {entry.path for entry in manifest.entries}, trusted, authority)
    annexes = "".join(f"; {annex.file} is an annex for {annex.recipient} alone" for annex in annexes_in(bundle))
    return f"{len(manifest.entries)} files as listed{kept}{annexes}{committed}"


def _committed(
    bundle: Path, listed: set[str], trusted: x509.Certificate | None, authority: x509.Certificate | None
) -> str:
    """Return what was committed beforehand, in words; nothing where nothing was."""
    parts = {PREREGISTRATION, PREREGISTRATION_SIGNER, PREREGISTRATION_TIME, DEVIATIONS} & listed
    if not parts:
        return ""
    if missing := sorted({PREREGISTRATION, PREREGISTRATION_SIGNER, DEVIATIONS} - parts):
        msg = f"there is a part of a commitment, and not {', '.join(missing)}"
        raise IntegrityError(msg)
    certificate = parse_certificate(read_regular(bundle / PREREGISTRATION_SIGNER), PREREGISTRATION_SIGNER)
    token = read_regular(bundle / PREREGISTRATION_TIME) if PREREGISTRATION_TIME in parts else None
    found = open_preregistration(read_regular(bundle / PREREGISTRATION), certificate, token, authority=authority)
    begun = dt.datetime.fromisoformat(parse_json(read_regular(bundle / ENVIRONMENT))["created"])
    if found.latest > begun:
        msg = (
            f"the plan was committed at {found.latest.isoformat()}, after the evidence was begun at {begun.isoformat()}"
        )
        raise IntegrityError(msg)
    count = len(parse_json(read_regular(bundle / DEVIATIONS)))
    whose = (
        "by the trusted key" if certificate == trusted else "with a key of its own, whose certificate the seal covers"
    )
    said = f"; a plan was committed beforehand {found.described()}, {whose}; {count} deviations listed"
    if found.stamp is not None and not found.stamp.trusted:
        said += "; the time-stamping authority is NOT checked: give its certificate with --trust-timestamp"
    return said


def _roots(bundle: Path) -> str:
    manifest = read_manifest(bundle)
    if _observations(manifest) != set(manifest.merkle_roots):
        msg = "the observations listed and those with a root are not the same"
        raise IntegrityError(msg)
    for identity, expected in manifest.merkle_roots.items():
        table = ObservedTable(bundle / OBSERVATIONS / identity)
        if not observation_root(table.folder, table.record.shards) == expected == table.record.merkle_root:
            msg = f"observation {identity[:16]}: the records do not lead to the root"
            raise IntegrityError(msg)
        if table.record.observation.identity() != identity or table.record.id != identity:
            msg = f"observation {identity[:16]}: its name is not its digest"
            raise IntegrityError(msg)
    return f"{len(manifest.merkle_roots)} observations lead to their roots"


def _observations(manifest: Manifest) -> set[str]:
    """Return the names of the finished observations that a manifest lists."""
    split = (entry.path.split("/") for entry in manifest.entries)
    return {parts[1] for parts in split if len(parts) == 3 and (parts[0], parts[2]) == (OBSERVATIONS, RECORD_FILE)}


def _pdf(bundle: Path, trusted: x509.Certificate | None, authority: x509.Certificate | None) -> str:
    pdf = read_regular(bundle / PDF)
    certificate = trusted or parse_certificate(read_regular(bundle / SIGNER), SIGNER)
    check = check_pdf_signature(pdf, certificate, authority=authority)
    if not check.holds:
        raise IntegrityError(check.detail)
    attached = attachments_of(pdf)
    missing = sorted(ATTACHED - attached.keys())
    if missing:
        msg = f"not attached: {', '.join(missing)}"
        raise IntegrityError(msg)
    listed = {entry.path for entry in read_manifest(bundle).entries}
    different = [name for name, content in attached.items() if not _same(bundle, name, content, listed)]
    if different:
        msg = f"attachments differ from the bundle: {', '.join(different)}"
        raise IntegrityError(msg)
    said = f"{check.detail}; {len(attached)} attachments are the bundle's files"
    if trusted is None:
        msg = f"{said}; but the certificate is the bundle's own: the signer is NOT trusted"
        raise IntegrityError(msg)
    return said


def _same(bundle: Path, name: str, content: bytes, listed: set[str]) -> bool:
    """Return whether an attachment is a file of the bundle; its name opens no file that the manifest does not list."""
    return name in listed and read_regular(bundle / name) == content


def _repeat(bundle: Path, made: Callable[[], Mapping[str, bytes]]) -> Callable[[], str]:
    def check() -> str:
        files = made()
        different = [name for name, content in files.items() if read_regular(bundle / name) != content]
        if different or not files:
            what = f"gives other bytes: {', '.join(different)}" if different else "gives nothing to compare"
            msg = f"{what} (sealed by auditor {_writer(bundle)}, repeated by {__version__})"
            raise IntegrityError(msg)
        return f"{', '.join(files)}: the same bytes"

    return check


def _writer(bundle: Path) -> str:
    """Return the version that wrote a bundle, as its statement says: another version may well measure otherwise."""
    try:
        return str(_read_statement(bundle)[1].get("auditor", "?"))
    except AuditorError:
        return "?"
