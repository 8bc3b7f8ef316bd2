"""Exact nearest images, fast.

Distances are normalised: the root of the mean squared difference, pixels in [0, 1], so that 1 is the distance of black and white.
An array of uint8 holds pixels in 0..255, an array of floats pixels in [0, 1]; no float copy of a whole array is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auditor.statistics._checks import checked_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.float64]
    Floats = NDArray[np.float64]

_BASIS = 256
"""Most directions of the projection; fewer make worse bounds, more make them dearer."""
_ENERGY = 0.95
"""Share of the sample's variance after which no further direction is taken."""
_SAMPLE = 1024
"""References that the directions are taken from."""
_ROUNDING = 2.0**-24
"""Unit roundoff of float32."""
_RESIDUAL = 2e-5
"""Relative error of a squared distance that the lengths outside the projection may carry."""
_SCORES = 32 << 20
"""Bytes of one block of scores."""
_ROUND = 128
"""References compared truly before the threshold is drawn closer."""
_PIECE = 4096
"""Pixels multiplied at once in float32: bounds the rounding of long images."""


def _rows(images: Pixels, name: str) -> Pixels:
    """Return images as rows, a view; refuse what has no distance."""
    if images.ndim < 2:
        msg = f"{name} must be an array of images, got shape {images.shape}"
        raise ValueError(msg)
    if images.dtype != np.uint8 and images.dtype not in (np.float32, np.float64):
        msg = f"{name} must be uint8 or floats, got {images.dtype}"
        raise ValueError(msg)
    flat = images.reshape(images.shape[0], int(np.prod(images.shape[1:])))
    if flat.dtype != np.uint8 and not all(np.isfinite(flat[i : i + 1024]).all() for i in range(0, len(flat), 1024)):
        msg = f"{name} hold a number that is not finite"
        raise ValueError(msg)
    return flat


def in_unit(images: Pixels) -> Floats:
    """Return pixels in [0, 1] as float64: bytes divided by 255, floats as they are."""
    return np.asarray(images / 255.0 if images.dtype == np.uint8 else images, dtype=np.float64)


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


