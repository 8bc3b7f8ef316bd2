"""Observations of denoising scores in memory: images of different hardness, members made easier by a shift."""

from __future__ import annotations

import dataclasses

import numpy as np
from tables import LISTS, MemoryTable, blind_table, measuring

TIMESTEPS = (10, 50, 100, 150, 200, 300, 400, 500, 700, 900)
LISTS.update(
    loss=np.float64,
    timestep=np.int32,
    conditional_gain=np.float64,
    conditional_loss=np.float64,
    clid_timestep=np.int32,
)


def denoising_tables(
    rng, members, controls, shift=0.0, clusters=None, references=0, hardness=0.3, guided=False, only=None
):
    """The observations of `diffusion/membership`.

    The log loss of an image is its hardness, which all models share, plus what this model does by chance, less the shift of members.
    `only` names the one score that moves.
    """
    found = {}
    for side, count, move in (("members", members, shift), ("controls", controls, 0.0)):
        labels = [f"{side[0]}{i if clusters is None else i // clusters}" for i in range(count)]
        common = rng.normal(0, hardness, -(-count // (clusters or 1))).repeat(clusters or 1)[:count]

        def losses(own, name, common=common, count=count, move=move):
            moved = move if own and only in (None, name) else 0.0
            noise = rng.normal(0, 0.15, (count, len(TIMESTEPS)))
            return np.exp(-2.0 + common[:, None] + noise - moved)

        def table(values, labels=labels, count=count, side=side):
            return {
                "id": np.array([f"{side[0]}{i}" for i in range(count)], dtype=object),
                "cluster": np.array(labels, dtype=object),
                "copies": np.ones(count, dtype=np.int32),
                "source": np.array([""] * count, dtype=object),
                "timestep": [np.array(TIMESTEPS)] * count,
                "loss": list(values),
            }

        columns = table(losses(True, "loss"))
        for name in ("secmi", "pia", "pian", "sima"):
            moved = move if only in (None, name) else 0.0
            columns[name] = np.exp(common + rng.normal(0, 0.2, count) - moved)
        if guided:
            columns["clid_timestep"] = [np.array([100, 200, 300])] * count
            columns["conditional_loss"] = list(losses(True, "loss")[:, :3])
            gain = rng.normal(0.1 + (move if only in (None, "clid") else 0.0), 0.1, (count, 3))
            columns["conditional_gain"] = list(gain)
        found[side] = MemoryTable(columns)
        for number in range(references):
            found[f"{side}-reference-{number}"] = MemoryTable(table(losses(False, "loss")))
    member = np.array([True] * members + [False] * controls)
    cluster = np.concatenate([found["members"].columns["cluster"], found["controls"].columns["cluster"]])
    found["blind"] = blind_table(rng, member, cluster, ("pixels", "surface", "captions"))
    return found


def image_measuring(*, capabilities=("denoises",), **kwargs):
    """What a measurement of an image subject may use."""
    found = measuring(**kwargs)
    subject = found.facts.subject
    update = {
        "model": subject.model.model_copy(update={"capabilities": tuple(capabilities)}),
        "members": subject.members.model_copy(update={"modality": "image"}),
    }
    return dataclasses.replace(found, facts=dataclasses.replace(found.facts, subject=subject.model_copy(update=update)))
