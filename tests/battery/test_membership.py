"""Membership: the scores, the family of scores, the gates, and false alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tables import MemoryTable, measuring, score_tables, text_columns

from auditor.battery.language.membership import TEST
from auditor.battery.language.membership_scores import (
    calibrated,
    conditional,
    curvature,
    divergence,
    features,
    lowest_mean,
    mean_logprob,
    profile,
    read_scores,
    standardized,
)
from auditor.errors import UnsupportedError

RNG = np.random.default_rng


def measure(evidence, facts=None, **parameters):
    return TEST.measure(TEST.parameters(permutations=199, **parameters), evidence, facts or measuring())


def test_worked_values_of_loss_and_min_k():
    values = np.array([-0.1, -2, -0.5, -6, -1, -3, -0.2, -0.05, -4, -0.3], dtype=np.float32)
    assert mean_logprob(values) == pytest.approx(-1.715, abs=1e-6)
    assert lowest_mean(values.astype(float), 0.2) == pytest.approx(-5.0)
    assert lowest_mean(np.array([-1.0, -2.0]), 0.2) == -2.0  # one token at least


def test_worked_values_of_min_k_plus_plus():
    logits = np.array([2.0, 1.0, 0.0])
    logp = logits - np.log(np.exp(logits).sum())
    mean = (np.exp(logp) * logp).sum()
    deviation = np.sqrt((np.exp(logp) * (logp - mean) ** 2).sum())
    assert (mean, deviation) == pytest.approx((-0.83240, 0.65146), abs=1e-5)
    found = standardized(logp.astype(np.float32), np.full(3, mean, np.float32), np.full(3, deviation, np.float32))
    assert found == pytest.approx([0.65205, -0.88295, -2.41796], abs=1e-4)
    assert len(standardized(np.zeros(2, np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32))) == 0


def test_worked_values_of_dc_pdd():
    p, f = np.array([0.001, 0.0005, 0.9]), np.array([1e-2, 1e-4, 1e-6])
    logprob, log_frequency = np.log(p).astype(np.float32), np.log(f).astype(np.float32)
    assert divergence(logprob, log_frequency, np.full(3, True)) == pytest.approx(0.0064034, abs=1e-6)
    # A token that stood before counts once, and the third is capped.
    assert divergence(logprob, log_frequency, np.array([True, False, True])) == pytest.approx(
        (0.004605 + 0.01) / 2, abs=1e-6
    )
    assert divergence(logprob, log_frequency, np.full(3, False)) == 0.0


def test_frequencies_are_matched_by_token_where_the_first_is_not_scored():
    evidence = {"members": MemoryTable(
        text_columns(1)
        | {"begin": np.array([1]), "logprob": [np.log([0.001, 0.0005])], "mean": [np.zeros(2)], "deviation": [np.ones(2)]}
        | {"previous": [np.zeros(2, np.int32)]}
    )}  # fmt: skip
    evidence["members-lowercase"] = evidence["members"]
    evidence["frequencies"] = MemoryTable(
        {"id": np.array(["m0"]), "member": np.array([True]), "log_frequency": [np.log([0.5, 1e-2, 1e-4, 0.5])]}
    )
    assert read_scores(evidence, "members", 0.2).scores["dc_pdd"][0] == pytest.approx(0.004605, abs=1e-6)


def test_recall_compares_the_same_tokens():
    after, without = np.array([-2.0, -4.0], np.float32), np.array([-1.0, -3.0, -50.0], np.float32)
    assert conditional(after, without) == 3.0 / 2.0
    assert conditional(after, np.zeros(2, np.float32)) == 1.0


def test_controls_of_the_context_get_no_score_at_all():
    evidence = score_tables(RNG(0), 30, 30, context=True)
    columns = evidence["context"].columns
    evidence["context"] = MemoryTable({name: values[:55] for name, values in columns.items()})
    assert len(read_scores(evidence, "members", 0.2).ids) == 30
    assert read_scores(evidence, "controls", 0.2).ids.tolist() == [f"c{number}" for number in range(25)]


def test_the_neighbourhood_is_the_loss_of_the_neighbours_less_the_own():
    # Losses of 2.5, 3 and 3.5 nat about a record of 2: the mean lies one nat above.
    assert curvature(-2.0, np.array([-2.5, -3.0, -3.5], np.float32)) == 1.0
    assert curvature(-2.0, np.array([-2.0], np.float32)) == 0.0
    evidence = score_tables(RNG(0), 20, 20, neighbours=3)
    columns = evidence["neighbours"].columns
    found = read_scores(evidence, "controls", 0.2).scores["neighbourhood"]
    expected = [columns["own"][20 + i] - columns["neighbour"][20 + i].mean() for i in range(20)]
    assert found == pytest.approx(expected, abs=1e-6)
    columns["neighbour"] = [row if i != 21 else row[:0] for i, row in enumerate(columns["neighbour"])]
    assert "c1" not in read_scores(evidence, "controls", 0.2).ids.tolist()


def test_the_neighbourhood_sees_members_that_loss_alone_does_not():
    evidence = score_tables(RNG(4), 150, 150, neighbours=25, tokens=12, shift=0.3)
    strata = measure(evidence, fpr=0.1).strata
    areas = {row.label: row.estimate.value for row in strata if row.by.startswith("score, area")}
    assert areas["neighbourhood"] > 0.9
    assert areas["loss"] < 0.75


def referenced(own, others):
    """One side whose mean log-probabilities under the model and its references are given."""
    base, flat = text_columns(len(own)), {"mean": [np.zeros(1)] * len(own), "deviation": [np.ones(1)] * len(own)}
    found = {"members": MemoryTable(base | flat | {"logprob": [np.array([value]) for value in own]})}
    found["members-lowercase"] = found["members"]
    for number, row in enumerate(others):
        found[f"members-reference-{number}"] = MemoryTable(base | {"logprob": [np.array([value]) for value in row]})
    return read_scores(found, "members", 0.2)


def test_worked_values_of_rmia():
    """p = (.8, .3), p_out = (.4, .3), a = .3: ratios 1.3115 and .5505, so each dominates the population that lies below."""
    side = referenced(np.log([0.8, 0.3]), [np.log([0.4, 0.3])])
    population = referenced(np.log([0.8 * 1.31 / 1.3115, 0.31, 0.3 * 0.55 / 0.5505]), [np.log([0.4, 0.3, 0.3])])
    found = calibrated(side, population, 0.3)[0].scores["rmia"]
    assert np.floor(found * 3 + 1e-9).tolist() == [3, 1]


def test_rmia_ranks_like_its_ratio_whatever_the_population():
    evidence = score_tables(RNG(0), 40, 40, shift=0.3, references=1)
    members, controls = (read_scores(evidence, side, 0.2) for side in ("members", "controls"))
    for population in (controls, controls.only(np.arange(40) < 5)):
        found = calibrated(members, population, 0.3)[0].scores["rmia"]
        p, out = np.exp(members.scores["loss"]), np.exp(members.scores["reference-0"])
        ratio = p / (0.65 * out + 0.35)
        assert (np.argsort(found, kind="stable") == np.argsort(ratio, kind="stable")).all()


def test_lira_is_the_deviation_of_the_logit_from_that_of_the_references():
    own, others = np.log([0.5, 0.2]), np.log([[0.4, 0.2], [0.3, 0.25]])
    side = referenced(own, others)
    logit = lambda logp: logp - np.log1p(-np.exp(logp))  # noqa: E731
    twice = np.hstack([others, others])
    spread = np.sqrt(((logit(twice) - logit(twice).mean(axis=0)) ** 2).sum() / 4)
    found = calibrated(side, side, 0.3)[0].scores["lira"]
    assert found == pytest.approx((logit(own) - logit(others).mean(axis=0)) / spread, rel=1e-5)
    assert "lira" not in calibrated(referenced(own, others[:1]), side, 0.3)[0].scores


def test_the_profile_is_the_mean_of_the_ends():
    values = np.array([-0.1, -2, -0.5, -6, -1, -3, -0.2, -0.05, -4, -0.3], dtype=np.float32)
    found = profile(values)
    assert found["least-0.2"] == pytest.approx(-5.0)
    assert found["most-0.3"] == pytest.approx(-0.35 / 3, abs=1e-6)
    assert found["least-0.05"] == -6.0


def test_what_dataset_inference_learns_from_does_not_know_the_labels():
    evidence = score_tables(RNG(0), 30, 30, shift=1.0, references=2, frequencies=True)
    sides = calibrated(*(read_scores(evidence, side, 0.2) for side in ("members", "controls")), 0.3)
    found, swapped = features(*sides), features(sides[1], sides[0])
    assert np.array_equal(found, np.vstack([swapped[30:], swapped[:30]]))
    assert np.isfinite(found).all()


def whole_p(found):
    row = next(row for row in found.strata if row.by.startswith("whole set"))
    return float(row.note.split("p = ")[1].split(" ")[0])


def test_many_weak_hints_show_in_the_set_before_they_show_in_a_record():
    ps = [whole_p(measure(score_tables(RNG(seed), 200, 200, shift=0.15), measuring(seed=seed))) for seed in range(20)]
    assert sum(p <= 0.05 for p in ps) >= 18


def test_scores_that_cost_passes_are_asked_for_only_by_parameter():
    plain = TEST.needs(TEST.parameters(), measuring(references=3).facts)
    assert {"members-reference-0", "controls-reference-0"} <= set(plain)
    assert not {"members-reference-1", "frequencies", "context", "neighbours"} & set(plain)
    asked = TEST.needs(TEST.parameters(references=9, dc_pdd=True, recall=7), measuring(references=3).facts)
    assert "controls-reference-2" in asked
    assert "controls-reference-3" not in asked
    assert asked["context"].parameters == {"records": 5000, "max_tokens": 256, "shots": 7}
    assert (asked["frequencies"].observer, asked["frequencies"].dataset) == ("token-frequencies", "members+controls")


def test_the_scores_are_those_of_the_literature():
    base = text_columns(1)
    evidence = {
        "members": MemoryTable(
            base | {"logprob": [np.array([-1.0, -3.0])], "mean": [np.zeros(2)], "deviation": [np.ones(2)]}
        ),
        "members-lowercase": MemoryTable(base | {"logprob": [np.array([-4.0, -4.0])]}),
        "members-reference-0": MemoryTable(base | {"logprob": [np.array([-5.0, -5.0])]}),
    }
    evidence |= {name.replace("members", "controls"): table for name, table in evidence.items()}
    sides = (read_scores(evidence, side, 0.5) for side in ("members", "controls"))
    scores = calibrated(*sides, 0.3)[0].scores
    assert scores["loss"][0] == -2.0
    assert scores["zlib"][0] == -2.0 / 80
    assert scores["lowercase"][0] == -2.0 / 4.0  # -L(x) / L(lower x)
    assert scores["reference"][0] == 3.0  # L_ref - L
    assert scores["min_k"][0] == -3.0


def test_a_member_that_is_likelier_scores_higher_on_every_score():
    evidence = score_tables(RNG(0), 60, 60, shift=2.0)
    members, controls = (read_scores(evidence, side, 0.2) for side in ("members", "controls"))
    for name in members.scores:
        assert members.scores[name].mean() > controls.scores[name].mean(), name


def test_records_of_different_passes_are_matched_by_id():
    evidence = score_tables(RNG(0), 30, 30, shift=1.0)
    table = evidence["members-lowercase"]
    order = RNG(1).permutation(30)
    shuffled = {
        name: [values[i] for i in order] if isinstance(values, list) else values[order]
        for name, values in table.columns.items()
    }
    again = evidence | {"members-lowercase": MemoryTable(shuffled)}
    one, two = (read_scores(found, "members", 0.2) for found in (evidence, again))
    assert one.scores["lowercase"].tolist() == two.scores["lowercase"].tolist()


def test_members_and_controls_of_one_id_are_not_taken_for_each_other():
    """Ids are unique in their own file; records without ids are numbered from 0 in each."""
    evidence = score_tables(RNG(0), 30, 30, shift=1.0, frequencies=True, context=True, neighbours=3)
    wanted = {side: read_scores(evidence, side, 0.2).scores for side in ("members", "controls")}
    numbered = {}
    for name, table in evidence.items():
        ids = np.array([str(one)[1:] for one in table.columns["id"]], dtype=object)
        numbered[name] = MemoryTable({**table.columns, "id": ids})
    for side, scores in wanted.items():
        found = read_scores(numbered, side, 0.2).scores
        for name in ("dc_pdd", "recall", "neighbourhood"):
            assert found[name].tolist() == scores[name].tolist(), (side, name)


def test_a_rate_that_the_controls_cannot_carry_is_refused():
    found = measure(score_tables(RNG(0), 100, 100, shift=2.0))
    assert found.statistic == "excess_auc"
    assert not [row for row in found.strata if "true positive rate" in row.by]
    assert any("cannot carry" in caveat for caveat in found.caveats)
    carried = measure(score_tables(RNG(0), 100, 100, shift=2.0), fpr=0.1)
    assert carried.statistic == "excess_tpr"
    assert carried.control.value <= 0.1


def test_members_that_differ_without_the_model_make_it_invalid():
    evidence = score_tables(RNG(0), 150, 150, shift=2.0)
    blind = evidence["blind"].columns
    blind["bag_of_words"] = blind["member"] + RNG(1).normal(0, 0.5, 300)
    gate = next(gate for gate in measure(evidence).gates if gate.name == "blind baseline")
    assert (gate.held, gate.on_failure) == (False, "invalid")


def test_too_few_records_to_show_the_sets_alike_are_inconclusive():
    gates = {gate.name: gate for gate in measure(score_tables(RNG(0), 30, 30)).gates}
    assert gates["blind baseline"].held
    assert not gates["members and controls are alike"].held
    gates = {gate.name: gate for gate in measure(score_tables(RNG(0), 2500, 2500, tokens=4)).gates}
    assert gates["members and controls are alike"].held


def test_the_blind_classifiers_get_as_many_records_to_learn_from_as_are_scored():
    for records, drawn in ((300, 600), (None, None)):
        needs = TEST.needs(TEST.parameters(records=records), measuring().facts)
        assert needs["blind"].parameters == {"records": drawn}
        assert needs["blind"].model is None


def test_tied_scores_are_counted_by_halves():
    """A first-of-ties rule in another tool turned an area of 0.601 into 0.171."""
    base = {side: text_columns(200, side=side) for side in "mc"}
    values = {"m": np.array([1.0] * 120 + [0.0] * 80), "c": np.array([1.0] * 80 + [0.0] * 120)}
    evidence = {}
    for side, name in (("m", "members"), ("c", "controls")):
        rows = [np.full(4, -2.0 + value) for value in values[side]]
        evidence[name] = MemoryTable(
            base[side] | {"logprob": rows, "mean": [np.zeros(4)] * 200, "deviation": [np.ones(4)] * 200}
        )
        evidence[f"{name}-lowercase"] = MemoryTable(base[side] | {"logprob": [np.full(4, -3.0)] * 200})
    evidence["blind"] = score_tables(RNG(0), 200, 200)["blind"]
    rows = {row.label: row.estimate.value for row in measure(evidence).strata if "area" in row.by}
    assert rows["loss"] == pytest.approx(0.6)


def test_controls_chosen_afterwards_are_a_caveat():
    found = measure(score_tables(RNG(0), 50, 50), measuring(drawn="afterwards"))
    assert any("at random" in caveat for caveat in found.caveats)


def test_no_controls_is_a_reason_not_to_run():
    with pytest.raises(UnsupportedError, match="no control records"):
        TEST.needs(TEST.parameters(), measuring(controls=False).facts)


def test_neighbours_need_a_model_that_proposes_tokens():
    facts = measuring().facts
    with pytest.raises(UnsupportedError, match="neighbours"):
        TEST.needs(TEST.parameters(neighbours=25), facts)
    model = facts.subject.model.model_copy(update={"capabilities": ("proposes-tokens",)})
    able = replace(facts, subject=facts.subject.model_copy(update={"model": model}))
    asked = TEST.needs(TEST.parameters(neighbours=25), able)["neighbours"]
    assert (asked.observer, asked.dataset) == ("neighbour-scores", "members+controls")
    assert asked.parameters == {"records": 5000, "max_tokens": 256, "neighbours": 25}


def test_a_model_behind_a_server_is_asked_without_moments():
    """No server gives the whole distribution: all scores but Min-K%++ stay what they are, and the access is that of scores."""
    facts = measuring().facts
    some = facts.subject.model.model_copy(update={"capabilities": ("scores-given-tokens",)})
    plain = TEST.needs(TEST.parameters(), replace(facts, subject=facts.subject.model_copy(update={"model": some})))
    assert all("moments" not in need.parameters for need in plain.values())
    whole = score_tables(RNG(0), 60, 60, shift=1.0)
    bare = {
        name: MemoryTable({key: column for key, column in table.columns.items() if key not in {"mean", "deviation"}})
        for name, table in whole.items()
    }
    one, other = (read_scores(found, "members", 0.2).scores for found in (whole, bare))
    assert set(one) - set(other) == {"min_k_plus_plus"}
    assert all(other[name].tolist() == one[name].tolist() for name in other)
    found, full = measure(bare, fpr=0.05), measure(whole, fpr=0.05)
    assert (found.access, full.access) == ("scores", "distribution")
    assert "Min-K%++" in found.caveats[-1]
    assert not any("Min-K%++" in caveat for caveat in full.caveats)
    assert found.p_value <= 0.05


def test_the_reference_score_needs_a_reference():
    assert "members-reference-0" not in TEST.needs(TEST.parameters(), measuring().facts)
    assert TEST.needs(TEST.parameters(), measuring(references=1).facts)["members-reference-0"].model == "reference-0"


def test_equal_evidence_gives_equal_bytes():
    assert measure(score_tables(RNG(3), 60, 60)).canonical() == measure(score_tables(RNG(3), 60, 60)).canonical()


def fires(found):
    return found.p_value <= 0.05 and found.excess.low > 0.0


@pytest.mark.parametrize("clusters", [None, 5])
def test_it_stays_quiet_on_the_innocent(clusters):
    extra = {"references": 2, "frequencies": True, "context": True, "neighbours": 5} if clusters else {}
    found = [
        measure(score_tables(RNG([seed, 7]), 100, 100, clusters=clusters, **extra), measuring(seed=seed), fpr=0.1)
        for seed in range(200)
    ]
    assert sum(map(fires, found)) <= 10
    # The p-value of the whole set is exact: 5 in 100, so 10 of 200 and chance (probability 0.001 of more than 20).
    assert sum(whole_p(one) <= 0.05 for one in found) <= 20


def test_it_fires_on_the_guilty():
    found = sum(
        fires(measure(score_tables(RNG(seed), 100, 100, shift=0.3), measuring(seed=seed), fpr=0.1))
        for seed in range(40)
    )
    assert found >= 38
