"""A small bundle of real parts: shards, a rendered PDF with attachments, figures; sealed with a key made here."""

from __future__ import annotations

import datetime as dt
import gc
import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from auditor.core.evidence import Column, Observation
from auditor.core.record import canonical_bytes, digest_of_files, parse_json
from auditor.evidence import bundle as layout
from auditor.evidence.manifest import write_manifest
from auditor.evidence.shards import ObservationWriter
from auditor.evidence.table import ObservedTable
from auditor.seal.dsse import sign
from auditor.seal.keys import Signer, load_signer
from auditor.seal.new_key import KeyFiles, generate_key
from auditor.seal.pades import sign_pdf
from auditor.seal.statement import PAYLOAD_TYPE, build_statement
from auditor.seal.verify import Recompute

NOW = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)
MODEL = "ab" * 32
OBSERVATION = Observation(
    observer="token-scores",
    observer_version=1,
    dataset="members",
    model_role="subject",
    model=MODEL,
    data=("1" * 64,),
    parameters={"records": 5},
    seed=7,
)
COLUMNS = (
    Column(name="id", type="string", unit="none", meaning="id"),
    Column(name="loss", type="double", unit="nat", meaning="loss"),
    Column(name="text", type="string", unit="none", meaning="text", restricted=True),
)
PARENT = f"{layout.POLICIES}/1.yaml"
"""A policy that the audited one extends: it lies in a folder, in the bundle and in the PDF."""
ATTACHED = (layout.FINDINGS, layout.ASSESSMENT, layout.PLAN, layout.POLICY, PARENT)


@dataclass(frozen=True)
class Sealed:
    """A sealed bundle and the key it was sealed with."""

    bundle: Path
    keys: KeyFiles
    signer: Signer


# The pure stages of this small audit: each reads the bundle alone, so that verification can repeat them.


def measured(bundle: Path) -> dict[str, bytes]:
    folder = next((bundle / layout.OBSERVATIONS).iterdir())
    loss = ObservedTable(folder).column("loss")
    outcome = "signal" if loss.mean() < 1.0 else "no_signal"
    finding = {"test": "language/membership", "outcome": outcome, "mean": float(loss.mean()), "n": len(loss)}
    return {layout.FINDINGS: canonical_bytes([finding])}


def assessed(bundle: Path) -> dict[str, bytes]:
    findings = parse_json((bundle / layout.FINDINGS).read_bytes())
    signals = sum(finding["outcome"] == "signal" for finding in findings)
    return {layout.ASSESSMENT: canonical_bytes({"clauses": [], "exit_code": int(signals > 0)})}


def rendered(bundle: Path) -> dict[str, bytes]:
    assessment = parse_json((bundle / layout.ASSESSMENT).read_bytes())
    row = parse_json((bundle / layout.FINDINGS).read_bytes())[0]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Memorization audit</title>'
        f"<h1>Memorization audit</h1><p>{row['test']}: {row['outcome']} (mean {row['mean']:.3f} nat, n {row['n']}); "
        f"exit code {assessment['exit_code']}.</p></html>"
    )
    return {layout.HTML: page.encode()}


def repeated(bundle: Path) -> Recompute:
    return Recompute(lambda: measured(bundle), lambda: assessed(bundle), lambda: rendered(bundle))


def printed(bundle: Path) -> bytes:
    """The report as an unsigned PDF/A-3a with attachments."""
    import weasyprint

    stamp = NOW.replace(tzinfo=None)
    attachments = [
        weasyprint.Attachment(
            string=(bundle / name).read_bytes(), name=name, created=stamp, modified=stamp, relationship="Data"
        )
        for name in ATTACHED
    ]
    html = (bundle / layout.HTML).read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # WeasyPrint leaves its colour profile open
        pdf = weasyprint.HTML(string=html).write_pdf(
            pdf_variant="pdf/a-3a", pdf_identifier=b"\x01" * 16, attachments=attachments
        )
        gc.collect()
    return pdf


def seal(bundle: Path, signer: Signer, time_stamp: Callable[[bytes], bytes] | None = None) -> None:
    """The order of sealing: sign the PDF, list every file, seal the list."""
    (bundle / layout.SIGNER).write_bytes(signer.certificate_pem)
    (bundle / layout.PDF).write_bytes(
        sign_pdf(
            printed(bundle),
            signer,
            signing_time=NOW,
            reason="Memorization audit report",
            name="Test Auditor",
            time_stamp=time_stamp,
        )
    )
    write_manifest(bundle)
    predicate = {
        "auditor": "0.0",
        "created": NOW.isoformat(),
        "operator": "Test Auditor",
        "policy": {"id": "small", "version": 1, "sha256": digest(bundle / layout.POLICY)},
        "plan": digest(bundle / layout.PLAN),
        "outcomes": {"language/membership": "no_signal"},
        "exit_code": 0,
    }
    statement = build_statement(bundle, model=MODEL, predicate=predicate)
    (bundle / layout.SEAL).write_bytes(sign(statement, PAYLOAD_TYPE, signer))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def audited(bundle: Path) -> None:
    """Write everything that comes before the seal."""
    bundle.mkdir()
    (bundle / layout.POLICY).write_text("id: small\nversion: 1\n")
    (bundle / PARENT).parent.mkdir()
    (bundle / PARENT).write_text("id: parent\nversion: 1\n")
    (bundle / layout.SUBJECT).write_bytes(canonical_bytes({"name": "small", "model": {"digest": MODEL}}))
    (bundle / layout.PLAN).write_bytes(
        canonical_bytes(
            {
                "jobs": [OBSERVATION.identity()],
                "policy": digest_of_files([(bundle / name).read_bytes() for name in (layout.POLICY, PARENT)]),
                "subject": digest(bundle / layout.SUBJECT),
            }
        )
    )
    (bundle / layout.STATEMENTS).write_bytes(b"[]")
    (bundle / layout.ENVIRONMENT).write_bytes(canonical_bytes({"created": NOW.isoformat()}))
    (bundle / layout.FIGURES).mkdir()
    (bundle / layout.FIGURES / "loss.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"><title>loss</title></svg>'
    )
    (bundle / "restricted").mkdir()
    (bundle / "restricted/commitment.key").write_bytes(b"k" * 32)
    writer = ObservationWriter(bundle / layout.OBSERVATIONS / OBSERVATION.identity(), b"k" * 32)
    for number, rows in enumerate(((0, 1, 2), (3, 4))):
        public = pa.table({"id": [f"r{row}" for row in rows], "loss": np.array([1.5 + row for row in rows])})
        restricted = pa.table({"text": [f"the secret of record {row}" for row in rows]})
        writer.write(number, public, restricted, calls=1, tokens=len(rows))
    writer.finish(OBSERVATION, COLUMNS, 2)
    for stage in (measured, assessed, rendered):
        for name, content in stage(bundle).items():
            (bundle / name).write_bytes(content)


def new_signer(folder: Path, name: str = "Test Auditor", **options) -> tuple[KeyFiles, Signer]:
    keys = generate_key(folder, name, now=NOW - dt.timedelta(days=1), **options)
    return keys, load_signer(keys.key, keys.certificate, options.get("passphrase"), now=NOW)
