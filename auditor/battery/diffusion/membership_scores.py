"""Membership scores of images under a diffusion model; higher is more like a member."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from auditor.battery.dataset_inference import unit_codes
from auditor.battery.membership_outcome import Scored
from auditor.evidence.table import Ragged
from auditor.statistics.likelihood_ratio import shadow_scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from auditor.evidence.table import ObservedTable

DISTANCES = ("secmi", "pia", "pian", "sima")
"""Columns that are smaller for members."""
SCORES = ("loss", *DISTANCES, "clid", "reference", "lira", "multi_loss")
"""Names of the scores, in the order they are reported; `multi_loss` is learned from the labels, the others are not."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one observation says of its images, row by row."""

    ids: NDArray[np.object_]
    clusters: NDArray[np.object_]
    copies: NDArray[np.int64]
    losses: NDArray[np.float64]
    """Shape [images, timesteps]."""
    distances: dict[str, NDArray[np.float64]]
    gain: NDArray[np.float64] | None
    """Conditional gain and conditional loss, means over timesteps, shape [2, images]."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides with their scores, and what a score is learned from, members first."""

    members: Scored
    controls: Scored
    timesteps: tuple[int, ...]
    losses: NDArray[np.float64]
    """Minus logarithm of each loss, shape [records, timesteps]."""
    calibrated: NDArray[np.float64] | None
    """The same less the mean of the reference models, at the timesteps that the likelihood ratio averages over."""

    @property
    def features(self) -> NDArray[np.float64]:
        """What the multi-loss is learned from, shape [records, features]."""
        return self.losses if self.calibrated is None else np.hstack([self.losses, self.calibrated])

    def joined(self, name: str, values: NDArray[np.float64]) -> Sides:
        """Return the same with one score more, given for members, then controls."""
        cut = len(self.members.ids)
        first, second = (
            replace(side, scores={**side.scores, name: part})
            for side, part in ((self.members, values[:cut]), (self.controls, values[cut:]))
        )
        return replace(self, members=first, controls=second)

    @property
    def everything(self) -> NDArray[np.float64]:
        """What dataset inference is learned from: the same, and every score that is not learned."""
        both = [np.concatenate([self.members.scores[name], self.controls.scores[name]]) for name in self.members.scores]
        return np.column_stack([self.features, *both])


def read_seen(table: ObservedTable, timesteps: Sequence[int]) -> Seen:
    """Return an observation of denoising scores as arrays.

    Args:
        table: The observation; it may hold more timesteps than are asked, for another test.
        timesteps: The timesteps wanted, in this order.
    """
    names = [name for name in DISTANCES if name in table.names]
    gained = ["conditional_gain", "conditional_loss"] if "conditional_gain" in table.names else []
    flat: dict[str, list[NDArray[np.generic]]] = {name: [] for name in ("id", "cluster", "copies", *names)}
    lists: dict[str, list[NDArray[np.float64]]] = {name: [] for name in ("loss", *gained)}
    columns: list[int] = []
    for shard in table.shards(*flat, "timestep", *lists):
        for name, parts in flat.items():
            parts.append(cast("NDArray[np.generic]", shard[name]))
        count = len(shard["id"])
        if count:
            there = cast("Ragged", shard["timestep"])[0].tolist()
            columns = [there.index(step) for step in timesteps]
        for name, rows in lists.items():
            values = cast("Ragged", shard[name]).values.astype(np.float64)
            rows.append(values.reshape(count, -1) if count else np.empty((0, len(values))))
    joined = {name: np.concatenate(parts) for name, parts in flat.items()}
    stacked = {name: np.concatenate([part for part in parts if len(part)]) for name, parts in lists.items()}
    return Seen(
        ids=joined["id"],
        clusters=joined["cluster"],
        copies=joined["copies"].astype(np.int64),
        losses=stacked["loss"][:, columns],
        distances={name: joined[name].astype(np.float64) for name in names},
        gain=np.stack([stacked[name].mean(axis=1) for name in gained]) if gained else None,
    )


def read_sides(
    evidence: Mapping[str, ObservedTable],
    references: int,
    timesteps: Sequence[int],
    timestep: int,
    averaged: Sequence[int],
    clid_weight: float = 0.5,
) -> Sides:
    """Return all scores of members and controls.

    Args:
        evidence: `members`, `controls`, and `<side>-reference-<n>` for each reference model.
        references: Number of reference models.
        timesteps: Timesteps of the losses.
        timestep: The one of the loss and the reference difference, declared beforehand.
        averaged: Those that the likelihood ratio averages over.
        clid_weight: Share of the conditional gain in CLiD, 0 to 1.
    """
    sides = {side: read_seen(evidence[side], timesteps) for side in ("members", "controls")}
    first, second = sides["members"], sides["controls"]
    losses = np.concatenate([first.losses, second.losses])
    at = list(timesteps).index(timestep)
    scores = {"loss": -losses[:, at]}
    for name in first.distances:
        scores[name] = -np.concatenate([first.distances[name], second.distances[name]])
    if first.gain is not None and second.gain is not None:
        gain, loss = np.concatenate([first.gain, second.gain], axis=1)
        scores["clid"] = clid_weight * robustly_scaled(gain) + (1.0 - clid_weight) * robustly_scaled(-loss)
    phi = minus_log(losses)
    calibrated = None
    if references:
        asked = sorted({*averaged, timestep})
        others = np.stack([_reference(evidence, sides, asked, number) for number in range(references)])
        scores["reference"] = others[:, :, asked.index(timestep)].mean(axis=0) - losses[:, at]
        shadows = minus_log(others[:, :, [asked.index(step) for step in averaged]])
        own = phi[:, [list(timesteps).index(step) for step in averaged]]
        scores["lira"] = np.mean([shadow_scores(own[:, c], shadows[:, :, c]) for c in range(len(averaged))], axis=0)
        calibrated = own - shadows.mean(axis=0)
    cut = len(first.ids)
    parts = []
    for seen, rows in ((first, slice(0, cut)), (second, slice(cut, None))):
        parts.append(
            Scored(seen.ids, seen.clusters, seen.copies, {name: values[rows] for name, values in scores.items()})
        )
    return Sides(parts[0], parts[1], tuple(timesteps), phi, calibrated)


def minus_log(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -log of mean losses: about normal over models, as the likelihood ratio asks (Carlini et al. 2023)."""
    return -np.log(np.maximum(losses, 1e-30))


def robustly_scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (value - median) / interquartile range over members and controls together; 0 where all are equal."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return np.asarray((values - middle) / (high - low if high > low else 1.0))


def _reference(
    evidence: Mapping[str, ObservedTable], sides: Mapping[str, Seen], timesteps: Sequence[int], number: int
) -> NDArray[np.float64]:
    """Return the losses of a reference model in the order of both sides, shape [records, timesteps]."""
    found = []
    for side, seen in sides.items():
        other = read_seen(evidence[f"{side}-reference-{number}"], timesteps)
        place = {name: row for row, name in enumerate(other.ids.tolist())}
        rows = [place[name] for name in seen.ids.tolist()]
        found.append(other.losses[rows])
    return np.concatenate(found)


def codes_of(sides: Sides) -> tuple[NDArray[np.int64], int]:
    """Return the independent unit of each record, members' units first, and how many are members'."""
    return unit_codes(sides.members, sides.controls)
