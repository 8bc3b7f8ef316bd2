"""The oracle: a real diffusion model, of whose 200 training images five stood in training 20 times each (`tests/fixtures/digits_ddpm`).

It was trained once by the script beside it; a reference run of other code on the same recipe found all five repeated digits too.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from matching_tables import blind, table_of
from tables import measuring

from auditor.battery.diffusion.duplication import TEST as DUPLICATION
from auditor.battery.diffusion.extraction import TEST as EXTRACTION
from auditor.observers.generations import OBSERVER as GENERATIONS
from auditor.observers.image_distances import OBSERVER as IMAGE_DISTANCES
from auditor.observers.image_matches import OBSERVER as IMAGE_MATCHES
from auditor.subjects.data import DataRecord
from auditor.subjects.images import decode, png

FOLDER = Path(__file__).parents[1] / "fixtures" / "digits_ddpm"
IMAGES = 256
REPEATED = {f"m{number}" for number in range(5)}


def digits():
    found = importlib.util.spec_from_file_location("digits_ddpm", FOLDER / "make.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.digits()


@pytest.fixture(scope="module")
def audited():
    """Evidence of the five observations, by the real adapter; `count` of the controls limits what is matched against."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "observers"))
    from opened import OpenedInMemory, opened, rows
    from tiny_pipelines import spec

    from auditor.core.evidence import Need
    from auditor.subjects.adapters.diffusion import ADAPTER

    members, controls, copies = digits()

    def records(images, side, copies):
        return [
            DataRecord(id=f"{side}{i}", text="", cluster=f"{side}{i}", copies=int(copies[i]), image=png(image))
            for i, image in enumerate(images)
        ]

    model = ADAPTER.open(spec(FOLDER), FOLDER.parent)
    model.context = 0
    subject: OpenedInMemory = opened(model, records(members, "m", copies), records(controls, "c", [1] * len(controls)))
    both = "members+controls"
    made = rows(
        GENERATIONS,
        Need(observer="generations", dataset=both, parameters={"count": IMAGES, "pictures": "full"}),
        subject,
    )
    evidence = {
        "generations": table_of(made),
        "real": table_of(rows(IMAGE_MATCHES, Need(observer="image-matches", dataset=both, model=None), subject), "1"),
        "copies": table_of(
            rows(IMAGE_DISTANCES, Need(observer="image-distances", dataset=both, model=None), subject), "3"
        ),
        "blind": blind(np.random.default_rng(0)),
    }
    return evidence, made, members


def test_five_of_five_repeated_images_come_out_and_no_control(audited):
    evidence, _, _ = audited
    found = EXTRACTION.measure(EXTRACTION.parameters(count=IMAGES), evidence, measuring())
    assert {exhibit.record for exhibit in found.exhibits} >= REPEATED
    assert found.control.value == 0.0
    assert found.estimate.value * 200 >= 5
    assert found.excess.low > 0.0
    assert found.p_value <= 0.05
    per_copies = {stratum.label: stratum.estimate.value for stratum in found.strata if stratum.by == "copies"}
    assert per_copies["16-31"] == 1.0


@pytest.mark.parametrize("rule", ["distance", "tiled", "ratio"])
@pytest.mark.parametrize("quantile", [0.0, 0.01, None])
def test_every_rule_finds_them(audited, rule, quantile):
    evidence, _, _ = audited
    found = EXTRACTION.measure(EXTRACTION.parameters(count=IMAGES, rule=rule, quantile=quantile), evidence, measuring())
    assert {exhibit.record for exhibit in found.exhibits} >= REPEATED
    assert found.control.value == 0.0


def test_duplication_explains_them(audited):
    evidence, _, _ = audited
    found = DUPLICATION.measure(DUPLICATION.parameters(count=IMAGES), evidence, measuring())
    assert found.estimate.value == 1.0
    assert found.control.value <= 0.02
    assert found.p_value <= 0.001
    assert found.excess.low > 0.3


def test_what_is_shown_is_the_training_image(audited):
    _, made, members = audited
    shown = [row for row in made if row["picture"]]
    assert len(shown) >= 5
    row = min(shown, key=lambda row: row["member_distance"])
    picture = decode(row["picture"], "picture")
    assert picture.shape == (96, 96 + 4 + 96, 1)
    np.testing.assert_array_equal(picture[::12, 100::12], members[int(row["member_id"][1:])])
    np.testing.assert_array_equal(picture[::12, :96:12], decode(row["image"], "image"))
    assert made[0]["member_tiled"] >= made[0]["member_distance"]
