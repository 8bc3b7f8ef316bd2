"""Completions: part of each image is masked and made again several times, from seeds that all images share; how far from the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.core.seeds import generator
from auditor.evidence.table import Ragged
from auditor.observers.equal_needs import EqualNeeds
from auditor.observers.image_sets import sampled, whole_set
from auditor.observers.pictures import Pictures, beside
from auditor.statistics.denoising import noised
from auditor.subjects.images import png

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.denoiser import Condition, Denoiser

Half = Literal["left", "right", "centre"]
BATCH = 128
"""Images given to the model at once."""
SHOWN = 2
"""Pictures of one shard: of the images that were completed nearest to the truth."""


class Parameters(Record):
    """Which images, what is masked, and how it is made again."""

    records: PositiveInt | None = None
    """Size of the random sample; null: all."""
    completions: PositiveInt = 8
    """Times each image is completed."""
    half: Half = "left"
    """What is masked: the left or right half, or a middle rectangle of about half of the pixels."""
    steps: PositiveInt = 50
    """Denoising steps."""
    guidance: float = Field(default=1.0, ge=1.0)
    """Guidance scale; 1: none."""
    losses: NonNegativeInt = 0
    """Noises from which the denoising loss of each completion is measured; 0: it is not."""
    level: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Timestep of the loss as a share of all timesteps."""
    pictures: Pictures = "masked"
    """Pictures of the nearest completions beside the truth: none, pixelated beyond recognition, or as they are."""


