"""Completions: what is masked, from which seeds, how far from the truth, and the loss written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import SEED, check_columns, rows, shards
from prompting import SHAPE, Spoken, noise_image, record, subject

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.core.policy import QueryBudget
from auditor.core.seeds import generator
from auditor.observers.completions import OBSERVER, masked_part, seed_of
from auditor.observers.image_sets import whole_set
from auditor.subjects.images import decode
from auditor.testing.control_subject import control_subject


def need(**parameters: Any) -> Need:
    return Need(observer="completions", dataset="members", parameters={"steps": 2, "completions": 3, **parameters})


def records(count: int = 5) -> list[Any]:
    return [record(f"r{i}", f"caption {i}", noise_image(i), copies=1 + i) for i in range(count)]


def test_it_meets_the_protocol_and_writes_what_it_declares():
    assert isinstance(OBSERVER, Observer)
    for losses in (0, 2):
        check_columns(OBSERVER, need(losses=losses), subject(Spoken(), records()))


@pytest.mark.parametrize("half", ["left", "right", "centre"])
def test_distances_are_those_of_brute_force_on_the_masked_pixels(half: Any):
    found = rows(OBSERVER, need(half=half), subject(Spoken(), records()), 2)
    mask = masked_part(half, SHAPE)
    fresh = [np.random.default_rng(seed_of(SEED, j)).integers(256, size=SHAPE).astype(np.uint8) for j in range(3)]
    for i, row in enumerate(found):
        truth = noise_image(i)
        expected = [float(np.sqrt(np.mean((made[mask] / 255.0 - truth[mask] / 255.0) ** 2))) for made in fresh]
        np.testing.assert_allclose(row["distances"], expected, rtol=1e-9)
        assert row["mean"] == pytest.approx(np.mean(expected))
        assert row["nearest"] == pytest.approx(min(expected))
        best = decode(row["image"], "test")
        assert np.array_equal(best[~mask], truth[~mask])
        assert np.array_equal(best[mask], fresh[int(np.argmin(expected))][mask])


def test_the_loss_is_the_error_of_the_predicted_noise():
    model = Spoken()
    found = rows(OBSERVER, need(losses=2, level=0.25), subject(model, records(2)))
    mask = masked_part("left", SHAPE)
    a = model.alphas_cumprod[25]
    for i, row in enumerate(found):
        for j in range(3):
            made = noise_image(i)
            made[mask] = np.random.default_rng(seed_of(SEED, j)).integers(256, size=SHAPE).astype(np.uint8)[mask]
            latent = model.encode(made[None])
            total = 0.0
            for number in range(2):
                noise = generator(SEED, "completions", "loss", str(number)).standard_normal(model.latent_shape)
                x = np.sqrt(a) * latent + np.sqrt(1 - a) * noise
                total += float(((model.predict_noise(x, np.array([25]), [f"caption {i}"]) - noise) ** 2).mean())
            assert row["losses"][j] == pytest.approx(total / 2, rel=1e-5)


def test_many_completions_are_given_to_the_model_in_parts_and_few_together():
    opened = subject(Spoken(), records(3))
    many = rows(OBSERVER, need(completions=300), opened)
    few = rows(OBSERVER, need(completions=3), opened)
    for one, other in zip(many, few, strict=True):
        assert one["distances"][:3] == other["distances"]
        assert len(one["distances"]) == 300


def test_images_do_not_depend_on_company_and_models_share_seeds():
    opened = subject(Spoken(), records(), reference=Spoken())
    assert rows(OBSERVER, need(pictures="none"), opened, 1) == rows(OBSERVER, need(pictures="none"), opened, 5)
    reference = need(pictures="none").model_copy(update={"model": "reference-0"})
    assert rows(OBSERVER, reference, opened) == rows(OBSERVER, need(pictures="none"), opened)


def test_a_known_image_comes_back():
    found = rows(OBSERVER, need(), subject(Spoken({"caption 2": noise_image(2)}), records()))
    assert [row["nearest"] == 0.0 for row in found] == [False, False, True, False, False]


def test_what_it_counts_is_what_passed():
    for losses in (0, 2):
        model = Spoken()
        opened = subject(model, records())
        assert sum(shard.tokens for shard in shards(OBSERVER, need(losses=losses), opened, 2)) == model.passes
        assert OBSERVER.tokens(need(losses=losses), opened.facts) == model.passes


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.sampled_from(["left", "right", "centre"]), st.integers(2, 40), st.integers(2, 40))
def test_masks_leave_something_and_hide_about_half(half: Any, height: int, width: int):
    mask = masked_part(half, (height, width, 3))
    assert mask.any()
    assert not mask.all()
    if min(height, width) >= 8:
        assert 0.35 < mask.mean() < 0.65
    other = masked_part("right", (height, width, 3))
    if half == "left":
        assert not (mask & other).any()
        assert np.array_equal(mask, other[:, ::-1])


def test_the_memorizer_fills_in_its_own_images_and_the_innocent_their_prototype():
    queries = QueryBudget(per_subject=1, lifetime=1, reason="test")
    means = {}
    for kind in ("memorizer", "innocent"):
        opened = control_subject(kind, references=0, confidence=0.95, queries=queries, modality="image")
        for side in ("members", "controls"):
            asked = need(records=60).model_copy(update={"dataset": side})
            found = rows(OBSERVER, asked, opened, 60)
            means[kind, side] = np.mean([row["mean"] for row in found])
            assert [row["id"] for row in found] == whole_set(opened, side, (8, 8, 1), 60, SEED).ids.tolist()
    assert means["memorizer", "members"] < 0.03
    assert min(means["memorizer", "controls"], means["innocent", "members"], means["innocent", "controls"]) > 0.1


def test_pictures_show_the_nearest_of_a_shard_masked_where_not_asked_otherwise():
    opened = subject(Spoken(), records())
    full, masked, none = (rows(OBSERVER, need(pictures=p), opened, 5) for p in ("full", "masked", "none"))
    order = sorted(range(5), key=lambda row: full[row]["nearest"])
    assert {row for row in range(5) if full[row]["picture"]} == set(order[:2])
    assert not any(row["picture"] for row in none)
    best = order[0]
    assert masked[best]["picture"] not in {b"", full[best]["picture"]}
    assert len(np.unique(decode(masked[best]["picture"], "test").reshape(-1, 3), axis=0)) <= 3
    assert need().parameters.get("pictures") is None
    assert [row["picture"] for row in rows(OBSERVER, need(), opened, 5)] == [row["picture"] for row in masked]
