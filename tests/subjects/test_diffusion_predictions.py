"""What the network predicts, in epsilon whatever it was trained for; what an image is to it; that a batch changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from asked_of_denoisers import conditions_of, latents, pictures
from tiny_pipelines import PIPELINES, opened, unconditional

from auditor.errors import DataError, UnsupportedError
from auditor.statistics.denoising import noised

if TYPE_CHECKING:
    from pathlib import Path

    from tiny_pipelines import Pipelines

STEPS = np.array([0, 1, 250, 500, 750, 998, 999])


class Knowing(torch.nn.Module):
    """A network that knows what was put in, and says it as it was trained to."""

    def __init__(self, config: Any, said: torch.Tensor) -> None:
        super().__init__()
        self.config, self.said, self.dtype = config, said, torch.float32

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, **_: object) -> Any:
        return type("Said", (), {"sample": self.said})()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("learned", [False, True])
def test_what_a_perfect_network_says_is_the_noise_that_was_added(
    pipelines: Pipelines, kind: str, learned: bool
) -> None:
    """Of x_t = sqrt(a) x_0 + sqrt(1 - a) e: e, v = sqrt(a) e - sqrt(1 - a) x_0 and x_0 all come back as e."""
    from auditor.subjects.adapters.denoising_pipeline import DenoisingPipeline

    rng = np.random.default_rng(5)
    clean, noise = rng.uniform(-1, 1, (7, 1, 8, 8)).astype(np.float32), rng.normal(size=(7, 1, 8, 8)).astype(np.float32)
    known = pipelines.model("ddpm")
    a = known.alphas_cumprod[STEPS]
    velocity = noised(noise, -clean, a)
    said = {"epsilon": noise, "v_prediction": velocity, "sample": clean}[kind]
    if learned:
        said = np.concatenate([said, rng.normal(size=said.shape).astype(np.float32)], axis=1)
    network = Knowing(known._network.config, torch.from_numpy(said))
    model = DenoisingPipeline(known._pipeline, network, known._codec, known._conditions, known.latent_shape)
    model._prediction = kind
    found = model.predict_noise(noised(clean, noise, a), STEPS, [None] * 7)
    # float32: x_0 is divided by sqrt(1 - a), 0.01 at the first step
    assert np.abs(found - noise).max() < (1e-4 if kind == "sample" else 1e-5)


@pytest.mark.parametrize("name", ["velocity", "sample"])
def test_the_scheduler_of_the_library_agrees(pipelines: Pipelines, name: str) -> None:
    """Our epsilon gives the x_0 that diffusers' own step gives for the same output."""
    model = pipelines.model(name)
    x = latents(model, 7)
    epsilon = model.predict_noise(x, STEPS, [None] * 7)
    scheduler = model._pipeline.scheduler
    scheduler.set_timesteps(1000)
    for row, step in enumerate(STEPS):
        with torch.no_grad():
            raw = model._network(torch.from_numpy(x[row : row + 1]), torch.tensor(int(step))).sample
        a = float(scheduler.alphas_cumprod[step])
        theirs = scheduler.step(raw, int(step), torch.from_numpy(x[row : row + 1])).pred_original_sample.numpy()[0]
        ours = np.clip((x[row] - (1 - a) ** 0.5 * epsilon[row]) / a**0.5, -1, 1)
        assert np.abs(ours - theirs).max() < 2e-3  # at step 999 an error is multiplied by 157


def test_the_schedule_is_that_of_the_paper(pipelines: Pipelines) -> None:
    """Ho et al. 2020, section 4: betas from 1e-4 to 0.02."""
    expected = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    assert np.allclose(pipelines.model("ddpm").alphas_cumprod, expected, rtol=1e-4)
    assert (np.diff(pipelines.model("captions").alphas_cumprod) < 0).all()


