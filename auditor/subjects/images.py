"""Decodes images and brings them into the shape of a model; never more than one encoded image in memory."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")
"""What is decoded, as Pillow names it; its other decoders are never tried."""
MOST_PIXELS = 64_000_000
"""A larger image is refused before it is decoded: a small file can hold a very large one."""


def decode(content: bytes, where: str) -> NDArray[np.uint8]:
    """Return an image as it lies in its file, turned as its EXIF says, shape [height, width, channels], channels 1 or 3.

    What is not 8 bits of grey or red, green and blue is brought there as training code does: transparency is dropped,
    palettes and CMYK become RGB, and of 16-bit channels the high byte is kept.

    Args:
        content: The encoded image: PNG, JPEG, WebP, BMP, TIFF or PNM.
        where: File and line, for the error.

    Raises:
        DataError: It is no such image, is damaged, holds several pictures, has channels of more than 16 bits, or is
            larger than `MOST_PIXELS`.
    """
    from PIL import Image, ImageFile  # noqa: PLC0415

    if not content:
        msg = f"{where}: the image is empty"
        raise DataError(msg, hint="Leave records without an image out.")
    # Other libraries (WeasyPrint is one) make Pillow fill what is missing of a damaged image with grey, for the whole process.
    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow only warns of is refused below or does not touch the pixels
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return _pixels(image, where)
    except DataError:
        raise
    except Exception as error:  # damaged files make decoders fail in any way
        raise _unreadable(error, where) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _pixels(image: Image.Image, where: str) -> NDArray[np.uint8]:
    if image.width * image.height > MOST_PIXELS:
        msg = f"{where}: an image of {image.width} x {image.height} pixels"
        raise DataError(msg, hint=f"At most {MOST_PIXELS:,} pixels can be read; make it smaller.")
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1 and image.format != "MPO":  # a camera's JPEG with a second, smaller picture behind the first
        msg = f"{where}: an image of {pictures} pictures"
        raise DataError(msg, hint="A record is one picture; save each as a file of its own.")
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        msg = f"{where}: an image whose channels have more than 16 bits"
        raise DataError(msg, hint="Save it with 8 or 16 bits per channel; how brighter values are cut is yours to say.")
    image.load()
    turned = _turned(image)
    if turned.mode.startswith("I"):
        high = np.asarray(turned).astype(np.int64) >> 8
        return np.asarray(np.clip(high, 0, 255)[:, :, None], dtype=np.uint8)
    pixels = np.asarray(turned.convert("L" if turned.mode in {"1", "L", "LA"} else "RGB"))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _turned(image: Image.Image) -> Image.Image:
    """Return the image as it is to be looked at; damaged EXIF turns nothing."""
    from PIL import ImageOps  # noqa: PLC0415

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001  (EXIF is no part of the picture)
        return image


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an image is encoded.

    Args:
        format: As `FORMATS` names it.
        channels: Of the file, an alpha channel and a palette (1) among them.
        quantisation: Mean of the JPEG quantisation tables, larger for stronger compression; 0 where there are none.
        exif: It carries EXIF.
    """

    format: str
    channels: int
    quantisation: float
    exif: bool


def encoding_of(content: bytes, where: str) -> Encoding:
    """Return how an image is encoded, from its head alone.

    Args:
        content: The encoded image.
        where: File and line, for the error.

    Raises:
        DataError: It is no image of a known kind.
    """
    from PIL import Image  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                tables = getattr(image, "quantization", None) or {}
                steps = [step for table in tables.values() for step in table]
                kind = "JPEG" if image.format == "MPO" else str(image.format)
                mean = sum(steps) / len(steps) if steps else 0.0
                return Encoding(kind, len(image.getbands()), mean, "exif" in image.info)
    except Exception as error:
        raise _unreadable(error, where) from error


def _unreadable(error: Exception, where: str) -> DataError:
    from PIL import UnidentifiedImageError  # noqa: PLC0415

    said = "of no known kind" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
    msg = f"{where}: not an image that can be read ({said.splitlines()[0][:120]})"
    return DataError(msg, hint="Images are PNG, JPEG, WebP, BMP, TIFF or PNM.")


def pixel_digest(image: NDArray[np.uint8]) -> bytes:
    """Return 16 bytes that are equal for equal pictures, whatever the file: of the shape and the pixels.

    Grey that is written as red, green and blue counts as grey.

    Args:
        image: Shape [height, width, channels].
    """
    if image.shape[2] == 3 and (image == image[:, :, :1]).all():
        image = image[:, :, :1]
    head = np.array(image.shape, dtype="<i8").tobytes()
    return hashlib.blake2b(head + np.ascontiguousarray(image).tobytes(), digest_size=16).digest()


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
