"""Perceptual hashes: bit for bit those of imagehash, and unmoved by what leaves a picture as it looks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from auditor.statistics.perceptual_hash import hamming, perceptual_hashes

RNG = np.random.default_rng(28)
Y, X = np.mgrid[0:64, 0:48]
PICTURES = [
    RNG.integers(0, 256, (64, 48, 3)),
    RNG.integers(0, 256, (8, 8, 1)),
    ((X * X + 3 * Y * Y + X * Y) % 256)[:, :, None],
    np.stack([X * 5, Y * 4, X * Y // 12], axis=2),
    (((X - 15) ** 2 + (Y - 40) ** 2 < 200) * 200 + 20)[:, :, None],
    RNG.integers(0, 256, (31, 97, 3)),
]
# imagehash.phash of these pictures: imagehash 4.3.2, Pillow 13.0, SciPy 1.17.1
PUBLISHED = [
    0xE5A58609CB91E45F,
    0xA7D13B121F767281,
    0x872D05039B4F1F2F,
    0x887F587B1A591555,
    0xC03F37C83706393B,
    0xB138E08265CFAE1F,
]


def hash_of(picture: np.ndarray) -> np.uint64:
    return perceptual_hashes(picture[None].astype(np.uint8))[0]


def smooth(seed: int, size: int = 64, channels: int = 3) -> np.ndarray:
    """Return a picture with the spectrum of a photograph: large shapes, some detail; floats about 0."""
    rng = np.random.default_rng(seed)
    waves = np.cos(np.pi * np.outer(np.arange(12), (np.arange(size) + 0.5) / size))
    falling = 1.0 / (1.0 + np.arange(12)[:, None] + np.arange(12)[None, :])
    return np.einsum("kab,ai,bj->ijk", rng.normal(size=(channels, 12, 12)) * falling, waves, waves)


def shown(picture: np.ndarray, brightness: float = 128.0, contrast: float = 25.0) -> np.ndarray:
    return np.clip(np.rint(brightness + contrast * picture), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("picture", "published"), list(zip(PICTURES, PUBLISHED, strict=True)))
def test_the_published_implementation_gives_the_same_bits(picture: np.ndarray, published: int) -> None:
    assert hex(hash_of(picture)) == hex(published)


def test_the_transform_is_the_textbook_sum() -> None:
    """Against the cosine sums themselves, on pictures that need no scaling."""
    k, i = np.mgrid[0:8, 0:32]
    cosines = np.cos(np.pi * (2 * i + 1) * k / 64)
    for seed in range(20):
        small = np.random.default_rng(seed).integers(0, 256, (32, 32, 1), dtype=np.uint8)
        low = (cosines @ small[:, :, 0].astype(np.float64) @ cosines.T).reshape(-1)
        bits = "".join("1" if value > np.median(low) else "0" for value in low)
        assert int(hash_of(small)) == int(bits, 2)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.floats(-40, 40), st.floats(0.6, 1.3))
def test_brightness_and_contrast_change_next_to_nothing(seed: int, brighter: float, stronger: float) -> None:
    """Nothing at all but for the rounding to bytes."""
    picture = np.clip(smooth(seed), -2.2, 2.2)
    one, other = shown(picture), shown(picture, 128 + brighter, 25 * stronger)
    assert hamming(hash_of(one), hash_of(other)) <= 4


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([48, 96, 128, 200]))
def test_scaling_changes_few_bits(seed: int, size: int) -> None:
    picture = shown(smooth(seed))
    scaled = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))
    assert hamming(hash_of(picture), hash_of(scaled)) <= 4


def test_other_pictures_differ_in_half_of_the_bits() -> None:
    hashes = perceptual_hashes(np.stack([shown(smooth(seed)) for seed in range(60)]))
    apart = hamming(hashes[:, None], hashes[None, :])[np.triu_indices(60, 1)]
    assert 28 < apart.mean() < 34
    assert apart.min() > 4


def test_grey_is_grey_however_it_is_written() -> None:
    grey = shown(smooth(1, channels=1))
    assert hash_of(grey) == hash_of(np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_picture_of_one_colour_has_no_chance_bits(value: int) -> None:
    """Its coefficients are 0 but for the mean; rounding would make coins of them."""
    for shape in ((32, 32, 1), (8, 8, 3), (61, 47, 3)):
        assert hash_of(np.full(shape, value)) == (np.uint64(1) << np.uint64(63) if value else 0)


def test_one_by_one_or_together() -> None:
    many = np.stack([shown(smooth(seed, 20)) for seed in range(9)])
    assert perceptual_hashes(many).tolist() == [int(hash_of(picture)) for picture in many]
    assert perceptual_hashes(many[:0]).shape == (0,)


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_bits_that_differ_are_counted(one: int, other: int) -> None:
    found = hamming(np.array([one], dtype=np.uint64), np.array([other], dtype=np.uint64))
    assert found.tolist() == [(one ^ other).bit_count()]


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 2), (2, 8, 8, 4), (2, 0, 8, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give uint8 images"):
        perceptual_hashes(np.zeros(shape, dtype=np.uint8))
    with pytest.raises(ValueError, match="float"):
        perceptual_hashes(np.zeros((1, 8, 8, 3)))
