"""Fills in the masked part of images with a model that was not trained to: what is known is put back, noised, at every step.

Source: Lugmayr et al. 2022 (arXiv 2201.09865), equation 8, without resampling; the steps are DDIM's (Song et al. 2021).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def ddim_of(scheduler: Any) -> Any:  # noqa: ANN401
    """Return DDIM with another scheduler's betas, prediction and spacing; it clips only where the other does."""
    from diffusers import DDIMScheduler  # noqa: PLC0415

    return DDIMScheduler.from_config(scheduler.config, clip_sample=scheduler.config.get("clip_sample", False))


def mask_of_latents(hidden: torch.Tensor, latent_shape: tuple[int, int, int]) -> torch.Tensor:
    """Return which cells of the latents are to be made: those that stand for at least one masked pixel.

    Args:
        hidden: True where a pixel is to be made, shape [n, 1, height, width].
        latent_shape: Channels, height and width of the latents.
    """
    scale = hidden.shape[-1] // latent_shape[-1]
    return torch.nn.functional.max_pool2d(hidden.float(), scale) > 0.5


def filled(
    said: Callable[[torch.Tensor, int], torch.Tensor],
    known: torch.Tensor,
    mask: torch.Tensor,
    seeds: Sequence[int],
    scheduler: Any,  # noqa: ANN401
    steps: int,
) -> torch.Tensor:
    """Return latents whose masked cells were made and whose other cells are `known`.

    Args:
        said: Returns what the network predicts for latents at a timestep, guided or not.
        known: Latents of the images, shape [n, channels, height, width].
        mask: True where a cell is to be made, shape [n, 1, height, width].
        seeds: Seed of each image: its noise does not depend on what else is in the batch.
        scheduler: The model's own; DDIM is made of its settings.
        steps: Denoising steps.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def noise() -> torch.Tensor:
        drawn = [torch.randn(known.shape[1:], generator=generator) for generator in generators]
        return torch.stack(drawn).to(known.device)

    sampler = ddim_of(scheduler)
    sampler.set_timesteps(steps)
    times = [int(step) for step in sampler.timesteps]
    x = noise()
    for number, step in enumerate(times):
        x = torch.where(mask, x, _noised(known, noise(), float(sampler.alphas_cumprod[step])))
        x = sampler.step(said(x, step), step, x, eta=0.0).prev_sample
        if number + 1 == len(times):
            x = torch.where(mask, x, known)
    return x


def _noised(x: torch.Tensor, noise: torch.Tensor, a: float) -> torch.Tensor:
    return a**0.5 * x + (1.0 - a) ** 0.5 * noise
