"""Verifies a bundle: repeats all that is pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.errors import UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle, list_bytes
from auditor.pipeline.again import assess_bundle, measure_bundle
from auditor.pipeline.preregistering import deviations_in
from auditor.pipeline.presenting import html_of

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.seal.verify import Step


def verify_path(path: Path, trust: Path | None, trust_timestamp: Path | None = None) -> tuple[Step, ...]:
    """Return the steps of a verification.

    Args:
        path: A bundle, or a report in PDF alone.
        trust: Certificate of the signer that the user has from the signer, never from the bundle.
        trust_timestamp: Certificate of the authority that time-stamped the plan committed beforehand, or of the one that issued it.

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
            assessed=lambda: _assessed_again(bundle),
            rendered=lambda: {layout.HTML: html_of(bundle)[0]},
        )
        authority = read_certificate(trust_timestamp) if trust_timestamp else None
        return verify_bundle(path, trusted, again, authority=authority)
    if path.suffix == ".pdf" and path.is_file():
        return verify_pdf(path, trusted)
    msg = f"{path}: neither a bundle folder nor a PDF"
    raise UsageError(msg, hint="Give the folder that `auditor run` wrote, or its report.pdf.")


def _measured_again(bundle: Bundle) -> dict[str, bytes]:
    findings, instrument = measure_bundle(bundle)
    return {layout.FINDINGS: list_bytes(findings), layout.INSTRUMENT: list_bytes(instrument)}


def _assessed_again(bundle: Bundle) -> dict[str, bytes]:
    files = {layout.ASSESSMENT: assess_bundle(bundle).canonical()}
    if bundle.has(layout.PREREGISTRATION):
        files[layout.DEVIATIONS] = list_bytes(deviations_in(bundle))
    return files
