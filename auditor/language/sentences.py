"""Finds the sentences and labels that Python source can make: every form of a text, with a placeholder for each value.

A form is written like a format string: `{0}`, `{1}` stand for values, in order. Where a text is put together from alternatives
(`"is" if n == 1 else "are"`), every combination is a form of its own, so that whole sentences are translated and not their splinters.
"""

from __future__ import annotations

import ast
import itertools
import re
import string
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Form = tuple[str | None, ...]
"""Literal text and None for each value."""


class Choice(NamedTuple):
    """One of the ways a text comes out, and on what that rests."""

    form: Form
    given: frozenset[tuple[str, bool]] = frozenset()
    """Conditions of the source and whether they held: two that contradict each other never meet in one text."""


VALUE = Choice((None,))
MOST_FORMS = 12
"""Combinations of one text that are spelled out; beyond, its alternatives are forms of their own."""

LABELS = frozenset(
    "title question answer advice method caveats by label name x_label y_label caption population note notes what kind word "
    "statistic detail of where reason series who value without text asked unit rationale sentence kept".split()
)
"""Names of arguments and keys whose words are printed, even one word alone."""
SILENT = frozenset(
    "hint get pop setdefault join split rsplit partition rpartition removeprefix removesuffix startswith endswith replace compile sub match "
    "fullmatch search findall finditer getattr setattr hasattr isinstance cast TypeVar Field open encode decode resource write_text "
    "read_text strip lstrip rstrip generator rng index count find field Option Argument echo".split()
)
"""Calls whose arguments nobody reads."""
UNSAID = frozenset({"FORBIDDEN", "OVERCLAIMS", "_SPELLING", "_LOOK_ALIKE", "__all__"})
"""Names of what is never printed."""
REASONS = frozenset({"UnsupportedError", "BudgetError", "CapabilityError"})
"""Errors whose message becomes the reason of a test that was not run."""
_NAMED = re.compile(r"\{[a-z_]+(?:[:!][^{}]*)?\}")
_MARKUP = re.compile(r"[\n#]|://|</|/>|=\"|^data:|\{secret\}|^import |[*] \{|->|templates/|^\^|^tag:|apt-get|\.jsonl|_seen\b")
_BEGINS = re.compile(r" [A-Z]")
_ENDS = re.compile(r"[.!?] $")
_CODE = re.compile(r"[\w./:@%{}<>=+*-]*")


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


def written(form: Form) -> str:
    """Return a form as a message: values become `{0}`, `{1}`; braces of the text are doubled."""
    places = itertools.count()
    return "".join(
        f"{{{next(places)}}}" if part is None else part.replace("{", "{{").replace("}", "}}") for part in _merged(form)
    )


