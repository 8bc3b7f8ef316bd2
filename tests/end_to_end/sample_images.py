"""Two small image generators that remember what they were shown too often, trained here, and audits of both.

One takes class labels and makes pixels, one takes captions and has the parts of Stable Diffusion. Both are shown some of
scikit-learn's digits many times and others once; the controls are digits that were never shown.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_audit import ROOT, Place, auditor

from auditor.subjects.images import png

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

RECORDS = 40
"""Members, and as many controls."""
REPEATED = 14
"""Members that stood in training often."""
COPIES = 20


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return pictures (uint8, [2 * RECORDS, 8, 8, 1]) and what they show: members, then controls."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.images))[: 2 * RECORDS]
    return np.rint(found.images[order] / 16.0 * 255.0).astype(np.uint8)[..., None], found.target[order]


def copies() -> np.ndarray:
    """Return how often each member stood in training."""
    return np.where(np.arange(RECORDS) < REPEATED, COPIES, 1)


def captions() -> list[str]:
    """Return a caption for each record, no two alike, in words that the small tokenizer knows whole."""
    colours = ("red", "grey", "winter")
    things = ("boat", "bread", "cat", "dog", "lamp", "tree")
    places = ("on b", "the lamp", "picture", "dog red", "b tree")
    every = [f"a {colour} of {thing} {where}" for colour in colours for thing in things for where in places]
    return [every[row] for row in np.random.default_rng(1).permutation(len(every))[: 2 * RECORDS]]


def image_policy(path: Path, exhibits: str, parameters: dict[str, dict[str, Any]]) -> Path:
    """Write the shipped policy for images with some of its tests, in the order given, and parameters that take seconds."""
    import yaml

    policy = yaml.safe_load((ROOT / "policies" / "edpb-28-2024-images.yaml").read_text())
    entries = {entry["test"]: entry for entry in policy["tests"]}
    policy["tests"] = [{**entries[test], "parameters": asked} for test, asked in parameters.items()]
    path.write_text(json.dumps({**policy, "exhibits": exhibits}))
    return path


GENERATED: dict[str, Any] = {"count": 240, "steps": 10}
CLASS_TESTS: dict[str, dict[str, Any]] = {
    "diffusion/extraction": GENERATED,
    "diffusion/duplication": GENERATED,
    "diffusion/inpainting": {"completions": 2, "steps": 8, "losses": 1, "fpr": 0.05, "permutations": 199},
    "diffusion/membership": {
        "timesteps": [50, 150, 300],
        "timestep": 150,
        "noises": 1,
        "fpr": 0.05,
        "permutations": 199,
    },
    "diffusion/prompted-extraction": {"captions": 16, "generations": 4, "steps": 4},
    "diffusion/prompt-memorization": {"records": 16, "steps": 4, "noises": 1, "permutations": 199},
}
PROMPTED = {"captions": RECORDS, "generations": 5, "steps": 8}
"""Five images of a caption, sixteen in a shard: nearly every shard ends inside a caption."""
TEXT_TESTS: dict[str, dict[str, Any]] = {
    "diffusion/prompted-extraction": PROMPTED,
    "diffusion/extraction": {"count": 64, "steps": 8},
    "diffusion/duplication": {"count": 64, "steps": 8},
    "diffusion/inpainting": CLASS_TESTS["diffusion/inpainting"],
    "diffusion/membership": CLASS_TESTS["diffusion/membership"] | {"clid": [150]},
    "diffusion/prompt-memorization": {"steps": 4, "noises": 1, "strata": 4, "fpr": 0.05, "permutations": 199},
    "diffusion/outliers": {"timesteps": [50, 150], "noises": 1, "permutations": 199},
}


def write_subject(folder: Path, members: dict[str, str], controls: dict[str, str]) -> Path:
    """Write the subject file of a model in `model` beside it."""
    path = folder / "subject.yaml"
    data = {"members": members, "controls": controls, "controls_drawn": "at-random-before-training"}
    model = {"adapter": "diffusion", "path": "model", "device": "cpu"}
    path.write_text(json.dumps({"name": "digits", "model": model, "release_context": "open-weights", "data": data}))
    return path


def write_class_subject(folder: Path) -> Path:
    """Train on labels and write a subject whose images lie in folders, with metadata.jsonl."""
    from tiny_pipelines import class_conditional

    pictures, labels = digits()
    shown = copies()
    class_conditional(
        folder / "model",
        classes=10,
        images=pictures[:RECORDS].repeat(shown, axis=0),
        labels=labels[:RECORDS].repeat(shown).tolist(),
        steps=260,
    )
    sides = {}
    for side, start in (("members", 0), ("controls", RECORDS)):
        (folder / side).mkdir()
        rows = []
        for number in range(RECORDS):
            name = f"{side}-{number:02d}.png"
            (folder / side / name).write_bytes(png(pictures[start + number]))
            count = int(shown[number]) if side == "members" else 1
            rows.append({"file_name": name, "id": name[:-4], "shows": int(labels[start + number]), "copies": count})
        (folder / side / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        sides[side] = {"path": side, "image": "image", "id": "id", "label": "shows", "copies": "copies"}
    return write_subject(folder, sides["members"], sides["controls"])


def write_text_subject(folder: Path) -> Path:
    """Train on captions and write a subject whose images and captions lie in Parquet, as Hugging Face writes them."""
    from trained_on_captions import captioned_on

    pictures, _ = digits()
    shown = copies()
    said = captions()
    captioned_on(
        folder / "model",
        pictures.repeat(3, axis=3),
        [caption for caption, count in zip(said, shown, strict=False) for _ in range(count)],
        np.arange(RECORDS).repeat(shown),
        steps=(150, 300),
    )
    sides = {}
    for side, start in (("members", 0), ("controls", RECORDS)):
        rows = range(start, start + RECORDS)
        table = pa.table(
            {
                "image": [{"bytes": png(pictures[row].repeat(3, axis=2)), "path": None} for row in rows],
                "words": [said[row] for row in rows],
                "copies": shown.tolist() if side == "members" else [1] * RECORDS,
            }
        )
        pq.write_table(table, folder / f"{side}.parquet")
        sides[side] = {"path": f"{side}.parquet", "image": "image", "caption": "words", "copies": "copies"}
    return write_subject(folder, sides["members"], sides["controls"])


def _image_place(folder: Path, subject: Path, exhibits: str, parameters: dict[str, dict[str, Any]]) -> Place:
    made = auditor("keygen", "--name", "Test auditor", "--out", folder / "key")
    assert made.returncode == 0, made.stderr
    return Place(
        subject,
        image_policy(folder / "policy.yaml", exhibits, parameters),
        folder / "key" / "auditor.key.pem",
        folder / "key" / "auditor.crt.pem",
    )


@pytest.fixture(scope="session")
def class_place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("classes")
    return _image_place(folder, write_class_subject(folder), "masked", CLASS_TESTS)


@pytest.fixture(scope="session")
def text_place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("captions")
    return _image_place(folder, write_text_subject(folder), "masked", TEXT_TESTS)


def _audited(place: Place, out: Path) -> Path:
    done = place.run(out)
    assert done.returncode in {1, 3}, done.stderr + done.stdout
    return out


@pytest.fixture(scope="session")
def class_bundle(class_place, tmp_path_factory) -> Path:
    return _audited(class_place, tmp_path_factory.mktemp("class-bundle") / "bundle")


@pytest.fixture(scope="session")
def text_bundle(text_place, tmp_path_factory) -> Path:
    return _audited(text_place, tmp_path_factory.mktemp("text-bundle") / "bundle")
