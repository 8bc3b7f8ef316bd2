"""The whole way from a plan to a sealed bundle."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.core.assessment import Assessment
from auditor.core.finding import Finding
from auditor.core.record import canonical_bytes
from auditor.errors import UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle, list_bytes
from auditor.evidence.shards import RESTRICTED
from auditor.pipeline.again import assess_bundle, measure_bundle
from auditor.pipeline.before import now
from auditor.pipeline.external import place_external
from auditor.pipeline.preregistering import begin_attempt, check_before, note_attempt, place_in
from auditor.pipeline.presenting import seal_bundle
from auditor.policy.catalogue import ATTACK_CLASSES
from auditor.run.environment import describe_environment
from auditor.run.observe import Progress, Workplace, observe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditor.pipeline.before import Prepared
    from auditor.pipeline.external import TakenIn
    from auditor.pipeline.preregistering import Preregistered
    from auditor.seal.annex import Recipient
    from auditor.seal.keys import Signer


@dataclass(frozen=True, slots=True)
class Audited:
    """A finished audit."""

    bundle: Path
    findings: tuple[Finding, ...]
    assessment: Assessment
    warnings: tuple[str, ...] = ()
    """What the user has to know about the record of attempts."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """Who runs the audit, when, and how it is run again."""

    operator: str
    command: str
    started: dt.datetime


def audit(
    prepared: Prepared,
    out: Path,
    signer: Signer,
    occasion: Occasion,
    progress: Progress,
    preregistered: Preregistered | None = None,
    authority: str | None = None,
    external: Sequence[TakenIn] = (),
    recipients: Sequence[Recipient] = (),
) -> Audited:
    """Return the finished audit: the whole way from a plan to a sealed bundle.

    A bundle of the same plan is gone on with; what is finished in it is not made again. Every audit is written into the record of
    attempts when it begins and when it ends.

    Args:
        prepared: The plan, with all that it was made from.
        out: Folder of the bundle.
        signer: Key and certificate.
        occasion: Who runs it, when, and how it is run again.
        progress: Told of every observation.
        preregistered: The plan as it was committed beforehand; None: none was, or the bundle was begun with one.
        authority: Address of the authority that time-stamps the signature of the PDF (RFC 3161); None: no time stamp.
        external: What other tools found; it is shown, and changes nothing.
        recipients: For each of them an annex with all that is withheld is encrypted.

    Raises:
        LeakError: Something that is to be shared holds restricted text or pictures; all evidence is kept, nothing is sealed.
        UsageError: The folder holds another audit, or one that was begun with other external findings.
        StorageError: The folder cannot take what has to be written; everything written so far is kept.
    """
    bundle = Bundle(out)
    bundle.prepare()
    check_before(bundle, preregistered, occasion.started)
    _begin(prepared, bundle, occasion, preregistered, external)
    place_in(bundle, preregistered)
    place = Workplace(bundle.observations, bundle.commitment_key())
    prepared.opened.record_in(bundle.root / layout.EXCHANGES)
    observe(prepared.plan.jobs, prepared.subjects, place, progress)
    prepared.opened.settle()
    findings, instrument = measure_bundle(bundle)
    bundle.write(layout.FINDINGS, list_bytes(findings))
    bundle.write(layout.INSTRUMENT, list_bytes(instrument))
    assessment = assess_bundle(bundle)
    bundle.write_record(layout.ASSESSMENT, assessment)
    _name_authority(bundle, occasion, authority)
    seal_bundle(bundle, signer, authority, recipients)
    warnings = note_attempt(prepared, bundle, "finished", now(), assessment.exit_code)
    return Audited(out, findings, assessment, warnings)


def _name_authority(bundle: Bundle, occasion: Occasion, authority: str | None) -> None:
    """Write down who is asked for a time stamp: the report says so before there is one. A run that goes on may ask another one."""
    environment = bundle.read_plain(layout.ENVIRONMENT)
    if environment.pop(layout.TIME_STAMP, None) != authority:
        environment["command"] = occasion.command
        asked = {layout.TIME_STAMP: authority} if authority else {}
        bundle.write(layout.ENVIRONMENT, canonical_bytes(environment | asked))


def _begin(
    prepared: Prepared,
    bundle: Bundle,
    occasion: Occasion,
    preregistered: Preregistered | None,
    external: Sequence[TakenIn],
) -> None:
    """Write what is fixed before the first question, or check that it is the same audit that is gone on with."""
    plan = prepared.plan.canonical()
    if bundle.has(layout.PLAN) and bundle.read(layout.PLAN) != plan:
        msg = f"{bundle.root}: holds another audit (its plan differs: policy, subject, statements or versions changed)"
        raise UsageError(msg, hint="Choose another folder with --out, or remove this one.")
    # The plan is the first file of a bundle: whatever is killed after it, or while it is written, can be gone on with.
    if not bundle.has(layout.PLAN) and any(path.suffix != ".draft" for path in bundle.root.iterdir()):
        msg = f"{bundle.root}: the folder is not empty and holds no audit"
        raise UsageError(msg, hint="Choose another folder with --out.")
    bundle.write(layout.PLAN, plan)
    place_external(bundle, external)
    (bundle.root / layout.SEAL).unlink(missing_ok=True)
    if bundle.has(layout.ENVIRONMENT):
        note_attempt(prepared, bundle, "resumed", occasion.started)
    else:
        environment = describe_environment(
            device=prepared.spec.spec.model.device,
            created=occasion.started.isoformat(),
            operator=occasion.operator,
            command=occasion.command,
        )
        attempts = begin_attempt(prepared, bundle, preregistered, occasion.started)
        bundle.write(layout.ENVIRONMENT, canonical_bytes({**environment, "attempts": attempts.plain()}))
    bundle.write(layout.POLICY, prepared.policy.bytes)
    for number, content in enumerate(prepared.policy.parents, start=1):
        bundle.write(f"{layout.POLICIES}/{number}.yaml", content)
    for item in prepared.catalogues:
        bundle.write(f"{layout.CLAUSES}/{item.catalogue.id}.yaml", item.bytes)
    if prepared.classes is not None:
        bundle.write(f"{layout.CLAUSES}/{ATTACK_CLASSES}.yaml", prepared.classes.bytes)
    bundle.write_record(layout.SUBJECT, prepared.opened.subject)
    bundle.write(layout.STATEMENTS, list_bytes(prepared.statements))
    if prepared.opened.canaries is not None:
        bundle.write_record(f"{RESTRICTED}/{layout.CANARIES}", prepared.opened.canaries)
        bundle.write_record(layout.CANARIES, prepared.opened.canaries.withheld())
