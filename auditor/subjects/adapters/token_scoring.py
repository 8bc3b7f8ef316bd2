"""The arithmetic of the teacher-forced pass on one batch of logits, in torch.

Few passes over the vocabulary: one log-sum-exp, one top-2, one weighted sum for each moment that is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditor.subjects.capability import TIE_GAP, ScoreRequest

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 2048
"""Positions that are worked on at once: bounds the memory of the intermediate arrays."""


def score_rows(logits: Tensor, targets: Tensor, request: ScoreRequest) -> dict[str, Tensor]:
    """Return the scores of each row of logits, on the CPU.

    Args:
        logits: Any floating type, shape [rows, vocabulary].
        targets: Ids, shape [rows].
        request: What to measure.
    """
    parts = [
        _score_some(logits[start : start + ROWS].float(), targets[start : start + ROWS], request)
        for start in range(0, len(targets), ROWS)
    ]
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]} if parts else {}


def _score_some(rows: Tensor, targets: Tensor, request: ScoreRequest) -> dict[str, Tensor]:
    """Return the scores of some float32 rows."""
    own = rows.gather(1, targets[:, None]).squeeze(1)
    width = rows.shape[1]
    k = max(2, min(request.top_k or 2, width))
    best = rows.topk(min(k, width), dim=1)
    largest = best.values[:, 0]
    exponentials = (rows - largest[:, None]).exp_()
    total = exponentials.sum(dim=1)
    normalizer = largest + total.log()
    scores = {
        "logprob": (own - normalizer).clamp_(max=0.0),
        # Exact ties are decided for the smallest id, whatever order topk returns them in.
        "hit": (own == largest) & (_first_of(rows, best) == targets),
        "tie": (largest - best.values[:, 1] < TIE_GAP) if width > 1 else torch.zeros_like(own, dtype=torch.bool),
    }
    if request.moments:
        # p-weighted sums of the shifted logits; log p differs from them by a constant of the row.
        shifted = rows - largest[:, None]
        first = torch.einsum("rv,rv->r", exponentials, shifted) / total
        second = torch.einsum("rv,rv->r", exponentials, shifted.sub_(first[:, None]).square_()) / total
        scores["mean"] = first - total.log()
        scores["deviation"] = second.clamp_(min=0.0).sqrt()
    if request.top_k is not None:
        kept = best.values[:, : min(request.top_k, width)] / request.temperature
        inside = own >= best.values[:, min(request.top_k, width) - 1]
        scaled = own / request.temperature - kept.logsumexp(dim=1)
        scores["top_logprob"] = torch.where(inside, scaled.clamp(max=0.0), torch.full_like(scaled, -torch.inf))
    return scores


def _first_of(rows: Tensor, best: torch.return_types.topk) -> Tensor:
    """Return the smallest id that has the largest logit of each row; rows are searched only where two are equal."""
    found: Tensor = best.indices[:, 0].clone()
    if rows.shape[1] > 1:
        for row in torch.nonzero(best.values[:, 0] == best.values[:, 1]).flatten().tolist():
            found[row] = torch.nonzero(rows[row] == best.values[row, 0])[0, 0]
    return found
