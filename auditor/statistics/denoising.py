"""The arithmetic of diffusion: noising, denoising and the deterministic (DDIM) step.

Source: Ho, Jain, Abbeel 2020 (arXiv 2006.11239), eq. 4; Song, Meng, Ermon 2021 (arXiv 2010.02502), eq. 12 with sigma 0. `a` is the
cumulative product of 1 - beta at a timestep, one number for each row, in (0, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _each(a: NDArray[np.float64] | float, like: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return one number per row, shaped to multiply rows of any rank."""
    return np.broadcast_to(np.asarray(a, dtype=np.float64), like.shape[:1]).reshape(-1, *[1] * (like.ndim - 1))


def noised(x: NDArray[np.float32], noise: NDArray[np.float32], a: NDArray[np.float64] | float) -> NDArray[np.float32]:
    """Return sqrt(a) x + sqrt(1 - a) noise, row by row."""
    each = _each(a, x)
    return (np.sqrt(each) * x + np.sqrt(1.0 - each) * noise).astype(np.float32)


def original(x: NDArray[np.float32], noise: NDArray[np.float32], a: NDArray[np.float64] | float) -> NDArray[np.float32]:
    """Return the x_0 that a noised row and its noise belong to: (x - sqrt(1 - a) noise) / sqrt(a)."""
    each = _each(a, x)
    return ((x - np.sqrt(1.0 - each) * noise) / np.sqrt(each)).astype(np.float32)


def ddim_step(
    x: NDArray[np.float32],
    noise: NDArray[np.float32],
    before: NDArray[np.float64] | float,
    after: NDArray[np.float64] | float,
) -> NDArray[np.float32]:
    """Return the row taken deterministically from one noise level to another, in either direction.

    Args:
        x: Rows at the level `before`, shape [n, ...].
        noise: Epsilon predicted for them, same shape.
        before: Cumulative product at the level they are at.
        after: Cumulative product at the level they are taken to.
    """
    return noised(original(x, noise, before), noise, after)


def spaced(timesteps: int, steps: int) -> NDArray[np.int64]:
    """Return `steps` timesteps from high to low, evenly spaced from 0 (the `leading` spacing of DDIM), shape [steps]."""
    if not 1 <= steps <= timesteps:
        msg = f"steps must lie between 1 and {timesteps}, got {steps}"
        raise ValueError(msg)
    return (np.arange(steps) * (timesteps // steps))[::-1].astype(np.int64).copy()
