"""Denoising scores: each against its formula written out, what is shared, and the known errors of public code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import check_columns, rows, shards

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.core.policy import QueryBudget
from auditor.errors import UnsupportedError
from auditor.observers.denoising_passes import Passes, drawn, reduced_conditions, rescaled, secmi
from auditor.observers.denoising_scores import OBSERVER, Parameters, passes_per_image, score
from auditor.testing.control_subject import control_subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.testing.control_images import ImageSubject

ALL: dict[str, Any] = {"secmi": 100, "pia": 200, "sima": 100, "clid": [100, 200, 300]}


class Curved:
    """A denoiser that is no denoiser: a smooth function of latent, timestep and condition that remembers what it is asked."""

    image_shape, latent_shape = (3, 3, 1), (1, 3, 3)
    conditioning, classes, guided = "text", 0, True

    def __init__(self, steps: int = 1000, seed: int = 0) -> None:
        self.alphas_cumprod = np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000))[:: 1000 // steps]
        self.passes = 0
        self.asked: list[tuple[np.ndarray, int, tuple]] = []
        self._mix = np.random.default_rng(seed).normal(size=(9, 9)) / 3

    def encode(self, images: np.ndarray) -> np.ndarray:
        return (images.reshape(-1, 1, 3, 3) / 127.5 - 1.0).astype(np.float32)

    def predict_noise(self, latents: np.ndarray, timesteps: np.ndarray, conditions: Sequence[Any]) -> np.ndarray:
        self.passes += len(latents)
        self.asked.append((latents.copy(), int(timesteps[0]), tuple(conditions)))
        flat = latents.reshape(len(latents), 9).astype(np.float64)
        word = np.array([0.0 if c is None else len(str(c)) / 10 for c in conditions])[:, None]
        found = np.tanh(flat @ self._mix + timesteps[:, None] / 500 - 0.7 + word)
        return found.reshape(latents.shape).astype(np.float32)


def images(count: int = 4, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(count, 3, 3, 1)).astype(np.uint8)


CAPTIONS = ["a b c d e f", "one two three", "two words", "x y z w"]


def scored(model: Curved | None = None, **parameters: Any) -> tuple[dict[str, np.ndarray], Curved]:
    model = model or Curved()
    asked = Parameters.from_plain({**ALL, "timesteps": [100, 200, 300, 500], **parameters})
    return score(model, images(), CAPTIONS, asked)[0], model


def subject(kind: str = "memorizer") -> ImageSubject:
    queries = QueryBudget(per_subject=1, lifetime=1, reason="test")
    return control_subject(kind, references=1, confidence=0.95, queries=queries, modality="image")


def need(dataset: Any = "members", model: str = "subject", **parameters: Any) -> Need:
    return OBSERVER.join([Need(observer="denoising-scores", dataset=dataset, model=model, parameters=parameters)])[0]


class Brute:
    """The formulas of the papers, image by image, in double precision."""

    def __init__(self, image: np.ndarray, caption: str | None) -> None:
        self.model = Curved()
        self.a = self.model.alphas_cumprod
        self.x = (image.reshape(9) / 127.5 - 1.0).astype(np.float64)
        self.caption = caption

    def eps(self, x: np.ndarray, t: int, caption: Any = "own") -> np.ndarray:
        condition = self.caption if caption == "own" else caption
        latents = x.reshape(1, 1, 3, 3)
        return self.model.predict_noise(latents, np.array([t]), [condition]).reshape(9).astype(np.float64)

    def loss(self, t: int, draw: int, caption: Any = "own") -> float:
        noise = drawn(draw, (1, 3, 3)).reshape(9)
        x = np.sqrt(self.a[t]) * self.x + np.sqrt(1 - self.a[t]) * noise
        return float(((self.eps(x, t, caption) - noise) ** 2).mean())

    def move(self, x: np.ndarray, e: np.ndarray, s: int, t: int) -> np.ndarray:
        x0 = (x - np.sqrt(1 - self.a[s]) * e) / np.sqrt(self.a[s])
        return np.sqrt(self.a[t]) * x0 + np.sqrt(1 - self.a[t]) * e

    def secmi(self, t_sec: int, k: int) -> float:
        x = self.x
        for s in range(0, t_sec, k):
            x = self.move(x, self.eps(x, s), s, s + k)
        up = self.move(x, self.eps(x, t_sec), t_sec, t_sec + k)
        back = self.move(up, self.eps(up, t_sec + k), t_sec + k, t_sec)
        return float(((back - x) ** 2).sum())

    def pia(self, t: int, scale: float | None = None) -> float:
        e = self.eps(self.x, 0)
        if scale is not None:
            e = e / np.abs(e).mean() * scale
        x = np.sqrt(self.a[t]) * self.x + np.sqrt(1 - self.a[t]) * e
        return float((np.abs(e - self.eps(x, t)) ** 4).sum() ** 0.25)


def test_every_score_is_the_formula_written_out():
    found, _ = scored()
    for row, (image, caption) in enumerate(zip(images(), CAPTIONS, strict=True)):
        one = Brute(image, caption)
        for column, t in enumerate((100, 200, 300, 500)):
            assert found["loss"][row, column] == pytest.approx(np.mean([one.loss(t, j) for j in range(3)]), rel=1e-5)
        assert found["secmi"][row] == pytest.approx(one.secmi(100, 10), rel=1e-3)
        assert found["pia"][row] == pytest.approx(one.pia(200), rel=1e-5)
        assert found["pian"][row] == pytest.approx(one.pia(200, np.sqrt(2 / np.pi)), rel=1e-5)
        e = one.eps(one.x, 100)
        assert found["sima"][row] == pytest.approx((np.abs(e) ** 4).sum() ** 0.25, rel=1e-5)
        for column, t in enumerate((100, 200, 300)):
            reduced = np.mean([one.loss(t, 0, other) for other in reduced_conditions(caption)])
            assert found["conditional_loss"][row, column] == pytest.approx(one.loss(t, 0), rel=1e-5)
            assert found["conditional_gain"][row, column] == pytest.approx(reduced - one.loss(t, 0), abs=1e-6)


def test_secmi_really_ends_at_its_timestep():
    """The authors' list, `list(range(0, t_sec, k))[1:]`, ends at 90 and compares there."""
    model = Curved()
    passes = Passes(model, images(), CAPTIONS)
    secmi(passes, 100, 10)
    steps = [t for _, t, _ in model.asked]
    assert steps == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]
    short = list(range(0, 100, 10))[1:]
    assert short[-1] == 90
    assert steps[-2] == 100  # where we compare


