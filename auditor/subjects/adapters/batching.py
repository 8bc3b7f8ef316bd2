"""Divides sequences into batches: by tokens, by memory, by what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auditor.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def batches(rows: Sequence[int], lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield batches of rows, longest first, whose padded tokens stay within the budget; a batch has at least one row."""
    batch: list[int] = []
    for row in rows:
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def shared_start(ids: torch.Tensor, shortest: int) -> tuple[int, torch.Tensor, torch.Tensor]:
    """Return how many first tokens to compute once for all rows that share them: what costs the fewest tokens.

    Also the different beginnings, shape [beginnings, tokens], and which of them each row has, shape [rows]. At least
    one token of each row is left.
    """
    best, width = 0, ids.shape[1] - 1
    least = width * len(ids)
    found = (ids[:1, :0], torch.zeros(len(ids), dtype=torch.long, device=ids.device))
    for tokens in range(1, shortest):
        firsts, group = torch.unique(ids[:, :tokens], dim=0, return_inverse=True)
        cost = tokens * len(firsts) + (width - tokens) * len(ids)
        if cost < least:
            best, least, found = tokens, cost, (firsts, group)
        if 2 * len(firsts) > len(ids):
            break
    return best, *found


def halving(rows: list[int], work: Callable[[list[int]], None], one: str = "sequence") -> None:
    """Do the work on all rows, on halves of them if the accelerator's memory does not hold them.

    Args:
        rows: The rows.
        work: What is done on them; done again on halves, so it must not have counted what it did not finish.
        one: What a row is called.

    Raises:
        UnsupportedError: It does not even hold one.
    """
    try:
        work(rows)
        parts: list[list[int]] = []
    except torch.OutOfMemoryError:
        if len(rows) == 1:
            msg = f"the accelerator's memory does not hold one {one} of this model"
            shorter = " or a smaller max_tokens" if one == "sequence" else ""
            raise UnsupportedError(msg, hint=f"Use device: cpu, dtype: bfloat16{shorter}.") from None
        parts = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    # Outside the handler: while the error is handled, its traceback keeps the failed batch in memory.
    for part in parts:
        torch.cuda.empty_cache()
        halving(part, work, one)
