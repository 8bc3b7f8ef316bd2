"""Prompted generations: many images for each of some captions, and how near they lie to each other and to the caption's own image.

A row is one image, so that a run that is stopped goes on inside a caption. Image j of every caption starts from the same seed, for
members and controls alike; where a caption stands with several records of the sample, each takes seeds of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.evidence.table import Ragged
from auditor.observers.equal_needs import EqualNeeds
from auditor.observers.image_sets import image_set, sampled, whole_set
from auditor.observers.pictures import Pictures, beside
from auditor.statistics.similarity import tiled_distance
from auditor.subjects.images import decode, png

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.observers.image_sets import ImageSet

AT_ONCE = 4_000_000
"""Pixel values of images that are compared at once."""


class Parameters(Record):
    """Which captions, how many images of each, and how they are made."""

    captions: PositiveInt = 64
    """Records whose captions are used."""
    generations: PositiveInt = 16
    """Images of each."""
    steps: PositiveInt = 50
    """Denoising steps."""
    guidance: float = Field(default=7.5, ge=1.0)
    """Guidance scale; 1: none."""
    most_duplicated: bool = False
    """The captions that stood in training most often, one record of each, instead of a random sample of records."""
    tiles: PositiveInt = 4
    """Tiles along each side for the distances."""
    pictures: Pictures = "masked"
    """Pictures of the nearest image beside the caption's own: none, pixelated beyond recognition, or as they are."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The records whose captions are used, with what is known of the captions; arrays of shape [captions]."""

    records: ImageSet
    caption_copies: NDArray[np.int64]
    """How often the caption stood in training: copies of all records of the data set that have it; of the sample where it is random."""
    same: NDArray[np.int64]
    """Records of the sample with this caption."""
    turn: NDArray[np.int64]
    """How many records of the sample with this caption come before: it decides the seeds."""


class PromptedGenerationsObserver(EqualNeeds):
    """Makes images from captions and measures their distances."""

    name = "prompted-generations"
    version = 1
    shard_items = 16
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:  # noqa: ARG002  (the protocol's argument)
        """Return the columns it writes."""
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="copies", type="int32", unit="none", meaning="How often the record stood in training."),
            Column(
                name="caption_copies",
                type="int32",
                unit="none",
                meaning="Copies of all records with this caption: of the data set if ranked, else of the sample.",
            ),
            Column(
                name="same_caption", type="int32", unit="records", meaning="Records of the sample with this caption."
            ),
            Column(name="number", type="int32", unit="none", meaning="Which image of the caption, from 0."),
            Column(name="own_distance", type="double", unit="none", meaning="Tiled l2 to the record's own image."),
            Column(
                name="own_l2", type="double", unit="none", meaning="l2 to the record's own image, pixels in [0, 1]."
            ),
            Column(
                name="distances",
                type="list<float>",
                unit="none",
                meaning="Tiled l2 to each earlier image of this record's caption, from number 0.",
            ),
            Column(
                name="picture",
                type="binary",
                unit="none",
                meaning="PNG of the image beside the caption's own, of the nearest of each caption in a shard; as `pictures` says.",
            ),
            Column(name="image", type="binary", unit="none", meaning="The image, PNG.", restricted=True),
            Column(name="caption", type="string", unit="none", meaning="The caption.", restricted=True),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of images; of ranked captions as many as there are records, of which some may repeat none."""
        asked = Parameters.from_plain(need.parameters)
        return sampled(facts, _side(need), asked.captions) * asked.generations

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return the number of images that pass the network; guidance passes each twice."""
        asked = Parameters.from_plain(need.parameters)
        return self.items(need, facts) * asked.steps * (2 if asked.guidance > 1.0 else 1)

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Make one part of the images."""
        asked = Parameters.from_plain(need.parameters)
        model = opened.denoiser(need.model or "subject")
        if model.conditioning != "text":
            msg = "the model is not conditioned on captions"
            raise UnsupportedError(msg, hint="Images without captions are matched by diffusion/extraction.")
        key = f"{need.dataset} {need.model} {asked.plain()} {part.seed}"
        chosen = opened.remember(f"chosen {key}", lambda: _chosen(need, asked, opened, model.image_shape, part.seed))
        records = chosen.records
        captions = [str(caption) for caption in records.conditions("text")]
        items = np.arange(part.start, part.stop)
        rows, numbers = items // asked.generations, items % asked.generations
        before = model.passes
        made = model.generate(
            [captions[row] for row in rows],
            [
                seed_of(part.seed, int(chosen.turn[row]) * asked.generations + int(j))
                for row, j in zip(rows, numbers, strict=True)
            ],
            asked.steps,
            asked.guidance,
        )
        own = records.images[rows]
        difference = (made.astype(np.float64) - own) / 255.0
        held: dict[str, Any] = opened.remember(f"made {key}", dict)
        every = np.concatenate([_known(held, part, asked, model.image_shape), made])
        distances = earlier_distances(every, numbers, asked.tiles)
        held["next"], held["images"] = part.stop, every[len(every) - part.stop % asked.generations :]
        to_own = tiled_distance(made, own, asked.tiles)
        shown = {int(np.flatnonzero(rows == row)[to_own[rows == row].argmin()]) for row in np.unique(rows)}
        pictures = [beside(made[row], own[row], asked.pictures) if row in shown else b"" for row in range(len(made))]
        public = pa.table(
            {
                "id": pa.array(records.ids[rows], type=pa.string()),
                "cluster": pa.array(records.clusters[rows], type=pa.string()),
                "copies": pa.array(records.copies[rows], type=pa.int32()),
                "caption_copies": pa.array(chosen.caption_copies[rows], type=pa.int32()),
                "same_caption": pa.array(chosen.same[rows], type=pa.int32()),
                "number": pa.array(numbers, type=pa.int32()),
                "own_distance": pa.array(to_own, type=pa.float64()),
                "own_l2": pa.array(np.sqrt(np.square(difference).mean(axis=(1, 2, 3))), type=pa.float64()),
                "distances": Ragged.of(distances, np.float32).to_arrow(),
                "picture": pa.array(pictures, type=pa.binary()),
            }
        )
        restricted = pa.table(
            {
                "image": pa.array([png(image) for image in made], type=pa.binary()),
                "caption": pa.array([captions[row] for row in rows], type=pa.string()),
            }
        )
        return Shard(public, restricted, calls=len(made), tokens=model.passes - before)


def _known(held: dict[str, Any], part: Part, asked: Parameters, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the images of the caption that the part begins in, made by earlier shards; kept from shard to shard.

    A run that goes on after it was stopped reads them back from the earlier shards, once.
    """
    inside = part.start % asked.generations
    if held.get("next") == part.start:
        kept: NDArray[np.uint8] = held["images"]
        return kept
    column = part.earlier("image") if inside else []
    images = [decode(content.as_py(), "an earlier shard") for content in column[len(column) - inside :]]
    return np.stack(images) if images else np.empty((0, *shape), dtype=np.uint8)


