"""A policy that builds on another: what it takes over, what it changes, and why, each with its place in its own file."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auditor.core.policy import Override
from auditor.core.yaml import Document, Place
from auditor.errors import PolicyError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_OWN = ("id", "version", "title", "extends", "because", "without")
"""What a policy says of itself: none of it is inherited, and none of it is a change."""
_MERGED = ("parameters", "least", "tolerance")
"""Parts of a test's entry that are changed key by key."""


@dataclass(slots=True)
class _Merged:
    """Plain values, with the file and line that each was written in."""

    value: dict[str, Any]
    lines: dict[Place, int] = field(default_factory=dict)
    paths: dict[Place, Path] = field(default_factory=dict)

    def take(self, source: Document, at: Place, to: Place) -> None:
        """Take over the places of a part of a document."""
        for place in [place for place in self.lines if place[: len(to)] == to and source.has(at + place[len(to) :])]:
            del self.lines[place]
        for place, line in source.places(at):
            moved = to + place[len(at) :]
            self.lines[moved] = line
            self.paths[moved] = source.path_of(place)


def inherit(child: Document, parent: Document) -> tuple[Document, tuple[Override, ...]]:
    """Return the child with all that it takes over from its parent, and what it changed.

    A test that both name is one entry: its parameters, least sample and tolerance are changed key by key, and `because` says why.
    Tests that the child alone names come last; those under `without` are left out, each with a reason.

    Raises:
        PolicyError: A change has no reason; `without` names what the parent does not have, or what the child asks for.
    """
    for key in ("id", "version", "title", "because"):
        if key not in child.value:
            msg = f"{child.where(['extends'])}: '{key}' is missing"
            hint = "Say why it differs from the policy that it extends." if key == "because" else "Give it its own."
            raise PolicyError(msg, hint=hint)
    merged = _Merged({key: deepcopy(value) for key, value in parent.value.items() if key not in _OWN})
    for key in merged.value:
        if key != "tests":
            merged.take(parent, (key,), (key,))
    for key, value in child.value.items():
        if key not in {"tests", "without"}:
            merged.value[key] = value
            merged.take(child, (key,), (key,))
    merged.value["without"] = child.value.get("without", {})
    _tests(merged, child, parent)
    document = Document(child.path, merged.value, merged.lines, merged.paths)
    return document, tuple(_changes(child, parent, merged.value))


def _tests(merged: _Merged, child: Document, parent: Document) -> None:
    inherited, own = _entries(parent), _entries(child)
    without = child.value.get("without", {})
    if not isinstance(without, dict):
        msg = f"{child.where(['without'])}: `without` gives each test that is left out its reason"
        raise PolicyError(msg, hint="Write for example `without: {language/works: no works were supplied}`.")
    for name in without:
        if name not in inherited or name in own:
            where = child.where(["without", name])
            what = "asked for on another line" if name in own else "not a test of the policy that this one extends"
            msg = f"{where}: '{name}' is {what}"
            raise PolicyError(msg, hint=did_you_mean(str(name), inherited))
    rows: list[Any] = []
    for name, (number, entry) in inherited.items():
        if name in without:
            continue
        to: Place = ("tests", len(rows))
        merged.take(parent, ("tests", number), to)
        row = deepcopy(entry)
        row.pop("because", None)
        if name in own:
            _change(row, *own[name], child)
            merged.take(child, ("tests", own[name][0]), to)
        rows.append(row)
    for name, (number, entry) in own.items():
        if name not in inherited:
            merged.take(child, ("tests", number), ("tests", len(rows)))
            rows.append(entry)
    merged.value["tests"] = rows


def _entries(document: Document) -> dict[str, tuple[int, dict[str, Any]]]:
    """Return the entries of a policy's tests by name; what does not fit is left for the schema to refuse."""
    listed = document.value.get("tests", [])
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, entry in enumerate(listed if isinstance(listed, list) else []):
        name = entry.get("test") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            msg = f"{document.where(['tests', number])}: an entry without the name of its test"
            raise PolicyError(msg, hint="Begin it with `test: language/...`.")
        if name in found:
            msg = f"{document.where(['tests', number])}: the test '{name}' stands twice"
            raise PolicyError(msg, hint="A policy names each test once.")
        found[name] = (number, entry)
    return found


