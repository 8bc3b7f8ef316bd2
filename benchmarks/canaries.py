"""Canaries and candidates: the shared beginning computed once against whole sequences, every built-in format.

    python benchmarks/canaries.py [--quick]

The model is the shipped sample's, so that formats are tokenised as a real tokenizer does it.
"""

# ruff: noqa: SLF001  (what is behind the adapter is what it is compared with)

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import torch
from workload import arguments, paired, verdict

from auditor.canary.formats import FORMATS
from auditor.core.canary import CanarySet
from auditor.core.seeds import generator
from auditor.core.subject import ModelSpec
from auditor.observers.canary_scores import _divide, _items_of
from auditor.subjects.adapters.causal_lm import ADAPTER

SAMPLE = Path(__file__).parent.parent / "samples" / "notes-lm"
TARGET = 3.0
TOLERANCE = 1e-4


def main() -> None:
    asked = arguments(__doc__)
    model = ADAPTER.open(ModelSpec(adapter="causal-lm", path="model", device=asked.device, dtype=asked.dtype), SAMPLE)
    candidates = 512 if asked.quick else 4096
    overall, worst = [], 0.0
    for form in FORMATS:
        secret = form.secret(tuple(int(place) for place in generator(0, form.id).integers(2, size=form.length)))
        canary = {"id": "c", "format": form.id, "secret": secret, "repetitions": 1, "planted": False}
        plain = {"seed": 0, "formats": [form.plain()], "canaries": [canary], "nonce": "0" * 64, "commitment": "0" * 64}
        divided = _divide(model, _items_of(form, CanarySet.from_plain(plain), candidates, 0))
        whole = [np.concatenate([divided.shared, rest]) for rest in divided.rests]
        order = sorted(range(len(whole)), key=lambda row: len(whole[row]))
        shared = len(divided.shared)

        def plainly() -> np.ndarray:
            """Score whole sequences as most code does: all logits, log-softmax, gather."""
            totals = np.zeros(len(whole))
            with torch.inference_mode():
                size = 2048 // len(whole[order[-1]])
                for start in range(0, len(order), size):
                    rows = order[start : start + size]
                    ids = model._padded([whole[row] for row in rows])
                    logp = model._model(input_ids=ids, use_cache=False).logits[:, :-1].log_softmax(dim=-1)
                    own = logp.gather(2, ids[:, 1:, None]).squeeze(2).double().cpu().numpy()
                    for number, row in enumerate(rows):
                        totals[row] = own[number, shared - 1 : len(whole[row]) - 1].sum()
            return totals

        def ours() -> np.ndarray:
            return model.score_completions(divided.shared, divided.rests)

        apart = float(np.abs(ours() - plainly()).max())
        took, slow, ratios = paired(ours, plainly, asked.pairs)
        rest = statistics.mean(len(rest) for rest in divided.rests)
        print(
            f"{form.id}: {len(whole)} sequences, {shared} tokens shared + {rest:.1f}: {took:.2f} s, whole {slow:.2f} s, "
            f"{statistics.median(ratios):.2f} times; largest difference {apart:.1e} nat"
        )
        overall.append(statistics.median(ratios))
        worst = max(worst, apart)
    middle = statistics.median(overall)
    held = middle >= TARGET and worst <= TOLERANCE
    verdict("whole sequences / shared beginning, median format", middle, f">= {TARGET}", held)


if __name__ == "__main__":
    main()
