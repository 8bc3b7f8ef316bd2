"""Small diffusers pipelines, written as `save_pretrained` writes them: random weights, or trained for a moment.

The weights are random but not small, so that predictions differ from one another. Trained ones learn what they are shown: with a
few pictures and a thousand steps they remember them.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.core.subject import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

TIMESTEPS = 1000
CHANNELS = (16, 32)
"""Channels of the two levels of every network here."""


@contextlib.contextmanager
def quietly(seed: int) -> Iterator[None]:
    """Seed torch for the block, and keep the libraries' advice about missing packages out of the tests."""
    import torch

    logging.getLogger("transformers").setLevel(logging.ERROR)
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    from transformers.utils import logging as library

    library.disable_progress_bar()
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
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
