"""One observation with all that both extraction tests and membership need, written to Parquet, against a bare forward pass.

python benchmarks/observe.py [--quick] [--shape sample]
"""

# ruff: noqa: SLF001  (what is behind the adapter is what it is compared with)

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from workload import Opened, arguments, bare_pass, opened, paired, records, settle, verdict

from auditor.contract.protocol import Part
from auditor.core.evidence import Need, Observation
from auditor.evidence.shards import ObservationWriter
from auditor.observers.token_scores import OBSERVER

TOKENS = 200
PARAMETERS = {"max_tokens": TOKENS, "moments": True, "top_k": 40}
COUNT = {"gpt2-small": (64, 16), "sample": (1000, 200)}
TARGET = {"gpt2-small": 1.25, "sample": 2.0}


def observe(subject: Opened, count: int, folder: Path) -> None:
    """Make the observation as a run does, shard by shard."""
    shutil.rmtree(folder, ignore_errors=True)
    need = Need(observer="token-scores", dataset="members", parameters=PARAMETERS)
    writer = ObservationWriter(folder, b"benchmark")
    shards = -(-count // OBSERVER.shard_items)
    for number in range(shards):
        start = number * OBSERVER.shard_items
        part = Part(start, min(start + OBSERVER.shard_items, count), 0, np.random.default_rng(number))
        made = OBSERVER.observe(need, subject, part)
        writer.write(number, made.public, made.restricted, calls=made.calls, tokens=made.tokens)
    observation = Observation(
        observer="token-scores",
        observer_version=1,
        dataset="members",
        model_role="subject",
        model="0" * 64,
        data=(),
        parameters=PARAMETERS,
        seed=0,
    )
    writer.finish(observation, OBSERVER.columns(OBSERVER.parameters.from_plain(PARAMETERS)), shards)


def main() -> None:
    asked = arguments(__doc__)
    for shape in [asked.shape] if asked.shape else ["sample", "gpt2-small"]:
        model = opened(shape, asked.device, asked.dtype)
        count = COUNT[shape][asked.quick]
        members = records(count, TOKENS, model.vocabulary)
        subject = Opened(model, members)
        ids = torch.from_numpy(np.stack(model.encode([record.text for record in members])).astype(np.int64))
        rows, batch = ids.to(model._device), model._tokens_at_once(1) // TOKENS
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "observation"

            def ours() -> None:
                observe(subject, count, place)
                settle(model)

            def bare() -> None:
                bare_pass(model, rows, batch)

            took, alone, ratios = paired(ours, bare, asked.pairs)
        cost = statistics.median(1 / ratio for ratio in ratios)
        speed = count * TOKENS / took
        print(f"{shape}: {count} records x {TOKENS} tokens: {took:.2f} s ({speed:,.0f} tokens/s), bare {alone:.2f} s")
        verdict(f"{shape}: observation / bare pass", cost, f"<= {TARGET[shape]}", cost <= TARGET[shape])


if __name__ == "__main__":
    main()
