"""What is made from a bundle alone, the first time and every time it is repeated: findings, assessment, the report's input."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any, cast

from auditor.assess.clauses import assess
from auditor.assess.instrument import check_instrument
from auditor.assess.outcome import judge
from auditor.core.annex import Annex
from auditor.core.assessment import Assessment, Statement
from auditor.core.canary import CanarySet
from auditor.core.evidence import ObservationRecord, Omission
from auditor.core.finding import Finding, InstrumentCheck
from auditor.core.plan import Plan
from auditor.core.preregistration import Deviation
from auditor.core.record import parse_json
from auditor.core.subject import Subject
from auditor.evidence import bundle as layout
from auditor.evidence.table import RECORD_FILE
from auditor.pipeline.external import external_in
from auditor.policy.catalogue import ATTACK_CLASSES, load_attack_classes
from auditor.policy.load import load_catalogues, load_policy
from auditor.policy.written_out import in_context, mapped
from auditor.run.measure import measure
from auditor.run.observe import faults_in
from auditor.testing.control_subject import control_subject

if TYPE_CHECKING:
    from auditor.core.clause import AttackClass, Catalogue
    from auditor.core.finding import Measurement
    from auditor.core.plan import SideLabel
    from auditor.core.policy import Policy
    from auditor.evidence.bundle import Bundle
    from auditor.report.committed import CommittedPlan
    from auditor.report.signature import Signature
    from auditor.report.view import ReportInput
    from auditor.report.withheld import Withheld
    from auditor.seal.preregistration import Committed


def policy_of(bundle: Bundle) -> Policy:
    """Return the policy that lies in a bundle, with the clauses that each of its tests is evidence for."""
    parents = bundle.root / layout.POLICIES
    policy = load_policy(str(bundle.root / layout.POLICY), base=None, known_tests=None, parents=parents).policy
    subject = bundle.read_record(layout.SUBJECT, Subject)
    return mapped(in_context(policy, subject.release_context), catalogues_of(bundle, policy))


def catalogues_of(bundle: Bundle, policy: Policy) -> tuple[Catalogue, ...]:
    """Return the clause catalogues that lie in a bundle."""
    return tuple(item.catalogue for item in load_catalogues(policy, today=None, folder=bundle.root / layout.CLAUSES))


def attack_classes_of(bundle: Bundle) -> tuple[AttackClass, ...]:
    """Return the attack classes that the clauses in a bundle speak of; none where they name none."""
    folder = bundle.root / layout.CLAUSES
    if not (folder / f"{ATTACK_CLASSES}.yaml").exists():
        return ()
    return tuple(load_attack_classes(folder).classes.values())


def measure_bundle(bundle: Bundle) -> tuple[tuple[Finding, ...], tuple[InstrumentCheck, ...]]:
    """Return the findings and the checks of the instrument, from the evidence alone.

    Raises:
        IntegrityError: The evidence is damaged.
    """
    plan = bundle.read_record(layout.PLAN, Plan)
    policy = policy_of(bundle)
    faults = faults_in(bundle.observations)
    own = bundle.read_record(layout.CANARIES, CanarySet) if bundle.has(layout.CANARIES) else None
    measured: dict[SideLabel, dict[str, Measurement | Omission]] = {}
    for planned in plan.sides:
        label = planned.side.label
        side_canaries = own
        if label != "audited":
            control = control_subject(
                cast("Any", label),
                references=0,
                confidence=plan.confidence,
                queries=policy.queries,
                modality=planned.side.subject.members.modality,
            )
            made = control.facts.canaries
            side_canaries = made.withheld() if made else None
        measured[label] = measure(
            plan, planned, bundle.observations, faults, canaries=side_canaries, queries=policy.queries
        )
    asked = [row.test for row in plan.side("audited").tests if row.omission is None]
    instrument = check_instrument(asked, measured["memorizer"], measured["innocent"])
    if policy.exhibits == "none":
        measured["audited"] = {name: _without_exhibits(found) for name, found in measured["audited"].items()}
    findings = judge(policy.tests, measured["audited"], instrument, confidence=plan.confidence)
    return findings, instrument


def _without_exhibits(found: Measurement | Omission) -> Measurement | Omission:
    return found if isinstance(found, Omission) else found.model_copy(update={"exhibits": ()})


def assess_bundle(bundle: Bundle) -> Assessment:
    """Return the assessment, from the bundle alone.

    Raises:
        IntegrityError: A file of the bundle is missing or damaged.
    """
    return report_input(bundle, assessed=False).assessment


def report_input(bundle: Bundle, *, assessed: bool = True, signer: str | None = None) -> ReportInput:
    """Return all that the report is made of, read from the bundle.

    Args:
        bundle: The bundle.
        assessed: Read the assessment from the bundle; False: make it from findings, statements and clauses.
        signer: Who signs, in words; None: as the certificate in the bundle says.
    """
    from auditor.report.view import ReportInput  # noqa: PLC0415  (heavy)

    policy = policy_of(bundle)
    plan = bundle.read_record(layout.PLAN, Plan)
    findings = bundle.read_list(layout.FINDINGS, Finding)
    statements = bundle.read_list(layout.STATEMENTS, Statement)
    subject = bundle.read_record(layout.SUBJECT, Subject)
    environment = bundle.read_plain(layout.ENVIRONMENT)
    catalogues = catalogues_of(bundle, policy)
    created = dt.datetime.fromisoformat(environment["created"]).date()
    if assessed:
        assessment = bundle.read_record(layout.ASSESSMENT, Assessment)
    else:
        classes = attack_classes_of(bundle)
        parameters = {planned.test: planned.parameters for planned in plan.side("audited").tests}
        assessment = assess(
            policy,
            catalogues,
            findings,
            statements,
            subject,
            created=created,
            classes=classes,
            parameters=parameters,
        )
    evidence = hashlib.sha256(
        bundle.read(layout.PLAN) + bundle.read(layout.FINDINGS) + assessment.canonical()
    ).hexdigest()
    return ReportInput(
        policy=policy,
        subject=subject,
        plan=plan,
        findings=findings,
        assessment=assessment,
        statements=statements,
        instrument=bundle.read_list(layout.INSTRUMENT, InstrumentCheck),
        catalogues=catalogues,
        environment=environment,
        evidence_digest=evidence,
        signer=signer,
        committed=_committed_plan(bundle),
        external=external_in(bundle),
        signature=_signature(bundle, environment) if signer else None,
        withheld=_withheld(bundle),
    )


def _withheld(bundle: Bundle) -> Withheld:
    """Return what a bundle withholds: as its public part says it, so that a copy without the rest says the same."""
    from auditor.report.withheld import Withheld  # noqa: PLC0415  (heavy)

    found = [
        ObservationRecord.from_plain(parse_json(path.read_bytes()))
        for path in sorted(bundle.observations.glob(f"*/{RECORD_FILE}"))
    ]
    canaries = bundle.read_record(layout.CANARIES, CanarySet).canaries if bundle.has(layout.CANARIES) else ()
    return Withheld(
        observations=tuple(record for record in found if any(column.restricted for column in record.columns)),
        canaries=len(canaries),
        annexes=bundle.read_list(layout.ANNEXES, Annex) if bundle.has(layout.ANNEXES) else (),
    )


def _signature(bundle: Bundle, environment: dict[str, Any]) -> Signature:
    """Return who signs the report of a bundle, as the certificate in it says, and who was asked for a time stamp."""
    from auditor.report.signature import Signature  # noqa: PLC0415  (heavy)
    from auditor.seal.keys import common_name, fingerprint, issuer_name, organisation_name, parse_certificate, role_name  # noqa: PLC0415

    certificate = parse_certificate(bundle.read(layout.SIGNER), layout.SIGNER)
    return Signature(
        name=common_name(certificate),
        role=role_name(certificate),
        organisation=organisation_name(certificate),
        fingerprint=fingerprint(certificate),
        issuer=issuer_name(certificate),
        authority=str(environment.get(layout.TIME_STAMP, "")),
    )


def _committed_plan(bundle: Bundle) -> CommittedPlan | None:
    """Return the plan that was committed to the audit in a bundle, with the deviations that the bundle lists."""
    from auditor.report.committed import CommittedPlan  # noqa: PLC0415  (heavy)
    from auditor.seal.keys import describe_signer  # noqa: PLC0415

    committed = committed_in(bundle)
    if committed is None:
        return None
    return CommittedPlan(
        preregistration=committed.preregistration,
        digest=hashlib.sha256(bundle.read(layout.PREREGISTRATION)).hexdigest(),
        signer=describe_signer(committed.certificate),
        stamp=committed.stamp.described() if committed.stamp else None,
        deviations=bundle.read_list(layout.DEVIATIONS, Deviation),
    )


def committed_in(bundle: Bundle) -> Committed | None:
    """Return what was committed to the audit in a bundle, after signature and time stamp were checked; None: nothing was.

    Raises:
        IntegrityError: It does not hold.
    """
    if not bundle.has(layout.PREREGISTRATION):
        return None
    from auditor.seal.keys import parse_certificate  # noqa: PLC0415  (heavy)
    from auditor.seal.preregistration import open_preregistration  # noqa: PLC0415

    certificate = parse_certificate(bundle.read(layout.PREREGISTRATION_SIGNER), layout.PREREGISTRATION_SIGNER)
    token = bundle.read(layout.PREREGISTRATION_TIME) if bundle.has(layout.PREREGISTRATION_TIME) else None
    return open_preregistration(bundle.read(layout.PREREGISTRATION), certificate, token)
