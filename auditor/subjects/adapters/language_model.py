"""A causal language model that was opened: teacher-forced scores, greedy continuations, completions of one prefix."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from auditor.errors import SubjectError
from auditor.subjects.adapters.batching import batches, halving, shared_start
from auditor.subjects.adapters.next_tokens import NextTokens
from auditor.subjects.adapters.prompt_swaps import PromptSwaps
from auditor.subjects.adapters.token_scoring import first_largest, score_rows
from auditor.subjects.capability import SampleRequest, ScoreRequest, TokenScores
from auditor.subjects.sampling import check_request, draw, uniforms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

HEAD_BYTES = 8 << 20
"""Logits that are there at once where the head can be applied by itself, byte: few enough to stay in the cache,"""
HEAD_ROWS = 256
"""but those of at least so many positions, or the head is read from memory too often."""
LOGIT_BYTES = 400 << 20
"""Logits of one batch where it cannot, byte."""
CACHE_BYTES = 512 << 20
"""Keys and values of one batch, byte."""
LARGEST_BATCH = 2048
"""Padded tokens in one batch on a CPU: more no longer fit its cache and are slower."""
LARGEST_BATCH_ON_GPU = 65_536
_STATES = 48
"""Intermediate values that a forward pass holds at once for each token, in hidden states."""


class CausalLM(NextTokens, PromptSwaps):
    """A loaded causal language model; meets `OpenModel`.

    Sequences of a batch are padded on the right. A causal model sees nothing to the right of a position, so neither
    the padding nor the batch mates can change a score, and no attention mask is needed for that.

    Args:
        model: The model in evaluation mode.
        tokenizer: Its tokenizer.
        context: Longest sequence it takes, tokens.
    """

    def __init__(self, model: Any, tokenizer: Any, context: int) -> None:  # noqa: ANN401  (transformers has no types)
        """Find out whether the tokenizer itself puts a token before every text, and where the head begins."""
        self._model = model
        self._tokenizer = tokenizer
        self.context = context
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self.begin = _begin_of(tokenizer)
        self._device: torch.device = next(model.parameters()).device
        self._head = _separate_head(model, self._device, min(self.vocabulary, context, 7))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the token ids of each text, without special tokens."""
        if not texts:
            return []
        rows = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [np.asarray(row, dtype=np.int32) for row in rows]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""
        text = self._tokenizer.decode([int(number) for number in ids], clean_up_tokenization_spaces=False)
        return str(text)

    def score(self, sequences: Sequence[NDArray[np.int32]], request: ScoreRequest) -> list[TokenScores]:
        """Return the scores of each sequence, from one forward pass over each; batch mates change nothing.

        Raises:
            SubjectError: The model gives no numbers, or a token id is outside its vocabulary.
            ValueError: A sequence is longer than the context, or the request asks for what cannot be.
        """
        if request.first < 1 or request.temperature <= 0.0 or (request.top_k is not None and request.top_k < 1):
            msg = f"first and top_k begin at 1 and the temperature is above 0: {request}"
            raise ValueError(msg)
        self._check(sequences)
        lengths = [len(ids) for ids in sequences]
        rows = sorted((row for row, n in enumerate(lengths) if n > request.first), key=lambda row: -lengths[row])
        scores = [_NOTHING] * len(sequences)

        def work(some: list[int]) -> None:
            for row, found in zip(some, self._score_batch([sequences[row] for row in some], request), strict=True):
                scores[row] = found

        for batch in batches(rows, lengths, self._tokens_at_once(request.first)):
            halving(batch, work)
        return scores

    def _score_batch(self, sequences: Sequence[NDArray[np.int32]], request: ScoreRequest) -> list[TokenScores]:
        counts = [len(ids) - request.first for ids in sequences]
        parts: list[dict[str, torch.Tensor]] = []
        with torch.inference_mode():
            ids = self._padded(sequences)
            steps = torch.arange(request.first, ids.shape[1], device=self._device)
            keep = steps[None] < torch.tensor([len(row) for row in sequences], device=self._device)[:, None]
            states, head = self._states(ids, steps - 1)
            targets = ids[:, request.first :][keep]
            states = states[keep]
            size = max(HEAD_ROWS, HEAD_BYTES // (4 * self.vocabulary))
            for start in range(0, len(targets), size):
                part = slice(start, start + size)
                parts.append(score_rows(head(states[part]), targets[part], request))
        columns = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
        if not np.isfinite(columns["logprob"]).all():
            msg = "the model gives NaN or infinity instead of probabilities"
            raise SubjectError(msg, hint="Is the checkpoint whole, and made for this precision? Try dtype: float32.")
        ends = np.cumsum(counts)[:-1]
        divided = {name: np.split(values, ends) for name, values in columns.items()}
        empty = [_NOTHING.mean] * len(sequences)
        order = ("logprob", "hit", "tie", "mean", "deviation", "top_logprob")
        return [TokenScores(*row) for row in zip(*(divided.get(name, empty) for name in order), strict=True)]

    def _states(
        self, ids: torch.Tensor, window: torch.Tensor
    ) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """Return what the positions of the window hold, shape [rows, window, ...], and what makes logits of it."""
        if self._head is not None:
            hidden = self._model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            return hidden[:, window[0] : window[-1] + 1], self._head
        if len(window) < ids.shape[1] - 1 and "logits_to_keep" in inspect.signature(self._model.forward).parameters:
            return self._model(input_ids=ids, use_cache=False, logits_to_keep=window).logits, _as_it_is
        return self._model(input_ids=ids, use_cache=False).logits[:, window[0] : window[-1] + 1], _as_it_is

    def continue_greedily(self, prefixes: Sequence[NDArray[np.int32]], tokens: int) -> list[NDArray[np.int32]]:
        """Return the greedy continuation of each prefix with a key-value cache: `tokens` ids, no early stop.

        Raises:
            ValueError: A prefix is empty, or does not fit the context with its continuation.
        """
        return self._continued(prefixes, tokens, lambda _rows, _step, logits: first_largest(logits))

    def sample(
        self, prefixes: Sequence[NDArray[np.int32]], seeds: Sequence[int], request: SampleRequest
    ) -> list[NDArray[np.int32]]:
        """Return a random continuation of each prefix with a key-value cache, decided by its own seed; no early stop.

        Raises:
            SubjectError: The model gives no numbers.
            ValueError: A prefix is empty, or does not fit the context with its continuation, or the request cannot be.
        """
        check_request(request, len(prefixes), len(seeds))
        uniforms = uniforms_of(seeds, request.tokens)
        kept = min(request.top_k or self.vocabulary, self.vocabulary)

        def choose(rows: list[int], step: int, logits: torch.Tensor) -> torch.Tensor:
            values, ids = logits.topk(kept, dim=1)
            temperature = request.temperatures[min(step, len(request.temperatures) - 1)]
            drawn = draw(values.cpu().numpy(), ids.cpu().numpy(), uniforms[rows, step], temperature)
            return torch.from_numpy(drawn).to(self._device)

        return self._continued(prefixes, request.tokens, choose)

    def _continued(
        self,
        prefixes: Sequence[NDArray[np.int32]],
        tokens: int,
        choose: Callable[[list[int], int, torch.Tensor], torch.Tensor],
    ) -> list[NDArray[np.int32]]:
        """Return continuations of which `choose` says each token, from the rows, the step and their logits."""
        self._check(prefixes)
        continued: list[NDArray[np.int32]] = [np.empty(0, dtype=np.int32)] * len(prefixes)
        by_length: dict[int, list[int]] = {}
        for row, prefix in enumerate(prefixes):
            if not len(prefix) or len(prefix) + tokens > self.context:
                msg = f"a prefix of {len(prefix)} tokens and {tokens} more do not fit the context of {self.context}"
                raise ValueError(msg)
            by_length.setdefault(len(prefix), []).append(row)

        def work(some: list[int]) -> None:
            said: list[torch.Tensor] = []
            with torch.inference_mode():
                start, cache = self._padded([prefixes[row] for row in some]), None
                for step in range(tokens):
                    # A model without a cache reads everything again.
                    seen = said[-1] if cache is not None else torch.cat([start, *said], dim=1)
                    logits, cache = self._last_logits(seen, cache)
                    said.append(choose(some, step, logits)[:, None])
                ids = (torch.cat(said, dim=1) if said else start[:, :0]).cpu().numpy()
            for row, spoken in zip(some, ids, strict=True):
                continued[row] = np.asarray(spoken, dtype=np.int32)

        # Prefixes of one length need no padding, so that cached positions are the positions of the text.
        for length, rows in by_length.items():
            for batch in batches(rows, [length] * len(prefixes), self._cached_at_once(length, tokens)):
                halving(batch, work)
        return continued

    def _last_logits(self, ids: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:  # noqa: ANN401
        """Return the float32 logits after the last id of each row, and the cache, None if the model keeps none."""
        if self._head is not None:
            out = self._model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
            return self._head(out.last_hidden_state[:, -1]).float(), getattr(out, "past_key_values", None)
        out = self._model(input_ids=ids, past_key_values=cache, use_cache=True)
        return out.logits[:, -1].float(), getattr(out, "past_key_values", None)

    def score_completions(
        self, prefix: NDArray[np.int32], completions: Sequence[NDArray[np.int32]]
    ) -> NDArray[np.float64]:
        """Return the summed log-probability of each completion after the prefix, nat; the prefix is computed once.

        Raises:
            ValueError: The prefix is empty, or does not fit the context with a completion.
        """
        if not len(prefix):
            msg = "the prefix is empty: begin with the model's beginning-of-sequence token or the text's first token"
            raise ValueError(msg)
        lengths = [len(completion) for completion in completions]
        if len(prefix) + max(lengths, default=0) > self.context:
            msg = f"a prefix of {len(prefix)} tokens and a completion do not fit the context of {self.context}"
            raise ValueError(msg)
        self._check([prefix, *completions])
        totals = np.zeros(len(completions))
        # In the order of their tokens, so that those of one batch begin alike.
        rows = sorted(
            (row for row, n in enumerate(lengths) if n), key=lambda r: (-lengths[r], *completions[r].tolist())
        )
        with torch.inference_mode():
            logits, cache = self._last_logits(self._padded([prefix]), None)
            first = logits[0].log_softmax(dim=-1).double().cpu().numpy()
        if not np.isfinite(first).all():
            msg = "the model gives NaN or infinity instead of probabilities"
            raise SubjectError(msg, hint="Is the checkpoint whole, and made for this precision? Try dtype: float32.")
        for row in rows:
            totals[row] = first[completions[row][0]]
        if not hasattr(cache, "batch_select_indices"):
            return self._score_whole(prefix, completions, totals)

        def work(some: list[int]) -> None:
            totals[some] += self._score_after(cache, [completions[row] for row in some])

        longer = [row for row in rows if lengths[row] > 1]
        longest = max(lengths, default=1)
        cached = self._cached_at_once(len(prefix), longest) // (len(prefix) + longest) * longest
        for batch in batches(longer, lengths, min(cached, self._tokens_at_once(1))):
            halving(batch, work)
        return totals

    def _score_after(self, cache: Any, completions: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:  # noqa: ANN401
        """Return the summed log-probability of each completion from its second token on, nat, shape [completions]."""
        lengths = np.array([len(ids) for ids in completions])
        totals = np.zeros(len(completions))
        with torch.inference_mode():
            ids = self._padded(completions)
            held = copy.deepcopy(cache)
            shared, firsts, group = shared_start(ids, int(lengths.min()))
            if shared:
                # Completions that begin alike share that beginning, too: it is computed once for each of them.
                held.batch_repeat_interleave(len(firsts))
                states, head = self._after(held, firsts)
                path = self._summed(states[:, :-1], head, firsts[:, 1:], np.full(len(firsts), shared - 1))
                totals += path[group.cpu().numpy()]
                totals += self._summed(states[:, -1][group][:, None], head, ids[:, shared, None], np.ones(len(ids)))
                held.batch_select_indices(group)
            else:
                held.batch_repeat_interleave(len(ids))
            rest = ids[:, shared:]
            if rest.shape[1] > 1:
                states, head = self._after(held, rest[:, :-1])
                totals += self._summed(states, head, rest[:, 1:], lengths - shared - 1)
        return totals

    def _after(self, cache: Any, ids: torch.Tensor) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:  # noqa: ANN401
        """Return what positions after a cache hold, shape [rows, positions, ...], and what makes logits of it."""
        if self._head is not None:
            out = self._model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
            return out.last_hidden_state, self._head
        return self._model(input_ids=ids, past_key_values=cache, use_cache=True).logits, _as_it_is

    def _summed(
        self,
        states: torch.Tensor,
        head: Callable[[torch.Tensor], torch.Tensor],
        targets: torch.Tensor,
        lengths: NDArray[np.generic],
    ) -> NDArray[np.float64]:
        """Return the summed log-probability of the first `lengths` targets of each row, nat, shape [rows]."""
        steps = torch.arange(targets.shape[1], device=self._device)
        keep = steps[None] < torch.from_numpy(lengths.astype(np.int64)).to(self._device)[:, None]
        states, wanted = states[keep], targets[keep]
        found = torch.zeros(len(wanted), dtype=torch.float64)
        size = max(HEAD_ROWS, HEAD_BYTES // (4 * self.vocabulary))
        for start in range(0, len(wanted), size):
            part = slice(start, start + size)
            logits = head(states[part]).float()
            own = logits.gather(1, wanted[part, None]).squeeze(1)
            found[part] = (own - logits.logsumexp(dim=1)).double().cpu()
        scored = torch.zeros(targets.shape, dtype=torch.float64)
        scored[keep.cpu()] = found
        totals: NDArray[np.float64] = scored.sum(dim=1).numpy()
        return totals

    def _score_whole(
        self, prefix: NDArray[np.int32], completions: Sequence[NDArray[np.int32]], totals: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the same from whole sequences, for models whose memory of a prefix cannot be shared."""
        whole = [np.concatenate([prefix, completion]) for completion in completions]
        scores = self.score(whole, ScoreRequest(first=len(prefix) + 1))
        totals += np.array([float(row.logprob.sum(dtype=np.float64)) for row in scores])
        return totals

    def _check(self, sequences: Sequence[NDArray[np.int32]]) -> None:
        for ids in sequences:
            if len(ids) > self.context:
                msg = f"a sequence of {len(ids)} tokens does not fit the context of {self.context}"
                raise ValueError(msg)
            if len(ids) and (ids.min() < 0 or ids.max() >= self.vocabulary):
                wrong = int(ids.min()) if ids.min() < 0 else int(ids.max())
                msg = f"token id {wrong} is outside the model's vocabulary of {self.vocabulary}"
                raise SubjectError(msg, hint="The tokenizer does not belong to this model.")

    def _padded(self, sequences: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        """Return ids padded on the right with zeros, shape [sequences, longest]."""
        ids = np.zeros((len(sequences), max(len(ids) for ids in sequences)), dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
        return torch.from_numpy(ids).to(self._device)

    def _tokens_at_once(self, first: int) -> int:
        """Return how many padded tokens a batch may have: bounded by memory, and by what is fast."""
        largest, room = LARGEST_BATCH, LOGIT_BYTES
        if self._device.type == "cuda":
            largest, room = LARGEST_BATCH_ON_GPU, torch.cuda.mem_get_info(self._device)[0] // 4
            hidden = int(self._model.get_output_embeddings().weight.shape[1])
            largest = min(largest, room // (4 * _STATES * hidden))
        if self._head is None:  # the logits of the whole batch are there at once
            largest = min(largest, room // (4 * self.vocabulary) + first)
        return largest

    def _cached_at_once(self, prefix: int, tokens: int) -> int:
        """Return how many tokens may stand in a cache at once."""
        config = self._model.config.get_text_config()
        width = int(getattr(config, "hidden_size", 0) or self._model.get_output_embeddings().weight.shape[1])
        layers = int(getattr(config, "num_hidden_layers", 1) or 1)
        room = CACHE_BYTES
        if self._device.type == "cuda":
            room = max(room, torch.cuda.mem_get_info(self._device)[0] // 4)
        rows = room // max(1, 8 * width * layers * (prefix + tokens))
        return max(1, rows) * (prefix + tokens)


def _as_it_is(logits: torch.Tensor) -> torch.Tensor:
    return logits


def _begin_of(tokenizer: Any) -> int | None:  # noqa: ANN401
    """Return the token that the tokenizer itself puts before a text, None if it puts none."""
    text = "a"
    plain = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    with_special = list(tokenizer(text, add_special_tokens=True)["input_ids"])
    begins = len(with_special) > len(plain) and with_special[1 : 1 + len(plain)] == plain
    return int(with_special[0]) if begins and with_special[0] == tokenizer.bos_token_id else None


def _separate_head(model: Any, device: torch.device, tokens: int) -> Callable[[torch.Tensor], torch.Tensor] | None:  # noqa: ANN401
    """Return the last layer by itself, if it and nothing else makes the logits of what stands before it.

    Then logits are made for some positions at a time and never held for a whole batch. Models that scale or bound
    their logits afterwards give other bits on the trial, and are asked for their logits as a whole.
    """
    body, head = model.base_model, model.get_output_embeddings()
    if body is model:
        return None
    ids = torch.arange(tokens, device=device)[None]
    with torch.inference_mode():
        whole = model(input_ids=ids, use_cache=False).logits
        try:
            parts = head(body(input_ids=ids, use_cache=False).last_hidden_state)
        except (AttributeError, RuntimeError, TypeError):
            return None
    same = parts.shape == whole.shape and parts.dtype == whole.dtype and torch.equal(parts, whole)
    found: Callable[[torch.Tensor], torch.Tensor] | None = head if same else None
    return found


def _nothing() -> TokenScores:
    empty, none = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.bool_)
    return TokenScores(empty, none, none, empty, empty, empty)


_NOTHING = _nothing()
