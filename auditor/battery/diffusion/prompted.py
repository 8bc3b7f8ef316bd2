"""The images made from each caption: how near they lie to the caption's own image and to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.errors import IntegrityError
from auditor.evidence.table import Ragged
from auditor.statistics.similarity import largest_clique

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.evidence.table import ObservedTable


STEPS = 5_000
"""Branches of one clique search: enough for a few hundred images, and a search that fails costs seconds, not hours."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """The captions of one side; every array has shape [captions] unless said otherwise."""

    ids: NDArray[np.object_]
    clusters: NDArray[np.object_]
    copies: NDArray[np.int64]
    caption_copies: NDArray[np.int64]
    same: NDArray[np.int64]
    own: NDArray[np.float64]
    """Distance of each image to the caption's own, shape [captions, generations]."""
    pairs: NDArray[np.float64]
    """Distance of each image to each earlier one of its caption, row by row of the lower triangle, shape [captions, pairs]."""

    @property
    def nearest(self) -> NDArray[np.float64]:
        """Distance of the nearest image to the caption's own."""
        return np.asarray(self.own.min(axis=1))

    def only(self, chosen: NDArray[np.bool_]) -> Prompted:
        """Return a selection of the captions."""
        return Prompted(
            self.ids[chosen],
            self.clusters[chosen],
            self.copies[chosen],
            self.caption_copies[chosen],
            self.same[chosen],
            self.own[chosen],
            self.pairs[chosen],
        )


def read_prompted(table: ObservedTable, generations: int) -> Prompted:
    """Return an observation caption by caption.

    Args:
        table: An observation of `prompted-generations`.
        generations: Images of each caption.

    Raises:
        IntegrityError: The rows are not whole captions, in order.
    """
    names = ("id", "cluster", "copies", "caption_copies", "same_caption", "number", "own_distance", "distances")
    parts: dict[str, list[NDArray[np.generic]]] = {name: [] for name in names}
    for shard in table.shards(*names):
        for name, column in shard.items():
            parts[name].append(column.values if isinstance(column, Ragged) else column)
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    numbers = columns["number"].astype(np.int64)
    captions = len(numbers) // generations
    pairs = generations * (generations - 1) // 2
    whole = captions and np.array_equal(numbers, np.tile(np.arange(generations), captions))
    if not whole or len(columns["distances"]) != captions * pairs:
        msg = f"{len(numbers)} rows of prompted generations are not whole captions of {generations} images"
        raise IntegrityError(msg, hint="The bundle is damaged, or its parameters are not those of its evidence.")
    first = slice(0, None, generations)
    return Prompted(
        ids=columns["id"][first],
        clusters=columns["cluster"][first],
        copies=columns["copies"][first].astype(np.int64),
        caption_copies=columns["caption_copies"][first].astype(np.int64),
        same=columns["same_caption"][first].astype(np.int64),
        own=columns["own_distance"].astype(np.float64).reshape(captions, generations),
        pairs=columns["distances"].astype(np.float64).reshape(captions, pairs),
    )


def clique_radii(side: Prompted, least: int) -> NDArray[np.float64]:
    """Return the smallest distance within which `least` images of a caption all lie from each other, shape [captions].

    The unit is the caption: a threshold on single pairs would be set by the few pairs of controls' images that agree by chance, or
    because the model brings the same training image back whatever it is asked. A search that ends before it found a
    clique counts as none, so a radius is never too small.

    Args:
        side: The captions.
        least: Images in the clique, 2 to the number of images of a caption.
    """
    generations = side.own.shape[1]
    rows, columns = np.tril_indices(generations, -1)
    found = np.empty(len(side.ids))
    for caption, distances in enumerate(side.pairs):
        ordered = np.unique(distances)
        # A clique of `least` has at least so many pairs, and all pairs together are one.
        low = int(
            np.searchsorted(
                ordered, np.partition(distances, least * (least - 1) // 2 - 1)[least * (least - 1) // 2 - 1]
            )
        )
        high = len(ordered) - 1
        while low < high:
            middle = (low + high) // 2
            adjacency = np.zeros((generations, generations), dtype=np.bool_)
            adjacency[rows, columns] = distances <= ordered[middle]
            if len(largest_clique(adjacency | adjacency.T, least, STEPS).vertices) >= least:
                high = middle
            else:
                low = middle + 1
        found[caption] = ordered[low]
    return found
