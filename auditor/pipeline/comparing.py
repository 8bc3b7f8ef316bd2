"""Reads bundles, checks that they hold, and compares them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from auditor.compare.comparing import compare
from auditor.compare.source import Losses, Source, loss_jobs, read_losses
from auditor.contract.paired import ComparesRecords
from auditor.contract.protocol import Facts, Measuring
from auditor.contract.registry import load
from auditor.core.assessment import Assessment, Statement
from auditor.core.canary import CanarySet
from auditor.core.comparison import BundleIdentity
from auditor.core.evidence import Omission
from auditor.core.finding import Finding, InstrumentCheck
from auditor.core.plan import Plan
from auditor.core.subject import Subject
from auditor.errors import AuditorError, DataError, IntegrityError, UnsupportedError, UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle
from auditor.evidence.table import ObservedTable
from auditor.pipeline.again import policy_of
from auditor.policy.load import load_catalogues

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryptography import x509

    from auditor.compare.comparing import Against
    from auditor.contract.paired import PerRecord
    from auditor.core.comparison import Comparison, TrainingRun
    from auditor.core.plan import PlannedTest
    from auditor.core.policy import Policy

_LEAST = 2


def compare_bundles(
    paths: Sequence[Path],
    *,
    trust: Sequence[Path] = (),
    against: Against = "first",
    steps: Sequence[float] = (),
) -> Comparison:
    """Return the comparison of some bundles, each of which was found to hold.

    Args:
        paths: Folders of the bundles, two at least, in order.
        trust: Certificates of signers that the user has from the signers; none: seals are checked against the bundles' own.
        against: Every bundle against the first, or against the one before it.
        steps: Where each stands in a training run, rising; none: their numbers from 1.

    Raises:
        IntegrityError: A bundle is damaged, or was sealed by nobody who is trusted.
        KeyMaterialError: A certificate cannot be read.
        UsageError: There are fewer than two bundles, or the steps do not fit them.
    """
    from auditor.seal.keys import read_certificate  # noqa: PLC0415  (heavy)

    if len(paths) < _LEAST:
        msg = f"{len(paths)} bundle to compare"
        raise UsageError(msg, hint="Give two at least: auditor compare BEFORE AFTER.")
    if steps and (len(steps) != len(paths) or any(b <= a for a, b in itertools.pairwise(steps))):
        msg = f"{len(steps)} steps for {len(paths)} bundles, or they do not rise"
        raise UsageError(msg, hint="Give one step for each bundle, in the order of training: --steps 100,200,400.")
    for path in paths:
        if not path.is_dir():
            msg = f"{path}: no bundle folder"
            raise UsageError(msg, hint="Give the folders that `auditor run` wrote.")
    trusted = [read_certificate(path) for path in trust]
    places = steps or [float(number) for number in range(1, len(paths) + 1)]
    sources = [
        _source(path, label, step, trusted) for path, label, step in zip(paths, _labels(paths), places, strict=True)
    ]
    training, notes = _training(paths, [source.identity.label for source in sources])
    return compare(sources, against=against, ordered=bool(steps), training=training, notes=notes)


def _training(paths: Sequence[Path], labels: Sequence[str]) -> tuple[list[TrainingRun], list[str]]:
    """Return the training runs whose history lies beside a bundle, and what is wrong with those that cannot be read."""
    from auditor.compare.training import read_training  # noqa: PLC0415  (heavy)

    found, notes = [], []
    for path, label in zip(paths, labels, strict=True):
        history = path.resolve().parent / HISTORY
        if not history.is_file():
            continue
        try:
            if history.stat().st_size > _LARGEST_HISTORY:
                notes.append(
                    f"{label}: the history beside it is larger than {_LARGEST_HISTORY:,} bytes and was not read."
                )
                continue
            found.append(read_training(history.read_bytes(), label, history.name))
        except (DataError, OSError) as error:
            notes.append(f"{label}: the history beside it was not read ({error}).")
    return found, notes


def render_comparison(comparison: Comparison) -> tuple[str, dict[str, bytes]]:
    """Return the comparison as HTML, and its figures by file name."""
    from auditor.compare.page import render  # noqa: PLC0415  (heavy)

    return render(comparison)


def write_comparison(comparison: Comparison, out: Path) -> tuple[Path, ...]:
    """Write a comparison as HTML, JSON and figures into a folder, and return the files.

    Raises:
        StorageError: The folder cannot be written.
    """
    target = Bundle(out)
    target.prepare()
    html, figures = render_comparison(comparison)
    target.write(PAGE, html.encode())
    target.write(DATA, comparison.canonical())
    for name, content in figures.items():
        target.write(f"{layout.FIGURES}/{name}", content)
    return out / PAGE, out / DATA


PAGE, DATA = "compare.html", "comparison.json"
HISTORY = "history.jsonl"
"""What a trainer writes beside the folder of the bundle; see `auditor.integrations.transformers`."""
_LARGEST_HISTORY = 64 << 20


def _labels(paths: Sequence[Path]) -> list[str]:
    """Return the names of the folders, those of their parents where they are the same, with numbers where even these are."""
    whole = [path.resolve() for path in paths]
    for depth in (1, 2, 3):
        names = [path.parts[-depth:] for path in whole]
        if len(set(names)) == len(names):
            told = [name[:1] for name in names]  # what follows is the same, unless two parents have one name
            return ["/".join(name) for name in (told if len(set(told)) == len(told) else names)]
    return [f"{path.name} ({number})" for number, path in enumerate(whole, start=1)]


def _source(path: Path, label: str, step: float, trusted: Sequence[x509.Certificate]) -> Source:
    """Return a bundle read, after it was found to hold."""
    from auditor.seal.keys import common_name  # noqa: PLC0415  (heavy)

    signer = checked(path, trusted)
    bundle = Bundle(path)
    policy = policy_of(bundle)
    plan = bundle.read_record(layout.PLAN, Plan)
    subject = bundle.read_record(layout.SUBJECT, Subject)
    findings = bundle.read_list(layout.FINDINGS, Finding)
    environment = bundle.read_plain(layout.ENVIRONMENT)
    catalogues = tuple(item.catalogue for item in load_catalogues(policy, today=None, folder=path / layout.CLAUSES))
    identity = BundleIdentity(
        label=label,
        step=step,
        subject=subject.name,
        model=subject.model.digest,
        policy=f"{policy.id}, version {policy.version}",
        policy_digest=plan.policy,
        plan_digest=plan.identity(),
        created=str(environment["created"]),
        auditor=plan.auditor_version,
        signer=common_name(signer),
        trusted=bool(trusted),
    )
    return Source(
        identity=identity,
        policy=policy,
        plan=plan,
        subject=subject,
        findings=findings,
        instrument=bundle.read_list(layout.INSTRUMENT, InstrumentCheck),
        assessment=bundle.read_record(layout.ASSESSMENT, Assessment),
        statements=bundle.read_list(layout.STATEMENTS, Statement),
        catalogues=catalogues,
        per_record=_per_record(bundle, plan, policy, findings),
        losses=_losses(bundle, plan),
    )


def checked(path: Path, trusted: Sequence[x509.Certificate], *, evidence: bool = True) -> x509.Certificate:
    """Return the certificate whose key sealed a bundle: one that is trusted, or the bundle's own where none is given.

    Signature, statement, digests, completeness, Merkle roots and the PDF's signature are checked, not what `auditor verify` repeats.

    Args:
        path: Folder of the bundle.
        trusted: Certificates of signers that the user has from the signers.
        evidence: The Merkle roots and the PDF's signature, too; without them every byte is still under the seal.

    Raises:
        IntegrityError: A step does not hold.
    """
    from auditor.evidence.manifest import read_regular  # noqa: PLC0415  (heavy)
    from auditor.seal.keys import parse_certificate  # noqa: PLC0415
    from auditor.seal.verify import verify_bundle, verify_seal  # noqa: PLC0415

    candidates = list(trusted)
    if not candidates:
        try:
            candidates = [parse_certificate(read_regular(path / layout.SIGNER), layout.SIGNER)]
        except (AuditorError, OSError) as error:
            msg = f"{path}: the bundle's own certificate cannot be read ({error})"
            raise IntegrityError(
                msg, hint="Is the bundle whole, and was it sealed? Take it again from its origin."
            ) from error
    broken = []
    for certificate in candidates:
        verify = verify_bundle if evidence else verify_seal
        steps = [step for step in verify(path, certificate) if step.number <= _SEALED]
        broken = [step for step in steps if not step.held]
        if not broken:
            return certificate
    said = "; ".join(f"({step.number}) {step.name}: {step.detail}" for step in broken)
    msg = f"{path}: the bundle does not hold: {said}"
    raise IntegrityError(msg, hint="Nothing is made from a bundle that does not hold; see `auditor verify`.")


_SEALED = 6
"""Steps of the verification that need no test and no template."""


def _per_record(
    bundle: Bundle, plan: Plan, policy: Policy, findings: Sequence[Finding]
) -> Mapping[str, Sequence[PerRecord] | str]:
    """Return what each measured test says record by record, or why it does not."""
    side = plan.side("audited")
    facts = Facts(
        subject=side.side.subject,
        canaries=bundle.read_record(layout.CANARIES, CanarySet) if bundle.has(layout.CANARIES) else None,
        context_length=side.side.context_length,
        confidence=plan.confidence,
        queries=policy.queries,
    )
    measured = {finding.test for finding in findings if finding.measurement is not None}
    return {row.test: _of_test(bundle, row, Measuring(facts, plan.seed)) for row in side.tests if row.test in measured}


def _of_test(bundle: Bundle, row: PlannedTest, measuring: Measuring) -> Sequence[PerRecord] | str:
    try:
        test: Any = load("tests", row.test)
    except AuditorError as error:
        return f"the test is not installed ({error.message})"
    if isinstance(test, Omission):
        return test.message
    if test.version != row.test_version:
        return f"measured by version {row.test_version} of the test, installed is {test.version}"
    parameters = test.parameters
    if not isinstance(test, ComparesRecords):
        return "the test says nothing of single records"
    try:
        evidence = {key: ObservedTable(bundle.observations / name) for key, name in row.observations.items()}
        return tuple(test.per_record(parameters.from_plain(row.parameters), evidence, measuring))
    except IntegrityError:
        raise
    except UnsupportedError as error:
        return error.message
    except Exception as error:  # noqa: BLE001  (a plug-in may fail in any way; its intervals can still be compared)
        return f"the test could not say what it saw of single records ({type(error).__name__}: {error})"


def _losses(bundle: Bundle, plan: Plan) -> Losses | None:
    """Return the loss of members and controls, where it was observed."""
    found = []
    for job in loss_jobs(plan):
        folder = bundle.observations / job.id if job else None
        there = folder is not None and (folder / "observation.json").exists()
        found.append(read_losses(ObservedTable(folder)) if folder and there else None)
    members, controls = found
    if members is None:
        return None
    same = controls is not None and controls[1] == members[1]
    return Losses(members[0], controls[0] if controls and same else None, members[1])
