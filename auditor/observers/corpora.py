"""The training corpus and the controls as indexes of equal size, so that a match by chance is as likely in either.

What is matched against is tokens of the audited model. As many documents of the members as of the controls are compared
with each other; the other members, if there are more, stand in an index of their own and count for what came out, never
against the controls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from auditor.core.evidence import Column
from auditor.errors import UnsupportedError
from auditor.observers.excerpt import masked
from auditor.subjects.corpus_index import Span, covered, spans
from auditor.subjects.infini_gram_index import index_of_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from auditor.contract.protocol import Facts, OpenedSubject
    from auditor.subjects.capability import OpenModel
    from auditor.subjects.corpus_index import CorpusIndex, Matches
    from auditor.subjects.data import DataRecord

Side = Literal["member", "control", "other"]
"""A member that is compared with controls, a control, a member beyond that number."""
ENCODED_AT_ONCE = 256
LISTED = 4096
"""Places of one run that are looked at, to say in how many documents it stands."""


class Found(NamedTuple):
    """What of one generation stands in one corpus."""

    length: NDArray[np.int64]
    """Longest match at each position."""
    runs: list[Span]
    """Maximal runs of at least the length that is asked, which do not overlap."""
    document: list[int]
    """First document that each run stands in."""
    documents: list[int]
    """How many documents each run stands in, `LISTED` places looked at."""
    nearest: int
    """Document of the longest match, -1 where nothing matches."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents of one side in an index.

    Args:
        ids: Of the documents.
        units: Number of the person, document or record each belongs to, from 0, shape [documents].
        names: Of the units.
        index: Their tokens, in memory or, where they do not fit, on disk.
    """

    ids: NDArray[np.object_]
    units: NDArray[np.int64]
    names: NDArray[np.object_]
    index: CorpusIndex

    def match(self, queries: Sequence[NDArray[np.int32]], least: int) -> list[Found]:
        """Return what of each query stands in the corpus.

        Args:
            queries: Token ids.
            least: Fewest tokens of a run that is listed.
        """
        matches = self.index.longest(queries)
        runs = [spans(match.length, least) for match in matches]
        places = [
            query[run.start : run.start + run.length] for query, some in zip(queries, runs, strict=True) for run in some
        ]
        where = iter(self._documents(places))
        found = []
        for match, some in zip(matches, runs, strict=True):
            pairs = [next(where) for _ in some]
            firsts, counts = [first for first, _ in pairs], [count for _, count in pairs]
            found.append(Found(match.length, some, firsts, counts, self._nearest(match)))
        return found

    def _documents(self, runs: Sequence[NDArray[np.int32]]) -> Iterator[tuple[int, int]]:
        for first, last in self.index.occurrences(runs):
            places = self.index.order[first : min(last, first + LISTED)].astype(np.int64)
            documents = np.unique(self.index.document_of(places))
            yield int(documents[0]), len(documents)

    def _nearest(self, match: Matches) -> int:
        if not len(match.length) or not match.length.max():
            return -1
        return int(self.index.document_of(match.place[[int(match.length.argmax())]])[0])


def corpus_of(records: Iterable[DataRecord], model: OpenModel) -> Corpus:
    """Return records as an index of the model's tokens; whole texts, nothing is cut."""
    ids: list[str] = []
    clusters: list[str] = []

    def encoded() -> Iterator[NDArray[np.int32]]:
        texts: list[str] = []
        for record in records:
            ids.append(record.id)
            clusters.append(record.cluster)
            texts.append(record.text)
            if len(texts) == ENCODED_AT_ONCE:
                yield from model.encode(texts)
                texts.clear()
        yield from model.encode(texts)

    index = index_of_tokens(encoded(), model.vocabulary)
    names, units = np.unique(np.array(clusters, dtype=object).astype(str), return_inverse=True)
    return Corpus(np.array(ids, dtype=object), units.astype(np.int64), names.astype(object), index)


def compared_documents(facts: Facts, documents: int | None = None) -> int:
    """Return how many documents of each side are compared: as many members as controls.

    Raises:
        UnsupportedError: There are no controls.
    """
    members, controls = facts.subject.members, facts.subject.controls
    if controls is None or not controls.records:
        msg = "what comes out is matched against members and controls, and the subject has no controls"
        raise UnsupportedError(msg, hint="Name records held out at random before training as `controls`.")
    count = min(members.records, controls.records)
    return count if documents is None else min(count, documents)


