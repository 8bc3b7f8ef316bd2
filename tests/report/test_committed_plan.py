"""What the report says of a plan committed beforehand, of deviations and of earlier attempts, in every case."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from auditor.core.preregistration import Deviation
from auditor.language.reader import English
from auditor.report.committed import ELSEWHERE, MOST_DEVIATIONS, NOT_COMMITTED, CommittedPlan, preregistration
from auditor.report.html import page_environment

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "preregister"))
from commitments import digest
from commitments import preregistration as made

BEGUN = "2026-03-01T10:00:00+00:00"
KNOWN = {
    "attempt": digest("attempt"),
    "earlier": 0,
    "finished": 0,
    "same_plan": 0,
    "before_commitment": None,
    "other_data": 0,
    "kept": "beside the subject file",
    "faults": [],
}


def committed(deviations=(), stamp=None) -> CommittedPlan:
    return CommittedPlan(made(), digest("envelope"), "Test auditor (self-signed)", stamp, tuple(deviations))


def page(plan=None, **attempts) -> str:
    environment = {"created": BEGUN, **({"attempts": {**KNOWN, **attempts}} if attempts != {"gone": True} else {})}
    templates = page_environment(English())
    return templates.get_template("partials/preregistration.html.j2").render(
        preregistration=preregistration(plan, environment)
    )


def deviation(number: int = 0, committed: str | None = "0.001", now: str | None = "0.01") -> Deviation:
    return Deviation(place=f"/tests/x/{number}", what=f"x: tolerance {number}", committed=committed, now=now)


def test_where_nothing_was_committed_it_says_so():
    assert NOT_COMMITTED in page()
    assert "Deviations" not in page()
    assert "Signed commitment" not in page()


def test_who_committed_when_and_that_nothing_differs():
    said = page(committed())
    assert f"Before the evidence was begun ({BEGUN}), this plan was committed on" in said
    assert "by Test auditor (self-signed)" in said
    assert "a claim of the signer" in said
    assert "no deviation" in said
    assert digest("envelope") in said
    assert NOT_COMMITTED not in said


def test_a_time_stamp_is_named_and_not_vouched_for():
    said = page(committed(stamp="2026-03-01 09:30:00 UTC by Loopback"))
    assert "saw the commitment at 2026-03-01 09:30:00 UTC by Loopback" in said
    assert "not vouched for" in said
    assert "a claim of the signer" not in said


def test_every_deviation_is_a_row_and_what_is_not_there_is_a_dash():
    said = page(committed([deviation(), deviation(1, None, "true"), deviation(2, "<b>", None)]))
    assert "3 things differ" in said
    assert said.count('<tr><th scope="row">') == 3
    assert "<td>\u2013</td><td>true</td>" in said
    assert "<td>&lt;b&gt;</td><td>\u2013</td>" in said
    assert "1 thing differs" in page(committed([deviation()]))


def test_a_thousand_deviations_are_counted_and_the_first_are_shown():
    said = page(committed([deviation(number) for number in range(1000)]))
    assert said.count('<tr><th scope="row">') == MOST_DEVIATIONS
    assert f"{1000 - MOST_DEVIATIONS} more are in" in said


@pytest.mark.parametrize(
    ("attempts", "words"),
    [
        ({}, "No earlier attempt on the same model and data is known."),
        ({"earlier": 1, "finished": 1}, "1 earlier attempt on the same model and data is known: 1 came to the end, 0 had this very plan."),
        ({"earlier": 7, "same_plan": 2}, "7 earlier attempts on the same model and data are known: 0 came to the end, 2 had this"),
        ({"earlier": 2, "before_commitment": 2}, "2 of them began before the plan was committed: its author may have seen scores."),
        ({"other_data": 4}, "Attempts on the same model with other data: 4."),
        ({"kept": "beside the bundle"}, "kept beside the bundle"),
        ({"kept": "nowhere", "faults": ["it could not be written"]}, "kept nowhere, because it could not be written"),
        ({"faults": ["line 3 cannot be read"]}, "That record does not hold, so more attempts are possible: line 3 cannot be read."),
        ({"gone": True}, "How often this subject was audited before was not recorded."),
    ],
)  # fmt: skip
def test_what_is_known_of_earlier_attempts(attempts, words):
    said = page(**attempts)
    assert words in said
    assert (ELSEWHERE in said) == ("gone" not in attempts)
