"""What a diffusion model can be asked; numpy at the border.

Conventions. An image is uint8 with shape [height, width, channels], channels 1 or 3. A latent is what the network denoises,
float32 with shape [channels, height, width]: for a pixel model the image in [-1, 1], for a latent model the mean of the encoder
times its scaling factor (never a sample: that would add noise to every statistic). With ``a = alphas_cumprod[t]`` the forward
process is ``x_t = sqrt(a) x_0 + sqrt(1 - a) noise`` (Ho et al. 2020, eq. 4). Whatever the network was trained to predict
(epsilon, v or sample), what is returned here is epsilon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Conditioning = Literal["none", "class", "text"]
"""What the network is conditioned on."""
Condition = str | int | None
"""A caption, a class label, or None: the null condition of guidance (of an unconditional model: the only one)."""


@dataclass(frozen=True, slots=True)
class CrossAttention:
    """How much attention each token of a caption gets, in one pass.

    Args:
        weights: Attention probability of each token, mean over heads and pixels, shape [captions, layers, tokens]; sums to 1 over tokens.
        padding: The token stands after the caption's end (end-of-text and padding tokens), shape [captions, tokens].
    """

    weights: NDArray[np.float32]
    padding: NDArray[np.bool_]


@runtime_checkable
class Denoiser(Protocol):
    """A loaded diffusion model. Results for one image do not depend on what else is in the batch."""

    image_shape: tuple[int, int, int]
    """Height, width and channels of the images it makes."""
    latent_shape: tuple[int, int, int]
    """Channels, height and width of what the network denoises."""
    conditioning: Conditioning
    classes: int
    """Number of class labels; 0 where the model is not conditioned on classes."""
    guided: bool
    """The network has a null condition, so that generation can be guided and conditions compared."""
    alphas_cumprod: NDArray[np.float64]
    """Cumulative products of 1 - beta of training, shape [timesteps], decreasing."""
    passes: int
    """Images that went through the network since it was opened: the cost."""

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the latents of images of the model's own shape, shape [images, *latent_shape]."""
        ...

    def predict_noise(
        self, latents: NDArray[np.float32], timesteps: NDArray[np.int64], conditions: Sequence[Condition]
    ) -> NDArray[np.float32]:
        """Return epsilon for noised latents, of their shape; no guidance.

        Args:
            latents: Noised latents, shape [n, *latent_shape].
            timesteps: Timestep of each, from 0, shape [n].
            conditions: Condition of each, length n.
        """
        ...

    def generate(
        self, conditions: Sequence[Condition], seeds: Sequence[int], steps: int, guidance: float
    ) -> NDArray[np.uint8]:
        """Return one image for each condition and seed, by the model's own pipeline, shape [n, *image_shape].

        Args:
            conditions: Condition of each image.
            seeds: Seed of each image; the same seed and condition always give the same image.
            steps: Denoising steps.
            guidance: Guidance scale; 1.0: none.
        """
        ...

    def inpaint(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.bool_],
        conditions: Sequence[Condition],
        seeds: Sequence[int],
        steps: int,
        guidance: float,
    ) -> NDArray[np.uint8]:
        """Return each image with its masked pixels filled in, shape [n, *image_shape].

        Args:
            images: Images of the model's own shape.
            masks: True where a pixel is to be made, shape [n, height, width]; the rest is given.
            conditions: Condition of each image.
            seeds: Seed of each image.
            steps: Denoising steps.
            guidance: Guidance scale; 1.0: none.
        """
        ...

    def cross_attention(
        self, latents: NDArray[np.float32], timesteps: NDArray[np.int64], conditions: Sequence[Condition]
    ) -> CrossAttention:
        """Return how much attention each token of the captions gets.

        Raises:
            UnsupportedError: The network has no cross-attention on captions.
        """
        ...
