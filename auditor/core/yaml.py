"""Reads YAML that somebody else wrote: plain values only, bounded in size and depth, with a line for every value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from typing_extensions import override

from auditor.core.record import Record
from auditor.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LARGEST_FILE = 4 << 20
"""Bytes."""
LARGEST_TREE = 200_000
"""Nodes, aliases counted as often as they are used."""
DEEPEST = 40
"""Levels of nesting."""
LARGEST_INTEGER = 2**53 - 1
"""What every reader of JSON holds exactly."""

R = TypeVar("R", bound=Record)
Place = tuple[str | int, ...]
"""Where a value stands: keys and positions from the top."""

_TAGS = {
    "tag:yaml.org,2002:str",
    "tag:yaml.org,2002:int",
    "tag:yaml.org,2002:float",
    "tag:yaml.org,2002:bool",
    "tag:yaml.org,2002:null",
    "tag:yaml.org,2002:map",
    "tag:yaml.org,2002:seq",
    "tag:yaml.org,2002:timestamp",
}


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits.lstrip("+-")[:2], 10)
    return int(digits, base)


def _number(text: str) -> float:
    return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, Callable[[str], bool | int | float | None]] = {
    "null": lambda text: {"": None, "~": None, "null": None}[text],
    "bool": lambda text: {"true": True, "false": False}[text],
    "int": _integer,
    "float": _number,
}
"""How the words of each kind are read, in lower case."""


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as plain JSON types, with the line of every value."""

    path: Path
    value: Any
    _lines: dict[Place, int] = field(repr=False)
    _paths: dict[Place, Path] = field(default_factory=dict, repr=False)
    """Files of values that were taken from another document."""

    def places(self, part: Place) -> list[tuple[Place, int]]:
        """Return every place of a part of the document, with its line."""
        return [(place, line) for place, line in self._lines.items() if place[: len(part)] == part]

    def has(self, place: Place) -> bool:
        """Return whether a value stands at a place."""
        return place in self._lines

    def path_of(self, place: Sequence[str | int]) -> Path:
        """Return the file in which a value, or the nearest one around it, was written."""
        parts = tuple(place)
        while parts not in self._lines and parts:
            parts = parts[:-1]
        return self._paths.get(parts, self.path)

    def line_of(self, place: Sequence[str | int]) -> int:
        """Return the line (from 1) of a value, or of the nearest one around it."""
        parts = tuple(place)
        while parts not in self._lines and parts:
            parts = parts[:-1]
        return self._lines.get(parts, 1)

    def where(self, place: Sequence[str | int]) -> str:
        """Return `file:line` of a value."""
        return f"{self.path_of(place)}:{self.line_of(place)}"


def load_yaml(path: Path, error: type[InputError] = InputError) -> Document:
    """Return what a YAML file says.

    Args:
        path: The file.
        error: Class of the error that is raised.

    Raises:
        InputError: The file is missing, too large, too deep, not UTF-8, not YAML, names a key twice, or holds what has
            no plain value.
    """
    return parse_yaml(_read(path, error), path, error)


def parse_yaml(content: bytes, path: Path, error: type[InputError] = InputError) -> Document:
    """Return what YAML bytes say; `path` is for messages."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as fault:
        msg = f"{path}: not UTF-8 (byte {fault.start})"
        raise error(msg, hint="Save the file as UTF-8.") from fault
    try:
        loader = YAML(typ="safe", pure=True)
        loader.Composer = _BoundedComposer
        node = loader.compose(text)
    except MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        limit = isinstance(fault, _BoundError)
        msg = f"{path}:{line}: {fault.problem if limit else f'not valid YAML ({fault.problem or fault})'}"
        hint = (
            "Write less in one file, and nest less deeply."
            if limit
            else "Check indentation, colons and quotes on that line."
        )
        raise error(msg, hint=hint) from fault
    except (YAMLError, RecursionError, ValueError) as fault:
        msg = f"{path}: not valid YAML ({type(fault).__name__})"
        raise error(msg, hint="Check indentation, colons and quotes; nest less deeply.") from fault
    if node is None:
        msg = f"{path}: the file is empty"
        raise error(msg, hint="`auditor init` writes one to start from.")
    reader = _Reader(path, error)
    return Document(path, reader.plain(node, ()), reader.lines)


def validate(document: Document, model: type[R], error: type[InputError]) -> R:
    """Return the value that a document describes.

    Raises:
        InputError: Of the class given, with file and line, if the document does not fit.
    """
    try:
        return model.from_plain(document.value)
    except ValidationError as fault:
        raise misfit(document, fault, error, model) from fault
    except TypeError as fault:
        msg = f"{document.path}: not a mapping of keys to values"
        raise error(msg, hint="`auditor init` writes one to start from.") from fault


def misfit(
    document: Document, fault: ValidationError, error: type[InputError], model: type[Record], *, skip: bool = False
) -> InputError:
    """Return the error that says where a document does not fit its schema, and what would.

    Args:
        document: What was read.
        fault: What the schema says of it.
        error: Class of the error.
        model: The schema.
        skip: The document was put under a key to be validated, which its own places do not have.
    """
    # A key that is not known explains one that is missing: it is the same word, misspelt.
    first = min(fault.errors(), key=lambda each: each["type"] != "extra_forbidden")
    place = tuple(first["loc"])[1 if skip else 0 :]
    name = ".".join(str(part) for part in place) or "the file"
    others = len(fault.errors()) - 1
    more = f"{others} more of this kind follow." if others else ""
    hint = more or "See docs/schemas for what a file may say."
    if first["type"] == "extra_forbidden":
        message = f"'{place[-1]}' is not known here"
        hint = f"{did_you_mean(str(place[-1]), _keys(model))} {more}".strip()
    elif first["type"] == "missing":
        message = f"'{place[-1]}' is missing"
    else:
        message = f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return error(f"{document.where(place)}: {message}", hint=hint)


def _keys(model: type[Record]) -> set[str]:
    """Return every key that a file of this kind can have, at any depth."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {key for part in parts for key in part.get("properties", {})}