def _change(row: dict[str, Any], number: int, entry: Mapping[str, Any], child: Document) -> None:
    if "because" not in entry:
        msg = f"{child.where(['tests', number, 'test'])}: '{entry['test']}' is changed without a reason"
        raise PolicyError(msg, hint="Add `because:` to the entry: the report shows the change with it.")
    for key, value in entry.items():
        if key in _MERGED and isinstance(value, dict) and isinstance(row.get(key), dict):
            if key == "tolerance":
                _check_contexts(row[key], value, number, child)
                _check_word(row[key], value, number, child)
            row[key] = {**row[key], **value}
        else:
            row[key] = value


def _check_contexts(inherited: Mapping[str, Any], own: Mapping[str, Any], number: int, child: Document) -> None:
    """Refuse a tolerance that would not hold where it matters: those inherited for release contexts come before it.

    Raises:
        PolicyError: Some are inherited, and nothing is said of them.
    """
    held = inherited.get("by_release_context")
    if "at_most" in own and "by_release_context" not in own and isinstance(held, dict) and held:
        said = ", ".join(f"{context} {_said(value)}" for context, value in held.items())
        msg = (
            f"{child.where(['tests', number, 'tolerance', 'at_most'])}: at_most is changed, and the policy that is extended has "
            f"numbers of its own for release contexts ({said}), which would go before it"
        )
        raise PolicyError(msg, hint="Say `by_release_context` too: those that hold, or `{}` for none.")


def _check_word(inherited: Mapping[str, Any], own: Mapping[str, Any], number: int, child: Document) -> None:
    """Refuse a number with the reason of another one: the report prints both side by side, as somebody's word.

    Raises:
        PolicyError: A tolerance is changed, and its reason or its author is inherited.
    """
    changed = [
        key
        for key in ("at_most", "absolute_at_most", "by_release_context")
        if key in own and own[key] != inherited.get(key)
    ]
    silent = [key for key in ("reason", "set_by") if key not in own]
    if changed and silent:
        msg = (
            f"{child.where(['tests', number, 'tolerance', changed[0]])}: {changed[0]} is changed, and {' and '.join(silent)} "
            f"would be inherited from the number before"
        )
        raise PolicyError(msg, hint="Say in the tolerance why the new number, and by whose word (`reason`, `set_by`).")


def _changes(child: Document, parent: Document, merged: Mapping[str, Any]) -> Iterator[Override]:
    why = str(child.value["because"])
    for key in child.value:
        if key not in {*_OWN, "tests"} and parent.value.get(key) != merged[key]:
            yield _override(key, parent.value.get(key), merged[key], why)
    before, own = _entries(parent), _entries(child)
    after = {entry["test"]: entry for entry in merged["tests"]}
    for name, reason in merged["without"].items():
        yield _override(name, "asked for", "left out", str(reason))
    for name, (_, entry) in own.items():
        if name not in before:
            yield _override(name, "not asked for", "asked for", str(entry.get("because", why)))
            continue
        was, now = dict(_leaves(before[name][1])), dict(_leaves(after[name]))
        for place in dict.fromkeys([*was, *now]):
            if place != ("because",) and was.get(place) != now.get(place):
                yield _override(
                    ".".join([name, *place]), was.get(place), now.get(place), str(entry.get("because", why))
                )


def _leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401  (plain JSON)
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*place, str(key)))
    else:
        yield place, value


def _override(place: str, was: Any, now: Any, because: str) -> Override:  # noqa: ANN401  (plain JSON)
    return Override(place=place, inherited=_said(was), now=_said(now), because=because)


def _said(value: Any) -> str:  # noqa: ANN401  (plain JSON)
    if value is None:
        return "nothing"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, _flat(value))) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_said(item)}" for key, item in value.items()) or "none"
    return str(value) or "nothing"


def _flat(value: Sequence[Any]) -> list[Any]:
    return [part for item in value for part in (_flat(item) if isinstance(item, list | tuple) else [item])]
