"""Observations of open generations in memory, with the columns they have on disk."""

from __future__ import annotations

import numpy as np
from tables import LISTS, MemoryTable

from auditor.battery.language.extracted import SIDES

LISTS.update(
    {
        f"{side}_{name}": np.bool_ if name == "common" else np.int32
        for side in SIDES
        for name in ("lengths", "distinct", "record", "unit", "documents", "common")
    }
)


def generation_table(
    runs,
    units=(200, 200, 0),
    *,
    kinds=None,
    sides=None,
    clusters=None,
    groups=None,
    tokens=128,
    scores=None,
    cut=1 << 30,
):
    """Generations with their runs.

    Args:
        runs: For each generation, tuples of side, unit, length and perhaps distinct tokens and common.
        units: Persons or documents of members, controls and other members.
        scores: Columns of scores, where they are not all alike.
    """
    count = len(runs)
    columns = {
        "number": np.arange(count),
        "kind": np.array(kinds if kinds is not None else ["top-k"] * count, dtype=object),
        "side": np.array(sides if sides is not None else [""] * count, dtype=object),
        "prompt_id": np.array([""] * count, dtype=object),
        "prompt_cluster": np.array(clusters if clusters is not None else [""] * count, dtype=object),
        "tokens": np.full(count, tokens),
        "group": np.arange(count) if groups is None else np.asarray(groups),
        "excerpt": np.array(
            [f"T\u2588 {row}" if any(r[0] == "member" for r in runs[row]) else "" for row in range(count)], dtype=object
        ),
        "logprob": np.full(count, -2.0),
        "window": np.full(count, -1.5),
        "lowercase": np.full(count, -3.0),
        "zlib_bytes": np.full(count, 300),
    } | (scores or {})
    for side, size in zip(SIDES, units, strict=True):
        own = [
            [
                (*run[:3], run[3] if len(run) > 3 else 40, run[4] if len(run) > 4 else False)
                for run in row
                if run[0] == side
            ]
            for row in runs
        ]
        columns[f"{side}_records"] = np.full(count, size)
        columns[f"{side}_units"] = np.full(count, size)
        columns[f"{side}_longest"] = np.array([max((run[2] for run in row), default=5) for row in own])
        columns[f"{side}_id"] = np.array(
            [f"{side}-{max(row, key=lambda run: run[2])[1]}" if row else "" for row in own], dtype=object
        )
        columns[f"{side}_covered"] = np.array([min(tokens, sum(run[2] for run in row)) for row in own])
        columns[f"{side}_lengths"] = [np.array([run[2] for run in row], dtype=np.int32) for row in own]
        columns[f"{side}_distinct"] = [np.array([run[3] for run in row], dtype=np.int32) for row in own]
        columns[f"{side}_record"] = [np.array([run[1] for run in row], dtype=np.int32) for row in own]
        columns[f"{side}_unit"] = [np.array([run[1] for run in row], dtype=np.int32) for row in own]
        columns[f"{side}_documents"] = [np.ones(len(row), dtype=np.int32) for row in own]
        columns[f"{side}_common"] = [np.array([run[4] for run in row], dtype=bool) for row in own]
    return MemoryTable(columns, cut)


def floor_table(members=200, controls=200, longest=(), held_out=(), clusters=None):
    """The listing of compared records, and the longest matches of the first of each side on the other."""
    sides = [("m", members, list(longest) or [5]), ("c", controls, list(held_out) or [5])]
    ids = [f"{side}{number}" for side, count, _ in sides for number in range(count)]
    found = np.concatenate([[*own, *([0] * (count - len(own)))] for _, count, own in sides]).astype(int)
    matched = np.concatenate([np.arange(count) < len(own) for _, count, own in sides])
    return MemoryTable(
        {
            "id": np.array(ids, dtype=object),
            "cluster": np.array(ids if clusters is None else clusters, dtype=object),
            "member": np.array([True] * members + [False] * controls),
            "matched": matched,
            "longest": found,
        },
        name="f",
    )


def innocent_runs(rng, documents=400, generations=200, often=0.3):
    """Generations that copy some documents more than others, whichever side these are on."""
    side = rng.permutation(documents) < documents // 2
    number = np.where(side, np.cumsum(side) - 1, np.cumsum(~side) - 1)
    popular = rng.dirichlet(np.full(documents, 0.05))
    runs = []
    for _ in range(generations):
        copied = sorted(set(rng.choice(documents, size=2, p=popular).tolist())) if rng.random() < often else []
        sides = ["member" if side[document] else "control" for document in copied]
        lengths = rng.integers(50, 120, size=len(copied)).tolist()
        runs.append(list(zip(sides, number[copied].tolist(), lengths, strict=True)))
    return runs
