"""Restricted pictures that stand in what is to be shared: byte for byte, pixel for pixel, or as a smaller or larger copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.errors import DataError
from auditor.subjects.images import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

SIDE = 16
"""Pixels a side of the small picture by which candidates are found."""
CANDIDATE = 6.0
"""Mean difference of small pictures, of 255, up to which they are compared pixel by pixel."""
SAME = 3.0
"""Mean difference of pixels, of 255, up to which a picture is a copy: encoding and scaling stay below."""
FLAT = 4.0
"""Mean change from one pixel to the next, of 255, below which a picture shows nothing that its mask does not."""
_GAP = 4
_LEAST = 8


class Kept:
    """Restricted pictures, ready to be compared with.

    Args:
        pictures: Each encoded.
    """

    def __init__(self, pictures: Iterable[bytes]) -> None:
        """Decode each and remember it small."""
        self._images: list[tuple[int, NDArray[np.float32]]] = []
        small: list[NDArray[np.float32]] = []
        self.count = 0
        known: set[bytes] = set()
        for number, content in enumerate(pictures):
            self.count += 1
            if content in known:
                continue
            known.add(content)
            image = _decoded(content)
            if image is not None and min(image.shape) >= _LEAST and _detail(image) >= FLAT:
                self._images.append((number, image))
                small.append(_scaled(image, (SIDE, SIDE)))
        self._small = np.stack(small) if small else np.empty((0, SIDE, SIDE), dtype=np.float32)

    def found(self, content: bytes) -> Iterator[int]:
        """Yield the number of each restricted picture that a picture, or a half of it, is a copy of."""
        if not self._images:
            return
        whole = _decoded(content)
        if whole is None:
            return
        seen: set[int] = set()
        for crop in _crops(whole):
            small = _scaled(crop, (SIDE, SIDE))
            for place in np.flatnonzero(np.abs(self._small - small).mean(axis=(1, 2)) <= CANDIDATE):
                number, image = self._images[place]
                if number not in seen and _alike(crop, image):
                    seen.add(number)
                    yield number


def _decoded(content: bytes) -> NDArray[np.float32] | None:
    """Return a picture in grey, shape [height, width], 0 to 255; None where it is none."""
    try:
        return np.asarray(decode(content, "picture").astype(np.float32).mean(axis=2), dtype=np.float32)
    except DataError:
        return None


def _crops(image: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield a picture, and its halves where two may stand side by side."""
    yield image
    height, width = image.shape
    half = (width - _GAP) // 2
    if half >= _LEAST and width > height:
        yield image[:, :half]
        yield image[:, width - half :]


def _alike(crop: NDArray[np.float32], image: NDArray[np.float32]) -> bool:
    """Return whether a crop shows a picture, at the coarser scale of both, and so much of it that it is more than its mask."""
    size = min(crop.shape[0], image.shape[0]), min(crop.shape[1], image.shape[1])
    one, other = _scaled(crop, size), _scaled(image, size)
    return bool(np.abs(one - other).mean() <= SAME and _detail(one) >= FLAT / 2)


def _detail(image: NDArray[np.float32]) -> float:
    return float(np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean())


def _scaled(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a picture as the means of boxes, shape `size`."""
    from PIL import Image  # noqa: PLC0415

    if image.shape == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX), dtype=np.float32)
