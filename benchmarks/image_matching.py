"""Exact nearest images against the plain way: every distance by one multiplication of matrices, then the k least.

python benchmarks/image_matching.py [--quick] [--pairs 1] [--threads 2] [--neighbours 50]

The images are made, not downloaded: each is a Gaussian field whose amplitude falls with frequency such that 128 principal directions hold as
much of the variance (93 %) as of 20,000 random crops of the photographs that scikit-image carries, quantised to bytes; a tenth of the
queries are references with noise, as memorized images are. `--noise` takes white noise instead: the case where no projection helps. Times are of the processor: a shared machine must not decide. The plain way keeps
the k least distances in float32, so that of two that differ in the eighth digit it may name the farther.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

SLOPE = 1.45


def images(rng: np.random.Generator, count: int, side: int, *, noise: bool) -> np.ndarray:
    """Return natural-looking colour images, uint8, shape [count, side, side, 3]."""
    made = np.empty((count, side, side, 3), dtype=np.uint8)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    frequency[0, 0] = 1.0 / side
    for start in range(0, count, 1000):
        white = rng.normal(size=(min(1000, count - start), side, side, 3))
        if noise:
            made[start : start + 1000] = rng.integers(0, 256, size=white.shape)
            continue
        field = np.fft.ifft2(np.fft.fft2(white, axes=(1, 2)) / frequency[None, :, :, None] ** SLOPE, axes=(1, 2)).real
        field = 0.85 * field[..., :1] + 0.15 * field  # colours go together
        field = field / field.std(axis=(1, 2, 3), keepdims=True) * rng.uniform(0.1, 0.3, size=(len(white), 1, 1, 1))
        made[start : start + 1000] = np.clip((field + rng.uniform(0.3, 0.7, size=(len(white), 1, 1, 1))) * 255, 0, 255)
    return made


def plain(queries: np.ndarray, references: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest by |a|^2 + |b|^2 - 2ab in float32, blocks of queries, then the true distance of those."""
    held = references.reshape(len(references), -1).astype(np.float32) / 255.0
    squares = (held**2).sum(axis=1)
    distances, indices = [], []
    for start in range(0, len(queries), 256):
        some = queries[start : start + 256].reshape(-1, held.shape[1]).astype(np.float32) / 255.0
        scores = squares - 2.0 * (some @ held.T)
        chosen = np.argpartition(scores, k - 1, axis=1)[:, :k]
        for row, which in zip(queries[start : start + 256], chosen, strict=True):
            apart = references[which].astype(np.int64).reshape(k, -1) - row.reshape(-1)
            squared = (apart**2).sum(axis=1)
            order = np.lexsort((which, squared))
            distances.append(np.sqrt(squared[order] / held.shape[1]) / 255.0)
            indices.append(which[order])
    return np.array(distances), np.array(indices)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--neighbours", type=int, default=50)
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--ours", action="store_true", help="do not run the other side")
    asked = parser.parse_args()
    from threadpoolctl import threadpool_limits

    from auditor.statistics.similarity import nearest

    rng = np.random.default_rng(1)
    count, members = (1_000, 5_000) if asked.quick else (10_000, 50_000)
    references = images(rng, members, 32, noise=asked.noise)
    queries = images(rng, count, 32, noise=asked.noise)
    copies = rng.integers(members, size=count // 10)
    noisy = references[copies].astype(np.float64) + rng.normal(scale=8, size=references[copies].shape)
    queries[: count // 10] = np.clip(noisy, 0, 255)
    ratios = []
    with threadpool_limits(asked.threads):
        for pair in range(asked.pairs):
            took, found = {}, {}
            sides = {"ours": nearest} if asked.ours else {"ours": nearest, "plain": plain}
            for name in sorted(sides, reverse=bool(pair % 2)):
                began, clock = time.process_time(), time.perf_counter()
                found[name] = sides[name](queries, references, asked.neighbours)
                took[name] = time.process_time() - began
                wall = time.perf_counter() - clock
                print(
                    f"{name}: {took[name]:.1f} s of processor, {wall:.1f} s by the clock: {count:,} queries, {members:,} references"
                )
            if not asked.ours:
                other = np.count_nonzero(found["ours"][1] != found["plain"][1])
                apart = np.abs(found["ours"][0] - found["plain"][0]).max()
                print(f"other index in {other} of {found['ours'][1].size}, distances at most {apart:.1e} apart")
                ratios.append(took["plain"] / took["ours"])
    if ratios:
        print(f"{statistics.median(ratios):.2f} times less processor time than plain multiplication")


if __name__ == "__main__":
    main()
