"""Pictures of what came out beside what it was trained on: masked beyond recognition, or as they are where a policy asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from auditor.subjects.images import png

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pictures = Literal["none", "masked", "full"]
"""How much of a picture is shown."""
SIDE = 96
"""Longest side of each image of a picture, pixels."""
BLOCKS = 4
"""Blocks along each side of a masked image: light and dark are left of it, no face and no word."""
_GAP = 4


def beside(made: NDArray[np.uint8], original: NDArray[np.uint8], pictures: Pictures) -> bytes:
    """Return two images side by side as PNG, the made one left; empty where none are to be shown.

    Args:
        made: What the model made, shape [height, width, channels].
        original: What it is held against, same shape.
        pictures: `masked` shows each as the means of a few large blocks.
    """
    if pictures == "none":
        return b""
    sides = [_shown(masked(image) if pictures == "masked" else image) for image in (made, original)]
    gap = np.full((sides[0].shape[0], _GAP, sides[0].shape[2]), 255, dtype=np.uint8)
    return png(np.concatenate([sides[0], gap, sides[1]], axis=1))


def masked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image of at most `BLOCKS` by `BLOCKS` blocks, each of one colour and at least four pixels a side."""
    height, width, _ = image.shape
    found = image.copy()
    for rows in np.array_split(np.arange(height), max(1, min(BLOCKS, height // 4))):
        for columns in np.array_split(np.arange(width), max(1, min(BLOCKS, width // 4))):
            part = found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            part[:] = np.rint(part.mean(axis=(0, 1)))
    return found


def _shown(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image with its longest side near `SIDE`: pixels repeated if it is small, averaged if it is large."""
    from PIL import Image  # noqa: PLC0415

    height, width, channels = image.shape
    longest = max(height, width)
    if longest <= SIDE:
        return image.repeat(SIDE // longest, axis=0).repeat(SIDE // longest, axis=1)
    size = max(1, round(width * SIDE / longest)), max(1, round(height * SIDE / longest))
    small = Image.fromarray(image[:, :, 0] if channels == 1 else image).resize(size, Image.Resampling.BOX)
    return np.asarray(small).reshape(size[1], size[0], channels)
