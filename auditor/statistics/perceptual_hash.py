"""Perceptual hashes: pictures that look alike have hashes that differ in few bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 32
"""Pixels along each side of the small grey picture."""
LOW = 8
"""Frequencies along each side that are kept: LOW * LOW bits."""
_ROUNDING = 1e-6
"""A coefficient of whole numbers that is nearer to 0 than this is 0; its sign would be chance."""


def perceptual_hashes(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The result is one 64-bit hash per image: which of its 64 lowest frequencies lie above their median.

    The image is made grey and 32 x 32 (Lanczos), a discrete cosine transform (type II) is taken along both sides, and of the 8 x 8 lowest
    frequencies, the mean brightness among them, each above their median is a 1, row by row, the first bit the highest. Brightness and
    contrast change none of them, scaling few.

    Args:
        images: Shape [n, height, width, channels], channels 1 or 3.

    Returns:
        Hashes, shape [n].

    Raises:
        ValueError: The images have another shape or type.

    Source:
        Krawetz (2011), Looks Like It, hackerfactor.com; bit for bit the `phash` of imagehash 4.3, but for coefficients that are 0.
    """
    from PIL import Image  # noqa: PLC0415
    from scipy.fft import dctn  # noqa: PLC0415

    if images.ndim != 4 or images.shape[3] not in {1, 3} or images.dtype != np.uint8 or 0 in images.shape[1:]:
        msg = f"give uint8 images, [n, height, width, 1 or 3], got {images.dtype} {images.shape}"
        raise ValueError(msg)
    weights = (np.uint64(1) << np.arange(LOW * LOW, dtype=np.uint64))[::-1]
    hashes = np.zeros(len(images), dtype=np.uint64)
    for number, image in enumerate(images):
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("L")
        small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
        low = dctn(small, type=2)[:LOW, :LOW].reshape(-1)
        low[np.abs(low) < _ROUNDING] = 0.0
        hashes[number] = weights[low > np.median(low)].sum(dtype=np.uint64)
    return hashes


def hamming(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The result is the number of bits in which hashes differ, of the shape that the two arrays broadcast to."""
    return np.asarray(np.bitwise_count(one ^ other), dtype=np.uint8)
