"""From a measured and assessed bundle to its report and seal; and the report made again."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

from auditor.core.assessment import Assessment
from auditor.core.finding import Finding
from auditor.core.subject import Subject
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle
from auditor.evidence.manifest import write_manifest
from auditor.pipeline.again import policy_of, report_input
from auditor.pipeline.before import now
from auditor.pipeline.guarding import guard_before_sealing, guard_made

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditor.seal.annex import Recipient
    from auditor.seal.keys import Signer


def html_of(bundle: Bundle, language: str | None = None, page: str | None = None) -> tuple[bytes, dict[str, bytes]]:
    """Return the report as HTML, and its figures by file name.

    Args:
        bundle: The bundle.
        language: Of the reader; None: the one that the policy names.
        page: Paper, `a4` or `letter`; None: the one that the policy names.
    """
    from auditor.report.html import render_html  # noqa: PLC0415  (heavy)
    from auditor.seal.keys import describe_signer, read_certificate  # noqa: PLC0415

    html, figures = render_html(
        report_input(bundle, signer=describe_signer(read_certificate(bundle.root / layout.SIGNER))),
        language,
        page,
    )
    return html.encode(), figures


def _pdf_of(bundle: Bundle, html: bytes) -> bytes:
    from auditor.report.pdf import render_pdf  # noqa: PLC0415  (heavy)

    attached = [layout.FINDINGS, layout.ASSESSMENT, layout.INSTRUMENT, layout.PLAN, layout.SUBJECT, layout.POLICY]
    attached += sorted(str(path.relative_to(bundle.root)) for path in (bundle.root / layout.POLICIES).glob("*.yaml"))
    attached += [name for name in (layout.PREREGISTRATION, layout.DEVIATIONS, layout.EXTERNAL) if bundle.has(name)]
    return render_pdf(
        html.decode(),
        {name: bundle.read(name) for name in attached},
        created=_created(bundle),
        identifier=hashlib.sha256(html).digest()[:16],
    )


def _created(bundle: Bundle) -> dt.datetime:
    return dt.datetime.fromisoformat(bundle.read_plain(layout.ENVIRONMENT)["created"])


def seal_bundle(
    bundle: Bundle, signer: Signer, authority: str | None = None, recipients: Sequence[Recipient] = ()
) -> None:
    """Render the report, hold all that is to be shared against what is restricted, sign the PDF, list every file and seal the list.

    Args:
        bundle: A bundle with findings and assessment.
        signer: Key and certificate.
        authority: Address of a time-stamping authority (RFC 3161); it is sent a digest of the PDF's signature. None: no time
            stamp, the time of signing is a claim.
        recipients: For each of them an annex is encrypted, and named in the report.

    Raises:
        UsageError: There is nothing to put into an annex, or too much.
        StorageError: The authority gives no time stamp; everything before the signature is kept.
        IntegrityError: What it gives is not a time stamp over the signature.
        LeakError: The report, or a file of the bundle, holds restricted text or pictures: no report is written, all evidence is kept.
    """
    from auditor.preregister.stamping import request_time_stamp  # noqa: PLC0415  (heavy)
    from auditor.seal.annex import write_annexes  # noqa: PLC0415  (heavy)
    from auditor.seal.dsse import sign  # noqa: PLC0415
    from auditor.seal.pades import sign_pdf  # noqa: PLC0415
    from auditor.seal.statement import PAYLOAD_TYPE, build_statement, predicate_of  # noqa: PLC0415

    bundle.write(layout.SIGNER, signer.certificate_pem)
    write_annexes(bundle, recipients)
    html, figures = html_of(bundle)
    pdf = _pdf_of(bundle, html)
    made = {layout.HTML: html, layout.PDF: pdf} | {
        f"{layout.FIGURES}/{name}": content for name, content in figures.items()
    }
    guard_before_sealing(bundle, made)
    for name, content in made.items():
        if name != layout.PDF:
            bundle.write(name, content)
    signed = sign_pdf(
        pdf,
        signer,
        signing_time=now(),
        reason="Memorization audit report",
        name=signer.common_name,
        time_stamp=(lambda content: request_time_stamp(content, authority)) if authority else None,
    )
    bundle.write(layout.PDF, signed)
    write_manifest(bundle.root)
    subject = bundle.read_record(layout.SUBJECT, Subject)
    predicate = predicate_of(
        bundle,
        subject=subject,
        policy=policy_of(bundle),
        findings=bundle.read_list(layout.FINDINGS, Finding),
        assessment=bundle.read_record(layout.ASSESSMENT, Assessment),
    )
    bundle.write(
        layout.SEAL,
        sign(build_statement(bundle.root, model=subject.model.digest, predicate=predicate), PAYLOAD_TYPE, signer),
    )


def render_again(path: Path, out: Path, language: str | None = None, page: str | None = None) -> tuple[Path, ...]:
    """Write a report made again from a bundle's evidence alone, and return its files; the bundle is not touched.

    Args:
        path: The bundle.
        out: Folder of the report.
        language: `en`, `de` or `fr`; None: the one that the policy names.
        page: Paper, `a4` or `letter`; None: the one that the policy names.

    Raises:
        IntegrityError: The bundle is damaged.
        LeakError: The report would hold restricted text or pictures; looked for where the restricted part is at hand.
        StorageError: The folder cannot be written.
    """
    bundle = Bundle(path)
    html, _ = html_of(bundle, language, page)
    pdf = _pdf_of(bundle, html)
    guard_made(bundle, {layout.HTML: html, layout.PDF: pdf})
    target = Bundle(out)
    target.prepare()
    target.write(layout.HTML, html)
    target.write(layout.PDF, pdf)
    return out / layout.HTML, out / layout.PDF
