"""Opens causal language models from a local Hugging Face folder: configuration, tokenizer, safetensors."""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.errors import SubjectError
from auditor.subjects.adapters.weights import INDEX, model_files, read_config, tensor_headers, weight_files
from auditor.subjects.capability import ScoreRequest, TokenScores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from auditor.core.subject import ModelSpec

LOGIT_BYTES = 256 << 20
"""Memory for the logits of one batch on a CPU, byte; the batch is sized to it."""
LARGEST_BATCH = 2048
"""Padded tokens in one batch, whatever the memory: more no longer fit a processor's cache and are slower."""
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
_DEFAULT_CONTEXT = 2048


class CausalLM:
    """A loaded causal language model; meets `OpenModel`.

    Args:
        model: The model in evaluation mode.
        tokenizer: Its tokenizer.
        context: Longest sequence it takes, tokens.
    """

    def __init__(self, model: Any, tokenizer: Any, context: int) -> None:  # noqa: ANN401  (transformers has no types)
        """Remember both, and whether the tokenizer itself puts a token before every text."""
        self._model = model
        self._tokenizer = tokenizer
        self.context = context
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        start = tokenizer("", add_special_tokens=True)["input_ids"]
        self.begin: int | None = int(start[0]) if start and start[0] == tokenizer.bos_token_id else None

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self._model.parameters()).device
        return device

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
        """Return the scores of each sequence, from one forward pass over each; batch mates change nothing."""
        self._check(sequences)
        scores: list[TokenScores | None] = [None] * len(sequences)
        for rows in self._batches([len(ids) for ids in sequences], request):
            for row, found in zip(rows, self._score_batch([sequences[row] for row in rows], request), strict=True):
                scores[row] = found
        return [found if found is not None else _nothing() for found in scores]

    def _check(self, sequences: Sequence[NDArray[np.int32]]) -> None:
        for ids in sequences:
            if len(ids) > self.context:
                msg = f"a sequence of {len(ids)} tokens does not fit the context of {self.context}"
                raise ValueError(msg)
            if len(ids) and (ids.min() < 0 or ids.max() >= self.vocabulary):
                msg = f"token id {int(ids.max())} is outside the model's vocabulary of {self.vocabulary}"
                raise SubjectError(msg, hint="The tokenizer does not belong to this model.")

    def _batches(self, lengths: Sequence[int], request: ScoreRequest) -> Iterator[list[int]]:
        """Yield row numbers of batches, longest first, so that padding and memory stay small."""
        budget = self._tokens_at_once()
        scored = [row for row, length in enumerate(lengths) if length > request.first]
        order = sorted(scored, key=lambda row: -lengths[row])
        batch: list[int] = []
        for row in order:
            if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _tokens_at_once(self) -> int:
        room = LOGIT_BYTES
        if self._device.type == "cuda":
            import torch  # noqa: PLC0415

            room = torch.cuda.mem_get_info(self._device)[0] // 4
        return max(self.context, min(LARGEST_BATCH, room // (4 * self.vocabulary)))

    def _score_batch(self, sequences: Sequence[NDArray[np.int32]], request: ScoreRequest) -> list[TokenScores]:
        import torch  # noqa: PLC0415

        from auditor.subjects.adapters.token_scoring import score_rows  # noqa: PLC0415

        lengths = [len(ids) for ids in sequences]
        with torch.inference_mode():
            ids, mask = self._padded(sequences)
            # Padding stands on the right: no position before it sees it, so the default position ids are right.
            window = torch.arange(request.first - 1, ids.shape[1] - 1, device=ids.device)
            logits = self._logits(ids, mask, window)
            keep = mask[:, request.first :].bool()
            scored = score_rows(logits[keep], ids[:, request.first :][keep], request)
        counts = [length - request.first for length in lengths]
        none = [np.empty(0, dtype=np.float32)] * len(sequences)
        columns = {name: np.split(values.numpy(), np.cumsum(counts)[:-1]) for name, values in scored.items()}
        return [
            TokenScores(*row)
            for row in zip(
                columns["logprob"],
                columns["hit"],
                columns["tie"],
                columns.get("mean", none),
                columns.get("deviation", none),
                columns.get("top_logprob", none),
                strict=True,
            )
        ]

    def _padded(self, sequences: Sequence[NDArray[np.int32]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids padded on the right with zeros, and the mask that says which are real."""
        import torch  # noqa: PLC0415

        width = max(len(ids) for ids in sequences)
        ids = np.zeros((len(sequences), width), dtype=np.int64)
        mask = np.zeros((len(sequences), width), dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        return torch.from_numpy(ids).to(self._device), torch.from_numpy(mask).to(self._device)

    def _logits(self, ids: torch.Tensor, mask: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
        """Return the logits at the positions of the window, computed at those alone where the model can be asked to."""
        uniform = bool(mask.all())
        arguments = {"input_ids": ids, "attention_mask": None if uniform else mask, "use_cache": False}
        if len(window) < ids.shape[1] - 1 and self._keeps_logits:
            return self._model(**arguments, logits_to_keep=window).logits
        return self._model(**arguments).logits[:, window[0] : window[-1] + 1]

    @property
    def _keeps_logits(self) -> bool:
        import inspect  # noqa: PLC0415

        return "logits_to_keep" in inspect.signature(self._model.forward).parameters

    def continue_greedily(self, prefixes: Sequence[NDArray[np.int32]], tokens: int) -> list[NDArray[np.int32]]:
        """Return the greedy continuation of each prefix with a key-value cache: `tokens` ids, no early stop."""
        self._check(prefixes)
        continued: list[NDArray[np.int32]] = [np.empty(0, dtype=np.int32)] * len(prefixes)
        by_length: dict[int, list[int]] = {}
        for row, prefix in enumerate(prefixes):
            if not len(prefix) or len(prefix) + tokens > self.context:
                msg = f"a prefix of {len(prefix)} tokens and {tokens} more do not fit the context of {self.context}"
                raise ValueError(msg)
            by_length.setdefault(len(prefix), []).append(row)
        for length, rows in by_length.items():
            size = max(1, self._tokens_at_once() // (length + tokens))
            for start in range(0, len(rows), size):
                some = rows[start : start + size]
                for row, ids in zip(some, self._continue_batch([prefixes[r] for r in some], tokens), strict=True):
                    continued[row] = ids
        return continued

    def _continue_batch(self, prefixes: Sequence[NDArray[np.int32]], tokens: int) -> NDArray[np.int32]:
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            step, _ = self._padded(prefixes)
            cache, said = None, []
            for _ in range(tokens):
                out = self._model(input_ids=step, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                step = out.logits[:, -1].float().argmax(dim=-1, keepdim=True)
                said.append(step)
            ids: NDArray[np.int32] = torch.cat(said, dim=1).cpu().numpy().astype(np.int32)
        return ids

    def score_completions(
        self, prefix: NDArray[np.int32], completions: Sequence[NDArray[np.int32]]
    ) -> NDArray[np.float64]:
        """Return the summed log-probability of each completion after the prefix, nat; the prefix is computed once."""
        import torch  # noqa: PLC0415

        self._check([prefix, *completions])
        totals = np.zeros(len(completions))
        if not len(prefix):
            msg = "the prefix is empty: begin with the model's beginning-of-sequence token or the text's first token"
            raise ValueError(msg)
        lengths = np.array([len(completion) for completion in completions])
        with torch.inference_mode():
            start, _ = self._padded([prefix])
            out = self._model(input_ids=start, use_cache=True)
            first = out.logits[0, -1].float().log_softmax(dim=-1).cpu().numpy()
            held = [(layer.keys, layer.values) for layer in out.past_key_values.layers]
            for length in np.unique(lengths[lengths > 0]):
                rows = np.flatnonzero(lengths == length)
                size = max(1, self._tokens_at_once() // max(int(length), len(prefix) // 8, 1))
                for some in np.split(rows, range(size, len(rows), size)):
                    ids = np.stack([completions[row] for row in some])
                    totals[some] = first[ids[:, 0]]
                    if length > 1:
                        totals[some] += self._score_after(held, len(prefix), ids)
        return totals

    def _score_after(
        self, held: list[tuple[torch.Tensor, torch.Tensor]], prefix: int, ids: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Return the summed log-probability of ids[:, 1:] after the held prefix and ids[:, 0], nat, shape [rows]."""
        import torch  # noqa: PLC0415
        from transformers import DynamicCache  # noqa: PLC0415

        count = len(ids)
        cache = DynamicCache()
        for number, (keys, values) in enumerate(held):
            cache.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), number)
        tensor = torch.from_numpy(ids.astype(np.int64)).to(self._device)
        positions = torch.arange(prefix, prefix + ids.shape[1] - 1, device=self._device)[None].expand(count, -1)
        logits = self._model(
            input_ids=tensor[:, :-1], past_key_values=cache, position_ids=positions, use_cache=True
        ).logits
        rows = logits.float().log_softmax(dim=-1).gather(2, tensor[:, 1:, None]).squeeze(2)
        totals: NDArray[np.float64] = rows.double().sum(dim=1).cpu().numpy()
        return totals


def _nothing() -> TokenScores:
    empty, none = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.bool_)
    return TokenScores(empty, none, none, empty, empty, empty)


class CausalLMAdapter:
    """Opens a local Hugging Face folder; nothing is downloaded, no code of the folder is run."""

    name = "causal-lm"
    capabilities = ("scores-tokens", "continues-tokens", "scores-completions")

    def files(self, spec: ModelSpec, base: Path) -> Sequence[Path]:
        """Return every file that can change what the model computes, without opening any weights."""
        paths = model_files(base / spec.path)
        tensor_headers(paths)
        return paths

    def describe(self, spec: ModelSpec, base: Path) -> tuple[int, int]:
        """Return the number of parameters and the context length, from headers and configuration alone."""
        folder = base / spec.path
        headers = tensor_headers([path for path in weight_files(folder) if path.name != INDEX])
        config = read_config(folder)
        contexts = [int(config[key]) for key in _CONTEXT_KEYS if isinstance(config.get(key), int)]
        return sum(header.parameters for header in headers), contexts[0] if contexts else _DEFAULT_CONTEXT

    def open(self, spec: ModelSpec, base: Path) -> CausalLM:
        """Load the model and its tokenizer and check that they belong together and hold numbers."""
        folder = base / spec.path
        _, context = self.describe(spec, base)
        with _quietly():
            import torch  # noqa: PLC0415
            from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

            device = _device_of(spec.device)
            try:
                tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
                model = AutoModelForCausalLM.from_pretrained(
                    folder,
                    dtype=getattr(torch, spec.dtype),
                    local_files_only=True,
                    trust_remote_code=False,
                    use_safetensors=True,
                )
            except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                msg = f"{folder}: the model cannot be loaded ({first})"
                raise SubjectError(msg, hint="Does AutoModelForCausalLM.from_pretrained load this folder?") from error
            _check_numbers(model, folder)
            _check_vocabulary(model, tokenizer, folder)
            model = model.to(device).eval()
        return CausalLM(model, tokenizer, context)


def _check_numbers(model: Any, folder: Path) -> None:  # noqa: ANN401
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            msg = f"{folder}: the weight '{name}' holds NaN or infinity"
            raise SubjectError(msg, hint="The checkpoint is broken, or was saved in too small a precision.")


def _check_vocabulary(model: Any, tokenizer: Any, folder: Path) -> None:  # noqa: ANN401
    rows = int(model.get_input_embeddings().weight.shape[0])
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= rows:
        msg = f"{folder}: the tokenizer knows ids up to {largest}, the model only {rows} tokens"
        raise SubjectError(msg, hint="The tokenizer does not belong to this model; copy both from one place.")


def _device_of(wanted: str) -> torch.device:
    import torch  # noqa: PLC0415

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        msg = f"'{wanted}' is not a device"
        raise SubjectError(msg, hint="Use auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        msg = "the subject asks for a GPU (cuda) and there is none here"
        raise SubjectError(msg, hint="Use device: auto or cpu.")
    return device


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the loading library's progress bars and advice to its own users out of the audit's output."""
    from transformers.utils import logging as library  # noqa: PLC0415

    before = library.get_verbosity()
    library.set_verbosity(logging.ERROR)
    library.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            library.set_verbosity(before)


ADAPTER = CausalLMAdapter()