class CompletionsObserver(EqualNeeds):
    """Completes images and measures the distance to the truth on the masked pixels."""

    name = "completions"
    version = 1
    shard_items = 16
    parameters = Parameters

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        meaning = "Mean squared error of the predicted noise on each completion, latent; mean over the noises."
        losses = (Column(name="losses", type="list<double>", unit="none", meaning=meaning),)
        return (
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="copies", type="int32", unit="none", meaning="How often the record stood in training."),
            Column(
                name="distances",
                type="list<double>",
                unit="none",
                meaning="l2 of each completion to the truth on the masked pixels, pixels in [0, 1].",
            ),
            *(losses if parameters.losses else ()),
            Column(name="mean", type="double", unit="none", meaning="Mean of `distances`."),
            Column(name="nearest", type="double", unit="none", meaning="Least of `distances`."),
            Column(
                name="picture",
                type="binary",
                unit="none",
                meaning="PNG of the nearest completion beside the truth, of the nearest few of a shard; as `pictures` says.",
            ),
            Column(name="image", type="binary", unit="none", meaning="The nearest completion, PNG.", restricted=True),
        )

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of images."""
        return sampled(facts, _side(need), Parameters.from_plain(need.parameters).records)

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return the number of images that pass the network."""
        asked = Parameters.from_plain(need.parameters)
        each = asked.steps * (2 if asked.guidance > 1.0 else 1) + asked.losses
        return self.items(need, facts) * asked.completions * each

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Complete one part of the images."""
        asked = Parameters.from_plain(need.parameters)
        model = opened.denoiser(need.model or "subject")
        records = whole_set(opened, _side(need), model.image_shape, asked.records, part.seed)
        conditions = records.conditions(model.conditioning)
        mask = masked_part(asked.half, model.image_shape)
        seeds = [seed_of(part.seed, number) for number in range(asked.completions)]
        before = model.passes
        distances, losses, nearest = [], [], []
        group = max(1, BATCH // asked.completions)
        for start in range(part.start, part.stop, group):
            some = range(start, min(start + group, part.stop))
            completed = _completed(
                model, records.images[list(some)], mask, [conditions[row] for row in some], seeds, asked
            )
            for row, made in zip(some, completed, strict=True):
                difference = (made[:, mask].astype(np.float64) - records.images[row][mask]) / 255.0
                distances.append(np.sqrt(np.square(difference).reshape(len(made), -1).mean(axis=1)))
                nearest.append(made[int(distances[-1].argmin())])
                if asked.losses:
                    losses.append(_losses(model, made, conditions[row], asked, part.seed))
        rows = slice(part.start, part.stop)
        columns: dict[str, Any] = {
            "id": pa.array(records.ids[rows], type=pa.string()),
            "cluster": pa.array(records.clusters[rows], type=pa.string()),
            "copies": pa.array(records.copies[rows], type=pa.int32()),
            "distances": Ragged.of(distances, np.float64).to_arrow(),
        }
        if asked.losses:
            columns["losses"] = Ragged.of(losses, np.float64).to_arrow()
        columns["mean"] = pa.array([values.mean() for values in distances], type=pa.float64())
        columns["nearest"] = pa.array([values.min() for values in distances], type=pa.float64())
        shown = set(np.argsort([values.min() for values in distances], kind="stable")[:SHOWN].tolist())
        columns["picture"] = pa.array(
            [
                beside(image, records.images[part.start + row], asked.pictures) if row in shown else b""
                for row, image in enumerate(nearest)
            ],
            type=pa.binary(),
        )
        restricted = pa.table({"image": pa.array([png(image) for image in nearest], type=pa.binary())})
        return Shard(pa.table(columns), restricted, calls=len(distances), tokens=model.passes - before)


def _side(need: Need) -> Any:  # noqa: ANN401  (narrower than a dataset; the plan gives no other)
    return need.dataset


def seed_of(seed: int, number: int) -> int:
    """Return the seed of a completion: the same for every image and every model."""
    return int(generator(seed, "completions", str(number)).integers(2**31))


def masked_part(half: Half, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return which pixels are made again, shape [height, width]; some are always left.

    Args:
        half: The left or right half (the smaller one of an odd width), or a middle rectangle of about half of the pixels.
        shape: Height, width and channels.
    """
    height, width, _ = shape
    mask = np.zeros((height, width), dtype=np.bool_)
    if half == "centre":
        inner_height, inner_width = (max(1, min(side - 1, round(side * np.sqrt(0.5)))) for side in (height, width))
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        mask[top : top + inner_height, left : left + inner_width] = True
    elif half == "left":
        mask[:, : width // 2] = True
    else:
        mask[:, width - width // 2 :] = True
    return mask


def _completed(
    model: Denoiser,
    images: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    conditions: Sequence[Condition],
    seeds: Sequence[int],
    asked: Parameters,
) -> NDArray[np.uint8]:
    """Return the completions of some images, shape [images, completions, height, width, channels]."""
    rows = np.repeat(np.arange(len(images)), len(seeds))
    every = list(seeds) * len(images)
    parts = []
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        masks = np.tile(mask, (len(some), 1, 1))
        told = [conditions[row] for row in some]
        parts.append(
            model.inpaint(images[some], masks, told, every[start : start + BATCH], asked.steps, asked.guidance)
        )
    return np.concatenate(parts).reshape(len(images), len(seeds), *images.shape[1:])


def _losses(
    model: Denoiser, made: NDArray[np.uint8], condition: Condition, asked: Parameters, seed: int
) -> NDArray[np.float64]:
    """Return the denoising loss of each completion, the noises shared by all."""
    step = int(asked.level * len(model.alphas_cumprod))
    total = np.zeros(len(made))
    latents = model.encode(made)
    for number in range(asked.losses):
        noise = (
            generator(seed, "completions", "loss", str(number)).standard_normal(model.latent_shape).astype(np.float32)
        )
        for start in range(0, len(made), BATCH):
            some = latents[start : start + BATCH]
            shared = np.broadcast_to(noise, some.shape)
            x = noised(some, shared, model.alphas_cumprod[step])
            error = model.predict_noise(x, np.full(len(some), step), [condition] * len(some)) - shared
            total[start : start + BATCH] += np.square(error.reshape(len(some), -1), dtype=np.float64).mean(axis=1)
    return total / asked.losses


OBSERVER = CompletionsObserver()
