"""Commits a plan before any score exists; holds an audit against what was committed."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.core.plan import Plan
from auditor.core.preregistration import Attempts, Commitment, Deviation, Preregistration
from auditor.core.subject import Subject
from auditor.errors import IntegrityError, StorageError, UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle, list_bytes
from auditor.evidence.shards import write_file
from auditor.pipeline.again import committed_in, policy_of
from auditor.policy.catalogue import ATTACK_CLASSES
from auditor.policy.written_out import in_context, mapped
from auditor.preregister.attempts import Entry, append, begin, data_of, known_before, read
from auditor.preregister.commitment import commitment
from auditor.preregister.deviations import deviations
from auditor.run.environment import describe_environment

if TYPE_CHECKING:
    from cryptography import x509

    from auditor.pipeline.before import Prepared
    from auditor.seal.keys import Signer
    from auditor.seal.preregistration import Committed

STAMP = ".tst"
"""What the name of a time stamp adds to the name of the commitment beside it."""


@dataclass(frozen=True, slots=True)
class Preregistered:
    """A commitment as it was handed in: the bytes that were signed, and what they say."""

    envelope: bytes
    token: bytes | None
    committed: Committed
    certificate: bytes
    """Certificate of whoever committed, PEM."""


def _versions(environment: dict[str, Any]) -> dict[str, str]:
    own = {"auditor": environment["auditor"], "python": environment["python"]}
    return {**environment["packages"], **own}


def commitment_of(prepared: Prepared) -> Commitment:
    """Return what an audit that begins now would be fixed to."""
    subject = prepared.opened.subject
    policy = mapped(
        in_context(prepared.policy.policy, subject.release_context), [item.catalogue for item in prepared.catalogues]
    )
    clauses = {item.catalogue.id: item.bytes for item in prepared.catalogues}
    if prepared.classes is not None:
        clauses[ATTACK_CLASSES] = prepared.classes.bytes
    environment = describe_environment(device="none", created="now", operator="none", command="none")
    return commitment(
        policy,
        subject,
        prepared.plan,
        policies=(prepared.policy.bytes, *prepared.policy.parents),
        clauses=clauses,
        versions=_versions(environment),
    )


def commitment_in(bundle: Bundle) -> Commitment:
    """Return what the audit in a bundle was fixed to, from its files alone.

    Raises:
        IntegrityError: A file is missing or damaged.
    """
    parents = sorted((bundle.root / layout.POLICIES).glob("*.yaml"), key=lambda path: int(path.stem))
    clauses = sorted((bundle.root / layout.CLAUSES).glob("*.yaml"))
    return commitment(
        policy_of(bundle),
        bundle.read_record(layout.SUBJECT, Subject),
        bundle.read_record(layout.PLAN, Plan),
        policies=[bundle.read(layout.POLICY), *(path.read_bytes() for path in parents)],
        clauses={path.stem: path.read_bytes() for path in clauses},
        versions=_versions(bundle.read_plain(layout.ENVIRONMENT)),
    )


def commit_plan(
    prepared: Prepared, path: Path, signer: Signer, *, created: dt.datetime, authority: str | None = None
) -> Preregistration:
    """Write a signed commitment to a plan, and its time stamp beside it, and return what was committed.

    Args:
        prepared: The plan, with all that it was made from.
        path: Where to write; the time stamp gets the same name with `.tst` behind it.
        signer: Key and certificate of whoever commits.
        created: The time, UTC.
        authority: Address of a time-stamping authority (RFC 3161); None: no time stamp, the time is a claim.

    Raises:
        UsageError: There is a file already: what was committed is never overwritten.
        StorageError: It cannot be written, or the authority gives no time stamp; then nothing is written.
        IntegrityError: What the authority sent is not a time stamp over this commitment.
    """
    from auditor.preregister.stamping import check_address, request_time_stamp  # noqa: PLC0415  (heavy)
    from auditor.seal.preregistration import open_preregistration, sign_preregistration  # noqa: PLC0415

    token_path = path.with_name(path.name + STAMP)
    for name in (path, token_path):
        if name.exists() or name.is_symlink():
            msg = f"{name}: there is a file already, and what was committed is never overwritten"
            raise UsageError(msg, hint="Choose another name with --commit.")
    if authority is not None:
        check_address(authority)
    made = Preregistration(
        by=signer.common_name,
        created=created.isoformat(),
        time_stamp_authority=authority,
        commitment=commitment_of(prepared),
    )
    envelope = sign_preregistration(made, signer)
    token = request_time_stamp(envelope, authority) if authority is not None else None
    open_preregistration(envelope, signer.certificate, token)
    if token is not None:
        write_file(token_path, token)
    write_file(path, envelope)
    return made


def read_preregistered(path: Path, certificate: x509.Certificate) -> Preregistered:
    """Return a commitment from its file, with the time stamp beside it, after both were checked.

    Raises:
        UsageError: It is not there.
        IntegrityError: Signature or time stamp do not hold.
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  (heavy)

    from auditor.seal.preregistration import open_preregistration  # noqa: PLC0415

    try:
        envelope = path.read_bytes()
        token_path = path.with_name(path.name + STAMP)
        token = token_path.read_bytes() if token_path.exists() else None
    except OSError as error:
        msg = f"{path}: the commitment cannot be read ({error.strerror or error})"
        raise UsageError(msg, hint="Give the file that `auditor plan --commit FILE` wrote.") from error
    try:
        committed = open_preregistration(envelope, certificate, token)
    except IntegrityError as error:
        msg = f"{path}: {error.message}"
        raise IntegrityError(msg, hint=error.hint) from error
    return Preregistered(envelope, token, committed, certificate.public_bytes(serialization.Encoding.PEM))


