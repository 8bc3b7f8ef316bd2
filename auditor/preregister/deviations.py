"""Names every difference between what was committed and what was done."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from auditor.core.preregistration import Deviation
from auditor.core.record import canonical_bytes, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.core.preregistration import Commitment, Preregistration

LONGEST = 400
"""Characters of a value that are written out; a longer one is cut and named by its digest."""

_Path = tuple[str, ...]


def deviations(committed: Preregistration, now: Commitment, *, stamped: bool) -> tuple[Deviation, ...]:
    """Return every difference between a commitment and an audit, in order of place; none where there is no difference.

    Args:
        committed: What was committed.
        now: What the audit was fixed to.
        stamped: Whether the time stamp that the commitment was to get is there.
    """
    before, after = dict(_leaves(committed.commitment.plain())), dict(_leaves(now.plain()))
    found = [
        Deviation(place=_pointer(path), what=_words(path), committed=_shown(before, path), now=_shown(after, path))
        for path in sorted(_rows(before, after))
        if path not in before or path not in after or canonical_bytes(before[path]) != canonical_bytes(after[path])
    ]
    authority = committed.time_stamp_authority
    if authority is not None and not stamped:
        what = "time stamp over the commitment"
        found.append(Deviation(place="/time_stamp", what=what, committed=f"asked from {authority}", now=None))
    return tuple(found)


def _leaves(value: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:  # noqa: ANN401  (any JSON value)
    """Return every value that is not a mapping, with the keys that lead to it; a list is one value."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, (*path, key))
    else:
        yield path, value


def _rows(before: dict[_Path, Any], after: dict[_Path, Any]) -> set[_Path]:
    """Return every place that has a value; an empty mapping that the other side fills is told by what fills it."""
    places = before.keys() | after.keys()
    filled = {path[:length] for path in places for length in range(len(path))}
    return {path for path in places if path not in filled or any(side.get(path, {}) != {} for side in (before, after))}


def _pointer(path: _Path) -> str:
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def _words(path: _Path) -> str:
    """Return a place in words: the test or the part, then what of it."""
    head, *rest = path
    if head == "plan":
        return "plan (every observation, its parameters and seeds)"
    if head == "versions":
        return f"version of {' '.join(rest)}"
    named = rest if head == "tests" else [head, *rest]
    first, *more = named or [head]
    return ": ".join([first, ", ".join(key.replace("_", " ") for key in more)]) if more else first


def _shown(values: dict[_Path, Any], path: _Path) -> str | None:
    """Return a value in words; different values are shown differently."""
    if path not in values:
        return None
    value = values[path]
    plain = isinstance(value, str) and value != "" and not _reads_as_json(value)
    text = value if plain else canonical_bytes(value).decode()
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]} ... (SHA-256 {hashlib.sha256(text.encode()).hexdigest()})"


def _reads_as_json(text: str) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True
