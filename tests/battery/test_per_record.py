"""What tests say of single records adds up to what they measure, and carries no record twice."""

from __future__ import annotations

import numpy as np
import pytest
from denoising_tables import denoising_tables, image_measuring
from matching_tables import blind, made_table, real_table
from tables import canary_table, continuations, measuring, score_tables, suffix_table
from test_near_verbatim import continued

from auditor.battery.diffusion.extraction import TEST as MADE
from auditor.battery.diffusion.membership import TEST as IMAGES
from auditor.battery.language.discoverable_extraction import TEST as GREEDY
from auditor.battery.language.duplication import TEST as REPEATED
from auditor.battery.language.exposure import TEST as EXPOSURE
from auditor.battery.language.membership import TEST as TEXTS
from auditor.battery.language.near_verbatim import TEST as NEAR
from auditor.battery.language.probabilistic_extraction import TEST as SAMPLED
from auditor.contract.paired import ComparesRecords
from auditor.statistics.roc import auc

RNG = np.random.default_rng


def rates():
    said, other = [1] * 12 + [0] * 28, [1] * 2 + [0] * 30
    greedy = {"members": suffix_table(said), "controls": suffix_table(other, side="c")}
    yield GREEDY, {}, greedy | {"continuations": continuations(greedy["members"])}, measuring()
    likely = {
        "members": suffix_table(said, log_p=np.linspace(-9, 0, 40)),
        "controls": suffix_table(other, log_p=[-20.0] * 32, side="c"),
    }
    yield SAMPLED, {}, likely, measuring()
    yield NEAR, {}, {"members": continued([0, 3, 9, 40]), "controls": continued([40, 2], side="c")}, measuring()
    made = made_table(([0, 0, 1, 2], [0, 8, 8, 9]), [0.05, 0.06, 0.07, 0.3], [0.3, 0.3, 0.05, 0.04])
    yield (
        MADE,
        {"count": 4, "quantile": 0.01},
        {"generations": made, "real": real_table(apart=0.2), "blind": blind(RNG(0))},
        measuring(),
    )


@pytest.mark.parametrize("case", list(rates()), ids=lambda case: case[0].name)
def test_the_mean_of_the_records_is_the_rate(case):
    test, given, evidence, facts = case
    parameters = test.parameters(**given)
    found, measured = test.per_record(parameters, evidence, facts)[0], test.measure(parameters, evidence, facts)
    assert isinstance(test, ComparesRecords)
    assert found.kind == "rate"
    assert found.members.values.mean() == pytest.approx(measured.estimate.value)
    assert found.controls.values.mean() == pytest.approx(measured.control.value)
    for side in (found.members, found.controls):
        assert len(set(side.ids.tolist())) == len(side.ids) == len(side.values) == len(side.clusters)


def test_repeated_members_alone_enter_duplication():
    members = suffix_table([1, 1, 0, 1, 0, 0], copies=[1, 4, 4, 2, 1, 1])
    evidence = {"members": members, "controls": suffix_table([0] * 6, side="c")}
    parameters = REPEATED.parameters(permutations=99, prefixes=())
    (found,) = REPEATED.per_record(parameters, evidence, measuring())
    assert found.members.ids.tolist() == ["m1", "m2", "m3"]
    assert found.members.values.mean() == REPEATED.measure(parameters, evidence, measuring()).estimate.value


def test_likeness_stands_beside_nearness():
    evidence = {"members": continued([0, 25]), "controls": continued([50, 50], side="c")}
    near, alike = NEAR.per_record(NEAR.parameters(), evidence, measuring())
    assert near.members.values.tolist() == [1.0, 0.0]
    assert alike.members.values.tolist() == [1.0, 0.5]
    assert alike.controls.values.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("references", [0, 1])
def test_scores_have_the_areas_that_membership_reports(references):
    facts = measuring(references=references)
    evidence = score_tables(RNG(1), 60, 50, shift=0.5, references=references)
    measured = TEXTS.measure(TEXTS.parameters(permutations=99), evidence, facts)
    by = {row.label.split(" ")[0]: row.estimate.value for row in measured.strata if "area" in row.by or "AUC" in row.by}
    found = TEXTS.per_record(TEXTS.parameters(), evidence, facts)
    assert [one.statistic for one in found] == ["area-reference", "area-loss"][1 - references :]
    for one in found:
        area = auc(one.members.values, one.controls.values)
        assert 0.5 < area <= 1.0
        if one.statistic.removeprefix("area-") in by:
            assert area == pytest.approx(by[one.statistic.removeprefix("area-")])


def test_images_have_scores_too():
    evidence = denoising_tables(RNG(2), 40, 40, shift=1.0)
    (found,) = IMAGES.per_record(IMAGES.parameters(), evidence, image_measuring())
    assert found.statistic == "area-loss"
    assert auc(found.members.values, found.controls.values) > 0.6


def test_every_canary_has_its_bits():
    table, canaries = canary_table(RNG(3), gain=3.0)
    (found,) = EXPOSURE.per_record(EXPOSURE.parameters(), {"canaries": table}, measuring(canaries=canaries))
    measured = EXPOSURE.measure(EXPOSURE.parameters(permutations=99), {"canaries": table}, measuring(canaries=canaries))
    assert np.median(found.members.values) == pytest.approx(measured.estimate.value)
    assert np.median(found.controls.values) == pytest.approx(measured.control.value)
    assert set(found.members.ids) | set(found.controls.ids) == {canary.id for canary in canaries.canaries}
    few = EXPOSURE.per_record(
        EXPOSURE.parameters(repetitions_at_most=1), {"canaries": table}, measuring(canaries=canaries)
    )
    assert len(few[0].members.ids) < len(found.members.ids)


def test_without_controls_there_are_none():
    table = suffix_table([1, 0, 1])
    (found,) = GREEDY.per_record(
        GREEDY.parameters(), {"members": table, "continuations": continuations(table)}, measuring(controls=False)
    )
    assert found.controls is None
