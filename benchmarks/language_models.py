"""Ratios of our passes to the bare ones, on the same work in one run: `python benchmarks/language_models.py [observe|extraction|canaries|memory]`.

Each pair is run in turn several times after a warm-up and the median of the paired ratios is printed: on a shared machine ratios can be
trusted, seconds cannot. Random weights of the sample's shape (4 layers x 160, vocabulary 2,048) and of GPT-2 small (124 million
parameters, vocabulary 50,257).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SHAPES = {"sample": (4, 160, 5, 2048, 400), "gpt2-small": (12, 768, 12, 50257, 24)}
"""Layers, width, heads, vocabulary, records."""


def built(shape: str) -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    torch.manual_seed(0)
    layers, width, heads, vocabulary, _ = SHAPES[shape]
    config = GPT2Config(
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        vocab_size=vocabulary,
        n_positions=512,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).eval()


class _Words:
    """Stands for a tokenizer where only token ids are used."""

    bos_token_id = None

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": []}


def adapted(model: Any) -> Any:
    from auditor.subjects.adapters.causal_lm import CausalLM

    return CausalLM(model, _Words(), 512)


def paired(ours: Callable[[], Any], bare: Callable[[], Any], runs: int = 5) -> tuple[float, float, float]:
    ours(), bare()
    ratios, mine, theirs = [], [], []
    for _ in range(runs):
        began = time.perf_counter()
        ours()
        mine.append(time.perf_counter() - began)
        began = time.perf_counter()
        bare()
        theirs.append(time.perf_counter() - began)
        ratios.append(mine[-1] / theirs[-1])
    return statistics.median(ratios), statistics.median(mine), statistics.median(theirs)


def observe() -> None:
    """Everything one pass feeds (moments, top-40, hits), written as evidence, against a bare forward pass over the same batches."""
    import pyarrow as pa
    import torch

    from auditor.evidence.shards import ObservationWriter
    from auditor.evidence.table import Ragged
    from auditor.subjects.capability import ScoreRequest

    for shape, (*_, vocabulary, records) in SHAPES.items():
        model = built(shape)
        subject = adapted(model)
        rng = np.random.default_rng(0)
        rows = [rng.integers(vocabulary, size=200).astype(np.int32) for _ in range(records)]
        request = ScoreRequest(moments=True, top_k=40)
        size = max(1, min(2048, (256 << 20) // (4 * vocabulary)) // 200)

        def ours() -> None:
            with tempfile.TemporaryDirectory() as folder:
                scores = subject.score(rows, request)
                table = {
                    name: Ragged.of([getattr(score, name) for score in scores], kind).to_arrow()
                    for name, kind in (
                        ("logprob", np.float32),
                        ("hit", np.bool_),
                        ("tie", np.bool_),
                        ("mean", np.float32),
                        ("deviation", np.float32),
                        ("top_logprob", np.float32),
                    )
                }
                ObservationWriter(Path(folder), b"").write(
                    0, pa.table(table), None, calls=len(rows), tokens=200 * len(rows)
                )

        def bare() -> None:
            with torch.inference_mode():
                for start in range(0, len(rows), size):
                    ids = torch.from_numpy(np.stack(rows[start : start + size]).astype(np.int64))
                    model(input_ids=ids, use_cache=False).logits

        ratio, mine, theirs = paired(ours, bare)
        print(
            f"observe, {shape}: {records} records of 200 tokens: ours {mine:.2f} s, bare {theirs:.2f} s, ratio {ratio:.2f}"
        )


def extraction() -> None:
    """Discoverable extraction 50+50 by the teacher-forced pass (head on the suffix alone) against generate() with a key-value cache."""
    import torch

    from auditor.subjects.capability import ScoreRequest

    for shape, (*_, vocabulary, records) in SHAPES.items():
        model = built(shape)
        subject = adapted(model)
        rng = np.random.default_rng(0)
        rows = [rng.integers(vocabulary, size=50).astype(np.int32) for _ in range(records)]
        said = subject.continue_greedily(rows, 50)
        # Half of the suffixes are what the model says, half differ in one token: both verdicts occur.
        for number in range(0, records, 2):
            said[number] = said[number].copy()
            said[number][int(rng.integers(50))] ^= 1
        items = [np.concatenate([row, suffix]) for row, suffix in zip(rows, said, strict=True)]
        verdicts: dict[str, list[bool]] = {}

        def ours() -> None:
            scores = subject.score(items, ScoreRequest(first=50))
            verdicts["ours"] = [bool(score.hit.all()) for score in scores]
            verdicts["tie"] = [bool(score.tie.any()) for score in scores]

        def bare() -> None:
            with torch.inference_mode():
                ids = torch.from_numpy(np.stack(rows).astype(np.int64))
                out = []
                for start in range(0, len(ids), 16):
                    part = ids[start : start + 16]
                    out.append(
                        model.generate(
                            part,
                            attention_mask=torch.ones_like(part),
                            max_new_tokens=50,
                            min_new_tokens=50,
                            do_sample=False,
                            pad_token_id=0,
                            eos_token_id=None,
                        )[:, 50:]
                    )
                verdicts["bare"] = [
                    bool((row.numpy() == suffix).all()) for row, suffix in zip(torch.cat(out), said, strict=True)
                ]

        ratio, mine, theirs = paired(ours, bare, runs=3)
        differ = sum(
            a != b and not tie for a, b, tie in zip(verdicts["ours"], verdicts["bare"], verdicts["tie"], strict=True)
        )
        print(
            f"extraction, {shape}: {records} items: ours {mine:.2f} s, generate {theirs:.2f} s, {1 / ratio:.1f} times faster; "
            f"{sum(verdicts['ours'])} extracted, {differ} verdicts differ, {sum(verdicts['tie'])} items with a tie"
        )


def canaries() -> None:
    """Candidates that share a beginning, computed once, against scoring whole sequences."""
    from auditor.subjects.capability import ScoreRequest

    for shape, (*_, vocabulary, _records) in SHAPES.items():
        subject = adapted(built(shape))
        rng = np.random.default_rng(0)
        count = 512 if shape == "sample" else 48
        prefix = rng.integers(vocabulary, size=40).astype(np.int32)
        rows = [rng.integers(vocabulary, size=8).astype(np.int32) for _ in range(count)]
        whole = [np.concatenate([prefix, row]) for row in rows]
        found: dict[str, np.ndarray] = {}

        def ours() -> None:
            found["ours"] = subject.score_completions(prefix, rows)

        def bare() -> None:
            scores = subject.score(whole, ScoreRequest())
            found["bare"] = np.array([score.logprob[39:].astype(np.float64).sum() for score in scores])

        ratio, mine, theirs = paired(ours, bare)
        gap = float(np.abs(found["ours"] - found["bare"]).max())
        print(
            f"canaries, {shape}: {count} of 40 + 8 tokens: ours {mine:.3f} s, whole {theirs:.3f} s, {1 / ratio:.1f} times faster, largest gap {gap:.1e}"
        )


def memory() -> None:
    """Peak memory of reading and sampling records by the shard does not grow with their number."""
    import json
    import subprocess
    import sys

    code = (
        "import sys, resource; from pathlib import Path; from auditor.core.subject import RecordsSpec\n"
        "from auditor.subjects.data import FileRecords\n"
        "records = FileRecords(RecordsSpec(path=sys.argv[1], id='id'), Path('/'))\n"
        "n = sum(len(r.text) for s in range(0, len(records), 256) for r in records.sample(None, 1, s, s + 256))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    with tempfile.TemporaryDirectory() as folder:
        for count in (1_000, 10_000, 100_000):
            path = Path(folder) / f"{count}.jsonl"
            with path.open("w") as stream:
                for number in range(count):
                    stream.write(json.dumps({"id": f"r{number}", "text": f"record {number} " + "word " * 200}) + "\n")
            done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
            print(f"memory: {count:,} records ({path.stat().st_size >> 20} MiB): {done.stdout.strip()} MiB at most")


PARTS: dict[str, Callable[[], None]] = {
    "observe": observe,
    "extraction": extraction,
    "canaries": canaries,
    "memory": memory,
}


def chosen() -> Iterator[Callable[[], None]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    for name in parser.parse_args().parts or PARTS:
        yield PARTS[name]


if __name__ == "__main__":
    for part in chosen():
        part()
