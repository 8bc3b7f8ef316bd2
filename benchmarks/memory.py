"""Peak memory of an observation does not grow with the number of records.

    python benchmarks/memory.py [--quick]

Each size runs in a process of its own, from a file on disk to shards on disk, with the sample's shape.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from workload import SHAPES, Opened, arguments, opened, records, verdict

from auditor.core.subject import RecordsSpec
from auditor.subjects.data import FileRecords

TOKENS = 40
ALLOWED = 1.1


def child(path: Path, count: int) -> None:
    """Observe every record of a file and print the peak resident memory, KiB, and the seconds of processor time."""
    from observe import observe

    model = opened("sample", "cpu", "float32")
    source = FileRecords(RecordsSpec(path=path.name, id="id"), path.parent)
    subject = Opened(model, records(1, TOKENS, model.vocabulary))
    subject.records = lambda _: source  # type: ignore[method-assign,assignment]
    observe(subject, count, path.parent / f"observation-{count}")
    used = resource.getrusage(resource.RUSAGE_SELF)
    scale = 1024 if sys.platform == "darwin" else 1
    print(json.dumps({"peak": used.ru_maxrss // scale, "seconds": used.ru_utime + used.ru_stime}))


def main() -> None:
    if len(sys.argv) == 4 and sys.argv[1] == "--child":
        child(Path(sys.argv[2]), int(sys.argv[3]))
        return
    asked = arguments(__doc__)
    sizes = (512, 4096) if asked.quick else (2000, 20_000)
    peaks = []
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for count in sizes:
            path = Path(folder) / f"members-{count}.jsonl"
            with path.open("w") as stream:
                for number in range(count):
                    ids = rng.integers(0, SHAPES["sample"][3], TOKENS).tolist()
                    stream.write(json.dumps({"id": str(number), "text": " ".join(map(str, ids))}) + "\n")
            command = [sys.executable, __file__, "--child", str(path), str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            peaks.append(found["peak"] / 1024)
            print(f"{count:,} records x {TOKENS} tokens: peak {peaks[-1]:,.0f} MiB, {found['seconds']:.0f} CPU-s")
    growth = peaks[1] / peaks[0]
    verdict(f"peak memory, {sizes[1]:,} records / {sizes[0]:,}", growth, f"<= {ALLOWED}", growth <= ALLOWED)


if __name__ == "__main__":
    main()
