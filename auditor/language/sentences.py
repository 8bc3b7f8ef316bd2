"""Finds the sentences and labels that Python source can make: every form of a text, with a place for each value.

A form is written like a format string: `{0}`, `{1}` stand for values, in order. Where a text is put together from alternatives
(`"is" if n == 1 else "are"`), every combination is a form of its own, so that whole sentences are translated and not their splinters.
"""

from __future__ import annotations

import ast
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from auditor.language.shapes import (
    MOST_FORMS,
    VALUE,
    Choice,
    Form,
    core,
    held,
    is_read,
    merged,
    of_template,
    together,
    unique,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LABELS = frozenset({
    "title", "question", "answer", "advice", "method", "caveats", "by", "label", "name", "x_label", "y_label",
    "caption", "population", "note", "notes", "what", "kind", "word", "statistic", "detail", "of", "where", "reason",
    "series", "who", "value", "without", "text", "asked", "unit", "rationale", "sentence", "kept",
})  # fmt: skip
"""Names of arguments and keys whose words are printed, even one word alone."""
SILENT = frozenset({
    "hint", "get", "pop", "setdefault", "join", "split", "rsplit", "partition", "rpartition", "removeprefix",
    "removesuffix", "startswith", "endswith", "replace", "compile", "sub", "match", "fullmatch", "search", "findall",
    "finditer", "getattr", "setattr", "hasattr", "isinstance", "cast", "TypeVar", "Field", "open", "encode", "decode",
    "resource", "write_text", "read_text", "strip", "lstrip", "rstrip", "generator", "rng", "index", "count", "find",
    "field", "Option", "Argument", "echo",
})  # fmt: skip
"""Calls whose arguments nobody reads."""
UNSAID = frozenset({"FORBIDDEN", "OVERCLAIMS", "_SPELLING", "_LOOK_ALIKE", "__all__"})
"""Names of what is never printed."""
REASONS = frozenset({"UnsupportedError", "BudgetError", "CapabilityError"})
"""Errors whose message becomes the reason of a test that was not run."""
METHODS = frozenset({"method", "METHOD", "message"})
"""Names of what is printed of a room of which only reasons and methods are."""


class Found(NamedTuple):
    """A form and where it stands."""

    form: str
    where: str


def sentences(source: str, path: str, *, reasons: bool = False) -> list[Found]:
    """Return the forms of every text in a module that somebody may read.

    Args:
        source: The module's text.
        path: Its name, for `where`.
        reasons: Only why something was not run, and the names of statistical methods.
    """
    tree = ast.parse(source)
    reader = _Module(tree, path, reasons=reasons)
    reader.read(tree, _Scope(reader.constants, {}))
    return reader.found


class _Scope(NamedTuple):
    constants: dict[str, ast.expr]
    local: dict[str, ast.expr]

    def resolve(self, name: str) -> ast.expr | None:
        return self.local.get(name, self.constants.get(name))


class _Module:
    def __init__(self, tree: ast.Module, path: str, *, reasons: bool) -> None:
        self.path, self.reasons, self.reason = path, reasons, False
        self.found: list[Found] = []
        self.constants = _assigned(tree.body)

    def read(self, node: ast.AST, scope: _Scope, *, label: bool = False) -> None:
        """Take the texts below a node."""
        if isinstance(node, ast.expr) and _stringy(node):
            for choice in self._forms(node, scope, frozenset()):
                self._take(choice.form, node, label=label)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._block(_without_docstring(node.body), _Scope(scope.constants, _assigned(node.body)))
        elif isinstance(node, (ast.ClassDef, ast.Module)):
            self._block(_without_docstring(node.body), scope)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.keyword)):
            self._named(node, scope)
        elif isinstance(node, ast.Call):
            self._call(node, scope)
        elif not isinstance(node, (ast.Compare, ast.Subscript, ast.Assert)):
            self._below(node, scope, label=label)

    def _below(self, node: ast.AST, scope: _Scope, *, label: bool) -> None:
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                named = isinstance(key, ast.Constant) and key.value in LABELS
                self.read(value, scope, label=named or label)
            return
        inherits = isinstance(node, (ast.Tuple, ast.List, ast.Set, ast.IfExp, ast.BoolOp, ast.Starred))
        for child in ast.iter_child_nodes(node):
            self.read(child, scope, label=label and inherits)

    def _named(self, node: ast.Assign | ast.AnnAssign | ast.keyword, scope: _Scope) -> None:
        """Take the texts that something is given, by the names of what is given them."""
        names = _names(node)
        if node.value is None or names & UNSAID or (isinstance(node, ast.keyword) and names & SILENT):
            return
        with self._as_reason(given=bool(names & METHODS)):
            self.read(node.value, scope, label=bool(names & LABELS))

    @contextmanager
    def _as_reason(self, *, given: bool = True) -> Iterator[None]:
        before, self.reason = self.reason, self.reason or given
        yield
        self.reason = before

    def _block(self, body: Sequence[ast.stmt], scope: _Scope) -> None:
        for statement, following in zip(body, (*body[1:], None), strict=False):
            if isinstance(statement, ast.Raise):
                self._raised(statement, scope)
            elif isinstance(statement, ast.Assign) and _names(statement) & {"msg", "message"}:
                if _is_reason(following):
                    with self._as_reason():
                        self.read(statement, scope)
            elif isinstance(statement, (ast.If, ast.For, ast.While, ast.With, ast.Try)):
                self._nested(statement, scope)
            else:
                self.read(statement, scope)

    def _nested(self, statement: ast.AST, scope: _Scope) -> None:
        for _, value in ast.iter_fields(statement):
            if isinstance(value, ast.AST):
                self.read(value, scope)
            elif isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self._block(value, scope)
            elif isinstance(value, list):
                for handler in value:
                    if isinstance(handler, ast.ExceptHandler):
                        self._block(handler.body, scope)

    def _raised(self, statement: ast.Raise, scope: _Scope) -> None:
        """Take what an error advises where its message becomes a reason."""
        if _is_reason(statement) and isinstance(statement.exc, ast.Call):
            with self._as_reason():
                for keyword in statement.exc.keywords:
                    self.read(keyword.value, scope)

    def _call(self, node: ast.Call, scope: _Scope) -> None:
        name = _called(node)
        if name == "plural":
            for choice in _counted(node):
                self._take(choice.form, node, label=True)
            return
        if name == "Column":  # the report says what is withheld
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            with self._as_reason(given="restricted" in given):
                for choice in self._forms(given["meaning"], scope, frozenset()) if "meaning" in given else ():
                    self._take(choice.form, node, label=True)
            return
        if isinstance(node.func, ast.Attribute):
            self.read(node.func.value, scope)
        for item in node.args:
            if name not in SILENT or not isinstance(item, ast.Constant):
                self.read(item, scope)
        for keyword in node.keywords:
            self.read(keyword, scope)

    def _take(self, form: Form, node: ast.expr, *, label: bool) -> None:
        if self.reasons and not self.reason:
            return
        for piece in map(core, of_template(merged(form))):
            if is_read(piece, label=label):
                self.found.append(Found(written(piece), f"{self.path}:{node.lineno}"))

    def _forms(self, node: ast.expr, scope: _Scope, seen: frozenset[str]) -> list[Choice]:
        """Return the ways in which a text comes out."""
        choices = [VALUE]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            choices = [Choice((node.value,))]
        elif isinstance(node, ast.IfExp):
            choices = self._either(node, scope, seen)
        elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            choices = unique([choice for item in node.values for choice in self._forms(item, scope, seen)])
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            choices = self._product([node.left, node.right], scope, seen, node)
        elif isinstance(node, ast.JoinedStr):
            choices = self._product(list(node.values), scope, seen, node)
        elif isinstance(node, ast.FormattedValue):
            choices = self._formatted(node, scope, seen)
        elif isinstance(node, ast.Call) and _called(node) == "plural":
            choices = _counted(node) or [VALUE]
        elif isinstance(node, ast.Name) and node.id not in seen:
            value = scope.resolve(node.id)
            choices = self._forms(value, scope, seen | {node.id}) if value is not None and _stringy(value) else [VALUE]
        return choices

    def _either(self, node: ast.IfExp, scope: _Scope, seen: frozenset[str]) -> list[Choice]:
        asked = ast.dump(node.test)
        then, otherwise = self._forms(node.body, scope, seen), self._forms(node.orelse, scope, seen)
        return unique(
            [held(choice, asked, true=True) for choice in then]
            + [held(choice, asked, true=False) for choice in otherwise]
        )

    def _formatted(self, node: ast.FormattedValue, scope: _Scope, seen: frozenset[str]) -> list[Choice]:
        if node.format_spec is None:
            choices = self._forms(node.value, scope, seen)
            if choices != [VALUE]:
                return choices
        self.read(node.value, scope)
        return [VALUE]

    def _product(self, parts: list[ast.expr], scope: _Scope, seen: frozenset[str], node: ast.expr) -> list[Choice]:
        choices = [self._forms(part, scope, seen) for part in parts]
        while len(combined := together(choices)) > MOST_FORMS:
            widest = max(range(len(choices)), key=lambda place: len(choices[place]))
            for choice in choices[widest]:
                self._take(choice.form, node, label=True)
            choices[widest] = [VALUE]
        return combined


