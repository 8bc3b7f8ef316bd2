"""What the test of near-verbatim continuations makes of its evidence: by hand, over innocent audits, and with power."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact
from tables import MemoryTable, fewest_persons, measuring

from auditor.assess.instrument import fires
from auditor.battery.language.near_verbatim import TEST
from auditor.errors import UnsupportedError


def continued(distance, *, clusters=None, eligible=None, distinct=30, chance=45, copies=None, side="m"):
    """Records by how many edits their continuation is from the suffix of 50 tokens."""
    distance = np.asarray(distance)
    count = len(distance)
    ids = np.array([f"{side}{number}" for number in range(count)], dtype=object)
    return MemoryTable(
        {
            "id": ids,
            "cluster": ids if clusters is None else np.array(clusters, dtype=object),
            "copies": np.ones(count, dtype=int) if copies is None else np.asarray(copies),
            "source": np.array([""] * count, dtype=object),
            "excerpt": np.array(["T\u2588 (50 tokens)"] * count, dtype=object),
            "eligible": np.ones(count, dtype=bool) if eligible is None else np.asarray(eligible),
            "distance": distance,
            "chance": np.full(count, chance),
            "bleu": np.clip(1.0 - distance / 20, 0.0, 1.0),
            "rouge": 1.0 - distance / 50,
            "run": 50 - distance,
            "distinct": np.broadcast_to(distinct, count),
        }
    )


def measured(members, controls=None, parameters=None, **facts):
    evidence = {"members": members} | ({} if controls is None else {"controls": controls})
    return TEST.measure(TEST.parameters(**(parameters or {})), evidence, measuring(**facts))


def test_at_most_a_tenth_of_the_suffix_in_edits():
    found = measured(continued([0, 5, 6, 50]), continued([6, 50, 50, 50], side="c"))
    assert found.estimate.value == 0.5
    assert found.control.value == 0.0
    assert "(1 of them word for word)" in found.answer
    assert measured(continued([0, 1, 2]), parameters={"edits": 0.02}).estimate.value == pytest.approx(2 / 3)
    assert measured(continued([29, 30, 31]), parameters={"edits": 0.58}).estimate.value == pytest.approx(1 / 3)


def test_the_p_value_is_fishers():
    found = measured(continued([0] * 12 + [40] * 88), continued([0] * 2 + [40] * 98, side="c"))
    assert found.p_value == pytest.approx(fisher_exact([[12, 88], [2, 98]], alternative="greater")[1])
    assert found.excess.value == pytest.approx(0.1)


def test_other_ways_to_be_near_stand_beside_it():
    found = measured(continued([0, 4, 10, 19, 25]), continued([50] * 5, side="c"))
    by = {part.label: part.estimate.value for part in found.strata if part.by == "nearness"}
    assert by == {
        "word for word": 0.2,
        "BLEU-4 of 0.75 or more": 0.4,
        "ROUGE-L of 0.8 or more": 0.6,
        "30 tokens or more in a row in common": 0.8,
    }
    (chance,) = [part for part in found.strata if part.by == "chance"]
    assert chance.estimate.value == 0.0


def test_who_cannot_be_held_against_another_is_left_out_of_chance():
    found = measured(continued([0, 0], chance=-1), continued([50, 50], side="c"))
    assert not [part for part in found.strata if part.by == "chance"]
    assert len(found.figures[0].series) == 2


def test_persons_are_confirmed_only_beyond_doubt():
    person, least = {"clustered_by": "person"}, fewest_persons(30, 30)

    def members(near, **kwargs):
        """Two records each."""
        return continued(
            [0, 3] * near + [40, 40] * (30 - near), clusters=[f"p{row // 2}" for row in range(60)], **kwargs
        )

    quiet = continued([40] * 60, clusters=[f"q{row // 2}" for row in range(60)], side="c")
    assert measured(members(least), quiet, **person).confirmed == least
    assert measured(members(least - 1), quiet, **person).confirmed == 0
    assert measured(members(30), quiet).confirmed == 0
    assert measured(members(30), None, **person).confirmed == 0
    assert measured(members(30), continued([2] + [40] * 59, side="c"), **person).confirmed == 0
    some = np.array([3] * 2 + [30] * 58)
    assert measured(members(least, distinct=3), quiet, **person).confirmed == 0
    assert measured(members(least, distinct=some), quiet, **person).confirmed == 0
    assert measured(members(least + 1, distinct=some), quiet, **person).confirmed == least
    # A control's trivial suffix says nothing either.
    assert measured(members(30), continued([0] + [40] * 59, distinct=3, side="c"), **person).confirmed == 30


def test_without_controls_there_is_no_excess():
    found = measured(continued([0, 50]), None)
    assert (found.control, found.excess, found.p_value) == (None, None, None)
    assert found.control_reason


def test_records_that_are_too_short_are_counted_and_left_out():
    found = measured(continued([0, -1, 50], eligible=[True, False, True]), continued([50], side="c"))
    assert found.members == 2
    assert any(caveat.startswith("1 members are too short") for caveat in found.caveats)
    with pytest.raises(UnsupportedError, match="50 \\+ 50"):
        measured(continued([-1], eligible=[False]))


def test_false_alarms_over_innocent_audits():
    alarms = []
    for seed in range(200):
        rng = np.random.default_rng([5, seed])
        persons = rng.integers(1, 6, size=80)
        own = np.repeat(rng.random(80) < 0.2, persons)
        names = np.repeat([f"p{number}" for number in range(80)], persons)
        distance = np.where(
            own & (rng.random(len(own)) < 0.7), rng.integers(0, 6, len(own)), rng.integers(20, 50, len(own))
        )
        member = np.repeat(rng.permutation(80) < 40, persons)
        sides = [continued(distance[chosen], clusters=names[chosen]) for chosen in (member, ~member)]
        found = measured(*sides, clustered_by="person")
        alarms.append(found.p_value <= 0.05 and found.excess.low > 0.0)
    assert np.mean(alarms) <= 0.05


def test_a_tenth_of_the_records_is_found():
    rng = np.random.default_rng(2)
    for _ in range(20):
        distance = np.where(rng.random(200) < 0.1, rng.integers(0, 6, 200), rng.integers(20, 50, 200))
        assert fires(measured(continued(distance), continued(rng.integers(20, 50, 200), side="c")))


def test_the_figure_holds_what_every_limit_would_give():
    found = measured(continued([0, 5, 25, 50]), continued([50] * 4, side="c"))
    members, controls, chance = found.figures[0].series
    assert dict(zip(members.x, members.y, strict=True))[0.9] == 0.5
    assert members.y[0] == controls.y[0] == chance.y[0] == 1.0
    assert controls.y[1] == 0.0
