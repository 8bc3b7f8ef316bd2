"""Verifying a large bundle against `sha256sum` over the same files.

    python benchmarks/verify_bundle.py [--megabytes 1000] [--pairs 3]

A bundle of one observation with scores of tokens (lists of float32, which do not compress) is written and sealed. Steps 1 to 4 read every
byte once; step 5 makes the Merkle roots again. Both are timed against sha256sum, by turns, with the files in the page cache.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from auditor.core.evidence import Column, Observation
from auditor.evidence import bundle as layout
from auditor.evidence.manifest import check_manifest, read_manifest, write_manifest
from auditor.evidence.shards import ObservationWriter, observation_root

RECORDS, TOKENS = 2000, 256
"""Records of a shard, and scores of a record."""


def written(folder: Path, megabytes: int) -> Path:
    rng = np.random.default_rng(0)
    asked = Observation(
        observer="token-scores",
        observer_version=1,
        dataset="members",
        model_role="subject",
        model="ab" * 32,
        data=("1" * 64,),
        parameters={},
        seed=0,
    )
    columns = tuple(
        Column(name=name, type=kind, unit="none", meaning=name)
        for name, kind in (("id", "string"), ("logprob", "list<float>"), ("hit", "list<bool>"))
    )
    writer = ObservationWriter(folder / layout.OBSERVATIONS / asked.identity(), b"k" * 32)
    offsets = pa.array(np.arange(0, (RECORDS + 1) * TOKENS, TOKENS, dtype=np.int32))
    shard = 0
    while sum(path.stat().st_size for path in writer.folder.glob("*")) < megabytes * 1_000_000:
        scores = rng.normal(size=RECORDS * TOKENS).astype(np.float32)
        table = {
            "id": [f"r{shard * RECORDS + row}" for row in range(RECORDS)],
            "logprob": pa.ListArray.from_arrays(offsets, pa.array(scores)),
            "hit": pa.ListArray.from_arrays(offsets, pa.array(scores > 0)),
        }
        writer.write(shard, pa.table(table), None, calls=1, tokens=RECORDS * TOKENS)
        shard += 1
    writer.finish(asked, columns, shard)
    write_manifest(folder)
    return writer.folder


def timed(do) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        observation = written(folder, asked.megabytes)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        names = [str(path) for path in folder.rglob("*") if path.is_file()]
        manifest = read_manifest(folder)

        def plain() -> None:
            subprocess.run(["sha256sum", *names], check=True, capture_output=True)  # noqa: S607

        def complete() -> None:
            assert not check_manifest(folder, manifest).problems

        def roots() -> None:
            assert observation_root(observation) == next(iter(manifest.merkle_roots.values()))

        plain()
        rows = [(timed(plain), timed(complete), timed(roots)) for _ in range(asked.pairs)]
        base = statistics.median(row[0] for row in rows)
        first, both = (
            statistics.median(value) for value in ([b / a for a, b, _ in rows], [(b + c) / a for a, b, c in rows])
        )
        print(f"{size / 1e6:,.0f} MB, {len(names)} files; sha256sum {base:.2f} s")
        print(f"every byte against the manifest (steps 1 to 4): {first:.2f} times sha256sum")
        print(f"with the Merkle roots (steps 1 to 5): {both:.2f} times sha256sum (target: at most 1.5)")
        sys.exit(both > 1.5)


if __name__ == "__main__":
    main()