def _merged(form: Form) -> Form:
    out: list[str | None] = []
    for part in form:
        if part is not None and out and out[-1] is not None:
            out[-1] += part
        elif part != "":
            out.append(part)
    return tuple(out)


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
        self.resolved: set[int] = set()

    def read(self, node: ast.AST, scope: _Scope, *, label: bool = False) -> None:
        """Take the texts below a node."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = _Scope(scope.constants, _assigned(node.body))
            self._block(_without_docstring(node.body), inner)
        elif isinstance(node, (ast.ClassDef, ast.Module)):
            self._block(_without_docstring(node.body), scope)
        elif isinstance(node, ast.expr) and _stringy(node):
            self._text(node, scope, label=label)
        elif isinstance(node, ast.Call):
            self._call(node, scope)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                named = isinstance(key, ast.Constant) and key.value in LABELS
                self.read(value, scope, label=named or label)
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set, ast.IfExp, ast.BoolOp, ast.Starred)):
            for child in ast.iter_child_nodes(node):
                self.read(child, scope, label=label)
        elif isinstance(node, (ast.Compare, ast.Subscript, ast.Assert, ast.AnnAssign)) and not (
            isinstance(node, ast.AnnAssign) and node.value is not None
        ):
            return
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self.read(node.value, scope, label=_is_label(node.target))
        elif isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id in UNSAID for target in node.targets):
            return
        elif isinstance(node, ast.Assign):
            method = any(isinstance(target, ast.Name) and target.id in {"method", "METHOD"} for target in node.targets)
            before, self.reason = self.reason, self.reason or method
            self.read(node.value, scope, label=any(_is_label(target) for target in node.targets))
            self.reason = before
        elif isinstance(node, ast.keyword):
            if node.arg not in SILENT:
                before, self.reason = self.reason, self.reason or node.arg in {"method", "message"}
                self.read(node.value, scope, label=node.arg in LABELS)
                self.reason = before
        else:
            for child in ast.iter_child_nodes(node):
                self.read(child, scope)

    def _block(self, body: Sequence[ast.stmt], scope: _Scope) -> None:
        for place, statement in enumerate(body):
            if isinstance(statement, ast.Raise):
                if _is_reason(statement):
                    self._hint(statement, scope)
                continue
            if isinstance(statement, ast.Assign) and _is_message(statement):
                following = body[place + 1] if place + 1 < len(body) else None
                if not _is_reason(following):
                    continue
                self.reason = True
                self.read(statement, scope)
                self.reason = False
                continue
            if isinstance(statement, (ast.If, ast.For, ast.While, ast.With, ast.Try)):
                for name, value in ast.iter_fields(statement):
                    if name in {"body", "orelse", "finalbody"}:
                        self._block(value, scope)
                    elif name == "handlers":
                        for handler in value:
                            self._block(handler.body, scope)
                    elif isinstance(value, ast.AST):
                        self.read(value, scope)
                continue
            self.read(statement, scope)

    def _hint(self, statement: ast.Raise, scope: _Scope) -> None:
        self.reason = True
        for keyword in statement.exc.keywords if isinstance(statement.exc, ast.Call) else ():
            if keyword.arg == "hint":
                self.read(keyword.value, scope)
        self.reason = False

    def _call(self, node: ast.Call, scope: _Scope) -> None:
        name = _called(node)
        if name == "plural":
            for choice in _counted(node):
                self._take(choice.form, node, label=True)
            return
        if isinstance(node.func, ast.Attribute):
            self.read(node.func.value, scope)
        for item in node.args:
            if name not in SILENT or not isinstance(item, ast.Constant):
                self.read(item, scope)
        for keyword in node.keywords:
            self.read(keyword, scope)

    def _text(self, node: ast.expr, scope: _Scope, *, label: bool) -> None:
        for choice in self._forms(node, scope, frozenset()):
            self._take(choice.form, node, label=label)

    def _take(self, form: Form, node: ast.expr, *, label: bool) -> None:
        if self.reasons and not self.reason:
            return
        for piece in map(_core, _of_template(_merged(form))):
            if _is_read(piece, label=label):
                self.found.append(Found(written(piece), f"{self.path}:{node.lineno}"))

    def _forms(self, node: ast.expr, scope: _Scope, seen: frozenset[str]) -> list[Choice]:
        if isinstance(node, ast.Constant):
            return [Choice((node.value,))] if isinstance(node.value, str) else [VALUE]
        if isinstance(node, ast.IfExp):
            asked = ast.dump(node.test)
            return _unique(
                [_held(choice, asked, held=True) for choice in self._forms(node.body, scope, seen)]
                + [_held(choice, asked, held=False) for choice in self._forms(node.orelse, scope, seen)]
            )
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            return _unique([choice for item in node.values for choice in self._forms(item, scope, seen)])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._product([node.left, node.right], scope, seen, node)
        if isinstance(node, ast.JoinedStr):
            return self._product(list(node.values), scope, seen, node)
        if isinstance(node, ast.FormattedValue):
            return self._formatted(node, scope, seen)
        if isinstance(node, ast.Call) and _called(node) == "plural":
            return _counted(node) or [VALUE]
        if isinstance(node, ast.Name) and node.id not in seen:
            value = scope.resolve(node.id)
            if value is not None and _stringy(value):
                return self._forms(value, scope, seen | {node.id})
        return [VALUE]

    def _formatted(self, node: ast.FormattedValue, scope: _Scope, seen: frozenset[str]) -> list[Choice]:
        if node.format_spec is None:
            choices = self._forms(node.value, scope, seen)
            if choices != [VALUE]:
                return choices
        self.read(node.value, scope)
        return [VALUE]

    def _product(
        self, parts: list[ast.expr], scope: _Scope, seen: frozenset[str], node: ast.expr
    ) -> list[Choice]:
        choices = [self._forms(part, scope, seen) for part in parts]
        while len(together := _together(choices)) > MOST_FORMS:
            widest = max(range(len(choices)), key=lambda place: len(choices[place]))
            for choice in choices[widest]:
                self._take(choice.form, node, label=True)
            choices[widest] = [VALUE]
        return together


def _together(choices: Sequence[Sequence[Choice]]) -> list[Choice]:
    """Return every way in which parts come together without contradiction."""
    found = [Choice(())]
    for each in choices:
        found = [
            Choice((*left.form, *right.form), left.given | right.given)
            for left, right in itertools.product(found, each)
            if not any((asked, not held) in left.given for asked, held in right.given)
        ][: 50 * MOST_FORMS]
    return _unique(found)


def _held(choice: Choice, asked: str, *, held: bool) -> Choice:
    return choice._replace(given=choice.given | {(asked, held)})


def _counted(node: ast.Call) -> list[Choice]:
    """Return a count with its noun, for one and for more."""
    words = [item.value for item in node.args[1:] if isinstance(item, ast.Constant)]
    if not words:
        return []
    asked = ast.dump(node.args[0])
    more = words[1] if len(words) > 1 else f"{words[0]}s"
    return [_held(Choice((None, f" {word}")), asked, held=word is words[0]) for word in (words[0], more)]


def _unique(choices: Sequence[Choice]) -> list[Choice]:
    return list(dict.fromkeys(choice._replace(form=_merged(choice.form)) for choice in choices))


def _of_template(form: Form) -> Iterator[Form]:
    """Return a text that is itself a template of named values as a form."""
    text = "".join(part or "" for part in form)
    if None in form or not _NAMED.search(text):
        yield form
        return
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError:
        yield form
        return
    parts: list[str | None] = []
    for literal, name, _, _ in fields:
        parts.append(literal)
        if name is not None:
            parts.append(None)
    yield _merged(tuple(parts))


def _core(form: Form) -> Form:
    """Return a form without what stands at its ends: white space, commas, and a value that is a sentence of its own."""
    parts = list(form)
    while parts:
        first, last = parts[0], parts[-1]
        if first is not None and first != first.lstrip(" ,;:"):
            parts[0] = first.lstrip(" ,;:")
        elif last is not None and last != last.rstrip(" ,;"):
            parts[-1] = last.rstrip(" ,;")
        elif first == "" or (len(parts) > 1 and first is None and _BEGINS.match(parts[1] or "")):
            parts = parts[1:]
        elif last == "" or (len(parts) > 1 and last is None and _ENDS.search(parts[-2] or "")):
            parts = parts[:-1]
        else:
            break
    return tuple(parts)


def _is_read(form: Form, *, label: bool) -> bool:
    """Return whether a form holds words that are printed: a sentence or a label, no name of a column and no code."""
    text = " ".join(part for part in form if part is not None)
    letters = sum(letter.isalpha() for letter in text)
    if letters < 3 or _MARKUP.search(text):
        return False
    if None in form and " " not in "".join(part or "" for part in form):
        return False  # the name of something, with a number
    if len(form) == 1 and _CODE.fullmatch(text):
        return label and text.isalpha() and not text.isupper()
    return len(re.findall(r"[A-Za-z]{2,}", text)) >= (1 if label or None in form or re.search(r"\d", text) else 2)


def _assigned(body: Sequence[ast.stmt]) -> dict[str, ast.expr]:
    """Return the names that are given one value, and only one, in a block and the blocks below it."""
    values: dict[str, ast.expr | None] = {}

    def note(target: ast.expr, value: ast.expr | None) -> None:
        for name in ast.walk(target):
            if isinstance(name, ast.Name):
                values[name.id] = value if name.id not in values and name is target else None

    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        for each, value in zip(target.elts, node.value.elts, strict=False):
                            note(each, value)
                    else:
                        note(target, node.value)
            elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
                note(node.target, node.value if isinstance(node, ast.AnnAssign) else None)
            elif isinstance(node, (ast.For, ast.comprehension)):
                note(node.target, None)
            elif isinstance(node, ast.arg):
                values[node.arg] = None
    return {name: value for name, value in values.items() if value is not None}


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


def _is_label(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id in LABELS


def _is_message(statement: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id in {"msg", "message"} for target in statement.targets)


def _is_reason(statement: ast.stmt | None) -> bool:
    return (
        isinstance(statement, ast.Raise) and isinstance(statement.exc, ast.Call) and _called(statement.exc) in REASONS
    )


def _without_docstring(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    return [
        item for item in body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
    ]
