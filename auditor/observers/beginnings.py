"""What each open generation begins with, and the seed that decides it: half of the data are members, half controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from auditor.core.seeds import generator
from auditor.observers.corpora import compared_documents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.contract.protocol import OpenedSubject
    from auditor.observers.open_generations import Parameters
    from auditor.subjects.data import DataRecord

Kind = Literal["top-k", "decaying", "prompted"]
Dataset = Literal["members", "controls"]


class Beginning(NamedTuple):
    """The beginning of one generation."""

    kind: Kind
    side: Literal["", "members", "controls"]
    """Whose record it begins with; "" where it begins with nothing."""
    record: DataRecord | None
    prefix: NDArray[np.int32]
    seed: int


def beginnings(numbers: Sequence[int], asked: Parameters, opened: OpenedSubject, seed: int) -> list[Beginning]:
    """Return the beginnings of some generations.

    Those without a prompt begin with the model's own token for it. A model without one is given the first token of a
    record, of members and controls in turn, so that neither side is favoured.

    Args:
        numbers: Numbers of the generations: unprompted, decaying, prompted by members, prompted by controls.
        asked: How many of each.
        opened: The subject.
        seed: Of the observation.
    """
    model = opened.model("subject")
    places = [_place(number, asked, begun=model.begin is not None) for number in numbers]
    held: dict[tuple[Dataset, int], tuple[DataRecord, NDArray[np.int32]]] = {}
    count = compared_documents(opened.facts, asked.documents)
    size = min(count, max(asked.prompted // 2, (asked.unprompted + asked.decaying + 1) // 2, 1))
    for side in ("members", "controls"):
        wanted = sorted({row % size for _, own, row in places if own == side})
        if wanted:
            first, last = wanted[0], wanted[-1] + 1
            some = list(opened.records(side).sample(size, seed, first, last))
            encoded = model.encode([some[row - first].text for row in wanted])
            held |= {(side, row): (some[row - first], ids) for row, ids in zip(wanted, encoded, strict=True)}
    lead = np.array([] if model.begin is None else [model.begin], dtype=np.int32)
    found = []
    for number, (kind, side, row) in zip(numbers, places, strict=True):
        rng = generator(seed, "open-generations", str(number))
        own = int(rng.integers(2**53))
        if not side:
            found.append(Beginning(kind, "", None, lead, own))
            continue
        record, ids = held[side, row % size]
        prompt = ids[:1]
        if kind == "prompted":
            # From anywhere in the record, but so that a match that counts could follow.
            start = int(rng.integers(max(1, len(ids) - asked.prompt - asked.least + 1)))
            prompt = ids[start : start + asked.prompt]
        found.append(Beginning(kind, side, record, np.concatenate([lead, prompt]).astype(np.int32), own))
    return found


def _place(number: int, asked: Parameters, *, begun: bool) -> tuple[Kind, Literal["", "members", "controls"], int]:
    """Return kind, side and which record of that side a generation begins with."""
    free = asked.unprompted + asked.decaying
    if number < free:
        kind: Kind = "top-k" if number < asked.unprompted else "decaying"
        if begun:
            return kind, "", 0
        return kind, ("controls" if number % 2 else "members"), number // 2
    half = asked.prompted // 2
    number -= free
    return "prompted", ("members" if number < half else "controls"), number % max(half, 1)
