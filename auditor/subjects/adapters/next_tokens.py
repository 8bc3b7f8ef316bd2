"""How likely tokens are to come next, after many paths from one beginning: what a search over secrets asks."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from auditor.errors import SubjectError
from auditor.subjects.adapters.batching import batches, halving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    _Head = Callable[[torch.Tensor], torch.Tensor]


POSITIONS = 256
"""Positions whose logits are there at once."""


class _Opened(Protocol):
    """What the rest of an opened model gives."""

    context: int
    vocabulary: int
    _device: torch.device

    def _check(self, sequences: Sequence[NDArray[np.int32]]) -> None: ...
    def _padded(self, sequences: Sequence[NDArray[np.int32]]) -> torch.Tensor: ...
    def _last_logits(self, ids: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]: ...  # noqa: ANN401
    def _after(self, cache: Any, ids: torch.Tensor) -> tuple[torch.Tensor, _Head]: ...  # noqa: ANN401
    def _states(self, ids: torch.Tensor, window: torch.Tensor) -> tuple[torch.Tensor, _Head]: ...
    def _tokens_at_once(self, first: int) -> int: ...
    def _cached_at_once(self, prefix: int, tokens: int) -> int: ...
    def _after_paths(
        self,
        start: torch.Tensor,
        cache: Any,  # noqa: ANN401
        paths: Sequence[NDArray[np.int32]],
    ) -> torch.Tensor: ...


class NextTokens:
    """The part of an opened causal language model that meets `NextTokenModel` and `ProposingModel`."""

    def next_logprob(
        self: _Opened, prefix: NDArray[np.int32], paths: Sequence[NDArray[np.int32]], tokens: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Return log p of each token right after the prefix and each path, nat, at most 0, shape [paths, tokens].

        Raises:
            SubjectError: The model gives no numbers, or a token id is outside its vocabulary.
            ValueError: The prefix is empty, or does not fit the context with a path.
        """
        lengths = [len(path) for path in paths]
        longest = max(lengths, default=0)
        if not len(prefix) or len(prefix) + longest > self.context:
            msg = (
                f"a prefix of {len(prefix)} tokens and a path of {longest}: one token at least, {self.context} at most"
            )
            raise ValueError(msg)
        self._check([prefix, *paths, *tokens.reshape(-1, 1)])
        found = np.empty((len(paths), len(tokens)))
        wanted = torch.from_numpy(tokens.astype(np.int64)).to(self._device)
        with torch.inference_mode():
            start = self._padded([prefix])
            first, cache = self._last_logits(start, None)

        def fill(some: list[int], logits: torch.Tensor) -> None:
            own = logits[:, wanted] - logits.logsumexp(dim=1, keepdim=True)
            found[some] = own.clamp(max=0.0).double().cpu().numpy()

        def work(some: list[int]) -> None:
            with torch.inference_mode():
                fill(some, self._after_paths(start, cache, [paths[row] for row in some]))

        rows = sorted((row for row, length in enumerate(lengths) if length), key=lambda row: -lengths[row])
        if len(rows) < len(paths):
            fill([row for row, length in enumerate(lengths) if not length], first)
        cached = self._cached_at_once(len(prefix), longest) // (len(prefix) + longest) * max(longest, 1)
        for batch in batches(rows, lengths, min(cached, self._tokens_at_once(1))):
            halving(batch, work)
        if not np.isfinite(found).all():
            msg = "the model gives NaN or infinity instead of probabilities"
            raise SubjectError(msg, hint="Is the checkpoint whole, and made for this precision? Try dtype: float32.")
        return found

    def other_tokens(self: _Opened, sequences: Sequence[NDArray[np.int32]], count: int) -> list[NDArray[np.int32]]:
        """Return, for each target of each sequence, the likeliest other tokens, likeliest first, from one pass over each.

        Raises:
            SubjectError: A token id is outside the vocabulary.
            ValueError: A sequence is longer than the context, or count is below 1.
        """
        if count < 1:
            msg = f"one other token at least: {count}"
            raise ValueError(msg)
        self._check(sequences)
        kept = min(count, self.vocabulary - 1)
        lengths = [len(ids) for ids in sequences]
        found = [np.empty((0, kept), dtype=np.int32) for _ in sequences]

        def work(some: list[int]) -> None:
            with torch.inference_mode():
                ids = self._padded([sequences[row] for row in some])
                states, head = self._states(ids, torch.arange(ids.shape[1] - 1, device=self._device))
                for row, seen, own in zip(some, states, ids[:, 1:], strict=True):
                    found[row] = _others(seen[: lengths[row] - 1], own[: lengths[row] - 1], head, kept)

        rows = sorted((row for row, length in enumerate(lengths) if length > 1), key=lambda row: -lengths[row])
        for batch in batches(rows, lengths, self._tokens_at_once(1)):
            halving(batch, work)
        return found

    def _after_paths(
        self: _Opened,
        start: torch.Tensor,
        cache: Any,  # noqa: ANN401
        paths: Sequence[NDArray[np.int32]],
    ) -> torch.Tensor:
        """Return the float32 logits after the start and each path, shape [paths, vocabulary].

        Paths are padded on the right, where a causal model does not look.
        """
        ids = self._padded(paths)
        last = torch.tensor([len(path) - 1 for path in paths], device=self._device)
        if hasattr(cache, "batch_repeat_interleave"):
            held = copy.deepcopy(cache)
            held.batch_repeat_interleave(len(paths))
            states, head = self._after(held, ids)
        else:  # a model whose memory of a beginning cannot be shared reads everything again
            whole = torch.cat([start.expand(len(paths), -1), ids], dim=1)
            states, head = self._states(whole, torch.arange(start.shape[1], whole.shape[1], device=self._device))
        return head(states[torch.arange(len(paths), device=self._device), last]).float()


def _others(states: torch.Tensor, own: torch.Tensor, head: _Head, kept: int) -> NDArray[np.int32]:
    """Return the likeliest tokens of each position but its own, shape [positions, kept]."""
    parts = []
    for start in range(0, len(own), POSITIONS):
        logits = head(states[start : start + POSITIONS]).float()
        logits = logits.scatter(1, own[start : start + POSITIONS, None], -torch.inf)
        parts.append(logits.topk(kept, dim=1).indices.cpu())
    chosen: NDArray[np.int32] = torch.cat(parts).numpy().astype(np.int32)
    return chosen
