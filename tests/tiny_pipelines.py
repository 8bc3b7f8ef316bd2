"""Small diffusers pipelines, written as `save_pretrained` writes them: random weights, or trained for a moment.

The weights are random but not small, so that predictions differ from one another. Trained ones learn what they are shown: with a
few pictures and a thousand steps they remember them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.core.subject import ModelSpec
from auditor.subjects.adapters import opening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from auditor.subjects.adapters.denoising_pipeline import DenoisingPipeline

TIMESTEPS = 1000
CHANNELS = (16, 32)
"""Channels of the two levels of every network here."""


@contextlib.contextmanager
def quietly(seed: int) -> Iterator[None]:
    """Seed torch for the block, and keep the libraries' advice about missing packages out of the tests."""
    import torch

    with opening.quietly():
        import diffusers  # noqa: F401
    with torch.random.fork_rng(), opening.quietly():
        torch.manual_seed(seed)
        yield


def spec(folder: Path, dtype: Any = "float32") -> ModelSpec:
    """Return how a subject file beside the folder would name it."""
    return ModelSpec(adapter="diffusion", path=folder.name, dtype=dtype, device="cpu")


def unet(size: int, channels: int, *, classes: int | None = None, out_channels: int | None = None) -> Any:
    """Return an unconditional or class-conditional network of two levels, about 160,000 parameters."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=out_channels or channels,
        layers_per_block=1,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        add_attention=False,
        num_class_embeds=classes,
    )


def train(
    network: Any,
    scheduler: Any,
    images: NDArray[np.uint8],
    steps: int,
    *,
    labels: Sequence[int] | None = None,
    seed: int = 0,
    batch: int = 32,
) -> None:
    """Train a pixel network on images, uint8 [n, height, width, channels], to predict what its scheduler says."""
    import torch

    pixels = torch.from_numpy(np.asarray(images, dtype=np.float32) / 127.5 - 1.0).permute(0, 3, 1, 2)
    known = None if labels is None else torch.as_tensor(list(labels))
    rng = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(pixels), (batch,), generator=rng)
        clean = pixels[rows]
        noise = torch.randn(clean.shape, generator=rng)
        at = torch.randint(TIMESTEPS, (batch,), generator=rng)
        noised = scheduler.add_noise(clean, noise, at)
        kind = scheduler.config.prediction_type
        wanted = {"epsilon": noise, "sample": clean}.get(kind)
        if wanted is None:
            wanted = scheduler.get_velocity(clean, noise, at)
        said = network(noised, at, **({} if known is None else {"class_labels": known[rows]})).sample
        loss = torch.nn.functional.mse_loss(said, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        pace.step()


def unconditional(
    folder: Path,
    *,
    size: int = 8,
    channels: int = 1,
    kind: str = "DDPM",
    prediction: str = "epsilon",
    learned_variance: bool = False,
    images: NDArray[np.uint8] | None = None,
    steps: int = 0,
    seed: int = 0,
) -> Path:
    """Write a pixel pipeline (`kind` DDPM or DDIM) and return its folder; with images and steps it is trained on them."""
    import diffusers

    with quietly(seed):
        network = unet(size, channels, out_channels=2 * channels if learned_variance else None)
        settings: dict[str, Any] = {"num_train_timesteps": TIMESTEPS, "prediction_type": prediction}
        if learned_variance:
            settings["variance_type"] = "learned_range"
        scheduler = getattr(diffusers, f"{kind}Scheduler")(**settings)
        if images is not None:
            train(network, scheduler, images, steps, seed=seed)
        getattr(diffusers, f"{kind}Pipeline")(unet=network, scheduler=scheduler).save_pretrained(folder)
    return folder


def class_conditional(
    folder: Path,
    *,
    size: int = 8,
    channels: int = 1,
    classes: int = 4,
    images: NDArray[np.uint8] | None = None,
    labels: Sequence[int] | None = None,
    steps: int = 0,
    seed: int = 0,
) -> Path:
    """Write a pixel pipeline whose network takes class labels and has no null class."""
    with quietly(seed):
        from diffusers import DDPMPipeline, DDPMScheduler

        network, scheduler = unet(size, channels, classes=classes), DDPMScheduler(num_train_timesteps=TIMESTEPS)
        if images is not None:
            train(network, scheduler, images, steps, labels=labels, seed=seed)
        DDPMPipeline(unet=network, scheduler=scheduler).save_pretrained(folder)
    return folder


def autoencoder(*, channels: int = 3, latent_channels: int = 4, levels: int = 2) -> Any:
    """Return an autoencoder that halves the size at every level but the first."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=CHANNELS[:levels],
        latent_channels=latent_channels,
        norm_num_groups=8,
        layers_per_block=1,
        sample_size=16,
    )


def transformer(folder: Path, *, classes: int = 5, seed: int = 0) -> Path:
    """Write a class-conditional latent pipeline with a null class: DiT, which learns its variance; images 16 x 16 x 3."""
    with quietly(seed):
        from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

        network = DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            sample_size=8,
            patch_size=2,
            num_embeds_ada_norm=classes,
            norm_num_groups=4,
        )
        _enliven(network)
        DiTPipeline(network, autoencoder(), DDIMScheduler()).save_pretrained(folder)
    return folder


