"""Verifying a large bundle against `sha256sum` over the same files.

    python benchmarks/verify_bundle.py [--megabytes 1000] [--pairs 3] [--folder FOLDER]

A bundle of one observation is written by the writer that audits use: token scores with moments and top-k, all columns that the observer
has, 256 records of 256 tokens a shard, texts and tokens restricted. Steps 1 to 4 read every byte once; step 5 makes the Merkle roots
again from the records. Both are timed against sha256sum, by turns, with the files in the page cache; processor time is printed beside.
Steps 6 to 9 (the PDF; measuring, assessing and rendering again) are other work, whose time does not depend on the bytes alone: see the table.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
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
from auditor.evidence.records import observation_root
from auditor.evidence.shards import ObservationWriter

RECORDS, TOKENS = 256, 256
"""Records of a shard, as the observer writes them, and tokens of a record."""
DRAWN = 8
"""Shards whose scores are drawn; the others repeat them under other ids."""
OBSERVER = {"observer": "token-scores", "observer_version": 1, "dataset": "members", "model_role": "subject"}


def scores(rng: np.random.Generator) -> tuple[dict, dict]:
    """Return the columns of a shard but for the ids, public and restricted."""
    offsets = pa.array(np.arange(0, (RECORDS + 1) * TOKENS, TOKENS, dtype=np.int32))

    def rows(values: np.ndarray) -> pa.ListArray:
        return pa.ListArray.from_arrays(offsets, pa.array(values))

    drawn = rng.gamma(1.0, 2.0, size=RECORDS * TOKENS).astype(np.float32)
    tokens = np.minimum(rng.zipf(1.2, size=RECORDS * TOKENS), 50_000).astype(np.int32)
    lengths = rng.integers(600, 1400, size=RECORDS).astype(np.int32)
    counts = np.full(RECORDS, TOKENS, dtype=np.int32)
    texts = [" ".join(f"w{token}" for token in tokens[row * TOKENS : (row + 1) * TOKENS]) for row in range(RECORDS)]
    public = {
        "copies": np.ones(RECORDS, dtype=np.int32),
        "source": ["web"] * RECORDS,
        "tokens": counts,
        "begin": np.ones(RECORDS, dtype=np.int32),
        "utf8_bytes": lengths,
        "zlib_bytes": lengths // 2,
        "logprob": rows(-drawn),
        "hit": rows(drawn < 0.5),
        "tie": rows(drawn < 0.002),
        "top_logprob": rows(np.where(drawn < 3, -drawn, -np.inf).astype(np.float32)),
        "mean": rows(rng.normal(-4, 1, size=RECORDS * TOKENS).astype(np.float32)),
        "deviation": rows(rng.gamma(3.0, 1.0, size=RECORDS * TOKENS).astype(np.float32)),
        "previous": rows(np.where(tokens < 40, tokens, 0).astype(np.int32)),
        "excerpt": [""] * RECORDS,
    }
    return public, {"text": texts, "token_ids": rows(tokens)}


def written(folder: Path, megabytes: int) -> Path:
    """Write a bundle of about that size and return the folder of its observation."""
    rng = np.random.default_rng(0)
    asked = Observation(**OBSERVER, model="ab" * 32, data=("1" * 64,), parameters={}, seed=0)
    writer = ObservationWriter(folder / layout.OBSERVATIONS / asked.identity(), b"k" * 32)
    drawn = [scores(rng) for _ in range(DRAWN)]
    shard = size = 0
    while size < megabytes * 1_000_000:
        public, restricted = drawn[shard % DRAWN]
        names = [f"r{shard * RECORDS + row}" for row in range(RECORDS)]
        table = pa.table({"id": names, "cluster": names, **public})
        writer.write(shard, table, pa.table(restricted), calls=1, tokens=RECORDS * TOKENS)
        size += sum(path.stat().st_size for path in writer.folder.rglob(f"shard-{shard:05d}.parquet"))
        shard += 1
    kinds = [*((field, False) for field in table.schema), *((field, True) for field in pa.table(restricted).schema)]
    columns = tuple(
        Column(name=field.name, type=str(field.type), unit="none", meaning=field.name, restricted=kept)
        for field, kept in kinds
    )
    writer.finish(asked, columns, shard)
    write_manifest(folder)
    return writer.folder


def timed(do) -> tuple[float, float]:
    """Return seconds by the clock and of all processors."""
    start, used = time.perf_counter(), processor()
    do()
    return time.perf_counter() - start, processor() - used


def processor() -> float:
    kinds = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(kind.ru_utime + kind.ru_stime for kind in kinds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="Where the bundle lies, or is written and left. Default: removed.")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (folder / layout.MANIFEST).exists():
            written(folder, asked.megabytes)
        names = [str(path) for path in folder.rglob("*") if path.is_file()]
        size = sum(Path(name).stat().st_size for name in names)
        manifest = read_manifest(folder)

        def plain() -> None:
            subprocess.run(["sha256sum", *names], check=True, capture_output=True)  # noqa: S607

        def complete() -> None:
            assert not check_manifest(folder, manifest).problems

        def roots() -> None:
            for name, root in manifest.merkle_roots.items():
                assert observation_root(folder / layout.OBSERVATIONS / name) == root

        plain()
        rows = [(timed(plain), timed(complete), timed(roots)) for _ in range(asked.pairs)]
        print(f"{size / 1e6:,.0f} MB, {len(names)} files; seconds by the clock (of all processors), in pairs:")
        for row in rows:
            print(
                "  ".join(
                    f"{name} {wall:.2f} ({used:.2f})"
                    for name, (wall, used) in zip(("sha256sum", "steps 1-4", "step 5"), row, strict=True)
                )
            )
        found = {}
        for what, clock in (("clock", 0), ("processor time", 1)):
            first = [b[clock] / a[clock] for a, b, _ in rows]
            both = [(b[clock] + c[clock]) / a[clock] for a, b, c in rows]
            found[what] = min(both)
            print(
                f"{what}: every byte (steps 1 to 4) {statistics.median(first):.2f} times sha256sum, best {min(first):.2f}; ",
                end="",
            )
            print(f"with the Merkle roots (1 to 5) {statistics.median(both):.2f}, best {min(both):.2f}")
        sys.exit(found["clock"] > 1.5)


if __name__ == "__main__":
    main()
