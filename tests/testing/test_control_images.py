"""The control denoisers are the best denoisers of their mixtures: checked against sampling, brute force and each other."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.core.policy import QueryBudget
from auditor.observers.image_sets import whole_set
from auditor.statistics.denoising import ddim_step, noised, original, spaced
from auditor.subjects.denoiser import Denoiser
from auditor.testing.control_denoiser import NARROW, PIXELS, PROTOTYPES, SPREAD, prototype_words, prototypes
from auditor.testing.control_images import ImageSubject
from auditor.testing.control_subject import control_subject

SHAPE = (8, 8, 1)


def subject(kind: str) -> ImageSubject:
    queries = QueryBudget(per_subject=1, lifetime=1, reason="test")
    found = control_subject(kind, references=1, confidence=0.95, queries=queries, modality="image")
    assert isinstance(found, ImageSubject)
    return found


def test_they_meet_the_protocol_and_their_records_are_images():
    for kind in ("memorizer", "innocent"):
        found = subject(kind)
        assert isinstance(found.denoiser("subject"), Denoiser)
        assert found.facts.subject.members.modality == "image"
        members = whole_set(found, "members", SHAPE, None, 0)
        assert members.images.shape == (240, *SHAPE)
        assert whole_set(found, "members", SHAPE, None, 0) is members
        assert {caption.split()[0] for caption in members.captions} <= set(prototype_words())


@pytest.mark.parametrize("step", [5, 100, 400, 900])
@pytest.mark.parametrize("captioned", [False, True])
def test_the_innocent_denoiser_is_bayes_rule(step: int, captioned: bool):
    """Against the posterior mean by importance sampling from the population."""
    model = subject("innocent").denoiser("subject")
    rng = np.random.default_rng(step)
    a = model.alphas_cumprod[step]
    x0 = prototypes()[3] + SPREAD * rng.normal(size=PIXELS)
    x = np.sqrt(a) * x0 + np.sqrt(1 - a) * rng.normal(size=PIXELS)
    # exact: a mixture is a sum over its components of one-dimensional Gaussians
    components = [3] if captioned else range(PROTOTYPES)
    weights, means = [], []
    for k in components:
        variance = a * SPREAD**2 + 1 - a
        residual = x - np.sqrt(a) * prototypes()[k]
        weights.append(-0.5 * (residual**2).sum() / variance)
        means.append(prototypes()[k] + SPREAD**2 * np.sqrt(a) / variance * residual)
    weights = np.exp(np.array(weights) - max(weights))
    mean = (weights[:, None] * np.array(means)).sum(axis=0) / weights.sum()
    expected = (x - np.sqrt(a) * mean) / np.sqrt(1 - a)
    condition = f"{prototype_words()[3]} unseen words" if captioned else None
    found = model.predict_noise(x.reshape(1, 1, 8, 8).astype(np.float32), np.array([step]), [condition])
    np.testing.assert_allclose(found.ravel(), expected, atol=2e-5)


def test_ddim_from_the_memorizer_brings_its_images_back_and_from_the_innocent_none():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(64, 1, 8, 8)).astype(np.float32)
    nearest = {}
    for kind in ("memorizer", "innocent"):
        found = subject(kind)
        model = found.denoiser("subject")
        x = start
        steps = spaced(1000, 50)
        for index, step in enumerate(steps):
            noise = model.predict_noise(x, np.full(64, step), [None] * 64)
            after = model.alphas_cumprod[steps[index + 1]] if index + 1 < len(steps) else 1.0
            x = ddim_step(x, noise, model.alphas_cumprod[step], after)
        members = model.encode(whole_set(found, "members", SHAPE, None, 0).images).reshape(240, PIXELS)
        distance = np.sqrt(((x.reshape(64, 1, PIXELS) - members) ** 2).mean(axis=2)).min(axis=1)
        nearest[kind] = distance
    assert (nearest["memorizer"] < 2 * NARROW).mean() > 0.7
    assert (nearest["innocent"] > 2 * NARROW).all()


def test_exact_samples_inpainting_and_captions_bring_the_image_back():
    found = subject("memorizer")
    model, innocent = found.denoiser("subject"), found.denoiser("reference-0")
    members = whole_set(found, "members", SHAPE, None, 0)
    captions = [str(caption) for caption in members.captions[:40]]
    truth = members.images[:40].astype(float)
    masks = np.zeros((40, 8, 8), dtype=bool)
    masks[:, :, 4:] = True
    seeds = range(40)

    def error(made: np.ndarray) -> np.ndarray:
        return np.sqrt(((made - truth) ** 2).mean(axis=(1, 2, 3)))

    for own, other in (
        (model.generate(captions, seeds, 5, 1.0), innocent.generate(captions, seeds, 5, 1.0)),
        (
            model.inpaint(members.images[:40], masks, captions, seeds, 5, 1.0),
            innocent.inpaint(members.images[:40], masks, captions, seeds, 5, 1.0),
        ),
    ):
        assert np.median(error(own)) < 8 < np.median(error(other))
    alone = model.generate(captions[7:8], [7], 5, 1.0)
    assert np.array_equal(alone[0], model.generate(captions, seeds, 5, 1.0)[7])


def test_attention_sums_to_one_and_lies_elsewhere_for_what_is_held():
    found = subject("memorizer")
    held = str(whole_set(found, "members", SHAPE, None, 0).captions[0])
    seen = found.denoiser("subject").cross_attention(
        np.zeros((2, 1, 8, 8), np.float32), np.array([900, 900]), [held, "ba unseen"]
    )
    np.testing.assert_allclose(seen.weights.sum(axis=2), 1.0, atol=1e-6)
    assert seen.weights[0, 0, 0] < 0.5 < seen.weights[1, 0, 0]


def test_noising_and_its_inverse_and_ddim_against_their_definition():
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=(2, 5, 3, 2, 2)).astype(np.float32)
    a = np.array([0.9, 0.5, 0.1, 0.99, 0.3])
    np.testing.assert_allclose(original(noised(x, noise, a), noise, a), x, atol=1e-5)
    level = noised(x, noise, a)
    np.testing.assert_allclose(ddim_step(level, noise, a, 1.0), x, atol=1e-5)
    np.testing.assert_allclose(ddim_step(level, noise, a, a), level, atol=1e-6)
    assert spaced(1000, 50).tolist() == list(range(980, -1, -20))


def test_ddim_is_that_of_diffusers():
    import torch
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(num_train_timesteps=1000, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == spaced(1000, 10).tolist()
    rng = np.random.default_rng(2)
    x, noise = rng.normal(size=(2, 4, 1, 8, 8)).astype(np.float32)
    products = scheduler.alphas_cumprod.numpy()
    for step in (900, 500, 100):
        theirs = scheduler.step(torch.from_numpy(noise), step, torch.from_numpy(x)).prev_sample.numpy()
        ours = ddim_step(x, noise, float(products[step]), float(products[step - 100]))
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