def latent(folder: Path, *, quantised: bool = False, seed: int = 0) -> Path:
    """Write an unconditional latent pipeline; images 16 x 16 x 3. `quantised`: its autoencoder is a VQModel."""
    with quietly(seed):
        from diffusers import DDIMScheduler, LDMPipeline, VQModel

        coder = (
            VQModel(
                block_out_channels=CHANNELS, norm_num_groups=8, latent_channels=4, num_vq_embeddings=32, **_VQ_BLOCKS
            )
            if quantised
            else autoencoder()
        )
        LDMPipeline(coder, unet(8, 4), DDIMScheduler(clip_sample=False)).save_pretrained(folder)
    return folder


_VQ_BLOCKS: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
WORDS = ("a", "b", "boat", "bread", "cat", "dog", "grey", "lamp", "of", "on", "picture", "red", "the", "tree", "winter")
TOKENS = 12
"""Tokens of a caption, with the first and the last."""


def tokenizer() -> Any:
    """Return a CLIP tokenizer that knows a dozen words whole and spells the others."""
    from transformers import CLIPTokenizer

    letters = [chr(letter) for letter in range(33, 127)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[str] = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            joined = "".join(parts[:2])
            if f"{parts[0]} {parts[1]}" not in merges:
                merges.append(f"{parts[0]} {parts[1]}")
                pieces.append(joined)
            parts = [joined, *parts[2:]]
    names = [*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={name: number for number, name in enumerate(names)},
        merges=[tuple(merge.split()) for merge in merges],
        model_max_length=TOKENS,
    )


def text_encoder(words: Any, *, width: int = 16, projected: bool = False) -> Any:
    """Return a CLIP text encoder of two layers for a tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        projection_dim=width,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    made = (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)
    _enliven(made, 2.0)
    return made


def conditional_unet(*, in_channels: int = 4, width: int = 16, **options: Any) -> Any:
    """Return a network of two levels with cross-attention on captions."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=2,
        norm_num_groups=8,
        **options,
    )


def captioned(folder: Path, *, inpaints: bool = False, scheduler: str = "PNDMScheduler", seed: int = 0) -> Path:
    """Write a pipeline of Stable Diffusion's shape; images 16 x 16 x 3. `inpaints`: its network takes 9 channels."""
    with quietly(seed):
        import diffusers

        kind = diffusers.StableDiffusionInpaintPipeline if inpaints else diffusers.StableDiffusionPipeline
        words = tokenizer()
        own = {"skip_prk_steps": True} if scheduler == "PNDMScheduler" else {}
        kind(
            vae=autoencoder(),
            text_encoder=text_encoder(words),
            tokenizer=words,
            unet=conditional_unet(in_channels=9 if inpaints else 4),
            scheduler=getattr(diffusers, scheduler)(**_STABLE, **own),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)
    return folder


_STABLE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
"""The schedule that Stable Diffusion's folders name."""


def captioned_twice(folder: Path, *, seed: int = 0) -> Path:
    """Write a pipeline of SDXL's shape: two text encoders, the size of the image as a condition; images 16 x 16 x 3."""
    with quietly(seed):
        from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

        words = tokenizer()
        network = conditional_unet(
            width=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16,
            transformer_layers_per_block=1,
            use_linear_projection=True,
        )
        StableDiffusionXLPipeline(
            vae=autoencoder(),
            text_encoder=text_encoder(words),
            text_encoder_2=text_encoder(words, projected=True),
            tokenizer=words,
            tokenizer_2=words,
            unet=network,
            scheduler=EulerDiscreteScheduler(**_STABLE, timestep_spacing="leading"),
            add_watermarker=False,
        ).save_pretrained(folder)
    return folder


def _enliven(network: Any, scale: float = 1.0) -> None:
    """Give weights that begin at zero, or near it, values that make conditions matter."""
    import torch

    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.05 * scale)


def opened(folder: Path, dtype: Any = "float32") -> DenoisingPipeline:
    """Return the model of a folder, opened as an audit opens it."""
    from auditor.subjects.adapters.diffusion import ADAPTER

    return ADAPTER.open(spec(folder, dtype), folder.parent)


PIPELINES: dict[str, Callable[[Path], Path]] = {
    "ddpm": unconditional,
    "velocity": lambda folder: unconditional(folder, kind="DDIM", prediction="v_prediction"),
    "sample": lambda folder: unconditional(folder, kind="DDIM", prediction="sample", channels=3),
    "learned-variance": lambda folder: unconditional(folder, learned_variance=True),
    "classes": class_conditional,
    "transformer": transformer,
    "latent": latent,
    "quantised": lambda folder: latent(folder, quantised=True),
    "captions": captioned,
    "inpainting": lambda folder: captioned(folder, inpaints=True),
    "two-encoders": captioned_twice,
}
"""Diffusion pipelines by what is particular about them."""


class Pipelines:
    """Folders of small pipelines and the models in them, each made on first use."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._models: dict[str, DenoisingPipeline] = {}

    def folder(self, name: str) -> Path:
        place = self._base / name
        return place if place.exists() else PIPELINES[name](place)

    def model(self, name: str) -> DenoisingPipeline:
        if name not in self._models:
            self._models[name] = opened(self.folder(name))
        return self._models[name]
