"""What is restricted in a bundle: the texts, numbers and pictures that no shared file may show, and where each stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from auditor.core.canary import HOLE, CanarySet
from auditor.core.evidence import Observation, ObservationRecord
from auditor.core.record import parse_json
from auditor.errors import IntegrityError
from auditor.evidence import bundle as layout
from auditor.evidence.shards import RESTRICTED
from auditor.evidence.table import RECORD_FILE
from auditor.redact.letters import bare
from auditor.redact.own_words import Words
from auditor.redact.runs import RUN
from auditor.redact.tables import LONGEST_NAME, digits_of, is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

TAIL = 12
"""Letters of the sentence around a canary that stand before its secret where both are looked for together."""
WRITTEN = 9
"""Characters of the shortest secret, as it is written, that is looked for by itself."""


class Origin(NamedTuple):
    """Where restricted texts stand."""

    file: str
    """Path in the bundle."""
    column: str
    whole: bool = True
    """Each text is also looked for as a whole where it is too short for a run."""


class Texts(NamedTuple):
    """Some restricted texts of one origin."""

    origin: Origin
    texts: list[str]
    rows: list[int]
    """Row of each text in its file."""


class Secret(NamedTuple):
    """A short value that is secret whatever its length: looked for as it is written."""

    origin: Origin
    row: int
    letters: bytes
    parts: tuple[int, ...]
    """Letters of each of its parts between other signs; empty: any."""


def texts_in(bundle: Path) -> Iterator[Texts]:
    """Yield the restricted texts of a bundle; those of the controls of the instrument are made up, and belong to nobody.

    Raises:
        IntegrityError: A file cannot be read.
    """
    for path in restricted_files(bundle):
        name = path.relative_to(bundle).as_posix()
        if _made_up(path):
            continue
        try:
            if path.suffix == ".parquet":
                yield from _columns(name, path)
            elif path.parent.name == layout.EXTERNAL.removesuffix(".json"):
                yield _of_another_tool(bundle, name, path)
            elif path.suffix == ".jsonl":
                texts = [text for line in path.read_text("utf-8", "replace").splitlines() for text in _strings(line)]
                yield Texts(Origin(name, "", whole=False), texts, list(range(len(texts))))
            elif path.suffix == ".txt":
                # What a plug-in said when it failed: the frames of its traceback are code.
                lines = path.read_text("utf-8", "replace").splitlines()
                said = [line for line in lines if not line.startswith(" ")]
                yield Texts(Origin(name, "", whole=False), said, list(range(len(said))))
        except (OSError, pa.ArrowException, ValueError) as error:
            msg = f"{name}: the restricted part cannot be read ({type(error).__name__})"
            raise IntegrityError(msg, hint="Take the whole bundle again from its origin.") from error


def _made_up(path: Path) -> bool:
    """Return whether a restricted file is of a control subject."""
    seen = _observation_of(path)
    return seen is not None and seen.subject != "audited"


def _observation_of(path: Path) -> Observation | None:
    """Return the observation that a restricted file is of; None where it is of none, or of one that was not finished."""
    record = path.parent.parent / RECORD_FILE
    if path.parent.parent.parent.name != layout.OBSERVATIONS or not record.exists():
        return None
    return ObservationRecord.from_plain(parse_json(record.read_bytes())).observation


def _of_another_tool(bundle: Path, name: str, path: Path) -> Texts:
    """Return the texts of a file that another tool wrote, without those of which every run was taken in to be shown."""
    said = path.read_text("utf-8", "replace")
    texts = _strings(said) or [text for line in said.splitlines() for text in _strings(line) or [line]]
    shown = Words(
        _strings((bundle / layout.EXTERNAL).read_text("utf-8")) if (bundle / layout.EXTERNAL).exists() else []
    )
    kept = [text for text in texts if _longest_gap(shown.covered(bare(text))) >= RUN]
    return Texts(Origin(name, "", whole=False), kept, list(range(len(kept))))


def restricted_files(bundle: Path) -> list[Path]:
    """Return the files of a bundle that may be withheld and are there, sorted."""
    return sorted(
        path for path in bundle.rglob("*") if RESTRICTED in path.relative_to(bundle).parts[:-1] and path.is_file()
    )


def _longest_gap(covered: NDArray[np.bool_]) -> int:
    """Return the length of the longest stretch that is not covered."""
    edges = np.flatnonzero(np.diff(np.concatenate(([True], covered, [True])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _columns(name: str, path: Path) -> Iterator[Texts]:
    table = pq.read_table(path)
    rows = list(range(table.num_rows))
    for column in table.column_names:
        values = table.column(column)
        kind = values.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            texts = [value or "" for value in values.to_pylist()]
            yield Texts(Origin(name, column), texts, rows)
            inner = [
                (text, row) for row, value in enumerate(texts) if value[:1] in {"[", "{"} for text in _strings(value)
            ]
            if inner:
                yield Texts(Origin(name, column), [text for text, _ in inner], [row for _, row in inner])
        elif pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
            pairs = [(text or "", row) for row, value in enumerate(values.to_pylist()) for text in value or ()]
            yield Texts(Origin(name, column), [text for text, _ in pairs], [row for _, row in pairs])
        elif pa.types.is_list(kind) and pa.types.is_integer(kind.value_type):
            listed = values.combine_chunks()
            listed = pa.concat_arrays(listed.chunks) if isinstance(listed, pa.ChunkedArray) else listed
            digits = [digits_of(listed.slice(row, 1).flatten()) for row in rows]
            yield Texts(Origin(name, column, whole=False), digits, rows)


def _strings(text: str) -> list[str]:
    """Return the texts of a JSON value; none where it is no JSON."""
    try:
        stack: list[Any] = [json.loads(text)]
    except ValueError:
        return []
    found: list[str] = []
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, (list, dict)):
            stack.extend(value.values() if isinstance(value, dict) else value)
    return found


def pictures_in(bundle: Path) -> Iterator[tuple[Origin, int, bytes]]:
    """Yield the restricted pictures of a bundle, encoded, each with origin and row; not those that the policy lets be shown."""
    for path in restricted_files(bundle):
        seen = _observation_of(path) if path.suffix == ".parquet" else None
        if seen is None or seen.subject != "audited" or seen.parameters.get("pictures") == "full":
            continue
        schema = pq.read_schema(path)
        name = path.relative_to(bundle).as_posix()
        for column in schema.names:
            kind = schema.field(column).type
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                values = pq.read_table(path, columns=[column]).column(column).to_pylist()
                yield from ((Origin(name, column), row, value) for row, value in enumerate(values) if value)


def canaries_in(bundle: Path) -> CanarySet | None:
    """Return the canaries with their secrets; None where there are none or they are withheld."""
    path = bundle / RESTRICTED / layout.CANARIES
    return CanarySet.from_plain(parse_json(path.read_bytes())) if path.exists() else None


def secrets_of(canaries: CanarySet) -> Iterator[Secret]:
    """Yield the secrets of canaries: by themselves where they are long enough, and with the words before them."""
    for row, canary in enumerate(canaries.canaries):
        form = canaries.format_of(canary)
        origin = Origin(f"{RESTRICTED}/{layout.CANARIES}", f"canary {canary.id}")
        letters = bare(canary.secret)
        parts = tuple(len(bare(part)) for part in _words(canary.secret))
        if len(canary.secret) >= WRITTEN and len(letters) >= 6:
            yield Secret(origin, row, letters, parts)
        before = _tail(form.template.split(HOLE)[0])
        if before:
            yield Secret(origin, row, bare(before) + letters, ())


def _tail(text: str) -> str:
    """Return the last words of a text, so many that they have `TAIL` letters; nothing where it has fewer."""
    words = text.split()
    for count in range(1, len(words) + 1):
        tail = " ".join(words[-count:])
        if len(bare(tail)) >= TAIL:
            return tail
    return ""


def _words(text: str) -> list[str]:
    parts = "".join(letter if letter.isalnum() else " " for letter in text).split()
    return [part for part in parts if part]


def ids_in(bundle: Path) -> Iterator[str]:
    """Yield the ids of records, public by declaration."""
    yield from _named(bundle, lambda column: column == "id" or column.endswith("_id"))


def names_in(bundle: Path) -> Iterator[str]:
    """Yield what else is public by declaration: documents, sources, sentences of canaries without their secrets, the subject."""
    yield from _named(bundle, lambda column: is_name(column) and column != "id" and not column.endswith("_id"))
    for name in (layout.SUBJECT, layout.CANARIES):
        path = bundle / name
        if path.exists():
            yield "\0".join(_strings(path.read_text("utf-8")))


def _named(bundle: Path, asked: Callable[[str], bool]) -> Iterator[str]:
    for path in sorted(bundle.glob(f"{layout.OBSERVATIONS}/*/*.parquet")):
        schema = pq.read_schema(path)
        columns = [
            name for name in schema.names if asked(name) and schema.field(name).type in {pa.string(), pa.large_string()}
        ]
        if not columns:
            continue
        table = pq.read_table(path, columns=columns)
        for name in columns:
            for value in table.column(name).unique().to_pylist():
                if value and len(value) <= LONGEST_NAME:
                    yield value


def declared_in(bundle: Path) -> Iterator[str]:
    """Yield what persons wrote for the audit: policy, statements, clauses of their own, who runs it."""
    for name in (layout.POLICY, layout.STATEMENTS, layout.ENVIRONMENT, layout.SIGNER):
        if (bundle / name).exists():
            yield (bundle / name).read_text("utf-8", "replace")
    for folder in (layout.CLAUSES, layout.POLICIES):
        for path in sorted((bundle / folder).glob("*.yaml")):
            yield path.read_text("utf-8", "replace")
