"""Decodes images and brings them into the shape of a model; never more than one encoded image in memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from auditor.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PIXELS = 64_000_000
"""A larger image is refused before it is decoded: a small file can hold a very large one."""


def decode(content: bytes, where: str) -> NDArray[np.uint8]:
    """Return an image as it lies in its file, turned as its EXIF says, shape [height, width, channels], channels 1 or 3.

    Args:
        content: The encoded image: PNG, JPEG, WebP, BMP, TIFF or PNM.
        where: File and line, for the error.

    Raises:
        DataError: It is no such image, is damaged, or is larger than `MOST_PIXELS`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")) as image:
            if image.width * image.height > MOST_PIXELS:
                msg = f"{where}: an image of {image.width} x {image.height} pixels"
                raise DataError(msg, hint=f"At most {MOST_PIXELS:,} pixels can be read; make it smaller.")
            turned = ImageOps.exif_transpose(image)
            grey = turned.mode in {"1", "L", "I;16", "I", "F"}
            pixels = np.asarray(turned.convert("L" if grey else "RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        msg = f"{where}: not an image that can be read ({str(error).splitlines()[0][:120]})"
        raise DataError(msg, hint="Images are PNG, JPEG, WebP, BMP, TIFF or PNM.") from error
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def fitted(image: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return an image in a shape, unchanged where it has it: cut to the middle, then scaled (Lanczos), grey or colour as asked.

    Args:
        image: Shape [height, width, channels].
        shape: Height, width and channels asked.
    """
    from PIL import Image  # noqa: PLC0415

    if image.shape == shape:
        return image
    height, width, channels = shape
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        scale = min(picture.width / width, picture.height / height)
        box_width, box_height = width * scale, height * scale
        left, top = (picture.width - box_width) / 2, (picture.height - box_height) / 2
        picture = picture.resize(
            (width, height), Image.Resampling.LANCZOS, box=(left, top, left + box_width, top + box_height)
        )
    pixels = np.asarray(picture)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def png(image: NDArray[np.uint8]) -> bytes:
    """Return an image as PNG.

    Args:
        image: Shape [height, width, channels], channels 1 or 3.
    """
    from PIL import Image  # noqa: PLC0415

    out = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(out, "PNG")
    return out.getvalue()
