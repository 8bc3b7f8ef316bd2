"""What is made and how it is matched: against brute force, alike on both sides, the same whatever the shards."""

from __future__ import annotations

import io

import numpy as np
import pytest
from opened import OpenedInMemory, check_columns, rows
from PIL import Image

from auditor.core.evidence import Need
from auditor.core.policy import QueryBudget
from auditor.errors import UnsupportedError
from auditor.observers.generations import GUIDANCE, Parameters
from auditor.observers.generations import OBSERVER as GENERATIONS
from auditor.observers.image_matches import OBSERVER as IMAGE_MATCHES
from auditor.observers.pictures import beside, masked
from auditor.subjects.data import DataRecord
from auditor.subjects.images import decode, png
from auditor.testing.control_images import image_subject

QUERIES = QueryBudget(per_subject=1, lifetime=1, reason="test")


class Counting:
    """A model that makes flat images of its seed and writes down what it was asked."""

    image_shape = (8, 8, 1)
    latent_shape = (1, 8, 8)
    classes = 0

    def __init__(self, conditioning="none", guided=False, shape=(8, 8, 1)):
        self.conditioning, self.guided, self.image_shape = conditioning, guided, shape
        self.passes = 0
        self.asked = []

    def generate(self, conditions, seeds, steps, guidance):
        self.asked += [(condition, seed, steps, guidance) for condition, seed in zip(conditions, seeds, strict=True)]
        self.passes += steps * len(seeds)
        made = [np.random.default_rng(seed).integers(0, 256, self.image_shape) for seed in seeds]
        return np.array(made, dtype=np.uint8)


def subject_of(model, members=30, controls=20, seed=0, same=()):
    """A subject of noise; `same`: pairs of members (copy, original) with the same pixels."""
    rng = np.random.default_rng(seed)
    held = image_subject("innocent", references=0, confidence=0.95, queries=QUERIES, variant=0)
    images = rng.integers(0, 256, size=(members + controls, 8, 8, 1), dtype=np.uint8)
    for copy, original in same:
        images[copy] = images[original]
    from auditor.testing.control_texts import ListedRecords

    records = [
        DataRecord(
            id=f"r{i}", text=f"caption {i}", cluster=f"p{i // 2}", copies=1 + i % 3, image=png(image), label=i % 4
        )
        for i, image in enumerate(images)
    ]
    sides = {"members": ListedRecords(tuple(records[:members])), "controls": ListedRecords(tuple(records[members:]))}
    update = {
        name: getattr(held.facts.subject, name).model_copy(update={"records": count})
        for name, count in (("members", members), ("controls", controls))
    }
    facts = type(held.facts)(held.facts.subject.model_copy(update=update), None, 0, 0.95, QUERIES)
    return OpenedInMemory(facts, {"subject": model, "reference-0": model}, sides), {
        record.id: image for record, image in zip(records, images, strict=True)
    }


def need(observer=GENERATIONS, model="subject", **parameters):
    asked = None if observer is IMAGE_MATCHES else model
    return Need(observer=observer.name, dataset="members+controls", model=asked, parameters=parameters)


def distance(a, b):
    return np.sqrt(((a.astype(float) - b.astype(float)) ** 2).mean()) / 255


def test_columns_are_those_declared():
    subject, _ = subject_of(Counting())
    check_columns(GENERATIONS, need(count=3), subject)
    check_columns(IMAGE_MATCHES, need(IMAGE_MATCHES), subject)


def test_each_image_is_matched_to_the_nearest_of_as_many_members_as_controls():
    subject, images = subject_of(Counting())
    made = rows(GENERATIONS, need(count=10, steps=7), subject)
    real = rows(IMAGE_MATCHES, need(IMAGE_MATCHES), subject)
    members = [row["id"] for row in real if row["member"]]
    controls = [row["id"] for row in real if not row["member"]]
    assert len(members) == len(controls) == 20
    assert len(made) == 10
    for row in made:
        image = decode(row["image"], "image")
        for name, ids in (("member", members), ("control", controls)):
            apart = {one: distance(image, images[one]) for one in ids}
            nearest = min(ids, key=apart.get)
            assert row[f"{name}_id"] == nearest
            assert row[f"{name}_cluster"] == f"p{int(nearest[1:]) // 2}"
            assert row[f"{name}_copies"] == 1 + int(nearest[1:]) % 3
            assert row[f"{name}_distance"] == pytest.approx(apart[nearest])
            assert row[f"{name}_ratio"] == pytest.approx(apart[nearest] / (0.5 * np.mean(list(apart.values()))))
            assert row[f"{name}_tiled"] > row[f"{name}_distance"]
    for row in real:
        ids = controls if row["member"] else members
        apart = {one: distance(images[row["id"]], images[one]) for one in ids}
        assert row["nearest"] == min(ids, key=apart.get)
        assert row["distance"] == pytest.approx(min(apart.values()))