def corpus(opened: OpenedSubject, side: Side, seed: int, documents: int | None = None) -> Corpus | None:
    """Return the documents of a side, indexed on first use and shared by all that match in this audit.

    Args:
        opened: The subject.
        side: Which documents.
        seed: Decides which are compared; samples of one seed are nested.
        documents: Most documents of each side that are compared; None: as many as the smaller side has.

    Returns:
        None where no member is beyond those compared.
    """
    count = compared_documents(opened.facts, documents)
    model = opened.model("subject")
    if side != "other":
        source = opened.records("members" if side == "member" else "controls")
        return opened.remember(
            f"corpus {side} {count} {seed}", lambda: corpus_of(source.sample(count, seed, 0, count), model)
        )
    members = opened.records("members")
    if len(members) <= count:
        return None

    def others() -> Corpus:
        compared = corpus(opened, "member", seed, documents)
        known = set(compared.ids.tolist()) if compared is not None else set()
        rest = (record for record in members.sample(None, seed, 0, len(members)) if record.id not in known)
        return corpus_of(rest, model)

    return opened.remember(f"corpus other {count} {seed}", others)


def excerpt_of(ids: NDArray[np.int32], found: Found, model: OpenModel) -> str:
    """Return the longest run of a generation that stands in the corpus, masked; empty where there is none."""
    if not found.runs:
        return ""
    run = max(found.runs, key=lambda run: run.length)
    return masked(model.decode(ids[run.start : run.start + run.length].tolist()), run.length)


def match_columns(side: Side, least: int) -> tuple[Column, ...]:
    """Return the columns that say what stands in the documents of a side."""
    words = {"member": "compared members", "control": "controls", "other": "other members"}[side]
    runs = f"maximal runs of {least} tokens or more that do not overlap"
    return (
        Column(name=f"{side}_records", type="int32", unit="records", meaning=f"Number of {words}."),
        Column(name=f"{side}_units", type="int32", unit="units", meaning="Persons or documents they belong to."),
        Column(name=f"{side}_longest", type="int32", unit="tokens", meaning=f"Longest match in the {words}."),
        Column(name=f"{side}_id", type="string", unit="none", meaning="Id of a document that holds it."),
        Column(name=f"{side}_covered", type="int32", unit="tokens", meaning=f"Tokens in matches of {least} or more."),
        Column(name=f"{side}_lengths", type="list<int32>", unit="tokens", meaning=f"Lengths of {runs}."),
        Column(name=f"{side}_distinct", type="list<int32>", unit="tokens", meaning="Different tokens in each run."),
        Column(
            name=f"{side}_record", type="list<int32>", unit="none", meaning="Number of the record each run is from."
        ),
        Column(
            name=f"{side}_unit", type="list<int32>", unit="none", meaning="Number of the person or document it is of."
        ),
        Column(name=f"{side}_documents", type="list<int32>", unit="none", meaning="Documents each run stands in."),
        Column(
            name=f"{side}_common", type="list<bool>", unit="none", meaning="Each run stands on the other side, too."
        ),
    )


def match_rows(
    found: dict[Side, list[Found]], corpora: dict[Side, Corpus | None], queries: Sequence[NDArray[np.int32]], least: int
) -> dict[str, list[object]]:
    """Return the values of those columns, by column, one for each query.

    A run of members is common if it stands in the controls, whole; one of the controls if it stands in the compared
    members.
    """
    columns: dict[str, list[object]] = {}
    for side, rows in found.items():
        own, across = corpora[side], found["member" if side == "control" else "control"]
        for number, query in enumerate(queries):
            row = rows[number] if rows else None
            values = _values(row, across[number], own, query, least)
            for name, value in values.items():
                columns.setdefault(f"{side}_{name}", []).append(value)
    return columns


def _values(
    row: Found | None, across: Found, own: Corpus | None, query: NDArray[np.int32], least: int
) -> dict[str, object]:
    if row is None or own is None:
        none: dict[str, object] = dict.fromkeys(("lengths", "distinct", "record", "unit", "documents", "common"), ())
        return {"records": 0, "units": 0, "longest": 0, "id": "", "covered": 0, **none}
    return {
        "records": len(own.ids),
        "units": len(own.names),
        "longest": int(row.length.max(initial=0)),
        "id": "" if row.nearest < 0 else str(own.ids[row.nearest]),
        "covered": covered(row.length, least),
        "lengths": [run.length for run in row.runs],
        "distinct": [len(np.unique(query[run.start : run.start + run.length])) for run in row.runs],
        "record": row.document,
        "unit": [int(own.units[document]) for document in row.document],
        "documents": row.documents,
        "common": [int(across.length[run.start]) >= run.length for run in row.runs],
    }
