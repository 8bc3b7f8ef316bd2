"""Prompted extraction: thresholds and flags by hand, exact p-values, quiet on the innocent, loud on the guilty."""

from __future__ import annotations

import base64
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_tables import RaggedTable, innocent_prompted, prompted_table
from scipy.stats import fisher_exact
from tables import measuring

from auditor.battery.diffusion.calibration import below, calibrating, reached_share
from auditor.battery.diffusion.prompted import clique_radii, read_prompted
from auditor.battery.diffusion.prompted_extraction import CONFIRMING, TEST
from auditor.core.seeds import generator
from auditor.errors import IntegrityError, UnsupportedError

RNG = np.random.default_rng


def measured(evidence, facts=None, **parameters):
    return TEST.measure(TEST.parameters(**parameters), evidence, facts or measuring())


def memorizing(rng, share=0.3, count=64):
    near = np.where(rng.random(count) < share, 0.02, 0.25)
    return {
        "members": prompted_table(near, np.where(near < 0.1, 0.03, 0.3), rng=rng),
        "controls": prompted_table(np.abs(rng.normal(0.25, 0.02, count)), [0.3] * count, side="c", rng=rng),
    }, int((near < 0.1).sum())


def test_rates_and_p_are_those_of_flags_made_by_hand():
    evidence, held = memorizing(RNG(0))
    found = measured(evidence, measuring(seed=4))
    controls = evidence["controls"].columns
    nearest = controls["own_distance"].reshape(-1, 16).min(axis=1)
    half = calibrating(controls["cluster"][::16], generator(4, TEST.name, "calibration"))
    threshold = np.sort(nearest[half])[0]
    others = int((nearest[~half] < threshold).sum())
    assert half.sum() == 32
    assert found.estimate.value == held / 64
    assert found.control.value == others / 32
    table = [[held, 64 - held], [others, 32 - others]]
    assert found.p_value == pytest.approx(fisher_exact(table, alternative="greater").pvalue)
    assert (found.members, found.controls) == (64, 32)
    assert found.excess.low > 0.0
    assert len(found.exhibits) == 5
    assert {base64.b64decode(one.picture) for one in found.exhibits} == {b"png"}


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=30), st.floats(0.001, 0.5))
def test_the_threshold_lets_no_more_through_than_was_asked_where_it_can(values, share):
    threshold = below(np.array(values, dtype=float), share)
    k = max(1, int(np.floor(share * (len(values) + 1) * (1 + 1e-12))))
    assert sum(value < threshold for value in values) <= k - 1
    assert threshold in values
    assert reached_share(len(values), share) <= max(share, 1 / (len(values) + 1)) + 1e-12


def test_a_new_control_is_let_through_as_often_as_said():
    """Exhaustively: each of eleven different values is the new one in turn."""
    values = np.arange(11.0)
    for share in (0.01, 0.1, 0.25, 0.5):
        through = [new < below(np.delete(values, int(new)), share) for new in values]
        assert np.mean(through) == pytest.approx(reached_share(10, share))


def test_half_of_the_clusters_calibrate_and_none_is_divided():
    clusters = np.array([f"c{i // 3}" for i in range(33)], dtype=object)
    for seed in range(20):
        half = calibrating(clusters, RNG(seed))
        assert len({str(name) for name in clusters[half]}) == 6
        assert not {str(name) for name in clusters[half]} & {str(name) for name in clusters[~half]}


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.integers(2, 6), st.booleans())
def test_radii_are_cliques_by_brute_force(seed, least, tied):
    rng = RNG(seed)
    spread = [rng.integers(5, size=15) / 4 if tied else rng.random(15) for _ in range(6)]
    found = read_prompted(prompted_table(np.full(6, 0.2), spread, 6, cut=7), 6)
    rows, columns = np.tril_indices(6, -1)
    for caption, radius in enumerate(clique_radii(found, least)):
        of = {frozenset(pair): d for pair, d in zip(zip(rows, columns, strict=True), spread[caption], strict=True)}
        groups = itertools.combinations(range(6), least)
        assert radius == min(max(of[frozenset(pair)] for pair in itertools.combinations(group, 2)) for group in groups)


def test_a_model_that_brings_one_image_back_whatever_it_is_asked_hides_no_clique():
    """Some pairs of every control caption agree: a threshold on pairs would be near zero and flag nobody."""
    rng = RNG(1)
    members, controls = ([], [])
    for side, agreeing in ((members, 14), (controls, 5)):
        for _ in range(40):
            matrix = np.abs(rng.normal(0.3, 0.02, (16, 16)))
            matrix[:agreeing, :agreeing] = np.abs(rng.normal(0.02, 0.005, (agreeing, agreeing)))
            side.append(matrix[np.tril_indices(16, -1)])
    found = measured(
        {
            "members": prompted_table(np.full(40, 0.2), members),
            "controls": prompted_table(np.full(40, 0.2), controls, side="c"),
        }
    )
    assert (found.strata[0].estimate.value, found.strata[0].control.value) == (1.0, pytest.approx(0.0, abs=0.1))


