"""Reads a bundle that holds and hands it out in forms that other tools read; takes in what other tools found."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from auditor.core.assessment import Assessment, Statement
from auditor.core.finding import Finding
from auditor.core.plan import Plan
from auditor.core.subject import Subject
from auditor.errors import DataError, IntegrityError, UsageError
from auditor.evidence import bundle as layout
from auditor.evidence.bundle import Bundle
from auditor.evidence.manifest import read_regular
from auditor.exchange.source import Source, shareable
from auditor.pipeline.guarding import guard_made
from auditor.policy.load import load_policy

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.core.external import ExternalFindings, ExternalForm
    from auditor.exchange.cyclonedx import SpecVersion
    from auditor.exchange.forms import Form, Predicate
    from auditor.seal.keys import Signer

_POINTED_TO = (
    layout.MANIFEST,
    layout.SEAL,
    layout.POLICY,
    layout.PLAN,
    layout.SUBJECT,
    layout.FINDINGS,
    layout.ASSESSMENT,
    layout.HTML,
    layout.PDF,
)
"""Files of a bundle that an export points to, by digest."""


def export_bundle(
    path: Path,
    form: Form | Literal["sigstore"],
    *,
    trust: Path | None = None,
    predicate: Predicate = "test-result",
    spec_version: SpecVersion = "1.7",
) -> bytes:
    """Return a bundle, which was found to hold, in one form.

    Args:
        path: The bundle.
        form: Which form.
        trust: Certificate of the signer that the user has from the signer; None: the seal is checked against the bundle's own.
        predicate: What an in-toto statement is about.
        spec_version: Version of CycloneDX.

    Raises:
        IntegrityError: The bundle is damaged, or was not sealed by whom the user trusts.
        KeyMaterialError: The certificate cannot be read.
        LeakError: The form would hold restricted text; looked for where the restricted part is at hand.
        UsageError: There is no bundle.
    """
    from auditor.exchange.forms import exported  # noqa: PLC0415  (heavy)

    if form == "sigstore":
        content = _as_sigstore(path, trust)
    else:
        content = exported(source_of(path, trust), form, predicate, spec_version=spec_version)
    guard_made(Bundle(path), {f"{form} export": content})
    return content


def _as_sigstore(path: Path, trust: Path | None) -> bytes:
    """Return the seal of a bundle, which was found to hold, as a Sigstore bundle."""
    from auditor.seal.keys import parse_certificate, read_certificate  # noqa: PLC0415  (heavy)
    from auditor.seal.sigstore_bundle import sigstore_bundle  # noqa: PLC0415

    source_of(path, trust)
    signer = read_certificate(trust) if trust else parse_certificate(read_regular(path / layout.SIGNER), layout.SIGNER)
    return sigstore_bundle(read_regular(path / layout.SEAL), signer)


def sealed_statement(path: Path, trust: Path) -> bytes:
    """Return the statement that the seal of a bundle, which was found to hold, signs.

    Raises:
        IntegrityError: The bundle is damaged, or was not sealed by whom the user trusts.
        KeyMaterialError: The certificate cannot be read.
        UsageError: There is no bundle.
    """
    from auditor.pipeline.comparing import checked  # noqa: PLC0415  (heavy)
    from auditor.seal.dsse import open_envelope  # noqa: PLC0415
    from auditor.seal.keys import read_certificate  # noqa: PLC0415

    checked(path, [read_certificate(trust)], evidence=False)
    return open_envelope(read_regular(path / layout.SEAL))[0]


def source_of(path: Path, trust: Path | None = None) -> Source:
    """Return what an export may see of a bundle, after it was found to hold.

    Raises:
        IntegrityError: The bundle is damaged, or was not sealed by whom the user trusts.
        KeyMaterialError: The certificate cannot be read.
        UsageError: There is no bundle.
    """
    from auditor.pipeline.comparing import checked  # noqa: PLC0415  (heavy)
    from auditor.seal.dsse import open_envelope  # noqa: PLC0415
    from auditor.seal.keys import fingerprint, read_certificate  # noqa: PLC0415

    if not path.is_dir():
        msg = f"{path}: no bundle folder"
        raise UsageError(msg, hint="Give the folder that `auditor run` wrote.")
    certificate = checked(path, [read_certificate(trust)] if trust else [], evidence=False)
    bundle = Bundle(path)
    environment = bundle.read_plain(layout.ENVIRONMENT)
    # Without the clauses: an export names them and says nothing of them, so their schema may have changed since.
    policy = load_policy(str(path / layout.POLICY), base=None, known_tests=None, parents=path / layout.POLICIES).policy
    return Source(
        policy=policy,
        plan=bundle.read_record(layout.PLAN, Plan),
        subject=bundle.read_record(layout.SUBJECT, Subject),
        findings=shareable(bundle.read_list(layout.FINDINGS, Finding)),
        assessment=bundle.read_record(layout.ASSESSMENT, Assessment),
        statements=bundle.read_list(layout.STATEMENTS, Statement),
        created=str(environment["created"]),
        auditor=str(environment["auditor"]),
        operator=str(environment["operator"]),
        signer=fingerprint(certificate),
        digests={name: hashlib.sha256(read_regular(path / name)).hexdigest() for name in _POINTED_TO},
        seal=open_envelope(read_regular(path / layout.SEAL))[0],
    )


def attach_bundle(path: Path, card: Path, *, trust: Path | None = None, url: str = "") -> tuple[str, str]:
    """Return a model card as it is and as it is with the outcomes of a bundle in it; nothing is written.

    Args:
        path: The bundle.
        card: The model card (README.md).
        trust: Certificate of the signer that the user has from the signer; None: the seal is checked against the bundle's own.
        url: Address where the report can be had; empty: none is named.

    Raises:
        DataError: The card cannot be read, or nothing can be put into it without changing the rest.
        IntegrityError: The bundle is damaged, or was not sealed by whom the user trusts.
        KeyMaterialError: The certificate cannot be read.
        LeakError: What is put into it would hold restricted text; looked for where the restricted part is at hand.
        UsageError: There is no bundle.
    """
    from auditor.exchange.model_card import attached  # noqa: PLC0415  (heavy)

    before = _text(card)
    after = attached(before, source_of(path, trust), where=str(card), url=url)
    # What the card says already is its author's; what is put into it is ours.
    guard_made(Bundle(path), {card.name: after.encode()}, known=[before])
    return before, after


def _text(path: Path) -> str:
    """Return the text of a file, line ends as they are."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 (byte {error.start})"
        raise DataError(msg, hint="Save the file as UTF-8.") from error
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise DataError(msg, hint="Check the path.") from error


