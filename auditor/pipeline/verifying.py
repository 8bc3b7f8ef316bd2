"""Verifies a bundle: repeats all that is pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from auditor.errors import UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.archive import unpacked
from auditor.evidence.bundle import Bundle, list_bytes
from auditor.pipeline.again import assess_bundle, measure_bundle
from auditor.pipeline.external import external_again
from auditor.pipeline.preregistering import deviations_in
from auditor.pipeline.presenting import html_of

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from auditor.seal.step import Step


class Beside(NamedTuple):
    """What is held against a bundle beside its own files, each in a step of its own."""

    record: Path | None = None
    """One withheld record, as `auditor disclose` wrote it."""
    model_signature: Path | None = None
    """What the publisher of the model signed (OpenSSF model-signing)."""
    model_key: Path | None = None
    """The publisher's key or certificate, from the publisher."""


_NOTHING = Beside()


def verify_path(
    path: Path, trust: Path | None, trust_timestamp: Path | None = None, beside: Beside = _NOTHING
) -> tuple[Step, ...]:
    """Return the steps of a verification.

    Args:
        path: A bundle as a folder or a zip file, or a report in PDF alone.
        trust: Certificate of the signer that the user has from the signer, never from the bundle.
        trust_timestamp: Certificate of the authority that made the time stamps, or of the one that issued it.
        beside: What else is held against the bundle.

    Raises:
        IntegrityError: A zip file holds what no bundle holds.
        KeyMaterialError: The certificate cannot be read.
        UsageError: There is nothing to verify at the path.
    """
    from auditor.seal.keys import read_certificate  # noqa: PLC0415  (heavy)
    from auditor.seal.report_alone import verify_pdf  # noqa: PLC0415

    trusted = read_certificate(trust) if trust else None
    authority = read_certificate(trust_timestamp) if trust_timestamp else None
    kind = kind_of(path)
    if kind == "report" and any(beside):
        msg = "a record or a model signature is held against a bundle, and only a report is given"
        raise UsageError(msg, hint="Give the bundle's folder, or a zip file of it.")
    if (beside.model_signature is None) != (beside.model_key is None):
        msg = "--model-signature and --model-key go together"
        raise UsageError(
            msg, hint="Give the publisher's signature of the model, and the key you have from the publisher."
        )
    if kind == "report":
        return verify_pdf(path, trusted, authority=authority)
    if kind == "archive":
        with unpacked(path) as folder:
            return _verify_folder(folder, trusted, authority) + _verify_beside(folder, beside)
    return _verify_folder(path, trusted, authority) + _verify_beside(path, beside)


def _verify_beside(bundle: Path, beside: Beside) -> tuple[Step, ...]:
    return _verify_record(bundle, beside.record) + _verify_model(bundle, beside.model_signature, beside.model_key)


def _verify_model(bundle: Path, signature: Path | None, key: Path | None) -> tuple[Step, ...]:
    """Return the step that holds the audited model against what its publisher signed; none where no signature was given."""
    from auditor.core.record import parse_json  # noqa: PLC0415
    from auditor.evidence.manifest import read_regular  # noqa: PLC0415
    from auditor.seal.model_signature import held_against, open_model_signature, read_model_key  # noqa: PLC0415  (heavy)
    from auditor.seal.step import checked  # noqa: PLC0415

    if signature is None or key is None:
        return ()
    public = read_model_key(key)

    def check() -> str:
        files = parse_json(read_regular(bundle / layout.SUBJECT))["model"]["files"]
        audited = {item["path"]: item["sha256"] for item in files}
        return held_against(open_model_signature(read_regular(signature), public), audited)

    return (checked(11, "model signature", "the key of the model's publisher", check),)


def _verify_record(bundle: Path, record: Path | None) -> tuple[Step, ...]:
    """Return the step that holds a disclosed record against a bundle; none where none was given."""
    from auditor.seal.disclosure import check_disclosure  # noqa: PLC0415  (heavy)
    from auditor.seal.step import checked  # noqa: PLC0415

    def check() -> str:
        found = check_disclosure(bundle, record.read_bytes())  # type: ignore[union-attr]  # only called where there is one
        return f"record {found.row} of the {found.records:,} of observation {found.observation[:16]}, with its restricted columns"

    return (checked(10, "disclosed record", "the disclosure", check),) if record else ()


def kind_of(path: Path) -> Literal["folder", "archive", "report"]:
    """Return what lies at a path, by its first bytes: a bundle as a folder or a zip file, or a report alone.

    Raises:
        UsageError: None of these.
    """
    if path.is_dir():
        return "folder"
    try:
        with path.open("rb") as stream:
            start = stream.read(4) if path.is_file() else b""
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise UsageError(
            msg, hint="Give the folder that `auditor run` wrote, a zip file of it, or its report.pdf."
        ) from error
    if start == b"PK\x03\x04":
        return "archive"
    if start == b"%PDF" or (start and path.suffix == ".pdf"):
        return "report"
    msg = f"{path}: neither a bundle folder, nor a zip file of one, nor a PDF"
    raise UsageError(msg, hint="Give the folder that `auditor run` wrote, a zip file of it, or its report.pdf.")


def _verify_folder(
    path: Path, trusted: x509.Certificate | None, authority: x509.Certificate | None
) -> tuple[Step, ...]:
    from auditor.seal.verify import Recompute, verify_bundle  # noqa: PLC0415  (heavy)

    bundle = Bundle(path)
    again = Recompute(
        measured=lambda: _measured_again(bundle),
        assessed=lambda: _assessed_again(bundle),
        rendered=lambda: {layout.HTML: html_of(bundle)[0]},
    )
    return verify_bundle(path, trusted, again, authority=authority)


def _measured_again(bundle: Bundle) -> dict[str, bytes]:
    findings, instrument = measure_bundle(bundle)
    return {layout.FINDINGS: list_bytes(findings), layout.INSTRUMENT: list_bytes(instrument)}


def _assessed_again(bundle: Bundle) -> dict[str, bytes]:
    files = {layout.ASSESSMENT: assess_bundle(bundle).canonical(), **external_again(bundle)}
    if bundle.has(layout.PREREGISTRATION):
        files[layout.DEVIATIONS] = list_bytes(deviations_in(bundle))
    return files
