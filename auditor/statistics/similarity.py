"""How alike images are: nearest images, distances by tile and against the neighbourhood, cliques of like images.

Distances are normalised: the root of the mean squared difference, pixels in [0, 1], so that 1 is the distance of black and white.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from auditor.statistics._checks import checked_whole
from auditor.statistics.nearest import Neighbours, in_unit, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.statistics.nearest import Floats, Pixels

__all__ = ["Clique", "Neighbours", "largest_clique", "nearest", "normalised_distance", "tiled_distance"]


def tiled_distance(a: Pixels, b: Pixels, tiles: int = 4) -> Floats:
    """The result is the largest distance over the tiles of two images: like backgrounds do not make unlike images alike.

    Args:
        a: Images, shape [n, height, width, channels], uint8 or floats in [0, 1].
        b: As many images of the same size, or a single one, shape [1, height, width, channels].
        tiles: Tiles along each side, at least 1; sides that it does not divide have tiles that differ by a pixel. Sides shorter than
            `tiles` have one tile a pixel.

    Returns:
        Distances, shape [n].

    Raises:
        ValueError: The shapes differ, or there are no pixels.

    Source:
        Carlini et al. (2023), Extracting Training Data from Diffusion Models, arXiv 2301.13188: 16 tiles, the maximum.
    """
    checked_whole(tiles, "tiles", 1)
    if a.ndim != 4 or a.shape[1:] != b.shape[1:] or len(b) not in {1, len(a)}:
        msg = f"give images of one size, [n, height, width, channels], got {a.shape} and {b.shape}"
        raise ValueError(msg)
    largest = np.zeros(len(a))
    rows = [part for part in np.array_split(np.arange(a.shape[1]), tiles) if len(part)]
    columns = [part for part in np.array_split(np.arange(a.shape[2]), tiles) if len(part)]
    if not rows or not columns:
        msg = f"images of {a.shape[1]} x {a.shape[2]} pixels have no tiles"
        raise ValueError(msg)
    for block in (slice(start, start + 256) for start in range(0, len(a), 256)):
        other = b if len(b) == 1 else b[block]
        squared = (in_unit(a[block]) - in_unit(other)) ** 2
        for row in rows:
            for column in columns:
                tile = squared[:, row[0] : row[-1] + 1, column[0] : column[-1] + 1]
                np.maximum(largest[block], tile.mean(axis=(1, 2, 3)), out=largest[block])
    return np.sqrt(largest)


def normalised_distance(to_nearest: Floats, to_neighbours: Floats, alpha: float = 0.5) -> Floats:
    """The result is below 1 where the nearest image stands out of its neighbourhood: distance / (alpha x mean distance of the neighbours).

    Args:
        to_nearest: Distance of each image to the nearest reference, shape [n].
        to_neighbours: Distances to its k nearest references, the nearest among them, shape [n, k].
        alpha: Share of the mean distance that counts as 1, above 0.

    Returns:
        Ratios, shape [n]; 0 where the distance is 0, whatever the neighbours.

    Raises:
        ValueError: The shapes do not belong together, or alpha is not above 0.

    Source:
        Carlini et al. (2023), arXiv 2301.13188, section 5.1: alpha 0.5 and 50 neighbours.
    """
    if to_neighbours.ndim != 2 or to_nearest.shape != to_neighbours.shape[:1] or not to_neighbours.shape[1]:
        msg = f"give one distance and k neighbours for each image, got {to_nearest.shape} and {to_neighbours.shape}"
        raise ValueError(msg)
    if not alpha > 0.0:
        msg = f"alpha must be above 0, got {alpha}"
        raise ValueError(msg)
    mean = alpha * to_neighbours.mean(axis=1)
    return np.asarray(np.divide(to_nearest, mean, out=np.zeros(len(mean)), where=mean > 0.0))


class Clique(NamedTuple):
    """A clique that was found."""

    vertices: tuple[int, ...]
    """Its vertices, ascending; empty where there is none of the size asked."""
    exact: bool
    """No larger one exists; False: the budget ended first, and a larger one may."""


def largest_clique(adjacency: NDArray[np.bool_], least: int = 1, steps: int = 100_000) -> Clique:
    """The result is a largest clique of at least `least` vertices, or says that the search was not finished.

    Branch and bound over bit sets: vertices that cannot be in such a clique are peeled off by degree, branches are cut where a greedy
    colouring shows that they cannot beat what was found. The same graph always gives the same clique.

    Args:
        adjacency: Whether two vertices are joined, shape [n, n], symmetric; the diagonal is ignored.
        least: Smaller cliques are not looked for, at least 1.
        steps: Branches looked at before the search ends, at least 1.

    Raises:
        ValueError: The matrix is not square and symmetric, or a number is not whole and positive.

    Source:
        Tomita & Seki (2003), An efficient branch-and-bound algorithm for finding a maximum clique, DMTCS 2003.
    """
    checked_whole(least, "least", 1)
    checked_whole(steps, "steps", 1)
    joined = np.array(adjacency, dtype=np.bool_)
    if joined.ndim != 2 or joined.shape[0] != joined.shape[1] or not (joined == joined.T).all():
        msg = f"an adjacency is square and symmetric, got shape {joined.shape}"
        raise ValueError(msg)
    np.fill_diagonal(joined, val=False)
    search = _CliqueSearch(joined, least, steps)
    search.run()
    return Clique(tuple(sorted(search.best)), exact=search.steps >= 0)


class _CliqueSearch:
    def __init__(self, joined: NDArray[np.bool_], least: int, steps: int) -> None:
        order = _degeneracy(joined, least)
        self.order = order  # those left last have the most company: they are tried first
        packed = np.packbits(joined[np.ix_(order, order)], axis=1, bitorder="little")
        self.masks = [int.from_bytes(row.tobytes(), "little") for row in packed]
        self.size = least - 1
        self.steps = steps
        self.best: list[int] = []

    def run(self) -> None:
        """Search until done or out of steps; depth is bounded by the clique found, which a stack of our own holds."""
        stack: list[tuple[list[int], int, list[tuple[int, int]]]] = [([], *self._coloured((1 << len(self.order)) - 1))]
        while stack:
            held, candidates, coloured = stack[-1]
            if not coloured or len(held) + coloured[-1][1] <= self.size:
                stack.pop()
                continue
            self.steps -= 1
            if self.steps < 0:
                return
            vertex, _ = coloured.pop()
            stack[-1] = (held, candidates & ~(1 << vertex), coloured)
            inside = [*held, vertex]
            rest = candidates & self.masks[vertex]
            if len(inside) > self.size:
                self.size, self.best = len(inside), [int(self.order[one]) for one in inside]
            if rest:
                stack.append((inside, *self._coloured(rest)))

    def _coloured(self, candidates: int) -> tuple[int, list[tuple[int, int]]]:
        """Return the candidates with the number of colours used up to each: no clique among those up to it is larger."""
        coloured = []
        left, colour = candidates, 0
        while left:
            colour += 1
            free = left
            while free:
                lowest = free & -free
                vertex = lowest.bit_length() - 1
                coloured.append((vertex, colour))
                left ^= lowest
                free &= ~(lowest | self.masks[vertex])
        return candidates, coloured


def _degeneracy(joined: NDArray[np.bool_], least: int) -> NDArray[np.int64]:
    """Return vertices by repeatedly taking one of least degree, last taken first; without those of no clique of `least`."""
    degrees = joined.sum(axis=1).astype(np.int64)
    taken = np.zeros(len(joined), dtype=np.bool_)
    order: list[int] = []
    for _ in range(len(joined)):
        vertex = int(np.where(taken, len(joined), degrees).argmin())
        taken[vertex] = True
        if order or degrees[vertex] >= least - 1:  # what is left at the first such vertex is the core
            order.append(vertex)
        degrees -= joined[vertex]
    return np.array(order[::-1], dtype=np.int64)