def test_the_clique_is_scaled_to_the_number_of_images():
    spread = np.full(28, 0.6)  # of 8 images, 5 lie near each other: 10 of 16 asks for 5
    rows, columns = np.tril_indices(8, -1)
    spread[(rows < 5) & (columns < 5)] = 0.01
    members = prompted_table(np.full(20, 0.3), [spread] * 20, 8)
    controls = prompted_table(np.full(20, 0.3), [0.4] * 20, 8, side="c")
    flagged = {
        clique: measured({"members": members, "controls": controls}, generations=8, clique=clique)
        .strata[0]
        .estimate.value
        for clique in (10, 12)
    }
    assert flagged == {10: 1.0, 12: 0.0}


@pytest.mark.parametrize("per_cluster", [1, 2])
def test_false_alarms_on_400_innocent_data_sets(per_cluster):
    """Two images of a caption are enough: the p-value asks for the nearest to the caption's own."""
    runs = alarms = 400
    for seed in range(runs):
        evidence = innocent_prompted(RNG([per_cluster, seed]), 40, per_cluster, 2)
        alarms -= measured(evidence, generations=2).p_value > 0.05
    assert alarms <= 0.05 * runs


def test_false_alarms_of_cliques_on_innocent_data_sets():
    """The control half that did not calibrate is flagged about as often as members, and rarely."""
    members, controls = [], []
    for seed in range(30):
        strata = measured(innocent_prompted(RNG([3, seed]), 40, 1, 6), generations=6).strata
        members.append(strata[0].estimate.value)
        controls.append(strata[0].control.value)
    # the least of 20 calibrating controls lets 1 in 21 through
    assert np.mean(members) == pytest.approx(1 / 21, abs=0.02)
    assert np.mean(controls) == pytest.approx(1 / 21, abs=0.025)


def test_power_on_three_captions_in_ten():
    found = [measured(memorizing(RNG(seed), 0.3)[0]) for seed in range(20)]
    assert sum(one.p_value <= 0.01 and one.excess.low > 0 for one in found) >= 18


def test_persons_are_confirmed_only_where_the_whole_test_is_beyond_doubt():
    strong, held = memorizing(RNG(0), 0.6)
    person = measuring(clustered_by="person")
    found = measured(strong, person)
    assert found.p_value <= CONFIRMING
    assert found.confirmed == held
    assert measured(strong).confirmed == 0
    loose = dict(strong)
    columns = dict(strong["members"].columns)
    columns["distances"] = [np.full(len(row), 0.4) for row in columns["distances"]]
    loose["members"] = RaggedTable(columns, cut=48)
    assert measured(loose, person).confirmed == 0
    assert sum(measured(innocent_prompted(RNG(s), 40, 1, 6), person, generations=6).confirmed for s in range(20)) == 0


def test_few_calibrating_controls_break_the_gate_and_too_few_are_refused():
    few = {
        "members": prompted_table(np.full(30, 0.2), [0.3] * 30),
        "controls": prompted_table(np.full(30, 0.2), [0.3] * 30, side="c"),
    }
    gate = measured(few).gates[0]
    assert (gate.held, gate.on_failure) == (False, "inconclusive")
    few["controls"] = prompted_table(np.full(7, 0.2), [0.3] * 7, side="c")
    with pytest.raises(UnsupportedError, match="7 independent controls"):
        measured(few)


def test_rows_that_are_no_whole_captions_are_refused():
    evidence, _ = memorizing(RNG(0))
    with pytest.raises(IntegrityError, match="not whole captions of 15 images"):
        measured(evidence, generations=15)


def test_subjects_it_cannot_audit_are_refused_with_the_reason():
    facts = measuring().facts

    def having(capabilities, **members):
        model = facts.subject.model.model_copy(update={"capabilities": capabilities})
        sides = {side: getattr(facts.subject, side).model_copy(update=members) for side in ("members", "controls")}
        subject = facts.subject.model_copy(update={"model": model, **sides})
        return type(facts)(subject, None, 0, 0.95, facts.queries)

    whole = ("denoises", "generates-images", "conditions-on-text", "guides")
    assert set(TEST.needs(TEST.parameters(), having(whole, has_captions=True))) == {"members", "controls"}
    for capabilities, captions, message in (
        (("generates-images", "conditions-on-class"), True, "a class stands for members and controls alike"),
        (("generates-images",), True, "not conditioned on captions"),
        (("conditions-on-text",), True, "cannot generate"),
        (whole, False, "no captions"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            TEST.needs(TEST.parameters(), having(capabilities, has_captions=captions))


def test_equal_evidence_gives_equal_bytes_however_it_is_cut():
    evidence, _ = memorizing(RNG(0))
    one = measured(evidence).canonical()
    for table in evidence.values():
        table.cut = 5
    assert measured(evidence).canonical() == one
