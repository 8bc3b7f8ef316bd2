"""The arithmetic of the teacher-forced pass on rows of logits, in torch.

Few passes over the vocabulary: one search for the largest logits, one exponential, one weighted sum for each moment
that is asked. All of it is float32, whatever the precision the model runs in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.subjects.capability import TIE_GAP, ScoreRequest

if TYPE_CHECKING:
    from torch import Tensor

VALUES = 1 << 20
"""Logits that are worked on at once: bounds the intermediate arrays and keeps them in the processor's cache."""
_SMALLEST_GROUP = 4
"""Below so many logits a group, looking at the groups first costs more than it saves."""


def score_rows(logits: Tensor, targets: Tensor, request: ScoreRequest) -> dict[str, Tensor]:
    """Return the scores of each row of logits, on the CPU; the logits may be overwritten.

    Args:
        logits: Any floating type, shape [rows, vocabulary].
        targets: Ids, shape [rows].
        request: What to measure.
    """
    size = max(1, VALUES // logits.shape[1])
    parts = [
        _score_some(logits[start : start + size].float(), targets[start : start + size], request)
        for start in range(0, len(targets), size)
    ]
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]} if parts else {}


def _score_some(rows: Tensor, targets: Tensor, request: ScoreRequest) -> dict[str, Tensor]:
    """Return the scores of some float32 rows, which are overwritten."""
    width = rows.shape[1]
    own = rows.gather(1, targets[:, None]).squeeze(1)
    # One more than is kept: the second largest shows a tie of the arg-max, the next one a tie at the border of the top k.
    best = largest(rows, min(max(1, request.top_k or 0) + 1, width))
    top = best[:, 0]
    scores: dict[str, Tensor] = {"hit": own == top}
    if width > 1:
        exact = torch.nonzero(scores["hit"] & (best[:, 1] == top)).flatten()
        scores["hit"][exact] = first_largest(rows[exact]) == targets[exact]
        scores["tie"] = top - best[:, 1] < TIE_GAP
    else:
        scores["tie"] = torch.zeros_like(scores["hit"])
    if request.top_k is not None:
        scores["top_logprob"] = _within_top(rows, own, best, min(request.top_k, width), request.temperature)
    shifted = rows.sub_(top[:, None])
    exponentials = shifted.exp() if request.moments else shifted.exp_()
    total = exponentials.sum(dim=1)
    scores["logprob"] = (own - top - total.log()).clamp_(max=0.0)
    if request.moments:
        # p-weighted sums of the logits less the largest one; log p differs from those by a constant of the row.
        first = (exponentials * shifted).sum(dim=1) / total
        second = exponentials.mul_(shifted.sub_(first[:, None]).square_()).sum(dim=1) / total
        scores["mean"] = first - total.log()
        scores["deviation"] = second.sqrt_()
    return scores


def _within_top(rows: Tensor, own: Tensor, best: Tensor, k: int, temperature: float) -> Tensor:
    """Return log p of the targets after temperature, renormalised over the k largest logits, -inf outside.

    Logits that are exactly equal to the k-th largest all stay, as they do when a library samples: the probabilities
    of those that stay add up to one.
    """
    border = best[:, k - 1]
    normalizer = (best[:, :k] / temperature).logsumexp(dim=1)
    if best.shape[1] > k:
        tied = torch.nonzero(best[:, k] == border).flatten()
        if len(tied):
            beyond = (rows[tied] == border[tied, None]).sum(dim=1) - (best[tied, :k] == border[tied, None]).sum(dim=1)
            normalizer[tied] = normalizer[tied].logaddexp(border[tied] / temperature + beyond.float().log())
    inside = own >= border
    return torch.where(inside, (own / temperature - normalizer).clamp(max=0.0), -torch.inf)


def largest(rows: Tensor, k: int) -> Tensor:
    """Return the k largest values of each row, descending, shape [rows, k].

    On a CPU only groups of values whose own largest is among the k largest of all groups are searched: every one of
    the k largest values, counted with ties, stands in such a group.
    """
    if rows.device.type != "cpu":
        return rows.topk(k, dim=1).values
    width = rows.shape[1]
    values = rows.numpy()
    members = math.isqrt(width // k)
    if members >= _SMALLEST_GROUP:
        groups = width // members
        block = rows[:, : members * groups].view(len(rows), members, groups)  # a group: every groups-th value
        maxima = block.amax(dim=1).numpy()
        chosen = np.argpartition(maxima, groups - k, axis=1)[:, groups - k :]
        found = np.take_along_axis(block.numpy(), chosen[:, None, :], axis=2).reshape(len(rows), -1)
        values = np.concatenate([found, values[:, members * groups :]], axis=1)
    kept = np.partition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]
    kept.sort(axis=1)
    return torch.from_numpy(kept[:, ::-1].copy())


def first_largest(rows: Tensor) -> Tensor:
    """Return the smallest id that has the largest value of each row, shape [rows]."""
    ids = torch.arange(rows.shape[1], device=rows.device)
    return torch.where(rows == rows.amax(dim=1, keepdim=True), ids, rows.shape[1]).amin(dim=1)
