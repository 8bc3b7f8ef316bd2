"""The only module that knows the order: plan, observe, measure, assess, render, seal; and verify, which repeats it."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from auditor.assess.clauses import assess
from auditor.assess.instrument import check_instrument
from auditor.assess.outcome import judge
from auditor.assess.statements import load_statements
from auditor.contract.protocol import Adapter, Facts
from auditor.contract.registry import load, statistics_of_tests
from auditor.core.assessment import Assessment, Statement
from auditor.core.canary import CanarySet
from auditor.core.evidence import Omission
from auditor.core.finding import Finding, InstrumentCheck
from auditor.core.plan import Plan
from auditor.core.record import canonical_bytes
from auditor.core.subject import Subject
from auditor.errors import SubjectError, UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle, list_bytes
from auditor.evidence.manifest import write_manifest
from auditor.evidence.shards import RESTRICTED
from auditor.plan.resolve import Sources, resolve
from auditor.policy.load import LoadedPolicy, load_catalogues, load_policy, shipped_catalogues
from auditor.run.environment import describe_environment
from auditor.run.measure import measure
from auditor.run.observe import Progress, Workplace, faults_in, observe
from auditor.run.speed import denoising_speed, scoring_speed
from auditor.subjects.loading import LoadedSpec, OpenedFiles, open_subject, read_subject
from auditor.testing.control_subject import control_subject

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditor.contract.protocol import OpenedSubject
    from auditor.core.finding import Measurement
    from auditor.core.plan import SideLabel
    from auditor.core.policy import Policy
    from auditor.policy.catalogue import LoadedCatalogue
    from auditor.report.view import ReportInput
    from auditor.seal.keys import Signer
    from auditor.seal.verify import Step

_CONTROL_SIDES: tuple[SideLabel, ...] = ("memorizer", "innocent")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is known before the subject is asked anything."""

    spec: LoadedSpec
    policy: LoadedPolicy
    catalogues: tuple[LoadedCatalogue, ...]
    statements: tuple[Statement, ...]
    opened: OpenedFiles
    subjects: Mapping[SideLabel, OpenedSubject]
    plan: Plan
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audited:
    """A finished audit."""

    bundle: Path
    findings: tuple[Finding, ...]
    assessment: Assessment


