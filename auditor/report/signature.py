"""Who signs a report and what the signature shows, known before it is made: the report prints it, and the signature covers the print."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """The signature that a report is rendered for."""

    name: str
    """Who signs, as the certificate says."""
    role: str
    """As what; empty: the certificate does not say."""
    organisation: str
    """For whom; empty: the certificate does not say."""
    fingerprint: str
    """SHA-256 of the certificate."""
    issuer: str
    """Who issued the certificate; empty: it is self-signed."""
    authority: str
    """Address of the authority that was asked for a time stamp; empty: none was."""
