"""Trains a small pipeline of Stable Diffusion's shape on pictures and captions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

STABLE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
"""The schedule that Stable Diffusion's folders name."""


def captioned_on(
    folder: Path,
    images: NDArray[np.uint8],
    captions: Sequence[str],
    rows: Sequence[int] | NDArray[np.int64],
    *,
    steps: tuple[int, int],
    seed: int = 0,
) -> Path:
    """Write a pipeline of Stable Diffusion's shape that was trained, and return its folder.

    Args:
        folder: Where it is written.
        images: What the autoencoder is trained on, uint8 [n, 8, 8, 3].
        captions: What the network is shown: a caption for each of `rows`.
        rows: Which image goes with each caption.
        steps: Steps of the autoencoder and of the network.
        seed: Decides weights, noise and order.
    """
    from tiny_pipelines import TIMESTEPS, autoencoder, conditional_unet, quietly, text_encoder, tokenizer

    with quietly(seed):
        import torch
        from diffusers import DDIMScheduler, StableDiffusionPipeline

        pixels = torch.from_numpy(np.asarray(images, dtype=np.float32) / 127.5 - 1.0).permute(0, 3, 1, 2)
        coder = autoencoder(levels=1)
        for step in _paced(coder, 3e-3, steps[0]):
            some = pixels[torch.randint(len(pixels), (16,))]
            codes = coder.encode(some).latent_dist.mean
            said = coder.decode(codes + 0.05 * torch.randn_like(codes)).sample
            step(torch.nn.functional.mse_loss(said, some) + 1e-3 * codes.square().mean())
        with torch.no_grad():
            codes = coder.encode(pixels).latent_dist.mode()
        coder.register_to_config(scaling_factor=1.0 / float(codes.std()))
        clean = codes[torch.as_tensor(np.asarray(rows))] * coder.config.scaling_factor

        words = tokenizer()
        encoder, network = text_encoder(words), conditional_unet()
        scheduler = DDIMScheduler(**STABLE, clip_sample=False)
        with torch.no_grad():
            tokens = [
                words(list(said), padding="max_length", truncation=True, return_tensors="pt").input_ids
                for said in (captions, [""])
            ]
            known, nothing = (encoder(each)[0] for each in tokens)
        for step in _paced(network, 4e-3, steps[1]):
            some = torch.randint(len(clean), (24,))
            noise, at = torch.randn_like(clean[some]), torch.randint(TIMESTEPS, (24,))
            shown = torch.where(torch.rand(24, 1, 1) < 0.1, nothing, known[some])
            said = network(scheduler.add_noise(clean[some], noise, at), at, encoder_hidden_states=shown).sample
            step(torch.nn.functional.mse_loss(said, noise))
        StableDiffusionPipeline(
            vae=coder.eval(),
            text_encoder=encoder.eval(),
            tokenizer=words,
            unet=network.eval(),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)
    return folder


def _paced(network: Any, rate: float, steps: int) -> Iterator[Callable[[Any], None]]:
    """Yield, for each step of training, what takes its loss."""
    import torch

    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)

    def take(loss: Any) -> None:
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        pace.step()

    for _ in range(steps):
        yield take
