"""Extraction in pairs: numbers by hand, quiet on innocents, no way to be fooled by repeated pictures or persons."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching_tables import blind, copies_table, made_table, real_table
from scipy.stats import binomtest, fisher_exact
from tables import fewest_persons, measuring

from auditor.assess.instrument import CONTROL_ALPHA, fires
from auditor.battery.diffusion.duplication import TEST as DUPLICATION
from auditor.battery.diffusion.extraction import TEST as EXTRACTION
from auditor.errors import IntegrityError, UnsupportedError
from auditor.testing.conformance import measure_on_control
from auditor.testing.control_images import image_subject

RNG = np.random.default_rng


def measured(generations, real, seed=0, quantile=0.01, **kwargs):
    evidence = {"generations": generations, "real": real, "blind": blind(RNG(seed))}
    parameters = EXTRACTION.parameters(count=generations.rows, quantile=quantile)
    return EXTRACTION.measure(parameters, evidence, measuring(**kwargs))


def test_numbers_by_hand():
    """Three images match member 0, one member 1, two a control; one is near to both and nearer to the control, one is too far."""
    made = made_table(
        ([0, 0, 0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 8, 9, 7, 0]),
        [0.05, 0.06, 0.07, 0.08, 0.30, 0.31, 0.09, 0.25],
        [0.30, 0.30, 0.30, 0.30, 0.05, 0.06, 0.08, 0.30],
    )
    found = measured(made, real_table(apart=0.2))
    assert found.estimate.value == pytest.approx(2 / 100)
    assert found.control.value == pytest.approx(3 / 100)
    exact = binomtest(2, 100).proportion_ci(0.95)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((exact.low, exact.high))
    assert found.p_value == pytest.approx(fisher_exact([[2, 98], [3, 97]], "greater").pvalue)
    assert [exhibit.record for exhibit in found.exhibits] == ["m0", "m1"]
    assert found.exhibits[0].note.startswith("1 copies in training; 3 of 8")
    per_image = next(stratum for stratum in found.strata if stratum.by == "image made")
    assert per_image.estimate.value == pytest.approx(4 / 8)
    assert per_image.control.value == pytest.approx(3 / 8)
    budget = next(stratum for stratum in found.strata if stratum.by == "query budget")
    assert budget.estimate.value == pytest.approx(1 - 0.5**100)


def test_a_tie_between_the_sides_is_no_match():
    found = measured(made_table(([0], [0]), [0.05], [0.05]), real_table())
    assert found.estimate.value == found.control.value == 0.0


def test_the_threshold_is_a_quantile_of_real_images_and_no_constant():
    apart = np.linspace(0.1, 0.5, 200)
    images = made_table(([0, 1, 2], [0, 0, 0]), [0.09, 0.1041, 0.12], [0.9, 0.9, 0.9])
    assert measured(images, real_table(apart)).estimate.value == pytest.approx(0.01)
    assert measured(images, real_table(apart + 0.02)).estimate.value == pytest.approx(0.03)
    half = made_table(([0, 1, 2], [0, 0, 0]), np.array([0.09, 0.1041, 0.12]) / 2, [0.9, 0.9, 0.9])
    assert measured(half, real_table(apart / 2)).estimate.value == pytest.approx(0.01)


def test_by_default_about_one_image_matches_by_chance():
    """Of 1,000 real images and 500 made ones: two real images in a thousand may lie within the threshold."""
    apart = np.linspace(0.1, 0.5, 1000)
    images = made_table((np.arange(500), [0] * 500), np.full(500, apart[1] + 1e-9), np.full(500, 0.9))
    found = measured(images, real_table(apart, 500, 500), quantile=None)
    assert found.gates[0].detail.startswith(f"l2 {apart[1]:.4f}, the 0.2 % quantile")
    assert found.estimate.value == 0.0
    few = made_table(([0] * 3, [0] * 3), [0.101] * 3, [0.9] * 3)
    assert "the 1 % quantile" in measured(few, real_table(apart, 500, 500), quantile=None).gates[0].detail


def test_sides_that_share_images_leave_no_threshold():
    apart = np.r_[np.zeros(5), np.full(195, 0.3)]
    found = measured(made_table(([0], [0]), [0.01], [0.9]), real_table(apart))
    assert not found.gates[0].held
    assert "5 of them stand on both sides" in found.gates[0].detail
    assert found.estimate.value == 0.0


def test_one_picture_in_twenty_files_is_one_witness():
    """Twenty members with one picture: they come out together, and are no twenty independent successes."""
    same = [f"m{0 if i < 20 else i}" for i in range(100)] + [f"c{i}" for i in range(100)]
    images = made_table(([0] * 8, [0] * 8), [0.05] * 8, [0.5] * 8)
    found = measured(images, real_table(same=same))
    assert found.estimate.value == pytest.approx(0.2)
    assert found.estimate.n == 81
    assert found.p_value > 0.2


def test_images_of_one_person_are_one_witness():
    clusters = [f"p{i // 20}" for i in range(100)] + [f"q{i // 20}" for i in range(100)]
    images = made_table((list(range(20)), [0] * 20), [0.05] * 20, [0.5] * 20)
    found = measured(images, real_table(clusters=clusters))
    assert found.estimate.n == 5
    assert found.p_value > 0.1
    assert found.excess.low <= 0.0


def test_persons_are_confirmed_beyond_chance_alone():
    def confirmed(persons, controls=(), clustered_by="person", distance=0.05):
        count = persons + len(controls)
        images = made_table(
            (list(range(count)), list(range(count))),
            [distance] * persons + [0.5] * len(controls),
            [0.6] * persons + list(controls),
        )
        return measured(images, real_table(apart=0.2), clustered_by=clustered_by).confirmed

    least = fewest_persons(100, 100)
    assert confirmed(least) == least
    assert confirmed(least - 1) == 0
    assert confirmed(10, clustered_by="record") == 0
    assert confirmed(10, controls=[0.04]) == 0
    assert confirmed(10, controls=[0.06]) == 10
    assert confirmed(10, distance=0.25) == 0


def test_persons_are_confirmed_by_chance_once_in_a_thousand():
    """Images fall near members and controls alike, however near: nobody may be confirmed."""
    rng = RNG(5)
    confirmed = 0
    for _ in range(250):
        member = rng.random(60) < 0.5
        near, far = rng.exponential(0.05, 60), rng.uniform(0.3, 0.6, 60)
        images = made_table(
            (rng.integers(100, size=60), rng.integers(100, size=60)),
            np.where(member, near, far),
            np.where(member, far, near),
        )
        confirmed += measured(images, real_table(), clustered_by="person").confirmed > 0
    assert confirmed <= 2


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_sides_are_treated_alike(seed, count):
    """Members and controls exchanged: rates change places and the excess its sign."""
    rng = RNG(seed)
    nearest = rng.integers(30, size=(2, count))
    to = rng.uniform(0, 0.4, size=(2, count))
    real = real_table(apart=rng.uniform(0.1, 0.4, 60), members=30, controls=30)
    one, other = measured(made_table(nearest, *to), real), measured(made_table(nearest[::-1], *to[::-1]), real)
    assert one.estimate.value == other.control.value
    assert one.control.value == other.estimate.value
    assert one.excess.value == -other.excess.value


def test_innocent_models_are_called_at_most_one_time_in_twenty():
    """A model of the population makes images; members and controls are drawn from the same population, anew each time."""
    rng = RNG(6)
    alarms = 0
    for _ in range(200):
        records, images = rng.normal(size=(80, 6)), rng.normal(size=(150, 6))
        apart = np.sqrt(((records[:, None] - records[None, :]) ** 2).mean(axis=2))
        real = np.r_[apart[:40, 40:].min(axis=1), apart[40:, :40].min(axis=1)]
        to = np.sqrt(((images[:, None] - records[None, :]) ** 2).mean(axis=2))
        made = made_table((to[:, :40].argmin(1), to[:, 40:].argmin(1)), to[:, :40].min(1), to[:, 40:].min(1))
        found = EXTRACTION.measure(
            EXTRACTION.parameters(count=150, quantile=0.05),
            {"generations": made, "real": real_table(real, 40, 40), "blind": blind(rng, 40, 40)},
            measuring(),
        )
        alarms += found.p_value <= 0.05 and found.excess.low > 0.0
    assert alarms <= 0.05 * 200


def test_members_that_come_with_controls_of_another_kind_are_invalid():
    rng = RNG(7)
    told = blind(rng)
    told.columns["pixels"] = told.columns["pixels"] + 3.0 * told.columns["member"]
    evidence = {"generations": made_table(([0], [0]), [0.05], [0.9]), "real": real_table(), "blind": told}
    found = EXTRACTION.measure(EXTRACTION.parameters(count=1), evidence, measuring())
    gate = next(gate for gate in found.gates if gate.name == "blind baseline")
    assert not gate.held
    assert gate.on_failure == "invalid"


def test_evidence_that_does_not_belong_together_is_refused():
    with pytest.raises(IntegrityError, match="not among the records"):
        measured(made_table(([200], [0]), [0.05], [0.9]), real_table())
    with pytest.raises(IntegrityError, match="no record of one side"):
        measured(made_table(([0], [0]), [0.05], [0.9]), real_table(controls=0))


def test_what_it_needs():
    facts = image_subject("innocent", references=1, confidence=0.95, queries=measuring().facts.queries, variant=0).facts
    needs = EXTRACTION.needs(EXTRACTION.parameters(), facts)
    assert {need.observer for need in needs.values()} == {"generations", "image-matches", "image-blind-baseline"}
    asked = DUPLICATION.needs(DUPLICATION.parameters(), facts)
    assert asked["generations"].parameters["conditions"] == "none"
    assert asked["reference-0"].model == "reference-0"
    alone = facts.subject.model_copy(
        update={"model": facts.subject.model.model_copy(update={"capabilities": ("denoises", "generates-images")})}
    )
    plain = type(facts)(alone, None, 0, 0.95, facts.queries)
    from auditor.observers.generations import OBSERVER

    both = [test.needs(test.parameters(), plain)["generations"] for test in (EXTRACTION, DUPLICATION)]
    assert len(OBSERVER.join(both)) == 1  # an unconditional model is asked once for both
    with pytest.raises(UnsupportedError, match="no control records"):
        EXTRACTION.needs(
            EXTRACTION.parameters(), type(facts)(alone.model_copy(update={"controls": None}), None, 0, 0.95, None)
        )
    with pytest.raises(UnsupportedError, match="make images"):
        text = alone.model.model_copy(update={"capabilities": ("scores-tokens",)})
        EXTRACTION.needs(
            EXTRACTION.parameters(), type(facts)(alone.model_copy(update={"model": text}), None, 0, 0.95, None)
        )


def duplication(generations, real, copies):
    evidence = {"generations": generations, "real": real, "copies": copies}
    return DUPLICATION.measure(DUPLICATION.parameters(count=generations.rows), evidence, measuring())


def test_duplication_by_hand():
    """Ten members stood twenty times, by declaration, as equal files or as near ones; all come out, and one that stood once."""
    declared = [20] * 4 + [1] * 196
    exact, near = [1] * 4 + [20] * 3 + [1] * 93, [1] * 7 + [20] * 3 + [1] * 90
    images = made_table((list(range(11)), [0] * 11), [0.05] * 11, [0.9] * 11)
    found = duplication(images, real_table(copies=declared), copies_table(exact, near))
    assert found.estimate.value == 1.0
    assert found.estimate.n == 10
    assert found.control.value == pytest.approx(1 / 90)
    assert found.p_value <= 0.001
    rates = {(s.by, s.label): s.estimate.value for s in found.strata}
    assert rates["copies", "16-31"] == 1.0
    assert rates["declared copies", "16-31"] == 1.0
    assert rates["exact copies", "1"] == pytest.approx(8 / 97)
    slope = next(s for s in found.strata if s.by == "slope").estimate
    assert slope.value == pytest.approx((1000 / 11) * (1 - 1 / 90) / np.log2(20))
    assert slope.low > 0


def test_nothing_repeated_is_nothing_to_compare():
    images = made_table(([0], [0]), [0.05], [0.9])
    found = duplication(images, real_table(), copies_table([1] * 100))
    assert found.excess is None
    assert found.p_value is None
    assert "nothing can be compared" in found.answer
    found = duplication(images, real_table(copies=[2] * 200), copies_table([1] * 100))
    assert found.control is None
    assert found.control_reason


def test_copies_that_do_not_matter_fire_at_the_level():
    rng = RNG(8)
    alarms = 0
    for _ in range(200):
        copies = np.r_[rng.choice([1, 1, 1, 4, 20], 60), np.ones(60, dtype=int)]
        nearest = rng.integers(60, size=(2, 40))
        images = made_table(nearest, rng.choice([0.05, 0.5], 40), np.full(40, 0.4))
        found = duplication(images, real_table(members=60, controls=60, copies=copies), copies_table([1] * 60))
        alarms += found.p_value <= 0.05 and found.excess.low > 0.0
    assert alarms <= 0.05 * 200


def test_models_stand_beside_each_other_with_their_size():
    images = made_table(([0, 1], [0, 0]), [0.05, 0.05], [0.9, 0.9])
    other = made_table(([0, 1], [0, 0]), [0.8, 0.8], [0.9, 0.9])
    evidence = {
        "generations": images,
        "real": real_table(),
        "copies": copies_table([2] * 50 + [1] * 50),
        "reference-0": other,
    }
    found = DUPLICATION.measure(DUPLICATION.parameters(count=2), evidence, measuring(references=1))
    rates = {s.label: s.estimate.value for s in found.strata if s.by == "model"}
    assert rates == {"the audited model": pytest.approx(0.02), "reference 0": 0.0}


@pytest.mark.parametrize("test", ["diffusion/extraction", "diffusion/duplication"])
def test_they_fire_on_other_memorizers_too(test):
    for variant in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            found = measure_on_control(test, "memorizer", Path(folder), variant=variant)
        assert fires(found), found.answer
        assert found.p_value <= CONTROL_ALPHA