class Neighbours:
    """Reference images, prepared once so that the nearest of many queries are found fast and exactly.

    References and queries are projected onto the principal directions of a sample of the references. The distance there, with the
    difference of the lengths outside as one more coordinate, is a lower bound of the true distance (the projection is a
    contraction, and lengths differ by no more than their vectors). The k references with the least bounds give the threshold: the
    largest of their true distances. Every reference whose bound, less the most that rounding can have added, is within the threshold
    is then compared truly; no other can be among the k. Where bounds leave too many, all pixels take the place of the projection.

    Args:
        references: Images, shape [m, ...], m at least 1, uint8 or float.

    Raises:
        ValueError: There is no reference or no pixel, or a number is not finite.
    """

    def __init__(self, references: Pixels) -> None:
        """Choose the directions and project the references."""
        self._references = _rows(references, "references")
        count, pixels = self._references.shape
        if not count or not pixels:
            msg = f"there is nothing to compare with: {count} references of {pixels} pixels"
            raise ValueError(msg)
        # Strided, not drawn: the directions decide how fast an answer is found and never which.
        sample = in_unit(self._references[:: -(-count // _SAMPLE)])
        self._mean = sample.mean(axis=0)
        self._basis = self._directions(sample - self._mean) if pixels >= 2 * _BASIS else None
        width = 0 if self._basis is None else self._basis.shape[1]
        self._projected = np.empty((count, width + 2), dtype=np.float32)
        self._squares = np.empty(count)
        for rows in _blocks(count, 1024):
            inside, outside, self._squares[rows] = self._project(self._references[rows])
            if self._basis is not None:
                self._projected[rows, :width] = inside
                self._projected[rows, width] = outside
                held = self._projected[rows, : width + 1].astype(np.float64)
                self._projected[rows, width + 1] = (held**2).sum(axis=1)
        self._longest = float(np.sqrt(self._squares.max()))
        self._reach = max(1.0, float(np.abs(self._mean).max()) + self._longest)
        self._floor = 1e-12 * pixels * self._reach**2  # what float64 itself may lose, and more

    @staticmethod
    def _directions(centred: Floats) -> Floats | None:
        """Return orthonormal columns that hold most of the sample's energy; None where it has none."""
        values, vectors = np.linalg.eigh(centred @ centred.T)
        values, vectors = values[::-1].clip(0.0), vectors[:, ::-1]
        if values[0] <= 0.0:
            return None
        enough = int(np.searchsorted(np.cumsum(values), _ENERGY * values.sum())) + 1
        least = int(np.count_nonzero(values > 1e-10 * values[0]))
        return np.asarray(np.linalg.qr(centred.T @ vectors[:, : min(enough, least, _BASIS)])[0])

    def _project(self, rows: Pixels) -> tuple[Floats, Floats, Floats]:
        """Return coordinates of rows, their lengths outside the projection, and their squared lengths."""
        centred = in_unit(rows) - self._mean
        squares = np.einsum("ij,ij->i", centred, centred)
        if self._basis is None:
            return centred[:, :0], np.sqrt(squares), squares
        inside = centred @ self._basis
        outside = np.sqrt(np.maximum(squares - np.einsum("ij,ij->i", inside, inside), 0.0))
        return inside, outside, squares

    def nearest(self, queries: Pixels, k: int) -> tuple[Floats, NDArray[np.int64]]:
        """The result is exact: the k nearest references of each query, nearest first, ties by index.

        Args:
            queries: Images of the references' size, shape [n, ...].
            k: References asked, at least 1.

        Returns:
            Distances and indices, shape [n, min(k, m)] both.

        Raises:
            ValueError: The sizes differ, k is not whole and positive, or a number is not finite.
        """
        checked_whole(k, "k", 1)
        rows = _rows(queries, "queries")
        count, pixels = self._references.shape
        if rows.shape[1] != pixels:
            msg = f"queries have {rows.shape[1]} pixels, references {pixels}"
            raise ValueError(msg)
        k = min(k, count)
        found = _Found(np.empty((len(rows), k)), np.empty((len(rows), k), dtype=np.int64))
        size = max(1, min(_SCORES // (4 * count), 512, len(rows)))
        scores = np.empty(
            (size, count), dtype=np.float32
        )  # written again and again: fresh pages cost more than arithmetic
        left: list[int] = []
        for block in _blocks(len(rows), size):
            here = np.arange(len(rows))[block]
            # Where bounds left too many in most of what was tried, they are not tried again.
            if self._basis is None or (block.start and 2 * len(left) > block.start):
                left.extend(here)
            else:
                extra = self._bounds(rows[here], scores[: len(here)])
                left.extend(self._settle(rows, here, scores, extra, count // 16, found))
        for block in _blocks(len(left), size):
            here = np.array(left[block])
            extra = self._scores(rows[here], scores[: len(here)])
            self._settle(rows, here, scores, extra, count, found)
        return np.sqrt(found.squared / pixels), found.indices

    def _settle(
        self,
        rows: Pixels,
        which: NDArray[np.int64],
        scores: NDArray[np.float32],
        extra: Floats,
        most: int,
        found: _Found,
    ) -> list[int]:
        """Write the nearest of the rows `which`; return those for which bounds leave more than `most` references to compare.

        A reference whose true squared distance is d has a score of at most d + extra.
        """
        k = found.squared.shape[1]
        ordered = np.empty(scores.shape[1], dtype=np.float32)
        left = []
        for place, row in enumerate(which):
            bounds = scores[place]
            ordered[:] = bounds
            ordered.partition(k - 1)
            kth = ordered[k - 1]
            near = np.flatnonzero(bounds <= kth)
            apart = self._compare(rows[row], near)
            limit = _limit(apart, k, extra[place])
            within = np.flatnonzero(bounds <= limit)
            within = within[bounds[within] > kth]
            if len(within) > max(most, 4 * k):
                left.append(int(row))
                continue
            within = within[np.argsort(bounds[within])]
            for some in _blocks(len(within), _ROUND):
                closer = within[some][bounds[within[some]] <= limit]
                if not len(closer):
                    break
                near = np.concatenate([near, closer])
                apart = np.concatenate([apart, self._compare(rows[row], closer)])
                limit = _limit(apart, k, extra[place])
            order = np.lexsort((near, apart))[:k]
            found.squared[row], found.indices[row] = apart[order], near[order]
        return left

    def _bounds(self, rows: Pixels, scores: NDArray[np.float32]) -> Floats:
        """Write lower bounds of squared distances less each query's squared length; return what rounding and that length add."""
        inside, outside, squares = self._project(rows)
        coordinates = np.column_stack([-2.0 * inside, -2.0 * outside, np.ones(len(rows))]).astype(np.float32)
        np.matmul(coordinates, self._projected.T, out=scores)
        own = np.einsum("ij,ij->i", inside, inside) + outside**2
        margin = (_gamma(self._projected.shape[1] + 8) + _RESIDUAL) * (np.sqrt(squares) + self._longest) ** 2
        return np.asarray(margin + self._floor - own)

    def _scores(self, rows: Pixels, scores: NDArray[np.float32]) -> Floats:
        """Write and return the same from all pixels: squared distances in float32."""
        unit = np.float32(1.0 / 255.0 if self._references.dtype == np.uint8 else 1.0)
        pixels = rows.shape[1]
        scores[:] = self._squares.astype(np.float32)
        for columns in _blocks(pixels, _PIECE):
            mean = self._mean[columns]
            some = ((in_unit(rows[:, columns]) - mean) * -2.0).astype(np.float32)
            for block in _blocks(len(self._references), 1024):
                scores[:, block] += some @ (self._references[block, columns] * unit - mean.astype(np.float32)).T
        own = self._project(rows)[2]
        both = np.sqrt(own) + self._longest
        margin = _gamma(min(pixels, _PIECE) + -(-pixels // _PIECE) + 8) * both**2
        margin += 8.0 * _ROUNDING * self._reach * np.sqrt(pixels) * both  # references are centred in float32
        return np.asarray(margin + self._floor - own)

    def _compare(self, query: Pixels, which: NDArray[np.int64]) -> Floats:
        """Return true squared distances, shape [which]; of uint8 exact, being sums of whole numbers."""
        squared = np.zeros(len(which))
        whole = query.dtype == np.uint8 and self._references.dtype == np.uint8
        for columns in _blocks(len(query), 4 * _PIECE):  # squares of so many bytes cannot overflow int32
            there = query[columns] if whole else in_unit(query[columns])
            apart = np.empty((min(len(which), _ROUND), len(there)), dtype=np.int32 if whole else np.float64)
            for some in _blocks(len(which), _ROUND):
                rows = self._references[which[some], columns]
                room = apart[: len(rows)]
                np.subtract(rows if whole else in_unit(rows), there, out=room, dtype=apart.dtype)
                squared[some] += np.einsum("ij,ij->i", room, room)
        return squared / 255.0**2 if whole else squared


class _Found(NamedTuple):
    squared: Floats
    indices: NDArray[np.int64]


def _limit(apart: Floats, k: int, extra: float) -> np.float32:
    """Return the bound up to which a reference can be among the k nearest, given true squared distances of some, at least k."""
    limit: np.float32 = np.nextafter(np.float32(np.partition(apart, k - 1)[k - 1] + extra), np.float32(np.inf))
    return limit


def _gamma(terms: int) -> float:
    """Return the bound of the relative rounding error of a sum of that many products in float32 (Higham 2002, eq. 3.5)."""
    return terms * _ROUNDING / (1.0 - terms * _ROUNDING)


def nearest(queries: Pixels, references: Pixels, k: int) -> tuple[Floats, NDArray[np.int64]]:
    """The result is exact: the k nearest references of each query, nearest first, ties by index.

    Args:
        queries: Images, shape [n, ...], uint8 or floats in [0, 1].
        references: Images of the same size, shape [m, ...], m at least 1. For many calls prepare them once: `Neighbours`.
        k: References asked, at least 1.

    Returns:
        Normalised distances and indices, shape [n, min(k, m)] both.

    Raises:
        ValueError: There is no reference, sizes differ, k is not whole and positive, or a number is not finite.
    """
    return Neighbours(references).nearest(queries, k)
