"""Evaluation results in the front matter of a model card (`model-index`), written into YAML that is somebody else's.

Only lines of ours are put in or taken out; whether the rest still says the same is checked by reading it again.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from auditor.core.yaml import parse_yaml
from auditor.errors import DataError
from auditor.exchange.markdown import split_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.yaml import Document

START, END = "# memorization-audit:start", "# memorization-audit:end"
DATASET_TYPE = "memorization-audit"
"""Type of the data set of our results: how they are known again if another tool has removed the markers."""
_BLOCK = re.compile(r"(\s*---(?:\r\n|\r|\n))([\S\s]*?)(^---[ \t]*(?:\r\n|\n|\Z))", re.MULTILINE)


class Card(NamedTuple):
    """A model card in three parts; joined they are the file."""

    opening: str
    """The opening `---`, or nothing."""
    settings: str
    """The YAML, or nothing."""
    rest: str
    """The closing `---` and the text, or all of the text where there is no front matter."""


def split_card(text: str) -> Card:
    """Return a model card in three parts."""
    match = _BLOCK.match(text)
    return Card(match[1], match[2], match[3] + text[match.end() :]) if match else Card("", "", text)


def results_in(settings: str, model: str, result: dict[str, Any], newline: str, where: str, before: int) -> str:
    """Return YAML with a result in its `model-index`, in place of what was there of ours.

    Args:
        settings: The YAML of the front matter, without the lines `---`.
        model: Name of the model, where there is no `model-index` yet.
        result: One entry of `results`, plain JSON.
        newline: End of line of the file.
        where: The file, for messages.
        before: Lines of the file before the YAML.

    Raises:
        DataError: The YAML cannot be read, or `model-index` is not written as a list of results, one below the other.
    """
    lines = split_lines(settings)
    ours = _marked(lines, where, before)
    kept = [text for index, text in enumerate(lines) if index not in ours]
    marked_at = _indent(lines[min(ours)]) if ours else None
    theirs = _read(kept, where, before)
    if theirs is None or "model-index" not in theirs.value:
        indented = [f"- name: {json.dumps(model, ensure_ascii=False)}", "  results:", *_item(result, "  ")]
        made = [*_ended(kept, newline), *_block(["model-index:", *indented], "", newline)]
        _same(
            made,
            {**(theirs.value if theirs else {}), "model-index": [{"name": model, "results": [result]}]},
            where,
            before,
        )
        return "".join(made)
    kept, place, column, rest = _theirs(kept, theirs, marked_at, before)
    made = [*kept[:place], *_block(_item(result, " " * column), " " * column, newline), *kept[place:]]
    entries = theirs.value["model-index"]
    first = {**entries[0], "results": [result, *rest]}
    _same(made, {**theirs.value, "model-index": [first, *entries[1:]]}, where, before)
    return "".join(made)


def _marked(lines: Sequence[str], where: str, before: int) -> set[int]:
    """Return the indices of the lines between our markers."""
    ours: set[int] = set()
    start: int | None = None
    for index, text in enumerate(lines):
        word = text.strip()
        if word not in {START, END}:
            continue
        if (word == START) != (start is None):
            msg = f"{where}:{before + index + 1}: the marker '{word}' stands where it cannot"
            raise DataError(msg, hint=f"A part begins with '{START}' and ends with '{END}'. Mend or remove both.")
        if start is not None:
            ours |= set(range(start, index + 1))
        start = index if start is None else None
    if start is not None:
        msg = f"{where}:{before + start + 1}: the marker '{START}' has no end"
        raise DataError(msg, hint=f"Put '{END}' back where the part ends, or remove the marker.")
    return ours


def _read(lines: Sequence[str], where: str, before: int) -> Document | None:
    """Return what the YAML says, None where it says nothing; lines are those of the file, as far as nothing of ours stands above."""
    if not any(text.strip() and not text.lstrip().startswith("#") for text in lines):
        return None
    document = parse_yaml(("\n" * before + "".join(lines)).encode(), Path(where), DataError)
    if not isinstance(document.value, dict):
        msg = f"{where}:{before + 1}: the front matter is not a mapping of keys to values"
        raise DataError(msg, hint="See https://huggingface.co/docs/hub/model-cards for what it may say.")
    return document


def _theirs(
    lines: Sequence[str], document: Document, marked_at: int | None, before: int
) -> tuple[list[str], int, int, list[Any]]:
    """Return the lines without unmarked results of ours, where a result is put in, its column, and the results of others."""
    index = document.value["model-index"]
    first = index[0] if isinstance(index, list) and index and isinstance(index[0], dict) else {}
    place = ("model-index", 0, "results")
    row = document.line_of(place) - 1 - before
    if first.get("results", "") is None and re.fullmatch(r"[ -]*results:\s*(#.*\s*)?", lines[row]):
        # What stood there was ours alone, or nothing did.
        return list(lines), row + 1, lines[row].index("results") if marked_at is None else marked_at, []
    bare = re.fullmatch(r"([ -]*results:)[ \t]*\[[ \t]*\][ \t]*(#.*)?(\s*)", lines[row])
    if first.get("results") == [] and bare:
        # As trainers write it. An empty list in flow form cannot be added to: its brackets make room for what stands below.
        room = f"{bare[1]}{f' {bare[2]}' if bare[2] else ''}{bare[3]}"
        return [*lines[:row], room, *lines[row + 1 :]], row + 1, lines[row].index("results"), []
    results = first.get("results")
    at = [document.line_of((*place, number)) - 1 - before for number in range(len(results or []))]
    dashes = [re.match(r"( *)- ", lines[number]) for number in at]
    columns = {len(dash[1]) for dash in dashes if dash}
    if not isinstance(results, list) or not results or not all(dashes) or len(columns) != 1 or len(set(at)) != len(at):
        msg = f"{document.where(place)}: `model-index` is not a list of models with `results` one below the other"
        hint = "Write each result on lines of its own that begin with '- ', or remove `model-index`."
        raise DataError(msg, hint=hint)
    column = columns.pop()
    dropped: set[int] = set()
    for start, result in zip(at, results, strict=True):
        if _is_ours(result):
            dropped |= set(range(start, _end(lines, start, column)))
    kept = [text for number, text in enumerate(lines) if number not in dropped]
    return kept, at[0], column, [result for result in results if not _is_ours(result)]


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _is_ours(result: Any) -> bool:  # noqa: ANN401  (any YAML value)
    dataset = result.get("dataset") if isinstance(result, dict) else None
    return isinstance(dataset, dict) and dataset.get("type") == DATASET_TYPE


def _end(lines: Sequence[str], start: int, column: int) -> int:
    """Return the index of the line after an item of a list, whose dash stands in a column."""
    last = start
    for index in range(start + 1, len(lines)):
        text = lines[index]
        if text.strip() and not text.lstrip().startswith("#"):
            if _indent(text) <= column:
                break
            last = index
    return last + 1


def _item(result: dict[str, Any], indent: str) -> list[str]:
    """Return a result as an item of a YAML list: two levels in block form, whatever is deeper in flow form."""
    lines: list[str] = []
    for key, value in result.items():
        lead = f"{indent}  " if lines else f"{indent}- "
        lines.append(f"{lead}{key}:")
        if isinstance(value, list):
            for part in value:
                pairs = [f"{name}: {_flow(held)}" for name, held in part.items()]
                lines += [f"{indent}  {'  ' if number else '- '}{pair}" for number, pair in enumerate(pairs)]
        else:
            lines += [f"{indent}    {name}: {_flow(held)}" for name, held in value.items()]
    return lines


def _flow(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    """Return a value on one line, as JSON that YAML 1.1 and 1.2 read alike."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_flow(held)}" for key, held in value.items()) + "}"
    if isinstance(value, float):
        digits = repr(value)
        # YAML 1.1, which most readers of model cards still speak, takes `1e-05` for a word.
        return digits.replace("e", ".0e") if "e" in digits and "." not in digits else digits
    return json.dumps(value, ensure_ascii=False)


def _block(lines: Sequence[str], indent: str, newline: str) -> list[str]:
    return [f"{text}{newline}" for text in (f"{indent}{START}", *lines, f"{indent}{END}")]


def _ended(lines: Sequence[str], newline: str) -> list[str]:
    """Return the lines, the last of which has an end."""
    return [*lines[:-1], lines[-1] + ("" if lines[-1].endswith(("\n", "\r")) else newline)] if lines else []


def _same(lines: Sequence[str], expected: dict[str, Any], where: str, before: int) -> None:
    """Make sure that the YAML, read again, says what it said before and the result."""
    found = _read(lines, where, before)
    if found is None or found.value != json.loads(json.dumps(expected)):
        msg = f"{where}:{before + 1}: the results cannot be put into this front matter without changing the rest"
        raise DataError(msg, hint="Write `model-index` in plain block form, without anchors, or remove it.")
