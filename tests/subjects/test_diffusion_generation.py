"""What the pipeline makes: the same images that the library makes, each from its own seed; and what is filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from asked_of_denoisers import conditions_of, pictures
from tiny_pipelines import PIPELINES, opened, unconditional

from auditor.errors import DataError, UnsupportedError
from auditor.subjects.adapters.inpainting import ddim_of, filled, mask_of_latents
from auditor.subjects.adapters.opening import quietly

if TYPE_CHECKING:
    from pathlib import Path

    from tiny_pipelines import Pipelines

    from auditor.subjects.adapters.denoising_pipeline import DenoisingPipeline

SEEDS = [3, 1, 4, 1, 5, 92, 6]
STEPS = 4


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def guidance_of(model: DenoisingPipeline) -> float:
    return 3.0 if model.guided else 1.0


def generated(model: DenoisingPipeline, rows: slice = slice(None), guidance: float | None = None) -> np.ndarray:
    scale = guidance_of(model) if guidance is None else guidance
    return model.generate(conditions_of(model, 7)[rows], SEEDS[rows], STEPS, scale)


def halves(model: DenoisingPipeline, count: int) -> np.ndarray:
    masks = np.zeros((count, *model.image_shape[:2]), dtype=bool)
    masks[:, :, model.image_shape[1] // 2 :] = True
    return masks


def same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Return whether two sets of images differ by no more than the last digit of their arithmetic."""
    return ours.dtype == theirs.dtype == np.uint8 and int(np.abs(ours.astype(int) - theirs).max()) <= 1


def as_bytes(made: Any) -> np.ndarray:
    return np.stack([np.asarray(image).reshape(*image.size[::-1], -1) for image in made])


