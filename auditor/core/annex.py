"""What is said of an annex: a file that only its recipient can open, with everything that was withheld."""

from __future__ import annotations

from pydantic import NonNegativeInt

from auditor.core.record import Digest, Record, Text


class Annex(Record):
    """The restricted part of a bundle, encrypted to one certificate (CMS EnvelopedData, RFC 5652)."""

    file: Text
    """Path in the bundle."""
    bytes: NonNegativeInt
    sha256: Digest
    recipient: Text
    """Subject of the certificate (RFC 4514)."""
    certificate: Digest
    """SHA-256 of the certificate (DER)."""
    cipher: Text
    """How the content and its key are encrypted."""
    files: NonNegativeInt
    """Restricted files in it."""
    exhibits: NonNegativeInt
    """Exhibits of the report in it, not masked."""
