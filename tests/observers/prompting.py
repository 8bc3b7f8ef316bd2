"""Diffusion models whose every answer is known, for the observers of prompts and completions."""

from __future__ import annotations

from typing import Any

import numpy as np
from opened import OpenedInMemory

from auditor.contract.protocol import Facts
from auditor.core.policy import QueryBudget
from auditor.subjects.data import DataRecord
from auditor.subjects.denoiser import CrossAttention
from auditor.subjects.images import png
from auditor.testing.control_subject import ListedRecords, control_subject

SHAPE = (6, 5, 3)
TIMESTEPS = 100


def record(name: str, caption: str, image: np.ndarray, copies: int = 1, cluster: str = "") -> DataRecord:
    return DataRecord(id=name, text=caption, cluster=cluster or name, copies=copies, image=png(image))


def noise_image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=SHAPE).astype(np.uint8)


class Spoken:
    """Noise is a linear function of the latent, the timestep and the caption's length; images are noise of seed and caption.

    Args:
        known: Images it gives back for a caption, whatever the seed.
    """

    image_shape = SHAPE
    latent_shape = (2, 3, 3)
    conditioning = "text"
    classes = 0
    guided = True
    layers = 5
    tokens = 7

    def __init__(self, known: dict[str, np.ndarray] | None = None) -> None:
        self.alphas_cumprod = np.linspace(0.99, 0.02, TIMESTEPS)
        self.passes = 0
        self.known = known or {}
        self.asked: list[tuple[Any, int]] = []

    def encode(self, images: np.ndarray) -> np.ndarray:
        corner = images[:, :3, :3, :2].astype(np.float32) / 127.5 - 1.0
        return np.moveaxis(corner, 3, 1).copy()

    def predict_noise(self, latents: np.ndarray, timesteps: np.ndarray, conditions: Any) -> np.ndarray:
        self.passes += len(latents)
        words = np.array([0 if c is None else len(c.split()) for c in conditions], dtype=np.float64)
        shift = 0.1 * words * (1.0 + timesteps / TIMESTEPS)
        return (0.5 * latents + shift[:, None, None, None]).astype(np.float32)

    def generate(self, conditions: Any, seeds: Any, steps: int, guidance: float) -> np.ndarray:
        self.passes += len(seeds) * steps
        self.asked += list(zip(conditions, seeds, strict=True))
        made = []
        for condition, seed in zip(conditions, seeds, strict=True):
            fresh = np.random.default_rng([seed, len(condition)]).integers(256, size=SHAPE).astype(np.uint8)
            made.append(self.known.get(condition, fresh))
        return np.stack(made)

    def inpaint(self, images, masks, conditions, seeds, steps: int, guidance: float) -> np.ndarray:
        self.passes += len(seeds) * steps
        made = images.copy()
        for row, (mask, seed) in enumerate(zip(masks, seeds, strict=True)):
            fresh = np.random.default_rng(seed).integers(256, size=SHAPE).astype(np.uint8)
            made[row][mask] = self.known.get(conditions[row], fresh)[mask]
        return made

    def cross_attention(self, latents: np.ndarray, timesteps: np.ndarray, conditions: Any) -> CrossAttention:
        self.passes += len(latents)
        weights = np.empty((len(conditions), self.layers, self.tokens), dtype=np.float32)
        padding = np.zeros((len(conditions), self.tokens), dtype=np.bool_)
        for row, condition in enumerate(conditions):
            raw = 1.0 + np.arange(self.layers)[:, None] + np.arange(self.tokens) * (1.0 + timesteps[row] / TIMESTEPS)
            weights[row] = raw / raw.sum(axis=1, keepdims=True)
            padding[row, 1 + len(condition.split()) :] = True
        return CrossAttention(weights, padding)


def subject(model: Any, members: Any = (), controls: Any = (), reference: Any = None) -> OpenedInMemory:
    queries = QueryBudget(per_subject=1, lifetime=1, reason="test")
    made = control_subject("innocent", references=0, confidence=0.95, queries=queries, modality="image").facts.subject
    update = {
        side: getattr(made, side).model_copy(update={"records": len(records)})
        for side, records in (("members", members), ("controls", controls))
    }
    facts = Facts(made.model_copy(update=update), None, 0, 0.95, queries)
    sides = {"members": ListedRecords(tuple(members)), "controls": ListedRecords(tuple(controls))}
    return OpenedInMemory(facts, {"subject": model, "reference-0": reference or model}, sides)