@pytest.mark.parametrize("name", ["ddpm", "velocity", "sample", "learned-variance", "latent", "quantised"])
def test_images_are_those_of_the_bare_pipeline(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    with quietly():
        theirs = model._pipeline(batch_size=7, generator=generators(), num_inference_steps=STEPS).images
    assert np.array_equal(generated(model), as_bytes(theirs))


@pytest.mark.parametrize("name", ["captions", "two-encoders"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_images_of_captions_are_those_of_the_bare_pipeline(pipelines: Pipelines, name: str, guidance: float) -> None:
    model = pipelines.model(name)
    captions = ["a red boat", "the grey cat on the tree"]
    own = {"num_inference_steps": STEPS, "guidance_scale": guidance, "generator": generators()[:2]}
    with quietly():
        theirs = model._pipeline(prompt=captions, **own).images
    assert same(model.generate(captions, SEEDS[:2], STEPS, guidance), as_bytes(theirs))


def test_a_class_network_is_told_the_class_by_us(pipelines: Pipelines) -> None:
    """diffusers' own pipeline gives no labels; the loop of its call is written out here with them."""
    model = pipelines.model("classes")
    scheduler, network, drawn = model._pipeline.scheduler, model._network, generators()
    labels = [row % 4 for row in range(7)]
    with torch.no_grad():
        x = torch.cat([torch.randn(1, 1, 8, 8, generator=one) for one in drawn])
        scheduler.set_timesteps(STEPS)
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t, torch.tensor(labels)).sample, t, x, generator=drawn).prev_sample
    theirs = ((x / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(model.generate(labels, SEEDS, STEPS, 1.0), theirs)
    assert not same(model.generate([0] * 7, SEEDS, STEPS, 1.0), theirs)
    with pytest.raises(ValueError, match="class_labels"):  # the labels are gone after the call
        network(x, 5)


def test_a_transformer_is_guided_away_from_its_own_null_class(pipelines: Pipelines) -> None:
    """diffusers' DiT pipeline writes 1000 as null class; this model has 5 classes, and 5 is its null."""
    model = pipelines.model("transformer")
    scheduler, network, vae = model._pipeline.scheduler, model._network, model._pipeline.vae
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 5])
    with torch.no_grad():
        x = torch.cat([torch.randn(1, 4, 8, 8, generator=one) for one in generators()])
        scheduler.set_timesteps(STEPS)
        for t in scheduler.timesteps:
            at = t.expand(7)
            wanted = network(x, timestep=at, class_labels=labels).sample[:, :4]
            null = network(x, timestep=at, class_labels=torch.full((7,), 5)).sample[:, :4]
            x = scheduler.step(null + 3.0 * (wanted - null), t, x).prev_sample
        image = vae.decode(x / vae.config.scaling_factor).sample
    theirs = ((image / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert same(model.generate([0, 1, 2, 3, 4, 0, None], SEEDS, STEPS, 3.0), theirs)
    plain = model.generate([0, 1, 2, 3, 4, 0, None], SEEDS, STEPS, 1.0)
    assert not same(plain[:6], theirs[:6])
    assert same(plain[6:], theirs[6:])  # away from null towards null is nowhere


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_an_image_is_the_same_alone_and_among_others(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    together = generated(model)
    torch.manual_seed(17)  # what else is drawn in the process does not matter
    for row in range(7):
        assert same(generated(model, slice(row, row + 1)), together[row : row + 1])
    assert np.array_equal(together, generated(model))
    assert len(np.unique(together.reshape(7, -1), axis=0)) > 1


@pytest.mark.parametrize("name", ["ddpm", "captions", "transformer"])
def test_only_the_seed_makes_images_of_one_condition_differ(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    condition = {"none": None, "text": "a red boat", "class": 1}[model.conditioning]
    first, second, again = model.generate([condition] * 3, [8, 9, 8], STEPS, 1.0)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", ["sample", "latent", "transformer", "two-encoders"])
def test_the_cost_is_counted(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    before = model.passes
    generated(model)
    assert model.passes - before == 7 * STEPS * (2 if model.guided else 1)
    before = model.passes
    generated(model, guidance=1.0)
    assert model.passes - before == 7 * STEPS


def test_generation_in_several_batches(pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pipelines.model("captions")
    expected = generated(model)
    monkeypatch.setattr(model, "_images_at_once", lambda *_, **__: 2)
    assert same(generated(model), expected)


@pytest.mark.parametrize(
    "scheduler", ["EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "DDPMScheduler"]
)
def test_any_sampler_of_the_library(tmp_path: Path, scheduler: str) -> None:
    from tiny_pipelines import captioned

    model = opened(captioned(tmp_path / "model", scheduler=scheduler))
    together = generated(model)
    assert same(generated(model, slice(2, 3)), together[2:3])


@pytest.mark.parametrize("name", ["latent", "transformer"])
def test_pipelines_that_share_noise_sample_without_any(pipelines: Pipelines, name: str, tmp_path: Path) -> None:
    """They hand no generator to a step: with a sampler that draws noise an image would depend on the process."""
    import json
    import shutil

    folder = shutil.copytree(pipelines.folder(name), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", "DDPMScheduler"]}))
    model = opened(folder)
    first = generated(model)
    torch.manual_seed(23)
    assert np.array_equal(generated(model), first)


def test_a_learned_variance_with_a_sampler_that_does_not_know_it(tmp_path: Path) -> None:
    """diffusers' DDIM step fails on twice the channels."""
    with quietly():
        folder = unconditional(tmp_path / "model", learned_variance=True)
        from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

        DDIMPipeline(UNet2DModel.from_pretrained(folder / "unet"), DDIMScheduler()).save_pretrained(folder)
    assert generated(opened(folder)).shape == (7, 8, 8, 1)


def test_a_trained_pipeline_makes_what_it_was_shown(tmp_path: Path) -> None:
    """The whole way: trained, saved, opened, asked; four pictures, and what comes out is near one of them."""
    y, x = np.mgrid[:8, :8]
    shown = np.stack(
        [np.where(side, 230, 20) for side in (x < 4, y < 4, x + y < 8, (x - 3.5) ** 2 + (y - 3.5) ** 2 < 8)]
    )
    shown = shown.astype(np.uint8)[..., None]
    with quietly():
        trained = opened(unconditional(tmp_path / "model", kind="DDIM", images=shown, steps=250))
    made = trained.generate([None] * 16, range(16), 20, 1.0).reshape(16, -1).astype(float)
    distance = np.sqrt(((made[:, None] - shown.reshape(4, -1)) ** 2).mean(axis=2)).min(axis=1) / 255
    assert np.median(distance) < 0.2
    epsilon = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    a = trained.alphas_cumprod[100]
    noised = np.sqrt(a) * trained.encode(shown) + np.sqrt(1 - a) * epsilon
    error = trained.predict_noise(noised.astype(np.float32), np.array([100] * 4), [None] * 4) - epsilon
    assert (error**2).mean() < 0.3  # an untrained network: 1


def test_what_cannot_be_sampled(pipelines: Pipelines) -> None:
    model = pipelines.model("ddpm")
    for steps, guidance in ((0, 1.0), (1001, 1.0), (4, 7.5), (4, 0.5)):
        with pytest.raises(UnsupportedError) as caught:
            model.generate([None], [1], steps, guidance)
        assert caught.value.hint
    with pytest.raises(UnsupportedError, match="below 1"):
        pipelines.model("captions").generate([None], [1], 4, 0.0)


# Filling in ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_what_is_not_masked_comes_back_exactly(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    images, conditions = pictures(model, 7), conditions_of(model, 7)
    masks = np.random.default_rng(2).random((7, *model.image_shape[:2])) < 0.4
    made = model.inpaint(images, masks, conditions, SEEDS, STEPS, guidance_of(model))
    assert made.dtype == np.uint8
    assert np.array_equal(made[~masks], images[~masks])
    assert not np.array_equal(made[masks], images[masks])


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_what_lies_under_the_mask_is_never_seen(pipelines: Pipelines, name: str) -> None:
    """An encoder sees beyond a pixel: what it must not know is grey before it looks."""
    model = pipelines.model(name)
    images, masks, conditions = pictures(model, 7), halves(model, 7), conditions_of(model, 7)
    other = np.where(masks[..., None], pictures(model, 7, seed=9), images)
    first, second = (model.inpaint(each, masks, conditions, SEEDS, STEPS, 1.0) for each in (images, other))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_a_filling_is_the_same_alone_and_among_others(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    images, masks, conditions, scale = pictures(model, 7), halves(model, 7), conditions_of(model, 7), guidance_of(model)
    together = model.inpaint(images, masks, conditions, SEEDS, STEPS, scale)
    for row in (0, 1, 6):
        one = slice(row, row + 1)
        assert same(model.inpaint(images[one], masks[one], conditions[one], SEEDS[one], STEPS, scale), together[one])


@pytest.mark.parametrize("name", ["ddpm", "captions", "inpainting"])
def test_a_filling_depends_on_the_seed_and_on_what_is_known(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    images, masks = pictures(model, 3), halves(model, 3)
    images[1] = images[0]
    images[2] = np.where(masks[2][..., None], images[0], 255 - images[0])
    conditions = ["a red boat" if model.conditioning == "text" else None] * 3
    made = model.inpaint(images, masks, conditions, [5, 6, 5], STEPS, 1.0)
    assert not np.array_equal(made[0][masks[0]], made[1][masks[1]])
    assert not np.array_equal(made[0][masks[0]], made[2][masks[2]])


def test_a_perfect_network_fills_in_the_picture_it_knows() -> None:
    """Whatever is known, what is made is the picture; and what the network is shown of the known part is its noised self."""
    from diffusers import DDIMScheduler

    rng = np.random.default_rng(4)
    scheduler = DDIMScheduler(clip_sample=False)
    picture, known = (torch.from_numpy(rng.uniform(-1, 1, (1, 1, 32, 32))).float() for _ in range(2))
    mask = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    mask[..., 16:] = True
    residues: list[np.ndarray] = []

    def said(x: torch.Tensor, step: int) -> torch.Tensor:
        a = float(scheduler.alphas_cumprod[step])
        residues.append(((x - a**0.5 * known) / (1 - a) ** 0.5)[~mask].numpy())
        return (x - a**0.5 * picture) / (1 - a) ** 0.5

    found = filled(said, known, mask, [11], scheduler, 20)
    assert (found - torch.where(mask, picture, known)).abs().max() < 1e-4
    drawn = np.array(residues)
    assert drawn.shape == (20, 512)
    assert abs(drawn.mean()) < 0.05  # 10,240 draws: 5 standard errors
    assert abs(drawn.std() - 1) < 0.04
    between = np.corrcoef(drawn)
    assert np.abs(between[~np.eye(20, dtype=bool)]).max() < 0.25  # fresh at every step


def test_guidance_reaches_what_is_filled_in(pipelines: Pipelines) -> None:
    model = pipelines.model("captions")
    images, masks = pictures(model, 2), halves(model, 2)
    ask = (images, masks, ["a red boat", None], [1, 2], STEPS)
    plain, guided = model.inpaint(*ask, 1.0), model.inpaint(*ask, 6.0)
    assert not same(plain[:1], guided[:1])
    assert same(plain[1:], guided[1:])


def test_a_cell_is_made_if_any_pixel_under_it_is() -> None:
    hidden = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    hidden[0, 0, 3, 5] = True
    mask = mask_of_latents(hidden, (4, 8, 8))
    assert mask.shape == (1, 1, 8, 8)
    assert mask.sum() == 1
    assert mask[0, 0, 1, 2]


def test_latents_are_clipped_only_where_the_model_clips_them(pipelines: Pipelines) -> None:
    """A latent is not bounded by 1; DDIM's default would cut it."""
    assert ddim_of(pipelines.model("captions")._pipeline.scheduler).config.clip_sample is False
    assert ddim_of(pipelines.model("two-encoders")._pipeline.scheduler).config.clip_sample is False
    assert ddim_of(pipelines.model("ddpm")._pipeline.scheduler).config.clip_sample is True


def test_an_inpainting_network_is_asked_through_its_own_pipeline(pipelines: Pipelines) -> None:
    model = pipelines.model("inpainting")
    images, masks = pictures(model, 3), halves(model, 3)
    captions = ["a red boat", "the tree", "winter"]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with quietly():
        theirs = model._pipeline(
            prompt=captions,
            image=torch.where(torch.from_numpy(masks)[:, None], 0.5, pixels),
            mask_image=torch.from_numpy(masks)[:, None].float(),
            height=16,
            width=16,
            num_inference_steps=STEPS,
            guidance_scale=4.0,
            generator=generators()[:3],
        ).images
    made = model.inpaint(images, masks, captions, SEEDS[:3], STEPS, 4.0)
    assert same(made, np.where(masks[..., None], as_bytes(theirs), images))


def test_an_inpainting_network_predicts_with_everything_masked(pipelines: Pipelines) -> None:
    model = pipelines.model("inpainting")
    x = np.random.default_rng(0).normal(size=(2, 4, 8, 8)).astype(np.float32)
    with torch.no_grad(), quietly():
        grey = (
            model._pipeline.vae.encode(torch.zeros(1, 3, 16, 16)).latent_dist.mean
            * model._pipeline.vae.config.scaling_factor
        )
        inputs = torch.cat([torch.from_numpy(x), torch.ones(2, 1, 8, 8), grey.expand(2, -1, -1, -1)], dim=1)
        text = model._pipeline.encode_prompt(["a dog", "winter"], "cpu", 1, False)[0]
        said = model._network(inputs, torch.tensor([7, 700]), encoder_hidden_states=text).sample.numpy()
    assert np.abs(model.predict_noise(x, np.array([7, 700]), ["a dog", "winter"]) - said).max() < 1e-5


def test_masks_that_do_not_fit(pipelines: Pipelines) -> None:
    model = pipelines.model("ddpm")
    images = pictures(model, 2)
    for mask in (np.zeros((2, 4, 4), dtype=bool), np.zeros((2, 8, 8), dtype=np.uint8), np.zeros((1, 8, 8), dtype=bool)):
        with pytest.raises(DataError) as caught:
            model.inpaint(images, mask, [None, None], [1, 2], STEPS, 1.0)
        assert caught.value.hint


def test_nothing_is_printed(pipelines: Pipelines, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither progress bars nor a caption that is too long."""
    model = opened(pipelines.folder("captions"))
    long = "winter " * 50
    model.generate([long], [1], STEPS, 2.0)
    model.cross_attention(np.zeros((1, 4, 8, 8), dtype=np.float32), np.array([1]), [long])
    assert capfd.readouterr() == ("", "")
