"""Membership scores of records; higher is more like a member."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from auditor.battery.membership_outcome import Scored
from auditor.evidence.table import Ragged
from auditor.statistics.likelihood_ratio import offline_reference, relative_ratio, shadow_scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from auditor.evidence.table import ObservedTable

SCORES = (
    "loss",
    "zlib",
    "lowercase",
    "min_k",
    "min_k_plus_plus",
    "dc_pdd",
    "recall",
    "neighbourhood",
    "reference",
    "rmia",
    "lira",
)
"""Names of the scores, in the order they are reported."""
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Shares of the least and most likely tokens whose means dataset inference learns from (Maini et al. 2024)."""
PROFILE = tuple(f"{end}-{share:g}" for end in ("least", "most") for share in SHARES)
"""Names of those means. They are no scores: none of them is reported or counted in the family."""
CAP = 0.01
"""Largest contribution of one token to DC-PDD (Zhang et al. 2024)."""


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


def divergence(
    logprob: NDArray[np.float32], log_frequency: NDArray[np.float32], first: NDArray[np.bool_], cap: float = CAP
) -> float:
    """Return DC-PDD: the mean of min(p log(1 / f), cap) over the first occurrence of each token; 0 without one.

    Args:
        logprob: log p of each token, nat, shape [tokens].
        log_frequency: log f of each, its share of a reference corpus, shape [tokens].
        first: The token does not stand earlier in the record, shape [tokens].
        cap: Largest contribution of one token.

    Source:
        Zhang, Zhang, Xing, Zhang, Ren, Zhang, Wang, Ma (2024), Pretraining Data Detection for Large Language Models: A
        Divergence-based Calibration Method.
    """
    if not first.any():
        return 0.0
    p, surprise = np.exp(logprob[first].astype(np.float64)), -log_frequency[first].astype(np.float64)
    return float(np.minimum(p * surprise, cap).mean())


def conditional(after: NDArray[np.float32], logprob: NDArray[np.float32]) -> float:
    """Return ReCaLL: the log-probability after a context of non-members over that without, of the tokens both have scored.

    Args:
        after: log p of each token after the context, nat, below 0.
        logprob: The same without, from the same token on.

    Source:
        ReCaLL (2024). The tokens are the same on both sides: a first token that is scored only after a context would shift the ratio.
    """
    count = min(len(after), len(logprob))
    without = mean_logprob(logprob[:count])
    return mean_logprob(after[:count]) / without if without else 1.0


def curvature(own: float, neighbours: NDArray[np.float32]) -> float:
    """Return the neighbourhood score: mean log-probability of a record minus the average of that of its neighbours, nat.

    Args:
        own: Mean log p of the record's tokens.
        neighbours: The same of each neighbour, shape [neighbours], at least one.

    Source:
        Mattern et al. (2023), Membership Inference Attacks against Language Models via Neighbourhood Comparison.
    """
    return own - float(neighbours.astype(np.float64).mean())


def profile(logprob: NDArray[np.float32]) -> dict[str, float]:
    """Return the means of the least and of the most likely tokens, by several shares, one token at least."""
    ordered = np.sort(logprob.astype(np.float64))
    counts = np.maximum(1, (np.array(SHARES) * len(ordered)).astype(np.int64))
    least, most = np.cumsum(ordered)[counts - 1] / counts, np.cumsum(ordered[::-1])[counts - 1] / counts
    return dict(zip(PROFILE, [*least.tolist(), *most.tolist()], strict=True))


def read_scores(evidence: Mapping[str, ObservedTable], side: str, min_k: float) -> Scored:
    """Return the scores of one side's records that have a scored token under every transform and model.

    Beside the scores it holds the profile, and the mean log-probability under each reference model as `reference-<n>`.

    Args:
        evidence: Observations by name: the side, `<side>-lowercase`, `<side>-reference-<n>` for each reference model, and
            `frequencies` where DC-PDD is asked, `context` where ReCaLL is, `neighbours` where the neighbourhood is.
        side: `members` or `controls`.
        min_k: Share of tokens for Min-K%.
    """
    others = _others(evidence, side)
    frequency = _lists(evidence["frequencies"], "log_frequency", side) if "frequencies" in evidence else None
    context = _lists(evidence["context"], "logprob", side) if "context" in evidence else None
    needed: list[Mapping[str, object]] = [*others.values(), *(one for one in (frequency, context) if one is not None)]
    rows: dict[str, list[object]] = {"id": [], "cluster": [], "copies": []}
    scores: dict[str, list[float]] = {}
    columns = [*rows, "zlib_bytes", "logprob"]
    columns += [name for name in ("mean", "deviation") if name in evidence[side].names]
    for shard in evidence[side].shards(*columns, *(["begin", "previous"] if frequency is not None else [])):
        for row in range(len(shard["id"])):
            name = str(shard["id"][row])
            logprob = _values(shard["logprob"], row)
            if not len(logprob) or any(name not in one for one in needed):
                continue
            for key, values in rows.items():
                values.append(shard[key][row])
            found = _own(shard, row, min_k)
            means = {key: of[name] for key, of in others.items()}
            lower = means.pop("lowercase")
            # Both are negative: the more the lower-case text is less likely than the text itself, the higher.
            found |= {"lowercase": -found["loss"] / lower if lower else -1.0, **means}
            if context is not None:
                found["recall"] = conditional(context[name], logprob)
            if frequency is not None:
                begin = int(cast("NDArray[np.int32]", shard["begin"])[row])
                seen = frequency[name][begin : begin + len(logprob)]
                first = _values(shard["previous"], row)[: len(seen)] == 0
                found["dc_pdd"] = divergence(logprob[: len(seen)], seen, first)
            for key, value in found.items():
                scores.setdefault(key, []).append(value)
    return Scored(
        ids=np.array(rows["id"], dtype=object),
        clusters=np.array(rows["cluster"], dtype=object),
        copies=np.array(rows["copies"], dtype=np.int64),
        scores={name: np.array(values, dtype=np.float64) for name, values in scores.items()},
    )


