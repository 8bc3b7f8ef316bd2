"""Opening a pipeline folder: what is accepted, and how everything else is refused before it is opened."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_pipelines import PIPELINES, spec

from auditor.contract.protocol import Adapter
from auditor.core.subject import ModelSpec
from auditor.errors import SubjectError
from auditor.subjects.adapters.diffusion import ADAPTER
from auditor.subjects.adapters.weights import PICKLES
from auditor.subjects.denoiser import Denoiser

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tiny_pipelines import Pipelines

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def pixels(pipelines: Pipelines, tmp_path: Path) -> Path:
    return shutil.copytree(pipelines.folder("ddpm"), tmp_path / "model")


@pytest.fixture
def captions(pipelines: Pipelines, tmp_path: Path) -> Path:
    return shutil.copytree(pipelines.folder("captions"), tmp_path / "model")


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def change_weights(path: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = load_file(path)
    edit(weights)
    save_file(weights, path)


def refusal(folder: Path, *, on: str = "files") -> SubjectError:
    """Return the error; it names the folder and says what to do."""
    ask = {"files": ADAPTER.files, "open": ADAPTER.open}[on]
    with pytest.raises(SubjectError) as caught:
        ask(spec(folder), folder.parent)
    assert caught.value.hint
    assert str(folder) in caught.value.message
    return caught.value


def test_it_meets_the_protocols(pipelines: Pipelines) -> None:
    assert isinstance(ADAPTER, Adapter)
    assert isinstance(pipelines.model("ddpm"), Denoiser)


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_files_are_all_that_can_change_what_is_computed(pipelines: Pipelines, name: str) -> None:
    """Everything that `save_pretrained` wrote is listed: nothing else lies there."""
    folder = pipelines.folder(name)
    found = ADAPTER.files(spec(folder), folder.parent)
    assert found == sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_never_opened_is_not_listed(captions: Path) -> None:
    for stray in ("README.md", "unet/diffusion_pytorch_model.non_ema.safetensors", "unet/diffusion_pytorch_model.bin"):
        (captions / stray).write_bytes(b"not part of the computation")
    (captions / "safety_checker").mkdir()
    (captions / "safety_checker" / "pytorch_model.bin").write_bytes(b"a pickle that is never opened")
    change(
        captions / "model_index.json",
        lambda said: said.update(safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"]),
    )
    names = {str(path.relative_to(captions)) for path in ADAPTER.files(spec(captions), captions.parent)}
    assert not any("safety" in name or "non_ema" in name or name.endswith((".md", ".bin")) for name in names)
    assert ADAPTER.open(spec(captions), captions.parent).conditioning == "text"


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_the_parameters_are_those_of_the_parts(pipelines: Pipelines, name: str) -> None:
    model = pipelines.model(name)
    folder = pipelines.folder(name)
    parts = [part for part in model._pipeline.components.values() if isinstance(part, torch.nn.Module)]
    held = sum(weight.numel() for part in parts for weight in part.parameters())
    assert ADAPTER.describe(spec(folder), folder.parent) == (held, 0)


def test_capabilities_are_as_the_configuration_says(pipelines: Pipelines) -> None:
    def of(name: str) -> set[str]:
        folder = pipelines.folder(name)
        return set(ADAPTER.capabilities_of(spec(folder), folder.parent)) - {"denoises", "generates-images", "inpaints"}

    text = {"conditions-on-text", "guides", "shows-attention"}
    assert of("ddpm") == of("latent") == of("quantised") == set()
    assert of("classes") == {"conditions-on-class"}
    assert of("transformer") == {"conditions-on-class", "guides"}
    assert of("captions") == of("inpainting") == of("two-encoders") == text
    assert text | of("transformer") <= set(ADAPTER.capabilities)


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_what_the_model_says_fits_its_capabilities(pipelines: Pipelines, name: str) -> None:
    folder, model = pipelines.folder(name), pipelines.model(name)
    said = ADAPTER.capabilities_of(spec(folder), folder.parent)
    assert model.guided == ("guides" in said)
    kind = "text" if "conditions-on-text" in said else "class" if "conditions-on-class" in said else "none"
    assert model.conditioning == kind


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "no such model folder" in refusal(tmp_path / "nothing").message


@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors"])
def test_a_single_file_is_told_how_to_convert(tmp_path: Path, name: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / name).write_bytes(b"x")
    said = refusal(tmp_path / "model")
    assert name in said.message
    assert "from_single_file" in said.hint


@pytest.mark.parametrize("part", ["unet", "scheduler", "text_encoder", "vae", "tokenizer"])
def test_a_missing_part(captions: Path, part: str) -> None:
    shutil.rmtree(captions / part)
    assert str(captions / part) in refusal(captions).message


@pytest.mark.parametrize(
    ("part", "weights"), [("unet", WEIGHTS), ("vae", WEIGHTS), ("text_encoder", "model.safetensors")]
)
@pytest.mark.parametrize("ending", PICKLES)
def test_a_pickle_is_refused_and_never_opened(captions: Path, part: str, weights: str, ending: str) -> None:
    (captions / part / weights).unlink()
    (captions / part / f"model{ending}").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    said = refusal(captions)
    assert "pickle" in said.message
    assert "safetensors" in said.hint


def test_another_variant_is_not_taken_for_the_one_that_ships(pixels: Path) -> None:
    (pixels / "unet" / WEIGHTS).rename(pixels / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert "fp16" in refusal(pixels).message


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_file_that_is_cut_short(captions: Path, part: str) -> None:
    path = next((captions / part).glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-100])
    assert "bytes are missing" in refusal(captions).message


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_are_not_numbers(captions: Path, part: str) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        next(iter(weights.values())).view(-1)[0] = float("nan")

    change_weights(next((captions / part).glob("*.safetensors")), spoil)
    assert "NaN" in refusal(captions, on="open").message


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_weight_that_is_missing_is_not_made_up(captions: Path, part: str) -> None:
    change_weights(next((captions / part).glob("*.safetensors")), lambda weights: weights.pop(min(weights)))
    assert "is missing" in refusal(captions, on="open").message


def test_a_weight_of_another_shape(pixels: Path) -> None:
    change_weights(pixels / "unet" / WEIGHTS, lambda weights: weights.update({"conv_in.bias": torch.zeros(3)}))
    refusal(pixels, on="open")


CODE = [
    (lambda said: said.update(_class_name=["my_module", "MyPipeline"]), "code of its own"),
    (lambda said: said.update(unet=["my_module", "UNet2DConditionModel"]), "code of its own"),
    (lambda said: said.update(_class_name="FluxPipeline"), "FluxPipeline"),
    (lambda said: said.update(_class_name="StableDiffusionPipline"), "StableDiffusionPipline"),
    (lambda said: said.update(unet=["diffusers", "Nonsense"]), "Nonsense"),
    (lambda said: said.update(unet=["transformers", "UNet2DConditionModel"]), "transformers.UNet2DConditionModel"),
    (lambda said: said.update(unet=["diffusers", "UNet2DModel"]), "UNet2DModel"),
    (lambda said: said.update(scheduler=["diffusers", "os.system"]), "os.system"),
    (lambda said: said.update(controlnet=["diffusers", "ControlNetModel"]), "controlnet"),
    (lambda said: said.pop("vae"), "vae"),
    (lambda said: said.pop("_class_name"), "code of its own"),
]


@pytest.mark.parametrize(("edit", "word"), CODE)
def test_unknown_classes_are_refused_before_anything_is_opened(captions: Path, edit: Any, word: str) -> None:
    change(captions / "model_index.json", edit)
    assert word in refusal(captions).message


def test_a_class_that_the_library_does_not_have(captions: Path) -> None:
    change(captions / "model_index.json", lambda said: said.update(scheduler=["diffusers", "NonsenseScheduler"]))
    assert "NonsenseScheduler" in refusal(captions, on="open").message


def test_a_misspelt_pipeline_is_told_the_nearest(captions: Path) -> None:
    change(captions / "model_index.json", lambda said: said.update(_class_name="StableDiffusionPipline"))
    assert "StableDiffusionPipeline" in refusal(captions).hint


@pytest.mark.parametrize("file", ["text_encoder/config.json", "tokenizer/tokenizer_config.json"])
def test_code_in_a_part_is_refused(captions: Path, file: str) -> None:
    change(captions / file, lambda said: said.update(auto_map={"AutoModel": "elsewhere/code--model.Model"}))
    assert "auto_map" in refusal(captions).message


NETWORKS = [
    ({"time_cond_proj_dim": 8}, "time_cond_proj_dim"),
    ({"class_embed_type": "timestep"}, "class_embed_type"),
    ({"num_class_embeds": 3}, "num_class_embeds"),
    ({"addition_embed_type": "text_time"}, "addition_embed_type"),
    ({"sample_size": None}, "sample_size"),
]


@pytest.mark.parametrize(("settings", "word"), NETWORKS)
def test_networks_with_inputs_of_their_own(captions: Path, settings: dict[str, Any], word: str) -> None:
    change(captions / "unet" / "config.json", lambda said: said.update(settings))
    assert word in refusal(captions).message


def test_broken_configurations(captions: Path) -> None:
    (captions / "unet" / "config.json").write_text("{")
    assert "not valid JSON" in refusal(captions).message


def test_an_autoencoder_of_another_model(captions: Path, pipelines: Pipelines, tmp_path: Path) -> None:
    """Codes of another number of channels, or of another size."""
    from tiny_pipelines import autoencoder, quietly

    for number, options in enumerate(({"latent_channels": 3}, {"channels": 1, "latent_channels": 8})):
        other = shutil.copytree(captions, tmp_path / f"other-{number}")
        with quietly(0):
            autoencoder(**options).save_pretrained(other / "vae")
        assert "do not belong together" in refusal(other, on="open").hint


def test_an_autoencoder_whose_codes_have_another_size(captions: Path) -> None:
    """The size is known from shapes alone, not from what the configuration hopes for."""
    model = ADAPTER.open(spec(captions), captions.parent)
    from auditor.subjects.adapters.latents import Autoencoder

    with pytest.raises(SubjectError, match="makes codes of shape"):
        Autoencoder(model._pipeline.vae, (5, 8, 8))


def test_a_text_encoder_of_another_model(captions: Path) -> None:
    from tiny_pipelines import quietly, text_encoder, tokenizer

    with quietly(0):
        text_encoder(tokenizer(), width=24).save_pretrained(captions / "text_encoder")
    said = refusal(captions, on="open")
    assert "24 numbers for each token, the network takes 16" in said.message


def test_pixels_of_two_channels(tmp_path: Path) -> None:
    from tiny_pipelines import unconditional

    folder = unconditional(tmp_path / "model", channels=2)
    assert "images of 2 channels" in refusal(folder, on="open").message


SCHEDULERS = [
    ("FlowMatchEulerDiscreteScheduler", {}, "no schedule of betas"),
    ("DDPMScheduler", {"prediction_type": "flow"}, "predicts 'flow'"),
]


@pytest.mark.parametrize(("name", "settings", "words"), SCHEDULERS)
def test_what_is_not_diffusion_by_betas(captions: Path, name: str, settings: dict[str, Any], words: str) -> None:
    change(captions / "model_index.json", lambda said: said.update(scheduler=["diffusers", name]))
    (captions / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": name, **settings}))
    assert words in refusal(captions, on="open").message


def test_a_device_that_is_not_here(pixels: Path) -> None:
    with pytest.raises(SubjectError, match="not a device"):
        ADAPTER.open(ModelSpec(adapter="diffusion", path=pixels.name, device="toaster"), pixels.parent)


def test_weights_in_shards(captions: Path) -> None:
    """An index is preferred by diffusers, and its shards are what is listed."""
    from diffusers import UNet2DConditionModel
    from tiny_pipelines import quietly

    before = ADAPTER.describe(spec(captions), captions.parent)
    with quietly(0):
        network = UNet2DConditionModel.from_pretrained(captions / "unet")
        (captions / "unet" / WEIGHTS).unlink()
        network.save_pretrained(captions / "unet", max_shard_size="300KB")
    names = [path.name for path in ADAPTER.files(spec(captions), captions.parent) if path.parent.name == "unet"]
    assert len(names) > 3
    assert ADAPTER.describe(spec(captions), captions.parent) == before
    assert ADAPTER.open(spec(captions), captions.parent).latent_shape == (4, 8, 8)
    next((captions / "unet").glob("*-00001-*")).unlink()
    assert "missing" in refusal(captions).message


def test_a_pipeline_that_knows_one_precision(pipelines: Pipelines) -> None:
    folder = pipelines.folder("latent")
    with pytest.raises(SubjectError, match="float32") as caught:
        ADAPTER.open(spec(folder, "bfloat16"), folder.parent)
    assert "dtype: float32" in caught.value.hint
