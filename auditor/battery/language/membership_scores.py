"""Membership scores of records; higher is more like a member."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from auditor.battery.membership_outcome import Scored
from auditor.evidence.table import Ragged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from auditor.evidence.table import ObservedTable

SCORES = ("loss", "zlib", "lowercase", "min_k", "min_k_plus_plus", "reference")
"""Names of the scores, in the order they are reported."""


def mean_logprob(logprob: NDArray[np.float32]) -> float:
    """Return the mean log-probability of a record's tokens, nat; the score `loss` (Yeom et al. 2018)."""
    return float(logprob.astype(np.float64).mean())


def lowest_mean(values: NDArray[np.float64], share: float) -> float:
    """Return the mean of the lowest share of values, of one value at least (Shi et al. 2023)."""
    count = max(1, int(share * len(values)))
    return float(np.partition(values, count - 1)[:count].mean())


def standardized(
    logprob: NDArray[np.float32], mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return (log p - mean) / deviation of each token (Zhang et al. 2024); a token without deviation is left out."""
    usable = deviation > 0.0
    top = logprob[usable].astype(np.float64) - mean[usable]
    return np.asarray(top / deviation[usable], dtype=np.float64)


def read_scores(evidence: Mapping[str, ObservedTable], side: str, min_k: float) -> Scored:
    """Return the scores of one side's records that have a scored token under every transform and model.

    Args:
        evidence: Observations by name: the side, `<side>-lowercase`, and `<side>-reference` where there is one.
        side: `members` or `controls`.
        min_k: Share of tokens for Min-K%.
    """
    lower = _mean_by_id(evidence[f"{side}-lowercase"])
    reference = _mean_by_id(evidence[f"{side}-reference"]) if f"{side}-reference" in evidence else None
    rows: dict[str, list[object]] = {"id": [], "cluster": [], "copies": []}
    scores: dict[str, list[float]] = {name: [] for name in SCORES if name != "reference" or reference is not None}
    columns = (*rows, "zlib_bytes", "logprob", "mean", "deviation")
    for shard in evidence[side].shards(*columns):
        for row in range(len(shard["id"])):
            name = str(shard["id"][row])
            logprob = cast("NDArray[np.float32]", cast("Ragged", shard["logprob"])[row])
            if not len(logprob) or name not in lower or (reference is not None and name not in reference):
                continue
            for key, values in rows.items():
                values.append(shard[key][row])
            own = mean_logprob(logprob)
            spread = standardized(
                logprob,
                cast("NDArray[np.float32]", cast("Ragged", shard["mean"])[row]),
                cast("NDArray[np.float32]", cast("Ragged", shard["deviation"])[row]),
            )
            scores["loss"].append(own)
            scores["zlib"].append(own / max(int(shard["zlib_bytes"][row]), 1))
            # Both are negative: the more the lower-case text is less likely than the text itself, the higher.
            scores["lowercase"].append(-own / lower[name] if lower[name] else -1.0)
            scores["min_k"].append(lowest_mean(logprob.astype(np.float64), min_k))
            scores["min_k_plus_plus"].append(lowest_mean(spread, min_k) if len(spread) else 0.0)
            if reference is not None:
                scores["reference"].append(own - reference[name])
    return Scored(
        ids=np.array(rows["id"], dtype=object),
        clusters=np.array(rows["cluster"], dtype=object),
        copies=np.array(rows["copies"], dtype=np.int64),
        scores={name: np.array(values, dtype=np.float64) for name, values in scores.items()},
    )


def _mean_by_id(table: ObservedTable) -> dict[str, float]:
    found = {}
    for shard in table.shards("id", "logprob"):
        for row in range(len(shard["id"])):
            logprob = cast("NDArray[np.float32]", cast("Ragged", shard["logprob"])[row])
            if len(logprob):
                found[str(shard["id"][row])] = mean_logprob(logprob)
    return found