def calibrated(members: Scored, controls: Scored, a: float) -> tuple[Scored, Scored]:
    """Return both sides with the scores that compare with reference models, where there are any.

    `reference` is the mean difference of log-probabilities. RMIA compares p = exp(mean log-probability) with what models without
    the record give it. With gamma = 1 its ranks are those of that ratio, whichever records are the population, so the controls
    are the population and none is lost. LiRA, offline, takes the logit of p; from two reference models on.

    Args:
        members: The members.
        controls: The controls.
        a: How much a model without a record falls behind, for RMIA, 0 to 1.
    """
    count = sum(name.startswith("reference-") for name in members.scores)
    if not count:
        return members, controls
    cut = len(members.ids)
    own = np.concatenate([members.scores["loss"], controls.scores["loss"]])
    names = [f"reference-{number}" for number in range(count)]
    others = np.stack([np.concatenate([members.scores[name], controls.scores[name]]) for name in names])
    p, out = np.exp(own), offline_reference(np.exp(others).mean(axis=0), a)
    found = {"reference": own - others.mean(axis=0), "rmia": relative_ratio(p, out, p[cut:], out[cut:])}
    if count > 1:
        found["lira"] = shadow_scores(_logit(own), np.stack([_logit(row) for row in others]))
    first, second = (
        replace(side, scores={**side.scores, **{name: values[part] for name, values in found.items()}})
        for side, part in ((members, slice(0, cut)), (controls, slice(cut, None)))
    )
    return first, second


def features(members: Scored, controls: Scored) -> NDArray[np.float64]:
    """Return what dataset inference learns from, members first: every score and the profile, tails drawn in.

    The tails (2.5 % on each side) are those of both sides together, so labels are not looked at.

    Returns:
        Shape [records, features].
    """
    names = [name for name in (*SCORES, *PROFILE) if name in members.scores]
    values = np.column_stack([np.concatenate([members.scores[name], controls.scores[name]]) for name in names])
    low, high = np.quantile(values, (0.025, 0.975), axis=0)
    return np.asarray(np.clip(values, low, high), dtype=np.float64)


def _logit(logprob: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log(p / (1 - p)) of p = exp(logprob), kept finite where p rounds to 1."""
    return np.asarray(logprob - np.log(np.maximum(-np.expm1(logprob), 1e-12)), dtype=np.float64)


def _own(shard: Mapping[str, object], row: int, min_k: float) -> dict[str, float]:
    """Return the scores that one pass over a record gives, and its profile."""
    logprob = _values(shard["logprob"], row)
    own = mean_logprob(logprob)
    size = int(cast("NDArray[np.int32]", shard["zlib_bytes"])[row])
    found = {
        "loss": own,
        "zlib": own / max(size, 1),
        "min_k": lowest_mean(logprob.astype(np.float64), min_k),
        **profile(logprob),
    }
    if "mean" in shard:  # the model gives the whole distribution
        spread = standardized(logprob, _values(shard["mean"], row), _values(shard["deviation"], row))
        found["min_k_plus_plus"] = lowest_mean(spread, min_k) if len(spread) else 0.0
    return found


def _others(evidence: Mapping[str, ObservedTable], side: str) -> dict[str, dict[str, float]]:
    """Return what other passes give each record, one number a pass, by name and id."""
    others = {"lowercase": _mean_by_id(evidence[f"{side}-lowercase"])}
    for name in sorted(evidence):
        if name.startswith(f"{side}-reference-"):
            others[name.removeprefix(f"{side}-")] = _mean_by_id(evidence[name])
    if "neighbours" in evidence:
        others["neighbourhood"] = _beside(evidence["neighbours"], side)
    return others


def _values(column: object, row: int) -> NDArray[np.float32]:
    return cast("NDArray[np.float32]", cast("Ragged", column)[row])


def _rows_of(shard: Mapping[str, object], side: str) -> list[int]:
    """Return the rows of one side: an id is unique in its own file alone, and records without ids are numbered in each."""
    return np.flatnonzero(np.asarray(shard["member"], dtype=np.bool_) == (side == "members")).tolist()


def _lists(table: ObservedTable, column: str, side: str) -> dict[str, NDArray[np.float32]]:
    """Return the lists of a column that have a value, by id of the side's record."""
    found = {}
    for shard in table.shards("id", "member", column):
        for row in _rows_of(shard, side):
            values = _values(shard[column], row)
            if len(values):
                found[str(shard["id"][row])] = values
    return found


def _beside(table: ObservedTable, side: str) -> dict[str, float]:
    """Return the neighbourhood score of each of the side's records that has a neighbour."""
    found = {}
    for shard in table.shards("id", "member", "own", "neighbour"):
        for row in _rows_of(shard, side):
            values = _values(shard["neighbour"], row)
            if len(values):
                found[str(shard["id"][row])] = curvature(float(cast("NDArray[np.float64]", shard["own"])[row]), values)
    return found


def _mean_by_id(table: ObservedTable) -> dict[str, float]:
    found = {}
    for shard in table.shards("id", "logprob"):
        for row in range(len(shard["id"])):
            logprob = _values(shard["logprob"], row)
            if len(logprob):
                found[str(shard["id"][row])] = mean_logprob(logprob)
    return found
