"""A value that crosses a stage: frozen, closed, finite, with one canonical encoding.

The SHA-256 of the canonical encoding (RFC 8785) is the name of the value.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, StringConstraints

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in lower-case hexadecimal."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?$")]
"""The name of a plug-in: ``family/name`` or ``distribution/name``."""

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
"""Words for a reader; never empty."""


class Record(BaseModel):
    """The base of every value that crosses a stage."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    def plain(self) -> dict[str, Any]:
        """Return the value as plain JSON types."""
        return self.model_dump(mode="json")

    def canonical(self) -> bytes:
        """Return the one encoding of this value (RFC 8785)."""
        return rfc8785.dumps(self.plain())

    def identity(self) -> str:
        """Return the SHA-256 of the canonical encoding, lower-case hexadecimal."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Self:
        """Return the value that plain JSON types describe.

        Raises:
            pydantic.ValidationError: The value does not fit the schema.
        """
        return cls.model_validate_json(json.dumps(value))  # strict JSON mode: arrays become tuples, 1 becomes 1.0


def canonical_bytes(value: Any) -> bytes:  # noqa: ANN401  (any JSON value)
    """Return the RFC 8785 encoding of plain JSON types.

    Raises:
        rfc8785.CanonicalizationError: The value holds NaN, infinity or an integer of 2^53 or more.
    """
    return rfc8785.dumps(value)


def digest_of(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    """Return the SHA-256 of the canonical encoding of plain JSON types."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def digest_of_files(contents: Sequence[bytes]) -> str:
    """Return the SHA-256 of one file; of several, that of the canonical list of theirs: a policy and those it extends."""
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    return digests[0] if len(digests) == 1 else digest_of(digests)


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401  (any JSON value)
    """Return the JSON value, refusing what two readers could read differently.

    Raises:
        ValueError: The text is not JSON, is nested too deeply, names a key twice, or holds NaN or infinity.
    """

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                msg = f"the key '{key}' stands twice in one object"
                raise ValueError(msg)
            seen[key] = value
        return seen

    def no_constant(word: str) -> Any:  # noqa: ANN401
        msg = f"'{word}' is not a JSON number"
        raise ValueError(msg)

    try:
        return json.loads(text, object_pairs_hook=no_duplicates, parse_constant=no_constant)
    except RecursionError as error:
        msg = "nested too deeply"
        raise ValueError(msg) from error