def check_before(bundle: Bundle, given: Preregistered | None, started: dt.datetime) -> None:
    """Refuse a commitment that is not older than the evidence, or another one than the bundle was begun with.

    Args:
        bundle: The bundle, which may have been begun.
        given: The commitment; None: none is given now.
        started: When this run began.

    Raises:
        UsageError: It cannot be the commitment to this audit.
    """
    if given is None:
        return
    if bundle.has(layout.PREREGISTRATION) and bundle.read(layout.PREREGISTRATION) != given.envelope:
        msg = f"{bundle.root}: the audit was begun with another commitment"
        raise UsageError(msg, hint="Give the same one, or choose another folder with --out.")
    begun = started
    if not bundle.has(layout.ENVIRONMENT) and _holds_evidence(bundle):
        msg = (
            f"{bundle.root}: there is evidence, and nothing says when it was begun: it may be older than the commitment"
        )
        raise UsageError(msg, hint="Begin in a new folder: what was seen before is not committed beforehand.")
    if bundle.has(layout.ENVIRONMENT):
        begun = dt.datetime.fromisoformat(bundle.read_plain(layout.ENVIRONMENT)["created"])
    if given.committed.latest > begun:
        msg = f"the plan was committed at {given.committed.latest.isoformat()}, and the evidence was begun at {begun.isoformat()}"
        raise UsageError(
            msg,
            hint="Only what is committed before is a commitment: begin in a new folder, or check this machine's clock.",
        )


def _holds_evidence(bundle: Bundle) -> bool:
    """Return whether something was observed or answered already: finished shards are never made again."""
    folders = (bundle.root / layout.OBSERVATIONS, bundle.root / layout.EXCHANGES)
    return any(path.is_file() for folder in folders if folder.is_dir() for path in folder.rglob("*"))


def place_in(bundle: Bundle, given: Preregistered | None) -> None:
    """Write a commitment into a bundle, as it was signed, and every deviation from it; one that is there stays."""
    if given is not None:
        bundle.write(layout.PREREGISTRATION_SIGNER, given.certificate)
        if given.token is not None:
            bundle.write(layout.PREREGISTRATION_TIME, given.token)
        bundle.write(layout.PREREGISTRATION, given.envelope)
    if bundle.has(layout.PREREGISTRATION):
        bundle.write(layout.DEVIATIONS, list_bytes(deviations_in(bundle)))


