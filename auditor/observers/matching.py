"""Matches images against as many members as controls, so that a match by chance is as likely on either side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from auditor.core.evidence import Column
from auditor.errors import UnsupportedError
from auditor.observers.image_sets import ImageSet, sampled, whole_set
from auditor.statistics.similarity import Neighbours, normalised_distance, tiled_distance
from auditor.subjects.images import pixel_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.contract.protocol import Facts, OpenedSubject

NEIGHBOURS = 50
"""Nearest images whose mean distance normalises a distance (Carlini et al. 2023)."""
TILES = 4
"""Tiles along each side of the tiled distance (Carlini et al. 2023)."""
DISTANCE = "root mean squared difference of pixels in [0, 1]"


class Match(NamedTuple):
    """The nearest image of one side, for each query."""

    nearest: NDArray[np.int64]
    """Its position among the records."""
    distance: NDArray[np.float64]
    tiled: NDArray[np.float64]
    """The largest distance over the tiles, to the same image."""
    ratio: NDArray[np.float64]
    """The distance over half the mean distance of the nearest images of that side."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The records of one side, prepared for matching."""

    records: ImageSet
    neighbours: Neighbours
    first: NDArray[np.int64]
    """Position of the first record with the same pixels: the one that is matched, shape [records]."""

    def match(self, images: NDArray[np.uint8]) -> Match:
        """Return the nearest record of each image.

        Args:
            images: Images of the records' shape, shape [n, height, width, channels].
        """
        distances, indices = self.neighbours.nearest(images, NEIGHBOURS)
        nearest = indices[:, 0]
        return Match(
            nearest=nearest,
            distance=distances[:, 0],
            tiled=tiled_distance(images, self.records.images[nearest], TILES),
            ratio=normalised_distance(distances[:, 0], distances),
        )


def matched_records(facts: Facts, records: int | None) -> int:
    """Return how many records of each side are matched against: as many members as controls.

    Raises:
        UnsupportedError: There are no controls.
    """
    count = min(sampled(facts, "members", records), sampled(facts, "controls", records))
    if not count:
        msg = "images are matched against members and controls, and the subject has no controls"
        raise UnsupportedError(msg, hint="Name images held out at random before training as `controls`.")
    return count


def sides(opened: OpenedSubject, records: int | None, seed: int) -> dict[Literal["members", "controls"], Matched]:
    """Return both sides, prepared on first use and shared by all that match in this audit.

    Args:
        opened: The subject.
        records: Most records of each side; None: as many as the smaller side has.
        seed: Decides which; samples of one seed are nested.
    """
    shape = opened.denoiser("subject").image_shape
    count = matched_records(opened.facts, records)

    def prepared(side: Literal["members", "controls"]) -> Matched:
        held = whole_set(opened, side, shape, count, seed)
        return opened.remember(
            f"matched {side} {count} {seed}", lambda: Matched(held, Neighbours(held.images), _first(held))
        )

    return {"members": prepared("members"), "controls": prepared("controls")}


def _first(records: ImageSet) -> NDArray[np.int64]:
    places: dict[bytes, int] = {}
    digests = (pixel_digest(image) for image in records.images)
    return np.array([places.setdefault(digest, place) for place, digest in enumerate(digests)], dtype=np.int64)


def match_columns(side: Literal["member", "control"]) -> tuple[Column, ...]:
    """Return the columns that say where the nearest record of a side lies, but for its id."""
    return (
        Column(name=f"{side}_distance", type="double", unit=DISTANCE, meaning=f"To the nearest {side}."),
        Column(
            name=f"{side}_tiled",
            type="double",
            unit=DISTANCE,
            meaning=f"The largest over {TILES} x {TILES} tiles, to the same {side}.",
        ),
        Column(
            name=f"{side}_ratio",
            type="double",
            unit="ratio",
            meaning=f"Distance to the nearest {side} over half the mean distance of the {NEIGHBOURS} nearest.",
        ),
    )
