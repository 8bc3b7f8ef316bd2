"""Collects every message of the report: fixed words of the templates, forms of sentences in the code, texts of policies and clauses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from auditor.core.resources import resource
from auditor.language.sentences import Found, sentences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SPOKEN = (
    "report",
    "assess",
    "battery",
    "plan",
    "preregister",
    "compare",
    "statistics",
    "pipeline/preregistering.py",
    "policy/written_out.py",
)
"""Rooms whose sentences and labels are printed."""
SILENT = ("assess/forms.py", "assess/statements.py")
"""Modules of those rooms that print nothing: they write and read the files of statements."""
REASONING = ("observers", "run", "contract/registry.py", "subjects/capability.py", "core/finding.py")
"""Rooms of which only reasons and methods are printed."""
PRINTED = {
    "title", "paraphrase", "cannot_show", "force", "name", "not_tested", "reason", "because", "population", "set_by",
    "instrument", "reference", "asks", "not_applicable", "status", "form_title",
}  # fmt: skip
"""Keys of policies, clauses and forms whose words are printed."""
WORDS = (
    "bit", "nat", "member", "control", "yes", "no", "record", "records", "members", "controls", "canaries",
    "internal", "public-api", "open-weights", "engineering default", "controller", "memorizer", "signal", "no signal",
    "not run", "invalid", "inconclusive", "not applicable", "contradicted", "missing", "supplied", "no test",
    "in force", "in use", "draft", "contested", "Signal", "Invalid", "Inconclusive", "Contradicted", "Missing",
    "Supplied", "Draft", "Contested", "Subject", "Model", "Members", "Controls", "Control", "Excess", "{0} canary",
    "{0} canaries", "{0} document", "{0} documents", "{0} person", "{0} persons", "{0} record", "{0} records",
    "{0} image", "{0} images", "{0} work", "{0} works", "{0} of {1}", "{0} of {1} by {2}",
    "at random before training", "afterwards", "not declared", "and", "or", "perplexity", "zlib ratio",
    "lowercase ratio", "window", "copies in training", "standard deviations", "members+controls", "continuations",
    "divergences", "completions", "sampled", "exact", "subject", "reference", "nothing", "none", "asked for",
    "not asked for", "left out", "text", "scores", "distribution", "weights", "data", "person", "document", "file",
    "independent units", "innocent", "fires", "planted", "{0}, certificate SHA-256 {1} ({2})",
    "self-signed: a signature by it shows that nothing was changed, not who the signer is",
    "issued by {0}: whoever trusts that authority can trust the name",
)  # fmt: skip
"""Words that the code makes of names and not of sentences."""


class Message(NamedTuple):
    """Something to translate."""

    id: str
    plural: str
    where: tuple[str, ...]


def messages() -> list[Message]:
    """Return every message, in the order of a catalogue: templates, policies, code."""
    root = resource("templates").parent
    found: dict[tuple[str, str], list[str]] = {}
    for one, plural, where in [*_templates(root), *_texts(root), *_code(root)]:
        found.setdefault((one, plural), []).append(where)
    return [Message(one, plural, tuple(dict.fromkeys(where))) for (one, plural), where in found.items()]


def _templates(root: Path) -> Iterator[tuple[str, str, str]]:
    from jinja2.ext import babel_extract  # noqa: PLC0415  (heavy)

    for path in sorted(root.glob("templates/**/*.j2")):
        with path.open("rb") as file:
            for line, function, message, _ in babel_extract(
                file,
                ["_", "gettext", "ngettext"],
                [],
                {"extensions": "jinja2.ext.i18n", "trimmed": "true", "trim_blocks": "true"},
            ):
                both = message if isinstance(message, tuple) else (message, "")
                yield (
                    str(both[0]),
                    str(both[1] or "") if function == "ngettext" else "",
                    f"{path.relative_to(root)}:{line}",
                )


def _code(root: Path) -> Iterator[tuple[str, str, str]]:
    for path in sorted((root / "auditor" / "battery").rglob("*.py")):
        for named in re.findall(r"^ +statistics = \(([^)]*)\)", path.read_text(encoding="utf-8"), re.MULTILINE):
            for name in re.findall(r'"(\w+)"', named):
                yield name.replace("_", " "), "", f"{path.relative_to(root)}:0"
    for room in SPOKEN:
        for found in _of(root, root / "auditor" / room):
            yield found.form, "", found.where
    for room in REASONING:
        for found in _of(root, root / "auditor" / room, reasons=True):
            yield found.form, "", found.where
    for word in WORDS:
        yield word, "", "auditor/language/extraction.py:0"


def _of(root: Path, place: Path, *, reasons: bool = False) -> Iterable[Found]:
    for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
        if str(path).endswith(SILENT):
            continue
        yield from sentences(path.read_text(encoding="utf-8"), str(path.relative_to(root)), reasons=reasons)


def _texts(root: Path) -> Iterator[tuple[str, str, str]]:
    from ruamel.yaml import YAML  # noqa: PLC0415  (heavy)

    for path in sorted(root.glob("policies/**/*.yaml")):
        where = str(path.relative_to(root))
        for text, line in _printed(YAML(typ="rt").load(path.read_text(encoding="utf-8"))):
            yield text, "", f"{where}:{line}"


def _printed(node: Any) -> Iterator[tuple[str, int]]:  # noqa: ANN401  (ruamel's types, which know their lines)
    if hasattr(node, "items"):
        for key, value in node.items():
            if key in PRINTED and isinstance(value, str) and re.search("[A-Za-z]{3}", value):
                yield _form(value), node.lc.data[key][0] + 1
            elif key == "answers" and hasattr(value, "lc"):
                for name in value:
                    yield str(name).replace("_", " "), value.lc.data[name][0] + 1
                yield from _printed(value)
            elif key not in {"sources", "verification"}:
                yield from _printed(value)
    elif isinstance(node, list):
        for item in node:
            yield from _printed(item)


def _form(text: str) -> str:
    return " ".join(text.split()).replace("{", "{{").replace("}", "}}")
