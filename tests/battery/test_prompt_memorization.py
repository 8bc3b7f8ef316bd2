"""Prompt memorization: equal lengths against equal lengths, quiet on the innocent whatever the lengths, loud on the guilty."""

from __future__ import annotations

import numpy as np
import pytest
from prompt_tables import caption_tables
from sklearn.metrics import roc_auc_score
from tables import measuring

from auditor.battery.diffusion.calibration import calibrating
from auditor.battery.diffusion.prompt_memorization import TEST
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError

RNG = np.random.default_rng


def measured(evidence, facts=None, **parameters):
    return TEST.measure(TEST.parameters(**parameters), evidence, facts or measuring())


def gate(found, name):
    return next(one for one in found.gates if one.name == name)


def test_areas_are_those_of_scikit_learn_within_each_length():
    evidence = caption_tables(RNG(0), 120, 0.8)
    found = measured(evidence, strata=100)
    members, controls = (evidence[side].columns for side in ("members", "controls"))
    expected = {}
    for name in ("magnitude", "first_step", "one_step"):
        areas, weights = [], []
        for length in np.unique(members["tokens"]):
            a, b = (side[name][side["tokens"] == length] for side in (members, controls))
            if min(len(a), len(b)) >= 2:
                areas.append(roc_auc_score([1] * len(a) + [0] * len(b), np.concatenate([a, b])))
                weights.append(len(a) * len(b) / (len(a) + len(b) + 1))
        expected[name] = np.average(areas, weights=weights)
    shown = {row.label: row.estimate.value for row in found.strata if row.by.startswith("score, area")}
    assert shown == pytest.approx(expected)
    assert found.estimate.value == pytest.approx(max(expected.values()))
    assert found.p_value <= 0.01


def test_longer_captions_alone_are_no_memory():
    """Members' captions are longer and every score grows with length: the plain areas are large, the test stays quiet."""
    evidence = caption_tables(RNG(1), 200, 0.0, longer=4)
    plain = roc_auc_score(
        [1] * 200 + [0] * 200, np.concatenate([evidence[side].columns["magnitude"] for side in ("members", "controls")])
    )
    found = measured(evidence)
    assert plain > 0.65
    assert found.p_value > 0.05
    assert gate(found, "captions compared are equally long").held
    assert "length alone reaches an area of 0.7" in gate(found, "captions compared are equally long").detail


@pytest.mark.parametrize(("longer", "per_cluster"), [(0, 1), (3, 1), (3, 2)])
def test_false_alarms_on_200_innocent_data_sets(longer, per_cluster):
    runs, alarms = 200, 0
    for seed in range(runs):
        evidence = caption_tables(RNG([21, longer, per_cluster, seed]), 60, 0.0, longer, per_cluster, attention=True)
        alarms += measured(evidence, measuring(seed=seed), permutations=199, strata=50).p_value <= 0.05
    assert alarms <= 0.05 * runs + 2.4 * np.sqrt(0.0475 * runs)


def test_power_within_lengths():
    found = [measured(caption_tables(RNG(seed), 80, 1.0, longer=3), permutations=199) for seed in range(20)]
    assert sum(one.p_value <= 0.01 and one.excess.low > 0 for one in found) >= 18


def test_lengths_that_do_not_overlap_break_the_gate_and_none_in_common_is_refused():
    evidence = caption_tables(RNG(2), 80)
    evidence["members"].columns["tokens"] = np.where(np.arange(80) < 50, 40, evidence["members"].columns["tokens"])
    common = gate(measured(evidence), "captions have lengths in common")
    assert (common.held, common.on_failure) == (False, "inconclusive")
    evidence["members"].columns["tokens"] = np.full(80, 40)
    with pytest.raises(UnsupportedError, match="no length in common"):
        measured(evidence)


def test_coarse_strata_leave_length_in_and_the_gate_says_so():
    evidence = caption_tables(RNG(3), 300, 0.0, longer=6)
    within = gate(measured(evidence, strata=1), "captions compared are equally long")
    assert (within.held, within.on_failure) == (False, "inconclusive")
    assert gate(measured(evidence, strata=20), "captions compared are equally long").held


def test_lengths_are_words_where_the_network_shows_no_tokens():
    known, unknown = (caption_tables(RNG(4), 80, 0.5, tokens=tokens) for tokens in (True, False))
    assert measured(known).estimate.value == measured(unknown).estimate.value


def test_flags_are_those_of_a_threshold_from_half_of_the_controls():
    evidence = caption_tables(RNG(5), 100, 1.5)
    found = measured(evidence, measuring(seed=3), fpr=0.05)
    controls, members = (evidence[side].columns for side in ("controls", "members"))
    half = calibrating(controls["cluster"], generator(3, TEST.name, "calibration"))
    threshold = np.sort(controls["one_step"][half])[-2]  # floor(0.05 x 51) = 2
    row = next(row for row in found.strata if "flagged" in row.by and row.label == "one_step")
    assert row.estimate.value == np.mean(members["one_step"] > threshold)
    assert row.control.value == np.mean(controls["one_step"][~half] > threshold)


def test_the_most_memorized_captions_are_listed_and_only_flagged_ones():
    evidence = caption_tables(RNG(6), 100)
    for name, value in (("magnitude", 60.0), ("first_step", 50.0), ("one_step", 55.0)):
        evidence["members"].columns[name][[3, 8]] = value, value + 1
    found = measured(evidence, fpr=0.02)
    assert [one.record for one in found.exhibits][:2] == ["m8", "m3"]
    assert all(one.excerpt.startswith("A") for one in found.exhibits)
    few = measured(caption_tables(RNG(7), 40))
    assert any("carry a threshold at 0.0476" in caveat for caveat in few.caveats)


def test_captions_that_a_blind_classifier_tells_apart_make_it_invalid():
    evidence = caption_tables(RNG(8), 300)
    blind = evidence["blind"].columns
    blind["bag_of_words"] = np.where(blind["scored"], blind["bag_of_words"] + 2.0 * blind["member"], np.nan)
    found = gate(measured(evidence), "blind baseline")
    assert (found.held, found.on_failure) == (False, "invalid")


def test_subjects_it_cannot_audit_are_refused_with_the_reason():
    facts = measuring().facts

    def having(capabilities, controls=True):
        model = facts.subject.model.model_copy(update={"capabilities": capabilities})
        sides = {
            side: getattr(facts.subject, side).model_copy(update={"has_captions": True})
            for side in ("members", "controls")
        }
        if not controls:
            sides["controls"] = None
        subject = facts.subject.model_copy(update={"model": model, **sides})
        return type(facts)(subject, None, 0, 0.95, facts.queries)

    whole = ("denoises", "conditions-on-text", "guides")
    assert TEST.needs(TEST.parameters(), having(whole))["members"].parameters["attention"] is False
    assert TEST.needs(TEST.parameters(), having((*whole, "shows-attention")))["members"].parameters["attention"] is True
    for capabilities, controls, message in (
        (("denoises", "conditions-on-class", "guides"), True, "a class stands for members and controls alike"),
        (("denoises", "conditions-on-text"), True, "no null condition"),
        (("denoises",), True, "not conditioned on captions"),
        (whole, False, "no controls"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            TEST.needs(TEST.parameters(), having(capabilities, controls))


def test_equal_evidence_gives_equal_bytes():
    assert measured(caption_tables(RNG(9), 60)).canonical() == measured(caption_tables(RNG(9), 60)).canonical()