def test_shards_change_nothing():
    for observer, asked in ((GENERATIONS, need(count=13, pictures="none")), (IMAGE_MATCHES, need(IMAGE_MATCHES))):
        whole = rows(observer, asked, subject_of(Counting())[0])
        assert rows(observer, asked, subject_of(Counting())[0], size=4) == whole


def test_equal_pictures_are_named():
    subject, _ = subject_of(Counting(), members=20, same=((7, 2), (11, 2)))
    real = {row["id"]: row for row in rows(IMAGE_MATCHES, need(IMAGE_MATCHES), subject)}
    assert {real[name]["same_as"] for name in ("r2", "r7", "r11")} == {"r2"}
    assert real["r3"]["same_as"] == "r3"


@pytest.mark.parametrize("conditioning", ["text", "class"])
def test_conditions_are_of_members_and_controls_alike(conditioning):
    model = Counting(conditioning, guided=True)
    subject, _ = subject_of(model, members=20, controls=20)
    made = rows(GENERATIONS, need(count=400, pictures="none", steps=1), subject)
    assert len({seed for _, seed, _, _ in model.asked}) == 400
    for row, (condition, seed, _, guidance) in zip(made, model.asked, strict=True):
        number = int(row["asked"][1:])
        assert condition == (f"caption {number}" if conditioning == "text" else number % 4)
        assert row["seed"] == seed
        assert guidance == (GUIDANCE if conditioning == "text" else 1.0)
    of_members = sum(int(row["asked"][1:]) < 20 for row in made)
    assert abs(of_members - 200) < 4 * np.sqrt(400 * 0.25)


def test_a_guided_model_can_be_asked_for_nothing():
    model = Counting("text", guided=True)
    made = rows(GENERATIONS, need(count=5, conditions="none"), subject_of(model)[0])
    assert {(condition, guidance) for condition, _, _, guidance in model.asked} == {(None, 1.0)}
    assert {row["asked"] for row in made} == {""}
    model = Counting("class", guided=False)
    made = rows(GENERATIONS, need(count=5, conditions="none"), subject_of(model)[0])
    assert all(condition in range(4) for condition, _, _, _ in model.asked)


def test_a_larger_observation_holds_a_smaller_one():
    subject, _ = subject_of(Counting())
    few, many = need(count=5, pictures="none"), need(count=9, pictures="none")
    other = need(count=5, pictures="none", steps=3)
    joined = GENERATIONS.join([few, other, many])
    assert len(joined) == 2
    assert [GENERATIONS.covers(joined[0], one) for one in (few, many, other)] == [True, True, False]
    assert rows(GENERATIONS, joined[0], subject)[:5] == rows(GENERATIONS, few, subject)
    assert GENERATIONS.items(joined[0], subject.facts) == 9


def test_a_reference_of_another_shape_is_matched_in_the_subjects():
    subject, _ = subject_of(Counting())
    subject.models["reference-0"] = Counting(shape=(16, 16, 3))
    made = rows(GENERATIONS, need(count=4, model="reference-0", pictures="none"), subject)
    assert {decode(row["image"], "image").shape for row in made} == {(8, 8, 1)}


def test_without_controls_nothing_is_matched():
    subject, _ = subject_of(Counting())
    facts = type(subject.facts)(subject.facts.subject.model_copy(update={"controls": None}), None, 0, 0.95, QUERIES)
    with pytest.raises(UnsupportedError, match="no controls"):
        GENERATIONS.items(need(count=4), facts)


def test_pictures_are_of_the_nearest_few_and_of_different_members():
    subject, _ = subject_of(Counting())
    made = rows(GENERATIONS, need(count=40, pictures="full"), subject)
    shown = [row for row in made if row["picture"]]
    nearer = [row for row in made if row["member_distance"] < row["control_distance"]]
    assert len(shown) == 6
    assert len({row["member_id"] for row in shown}) == 6
    assert min(nearer, key=lambda row: row["member_distance"])["picture"]
    assert not any(row["picture"] for row in rows(GENERATIONS, need(count=40, pictures="none"), subject))


def test_a_masked_picture_tells_light_from_dark_and_no_more():
    rng = np.random.default_rng(0)
    for shape in ((8, 8, 1), (64, 48, 3), (3, 5, 1), (300, 200, 3)):
        image = rng.integers(0, 256, size=shape, dtype=np.uint8)
        hidden = masked(image)
        assert hidden.shape == shape
        blocks = max(1, min(4, shape[0] // 4)) * max(1, min(4, shape[1] // 4))
        assert len(np.unique(hidden.reshape(-1, shape[2]), axis=0)) <= blocks
        content = beside(image, image, "masked")
        picture = np.asarray(Image.open(io.BytesIO(content)))
        assert max(picture.shape[0], (picture.shape[1] - 4) // 2) <= 96
        assert content != beside(image, image, "full")
    assert beside(image, image, "none") == b""


def test_defaults_are_those_declared():
    assert Parameters().pictures == "masked"
    assert Parameters().count == 1024
