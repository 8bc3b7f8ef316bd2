"""Inpainting: scores by hand, areas of scikit-learn, quiet on the innocent whatever the difficulty, loud on the guilty."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from prompt_tables import RaggedTable, completion_tables
from sklearn.metrics import roc_auc_score
from tables import measuring

from auditor.battery.diffusion.inpainting import BESIDE, TEST, read_completions
from auditor.errors import UnsupportedError

RNG = np.random.default_rng


def measured(evidence, facts=None, **parameters):
    return TEST.measure(TEST.parameters(**parameters), evidence, facts or measuring())


def captioned():
    made = measuring()
    model = made.facts.subject.model.model_copy(update={"capabilities": ("inpaints", "conditions-on-text")})
    subject = made.facts.subject.model_copy(update={"model": model})
    return type(made)(type(made.facts)(subject, None, 0, 0.95, made.facts.queries), 1)


def test_areas_are_those_of_scikit_learn_and_the_excess_is_over_chance():
    evidence = completion_tables(RNG(0), 60, 0.04)
    found = measured(evidence)
    members, controls = (evidence[side].columns for side in ("members", "controls"))
    areas = {
        name: roc_auc_score([1] * 60 + [0] * 60, -np.concatenate([members[name], controls[name]]))
        for name in ("mean", "nearest")
    }
    strata = {row.label: row.estimate.value for row in found.strata if row.by.startswith("score, area")}
    assert strata == pytest.approx(areas)
    assert found.estimate.value == pytest.approx(max(areas.values()))
    assert found.excess.value == pytest.approx(max(areas.values()) - 0.5)
    assert found.control.value == 0.5
    assert found.p_value <= 0.01


def test_a_reference_takes_difficulty_away():
    evidence = completion_tables(RNG(1), 60, 0.03, reference=True)
    found = measured(evidence, measuring(references=1))
    strata = {row.label: row.estimate.value for row in found.strata if row.by.startswith("score, area")}
    assert set(strata) == {"mean", "nearest", f"mean{BESIDE}", f"nearest{BESIDE}"}
    assert strata[f"mean{BESIDE}"] > strata["mean"] + 0.1
    assert BESIDE in found.answer
    beside = read_completions(evidence, "members").scores[f"mean{BESIDE}"]
    expected = evidence["members-reference"].columns["mean"] - evidence["members"].columns["mean"]
    np.testing.assert_allclose(beside, expected)
    assert any("trained on the controls" in caveat for caveat in found.caveats)


def test_the_completions_of_least_loss_are_chosen_without_the_truth():
    who = {"id": np.array(["a"]), "cluster": np.array(["a"]), "copies": np.array([1])}
    rows = {"distances": [np.array([0.4, 0.1, 0.3, 0.2])], "losses": [np.array([1.0, 4.0, 2.0, 3.0])]}
    table = RaggedTable(who | rows | {"mean": np.array([0.25]), "nearest": np.array([0.1])})
    scores = read_completions({"members": table}, "members", 2).scores
    assert scores["mean of the 2 of least loss"].tolist() == [pytest.approx(-0.35)]
    assert set(read_completions({"members": table}, "members", 0).scores) == {"mean", "nearest"}
    found = measured(completion_tables(RNG(2), 40, 0.05, losses=True), best=2)
    assert any("least loss" in row.label for row in found.strata)


@pytest.mark.parametrize(("per_cluster", "reference"), [(1, False), (2, False), (1, True)])
def test_false_alarms_on_200_innocent_data_sets(per_cluster, reference):
    runs, alarms = 200, 0
    for seed in range(runs):
        evidence = completion_tables(RNG([11, per_cluster, seed]), 40, 0.0, per_cluster, reference)
        alarms += measured(evidence, measuring(seed=seed), permutations=199).p_value <= 0.05
    assert alarms <= 0.05 * runs + 2.4 * np.sqrt(0.0475 * runs)


def test_power():
    found = [measured(completion_tables(RNG(seed), 60, 0.05), permutations=199) for seed in range(20)]
    assert sum(one.p_value <= 0.01 and one.excess.low > 0 for one in found) >= 18


def test_blind_classifiers_that_tell_the_sides_apart_make_it_invalid():
    evidence = completion_tables(RNG(3), 300, 0.05)
    blind = evidence["blind"].columns
    blind["pixels"] = np.where(blind["scored"], blind["pixels"] + 2.0 * blind["member"], np.nan)
    gate = measured(evidence).gates[0]
    assert (gate.held, gate.on_failure) == (False, "invalid")
    # the words of captions count only where the model reads them
    evidence = completion_tables(RNG(4), 300)
    blind = evidence["blind"].columns
    blind["captions"] = np.where(blind["scored"], blind["captions"] + 2.0 * blind["member"], np.nan)
    assert measured(evidence).gates[0].held
    assert not measured(evidence, captioned()).gates[0].held


def test_a_rate_is_printed_only_where_the_controls_carry_it():
    few, many = (measured(completion_tables(RNG(5), count, 0.05), fpr=0.1) for count in (60, 120))
    assert not any(row.by == "score, true positive rate" for row in few.strata)
    assert any(row.by == "score, true positive rate" for row in many.strata)


def test_what_is_printed_bounds_every_score_where_nothing_is_shown():
    found = measured(completion_tables(RNG(6), 60, -0.05))
    bounds = [row.estimate.bound for row in found.strata if row.by.startswith("score, area")]
    assert found.estimate.bound == max(bounds)


def test_exhibits_are_members_completed_nearer_than_every_control():
    evidence = completion_tables(RNG(7), 30)
    for name in ("mean", "nearest"):
        evidence["members"].columns[name][4] = 0.001
        evidence["members"].columns[name][9] = 0.002
    evidence["members"].columns["picture"][9] = b"png"
    pictured = measured(evidence).exhibits
    assert [one.record for one in pictured][:2] == ["m9", "m4"]
    assert (base64.b64decode(pictured[0].picture), pictured[1].picture) == (b"png", "")
    evidence["members"].columns["picture"][9] = b""
    found = measured(evidence)
    assert [one.record for one in found.exhibits][:2] == ["m4", "m9"]
    name = found.answer.split("scores (")[1].split(")")[0]
    limit, own = (evidence[side].columns[name] for side in ("controls", "members"))
    assert len(found.exhibits) == min(5, int((own < limit.min()).sum()))


def test_a_reference_that_saw_other_records_is_refused():
    evidence = completion_tables(RNG(8), 30, reference=True)
    evidence["members-reference"].columns["id"] = evidence["members-reference"].columns["id"][::-1].copy()
    with pytest.raises(UnsupportedError, match="completed other members"):
        measured(evidence)


def test_needs_follow_what_the_subject_has():
    facts = measuring(references=1).facts

    def having(model=("inpaints",), reference=("inpaints",)):
        made = facts.subject.model.model_copy(update={"capabilities": model})
        other = facts.subject.model.model_copy(update={"capabilities": reference})
        subject = facts.subject.model_copy(update={"model": made, "references": (other,)})
        return type(facts)(subject, None, 0, 0.95, facts.queries)

    needs = TEST.needs(TEST.parameters(best=3), having())
    assert {name for name, need in needs.items() if need.model == "reference-0"} == {
        "members-reference",
        "controls-reference",
    }
    assert needs["members"].parameters["losses"] == 4
    assert needs["members-reference"].parameters["losses"] == 0
    assert set(TEST.needs(TEST.parameters(), having(reference=()))) == {"members", "controls", "blind"}
    with pytest.raises(UnsupportedError, match="cannot complete images"):
        TEST.needs(TEST.parameters(), having(model=()))


def test_equal_evidence_gives_equal_bytes_however_it_is_cut():
    evidence = completion_tables(RNG(9), 40, losses=True)
    one = measured(evidence, best=2).canonical()
    for side in ("members", "controls"):
        evidence[side].cut = 7
    assert measured(evidence, best=2).canonical() == one
