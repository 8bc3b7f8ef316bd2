"""How far each image lies from the others and how often it is among the members: of the data alone, in the shape of the model.

Nearest images and neighbourhoods are of the sampled records; copies are counted among all members, whatever the sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.observers.equal_needs import EqualNeeds
from auditor.observers.image_sets import ImageSet, image_set, sampled, whole_set
from auditor.statistics.perceptual_hash import hamming, perceptual_hashes
from auditor.statistics.similarity import Neighbours
from auditor.subjects.images import decode, fitted, pixel_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = 50
"""Nearest other records whose mean distance says how lonely a record is."""
BITS = 4
"""Bits of 64 in which the perceptual hashes of near copies may differ."""
BLOCK = 256
"""Members whose hashes are held against the sample at once."""


class Parameters(Record):
    """Which records are compared, and how near a near copy lies."""

    records: PositiveInt | None = None
    """Size of the random sample on each side; null: all records."""
    near: float = Field(default=0.05, ge=0.0, le=1.0)
    """Largest distance of a near copy: root of the mean squared difference of pixels in [0, 1]."""


class ImageDistancesObserver(EqualNeeds):
    """Finds the nearest member and control of every record, and counts its copies."""

    name = "image-distances"
    version = 1
    shard_items = 4096
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""

        def column(name: str, kind: str, unit: str, meaning: str) -> Column:
            return Column(name=name, type=kind, unit=unit, meaning=meaning)

        distance = "root mean squared difference of pixels in [0, 1]"
        return (
            column("id", "string", "none", "Id of the record."),
            column("cluster", "string", "none", "Person, document or record it belongs to."),
            column("source", "string", "none", "Source of the record."),
            column("copies", "int32", "records", "How often it stood in training, as declared."),
            column("member", "bool", "none", "The record is a member."),
            column("nearest_member", "double", distance, "To the nearest other sampled member; NaN if there is none."),
            column("nearest_member_id", "string", "none", 'Id of that member; "" if there is none.'),
            column(
                "nearest_control", "double", distance, "To the nearest other sampled control; NaN if there is none."
            ),
            column("nearest_control_id", "string", "none", 'Id of that control; "" if there is none.'),
            column("neighbours", "double", distance, f"Mean over the {NEIGHBOURS} nearest other sampled records."),
            column("exact_copies", "int32", "records", "Members with identical pixels, of all; itself if it is one."),
            column(
                "near_copies",
                "int32",
                "records",
                f"Members within {BITS} bits of its perceptual hash and a distance of {parameters.near:g}, of all; itself if it is one.",
            ),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of records on both sides."""
        asked = Parameters.from_plain(need.parameters).records
        return sampled(facts, "members", asked) + sampled(facts, "controls", asked)

    def tokens(self, need: Need, facts: Facts) -> int:  # noqa: ARG002
        """Return 0: no model is asked."""
        return 0

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Compare one part of the records with all."""
        asked = Parameters.from_plain(need.parameters)
        held = opened.remember(f"image-distances {part.seed} {asked.plain()}", lambda: _held(asked, opened, part.seed))
        first = min(part.start, len(held.members)), min(part.stop, len(held.members))
        second = max(part.start - len(held.members), 0), max(part.stop - len(held.members), 0)
        columns = [
            _rows(held, held.members, *first, member=True),
            _rows(held, held.controls, *second, member=False),
        ]
        public = pa.concat_tables([table for table in columns if table.num_rows] or columns[:1])
        return Shard(public, None, calls=0, tokens=0)


@dataclass(frozen=True, slots=True)
class _Held:
    """What all shards share."""

    members: ImageSet
    controls: ImageSet
    among_members: Neighbours | None
    among_controls: Neighbours | None
    exact: NDArray[np.int64]
    """Members with the same pixels, shape [sampled members + controls]."""
    near: NDArray[np.int64]


def _held(asked: Parameters, opened: OpenedSubject, seed: int) -> _Held:
    shape = opened.denoiser("subject").image_shape  # its shape is all that is asked of the model
    members = whole_set(opened, "members", shape, asked.records, seed)
    controls = image_set((), shape)
    if opened.facts.subject.controls is not None:
        controls = whole_set(opened, "controls", shape, asked.records, seed)
    exact, near = _copies(np.concatenate([members.images, controls.images]), opened, shape, asked.near)
    return _Held(
        members,
        controls,
        Neighbours(members.images) if len(members) else None,
        Neighbours(controls.images) if len(controls) else None,
        exact,
        near,
    )


def _rows(held: _Held, own: ImageSet, start: int, stop: int, *, member: bool) -> pa.Table:
    images = own.images[start:stop]
    places = np.arange(start, stop)
    nobody = np.full(len(images), -1)
    to_members = _others(held.among_members, images, places if member else nobody)
    to_controls = _others(held.among_controls, images, nobody if member else places)
    both = np.concatenate([to_members.distances, to_controls.distances], axis=1)
    both = np.sort(both, axis=1)[:, :NEIGHBOURS]  # what is missing is NaN, which sorts last
    there = np.isfinite(both)
    summed = np.where(there, both, 0.0).sum(axis=1)
    lonely = np.divide(summed, there.sum(axis=1), out=np.full(len(both), np.nan), where=there.any(axis=1))
    counted = slice(start, stop) if member else slice(len(held.members) + start, len(held.members) + stop)
    return pa.table(
        {
            "id": pa.array(own.ids[start:stop], type=pa.string()),
            "cluster": pa.array(own.clusters[start:stop], type=pa.string()),
            "source": pa.array(own.sources[start:stop], type=pa.string()),
            "copies": pa.array(own.copies[start:stop], type=pa.int32()),
            "member": pa.array([member] * len(images), type=pa.bool_()),
            "nearest_member": pa.array(to_members.distances[:, 0], type=pa.float64()),
            "nearest_member_id": pa.array(_names(held.members, to_members.indices), type=pa.string()),
            "nearest_control": pa.array(to_controls.distances[:, 0], type=pa.float64()),
            "nearest_control_id": pa.array(_names(held.controls, to_controls.indices), type=pa.string()),
            "neighbours": pa.array(lonely, type=pa.float64()),
            "exact_copies": pa.array(held.exact[counted], type=pa.int32()),
            "near_copies": pa.array(held.near[counted], type=pa.int32()),
        }
    )


class _Others(NamedTuple):
    distances: NDArray[np.float64]
    """Shape [n, NEIGHBOURS], ascending; NaN where there are fewer."""
    indices: NDArray[np.int64]
    """Of the nearest, shape [n]; -1 where there is none."""


def _others(references: Neighbours | None, images: NDArray[np.uint8], own: NDArray[np.int64]) -> _Others:
    """Return the nearest references that are not the image itself.

    Args:
        references: What is compared with.
        images: The queries.
        own: Index of each query among the references, -1 where it is not among them.
    """
    distances = np.full((len(images), NEIGHBOURS), np.nan)
    indices = np.full(len(images), -1)
    if references is None or not len(images):
        return _Others(distances, indices)
    found, which = references.nearest(images, NEIGHBOURS + 1)
    # The record itself is put last; of equal copies it may be any, or not among the nearest at all.
    itself = which == own[:, None]
    order = np.argsort(itself, axis=1, kind="stable")
    found, which, itself = (np.take_along_axis(each, order, axis=1) for each in (found, which, itself))
    found = np.where(itself, np.nan, found)[:, :NEIGHBOURS]
    distances[:, : found.shape[1]] = found
    return _Others(distances, np.where(itself[:, 0], -1, which[:, 0]))


def _names(of: ImageSet, indices: NDArray[np.int64]) -> list[str]:
    return ["" if index < 0 else str(of.ids[index]) for index in indices]


def _copies(
    images: NDArray[np.uint8], opened: OpenedSubject, shape: tuple[int, int, int], near: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each image how many of all members have its pixels, and how many are near copies; members pass by, none is kept.

    Equal pictures are compared once, however many there are of them.
    """
    digests = [pixel_digest(image) for image in images]
    places = {digest: place for place, digest in enumerate(dict.fromkeys(digests))}
    own = np.array([places[digest] for digest in digests], dtype=np.int64)
    first = np.full(len(places), -1)
    first[own[::-1]] = np.arange(len(own))[::-1]
    kept = images[first]
    hashes = perceptual_hashes(kept)
    exact = np.zeros(len(places), dtype=np.int64)
    counts: dict[bytes, int] = {}
    alike: dict[bytes, NDArray[np.int64]] = {}
    waiting: dict[bytes, NDArray[np.uint8]] = {}

    def compare() -> None:
        if waiting:
            pictures = np.stack(list(waiting.values()))
            alike.update(zip(waiting, _near(pictures, kept, hashes, near), strict=True))
            waiting.clear()

    records = opened.records("members")
    for record in records.sample(None, 0, 0, len(records)):
        image = fitted(decode(record.image, f"record '{record.id}'"), shape)
        digest = pixel_digest(image)
        counts[digest] = counts.get(digest, 0) + 1
        if counts[digest] == 1:
            waiting[digest] = image
            if len(waiting) == BLOCK:
                compare()
    compare()
    nearly = np.zeros(len(places), dtype=np.int64)
    for digest, count in counts.items():
        nearly[alike[digest]] += count
        if digest in places:
            exact[places[digest]] = count
    return exact[own], nearly[own]


def _near(
    pictures: NDArray[np.uint8], kept: NDArray[np.uint8], hashes: NDArray[np.uint64], near: float
) -> list[NDArray[np.int64]]:
    """Return for each picture the indices of the kept images that it is a near copy of."""
    candidates = hamming(perceptual_hashes(pictures)[:, None], hashes[None, :]) <= BITS
    found = []
    for picture, row in zip(pictures, candidates, strict=True):
        which = np.flatnonzero(row)
        fine = [_distance(picture, kept[index]) <= near for index in which]
        found.append(which[np.array(fine, dtype=np.bool_)])
    return found


def _distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the distance of two images; whole numbers until the root, so that equal images are exactly 0 apart."""
    difference: Any = np.subtract(one, other, dtype=np.int64).reshape(-1)
    return float(np.sqrt(np.dot(difference, difference) / difference.size) / 255.0)


OBSERVER = ImageDistancesObserver()
