"""Observations of what followed repeated tokens, in memory, with the columns they have on disk."""

from __future__ import annotations

import numpy as np
from generation_tables import generation_table


def output_table(
    runs, *, tokens=None, repeats=10, tail=118, distinct=60, units=(200, 200, 0), groups=None, cut=1 << 30
):
    """Outputs with the runs of what follows the repetition.

    Args:
        runs: For each output, tuples of side, record, length and perhaps distinct tokens and common.
        tokens: Id of each repeated token, -1 for none; each output another if not given.
        repeats: Tokens that go on repeating, of all or of each.
        tail: Tokens that follow.
        distinct: Different tokens among those.
        units: Records of members, controls and other members.
        groups: The first output that says the same.
        cut: Rows of a shard.
    """
    count = len(runs)
    ids = np.arange(count) if tokens is None else np.asarray(tokens)
    table = generation_table(runs, units=units, groups=groups, tokens=128, cut=cut)
    table.columns |= {
        "token_id": ids,
        "token": np.array([f" word{token}" if token >= 0 else "" for token in ids], dtype=object),
        "repeats": np.broadcast_to(repeats, count),
        "tail": np.broadcast_to(tail, count),
        "distinct": np.broadcast_to(distinct, count),
        "again": np.zeros(count, dtype=int),
    }
    for side in ("member", "control", "other"):
        table.columns[f"{side}_covered"] = np.minimum(table.columns[f"{side}_covered"], table.columns["tail"])
    for name in ("kind", "side", "prompt_id", "prompt_cluster", "logprob", "window", "lowercase", "zlib_bytes"):
        del table.columns[name]
    return table
