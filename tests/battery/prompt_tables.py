"""Observations of prompts and completions in memory, with the columns that the observers write."""

from __future__ import annotations

import numpy as np
from tables import MemoryTable

from auditor.evidence.table import Ragged


class RaggedTable(MemoryTable):
    """A table whose list columns are double precision."""

    def shards(self, *names):
        for start in range(0, max(self.rows, 1), self.cut):
            part = slice(start, start + self.cut)
            yield {
                name: Ragged.of(values[part], np.float64) if isinstance(values, list) else values[part]
                for name, values in ((name, self.columns[name]) for name in names)
            }


def _who(count, side, per_cluster=1, copies=None):
    return {
        "id": np.array([f"{side}{i}" for i in range(count)], dtype=object),
        "cluster": np.array([f"{side}{i // per_cluster}" for i in range(count)], dtype=object),
        "copies": np.array(copies if copies is not None else [1 + i % 4 for i in range(count)]),
    }


def prompted_table(nearest, spread, generations=16, side="m", per_cluster=1, copies=None, rng=None, cut=48):
    """Captions whose nearest image lies at `nearest`; their images lie `spread` apart, or as `spread[i]` says."""
    rng = rng or np.random.default_rng(0)
    count = len(nearest)
    who = _who(count, side, per_cluster, copies)
    pairs = np.tril_indices(generations, -1)
    own, distances = [], []
    for i in range(count):
        values = nearest[i] + np.abs(rng.normal(0, 0.02, generations))
        values[rng.integers(generations)] = nearest[i]
        own += values.tolist()
        matrix = np.zeros((generations, generations))
        matrix[pairs] = spread[i] if np.ndim(spread[i]) else np.maximum(rng.normal(spread[i], 0.02, len(pairs[0])), 0)
        distances += [matrix[j, :j] for j in range(generations)]
    rows = {name: np.repeat(values, generations) for name, values in who.items()}
    return RaggedTable(
        rows
        | {
            "caption_copies": rows["copies"],
            "same_caption": np.ones(count * generations, dtype=int),
            "number": np.tile(np.arange(generations), count),
            "own_distance": np.array(own),
            "distances": distances,
            "picture": np.array([b"png"] * (count * generations), dtype=object),
        },
        cut=cut,
    )


def innocent_prompted(rng, count=64, per_cluster=1, generations=16):
    """Members and controls from one population: how hard a caption is varies, and its images with it."""
    found = {}
    for side in ("members", "controls"):
        effect = np.repeat(rng.normal(0, 0.03, -(-count // per_cluster)), per_cluster)[:count]
        near, spread = np.abs(rng.normal(0.2, 0.03, count) + effect), np.abs(rng.normal(0.25, 0.03, count) + effect)
        found[side] = prompted_table(near, spread, generations, side[0], per_cluster, rng=rng)
    return found


def blind_table(rng, members, controls, names):
    member = np.array([True] * members + [False] * controls)
    cluster = np.array([f"{'m' if one else 'c'}{i}" for i, one in enumerate(member)], dtype=object)
    scored = np.arange(members + controls) % 2 == 0
    columns = {name: np.where(scored, rng.normal(size=members + controls), np.nan) for name in names}
    return MemoryTable({"id": cluster, "cluster": cluster, "member": member, "scored": scored, **columns})


def completion_tables(rng, count=60, shift=0.0, per_cluster=1, reference=False, completions=4, losses=False):
    """Completions of images whose difficulty varies; members come nearer by `shift`."""
    found = {}
    for side, move in (("members", shift), ("controls", 0.0)):
        group = np.repeat(rng.normal(0, 0.03, -(-count // per_cluster)), per_cluster)[:count]
        hard = 0.3 + np.abs(rng.normal(0, 0.05, count)) + group
        for name, nearer in ((side, move), (f"{side}-reference", 0.0)):
            rows = [np.abs(hard[i] - nearer + rng.normal(0, 0.02, completions)) for i in range(count)]
            columns = _who(count, side[0], per_cluster) | {
                "distances": rows,
                "picture": np.array([b""] * count, dtype=object),
                "mean": np.array([row.mean() for row in rows]),
                "nearest": np.array([row.min() for row in rows]),
            }
            if losses:
                columns["losses"] = [rng.permutation(completions).astype(float) for _ in rows]
            if name == side or reference:
                found[name] = RaggedTable(columns, cut=25)
    found["blind"] = blind_table(rng, count, count, ("pixels", "surface", "captions"))
    return found


def caption_tables(rng, count=80, shift=0.0, longer=0, per_cluster=1, attention=False, tokens=True):
    """Captions whose scores grow with their length; members' captions are longer by up to `longer` words."""
    found = {}
    names = ("magnitude", "first_step", "one_step", *(("attention_d", "attention_e") if attention else ()))
    for side, move, more in (("members", shift, longer), ("controls", 0.0, 0)):
        clusters = -(-count // per_cluster)
        length = np.repeat(rng.integers(4, 12, clusters) + rng.integers(0, more + 1, clusters), per_cluster)[:count]
        own = np.repeat(rng.normal(0, 0.5, clusters), per_cluster)[:count]
        columns = _who(count, side[0], per_cluster) | {
            "words": length,
            "tokens": length + 2 if tokens else np.full(count, -1),
            "same_caption": np.ones(count, dtype=int),
            "excerpt": np.array(["A\u2588 (9 tokens)"] * count, dtype=object),
        }
        for name in names:
            columns[name] = length + own + move + rng.normal(0, 1, count)
        found[side] = MemoryTable(columns)
    found["blind"] = blind_table(rng, count, count, ("bag_of_words", "character_ngrams", "surface"))
    return found