def earlier_distances(every: NDArray[np.uint8], numbers: NDArray[np.int64], tiles: int) -> list[NDArray[np.float32]]:
    """Return the tiled distances of each of the last images to each earlier one of its caption, from number 0.

    Args:
        every: Images in order, shape [known + n, height, width, channels]: those of a caption that was begun, then n more.
        numbers: Number of each of the last n images within its caption, shape [n].
        tiles: Tiles along each side.
    """
    known = len(every) - len(numbers)
    later = np.repeat(np.arange(known, len(every)), numbers)
    counts = np.concatenate([np.arange(number) for number in numbers]) if len(numbers) else later
    earlier = later - np.repeat(numbers, numbers) + counts
    found = np.empty(len(later), dtype=np.float32)
    step = max(1, AT_ONCE // int(np.prod(every.shape[1:])))
    for start in range(0, len(later), step):
        some = slice(start, start + step)
        found[some] = tiled_distance(every[earlier[some]], every[later[some]], tiles)
    return np.split(found, np.cumsum(numbers)[:-1])


def _side(need: Need) -> Any:  # noqa: ANN401  (narrower than a dataset; the plan gives no other)
    return need.dataset


def seed_of(seed: int, number: int) -> int:
    """Return the seed of an image: the same for members, controls and reference models."""
    return int(generator(seed, "prompted-generations", str(number)).integers(2**31))


def _chosen(need: Need, asked: Parameters, opened: OpenedSubject, shape: tuple[int, int, int], seed: int) -> Chosen:
    side = _side(need)
    if asked.most_duplicated:
        return _most_duplicated(side, asked.captions, opened, shape, seed)
    records = whole_set(opened, side, shape, asked.captions, seed)
    copies: dict[str, int] = {}
    turns: dict[str, int] = {}
    turn = []
    for caption, count in zip(records.captions, records.copies, strict=True):
        copies[caption] = copies.get(caption, 0) + int(count)
        turn.append(turns.get(caption, 0))
        turns[caption] = turn[-1] + 1
    return Chosen(
        records,
        np.array([copies[caption] for caption in records.captions], dtype=np.int64),
        np.array([turns[caption] for caption in records.captions], dtype=np.int64),
        np.array(turn, dtype=np.int64),
    )


def _most_duplicated(side: Any, count: int, opened: OpenedSubject, shape: tuple[int, int, int], seed: int) -> Chosen:  # noqa: ANN401
    """Return one record of each of the captions that stood in training most often; ties as the sample orders them.

    Where there are fewer captions than records asked for, further records of the same captions follow.
    """
    source = opened.records(side)
    copies: dict[str, int] = {}
    rows: list[tuple[str, int]] = []
    for record in source.sample(None, seed, 0, len(source)):
        copies[record.text] = copies.get(record.text, 0) + record.copies
        rows.append((record.text, record.copies))
    order = generator(seed, "prompted-generations", "ties").permutation(len(rows))
    turns: dict[str, int] = {}
    turn = np.zeros(len(rows), dtype=np.int64)
    for row in sorted(order.tolist(), key=lambda row: -rows[row][1]):
        turn[row] = turns.get(rows[row][0], 0)
        turns[rows[row][0]] = int(turn[row]) + 1
    ranked = sorted(order.tolist(), key=lambda row: (turn[row], -copies[rows[row][0]]))[:count]
    wanted = set(ranked)
    taken = (record for row, record in enumerate(source.sample(None, seed, 0, len(source))) if row in wanted)
    records = image_set(taken, shape)
    kept = np.array(sorted(ranked))
    captions = [rows[row][0] for row in kept]
    same = {caption: captions.count(caption) for caption in set(captions)}
    return Chosen(
        records,
        np.array([copies[caption] for caption in captions], dtype=np.int64),
        np.array([same[caption] for caption in captions], dtype=np.int64),
        turn[kept],
    )


OBSERVER = PromptedGenerationsObserver()
