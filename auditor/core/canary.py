"""Canaries: secrets planted on purpose, with the coin flips that decided which ones."""

from __future__ import annotations

import math

from pydantic import Field, PositiveInt

from auditor.core.record import Digest, Record, Text, digest_of

HOLE = "{secret}"
"""Where the secret stands in a template."""

WITHHELD = "withheld"
"""Stands for a secret in everything that is shared."""


class CanaryFormat(Record):
    """A sentence with a hole, and the space the secret is drawn from uniformly."""

    id: Text
    template: Text
    """Text with exactly one `{secret}`."""
    symbols: tuple[str, ...] = Field(min_length=2)
    """The alphabet; each position is one symbol, drawn independently and uniformly."""
    length: PositiveInt
    """Number of positions."""
    separator: str = ""
    """Stands between positions; a space keeps one token per digit under most tokenizers."""

    @property
    def space(self) -> int:
        """Number of possible secrets."""
        return int(len(self.symbols) ** self.length)

    @property
    def bits(self) -> float:
        """Largest possible exposure, bit."""
        return self.length * math.log2(len(self.symbols))

    def secret(self, positions: tuple[int, ...]) -> str:
        """Return the secret spelled by symbol numbers."""
        return self.separator.join(self.symbols[position] for position in positions)

    def fill(self, secret: str) -> str:
        """Return the template with the secret in its hole."""
        return self.template.replace(HOLE, secret)


class Canary(Record):
    """One secret, and whether the coin put it into the training data."""

    id: Text
    format: Text
    """Id of its format."""
    secret: Text
    repetitions: PositiveInt
    """How often it is planted if it is planted."""
    planted: bool
    """The coin flip, independent with probability one half, made before training."""


class CanarySet(Record):
    """All canaries of one training run, as `auditor canary make` wrote them."""

    schema_version: int = Field(default=1, ge=1, le=1)
    seed: int = Field(ge=0, lt=2**53)
    formats: tuple[CanaryFormat, ...] = Field(min_length=1)
    canaries: tuple[Canary, ...] = Field(min_length=1)
    nonce: Digest
    """Random bytes that keep the commitment from being guessed."""
    commitment: Digest
    """SHA-256 over everything above: publish it before training."""

    def expected_commitment(self) -> str:
        """Return the commitment that belongs to the coin flips."""
        plain = self.plain()
        del plain["commitment"]
        return digest_of(plain)

    def withheld(self) -> CanarySet:
        """Return the canaries without secrets and nonce, as the shareable bundle shows them."""
        hidden = tuple(canary.model_copy(update={"secret": WITHHELD}) for canary in self.canaries)
        return self.model_copy(update={"canaries": hidden, "nonce": "0" * 64})

    def format_of(self, canary: Canary) -> CanaryFormat:
        """Return the format of a canary.

        Raises:
            KeyError: The set has no such format.
        """
        for form in self.formats:
            if form.id == canary.format:
                return form
        raise KeyError(canary.format)