def _read(path: Path, error: type[InputError]) -> bytes:
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            msg = f"{path}: {size:,} bytes are more than the {LARGEST_FILE:,} a file of settings may have"
            raise error(msg, hint="Is this the right file?")
        return path.read_bytes()
    except OSError as fault:
        msg = f"{path}: cannot be read ({fault.strerror or fault})"
        raise error(msg, hint="Check the path; `auditor init` writes files to start from.") from fault


class _BoundError(ComposerError):
    """The file is larger or deeper than is read."""


class _BoundedComposer(Composer):
    """Stops at the first node that is too deep or too many, before the rest of the file is looked at."""

    def __init__(self, loader: Any = None) -> None:  # noqa: ANN401
        super().__init__(loader=loader)
        self.warn_double_anchors = False  # an anchor may be given anew
        self._deep = self._many = 0

    @override
    def compose_document(self) -> Any:
        start = self.parser.peek_event()
        if start.version or start.tags:
            raise ComposerError(None, None, "directives (%YAML, %TAG) are not allowed", start.start_mark)
        return super().compose_document()

    @override
    def compose_node(self, parent: Any, index: Any) -> Any:
        self._deep += 1
        self._many += 1
        mark = self.parser.peek_event().start_mark
        if self._deep > DEEPEST + 1:
            raise _BoundError(None, None, f"nested more than {DEEPEST} levels deep", mark)
        if self._many > LARGEST_TREE:
            raise _BoundError(None, None, f"more than {LARGEST_TREE:,} values", mark)
        node = super().compose_node(parent, index)
        self._deep -= 1
        return node


class _Reader:
    """Turns nodes into plain values, counting them."""

    def __init__(self, path: Path, error: type[InputError]) -> None:
        self.path = path
        self.error = error
        self.lines: dict[Place, int] = {}
        self._count = 0

    def plain(self, node: Node, place: Place) -> Any:  # noqa: ANN401  (any JSON value)
        line = node.start_mark.line + 1
        self._count += 1
        if self._count > LARGEST_TREE:
            self._refuse(line, f"more than {LARGEST_TREE:,} values (aliases counted each time)", "Use fewer aliases.")
        if len(place) > DEEPEST:
            self._refuse(line, f"nested more than {DEEPEST} levels deep", "Nest less deeply.")
        tag = str(node.tag) if node.tag else ""
        if tag not in _TAGS:
            self._refuse(line, f"the tag '{tag}' is not allowed", "Only plain values can be used.")
        self.lines[place] = line
        own = {"map": MappingNode, "seq": SequenceNode}.get(tag.rsplit(":", 1)[1], ScalarNode)
        if not isinstance(node, own):
            self._refuse(line, f"the tag '{tag}' does not fit its value", "Leave the tag out.")
        if isinstance(node, MappingNode):
            return self._mapping(node, place)
        if isinstance(node, SequenceNode):
            return [self.plain(item, (*place, number)) for number, item in enumerate(node.value)]
        return self._scalar(str(node.tag), str(node.value), line)

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._refuse(line, "a key is not a word", "Write keys as plain words.")
            if str(key_node.tag) not in {*_TAGS, "tag:yaml.org,2002:merge"}:
                self._refuse(line, f"the tag '{key_node.tag}' is not allowed", "Only plain values can be used.")
            key = str(key_node.value)
            if key == "<<":
                self._refuse(line, "merge keys (<<) are not allowed", "Write the values out.")
            if key in found:
                self._refuse(line, f"the key '{key}' stands twice", "Remove one of the two.")
            found[key] = self.plain(value_node, (*place, key))
            self.lines[(*place, key)] = line  # a long value begins below its key: say where it is named
        return found

    def _scalar(self, tag: str, text: str, line: int) -> Any:  # noqa: ANN401
        kind = tag.rsplit(":", 1)[1]
        if kind not in _SCALARS:
            return text  # dates stay as they are written
        try:
            value = _SCALARS[kind](text.lower())
        except (ValueError, KeyError):
            what = {"null": "nothing", "bool": "true or false", "int": "a whole number", "float": "a number"}[kind]
            self._refuse(line, f"'{text[:40]}' is not {what}", "Put a word into quotes.")
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse(line, f"'{text}' is not a finite number", "Write a number.")
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            self._refuse(line, f"{text[:40]} is too large", f"Write a number up to {LARGEST_INTEGER:,}.")
        return value

    def _refuse(self, line: int, what: str, hint: str) -> NoReturn:
        msg = f"{self.path}:{line}: {what}"
        raise self.error(msg, hint=hint)
