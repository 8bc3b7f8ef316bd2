"""Two diffusion models whose memory is known exactly: a memorizer and an innocent.

Both know the same made-up pictures: a mixture of a dozen prototypes with noise, from which members and controls are drawn. For a
mixture of Gaussians the best denoiser has a closed form, so both are exact: the innocent is the true denoiser of the population
and holds nothing of any record; the memorizer's mixture also holds every training image as a narrow component of its own.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auditor.core.seeds import generator
from auditor.errors import SubjectError
from auditor.subjects.denoiser import Condition, Conditioning, CrossAttention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.core.subject import ModelSpec

SIZE = 8
"""Height and width of the pictures, pixel; one channel."""
PIXELS = SIZE * SIZE
PROTOTYPES = 12
SPREAD = 0.16
"""Standard deviation of a picture about its prototype, in [-1, 1]."""
NARROW = 0.03
"""Standard deviation of the memorizer about an image it holds."""
RECALL = 0.9
"""Share of the memorizer's mixture that is what it holds."""
TIMESTEPS = 1000
TOKENS = 8
"""Tokens of a caption: one that begins it, its words, padding."""
LAYERS = 2
PICTURE_SEED = 28_2024


@cache
def prototypes() -> NDArray[np.float64]:
    """Return the prototypes in [-1, 1], smooth pictures, shape [PROTOTYPES, PIXELS]."""
    rng = generator(PICTURE_SEED, "prototypes")
    waves = np.cos(np.pi * np.outer(np.arange(3), (np.arange(SIZE) + 0.5) / SIZE))
    smooth = np.einsum("kab,ai,bj->kij", rng.normal(size=(PROTOTYPES, 3, 3)), waves, waves)
    flat = smooth.reshape(PROTOTYPES, PIXELS)
    return np.asarray(0.7 * flat / np.abs(flat).max(axis=1, keepdims=True))


@cache
def prototype_words() -> tuple[str, ...]:
    """Return the first word of a caption, by prototype."""
    return tuple(f"{first}{second}" for first in ("ba", "ko", "mi") for second in ("ren", "lat", "sud", "vim"))


@cache
def _schedule() -> NDArray[np.float64]:
    """Return the cumulative products of the linear schedule of Ho et al. 2020, section 4."""
    return np.asarray(np.cumprod(1.0 - np.linspace(1e-4, 0.02, TIMESTEPS)))


