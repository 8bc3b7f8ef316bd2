"""Prompt scores: each against its formula written out on a network whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import SEED, check_columns, rows, shards
from prompting import Spoken, noise_image, record, subject
from scipy.stats import entropy as scipy_entropy

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.core.policy import QueryBudget
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.observers.prompt_scores import OBSERVER, Parameters, entropy, follow, last_steps
from auditor.statistics.denoising import spaced
from auditor.testing.control_subject import control_subject

CAPTIONS = ["one", "two words", "three words here", "two again"]


def need(**parameters: Any) -> Need:
    return Need(observer="prompt-scores", dataset="members", parameters={"steps": 10, "noises": 2, **parameters})


def records() -> list[Any]:
    return [record(f"r{i}", caption, noise_image(i), copies=i + 1) for i, caption in enumerate(CAPTIONS)]


def by_hand(model: Spoken, caption: str, steps: int, noises: int, guidance: float, layer: int) -> dict[str, Any]:
    """Wen, Webster and Ren written out for one caption and one noise at a time."""
    seen: dict[str, list[Any]] = {"magnitudes": [], "one_step": [], "attention_d": [], "attention_e": []}
    timesteps = spaced(100, steps)
    for j in range(noises):
        x = (
            generator(SEED, "prompt-scores", "noise", str(j))
            .standard_normal(model.latent_shape)
            .astype(np.float32)[None]
        )
        magnitudes, whole, late = [], [], []
        for number, step in enumerate(timesteps):
            at = np.array([step])
            look = model.cross_attention(x, at, [caption])
            mean = look.weights[0].astype(np.float64).mean(axis=0)
            padding = mean[look.padding[0]]
            whole.append((float(scipy_entropy(mean)), float(-(padding * np.log(padding)).sum())))
            late.append(number >= steps - steps // 5)
            told, null = model.predict_noise(x, at, [caption]), model.predict_noise(x, at, [None])
            magnitudes.append(float(np.linalg.norm((told - null).ravel())))
            noise = null + guidance * (told - null)
            a = model.alphas_cumprod[step]
            if number == 0:
                start = x / np.sqrt(
                    a
                )  # Webster's z = sigma n, seen by a network of the variance-preserving kind as sqrt(a) z
                one_step = (x - np.sqrt(1 - a) * noise) / np.sqrt(a)
                seen["one_step"].append(float(np.mean((start - one_step) ** 2)) / ((1 - a) / a))
                first = look.weights[0][min(layer, model.layers - 1)]
                seen["attention_e"].append(float(scipy_entropy(first.astype(np.float64))))
            if number + 1 < steps:
                b = model.alphas_cumprod[timesteps[number + 1]]
                x0 = (x - np.sqrt(1 - a) * noise) / np.sqrt(a)
                x = (np.sqrt(b) * x0 + np.sqrt(1 - b) * noise).astype(np.float32)
        kept = [pair for pair, wanted in zip(whole, late, strict=True) if wanted]
        grown = np.mean([pad for _, pad in kept]) - whole[0][1]
        seen["attention_d"].append(float(np.mean([total for total, _ in kept]) + grown))
        seen["magnitudes"].append(magnitudes)
    return {name: np.mean(values, axis=0) for name, values in seen.items()}


@pytest.mark.parametrize(("guidance", "layer"), [(1.0, 3), (7.5, 99)])
def test_scores_are_the_published_formulas(guidance: float, layer: int):
    asked = need(guidance=guidance, layer=layer, attention=True)
    for row in rows(OBSERVER, asked, subject(Spoken(), records()), 3):
        expected = by_hand(Spoken(), row["caption"], 10, 2, guidance, layer)
        np.testing.assert_allclose(row["magnitudes"], expected["magnitudes"], rtol=2e-5)
        for name in ("one_step", "attention_d", "attention_e"):
            assert row[name] == pytest.approx(expected[name], rel=2e-5), name
        assert row["magnitude"] == pytest.approx(np.mean(expected["magnitudes"]), rel=2e-5)
        assert row["first_step"] == row["magnitudes"][0]


def test_it_meets_the_protocol_and_writes_what_it_declares():
    assert isinstance(OBSERVER, Observer)
    for attention in (False, True):
        check_columns(OBSERVER, need(attention=attention), subject(Spoken(), records()))


def test_scores_do_not_depend_on_company_or_on_the_image():
    opened = subject(Spoken(), records())
    apart, together = (rows(OBSERVER, need(), opened, size) for size in (1, 4))
    for one, other in zip(apart, together, strict=True):
        np.testing.assert_allclose(one["magnitudes"], other["magnitudes"], rtol=1e-6)
    other_images = [record(f"r{i}", caption, noise_image(50 + i), copies=i + 1) for i, caption in enumerate(CAPTIONS)]
    assert rows(OBSERVER, need(), subject(Spoken(), other_images), 4) == together


def test_lengths_copies_and_shared_captions_are_counted():
    pool = [*records(), record("r4", "two words", noise_image(4))]
    found = rows(OBSERVER, need(attention=True), subject(Spoken(), pool), 2)
    assert [row["words"] for row in found] == [1, 2, 3, 2, 2]
    assert [row["tokens"] for row in found] == [2, 3, 4, 3, 3]
    assert [row["copies"] for row in found] == [1, 2, 3, 4, 1]
    assert [row["same_caption"] for row in found] == [1, 2, 1, 1, 2]
    without = rows(OBSERVER, need(), subject(Spoken(), pool), 2)
    assert {row["tokens"] for row in without} == {-1}
    assert "two words" not in {row["excerpt"] for row in found}


def test_what_it_counts_is_what_passed():
    for attention in (False, True):
        model = Spoken()
        asked = need(attention=attention)
        opened = subject(model, records())
        assert sum(shard.tokens for shard in shards(OBSERVER, asked, opened, 3)) == model.passes
        assert OBSERVER.tokens(asked, opened.facts) == model.passes


def test_the_last_fifth_has_at_least_one_step():
    assert [list(last_steps(steps)) for steps in (1, 4, 10, 50)] == [[0], [3], [8, 9], list(range(40, 50))]


def test_models_that_cannot_be_asked_are_refused_with_a_reason():
    class Unguided(Spoken):
        guided = False

    class Broken(Spoken):
        def predict_noise(self, latents: np.ndarray, timesteps: np.ndarray, conditions: Any) -> np.ndarray:
            return np.full_like(latents, np.nan)

    with pytest.raises(UnsupportedError, match="no null condition"):
        rows(OBSERVER, need(), subject(Unguided(), records()))
    with pytest.raises(UnsupportedError, match="not finite"):
        rows(OBSERVER, need(), subject(Broken(), records()))
    with pytest.raises(UnsupportedError, match="a record has none"):
        rows(OBSERVER, need(), subject(Spoken(), [record("r", "", noise_image(0))]))


def test_a_network_that_ignores_captions_has_no_magnitude():
    class Deaf(Spoken):
        def predict_noise(self, latents: np.ndarray, timesteps: np.ndarray, conditions: Any) -> np.ndarray:
            return latents * 0.5

    seen = follow(Deaf(), CAPTIONS, Parameters(steps=5), 0)
    assert not seen.magnitudes.any()
    assert np.ptp(seen.one_step) == 0.0


def test_the_memorizer_reacts_to_its_captions_and_the_innocent_does_not():
    from sklearn.metrics import roc_auc_score

    areas = {}
    queries = QueryBudget(per_subject=1, lifetime=1, reason="test")
    for kind in ("memorizer", "innocent"):
        opened = control_subject(kind, references=0, confidence=0.95, queries=queries, modality="image")
        sides = {}
        for side in ("members", "controls"):
            asked = need(noises=4, attention=True).model_copy(update={"dataset": side})
            sides[side] = rows(OBSERVER, asked, opened, 120)
        labels = [1] * 240 + [0] * 240
        for name in ("first_step", "attention_d"):
            values = [row[name] for side in ("members", "controls") for row in sides[side]]
            areas[kind, name] = roc_auc_score(labels, values)
    assert areas["memorizer", "attention_d"] == 1.0
    assert areas["memorizer", "first_step"] > 0.6
    assert areas["innocent", "attention_d"] == 0.5
    assert abs(areas["innocent", "first_step"] - 0.5) < 0.08


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda w: sum(w) > 0))
def test_entropy_is_that_of_scipy(weights: list[float]):
    w = np.array(weights) / sum(weights)
    assert float(entropy(w)) == pytest.approx(float(scipy_entropy(w)), abs=1e-12)
