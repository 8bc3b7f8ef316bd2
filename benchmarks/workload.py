"""Models of two shapes with random weights, texts of token ids written out, and A/B timing that a busy machine does not bias."""

# ruff: noqa: SLF001  (what is behind the adapter is what it is compared with)

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers

from auditor.contract.protocol import Facts
from auditor.core.policy import QueryBudget
from auditor.subjects.adapters.language_model import CausalLM
from auditor.subjects.data import DataRecord
from auditor.testing.control_subject import ListedRecords, control_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SHAPES = {
    # layers, width, heads, vocabulary, context
    "gpt2-small": (12, 768, 12, 50_257, 1024),
    "sample": (4, 160, 4, 2048, 256),
}
SEED = 20241217


class WrittenOut:
    """A tokenizer whose texts are token ids written out: every sequence of ids is a text."""

    bos_token_id = None

    def __call__(self, text: str | list[str], **_: object) -> dict[str, Any]:
        if isinstance(text, str):
            return {"input_ids": [] if text == "a" else [int(word) for word in text.split()]}
        return {"input_ids": [[int(word) for word in one.split()] for one in text]}

    def decode(self, ids: Sequence[int], **_: object) -> str:
        return " ".join(map(str, ids))


def opened(shape: str, device: str, dtype: str) -> CausalLM:
    """Return a model of a shape with random weights, as the adapter opens it."""
    layers, width, heads, vocabulary, context = SHAPES[shape]
    torch.manual_seed(SEED)
    config = transformers.GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        initializer_range=0.1,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).to(device).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(8.0)  # logits as far apart as a trained model's: the arg-max is seldom a tie
    return CausalLM(model, WrittenOut(), context)


def records(count: int, tokens: int, vocabulary: int) -> tuple[DataRecord, ...]:
    """Return records of random ids, all of one length."""
    rng = np.random.default_rng(SEED)
    texts = (" ".join(map(str, rng.integers(0, vocabulary, tokens).tolist())) for _ in range(count))
    return tuple(DataRecord(f"r{number}", text, f"r{number}") for number, text in enumerate(texts))


class Opened:
    """A subject of one model and members in memory; meets `OpenedSubject`."""

    def __init__(self, model: CausalLM, members: Sequence[DataRecord], canaries: Any = None) -> None:
        queries = QueryBudget(per_subject=1, lifetime=1, reason="benchmark")
        subject = control_subject("innocent", references=0, confidence=0.95, queries=queries).facts.subject
        known = subject.members.model_copy(update={"records": len(members)})
        self.facts = Facts(subject.model_copy(update={"members": known}), canaries, model.context, 0.95, queries)
        self._model, self._members = model, ListedRecords(tuple(members))

    def model(self, role: str) -> CausalLM:
        return self._model

    def records(self, dataset: str) -> ListedRecords:
        return self._members


def bare_pass(model: CausalLM, rows: torch.Tensor, batch: int) -> None:
    """Run the library's forward pass with all its logits, and keep nothing."""
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            model._model(input_ids=rows[start : start + batch], use_cache=False).logits
    settle(model)


def settle(model: CausalLM) -> None:
    """Wait until an accelerator has done what it was told."""
    if model._device.type == "cuda":
        torch.cuda.synchronize()


def paired(
    ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float, list[float]]:
    """Return the median times of both, s, and theirs divided by ours for each pair, run in turn after one warm-up.

    Neighbours on the machine slow both sides of a pair; the order within a pair alternates.
    """
    ours()
    theirs()
    times: dict[int, list[float]] = {0: [], 1: []}
    for number in range(pairs):
        for side in (0, 1) if number % 2 else (1, 0):
            gc.collect()
            start = clock()
            (ours, theirs)[side]()
            times[side].append(clock() - start)
    ratios = [slow / quick for quick, slow in zip(times[0], times[1], strict=True)]
    return statistics.median(times[0]), statistics.median(times[1]), ratios


def verdict(name: str, ratio: float, target: str, held: bool) -> None:
    print(f"{name}: {ratio:.2f} (target {target}): {'reached' if held else 'MISSED'}")


def arguments(text: str, shapes: Iterable[str] = SHAPES) -> argparse.Namespace:
    """Return what the command line says, and print what the numbers were made on."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--quick", action="store_true", help="fewer items: does it still hold?")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--shape", choices=sorted(shapes), help="only this shape")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0: its own choice")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    load = os.getloadavg()[0]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores (load {load:.1f}), {torch.get_num_threads()} threads, "
        f"{asked.device} {asked.dtype}, torch {torch.__version__}, transformers {transformers.__version__}"
    )
    return asked
