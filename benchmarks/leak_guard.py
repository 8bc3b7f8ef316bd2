"""How long the leak guard takes: 100 MB of restricted text against a report of 5 MB, and any bundle.

    python benchmarks/leak_guard.py [BUNDLE]

Texts are drawn from a seeded vocabulary; one record is leaked into the report, and has to be found, and nothing else. Best of three, one thread:
OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from auditor.core.evidence import Column, Observation
from auditor.evidence.bundle import Bundle
from auditor.evidence.manifest import contents_of
from auditor.evidence.shards import ObservationWriter
from auditor.redact.guard import Artefact, Guard

MEGABYTES = 100
RECORD = 2000
SHARD = 5000


def sentences(rng: np.random.Generator, letters: int) -> str:
    """Words out of 20,000 made-up ones."""
    words = np.array(
        ["".join(rng.choice(list("etaoinshrdlucmfwypvbgk"), size=rng.integers(2, 9))) for _ in range(20_000)]
    )
    return " ".join(words[rng.integers(len(words), size=letters // 5)])[:letters]


def made_bundle(folder: Path, rng: np.random.Generator) -> tuple[Bundle, str]:
    bundle = Bundle(folder)
    bundle.prepare()
    asked = Observation(
        observer="token-scores", observer_version=1, dataset="members", model_role="subject", model="ab" * 32,
        data=("1" * 64,), parameters={}, seed=1,
    )  # fmt: skip
    writer = ObservationWriter(bundle.observations / asked.identity(), bundle.commitment_key())
    text = sentences(rng, MEGABYTES * 1_000_000)
    records = [text[start : start + RECORD] for start in range(0, len(text), RECORD)]
    shards = -(-len(records) // SHARD)
    for number in range(shards):
        part = records[number * SHARD : (number + 1) * SHARD]
        public = pa.table({"id": [f"record-{number}-{row}" for row in range(len(part))]})
        writer.write(number, public, pa.table({"text": part}), calls=1, tokens=1)
    columns = (
        Column(name="id", type="string", unit="none", meaning="id"),
        Column(name="text", type="string", unit="none", meaning="text", restricted=True),
    )
    writer.finish(asked, columns, shards)
    return bundle, records[len(records) // 3][700:760]


def report(rng: np.random.Generator, leak: str) -> bytes:
    """A page of 5 MB in other words, with a run of one record in a cell."""
    rows = "".join(f"<tr><td>{row}</td><td>{sentences(rng, 24_000)}</td></tr>\n" for row in range(5))
    plain = "".join(
        f"<tr><td>{number}</td><td>{rng.integers(1 << 60):x} {number * 7}</td></tr>\n" for number in range(100_000)
    )
    return f"<!doctype html><table>{rows}{plain}<tr><td>{leak}</td></tr></table>".encode()


def best(action, times: int = 3) -> float:
    taken = []
    for _ in range(times):
        start = time.process_time()
        action()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    if len(sys.argv) > 1:
        bundle = Path(sys.argv[1])
        files = [
            Artefact(name, path)
            for name, path in contents_of(bundle).files.items()
            if "restricted" not in name.split("/")[:-1]
        ]
        seconds = best(lambda: Guard(bundle).look(files))
        print(
            f"{bundle}: {len(files)} files, {sum(item.content.stat().st_size for item in files):,} bytes: {seconds:.1f} s of one core"
        )
        return
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        bundle, leak = made_bundle(Path(folder) / "bundle", rng)
        page = report(rng, leak)
        seen = Guard(bundle.root).look([Artefact("report.html", page)])
        assert {leak.record for leak in seen.leaks} == {seen.leaks[0].record}, seen.leaks
        clean = page.replace(leak.encode(), b"nothing")
        assert not Guard(bundle.root).look([Artefact("report.html", clean)]).leaks
        seconds = best(lambda: Guard(bundle.root).look([Artefact("report.html", clean)]))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{MEGABYTES} MB of restricted text against {len(page) / 1e6:.1f} MB: {seconds:.1f} s of one core, {memory:,.0f} MB at most"
    )
    print(f"the leak was found: {seen.leaks[0].described()}")


if __name__ == "__main__":
    main()
