"""Observers whose needs are met together only where they are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.evidence import Need


class EqualNeeds:
    """One observation serves all that ask for the same, and nobody else: with other parameters everything in it would differ."""

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return the different needs."""
        return list({need.identity(): need for need in needs}.values())

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether they are the same."""
        return joined == need