def deviations_in(bundle: Bundle) -> tuple[Deviation, ...]:
    """Return every deviation of the audit in a bundle from what was committed, from its files alone.

    Raises:
        IntegrityError: A file is missing or damaged, or the commitment does not hold.
    """
    committed = committed_in(bundle)
    if committed is None:
        return ()
    return deviations(committed.preregistration, commitment_in(bundle), stamped=committed.stamp is not None)


def entry_of(prepared: Prepared, given: str | None, moment: dt.datetime, **more: Any) -> Entry:  # noqa: ANN401  (fields of the entry)
    """Return an entry of the record of attempts.

    Args:
        prepared: The audit.
        given: Digest of the commitment; None: there is none.
        moment: The time, UTC.
        more: The other fields.
    """
    return Entry.model_validate(
        {
            "attempt": None,
            "previous": "0" * 64,
            "time": moment.isoformat(),
            "model": prepared.opened.subject.model.digest,
            "data": data_of(prepared.opened.subject),
            "policy": prepared.plan.policy,
            "plan": prepared.plan.identity(),
            "preregistration": given,
            **more,
        }
    )


def begin_attempt(prepared: Prepared, bundle: Bundle, given: Preregistered | None, started: dt.datetime) -> Attempts:
    """Return what is known of earlier attempts, with this one written into the record of attempts."""
    digest = _digest(given)
    entry = entry_of(prepared, digest, started, event="begun")
    committed = given.committed.preregistration.created if given else None
    return begin(_places(prepared, bundle), entry, committed=committed)


def earlier_attempts(prepared: Prepared) -> tuple[str, ...]:
    """Return what whoever commits a plan has to know: attempts whose scores may have been seen, and what is wrong with their record."""
    known = read(prepared.spec.path.absolute().parent)
    counts, faults = known_before(
        [known], entry_of(prepared, None, dt.datetime.fromtimestamp(0, dt.UTC), event="begun")
    )
    count = counts["earlier"]
    said = [f"the record of attempts beside the subject file: {fault}" for fault in faults]
    if count:
        attempts = "1 audit of this model and data was" if count == 1 else f"{count} audits of this model and data were"
        said.append(f"{attempts} begun before this plan was committed; the report will say so")
    return tuple(said)


def note_attempt(
    prepared: Prepared, bundle: Bundle, event: str, moment: dt.datetime, exit_code: int | None = None
) -> tuple[str, ...]:
    """Write into the record of attempts that one is gone on with or finished; return what a user has to know about the record."""
    found = bundle.read_plain(layout.ENVIRONMENT).get("attempts")
    if found is None:  # begun by a version that kept no record
        return ()
    attempts = Attempts.from_plain(found)
    warnings = [f"the record of attempts {attempts.kept}: {fault}" for fault in attempts.faults]
    folders = {name: folder for folder, name in _places(prepared, bundle)}
    if attempts.kept in folders:
        digest = _sha256(bundle.read(layout.PREREGISTRATION)) if bundle.has(layout.PREREGISTRATION) else None
        entry = entry_of(prepared, digest, moment, event=event, attempt=attempts.attempt, exit_code=exit_code)
        try:
            append(folders[attempts.kept], entry)
        except StorageError as error:
            warnings.append(error.message)
    return tuple(warnings)


def _places(prepared: Prepared, bundle: Bundle) -> tuple[tuple[Path, str], ...]:
    return (
        (prepared.spec.path.absolute().parent, "beside the subject file"),
        (bundle.root.absolute().parent, "beside the bundle"),
    )


def _digest(given: Preregistered | None) -> str | None:
    return _sha256(given.envelope) if given else None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