def import_external(
    path: Path, file: Path, form: ExternalForm | None, signer: Signer, *, trust: Path | None = None
) -> tuple[ExternalFindings, bytes]:
    """Return what a file of another tool says, tied to a bundle that was found to hold, and the signed addendum; nothing is written.

    Args:
        path: The bundle; it stays as it is.
        file: The file of the other tool.
        form: What wrote it; None: what its content shows.
        signer: Key and certificate of whoever vouches for having read the file, not for what it says.
        trust: Certificate of the bundle's signer that the user has from the signer; None: the bundle's own.

    Raises:
        DataError: The file cannot be read, does not fit its format, or is about another model.
        IntegrityError: The bundle is damaged, or was not sealed by whom the user trusts.
        KeyMaterialError: A certificate cannot be read.
        LeakError: It quotes what is restricted in the bundle.
        UsageError: There is no bundle.
    """
    from auditor.exchange.external import external  # noqa: PLC0415  (heavy)
    from auditor.pipeline.before import now  # noqa: PLC0415
    from auditor.seal.external import sign_external  # noqa: PLC0415

    found = external(file, form, source_of(path, trust), read=now().isoformat())
    guard_made(Bundle(path), {"external addendum": found.canonical()})
    return found, sign_external(found, signer)


def read_addendum(path: Path, addendum: Path, signer: Path) -> ExternalFindings:
    """Return what a signed addendum says, after its signature was checked and that it is about this bundle.

    Args:
        path: The bundle.
        addendum: What `auditor import` wrote.
        signer: Certificate of whoever signed the addendum, from the signer.

    Raises:
        IntegrityError: The addendum does not hold, or is about another bundle.
        KeyMaterialError: The certificate cannot be read.
    """
    from auditor.seal.external import open_external  # noqa: PLC0415  (heavy)
    from auditor.seal.keys import read_certificate  # noqa: PLC0415

    found = open_external(read_regular(addendum), read_certificate(signer))
    if found.bundle != hashlib.sha256(read_regular(path / layout.MANIFEST)).hexdigest():
        msg = f"{addendum}: about another bundle ({found.bundle[:16]}) than {path}"
        raise IntegrityError(msg, hint="Give the bundle it was made beside.")
    return found
