"""Reads a canary manifest and checks that its coin flips are the ones that were committed to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from auditor.core.canary import CanarySet
from auditor.core.record import parse_json
from auditor.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def read_canaries(path: Path) -> CanarySet:
    """Return the canaries of a manifest whose commitment fits its coin flips.

    Raises:
        DataError: The manifest is missing, damaged, or was changed after it was made.
    """
    try:
        canaries = CanarySet.from_plain(parse_json(path.read_bytes()))
    except OSError as error:
        msg = f"{path}: the canary manifest cannot be read ({error.strerror or error})"
        raise DataError(msg, hint="It is the file that `auditor canary make` wrote.") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]  # what stands there may be a secret
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        msg = f"{path}: not a canary manifest ({place}: {first['msg'][:1].lower()}{first['msg'][1:]})"
        raise DataError(msg, hint="It is the file that `auditor canary make` wrote.") from None
    except ValueError as error:
        msg = f"{path}: not a canary manifest ({error})"
        raise DataError(msg, hint="It is the file that `auditor canary make` wrote.") from error
    if canaries.expected_commitment() != canaries.commitment:
        msg = f"{path}: the commitment does not fit: the manifest was changed after it was made"
        raise DataError(msg, hint="Use the manifest as `auditor canary make` wrote it.")
    known = {form.id for form in canaries.formats}
    for canary in canaries.canaries:
        if canary.format not in known:
            msg = f"{path}: canary '{canary.id}' has the format '{canary.format}', which the manifest does not have"
            raise DataError(msg, hint="Use the manifest as `auditor canary make` wrote it.")
    return canaries
