"""Generations: what the model makes by itself, each image matched at once against as many members as controls.

Where the model wants a caption or a class, each is drawn from members and controls alike, so that what was asked for is no
reason to find one side more often than the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.observers.copy_embeddings import embedding_columns, near, require_size, sscd
from auditor.observers.matching import match_columns, matched_records, sides
from auditor.observers.pictures import beside
from auditor.subjects.images import fitted, png

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from auditor.observers.copy_embeddings import Embed
    from auditor.observers.matching import Match, Matched
    from auditor.subjects.denoiser import Condition, Denoiser

GUIDANCE = 7.5
"""Guidance scale of captions where the policy names none: what pipelines of text-conditional models use by themselves."""
SHOWN = 6
"""Pictures of one shard: of its nearest matches, each of another member."""


class Parameters(Record):
    """How many images are made, how, and what they are matched against."""

    count: PositiveInt = 1024
    """Images made."""
    steps: PositiveInt = 50
    """Denoising steps."""
    guidance: float | None = Field(default=None, ge=1.0)
    """Guidance scale, 1: none; null: 7.5 for a model of captions that can be guided and is asked for captions, else 1."""
    conditions: Literal["pooled", "none"] = "pooled"
    """What a model of captions or classes is asked for: those of members and controls alike, or, if it can be guided, nothing."""
    records: PositiveInt | None = None
    """Most records of each side that are matched against; null: as many as the smaller side has."""
    pictures: Literal["none", "masked", "full"] = "masked"
    """Pictures of what came out beside the training image: none, pixelated beyond recognition, or as they are."""
    embedding: Literal["none", "sscd"] = "none"
    """Whether the nearest record is looked for by SSCD embedding too; images of 64 pixels a side or more, and the extra `sscd`."""


class GenerationsObserver:
    """Makes images and finds the nearest member and control of each."""

    name = "generations"
    version = 1
    shard_items = 64
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return one need for each way of making images: the most images of any, with embeddings if any asks for them."""
        joined: dict[str, Need] = {}
        for need in needs:
            asked = Parameters.from_plain(need.parameters)
            key = need.model_copy(update={"parameters": _made_alike(asked)}).identity()
            held = Parameters.from_plain(joined[key].parameters) if key in joined else asked
            update = {**_made_alike(asked), "count": max(asked.count, held.count)}
            if "sscd" in {asked.embedding, held.embedding}:
                update["embedding"] = "sscd"
            joined[key] = need.model_copy(update={"parameters": update})
        return list(joined.values())

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether it holds as many images made alike."""
        if (joined.observer, joined.dataset, joined.model) != (need.observer, need.dataset, need.model):
            return False
        held, asked = Parameters.from_plain(joined.parameters), Parameters.from_plain(need.parameters)
        embedded = held.embedding in {asked.embedding, "sscd"}
        return embedded and held.count >= asked.count and _made_alike(held) == _made_alike(asked)

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        return (
            Column(name="seed", type="int64", unit="none", meaning="Seed of the image."),
            Column(
                name="asked",
                type="string",
                unit="none",
                meaning='Id of the record whose caption or class was asked for; "" where neither was.',
            ),
            Column(name="member_id", type="string", unit="none", meaning="Id of the nearest member."),
            Column(name="member_cluster", type="string", unit="none", meaning="Person, document or record of it."),
            Column(name="member_copies", type="int32", unit="records", meaning="How often it stood in training."),
            *match_columns("member"),
            Column(name="control_id", type="string", unit="none", meaning="Id of the nearest control."),
            Column(name="control_cluster", type="string", unit="none", meaning="Person, document or record of it."),
            Column(name="control_copies", type="int32", unit="records", meaning="Its copies, as declared."),
            *match_columns("control"),
            *(() if parameters.embedding == "none" else embedding_columns("member") + embedding_columns("control")),
            Column(
                name="picture",
                type="binary",
                unit="none",
                meaning="PNG of the image beside the nearest member, of the nearest few of a shard; as `pictures` says.",
            ),
            Column(name="image", type="binary", unit="none", meaning="The image, PNG.", restricted=True),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of images; there must be something to match them against."""
        asked = Parameters.from_plain(need.parameters)
        return asked.count if matched_records(facts, asked.records) else 0

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return the number of images that pass the network; guidance passes each twice."""
        asked = Parameters.from_plain(need.parameters)
        can = facts.subject.model.capabilities
        text = asked.conditions == "pooled" and "conditions-on-text" in can and "guides" in can
        guidance = asked.guidance if asked.guidance is not None else (GUIDANCE if text else 1.0)
        return asked.count * asked.steps * (2 if guidance > 1.0 else 1)

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Make and match one part of the images."""
        return self.observe_by(need, opened, part, sscd)

    def observe_by(self, need: Need, opened: OpenedSubject, part: Part, embed: Embed) -> Shard:
        """Make and match one part of the images, by this embedding where one is asked for."""
        asked = Parameters.from_plain(need.parameters)
        if asked.embedding == "sscd":
            require_size(opened.denoiser("subject").image_shape)
        model = opened.denoiser(need.model or "subject")
        both = sides(opened, asked.records, part.seed)
        members, controls = both["members"], both["controls"]
        seeds, ids, conditions = _asked(model, members, controls, asked, part)
        before = model.passes
        images = _in_shape(model.generate(conditions, seeds, asked.steps, _guidance(model, asked)), members)
        to_members, to_controls = members.match(images), controls.match(images)
        shown = _pictures(images, members, to_members, to_controls, asked)
        public = pa.table(
            {
                "seed": pa.array(seeds, type=pa.int64()),
                "asked": pa.array(ids, type=pa.string()),
                **_columns("member", members, to_members),
                **_columns("control", controls, to_controls),
                **({} if asked.embedding == "none" else _embedded(opened, images, both, embed)),
                "picture": pa.array(shown, type=pa.binary()),
            }
        )
        restricted = pa.table({"image": pa.array([png(image) for image in images], type=pa.binary())})
        return Shard(public, restricted, calls=len(images), tokens=model.passes - before)