def _counted(node: ast.Call) -> list[Choice]:
    """Return a count with its noun, for one and for more."""
    words = [item.value for item in node.args[1:] if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    if not words:
        return []
    asked = ast.dump(node.args[0])
    more = words[1] if len(words) > 1 else f"{words[0]}s"
    return [held(Choice((None, f" {word}")), asked, true=word is words[0]) for word in (words[0], more)]


def _assigned(body: Sequence[ast.stmt]) -> dict[str, ast.expr]:
    """Return the names that are given one value, and only one, in a block and the blocks below it."""
    values: dict[str, ast.expr | None] = {}
    for statement in body:
        for target, value in (pair for node in ast.walk(statement) for pair in _given(node)):
            for name in ast.walk(target):
                if isinstance(name, ast.Name):
                    values[name.id] = value if name.id not in values and name is target else None
    return {name: value for name, value in values.items() if value is not None}


def _given(node: ast.AST) -> Iterable[tuple[ast.expr, ast.expr | None]]:
    """Yield what is given a value, and which; None: not one that can be read off."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                yield from zip(target.elts, node.value.elts, strict=False)
            else:
                yield target, node.value
    elif isinstance(node, ast.AnnAssign):
        yield node.target, node.value
    elif isinstance(node, (ast.AugAssign, ast.For, ast.comprehension)):
        yield node.target, None
    elif isinstance(node, ast.arg):
        yield ast.Name(node.arg), None


def _stringy(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.IfExp):
        return _stringy(node.body) or _stringy(node.orelse)
    if isinstance(node, ast.BoolOp):
        return isinstance(node.op, ast.Or) and _stringy(node.values[-1])
    return (
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and (_stringy(node.left) or _stringy(node.right))
    )


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _names(node: ast.AST) -> set[str]:
    """Return the names that something is given to."""
    if isinstance(node, ast.keyword):
        return {node.arg} if node.arg else set()
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _is_reason(statement: ast.stmt | None) -> bool:
    return (
        isinstance(statement, ast.Raise) and isinstance(statement.exc, ast.Call) and _called(statement.exc) in REASONS
    )


def _without_docstring(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    return [item for item in body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
