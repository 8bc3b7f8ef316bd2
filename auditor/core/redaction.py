"""What the leak guard looked at before a bundle was sealed."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt

from auditor.core.record import Record, Text


class GuardRule(Record):
    """What counts as restricted text that leaked: letters and digits alone, case folded, whatever stands between them."""

    run: NonNegativeInt
    """A run of this many letters and digits, in UTF-8 bytes, is always found."""
    new: NonNegativeInt
    """So many of them have to be said nowhere else: not by the tool, not in a record's name, not (in short runs) by the policy."""
    value: NonNegativeInt
    """A whole value of at least so many is found between other signs; shorter ones only if they are secrets of canaries."""


class Protected(Record):
    """What the restricted evidence held."""

    texts: NonNegativeInt
    """Different texts."""
    letters: NonNegativeInt
    """Their letters and digits."""
    values: NonNegativeInt
    """Values too short for a run that were looked for as a whole, secrets of canaries among them."""
    too_short: NonNegativeInt
    """Different values too short to be looked for."""
    pictures: NonNegativeInt


class Scanned(Record):
    """One artefact that was scanned."""

    path: Text
    letters: NonNegativeInt
    """Letters and digits that were compared, encoded and packed parts among them."""
    pictures: NonNegativeInt
    unread: tuple[str, ...] = ()
    """Parts that could not be read, each with the reason."""


class Redaction(Record):
    """What the leak guard looked at. It found nothing: otherwise nothing is sealed."""

    schema_version: int = Field(default=1, ge=1, le=1)
    rule: GuardRule
    protected: Protected
    scanned: tuple[Scanned, ...]
    """Sorted by path."""
    pictures_compared: bool
    """False where the policy shows pictures as they are."""