def _made_alike(asked: Parameters) -> dict[str, Any]:
    """Return what decides how images are made and matched by pixels: the same with and without embeddings, in any number."""
    return {name: value for name, value in asked.plain().items() if name != "embedding"} | {"count": 1}


def _embedded(
    opened: OpenedSubject,
    images: NDArray[np.uint8],
    both: Mapping[Literal["members", "controls"], Matched],
    embed: Embed,
) -> dict[str, pa.Array]:
    """Return the nearest record of either side by embedding: it may be another than by pixels."""
    queries = embed(images)
    found = {}
    for name, side in (("member", both["members"]), ("control", both["controls"])):
        closest = near(opened, queries, side, name, embed)
        found[f"{name}_sscd"] = pa.array(closest.distance, type=pa.float64())
        found[f"{name}_sscd_id"] = pa.array(side.records.ids[closest.nearest], type=pa.string())
    return found


def _guidance(model: Denoiser, asked: Parameters) -> float:
    if asked.guidance is not None:
        return asked.guidance
    return GUIDANCE if model.conditioning == "text" and model.guided and asked.conditions == "pooled" else 1.0


def _in_shape(images: NDArray[np.uint8], members: Matched) -> NDArray[np.uint8]:
    """Return images in the shape they are matched in, which is the audited model's: a reference may have another."""
    shape = members.records.images.shape[1:]
    return images if images.shape[1:] == shape else np.stack([fitted(image, shape) for image in images])


def _asked(
    model: Denoiser, members: Matched, controls: Matched, asked: Parameters, part: Part
) -> tuple[list[int], list[str], list[Condition]]:
    """Return the seed of each image, and the record whose condition is asked for with that condition."""
    seeds, ids = [], []
    conditions: list[Condition] = []
    nothing = model.conditioning == "none" or (asked.conditions == "none" and model.guided)
    kind = "none" if nothing else model.conditioning
    pooled = members.records.conditions(kind) + controls.records.conditions(kind)
    names = [*members.records.ids, *controls.records.ids]
    for number in range(part.start, part.stop):
        rng = generator(part.seed, "generations", str(number))
        seeds.append(int(rng.integers(2**31)))
        chosen = int(rng.integers(len(pooled)))
        conditions.append(pooled[chosen])
        ids.append("" if nothing else str(names[chosen]))
    return seeds, ids, conditions


def _columns(side: str, against: Matched, found: Match) -> dict[str, pa.Array]:
    records = against.records
    return {
        f"{side}_id": pa.array(records.ids[found.nearest], type=pa.string()),
        f"{side}_cluster": pa.array(records.clusters[found.nearest], type=pa.string()),
        f"{side}_copies": pa.array(records.copies[found.nearest], type=pa.int32()),
        f"{side}_distance": pa.array(found.distance, type=pa.float64()),
        f"{side}_tiled": pa.array(found.tiled, type=pa.float64()),
        f"{side}_ratio": pa.array(found.ratio, type=pa.float64()),
    }


def _pictures(
    images: NDArray[np.uint8], members: Matched, to_members: Match, to_controls: Match, asked: Parameters
) -> list[bytes]:
    """Return a picture for the nearest matches, each of another member; empty for all others."""
    found = [b""] * len(images)
    shown: set[int] = set()
    for row in np.argsort(to_members.distance, kind="stable"):
        index = int(to_members.nearest[row])
        if len(shown) == SHOWN:
            break
        if index in shown or to_members.distance[row] >= to_controls.distance[row]:
            continue
        shown.add(index)
        found[row] = beside(images[row], members.records.images[index], asked.pictures)
    return found


OBSERVER = GenerationsObserver()
