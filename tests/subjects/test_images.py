"""Decoding: what each kind of file becomes, and what is refused; never a crash."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import encoded, picture
from PIL import Image

from auditor.errors import DataError
from auditor.subjects import images
from auditor.subjects.images import Encoding, decode, encoding_of, fitted, pixel_digest, png

GREY, COLOUR = picture(1, (7, 5, 1)), picture(2, (7, 5, 3))


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def refused(content: bytes) -> str:
    with pytest.raises(DataError) as caught:
        decode(content, "data.jsonl:7")
    assert caught.value.message.startswith("data.jsonl:7: ")
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_lossless_files_give_their_pixels_back(kind: str, pixels: np.ndarray) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decode(encoded(pixels, kind, **options), "")
    assert found.dtype == np.uint8
    if kind == "WEBP" and pixels is GREY:
        pixels = np.repeat(GREY, 3, axis=2)  # WebP knows no grey
    np.testing.assert_array_equal(found, pixels)
    assert pixel_digest(found) == pixel_digest(pixels)


def test_jpeg_comes_near() -> None:
    flat = np.full((16, 16, 3), (200, 30, 90), dtype=np.uint8)
    assert np.abs(decode(encoded(flat, "JPEG", quality=95), "").astype(int) - flat).max() <= 4


def test_transparency_is_dropped_and_palettes_become_colours() -> None:
    alpha = np.arange(35, dtype=np.uint8).reshape(7, 5, 1)
    np.testing.assert_array_equal(decode(encoded(np.concatenate([COLOUR, alpha], axis=2)), ""), COLOUR)
    both = Image.merge("LA", [Image.fromarray(GREY[:, :, 0]), Image.fromarray(alpha[:, :, 0])])
    np.testing.assert_array_equal(decode(saved(both, "PNG"), ""), GREY)
    indexed = Image.fromarray(COLOUR).quantize(8)
    np.testing.assert_array_equal(decode(saved(indexed, "PNG"), ""), np.asarray(indexed.convert("RGB")))
    with_transparent = saved(indexed, "PNG", transparency=b"\x00\x80\xff")
    np.testing.assert_array_equal(decode(with_transparent, ""), np.asarray(indexed.convert("RGB")))
    two = Image.fromarray(GREY[:, :, 0] > 128)
    assert set(np.unique(decode(saved(two, "PNG"), ""))) == {0, 255}


def test_print_colours_become_screen_colours() -> None:
    cmyk = np.zeros((8, 8, 4), dtype=np.uint8)
    cmyk[..., 1] = 255  # magenta
    found = decode(saved(Image.fromarray(cmyk, "CMYK"), "TIFF"), "")
    assert found.shape == (8, 8, 3)
    assert found[0, 0].tolist() == [255, 0, 255]
    jpeg = decode(saved(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=95), "")
    assert np.abs(jpeg.astype(int) - found).max() <= 6


def test_of_16_bits_the_high_byte_is_kept() -> None:
    """Pillow itself would make every value above 255 white."""
    values = np.array([[0, 255, 256, 511, 32768, 65535]], dtype=np.uint16)
    expected = [[[0], [0], [1], [1], [128], [255]]]
    for kind in ("PNG", "TIFF"):
        assert decode(saved(Image.fromarray(values), kind), "").tolist() == expected
    assert decode(b"P5 6 1 65535\n" + values.astype(">u2").tobytes(), "").tolist() == expected


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_more_than_16_bits_are_refused(dtype: type) -> None:
    assert "more than 16 bits" in refused(saved(Image.fromarray(np.ones((3, 3), dtype=dtype)), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_several_pictures_are_refused(kind: str) -> None:
    frames = [Image.fromarray(picture(i)) for i in range(3)]
    assert "an image of 3 pictures" in refused(saved(frames[0], kind, save_all=True, append_images=frames[1:]))


def test_the_second_picture_of_a_camera_is_passed_over() -> None:
    frames = [Image.fromarray(picture(i, (16, 16, 3))) for i in range(2)]
    both = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(both, ""), np.asarray(Image.open(io.BytesIO(both)).convert("RGB")))
    assert encoding_of(both, "").format == "JPEG"


def test_images_are_turned_as_they_are_looked_at() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    found = decode(encoded(COLOUR, "PNG", exif=exif), "")
    np.testing.assert_array_equal(found, np.rot90(COLOUR, -1))
    np.testing.assert_array_equal(decode(encoded(COLOUR, "PNG", exif=b"Exif\x00\x00damaged"), ""), COLOUR)


def test_a_small_file_with_a_large_picture_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def header(width: int, height: int) -> bytes:
        raw = bytearray(encoded(COLOUR))
        raw[16:24] = struct.pack(">II", width, height)
        raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
        return bytes(raw)

    for width, height in ((8001, 8000), (12_000, 8000), (100_000, 100_000)):
        assert "pixels" in refused(header(width, height))
    monkeypatch.setattr(images, "MOST_PIXELS", 34)
    assert "5 x 7 pixels" in refused(encoded(COLOUR))


@pytest.mark.parametrize("kind", ["GIF", "ICO", "PCX", "TGA"])
def test_other_decoders_are_never_tried(kind: str) -> None:
    assert "read" in refused(encoded(COLOUR, kind))


SAMPLES = {
    "png": encoded(COLOUR),
    "jpeg": encoded(picture(3, (20, 20, 3)), "JPEG"),
    "webp": encoded(COLOUR, "WEBP"),
    "tiff": encoded(COLOUR, "TIFF", compression="tiff_lzw"),
    "bmp": encoded(COLOUR, "BMP"),
    "ppm": encoded(COLOUR, "PPM"),
}


@pytest.mark.parametrize("name", SAMPLES)
@settings(derandomize=True, deadline=None, max_examples=120)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=4), st.booleans())
def test_damaged_files_are_refused_or_read(name: str, place: int, harm: bytes, cut: bool) -> None:
    """Whatever a decoder does with them, the caller sees pixels or our error, and no warning."""
    raw = SAMPLES[name]
    place %= len(raw)
    content = raw[:place] if cut else raw[:place] + harm + raw[place + len(harm) :]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = decode(content, "here")
            assert found.dtype == np.uint8
            assert found.ndim == 3
            assert found.shape[2] in {1, 3}
            assert encoding_of(content, "here").channels >= 1
        except DataError as error:
            assert error.message.startswith("here: ")  # noqa: PT017


@settings(derandomize=True, deadline=None)
@given(
    st.integers(0, 99), st.integers(0, 99), st.sampled_from([(2, 6, 3), (6, 2, 3), (3, 4, 3), (12, 1, 3), (12, 3, 1)])
)
def test_digests_are_equal_for_equal_pictures_alone(one: int, other: int, shape: tuple[int, int, int]) -> None:
    first, second = picture(one, (2, 6, 3)), picture(other, (2, 6, 3)).reshape(shape)
    assert (pixel_digest(first) == pixel_digest(second)) == (one == other and shape == (2, 6, 3))
    assert len(pixel_digest(first)) == 16


def test_how_an_image_is_encoded() -> None:
    assert encoding_of(encoded(COLOUR), "") == Encoding("PNG", 3, 0.0, exif=False)
    assert encoding_of(encoded(GREY, "TIFF"), "").channels == 1
    table = [7] * 64
    photo = encoded(COLOUR, "JPEG", qtables=[table, [9] * 64], exif=Image.Exif().tobytes() + b"\x00")
    assert encoding_of(photo, "") == Encoding("JPEG", 3, 8.0, exif=True)
    better, worse = (encoding_of(encoded(COLOUR, "JPEG", quality=q), "").quantisation for q in (95, 20))
    assert better < worse
    with pytest.raises(DataError, match="here: not an image"):
        encoding_of(b"no image", "here")


def test_fitting_cuts_to_the_middle() -> None:
    wide = np.zeros((4, 12, 3), dtype=np.uint8)
    wide[:, 4:8] = 255
    assert (fitted(wide, (4, 4, 3)) == 255).all()
    assert fitted(wide, (4, 12, 3)) is wide
    assert fitted(wide, (2, 2, 1)).shape == (2, 2, 1)
    np.testing.assert_array_equal(decode(png(GREY), ""), GREY)