def test_the_noise_of_pian_has_the_size_of_a_standard_normal():
    """sqrt(pi/2), which stands in some code, would make it 1.25 times too large or, inverted, pi/2 times."""
    noise = (
        np.random.default_rng(0).normal(size=(3, 4, 16, 16)).astype(np.float32)
        * np.array([0.1, 1, 7])[:, None, None, None]
    )
    sizes = np.abs(rescaled(noise.astype(np.float32))).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(sizes, np.sqrt(2 / np.pi), rtol=1e-6)
    assert np.abs(np.random.default_rng(1).normal(size=200_000)).mean() == pytest.approx(sizes[0], abs=0.005)
    assert not rescaled(np.zeros((1, 1, 2, 2), np.float32)).any()


def test_what_can_be_shared_is_asked_once():
    model = scored()[1]
    at_zero = [latents for latents, t, _ in model.asked if t == 0]
    assert len(at_zero) == 1
    np.testing.assert_array_equal(at_zero[0], model.encode(images()))
    losses = 4 * 3
    reduced = 3 * (4 + 4 + 1 + 4)  # the caption of two words has only the null condition
    assert model.passes == 4 * (losses + 12 + 2 + 1) + reduced
    assert passes_per_image(Parameters.from_plain({**ALL, "timesteps": [100, 200, 300, 500]}), 4) == losses + 15 + 12


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    timesteps=st.lists(st.integers(0, 890), min_size=1, max_size=4, unique=True),
    noises=st.integers(1, 3),
    chain=st.one_of(st.none(), st.integers(1, 300)),
    interval=st.integers(1, 60),
    pia=st.one_of(st.none(), st.integers(1, 800)),
    sima=st.one_of(st.none(), st.integers(1, 800)),
    clid=st.lists(st.integers(0, 800), max_size=3, unique=True),
)
def test_the_plan_counts_the_passes_that_are_made(timesteps, noises, chain, interval, pia, sima, clid):
    asked = Parameters(
        timesteps=tuple(timesteps),
        noises=noises,
        secmi=chain,
        secmi_interval=interval,
        pia=pia,
        sima=sima,
        clid=tuple(clid),
    )
    model = Curved()
    score(model, images(2), CAPTIONS[:2], asked)
    assert model.passes == 2 * passes_per_image(asked, 4)


