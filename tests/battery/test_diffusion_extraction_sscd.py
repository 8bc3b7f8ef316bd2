"""SSCD as a rule of extraction: its own nearest records, a calibrated threshold with a floor, nothing changed without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matching_tables import blind, made_table, real_table
from tables import measuring

from auditor.battery.diffusion.duplication import TEST as DUPLICATION
from auditor.battery.diffusion.extraction import TEST as EXTRACTION
from auditor.errors import IntegrityError
from auditor.observers.generations import OBSERVER as GENERATIONS
from auditor.observers.image_matches import OBSERVER as IMAGE_MATCHES
from auditor.testing.control_images import image_subject


def tables(similarity, to_controls=0.0, real_similarity=0.3, members=(5, 6, 7)):
    """Three images, by pixels near to members 0 to 2 and by embedding to 5 to 7."""
    made = made_table(([0, 1, 2], [0, 0, 0]), [0.3] * 3, [0.4] * 3)
    made.columns["member_sscd"] = 1 - np.asarray(similarity, dtype=float)
    made.columns["control_sscd"] = 1 - np.broadcast_to(np.asarray(to_controls, dtype=float), 3)
    made.columns["member_sscd_id"] = np.array([f"m{place}" for place in members], dtype=object)
    made.columns["control_sscd_id"] = np.array(["c3"] * 3, dtype=object)
    real = real_table(apart=0.2)
    real.columns["sscd"] = 1 - np.broadcast_to(np.asarray(real_similarity, dtype=float), 200).copy()
    return {"generations": made, "real": real, "blind": blind(np.random.default_rng(0))}


def measured(evidence, rule="sscd", instrument=False, **parameters):
    held = measuring()
    held = replace(held, facts=replace(held.facts, instrument=instrument))
    return EXTRACTION.measure(EXTRACTION.parameters(count=3, quantile=0.01, rule=rule, **parameters), evidence, held)


def shares(found):
    return {(s.by, s.label): (s.estimate.value, s.control.value) for s in found.strata if s.control}


def test_it_decides_by_its_own_nearest_records():
    found = measured(tables([0.9, 0.6, 0.4]))
    assert found.estimate.value == pytest.approx(0.02)
    assert found.control.value == 0.0
    assert [exhibit.record for exhibit in found.exhibits] == ["m5", "m6"]
    assert found.exhibits[0].excerpt == "SSCD similarity 0.9000; 0.0000 to the most alike control"
    assert found.exhibits[0].picture == "", "the picture shows the member nearest by pixels, which is another"
    by = shares(found)
    assert by["rule", "SSCD similarity"] == (pytest.approx(0.02), 0.0)
    assert by["rule", "l2"] == (0.0, 0.0)
    assert by["published level", "SSCD similarity of at least 0.5"][0] == pytest.approx(0.02)
    assert by["published level", "SSCD similarity of at least 0.75"][0] == pytest.approx(0.01)
    assert by["image made", "match a record"][0] == pytest.approx(2 / 3)
    same = measured(tables([0.9, 0.6, 0.4], members=(0, 1, 2)))
    assert same.exhibits[0].picture


@pytest.mark.parametrize(("real", "count"), [(0.0, 2), (0.5, 2), (0.7, 1), (0.95, 0)])
def test_the_threshold_is_calibrated_and_never_below_the_floor(real, count):
    assert measured(tables([0.9, 0.6, 0.49], real_similarity=real)).estimate.value == pytest.approx(count / 100)


def test_an_image_more_like_a_control_is_no_member():
    found = measured(tables([0.9, 0.8, 0.7], to_controls=[0.95, 0.8, 0.1]))
    assert (found.estimate.value, found.control.value) == (pytest.approx(0.01), pytest.approx(0.01))


def test_beside_the_decision_it_changes_nothing_else():
    plain, beside = measured(tables([0.9] * 3), "distance"), measured(tables([0.9] * 3), "distance", embedding="sscd")
    assert "SSCD similarity" not in {s.label for s in plain.strata}
    assert plain.estimate == beside.estimate
    assert plain.p_value == beside.p_value
    assert [s for s in beside.strata if "SSCD" not in s.label] == list(plain.strata)
    assert plain.exhibits == beside.exhibits


def test_the_controls_of_the_instrument_are_matched_by_pixels():
    evidence = tables([0.9] * 3)
    for column in ("member_sscd", "control_sscd", "member_sscd_id", "control_sscd_id"):
        del evidence["generations"].columns[column]
    del evidence["real"].columns["sscd"]
    found = measured(evidence, instrument=True)
    assert found.estimate == measured(evidence, "distance").estimate
    assert any("too small for SSCD" in caveat for caveat in found.caveats)


def test_an_unknown_nearest_record_is_refused():
    with pytest.raises(IntegrityError, match="not among the records"):
        measured(tables([0.9] * 3, members=(0, 1, 500)))


def test_needs_ask_for_embeddings_only_where_wanted_and_are_shared():
    held = image_subject("innocent", references=0, confidence=0.95, queries=measuring().facts.queries, variant=0).facts
    facts = replace(
        held,
        instrument=False,
        subject=held.subject.model_copy(
            update={
                "model": held.subject.model.model_copy(update={"capabilities": ("denoises", "generates-images")}),
            }
        ),
    )

    def needs(facts=facts, **parameters):
        return EXTRACTION.needs(EXTRACTION.parameters(**parameters), facts)

    assert not any("embedding" in need.parameters for need in needs().values())
    assert not any(
        "embedding" in need.parameters for need in needs(replace(facts, instrument=True), rule="sscd").values()
    )
    other = DUPLICATION.needs(DUPLICATION.parameters(), facts)
    for asked in (needs(rule="sscd"), needs(embedding="sscd")):
        for key, observer in (("generations", GENERATIONS), ("real", IMAGE_MATCHES)):
            assert asked[key].parameters["embedding"] == "sscd"
            (joined,) = observer.join([other[key], asked[key]])
            assert observer.covers(joined, other[key])
            assert observer.covers(joined, asked[key])
