"""Building the index of a corpus against bare pydivsufsort, and the longest match at every position of held-out text.

    python benchmarks/corpus_index.py --megabytes 100 --pairs 2

The corpus is Python source of installed packages, every fiftieth file held out; `--tokens` cuts it into words first.
Building takes turns with `divsufsort` on the same bytes (with `--tokens`: on the ids as pydivsufsort takes them). Times are
of one thread; read the ratio, and the microseconds as those of a busy machine.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sysconfig
import time
from pathlib import Path

import numpy as np

from auditor.subjects.corpus_index import CorpusIndex


def documents(megabytes: float) -> list[str]:
    found, size = [], 0
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if text and "\0" not in text:
            found.append(text)
            size += len(text.encode())
        if size >= megabytes * 1e6:
            break
    return found


def numbered(texts: list[str]) -> list[np.ndarray]:
    numbers: dict[str, int] = {}
    word = re.compile(r"\w+|[^\w\s]|\s+")
    return [np.array([min(numbers.setdefault(w, len(numbers)), 65_000) for w in word.findall(t)]) for t in texts]


def seconds(work) -> tuple[float, object]:
    start = time.perf_counter()
    made = work()
    return time.perf_counter() - start, made


def main() -> None:
    from pydivsufsort import divsufsort

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100.0)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--tokens", action="store_true")
    parser.add_argument("--quick", action="store_true", help="10 megabytes")
    asked = parser.parse_args()
    texts = documents(10.0 if asked.quick else asked.megabytes)
    held, kept = texts[::50], [text for number, text in enumerate(texts) if number % 50]
    print(f"{len(kept):,} documents, {sum(len(text.encode()) for text in kept) / 1e6:.1f} MB")
    if asked.tokens:
        rows = numbered(texts)
        held_rows, kept_rows = rows[::50], [row for number, row in enumerate(rows) if number % 50]
        bare_input = np.concatenate([np.append(row + 1, 0) for row in kept_rows]).astype(np.uint16)
        print(f"{len(bare_input) / 1e6:.1f} M tokens")

        def build():
            return CorpusIndex.of_tokens(kept_rows, 65_001)
    else:
        held_rows = [np.frombuffer(text.encode(), np.uint8) for text in held]
        bare_input = np.frombuffer(b"\0".join(text.encode() for text in kept), np.uint8).copy()

        def build():
            return CorpusIndex.of_texts(kept)

    ratios, ours, bare, index = [], [], [], None
    for pair in range(asked.pairs):
        turns = {}
        for side in ("bare", "ours") if pair % 2 else ("ours", "bare"):
            index = None if side == "ours" else index
            turns[side], made = seconds(build if side == "ours" else lambda: divsufsort(bare_input))
            index = made if side == "ours" else index
        ours.append(turns["ours"])
        bare.append(turns["bare"])
        ratios.append(turns["ours"] / turns["bare"])
    print(
        f"building: {min(ours):.1f} s, bare {min(bare):.1f} s; median ratio {statistics.median(ratios):.2f} (target: at most 1.25)"
    )
    unit = 256 if asked.tokens else 512
    for name, rows in (("held-out text", held_rows), ("text of the corpus", numbered_part(kept, asked.tokens, index))):
        queries = [row[len(row) // 4 : len(row) // 4 + unit] for row in rows][: asked.queries]
        took, found = seconds(lambda: index.longest(queries))
        lengths = np.concatenate([match.length for match in found])
        print(
            f"{name}: {1e6 * took / len(lengths):.1f} us a position over {len(lengths):,}, mean match {lengths.mean():.0f}"
        )


def numbered_part(kept: list[str], tokens: bool, index: CorpusIndex) -> list[np.ndarray]:
    if not tokens:
        return [np.frombuffer(text.encode(), np.uint8) for text in kept[:: max(1, len(kept) // 300)]]
    ends = np.append(index.starts[1:], len(index.order)) - 1
    chosen = range(0, len(ends), max(1, len(ends) // 300))
    return [index.text[index.starts[n] : ends[n]].astype(np.int64) - 1 for n in chosen]


if __name__ == "__main__":
    main()
