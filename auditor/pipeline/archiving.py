"""From a signed report to its long-term form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.errors import KeyMaterialError
from auditor.evidence import bundle as layout
from auditor.evidence.manifest import read_regular

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography import x509


def archive_report(
    path: Path, trust: Path, address: str, trust_timestamp: Path, chain: Sequence[Path], lists: Sequence[Path]
) -> tuple[bytes, str]:
    """Return the long-term form of a report, and what it shows, in words.

    Args:
        path: A bundle folder, a report, or a long-term form that is to be renewed.
        trust: The signer's certificate, from the user.
        address: Address of the time-stamping authority.
        trust_timestamp: Its certificate, or that of its issuer, from the user.
        chain: Files with certificates of the authorities above.
        lists: Files with their revocation lists.

    Raises:
        IntegrityError: The report does not hold, or what came is not a time stamp of that authority.
        KeyMaterialError: A certificate or a list cannot be read.
        StorageError: The authority gives no time stamp.
    """
    from auditor.errors import IntegrityError  # noqa: PLC0415
    from auditor.preregister.stamping import check_address, stamp_of  # noqa: PLC0415  (heavy)
    from auditor.seal.keys import read_certificate  # noqa: PLC0415
    from auditor.seal.long_term import check_archive, described, is_archive, make_archive  # noqa: PLC0415
    from auditor.seal.pades import check_pdf_signature  # noqa: PLC0415

    check_address(address)
    signer, authority = read_certificate(trust), read_certificate(trust_timestamp)
    content = read_regular(path / layout.PDF if path.is_dir() else path)
    above = [certificate for file in chain for certificate in _certificates(file)]
    revoked = [_revocation_list(file) for file in lists]
    if is_archive(content):
        earlier = check_archive(content, signer)
        stamps = [item.authority for item in earlier.stamps]
        found = earlier.signed
    else:
        found, stamps = check_pdf_signature(content, signer), []
        if not found.holds:
            raise IntegrityError(found.detail, hint="Only a report that holds can be archived; see `auditor verify`.")
    stamps += [found.stamp.authority] if found.stamp else []
    certificates = list(dict.fromkeys([signer, *stamps, authority, *above]))
    made = make_archive(content, certificates, revoked, lambda digest: stamp_of(digest, address))
    return made, described(check_archive(made, signer, authority), signer, trusted=True)


def _certificates(path: Path) -> list[x509.Certificate]:
    from cryptography import x509  # noqa: PLC0415  (heavy)

    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path}: no certificates in PEM form ({error})"
        raise KeyMaterialError(msg, hint="It holds one or more blocks -----BEGIN CERTIFICATE-----.") from error


def _revocation_list(path: Path) -> x509.CertificateRevocationList:
    from cryptography import x509  # noqa: PLC0415  (heavy)

    try:
        content = path.read_bytes()
        return x509.load_pem_x509_crl(content) if b"BEGIN X509 CRL" in content else x509.load_der_x509_crl(content)
    except (OSError, ValueError) as error:
        msg = f"{path}: not a revocation list ({error})"
        raise KeyMaterialError(msg, hint="Give the list as the authority publishes it (PEM or DER).") from error
