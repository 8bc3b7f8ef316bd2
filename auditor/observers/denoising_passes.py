"""The passes of a diffusion model over some images, and the membership scores made of them; what can be shared is asked once."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.statistics.denoising import ddim_step, noised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.denoiser import Condition, Denoiser

SCHEDULE = 1000
"""Timesteps are thousandths of the model's schedule: of a model with 1,000 steps they are its own."""
NORM = 4
"""p of the norm of PIA and SimA, as in the authors' code."""
HALF_NORMAL = float(np.sqrt(2.0 / np.pi))
"""Mean of |z| for a standard normal z: what PIAN scales to."""


class Passes:
    """What a model predicts for some images; encodes them once and remembers the prediction at timestep 0.

    Args:
        model: The model.
        images: Images of the model's shape, uint8, shape [n, height, width, channels].
        conditions: What the model makes each image from, length n.
    """

    def __init__(self, model: Denoiser, images: NDArray[np.uint8], conditions: Sequence[Condition]) -> None:
        """Encode the images."""
        self.model = model
        self.latents = model.encode(images)
        self.conditions = list(conditions)
        self.calls = 0
        self._zero: NDArray[np.float32] | None = None

    def step(self, thousandths: int) -> int:
        """Return the model's own timestep.

        Raises:
            UnsupportedError: The schedule ends before it.
        """
        if thousandths >= SCHEDULE:
            msg = f"timestep {thousandths} lies outside a schedule of {SCHEDULE} thousandths"
            raise UnsupportedError(msg, hint="Timesteps are thousandths of the schedule, 0 to 999.")
        return thousandths * len(self.model.alphas_cumprod) // SCHEDULE

    def level(self, step: int) -> float:
        """Return the cumulative product at a timestep of the model's own."""
        return float(self.model.alphas_cumprod[step])

    def predicted(
        self, latents: NDArray[np.float32], step: int, conditions: Sequence[Condition] | None = None
    ) -> NDArray[np.float32]:
        """Return the noise predicted at one timestep of the model's own, one pass for each row.

        Args:
            latents: Noised latents, shape [n, ...].
            step: Timestep of all of them.
            conditions: Condition of each, where it is not the images' own.
        """
        self.calls += 1
        timesteps = np.full(len(latents), step, dtype=np.int64)
        return self.model.predict_noise(latents, timesteps, self.conditions if conditions is None else conditions)

    def at_zero(self) -> NDArray[np.float32]:
        """Return the noise predicted for the images as they are at timestep 0; asked once."""
        if self._zero is None:
            self._zero = self.predicted(self.latents, 0)
        return self._zero

    def losses(self, step: int, draws: int) -> NDArray[np.float64]:
        """Return the mean squared error of the noise of each draw, shape [draws, images]; one call for all."""
        rows = np.tile(np.arange(len(self.latents)), draws)
        numbers = np.repeat(np.arange(draws), len(self.latents))
        return self._losses(rows, step, numbers, [self.conditions[row] for row in rows]).reshape(draws, -1)

    def reduced_loss(self, step: int) -> NDArray[np.float64]:
        """Return that of the first draw under reduced conditions, mean over those of each image, shape [images]."""
        options = [reduced_conditions(condition) for condition in self.conditions]
        rows = np.repeat(np.arange(len(options)), [len(choice) for choice in options])
        found = self._losses(rows, step, np.zeros_like(rows), [one for choice in options for one in choice])
        return np.asarray(np.bincount(rows, found, minlength=len(options)) / np.bincount(rows, minlength=len(options)))

    def _losses(
        self, rows: NDArray[np.int64], step: int, draws: NDArray[np.int64], conditions: Sequence[Condition]
    ) -> NDArray[np.float64]:
        kinds = np.stack([drawn(int(draw), self.model.latent_shape) for draw in range(int(draws.max(initial=0)) + 1)])
        noise = kinds[draws]
        found = self.predicted(noised(self.latents[rows], noise, self.level(step)), step, conditions)
        return np.asarray(np.mean(_flat(found - noise) ** 2, axis=1))


def drawn(draw: int, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return the noise of a draw: a function of its number and the latent's shape, and of nothing else."""
    return generator(draw, "denoising-scores", "noise").standard_normal(shape).astype(np.float32)


def secmi(passes: Passes, end: int, interval: int) -> NDArray[np.float64]:
    """Return the squared distance between the latents at `end` and one deterministic step up and back from there.

    The way up from 0 really ends at `end`; the authors' list of steps stops one interval before.

    Args:
        passes: The images.
        end: Timestep that is compared, thousandths.
        interval: Thousandths from one step to the next.

    Source:
        Duan et al. (2023), arXiv 2302.01316, the t-error of SecMI-stat.
    """
    steps = [passes.step(t) for t in [*range(0, end, interval), end]]
    x = passes.latents
    for here, there in pairwise(steps):
        noise = passes.at_zero() if here == 0 else passes.predicted(x, here)
        x = ddim_step(x, noise, passes.level(here), passes.level(there))
    last, above = steps[-1], passes.step(end + interval)
    up = ddim_step(x, passes.predicted(x, last), passes.level(last), passes.level(above))
    back = ddim_step(up, passes.predicted(up, above), passes.level(above), passes.level(last))
    return np.asarray(np.sum(_flat(back - x) ** 2, axis=1))


def pia(passes: Passes, step: int, noise: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the 4-norm of the difference between a noise and what is predicted where it leads.

    Args:
        passes: The images.
        step: Timestep of the model's own.
        noise: For PIA what is predicted at timestep 0, for PIAN the same rescaled.

    Source:
        Kong et al. (2024), arXiv 2305.18355; the norm of the authors' code.
    """
    return _norm(noise - passes.predicted(noised(passes.latents, noise, passes.level(step)), step))


def sima(passes: Passes, step: int) -> NDArray[np.float64]:
    """Return the 4-norm of the noise predicted for the images as they are.

    Source:
        SimA: arXiv 2509.25003.
    """
    return _norm(passes.predicted(passes.latents, step))


def rescaled(noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each row scaled so that its mean absolute value is that of a standard normal, sqrt(2 / pi).

    Source:
        PIAN of Kong et al. (2024). E|z| is sqrt(2/pi) = 0.798; its inverse, which stands in places, is wrong.
    """
    size = np.abs(noise.astype(np.float64)).mean(axis=tuple(range(1, noise.ndim)), keepdims=True)
    return np.asarray(noise * (HALF_NORMAL / np.where(size > 0.0, size, 1.0)), dtype=np.float32)


def reduced_conditions(condition: Condition) -> list[Condition]:
    """Return conditions that say less: the first, middle and last third of a caption's words, and none.

    Of a class label, and of a caption of fewer than three words, there is only the null condition.

    Source:
        CLiD: Zhai et al. (2024), arXiv 2405.14800: four reduced conditions, the null condition among them.
    """
    words = condition.split() if isinstance(condition, str) else []
    if len(words) < 3:
        return [None]
    cuts = [0, len(words) // 3, 2 * len(words) // 3, len(words)]
    return [*(" ".join(words[first:last]) for first, last in pairwise(cuts)), None]


def _flat(latents: NDArray[np.float32]) -> NDArray[np.float64]:
    return latents.reshape(len(latents), -1).astype(np.float64)


def _norm(latents: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.sum(np.abs(_flat(latents)) ** NORM, axis=1) ** (1.0 / NORM))
