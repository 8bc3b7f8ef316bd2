"""The observers of prompts and completions on real pipeline folders: everything runs, everything is counted, nothing depends on the cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opened import rows, shards
from prompting import record, subject
from tiny_pipelines import PIPELINES, opened

from auditor.core.evidence import Need
from auditor.errors import UnsupportedError
from auditor.observers.completions import OBSERVER as COMPLETIONS
from auditor.observers.prompt_scores import OBSERVER as SCORES
from auditor.observers.prompted_generations import OBSERVER as GENERATIONS
from auditor.subjects.images import decode

if TYPE_CHECKING:
    from pathlib import Path

CAPTIONS = ("a red house", "the small dog runs", "one")
SMALL: dict[str, tuple[Any, dict[str, Any]]] = {
    "prompt-scores": (SCORES, {"steps": 3, "noises": 2, "attention": True}),
    "completions": (COMPLETIONS, {"steps": 2, "completions": 2, "losses": 1, "pictures": "none"}),
    "prompted-generations": (GENERATIONS, {"captions": 3, "generations": 2, "steps": 2, "pictures": "none"}),
}


def made(kind: str, folder: Path) -> Any:
    model = opened(PIPELINES[kind](folder / kind))
    rng = np.random.default_rng(0)
    return subject(
        model,
        [
            record(f"r{i}", caption, rng.integers(256, size=model.image_shape).astype(np.uint8))
            for i, caption in enumerate(CAPTIONS)
        ],
    )


def need(name: str) -> Need:
    return Need(observer=name, dataset="members", parameters=SMALL[name][1])


@pytest.mark.parametrize("kind", ["captions", "inpainting", "two-encoders"])
def test_a_pipeline_with_captions_is_observed_whole(kind: str, tmp_path: Path):
    opened_subject = made(kind, tmp_path)
    for name, (observer, _) in SMALL.items():
        if kind == "inpainting" and name != "completions":
            continue  # its network takes the masked image beside the latent
        before = opened_subject.models["subject"].passes
        found = list(shards(observer, need(name), opened_subject))
        assert sum(shard.tokens for shard in found) == opened_subject.models["subject"].passes - before > 0
        for column in found[0].public.column_names:
            values = found[0].public.column(column).to_pylist()
            flat = np.array([one for value in values for one in (value if isinstance(value, list) else [value])])
            assert flat.dtype.kind != "f" or np.isfinite(flat).all(), column


def test_completions_keep_what_was_given(tmp_path: Path):
    opened_subject = made("captions", tmp_path)
    for row, one in zip(
        rows(COMPLETIONS, need("completions"), opened_subject), opened_subject.sides["members"].records, strict=True
    ):
        image, truth = decode(row["image"], "test"), decode(one.image, "test")
        half = truth.shape[1] // 2
        assert np.array_equal(image[:, half:], truth[:, half:])
        assert row["nearest"] > 0.0


def test_generations_are_the_same_however_they_are_cut(tmp_path: Path):
    opened_subject = made("captions", tmp_path)
    one, other = (rows(GENERATIONS, need("prompted-generations"), opened_subject, size) for size in (1, 6))
    assert [row["image"] for row in one] == [row["image"] for row in other]


def test_a_class_conditional_pipeline_is_refused_where_captions_are_asked(tmp_path: Path):
    opened_subject = made("classes", tmp_path)
    for name in ("prompt-scores", "prompted-generations"):
        with pytest.raises(UnsupportedError, match="not conditioned on captions"):
            rows(SMALL[name][0], need(name), opened_subject)