def now() -> dt.datetime:
    """Return the time, UTC, whole seconds. The one place that asks the clock."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)  # noqa: TID251


def prepare(subject: Path, policy: str | None = None) -> Prepared:
    """Read and check all that the user wrote, take the digests, and make the plan.

    Args:
        subject: The subject file.
        policy: Name or path of a policy instead of the one the subject names.

    Raises:
        InputError: Something the user wrote cannot be used.
    """
    spec = read_subject(subject)
    loaded = load_policy(
        policy or spec.spec.policy, base=None if policy else spec.base, known_tests=statistics_of_tests()
    )
    catalogues = load_catalogues(loaded, today=now().date())
    opened = open_subject(spec, _adapter)
    statements: tuple[Statement, ...] = ()
    if spec.spec.statements:
        path = spec.base / spec.spec.statements
        known = [item.catalogue for item in (*catalogues, *shipped_catalogues(today=None))]
        statements = load_statements(path, known, today=now().date())
    opened.facts = Facts(
        subject=opened.subject,
        canaries=opened.canaries,
        context_length=opened.context_length,
        confidence=loaded.policy.confidence,
        queries=loaded.policy.queries,
    )
    subjects: dict[SideLabel, OpenedSubject] = {"audited": opened}
    for label in _CONTROL_SIDES:
        subjects[label] = control_subject(
            cast("Any", label),
            references=len(opened.subject.references),
            confidence=loaded.policy.confidence,
            queries=loaded.policy.queries,
            modality=opened.subject.members.modality,
        )
    plan = resolve(
        loaded.policy,
        {label: side.facts for label, side in subjects.items()},
        Sources(
            policy=loaded.digest,
            catalogues={item.catalogue.id: item.digest for item in catalogues},
            statements=opened.subject.statements.sha256 if opened.subject.statements else None,
        ),
    )
    warnings = tuple(warning for item in catalogues for warning in item.warnings)
    return Prepared(spec, loaded, tuple(catalogues), statements, opened, subjects, plan, warnings)


def _adapter(name: str) -> Adapter:
    adapter = load("adapters", name)
    if isinstance(adapter, Omission):
        raise SubjectError(adapter.message, hint="Install memorization-auditor[models].")
    return cast("Adapter", adapter)


@dataclass(frozen=True, slots=True)
class Occasion:
    """Who runs the audit, when, and how it is run again."""

    operator: str
    command: str
    started: dt.datetime


def audit(prepared: Prepared, out: Path, signer: Signer, occasion: Occasion, progress: Progress) -> Audited:
    """Return the finished audit: the whole way from a plan to a sealed bundle.

    A bundle of the same plan is gone on with; what is finished in it is not made again.

    Raises:
        UsageError: The folder holds another audit.
        StorageError: The folder cannot take what has to be written; everything written so far is kept.
    """
    bundle = Bundle(out)
    bundle.prepare()
    _begin(prepared, bundle, occasion)
    place = Workplace(bundle.observations, bundle.commitment_key())
    observe(prepared.plan.jobs, prepared.subjects, place, progress)
    findings, instrument = measure_bundle(bundle)
    bundle.write(layout.FINDINGS, list_bytes(findings))
    bundle.write(layout.INSTRUMENT, list_bytes(instrument))
    assessment = assess_bundle(bundle)
    bundle.write_record(layout.ASSESSMENT, assessment)
    seal_bundle(bundle, signer)
    return Audited(out, findings, assessment)


def _begin(prepared: Prepared, bundle: Bundle, occasion: Occasion) -> None:
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
    (bundle.root / layout.SEAL).unlink(missing_ok=True)
    if not bundle.has(layout.ENVIRONMENT):
        environment = describe_environment(
            device=prepared.spec.spec.model.device,
            created=occasion.started.isoformat(),
            operator=occasion.operator,
            command=occasion.command,
        )
        bundle.write(layout.ENVIRONMENT, canonical_bytes(environment))
    bundle.write(layout.POLICY, prepared.policy.bytes)
    for item in prepared.catalogues:
        bundle.write(f"{layout.CLAUSES}/{item.catalogue.id}.yaml", item.bytes)
    bundle.write_record(layout.SUBJECT, prepared.opened.subject)
    bundle.write(layout.STATEMENTS, list_bytes(prepared.statements))
    if prepared.opened.canaries is not None:
        bundle.write_record(f"{RESTRICTED}/{layout.CANARIES}", prepared.opened.canaries)
        bundle.write_record(layout.CANARIES, prepared.opened.canaries.withheld())


def _policy_of(bundle: Bundle) -> Policy:
    return load_policy(str(bundle.root / layout.POLICY), base=None, known_tests=None).policy


def measure_bundle(bundle: Bundle) -> tuple[tuple[Finding, ...], tuple[InstrumentCheck, ...]]:
    """Return the findings and the checks of the instrument, from the evidence alone.

    Raises:
        IntegrityError: The evidence is damaged.
    """
    plan = bundle.read_record(layout.PLAN, Plan)
    policy = _policy_of(bundle)
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
    findings = judge(policy.tests, measured["audited"], instrument, confidence=plan.confidence)
    return findings, instrument


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

    policy = _policy_of(bundle)
    plan = bundle.read_record(layout.PLAN, Plan)
    findings = bundle.read_list(layout.FINDINGS, Finding)
    statements = bundle.read_list(layout.STATEMENTS, Statement)
    subject = bundle.read_record(layout.SUBJECT, Subject)
    environment = bundle.read_plain(layout.ENVIRONMENT)
    catalogues = tuple(
        item.catalogue for item in load_catalogues(policy, today=None, folder=bundle.root / layout.CLAUSES)
    )
    created = dt.datetime.fromisoformat(environment["created"]).date()
    if assessed:
        assessment = bundle.read_record(layout.ASSESSMENT, Assessment)
    else:
        assessment = assess(policy, catalogues, findings, statements, subject, created=created)
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
    )


def _html_of(bundle: Bundle) -> tuple[bytes, dict[str, bytes]]:
    from auditor.report.html import render_html  # noqa: PLC0415  (heavy)
    from auditor.seal.keys import describe_signer, read_certificate  # noqa: PLC0415

    html, figures = render_html(
        report_input(bundle, signer=describe_signer(read_certificate(bundle.root / layout.SIGNER)))
    )
    return html.encode(), figures


def _pdf_of(bundle: Bundle, html: bytes) -> bytes:
    from auditor.report.pdf import render_pdf  # noqa: PLC0415  (heavy)

    attached = (layout.FINDINGS, layout.ASSESSMENT, layout.INSTRUMENT, layout.PLAN, layout.SUBJECT, layout.POLICY)
    return render_pdf(
        html.decode(),
        {name: bundle.read(name) for name in attached},
        created=_created(bundle),
        identifier=hashlib.sha256(html).digest()[:16],
    )


def _created(bundle: Bundle) -> dt.datetime:
    return dt.datetime.fromisoformat(bundle.read_plain(layout.ENVIRONMENT)["created"])


def seal_bundle(bundle: Bundle, signer: Signer) -> None:
    """Render the report, sign the PDF, list every file and seal the list.

    Args:
        bundle: A bundle with findings and assessment.
        signer: Key and certificate.
    """
    from auditor.seal.dsse import sign  # noqa: PLC0415  (heavy)
    from auditor.seal.pades import sign_pdf  # noqa: PLC0415
    from auditor.seal.statement import PAYLOAD_TYPE, build_statement, predicate_of  # noqa: PLC0415

    bundle.write(layout.SIGNER, signer.certificate_pem)
    html, figures = _html_of(bundle)
    bundle.write(layout.HTML, html)
    for name, content in figures.items():
        bundle.write(f"{layout.FIGURES}/{name}", content)
    signed = sign_pdf(
        _pdf_of(bundle, html),
        signer,
        signing_time=now(),
        reason="Memorization audit report",
        name=signer.common_name,
    )
    bundle.write(layout.PDF, signed)
    write_manifest(bundle.root)
    subject = bundle.read_record(layout.SUBJECT, Subject)
    predicate = predicate_of(
        bundle,
        subject=subject,
        policy=_policy_of(bundle),
        findings=bundle.read_list(layout.FINDINGS, Finding),
        assessment=bundle.read_record(layout.ASSESSMENT, Assessment),
    )
    bundle.write(
        layout.SEAL,
        sign(build_statement(bundle.root, model=subject.model.digest, predicate=predicate), PAYLOAD_TYPE, signer),
    )


def render_again(path: Path, out: Path) -> tuple[Path, ...]:
    """Write a report made again from a bundle's evidence alone, and return its files; the bundle is not touched.

    Raises:
        IntegrityError: The bundle is damaged.
        StorageError: The folder cannot be written.
    """
    bundle = Bundle(path)
    html, _ = _html_of(bundle)
    target = Bundle(out)
    target.prepare()
    target.write(layout.HTML, html)
    target.write(layout.PDF, _pdf_of(bundle, html))
    return out / layout.HTML, out / layout.PDF


def verify_path(path: Path, trust: Path | None) -> tuple[Step, ...]:
    """Return the steps of a verification.

    Args:
        path: A bundle, or a report in PDF alone.
        trust: Certificate of the signer that the user has from the signer, never from the bundle.

    Raises:
        KeyMaterialError: The certificate cannot be read.
        UsageError: There is nothing to verify at the path.
    """
    from auditor.seal.keys import read_certificate  # noqa: PLC0415  (heavy)
    from auditor.seal.verify import Recompute, verify_bundle, verify_pdf  # noqa: PLC0415

    trusted = read_certificate(trust) if trust else None
    if path.is_dir():
        bundle = Bundle(path)
        again = Recompute(
            measured=lambda: _measured_again(bundle),
            assessed=lambda: {layout.ASSESSMENT: assess_bundle(bundle).canonical()},
            rendered=lambda: {layout.HTML: _html_of(bundle)[0]},
        )
        return verify_bundle(path, trusted, again)
    if path.suffix == ".pdf" and path.is_file():
        return verify_pdf(path, trusted)
    msg = f"{path}: neither a bundle folder nor a PDF"
    raise UsageError(msg, hint="Give the folder that `auditor run` wrote, or its report.pdf.")


def _measured_again(bundle: Bundle) -> dict[str, bytes]:
    findings, instrument = measure_bundle(bundle)
    return {layout.FINDINGS: list_bytes(findings), layout.INSTRUMENT: list_bytes(instrument)}


def speed(prepared: Prepared) -> float:
    """Return how many tokens a second the audited model scores here, or how many images a second pass its network."""
    if prepared.opened.subject.members.modality == "image":
        return denoising_speed(prepared.opened.denoiser("subject"), prepared.plan.seed)
    return scoring_speed(prepared.opened.model("subject"), prepared.plan.seed)
