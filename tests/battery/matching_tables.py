"""Evidence of extraction: from observers run on a subject in memory, or written down."""

from __future__ import annotations

import numpy as np
from tables import MemoryTable, blind_table


def table_of(rows, name="0"):
    """Rows of an observer as a table, columns as they are read back."""
    columns = {}
    for key, first in rows[0].items():
        values = [row[key] for row in rows]
        columns[key] = np.array(values, dtype=object if isinstance(first, str | bytes) else None)
    return MemoryTable(columns, name=name)


def real_table(apart=0.2, members=100, controls=100, copies=None, clusters=None, same=None, source=""):
    """Real images that lie `apart` (or a list of distances, members first) from the other side."""
    ids = np.array([f"m{i}" for i in range(members)] + [f"c{i}" for i in range(controls)], dtype=object)
    distance = np.broadcast_to(np.asarray(apart, dtype=float), members + controls).copy()
    return MemoryTable(
        {
            "id": ids,
            "cluster": ids if clusters is None else np.array(clusters, dtype=object),
            "member": np.arange(members + controls) < members,
            "copies": np.ones(members + controls, dtype=np.int32) if copies is None else np.asarray(copies),
            "source": np.full(members + controls, source, dtype=object),
            "same_as": ids if same is None else np.array(same, dtype=object),
            "distance": distance,
            "tiled": distance * 1.5,
            "ratio": distance * 4.0,
        },
        name="1",
    )


def made_table(nearest, to_members, to_controls, asked=None):
    """Images with the positions of the nearest member and control, and how far those lie."""
    member, control = (np.asarray(places) for places in nearest)
    count = len(member)
    m, c = np.asarray(to_members, dtype=float), np.asarray(to_controls, dtype=float)
    columns = {"asked": np.full(count, "", dtype=object) if asked is None else np.array(asked, dtype=object)}
    for side, places, distance in (("member", member, m), ("control", control, c)):
        columns[f"{side}_id"] = np.array([f"{side[0]}{place}" for place in places], dtype=object)
        columns[f"{side}_distance"] = distance
        columns[f"{side}_tiled"] = distance * 1.5
        columns[f"{side}_ratio"] = distance * 4.0
    columns["picture"] = np.array([b"png%d" % row for row in range(count)], dtype=object)
    return MemoryTable(columns, name="2")


def copies_table(exact, near=None):
    """How often each member's picture and its like stand among the members."""
    exact = np.asarray(exact)
    return MemoryTable(
        {
            "id": np.array([f"m{i}" for i in range(len(exact))], dtype=object),
            "member": np.ones(len(exact), dtype=bool),
            "exact_copies": exact,
            "near_copies": exact if near is None else np.asarray(near),
        },
        name="3",
    )


def blind(rng, members=100, controls=100):
    member = np.arange(members + controls) < members
    names = np.array([f"r{i}" for i in range(members + controls)], dtype=object)
    return blind_table(rng, member, names, ("pixels", "surface", "captions"))
