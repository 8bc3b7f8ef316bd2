"""Prompted generations: which captions, which seeds, distances by brute force, and a run that goes on inside a caption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import SEED, check_columns, rows, shards
from prompting import SHAPE, Spoken, noise_image, record, subject

from auditor.contract.protocol import Observer, Part
from auditor.core.evidence import Need
from auditor.errors import UnsupportedError
from auditor.observers.prompted_generations import OBSERVER, earlier_distances
from auditor.subjects.images import decode


def need(**parameters: Any) -> Need:
    return Need(observer="prompted-generations", dataset="members", parameters={"steps": 3, **parameters})


def records(count: int = 7, captions: Any = None) -> list[Any]:
    return [
        record(f"r{i}", captions[i] if captions else f"word {'more ' * i}end", noise_image(i), copies=1 + i % 3)
        for i in range(count)
    ]


def tiled(a: np.ndarray, b: np.ndarray, tiles: int) -> float:
    """Return the largest root mean square over the tiles, written out."""
    largest = 0.0
    for some in np.array_split(np.arange(a.shape[0]), tiles):
        for other in np.array_split(np.arange(a.shape[1]), tiles):
            part = (a[np.ix_(some, other)] / 255.0 - b[np.ix_(some, other)] / 255.0).ravel()
            if len(part):
                largest = max(largest, float(np.sqrt(np.mean(part**2))))
    return largest


def images(found: list[dict]) -> list[np.ndarray]:
    return [decode(row["image"], "test") for row in found]


def test_it_meets_the_protocol_and_writes_what_it_declares():
    assert isinstance(OBSERVER, Observer)
    check_columns(OBSERVER, need(captions=3, generations=5), subject(Spoken(), records()))


@pytest.mark.parametrize("size", [1, 3, 5, 7, 16])
def test_distances_are_those_of_brute_force_however_the_rows_are_cut(size: int):
    opened = subject(Spoken(), records())
    found = rows(OBSERVER, need(captions=3, generations=5, tiles=2), opened, size)
    made = images(found)
    truth = {one.id: decode(one.image, "test") for one in records()}
    assert [row["number"] for row in found] == [*range(5)] * 3
    for i, row in enumerate(found):
        own = truth[row["id"]]
        assert row["own_distance"] == pytest.approx(tiled(made[i], own, 2), abs=1e-9)
        assert row["own_l2"] == pytest.approx(float(np.sqrt(np.mean((made[i] / 255.0 - own / 255.0) ** 2))), abs=1e-9)
        expected = [tiled(made[i], made[i - row["number"] + j], 2) for j in range(row["number"])]
        np.testing.assert_allclose(row["distances"], expected, atol=1e-6)


def test_a_run_that_goes_on_inside_a_caption_writes_the_same():
    """The second process remembers nothing and reads the images of earlier shards back."""
    asked = need(captions=2, generations=7)
    whole = list(shards(OBSERVER, asked, subject(Spoken(), records()), 4))
    for stopped in range(1, len(whole)):

        def earlier(column: str, stopped: int = stopped) -> pa.ChunkedArray:
            tables = [(s.public if column in s.public.column_names else s.restricted) for s in whole[:stopped]]
            return pa.chunked_array([chunk for table in tables for chunk in table.column(column).chunks])

        part = Part(stopped * 4, min(stopped * 4 + 4, 14), SEED, np.random.default_rng(0), earlier)
        again = OBSERVER.observe(asked, subject(Spoken(), records()), part)
        assert again.public.equals(whole[stopped].public)
        assert again.restricted.equals(whole[stopped].restricted)


def test_earlier_shards_are_not_read_while_the_run_goes_on():
    """Otherwise the work would grow with the square of the shards."""
    opened = subject(Spoken(), records())

    def never(column: str) -> pa.ChunkedArray:
        raise AssertionError(column)

    for start in range(0, 14, 4):
        part = Part(start, min(start + 4, 14), SEED, np.random.default_rng(0), never)
        OBSERVER.observe(need(captions=2, generations=7), opened, part)


def test_image_j_of_every_caption_starts_from_one_seed_and_shared_captions_take_seeds_of_their_own():
    model = Spoken()
    captions = ["same words", "other", "same words", "third", "same words"]
    found = rows(OBSERVER, need(captions=5, generations=3), subject(model, records(5, captions)))
    seeds = {}
    for (caption, seed), row in zip(model.asked, found, strict=True):
        seeds.setdefault((caption, row["id"]), []).append(seed)
    alone = [value for (caption, _), value in seeds.items() if caption in {"other", "third"}]
    assert alone[0] == alone[1]
    shared = [value for (caption, _), value in seeds.items() if caption == "same words"]
    assert shared[0] == alone[0]
    assert len({seed for value in shared for seed in value}) == 9
    assert {row["same_caption"] for row in found if row["caption"] == "same words"} == {3}


def test_the_same_model_makes_the_same_images_for_members_and_controls():
    one = rows(OBSERVER, need(captions=3, generations=2), subject(Spoken(), records(3)))
    controls = need(captions=3, generations=2).model_copy(update={"dataset": "controls"})
    other = rows(OBSERVER, controls, subject(Spoken(), controls=records(3)))
    assert [row["image"] for row in one] == [row["image"] for row in other]


def test_ranked_captions_are_those_that_stood_most_often_one_record_each():
    captions = ["a", "b", "a", "c", "d", "b", "a"]
    pool = [record(f"r{i}", captions[i], noise_image(i), copies=c) for i, c in enumerate([1, 4, 2, 6, 1, 3, 1])]
    found = rows(OBSERVER, need(captions=3, generations=1, most_duplicated=True), subject(Spoken(), pool))
    # b stood 7 times, c 6, a 4, d once; of b the record with 4 copies, of a that with 2
    assert {row["id"]: row["caption_copies"] for row in found} == {"r1": 7, "r3": 6, "r2": 4}
    every = rows(OBSERVER, need(captions=7, generations=1, most_duplicated=True), subject(Spoken(), pool))
    assert sorted(row["id"] for row in every) == [f"r{i}" for i in range(7)]


def test_a_model_without_captions_is_refused():
    class Classes(Spoken):
        conditioning = "class"

    with pytest.raises(UnsupportedError, match="not conditioned on captions"):
        rows(OBSERVER, need(captions=1, generations=2), subject(Classes(), records(1)))
    with pytest.raises(UnsupportedError, match="a record has none"):
        rows(OBSERVER, need(captions=1, generations=2), subject(Spoken(), [record("r", "", noise_image(0))]))


def test_what_it_counts_is_what_passed():
    model = Spoken()
    asked = need(captions=3, generations=4, guidance=1.0)
    found = list(shards(OBSERVER, asked, subject(model, records())))
    assert (
        sum(shard.tokens for shard in found) == model.passes == OBSERVER.tokens(asked, subject(model, records()).facts)
    )


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(0, 20), st.integers(1, 9), st.integers(0, 2**16))
def test_distances_of_any_part_of_a_sequence_are_those_of_the_whole(
    generations: int, start: int, length: int, seed: int
):
    every = np.random.default_rng(seed).integers(256, size=(start + length, 3, 3, 1)).astype(np.uint8)
    inside = start % generations
    numbers = np.arange(start, start + length) % generations
    found = earlier_distances(every[start - inside :], numbers, 1)
    assert [len(one) for one in found] == numbers.tolist()
    for position, distances in zip(range(start, start + length), found, strict=True):
        first = position - position % generations
        expected = [np.sqrt(np.mean((every[position] / 255.0 - every[j] / 255.0) ** 2)) for j in range(first, position)]
        np.testing.assert_allclose(distances, expected, atol=1e-6)


def test_pictures_show_the_nearest_image_of_each_caption_and_none_where_none_are_asked():
    asked = need(captions=3, generations=5, pictures="full")
    found = rows(OBSERVER, asked, subject(Spoken(), records()), 15)
    for caption in range(3):
        some = found[5 * caption : 5 * caption + 5]
        nearest = min(some, key=lambda row: row["own_distance"])
        assert [bool(row["picture"]) for row in some] == [row is nearest for row in some]
        picture = decode(nearest["picture"], "test")
        scale = 96 // SHAPE[0]
        assert np.array_equal(picture[::scale, : SHAPE[1] * scale : scale], decode(nearest["image"], "test"))
        truth = next(decode(one.image, "test") for one in records() if one.id == nearest["id"])
        assert np.array_equal(picture[::scale, -SHAPE[1] * scale :: scale], truth)
    none = need(captions=3, generations=5, pictures="none")
    assert not any(row["picture"] for row in rows(OBSERVER, none, subject(Spoken(), records())))
