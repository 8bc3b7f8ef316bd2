"""The blind baseline of images: it tells apart what differs, is quiet on what does not, and never meets the model."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from opened import check_columns, opened, rows
from PIL import Image

from auditor.battery.blind import blind_gates
from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.errors import UnsupportedError
from auditor.observers.image_blind_baseline import (
    CLASSIFIERS,
    OBSERVER,
    SIDE,
    seen_of,
    sharpness,
    surface_of,
    taught_and_scored,
)
from auditor.statistics.roc import auc, auc_interval, null_sd_auc
from auditor.subjects.data import DataRecord
from auditor.subjects.images import encoding_of

RNG = np.random.default_rng
EACH = 1.0 - 0.05 / len(CLASSIFIERS)
WORDS = np.array(["a", "boat", "cat", "dog", "eats", "fish", "on", "red", "sees", "the", "tree", "walks"])


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def pictures(
    rng: np.random.Generator, count: int, size: tuple[int, int] = (12, 10), brighter: float = 0.0
) -> list[bytes]:
    found = []
    for _ in range(count):
        base = rng.normal(120 + brighter, 25) + rng.normal(0, 30, (*size, 3))
        found.append(encoded(np.clip(base, 0, 255).astype(np.uint8)))
    return found


def captions(rng: np.random.Generator, count: int) -> list[str]:
    return [" ".join(rng.choice(WORDS, size=5)) for _ in range(count)]


def subject(members: list[bytes], controls: list[bytes], said: list[str] | None = None) -> Any:
    """No model can be opened here: none may be asked."""
    said = said or [""] * (len(members) + len(controls))
    names = [f"m{i}" for i in range(len(members))] + [f"c{i}" for i in range(len(controls))]
    records = [
        DataRecord(name, text, name, image=image)
        for name, text, image in zip(names, said, [*members, *controls], strict=True)
    ]
    found = opened(SimpleNamespace(context=1), records[: len(members)], records[len(members) :])
    found.models.clear()
    return found


def need(**parameters: Any) -> Need:
    return Need(observer="image-blind-baseline", dataset="members+controls", model=None, parameters=parameters)


def areas(found: list[dict[str, Any]]) -> dict[str, Any]:
    scored = [row for row in found if row["scored"]]
    sides = [[row for row in scored if row["member"] is side] for side in (True, False)]
    return {
        name: auc_interval(*(np.array([row[name] for row in side]) for side in sides), EACH) for name in CLASSIFIERS
    }


def test_it_meets_the_protocol_and_writes_what_it_declares() -> None:
    assert isinstance(OBSERVER, Observer)
    check_columns(OBSERVER, need(captions=True), subject(pictures(RNG(0), 9), pictures(RNG(1), 8)))
    assert all(field.description for field in OBSERVER.parameters.model_fields.values())


def test_every_record_has_a_row_and_half_of_each_side_is_scored() -> None:
    side = subject(pictures(RNG(0), 12), pictures(RNG(1), 9), captions(RNG(2), 21))
    found = rows(OBSERVER, need(captions=True), side)
    assert [row["id"] for row in found] == [f"m{i}" for i in range(12)] + [f"c{i}" for i in range(9)]
    assert [row["member"] for row in found] == [True] * 12 + [False] * 9
    assert sum(row["scored"] for row in found if row["member"]) == 6
    for row in found:
        assert {bool(np.isnan(row[name])) for name in CLASSIFIERS} == {not row["scored"]}
    assert len({row["captions"] for row in found if row["scored"]}) > 1
    sampled = rows(OBSERVER, need(records=5), side)
    assert len(sampled) == OBSERVER.items(need(records=5), side.facts) == 10
    assert OBSERVER.tokens(need(), side.facts) == 0
    assert {row["captions"] for row in sampled if row["scored"]} == {0.0}


def test_the_gates_of_the_battery_read_what_it_writes() -> None:
    found = rows(OBSERVER, need(), subject(pictures(RNG(0), 40), pictures(RNG(1), 40, brighter=60)))
    table = SimpleNamespace(column=lambda name: np.array([row[name] for row in found]))
    held = [gate.held for gate in blind_gates(table, ("pixels", "surface"), 0.95, 0.05)]
    assert held == [False, False]


@pytest.mark.parametrize(
    ("difference", "who"),
    [
        ("brightness", ("pixels", "surface")),
        ("size", ("surface",)),
        ("quality", ("surface",)),
        ("words", ("captions",)),
    ],
)
def test_it_tells_apart_what_differs_and_says_by_what(difference: str, who: tuple[str, ...]) -> None:
    rng = RNG(4)
    members, controls, said = pictures(rng, 80), pictures(rng, 80), captions(rng, 160)
    if difference == "brightness":
        controls = pictures(rng, 80, brighter=35)
    elif difference == "size":
        controls = pictures(rng, 80, size=(12, 11))
    elif difference == "quality":
        members, controls = (
            [encoded(np.asarray(Image.open(io.BytesIO(image))), "JPEG", quality=quality) for image in side]
            for side, quality in ((members, 90), (controls, 85))
        )
    else:
        said = [f"{text} {'tonight' if i < 80 and i % 2 else 'today'}" for i, text in enumerate(said)]
    found = areas(rows(OBSERVER, need(captions=True), subject(members, controls, said)))
    for name in CLASSIFIERS:
        assert (found[name].low > 0.5) == (name in who), name


def test_nothing_of_the_scored_half_is_learnt() -> None:
    """Changing every other scored image and caption leaves the scores of the others as they were, to the bit."""
    rng = RNG(5)
    pixels, surface = rng.random((60, SIDE * SIDE)), rng.random((60, 8))
    said, member = captions(rng, 60), np.arange(60) % 2 == 0
    own = np.array([f"r{i}" for i in range(60)], dtype=object)
    scored, before = taught_and_scored(pixels, surface, said, member, own, RNG(1))
    changed = np.flatnonzero(scored)[::2]
    kept = np.flatnonzero(scored)[1::2]
    pixels[changed], surface[changed] = 7.0, -3.0
    said = [f"{text} zebra cat" if i in changed else text for i, text in enumerate(said)]
    again, after = taught_and_scored(pixels, surface, said, member, own, RNG(1))
    assert scored.tolist() == again.tolist()
    for name in CLASSIFIERS:
        np.testing.assert_array_equal(before[name][kept], after[name][kept])
        assert not np.array_equal(before[name][changed], after[name][changed])


@pytest.mark.parametrize("images_each", [1, 4])
def test_it_is_quiet_where_members_and_controls_are_exchangeable(images_each: int) -> None:
    """Also where each person's images are alike: were they divided, any classifier would know them again."""
    audits, persons = (120, 60) if images_each == 1 else (60, 40)
    alarms, seen = 0, {name: [] for name in CLASSIFIERS}
    for seed in range(audits):
        rng = RNG([6, seed])
        own = np.repeat(np.array([f"p{i}" for i in range(persons)], dtype=object), images_each)
        member = np.repeat(rng.permutation(np.arange(persons) < persons // 2), images_each)
        faces = np.repeat(rng.normal(size=(persons, 16)), images_each, axis=0)
        pixels = (faces + rng.normal(size=faces.shape)) @ RNG(0).normal(size=(16, 64))
        surface = np.repeat(rng.normal(size=(persons, 6)), images_each, axis=0) + rng.normal(size=(len(own), 6))
        said = [f"{text} {name}" for text, name in zip(captions(rng, len(own)), own, strict=True)]
        scored, scores = taught_and_scored(pixels, surface, said, member, own, rng)
        first, second = scored & member, scored & ~member
        intervals = {
            name: auc_interval(values[first], values[second], EACH, own[first], own[second])
            for name, values in scores.items()
        }
        alarms += max(interval.low for interval in intervals.values()) > 0.5
        for name in CLASSIFIERS:
            seen[name].append(auc(scores[name][first], scores[name][second]))
    assert alarms <= 0.05 * audits
    for name in CLASSIFIERS:
        spread = null_sd_auc(persons // 4, persons // 4) / np.sqrt(audits)
        assert np.mean(seen[name]) == pytest.approx(0.5, abs=4.5 * spread), name


def test_too_few_persons_are_a_reason_not_to_run() -> None:
    with pytest.raises(UnsupportedError, match="the controls come from 3 persons"):
        rows(OBSERVER, need(), subject(pictures(RNG(0), 9), pictures(RNG(1), 3)))


def test_what_the_classifiers_see_of_an_image() -> None:
    pixels = RNG(7).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    content = encoded(pixels, "JPEG", qtables=[[4] * 64, [8] * 64])
    small, surface = seen_of(DataRecord("r", "", "r", image=content))
    assert small.shape == (SIDE * SIDE,)
    assert 0.0 <= small.min() < small.max() <= 1.0
    shown = np.asarray(Image.open(io.BytesIO(content)))
    assert surface[:5].tolist() == [30, 20, 1.5, 3, len(content) / 600]
    np.testing.assert_allclose(surface[5:8], shown.reshape(-1, 3).mean(axis=0))
    np.testing.assert_allclose(surface[8:11], shown.reshape(-1, 3).std(axis=0))
    assert surface[11] == pytest.approx(sharpness(shown))
    assert surface[12:14].tolist() == [6.0, 0.0]
    assert surface[14:].tolist() == [0, 1, 0, 0, 0, 0]
    grey = pixels[:, :, :1]
    of_grey = surface_of(grey, encoding_of(encoded(grey[:, :, 0]), ""), 100)
    assert of_grey[3] == 1
    assert len(of_grey) == len(surface)


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    from scipy.ndimage import laplace

    image = RNG(8).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    expected = laplace(image.mean(axis=2))[1:-1, 1:-1].var()
    assert sharpness(image) == pytest.approx(expected, rel=1e-5)
    assert sharpness(image[:2]) == 0.0
    assert sharpness(np.full((9, 9, 1), 77, dtype=np.uint8)) == 0.0
