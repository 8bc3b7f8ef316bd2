"""Distances and copies against brute force, over any cut into shards; the model is asked for its shape alone."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import check_columns, opened, rows
from PIL import Image

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.observers import image_distances
from auditor.observers.image_distances import BITS, NEIGHBOURS, OBSERVER
from auditor.statistics.perceptual_hash import hamming, perceptual_hashes
from auditor.subjects.data import DataRecord

SHAPE = (6, 5, 3)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def drawn(seed: int, count: int, other: int = 0) -> list[np.ndarray]:
    """Return pictures of a few motifs, some equal, some equal but for noise, some alone."""
    rng = np.random.default_rng(seed)
    motifs = np.random.default_rng(9).integers(0, 256, (5, *SHAPE))
    found = []
    for number in range(count):
        noise = rng.integers(-6, 7, SHAPE) * (number % 3)
        base = motifs[(number + other) % 5] if number % 4 else rng.integers(0, 256, SHAPE)
        found.append(np.clip(base + noise, 0, 255).astype(np.uint8))
    return found


def subject(members: list[np.ndarray], controls: list[np.ndarray]) -> Any:
    """Any question but the shape of the images would fail."""
    sides = [
        [
            DataRecord(f"{side}{i}", "", f"{side}{i // 2}", 1 + i % 3, "web", encoded(image, "BMP" if i % 2 else "PNG"))
            for i, image in enumerate(images)
        ]
        for side, images in (("m", members), ("c", controls))
    ]
    found = opened(SimpleNamespace(context=1), *sides)
    if not controls:
        found.facts = SimpleNamespace(subject=found.facts.subject.model_copy(update={"controls": None}))
    found.models["subject"] = SimpleNamespace(image_shape=SHAPE)
    return found


def need(**parameters: Any) -> Need:
    return Need(observer="image-distances", dataset="members+controls", model=None, parameters=parameters)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one / 255.0 - other / 255.0) ** 2)))


def brute(members: list[np.ndarray], controls: list[np.ndarray], near: float) -> list[dict[str, Any]]:
    named = (
        [(f"m{i}", image) for i, image in enumerate(members)],
        [(f"c{i}", image) for i, image in enumerate(controls)],
    )
    hashes = perceptual_hashes(np.stack(members))
    found = []
    for side, of in enumerate(named):
        for name, image in of:
            to = [[(distance(image, other), n) for n, other in some if n != name] for some in named]
            nearest = [min((d for d, _ in some), default=np.nan) for some in to]
            all_others = sorted(d for some in to for d, _ in some)[:NEIGHBOURS]
            bits = hamming(perceptual_hashes(image[None]), hashes)
            alike = [distance(image, other) <= near and b <= BITS for other, b in zip(members, bits, strict=True)]
            found.append(
                {
                    "id": name,
                    "member": side == 0,
                    "nearest": nearest,
                    "to": to,
                    "neighbours": np.mean(all_others) if all_others else np.nan,
                    "exact_copies": sum(np.array_equal(image, other) for other in members),
                    "near_copies": sum(alike),
                }
            )
    return found


def check(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for row, truth in zip(found, expected, strict=True):
        assert (row["id"], row["member"]) == (truth["id"], truth["member"])
        for side, name in enumerate(("nearest_member", "nearest_control")):
            assert row[name] == pytest.approx(truth["nearest"][side], abs=1e-12, nan_ok=True)
            if np.isnan(truth["nearest"][side]):
                assert row[f"{name}_id"] == ""
            else:
                to = {n: d for d, n in truth["to"][side]}  # never the record itself; of equals any
                assert to[row[f"{name}_id"]] == pytest.approx(truth["nearest"][side], abs=1e-12)
        assert row["neighbours"] == pytest.approx(truth["neighbours"], abs=1e-12, nan_ok=True)
        assert row["exact_copies"] == truth["exact_copies"]
        assert row["near_copies"] == truth["near_copies"]


def test_it_meets_the_protocol_and_writes_what_it_declares() -> None:
    assert isinstance(OBSERVER, Observer)
    check_columns(OBSERVER, need(), subject(drawn(0, 7), drawn(1, 5)))
    assert all(field.description for field in OBSERVER.parameters.model_fields.values())
    assert OBSERVER.tokens(need(), subject(drawn(0, 2), drawn(1, 2)).facts) == 0


@pytest.mark.parametrize(("members", "controls"), [(40, 30), (70, 45), (1, 1), (1, 0), (2, 0), (3, 1), (60, 0)])
@pytest.mark.parametrize("near", [0.0, 0.02, 0.5])
def test_against_brute_force(members: int, controls: int, near: float) -> None:
    sides = drawn(0, members), drawn(1, controls, 2)
    expected = brute(*sides, near)
    check(rows(OBSERVER, need(near=near), subject(*sides)), expected)
    if members > 30 and near == 0.02:
        counts = [row["near_copies"] - row["exact_copies"] for row in expected]
        assert max(counts) >= 2
        assert max(row["exact_copies"] for row in expected) >= 3


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.lists(st.integers(0, 3), max_size=6), st.integers(1, 5))
def test_equal_pictures_in_any_number_and_order(members: list[int], controls: list[int], size: int) -> None:
    """The nearest other of a copy is another copy, at distance 0, whichever index it has and wherever shards end."""
    shown = [np.full(SHAPE, 60 * value, dtype=np.uint8) for value in range(4)]
    sides = [shown[value] for value in members], [shown[value] for value in controls]
    found = rows(OBSERVER, need(), subject(*sides), size)
    check(found, brute(*sides, 0.05))


def test_many_copies_are_more_than_the_neighbours_asked() -> None:
    """The record itself is not among the nearest that are found when enough equals stand before it."""
    same = [np.full(SHAPE, 9, dtype=np.uint8)] * (NEIGHBOURS + 20)
    found = rows(OBSERVER, need(), subject(same, drawn(0, 3)))
    for row in found[: len(same)]:
        assert row["nearest_member"] == 0.0
        assert row["nearest_member_id"] != row["id"]
        assert row["neighbours"] == 0.0
        assert row["exact_copies"] == row["near_copies"] == len(same)


def test_copies_are_counted_among_all_members_and_distances_within_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_distances, "BLOCK", 7)
    sides = drawn(0, 50), drawn(1, 40, 1)
    every = {row["id"]: row for row in rows(OBSERVER, need(), subject(*sides))}
    asked = need(records=12)
    side = subject(*sides)
    found = rows(OBSERVER, asked, side)
    assert len(found) == OBSERVER.items(asked, side.facts) == 24
    sampled = {row["id"] for row in found}
    for row in found:
        assert row["exact_copies"] == every[row["id"]]["exact_copies"]
        assert row["near_copies"] == every[row["id"]]["near_copies"]
        assert {row["nearest_member_id"], row["nearest_control_id"]} <= sampled
        assert row["nearest_member"] >= every[row["id"]]["nearest_member"]


def test_what_is_known_of_a_record_stands_beside_it() -> None:
    found = rows(OBSERVER, need(), subject(drawn(0, 5), drawn(1, 3)))
    for i, row in enumerate(found[:5]):
        assert (row["id"], row["cluster"], row["source"], row["copies"]) == (f"m{i}", f"m{i // 2}", "web", 1 + i % 3)
    assert [row["id"] for row in found[5:]] == ["c0", "c1", "c2"]
    assert [row["member"] for row in found] == [True] * 5 + [False] * 3


def test_images_are_compared_in_the_shape_of_the_model() -> None:
    """Twice as large, but the same picture to the model."""
    flat = [np.full((12, 10, 3), value, dtype=np.uint8) for value in (10, 200)]
    small = [np.full(SHAPE, value, dtype=np.uint8) for value in (10, 90)]
    found = rows(OBSERVER, need(), subject(flat, small))
    assert found[2]["nearest_member"] == 0.0
    assert found[2]["exact_copies"] == 1
    assert found[3]["exact_copies"] == 0
    assert found[0]["exact_copies"] == 1