def test_all_images_timesteps_models_and_data_sets_see_the_same_noise():
    model = scored()[1]
    a = model.alphas_cumprod
    x = model.encode(images())
    draws = np.stack([drawn(j, (1, 3, 3)) for j in range(3)])
    assert not np.allclose(draws[0], draws[1])
    swept = [(latents, t) for latents, t, conditions in model.asked if conditions == tuple(CAPTIONS) * 3]
    assert [t for _, t in swept] == [100, 200, 300, 500]
    for latents, t in swept:
        noise = (latents - np.sqrt(a[t]) * np.tile(x, (3, 1, 1, 1))) / np.sqrt(1 - a[t])
        np.testing.assert_allclose(noise, np.repeat(draws, len(x), axis=0), atol=1e-3)


def test_it_meets_the_protocol_and_writes_what_it_declares():
    assert isinstance(OBSERVER, Observer)
    for parameters in ({}, ALL, {"secmi": 100}, {"clid": [50]}):
        check_columns(OBSERVER, need(records=5, **parameters), subject())
    assert all(field.description for field in OBSERVER.parameters.model_fields.values())


def test_the_rows_do_not_depend_on_the_shards_and_the_plan_knows_the_cost():
    opened = subject()
    asked = need("controls", records=40, timesteps=[50, 100], **ALL)
    first = rows(OBSERVER, asked, opened)
    again = rows(OBSERVER, asked, subject(), 7)
    assert [row["id"] for row in first] == [row["id"] for row in again]
    for one, two in zip(first, again, strict=True):
        for name in ("loss", "secmi", "pia", "pian", "sima", "conditional_gain"):
            np.testing.assert_allclose(one[name], two[name], rtol=1e-4)
    made = list(shards(OBSERVER, asked, subject(), 7))
    assert sum(shard.tokens for shard in made) == OBSERVER.tokens(asked, opened.facts)
    assert all(shard.restricted is None for shard in made)
    assert len(first) == OBSERVER.items(asked, opened.facts) == 40


def test_needs_are_joined_into_one_set_of_passes():
    sweep = Need(observer="denoising-scores", dataset="members", parameters={"records": 50, "timesteps": [100]})
    more = Need(observer="denoising-scores", dataset="members", parameters={"records": None, **ALL})
    other = Need(observer="denoising-scores", dataset="members", parameters={"secmi": 200})
    joined = OBSERVER.join([sweep, more, other])
    assert len(joined) == 2
    assert all(OBSERVER.covers(joined[0], one) for one in (sweep, more))
    assert not OBSERVER.covers(joined[1], more)
    have = Parameters.from_plain(joined[0].parameters)
    assert (have.records, have.secmi, have.clid) == (None, 100, (100, 200, 300))
    assert 100 in have.timesteps
    assert not OBSERVER.covers(joined[0], other)
    assert OBSERVER.covers(joined[1], other)
    assert OBSERVER.join(joined) == joined


def test_a_schedule_of_a_hundred_steps_is_asked_at_the_same_levels_of_noise():
    model = scored(Curved(steps=100))[1]
    assert [t for _, t, c in model.asked if c == tuple(CAPTIONS) * 3] == [10, 20, 30, 50]
    assert max(t for _, t, _ in model.asked) < 100


def test_what_the_model_cannot_give_is_said():
    model = Curved()
    model.guided = False
    with pytest.raises(UnsupportedError, match="null condition"):
        scored(model)
    with pytest.raises(UnsupportedError, match="outside"):
        scored(timesteps=[1000])

    opened = subject()
    inner = opened.denoiser("subject")
    ask = inner.predict_noise

    def spoiled(latents, timesteps, conditions):
        found = ask(latents, timesteps, conditions)
        found[1] = np.nan
        return found

    inner.predict_noise = spoiled
    with pytest.raises(UnsupportedError, match="member-0001"):
        rows(OBSERVER, need(records=None), opened)


def test_reduced_conditions_say_less():
    assert reduced_conditions("a b c d e f") == ["a b", "c d", "e f", None]
    assert reduced_conditions("a b c") == ["a", "b", "c", None]
    assert reduced_conditions("a b") == [None]
    assert reduced_conditions(3) == [None]
