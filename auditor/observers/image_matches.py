"""How near real images of one side lie to the other side: what thresholds of extraction are calibrated on. No model is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.observers.copy_embeddings import UNIT, embedded, near, require_size, sscd
from auditor.observers.matching import DISTANCE, NEIGHBOURS, TILES, matched_records, sides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.observers.copy_embeddings import Embed


class Parameters(Record):
    """Which records are matched."""

    records: PositiveInt | None = None
    """Most records of each side; null: as many as the smaller side has."""
    embedding: Literal["none", "sscd"] = "none"
    """Whether the nearest is looked for by SSCD embedding too; images of 64 pixels a side or more, and the extra `sscd`."""


class ImageMatchesObserver:
    """Finds the nearest control of every member and the nearest member of every control."""

    name = "image-matches"
    version = 1
    shard_items = 2048
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return the different needs; of two that differ in embeddings alone, the one that has them."""
        different = list({need.identity(): need for need in needs}.values())
        richer = [need for need in different if Parameters.from_plain(need.parameters).embedding == "sscd"]
        return richer + [need for need in different if not any(self.covers(held, need) for held in richer)]

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether they are the same, or differ in embeddings that this one need not have."""
        if joined == need:
            return True
        if (joined.observer, joined.dataset, joined.model) != (need.observer, need.dataset, need.model):
            return False
        held, asked = Parameters.from_plain(joined.parameters), Parameters.from_plain(need.parameters)
        return held.embedding == "sscd" and held.records == asked.records

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        by_embedding = (
            Column(name="sscd", type="double", unit=UNIT, meaning="To the most alike of the other side by embedding."),
            Column(name="sscd_id", type="string", unit="none", meaning="Id of that record."),
        )
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="member", type="bool", unit="none", meaning="The record is a member."),
            Column(name="copies", type="int32", unit="records", meaning="How often it stood in training, as declared."),
            Column(name="source", type="string", unit="none", meaning="Source of the record."),
            Column(
                name="same_as",
                type="string",
                unit="none",
                meaning="Id of the first record of its side with the same pixels, itself if it is the first: what matches go to.",
            ),
            Column(name="nearest", type="string", unit="none", meaning="Id of the nearest record of the other side."),
            Column(name="distance", type="double", unit=DISTANCE, meaning="To that record."),
            Column(
                name="tiled",
                type="double",
                unit=DISTANCE,
                meaning=f"The largest over {TILES} x {TILES} tiles, to that record.",
            ),
            Column(
                name="ratio",
                type="double",
                unit="ratio",
                meaning=f"That distance over half the mean distance of the {NEIGHBOURS} nearest of the other side.",
            ),
            *(() if parameters.embedding == "none" else by_embedding),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records on both sides."""
        return 2 * matched_records(facts, Parameters.from_plain(need.parameters).records)

    def tokens(self, need: Need, facts: Facts) -> int:  # noqa: ARG002
        """Return 0: no model is asked."""
        return 0

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Match one part of the records: members first, then controls."""
        return self.observe_by(need, opened, part, sscd)

    def observe_by(self, need: Need, opened: OpenedSubject, part: Part, embed: Embed) -> Shard:
        """Match one part of the records, by this embedding where one is asked for."""
        asked = Parameters.from_plain(need.parameters)
        if asked.embedding == "sscd":
            require_size(opened.denoiser("subject").image_shape)
        both = sides(opened, asked.records, part.seed)
        count = len(both["members"].records)
        tables: list[pa.Table] = []
        for own, other, start in ((both["members"], both["controls"], 0), (both["controls"], both["members"], count)):
            rows = slice(min(max(part.start - start, 0), count), max(min(part.stop - start, count), 0))
            records, there = own.records, other.records.ids
            found = other.match(records.images[rows])
            columns = {
                "id": pa.array(records.ids[rows], type=pa.string()),
                "cluster": pa.array(records.clusters[rows], type=pa.string()),
                "member": pa.array([not start] * len(found.nearest), type=pa.bool_()),
                "copies": pa.array(records.copies[rows], type=pa.int32()),
                "source": pa.array(records.sources[rows], type=pa.string()),
                "same_as": pa.array(records.ids[own.first[rows]], type=pa.string()),
                "nearest": pa.array(there[found.nearest], type=pa.string()),
                "distance": pa.array(found.distance, type=pa.float64()),
                "tiled": pa.array(found.tiled, type=pa.float64()),
                "ratio": pa.array(found.ratio, type=pa.float64()),
            }
            if asked.embedding == "sscd":
                names = ("control", "member") if start else ("member", "control")
                closest = near(opened, embedded(opened, own, names[0], embed)[rows], other, names[1], embed)
                columns["sscd"] = pa.array(closest.distance, type=pa.float64())
                columns["sscd_id"] = pa.array(there[closest.nearest], type=pa.string())
            tables.append(pa.table(columns))
        return Shard(pa.concat_tables(tables), None, calls=0, tokens=0)


OBSERVER = ImageMatchesObserver()
