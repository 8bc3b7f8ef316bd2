"""The images of a subject as arrays in the shape of its model; read once and shared by all shards of an observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from auditor.errors import UnsupportedError
from auditor.subjects.images import decode, fitted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from auditor.contract.protocol import Facts, OpenedSubject
    from auditor.subjects.data import DataRecord
    from auditor.subjects.denoiser import Condition, Conditioning


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images with what is known of them, row by row.

    Args:
        records: The records, without their encoded images.
        images: uint8, shape [n, height, width, channels].
    """

    ids: NDArray[np.object_]
    clusters: NDArray[np.object_]
    sources: NDArray[np.object_]
    captions: NDArray[np.object_]
    labels: NDArray[np.int64]
    """-1 where nothing is said."""
    copies: NDArray[np.int64]
    images: NDArray[np.uint8]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)

    def conditions(self, conditioning: Conditioning) -> list[Condition]:
        """Return what a model of that conditioning was trained to make each image from.

        Raises:
            UnsupportedError: A record lacks the caption or label.
        """
        if conditioning == "none":
            return [None] * len(self)
        if conditioning == "text":
            if not all(self.captions):
                msg = "the model is conditioned on captions, and a record has none"
                raise UnsupportedError(msg, hint="Name the column as `caption` in the subject file.")
            return [str(caption) for caption in self.captions]
        if (self.labels < 0).any():
            msg = "the model is conditioned on classes, and a record has no label"
            raise UnsupportedError(msg, hint="Name the column as `label` in the subject file.")
        return [int(label) for label in self.labels]


def image_set(records: Iterable[DataRecord], shape: tuple[int, int, int]) -> ImageSet:
    """Return records as arrays, decoded one by one.

    Args:
        records: The records.
        shape: Height, width and channels the images are brought into.

    Raises:
        DataError: An image cannot be decoded.
    """
    ids: list[str] = []
    rows: list[tuple[str, str, str, int, int]] = []
    images: list[NDArray[np.uint8]] = []
    for record in records:
        ids.append(record.id)
        label = -1 if record.label is None else record.label
        rows.append((record.cluster, record.source, record.text, label, record.copies))
        images.append(fitted(decode(record.image, f"record '{record.id}'"), shape))
    columns = list(zip(*rows, strict=True)) or [(), (), (), (), ()]
    return ImageSet(
        ids=np.array(ids, dtype=object),
        clusters=np.array(columns[0], dtype=object),
        sources=np.array(columns[1], dtype=object),
        captions=np.array(columns[2], dtype=object),
        labels=np.array(columns[3], dtype=np.int64),
        copies=np.array(columns[4], dtype=np.int64),
        images=np.stack(images) if images else np.empty((0, *shape), dtype=np.uint8),
    )


def whole_set(
    opened: OpenedSubject,
    dataset: Literal["members", "controls"],
    shape: tuple[int, int, int],
    count: int | None,
    seed: int,
) -> ImageSet:
    """Return a whole sample, decoded on first use and kept while the subject is open.

    Args:
        opened: The subject.
        dataset: Members or controls.
        shape: Height, width and channels the images are brought into.
        count: Size of the sample; None: all.
        seed: Decides which records are in it; samples of one seed are nested.
    """
    records = opened.records(dataset)
    return opened.remember(
        f"{dataset} {shape} {count} {seed}",
        lambda: image_set(records.sample(count, seed, 0, len(records)), shape),
    )


def sampled(facts: Facts, dataset: Literal["members", "controls"], count: int | None) -> int:
    """Return the number of records in a sample of the members or the controls."""
    identity = facts.subject.members if dataset == "members" else facts.subject.controls
    total = identity.records if identity is not None else 0
    return total if count is None else min(count, total)
