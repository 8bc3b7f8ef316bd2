"""Discoverable extraction, 50 + 50 tokens: one teacher-forced pass over each record against `generate()` with its cache.

    python benchmarks/extraction.py [--quick] [--shape sample]

Half of the suffixes are what the model itself says, a third of those with one token changed; the others are random.
"""

# ruff: noqa: SLF001  (what is behind the adapter is what it is compared with)

from __future__ import annotations

import statistics
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from workload import arguments, opened, paired, settle, verdict

from auditor.subjects.capability import ScoreRequest

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM

PREFIX = SUFFIX = 50
BATCHES = (1, 16, 64)
"""Records generated at once: one, as in many tools; as our own observer does; as many as are of use."""
COUNT = {"gpt2-small": (16, 8), "sample": (128, 64)}
TARGET = 3.0


def generated(model: CausalLM, start: torch.Tensor, batch: int) -> np.ndarray:
    """Return the greedy continuations, made by the library's own `generate()`."""
    parts = []
    with torch.inference_mode():
        for row in range(0, len(start), batch):
            ids = start[row : row + batch]
            mask = torch.ones_like(ids)
            made = model._model.generate(
                ids, attention_mask=mask, max_new_tokens=SUFFIX, do_sample=False, use_cache=True, pad_token_id=0
            )
            parts.append(made[:, PREFIX:].cpu().numpy())
    return np.concatenate(parts)


def main() -> None:
    asked = arguments(__doc__)
    for shape in [asked.shape] if asked.shape else ["sample", "gpt2-small"]:
        model = opened(shape, asked.device, asked.dtype)
        count = COUNT[shape][asked.quick]
        rng = np.random.default_rng(1)
        prefixes = rng.integers(0, model.vocabulary, (count, PREFIX)).astype(np.int32)
        start = torch.from_numpy(prefixes.astype(np.int64)).to(model._device)
        said = generated(model, start, 16)
        suffixes = np.where(np.arange(count)[:, None] % 2, said, rng.integers(0, model.vocabulary, said.shape))
        for row in range(1, count, 6):
            place = rng.integers(SUFFIX)
            suffixes[row, place] = (suffixes[row, place] + 1) % model.vocabulary
        whole = list(np.concatenate([prefixes, suffixes], axis=1).astype(np.int32))

        def forced() -> list[tuple[bool, bool]]:
            scores = model.score(whole, ScoreRequest(first=PREFIX))
            settle(model)
            return [(bool(row.hit.all()), bool(row.tie.any())) for row in scores]

        found = forced()
        truth = (said == suffixes).all(axis=1)
        ties = sum(tie for _, tie in found)
        differ = sum(hit != real for (hit, tie), real in zip(found, truth, strict=True) if not tie)
        print(
            f"{shape}: {count} records, extracted {sum(truth)}, other verdict on {differ} of {count - ties}, "
            f"{ties} with a tie left out"
        )
        for batch in (size for size in BATCHES if size <= count):
            took, slow, ratios = paired(forced, partial(generated, model, start, batch), asked.pairs)
            faster = statistics.median(ratios)
            name = f"{shape}: generation, {batch} at once ({slow:.2f} s) / teacher forcing ({took:.2f} s)"
            verdict(name, faster, f">= {TARGET}", faster >= TARGET and not differ)


if __name__ == "__main__":
    main()