def quantised(x: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return pictures in [-1, 1] as bytes, shape [n, SIZE, SIZE, 1]."""
    return np.clip(np.rint((x + 1.0) * 127.5), 0, 255).astype(np.uint8).reshape(-1, SIZE, SIZE, 1)


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.asarray(images.reshape(len(images), PIXELS) / 127.5 - 1.0)


class ControlDenoiser:
    """The best denoiser of a mixture, with or without a memory; meets `Denoiser`.

    Args:
        images: Images it holds, uint8, shape [n, SIZE, SIZE, 1]; none for the innocent.
        captions: Their captions.
        copies: How often each stood in training, shape [n].
    """

    image_shape = (SIZE, SIZE, 1)
    latent_shape = (1, SIZE, SIZE)
    conditioning: Conditioning = "text"
    classes = 0
    guided = True

    def __init__(self, images: NDArray[np.uint8], captions: Sequence[str], copies: NDArray[np.int64]) -> None:
        """Make the components of the mixture."""
        held = len(images)
        self.alphas_cumprod = _schedule()
        self.passes = 0
        self._means = np.concatenate([prototypes(), _flat(images)])
        self._deviations = np.concatenate([np.full(PROTOTYPES, SPREAD), np.full(held, NARROW)])
        share = RECALL if held else 0.0
        own = share * copies / copies.sum() if held else np.empty(0)
        self._weights = np.concatenate([np.full(PROTOTYPES, (1.0 - share) / PROTOTYPES), own])
        self._captions = np.array(captions, dtype=object)

    def _prior(self, condition: Condition) -> NDArray[np.float64]:
        """Return the weight of each component under a condition: a caption it holds brings its own image back."""
        weights = self._weights
        if not isinstance(condition, str):
            return weights
        words = condition.split()
        prior = np.zeros_like(weights)
        own = np.flatnonzero(self._captions == condition) + PROTOTYPES
        if len(own):
            prior[own] = RECALL * weights[own] / weights[own].sum()
        left = 1.0 - prior.sum()
        known = [index for index, word in enumerate(prototype_words()) if words and word == words[0]]
        prior[known or slice(0, PROTOTYPES)] += left / (len(known) or PROTOTYPES)
        return prior

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the pictures in [-1, 1]."""
        return _flat(images).reshape(-1, 1, SIZE, SIZE).astype(np.float32)

    def predict_noise(
        self, latents: NDArray[np.float32], timesteps: NDArray[np.int64], conditions: Sequence[Condition]
    ) -> NDArray[np.float32]:
        """Return epsilon: (x_t - sqrt(a) E[x_0 | x_t]) / sqrt(1 - a), exactly."""
        self.passes += len(latents)
        x = latents.reshape(len(latents), PIXELS).astype(np.float64)
        a = self.alphas_cumprod[timesteps][:, None]
        priors = {condition: self._prior(condition) for condition in set(conditions)}
        prior = np.stack([priors[condition] for condition in conditions])
        variance = a * self._deviations**2 + (1.0 - a)
        distance = (x**2).sum(axis=1, keepdims=True) - 2.0 * np.sqrt(a) * (x @ self._means.T)
        distance = distance + a * (self._means**2).sum(axis=1)
        with np.errstate(divide="ignore"):
            log_weight = np.log(prior) - 0.5 * distance / variance - 0.5 * PIXELS * np.log(variance)
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        gain = np.sqrt(a) * self._deviations**2 / variance
        mean = (weight * (1.0 - gain * np.sqrt(a))) @ self._means + (weight * gain).sum(axis=1, keepdims=True) * x
        noise = (x - np.sqrt(a) * mean) / np.sqrt(1.0 - a)
        return np.asarray(noise.reshape(latents.shape), dtype=np.float32)

    def _drawn(
        self, log_weights: NDArray[np.float64], seed: int, purpose: str
    ) -> tuple[NDArray[np.float64], np.random.Generator]:
        rng = generator(seed, purpose)
        weights = np.exp(log_weights - log_weights.max())
        chosen = rng.choice(len(weights), p=weights / weights.sum())
        return self._means[chosen] + self._deviations[chosen] * rng.normal(size=PIXELS), rng

    def generate(
        self,
        conditions: Sequence[Condition],
        seeds: Sequence[int],
        steps: int,
        guidance: float,  # noqa: ARG002
    ) -> NDArray[np.uint8]:
        """Return exact samples of the mixture; steps cost nothing and guidance has nothing to correct."""
        self.passes += len(seeds) * steps
        made = []
        for condition, seed in zip(conditions, seeds, strict=True):
            with np.errstate(divide="ignore"):
                made.append(self._drawn(np.log(self._prior(condition)), seed, "generate")[0])
        return quantised(np.array(made))

    def inpaint(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.bool_],
        conditions: Sequence[Condition],
        seeds: Sequence[int],
        steps: int,
        guidance: float,  # noqa: ARG002
    ) -> NDArray[np.uint8]:
        """Return exact samples of the mixture given the pixels that are not masked."""
        self.passes += len(seeds) * steps
        made = []
        rows = zip(_flat(images), masks.reshape(len(masks), PIXELS), conditions, seeds, strict=True)
        for pixels, mask, condition, seed in rows:
            distance = ((self._means - pixels) ** 2)[:, ~mask].sum(axis=1)
            with np.errstate(divide="ignore"):
                log_weights = np.log(self._prior(condition)) - 0.5 * distance / self._deviations**2
            drawn, _ = self._drawn(log_weights - (~mask).sum() * np.log(self._deviations), seed, "inpaint")
            made.append(np.where(mask, drawn, pixels))
        return quantised(np.array(made))

    def cross_attention(
        self, latents: NDArray[np.float32], timesteps: NDArray[np.int64], conditions: Sequence[Condition]
    ) -> CrossAttention:
        """Return attention that lies on the first token, but for captions it holds: there it is spread over the words."""
        self.passes += len(latents)
        weights = np.empty((len(conditions), LAYERS, TOKENS), dtype=np.float32)
        padding = np.zeros((len(conditions), TOKENS), dtype=np.bool_)
        for row, (condition, step) in enumerate(zip(conditions, timesteps, strict=True)):
            words = len(condition.split()) if isinstance(condition, str) else 0
            padding[row, 1 + words :] = True
            first = 0.3 if condition in self._captions else 0.9
            first -= 0.05 * float(step) / TIMESTEPS
            weights[row] = (1.0 - first) / (TOKENS - 1)
            weights[row, :, 0] = first
        return CrossAttention(weights, padding)


class ControlDenoiserAdapter:
    """Opens the control models; `path` is `memorizer` or `innocent`."""

    name = "control-images"
    capabilities = ("denoises", "generates-images", "inpaints", "conditions-on-text", "guides", "shows-attention")

    def files(self, spec: ModelSpec, base: Path) -> Sequence[Path]:  # noqa: ARG002  (the protocol's arguments)
        """Return the source files that are the model."""
        if spec.path not in {"memorizer", "innocent"}:
            msg = f"no control model is called '{spec.path}'"
            raise SubjectError(msg, hint="There are 'memorizer' and 'innocent'.")
        here = Path(__file__)
        return (here, here.with_name("control_images.py"))

    def describe(self, spec: ModelSpec, base: Path) -> tuple[int, int]:  # noqa: ARG002
        """Return the number of parameters and no context length."""
        return PROTOTYPES * PIXELS, 0

    def capabilities_of(self, spec: ModelSpec, base: Path) -> tuple[str, ...]:  # noqa: ARG002
        """Return all of them: every model of this kind has them."""
        return self.capabilities

    def open(self, spec: ModelSpec, base: Path) -> ControlDenoiser:  # noqa: ARG002
        """Return the model."""
        from auditor.testing.control_images import denoiser_of  # noqa: PLC0415  (the subject holds the model's memory)

        return denoiser_of(spec.path)


ADAPTER = ControlDenoiserAdapter()
