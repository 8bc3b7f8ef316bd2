"""Nearest images against brute force, distances against worked values, cliques against networkx."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import auditor.statistics.nearest as nearest_module
from auditor.statistics.similarity import Neighbours, largest_clique, nearest, normalised_distance, tiled_distance

SLOW = settings(derandomize=True, deadline=None, max_examples=60)


def brute(queries, references, k):
    """Every distance in whole numbers or float64, a stable sort: ties by index."""
    whole = queries.dtype == np.uint8 and references.dtype == np.uint8
    as_number = (
        (lambda x: x.astype(np.int64))
        if whole
        else (lambda x: x / 255.0 if x.dtype == np.uint8 else x.astype(np.float64))
    )
    a, b = as_number(queries).reshape(len(queries), -1), as_number(references).reshape(len(references), -1)
    squared = ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    scale = 255.0 if whole else 1.0
    return np.sqrt(np.take_along_axis(squared, order, axis=1) / a.shape[1]) / scale, order


def agree(queries, references, k):
    distances, indices = nearest(queries, references, k)
    expected, order = brute(queries, references, k)
    np.testing.assert_allclose(distances, expected, rtol=1e-9, atol=1e-12)
    if queries.dtype == np.uint8 and references.dtype == np.uint8:
        np.testing.assert_array_equal(indices, order)
    else:  # what is nearer than rounding may stand in either order
        flat = references.reshape(len(references), -1)
        for row, which in enumerate(indices):
            again = brute(queries[row : row + 1], flat[which], len(which))[0][0]
            np.testing.assert_allclose(np.sort(again), expected[row], rtol=1e-9, atol=1e-12)
            assert len(set(which.tolist())) == len(which)


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pixels = draw(st.sampled_from([1, 2, 7, 64, 513, 768]))
    n, m, k = draw(st.integers(1, 9)), draw(st.integers(1, 90)), draw(st.integers(1, 12))
    kind = draw(st.sampled_from(["noise", "smooth", "constant", "few values", "dark"]))

    def made(count):
        if kind == "noise":
            return rng.integers(0, 256, size=(count, pixels))
        if kind == "constant":
            return np.repeat(rng.integers(0, 3, size=(count, 1)), pixels, axis=1)
        if kind == "few values":
            return rng.integers(0, 2, size=(count, pixels))
        if kind == "dark":
            return np.zeros((count, pixels))
        waves = np.cos(np.outer(np.arange(3), np.linspace(0, np.pi, pixels)))
        return 128 + 25 * rng.normal(size=(count, 3)) @ waves + rng.normal(size=(count, pixels))

    references = np.clip(made(m), 0, 255).astype(np.uint8)
    queries = np.clip(made(n), 0, 255).astype(np.uint8)
    if draw(st.booleans()):  # duplicates among the references, and queries that are references
        references = references[rng.integers(m, size=m)]
        queries[0] = references[-1]
    return queries, references, k


@SLOW
@given(problems())
def test_nearest_is_brute_force(problem):
    agree(*problem)


@SLOW
@given(problems(), st.sampled_from([np.float32, np.float64]), st.booleans())
def test_floats_and_mixtures_of_types_are_brute_force_too(problem, dtype, both):
    queries, references, k = problem
    agree((queries / 255.0).astype(dtype), (references / 255.0).astype(dtype) if both else references, k)


def clouds(rng, count, spread=3.0):
    """Images in 40 clouds with four strong directions: bounds leave some to compare, and not all."""
    centres = np.random.default_rng(0).integers(60, 190, size=(40, 8, 8, 3)).repeat(2, axis=1).repeat(2, axis=2)
    chosen = centres[rng.integers(40, size=count)]
    return np.clip(chosen + spread * rng.normal(size=chosen.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("spread", [0.5, 3.0, 60.0])
@pytest.mark.parametrize("k", [1, 5, 50])
def test_bounds_and_all_pixels_give_the_same(spread, k, monkeypatch):
    rng = np.random.default_rng(k)
    references, queries = clouds(rng, 900, spread), clouds(rng, 60, spread)
    agree(queries, references, k)
    monkeypatch.setattr(nearest_module, "_BASIS", 10_000)  # no image is large enough for a projection
    agree(queries, references, k)


def test_blocks_do_not_change_an_answer(monkeypatch):
    rng = np.random.default_rng(3)
    references, queries = clouds(rng, 700), clouds(rng, 50)
    whole = nearest(queries, references, 7)
    monkeypatch.setattr(nearest_module, "_SCORES", 4 * 700 * 3)
    monkeypatch.setattr(nearest_module, "_PIECE", 100)
    monkeypatch.setattr(nearest_module, "_ROUND", 5)
    for one, other in zip(whole, nearest(queries, references, 7), strict=True):
        np.testing.assert_array_equal(one, other)


def test_each_query_alone_gives_the_same():
    rng = np.random.default_rng(4)
    references, queries = clouds(rng, 400), clouds(rng, 12)
    prepared = Neighbours(references)
    distances, indices = prepared.nearest(queries, 9)
    for row in range(len(queries)):
        one = prepared.nearest(queries[row : row + 1], 9)
        np.testing.assert_array_equal(one[0][0], distances[row])
        np.testing.assert_array_equal(one[1][0], indices[row])


def test_rounding_of_float32_cannot_hide_the_nearest():
    """Far from the origin, differences in the last place: scores in float32 cannot tell them, true distances do."""
    rng = np.random.default_rng(5)
    base = rng.normal(size=600) * 1000.0
    references = base + 1e-3 * rng.normal(size=(300, 600))
    queries = base + 1e-3 * rng.normal(size=(20, 600))
    agree(queries, references, 5)
    agree(queries[:, :40].copy(), references[:, :40].copy(), 5)


def test_the_certificate_is_needed():
    """The first k by bound are not the k nearest: without widening, answers would be wrong."""
    rng = np.random.default_rng(6)
    references, queries = clouds(rng, 900, 20.0), clouds(rng, 60, 20.0)
    prepared = Neighbours(references)
    scores = np.empty((len(queries), len(references)), dtype=np.float32)
    prepared._bounds(queries.reshape(len(queries), -1), scores)
    first = np.argsort(scores, axis=1)[:, :1]
    assert (first != prepared.nearest(queries, 1)[1]).any()


def test_few_references_none_and_bad_input():
    images = np.zeros((3, 4, 4, 1), dtype=np.uint8)
    distances, indices = nearest(images, images[:2], 50)
    assert distances.shape == (3, 2)
    assert indices.tolist() == [[0, 1]] * 3
    assert nearest(images[:0], images, 2)[0].shape == (0, 2)
    with pytest.raises(ValueError, match="nothing to compare with"):
        nearest(images, images[:0], 1)
    with pytest.raises(ValueError, match="references 16"):
        nearest(images[:, :2], images, 1)
    with pytest.raises(ValueError, match="k is 0"):
        nearest(images, images, 0)
    with pytest.raises(ValueError, match="uint8 or floats"):
        nearest(images.astype(np.int32), images, 1)
    with pytest.raises(ValueError, match="not finite"):
        nearest(np.full((1, 4, 4, 1), np.nan), images, 1)


def test_one_tile_of_sixteen():
    """Worked by hand: 0.4 on one tile of 16 is 0.1 over all and 0.4 on that tile."""
    a = np.zeros((1, 64, 64, 3))
    b = a.copy()
    b[:, 16:32, 48:] = 0.4
    np.testing.assert_allclose(nearest(a, b, 1)[0], [[0.1]])
    np.testing.assert_allclose(tiled_distance(a, b), [0.4])
    np.testing.assert_allclose(tiled_distance(a, b, tiles=1), [0.1])


@SLOW
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(0, 2**32))
def test_tiles_of_any_size(height, width, tiles, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 256, size=(2, 3, height, width, 2), dtype=np.uint8)
    expected = np.zeros(3)
    for rows in np.array_split(np.arange(height), tiles):
        for columns in np.array_split(np.arange(width), tiles):
            if len(rows) and len(columns):
                apart = a[:, rows][:, :, columns].astype(float) - b[:, rows][:, :, columns]
                expected = np.maximum(expected, np.sqrt((apart**2).mean(axis=(1, 2, 3))) / 255)
    found = tiled_distance(a, b, tiles)
    np.testing.assert_allclose(found, expected)
    whole = np.sqrt(((a.astype(float) - b) ** 2).mean(axis=(1, 2, 3))) / 255
    assert (found >= whole - 1e-12).all()
    np.testing.assert_allclose(tiled_distance(a, b[:1], tiles)[0], found[0])


def test_tiles_of_what_is_none():
    with pytest.raises(ValueError, match="one size"):
        tiled_distance(np.zeros((2, 4, 4, 1)), np.zeros((2, 4, 5, 1)))
    with pytest.raises(ValueError, match="no tiles"):
        tiled_distance(np.zeros((2, 0, 4, 1)), np.zeros((2, 0, 4, 1)))


def test_normalised_distance_by_hand():
    to_neighbours = np.array([[0.1, 0.3, 0.5], [0.0, 0.0, 0.0], [0.2, 0.2, 0.2]])
    np.testing.assert_allclose(normalised_distance(to_neighbours[:, 0], to_neighbours), [0.1 / 0.15, 0.0, 2.0])
    with pytest.raises(ValueError, match="one distance"):
        normalised_distance(np.zeros(2), to_neighbours)
    with pytest.raises(ValueError, match="alpha"):
        normalised_distance(np.zeros(3), to_neighbours, 0.0)


@st.composite
def graphs(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(0, 24))
    joined = np.triu(rng.random((n, n)) < draw(st.sampled_from([0.1, 0.4, 0.7, 0.95])), 1)
    return joined | joined.T


@settings(derandomize=True, deadline=None, max_examples=150)
@given(graphs(), st.integers(1, 8))
def test_cliques_are_those_of_networkx(joined, least):
    largest = max((len(one) for one in nx.find_cliques(nx.from_numpy_array(joined))), default=0)
    found = largest_clique(joined, least)
    assert found.exact
    assert len(found.vertices) == (largest if largest >= least else 0)
    assert all(joined[i, j] for i in found.vertices for j in found.vertices if i != j)
    assert largest_clique(joined | np.eye(len(joined), dtype=bool), least) == found


def test_cliques_of_many_generations():
    """Five hundred generations of one caption: a planted clique in a sparse, a dense and a complete graph."""
    rng = np.random.default_rng(7)
    for density in (0.02, 0.2):
        joined = np.triu(rng.random((500, 500)) < density, 1)
        members = np.sort(rng.choice(500, 14, replace=False))
        joined[np.ix_(members, members)] = True
        joined = np.triu(joined, 1)
        found = largest_clique(joined | joined.T, 10)
        assert found.exact
        assert found.vertices == tuple(members.tolist())
    assert len(largest_clique(np.ones((500, 500), dtype=bool), 10).vertices) == 500


def test_a_component_is_not_a_clique():
    ring = np.zeros((30, 30), dtype=bool)
    ring[np.arange(30), (np.arange(30) + 1) % 30] = True
    assert largest_clique(ring | ring.T, 3) == ((), True)


def test_a_budget_that_ends_says_so():
    rng = np.random.default_rng(8)
    joined = np.triu(rng.random((200, 200)) < 0.9, 1)
    joined |= joined.T
    found = largest_clique(joined, 5, steps=50)
    assert not found.exact
    assert len(found.vertices) >= 5
    assert all(joined[i, j] for i in found.vertices for j in found.vertices if i != j)
    with pytest.raises(ValueError, match="symmetric"):
        largest_clique(np.triu(np.ones((3, 3), dtype=bool)), 1)