def test_a_learned_variance_is_left_out(pipelines: Pipelines) -> None:
    model = pipelines.model("learned-variance")
    x = latents(model, 3)
    with torch.no_grad():
        said = model._network(torch.from_numpy(x), torch.tensor([5, 6, 7])).sample
    assert said.shape[1] == 2
    assert np.array_equal(model.predict_noise(x, np.array([5, 6, 7]), [None] * 3), said[:, :1].numpy())


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_a_prediction_is_the_same_alone_and_among_others(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    x, conditions = latents(model, 7), conditions_of(model, 7)
    together = model.predict_noise(x, STEPS, conditions)
    for row in range(7):
        alone = model.predict_noise(x[row : row + 1], STEPS[row : row + 1], conditions[row : row + 1])[0]
        assert np.abs(alone - together[row]).max() <= 1e-5 * max(1.0, np.abs(together[row]).max())


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_a_batch_is_bounded_and_the_order_is_kept(
    pipelines: Pipelines, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pipelines.model(name)
    x, conditions = latents(model, 7), conditions_of(model, 7)
    expected, before = model.predict_noise(x, STEPS, conditions), model.passes
    monkeypatch.setattr(model, "_images_at_once", lambda *_, **__: 3)
    found = model.predict_noise(x, STEPS, conditions)
    assert np.abs(found - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
    assert model.passes == before + 7


def test_larger_images_are_fewer_at_once(pipelines: Pipelines, tmp_path: Path) -> None:
    small, large = pipelines.model("ddpm"), opened(unconditional(tmp_path / "large", size=64))
    assert large._images_at_once() * 8 <= small._images_at_once() <= 512
    assert large._images_at_once(2) == large._images_at_once() // 2
    assert pipelines.model("captions")._images_at_once(codes=True) >= 1


def test_an_accelerator_that_is_too_small_gets_halves(pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pipelines.model("ddpm")
    x = latents(model, 7)
    expected, before, inner = model.predict_noise(x, STEPS, [None] * 7), model.passes, model._network.forward

    def small(sample: torch.Tensor, *args: Any, **options: Any) -> Any:
        if len(sample) > 2:
            raise torch.OutOfMemoryError
        return inner(sample, *args, **options)

    monkeypatch.setattr(model._network, "forward", small)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert np.abs(model.predict_noise(x, STEPS, [None] * 7) - expected).max() < 1e-5
    assert model.passes == before + 7

    def nothing(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(model._network, "forward", nothing)
    with pytest.raises(UnsupportedError, match="one image"):
        model.predict_noise(x, STEPS, [None] * 7)


# Images -------------------------------------------------------------------------------------------------------------


def test_a_pixel_model_sees_every_byte(pipelines: Pipelines) -> None:
    model = pipelines.model("ddpm")
    every = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    encoded = model.encode(every)
    assert encoded.shape == (4, 1, 8, 8)
    assert (encoded.min(), encoded.max()) == (-1.0, 1.0)
    assert np.array_equal(np.rint((encoded.transpose(0, 2, 3, 1) + 1) * 127.5), every)


@pytest.mark.parametrize("name", ["latent", "captions", "transformer", "two-encoders"])
def test_a_latent_is_the_mean_of_the_code_times_the_scaling(pipelines: Pipelines, name: str) -> None:
    """A sample of the code would differ from call to call."""
    model = pipelines.model(name)
    vae = getattr(model._pipeline, "vae", None) or model._pipeline.vqvae
    images = pictures(model, 7)
    with torch.no_grad():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        code = vae.encode(pixels).latent_dist
    encoded = model.encode(images)
    assert np.abs(encoded - vae.config.scaling_factor * code.mean.numpy()).max() < 1e-5
    assert np.array_equal(encoded, model.encode(images))
    assert code.std.min() > 0.1  # it would show


@pytest.mark.parametrize("name", ["captions", "quantised", "two-encoders", "sample"])
def test_decoding_undoes_the_scaling_of_encoding(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    images = pictures(model, 2)
    encoded = model.encode(images)
    assert encoded.shape == (2, *model.latent_shape)
    decoded = model._codec.decode(torch.from_numpy(encoded))
    assert decoded.shape == (2, model.image_shape[2], *model.image_shape[:2])
    if vae := getattr(model._pipeline, "vae", None):
        with torch.no_grad():
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
            theirs = vae.decode(vae.encode(pixels).latent_dist.mean).sample
        assert (decoded - theirs).abs().max() < 1e-4


def test_standardised_codes(pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Autoencoders with latents_mean and latents_std: (code - mean) / deviation times the factor, and back."""
    from auditor.subjects.adapters.latents import Autoencoder

    model = pipelines.model("two-encoders")
    vae = model._pipeline.vae
    plain = model._codec.encode(torch.zeros(1, 3, 16, 16))
    config = type(vae.config)({**vae.config, "latents_mean": [1.0, 0.0, 0.0, 2.0], "latents_std": [2.0, 1.0, 1.0, 4.0]})
    monkeypatch.setattr(vae, "_internal_dict", config)
    codec = Autoencoder(vae, model.latent_shape)
    found = codec.encode(torch.zeros(1, 3, 16, 16)) / vae.config.scaling_factor
    code = plain / vae.config.scaling_factor
    mean, deviation = torch.tensor([1.0, 0, 0, 2]).view(1, 4, 1, 1), torch.tensor([2.0, 1, 1, 4]).view(1, 4, 1, 1)
    assert (found - (code - mean) / deviation).abs().max() < 1e-5
    assert (codec.decode(codec.encode(torch.zeros(1, 3, 16, 16))) - model._codec.decode(plain)).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (2, 16, 16, 1), (2, 8, 8)])
def test_images_of_another_shape(pipelines: Pipelines, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError) as caught:
        pipelines.model("ddpm").encode(np.zeros(shape, dtype=np.uint8))
    assert caught.value.hint
    with pytest.raises(DataError, match="float"):
        pipelines.model("ddpm").encode(np.zeros((2, 8, 8, 1)))


def test_nothing_asked_is_nothing_given(pipelines: Pipelines) -> None:
    model = pipelines.model("ddpm")
    assert model.encode(np.zeros((0, 8, 8, 1), dtype=np.uint8)).shape == (0, 1, 8, 8)
    assert model.generate([], [], 2, 1.0).shape == (0, 8, 8, 1)


# Conditions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["captions", "two-encoders", "transformer", "classes", "inpainting"])
def test_conditions_matter(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    conditions: list[Any] = ["a red boat", "the tree", None] if model.conditioning == "text" else [0, 1, 2]
    if name == "transformer":
        conditions[2] = None
    x = np.repeat(latents(model, 1), 3, axis=0)
    found = model.predict_noise(x, np.array([300] * 3), conditions)
    assert min(np.abs(found[i] - found[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-4


def test_captions_are_embedded_as_the_pipeline_embeds_them(pipelines: Pipelines) -> None:
    model = pipelines.model("captions")
    pipeline = model._pipeline
    captions = ["a red boat", "the grey cat"]
    theirs, null = pipeline.encode_prompt(captions, pipeline.device, 1, True)
    x = latents(model, 2)
    with torch.no_grad():
        said = model._network(torch.from_numpy(x), torch.tensor([9, 90]), encoder_hidden_states=theirs).sample
        plain = model._network(torch.from_numpy(x), torch.tensor([9, 90]), encoder_hidden_states=null).sample
    assert np.abs(model.predict_noise(x, np.array([9, 90]), captions) - said.numpy()).max() < 1e-5
    assert np.abs(model.predict_noise(x, np.array([9, 90]), [None, None]) - plain.numpy()).max() < 1e-5


def test_the_null_condition_of_two_encoders_is_zeros(pipelines: Pipelines) -> None:
    """SDXL's own: `force_zeros_for_empty_prompt`; the size of the image is a condition, too."""
    inputs = pipelines.model("two-encoders")._conditions.inputs([None, "a red boat"])
    assert not inputs["encoder_hidden_states"][0].any()
    assert inputs["encoder_hidden_states"][1].any()
    assert not inputs["added_cond_kwargs"]["text_embeds"][0].any()
    assert inputs["added_cond_kwargs"]["time_ids"].tolist() == [[16, 16, 0, 0, 16, 16]] * 2


def test_a_caption_is_embedded_once(pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(pipelines.folder("captions"))
    asked: list[str] = []
    inner = model._pipeline.encode_prompt
    monkeypatch.setattr(
        model._pipeline, "encode_prompt", lambda prompt, **o: asked.extend(prompt) or inner(prompt, **o)
    )
    x = latents(model, 3)
    for _ in range(2):
        model.predict_noise(x, np.array([1, 2, 3]), ["a red boat", "the tree", "a red boat"])
    assert asked == ["a red boat", "the tree"]


def test_only_so_many_captions_are_kept(pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    from auditor.subjects.adapters import conditions

    model = opened(pipelines.folder("captions"))
    one = 12 * 16 * 4
    monkeypatch.setattr(conditions, "CACHE_BYTES", 3 * one)
    captions = [f"a boat {number}" for number in range(20)]
    first = model._conditions.inputs(captions)["encoder_hidden_states"]
    assert len(model._conditions._kept) == 3
    assert model._conditions._bytes == 3 * one
    again = model._conditions.inputs(captions)["encoder_hidden_states"]
    assert (first - again).abs().max() < 1e-5


def test_what_a_model_cannot_be_conditioned_on(pipelines: Pipelines) -> None:
    def ask(name: str, condition: Any) -> None:
        model = pipelines.model(name)
        model.predict_noise(latents(model, 1), np.array([1]), [condition])

    with pytest.raises(UnsupportedError, match="not conditioned"):
        ask("ddpm", "a red boat")
    with pytest.raises(UnsupportedError, match="no null class"):
        ask("classes", None)
    for name, condition in (("classes", 4), ("classes", -1), ("transformer", 5), ("classes", "boat"), ("captions", 3)):
        with pytest.raises(DataError) as caught:
            ask(name, condition)
        assert caught.value.hint


def test_timesteps_that_do_not_exist(pipelines: Pipelines) -> None:
    model = pipelines.model("ddpm")
    for step in (-1, 1000):
        with pytest.raises(ValueError, match="timesteps lie between 0 and 999"):
            model.predict_noise(latents(model, 1), np.array([step]), [None])


def test_no_dropout(pipelines: Pipelines) -> None:
    for name in ("captions", "transformer"):
        parts = [part for part in pipelines.model(name)._pipeline.components.values() if hasattr(part, "modules")]
        assert parts
        assert not any(module.training for part in parts for module in part.modules())
        assert not any(weight.requires_grad for part in parts for weight in part.parameters())


@pytest.mark.parametrize("name", ["ddpm", "captions", "two-encoders", "transformer", "inpainting"])
def test_half_precision_is_near(pipelines: Pipelines, name: str) -> None:
    whole, half = pipelines.model(name), opened(pipelines.folder(name), "bfloat16")
    x, conditions = latents(whole, 3), conditions_of(whole, 3)
    exact, near = (model.predict_noise(x, np.array([100, 500, 900]), conditions) for model in (whole, half))
    assert near.dtype == np.float32
    assert 0 < np.abs(exact - near).max() < 0.1 * np.abs(exact).max()
    assert half.encode(pictures(half, 2)).dtype == np.float32
    assert half.generate(conditions, [1, 2, 3], 3, 1.0).shape == (3, *half.image_shape)
