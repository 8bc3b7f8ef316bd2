"""The whole battery of a language model on innocent subjects: the correction, with what confirms persons, keeps false alarms at 5 %.

More audits, and the figures by test: `python benchmarks/false_alarms.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from innocent_audits import ALPHA, Evidence, audit, battery, measured, stood_in_for
from scipy.stats import binom

from auditor.battery.confirmed import CONFIRMED
from auditor.contract.registry import listed

AUDITS = 50
MOST = int(binom.isf(1e-3, AUDITS, ALPHA))
"""More alarms than this come once in a thousand runs where each audit has one with probability 0.05."""


@pytest.fixture(scope="module")
def audits():
    return [audit(seed) for seed in range(AUDITS)]


def test_every_installed_test_of_language_models_and_data_is_in_the_battery():
    installed = {item.name for item in listed("tests") if item.name.startswith(("language/", "dataset/"))}
    assert {entry.test for entry in battery()} >= installed
    assert len(set(stood_in_for())) < len(battery()) / 2


def test_the_whole_battery_raises_false_alarms_in_five_audits_of_a_hundred_at_most(audits):
    """By its p-values or by the persons that it confirms, of whose records some come out on either side."""
    assert all(one.signals == one.corrected | one.confirmed for one in audits)
    assert sum(bool(one.signals) for one in audits) <= MOST


def test_without_the_correction_there_would_be_more(audits):
    """So that the evidence drawn here could show a correction that is missing."""
    assert sum(bool(one.alone) for one in audits) > MOST


def test_no_test_alone_raises_more_than_five_of_a_hundred(audits):
    for entry in battery():
        if entry.test in stood_in_for():
            continue
        assert sum(entry.test in one.alone for one in audits) <= MOST, entry.test


def test_persons_are_confirmed_by_chance_in_one_audit_of_a_hundred_at_most(audits):
    """Each of the tests that confirm persons does so with a probability of 0.001; there are eight of them."""
    persons = [one for seed, one in enumerate(audits) if Evidence(seed).of_persons]
    assert sum(bool(one.confirmed) for one in persons) <= int(binom.isf(1e-3, len(persons), 8 * CONFIRMED))


def test_a_model_that_knows_its_members_is_a_signal_by_persons_confirmed():
    """So that the audits could show somebody confirmed: the innocent evidence with the controls' share of it silenced."""
    evidence = Evidence(5)  # 30 % of the persons, on both sides
    controls = evidence.scored["controls"]
    controls.columns["hit"] = [np.zeros_like(hit) for hit in controls.columns["hit"]]
    entry = next(entry for entry in battery() if entry.test == "language/discoverable-extraction")
    assert evidence.of_persons
    assert measured(entry, evidence).confirmed > 0


def test_a_person_is_confirmed_only_where_no_control_came_out(audits):
    for seed, one in enumerate(audits):
        for name in one.confirmed & {"language/discoverable-extraction", "language/probabilistic-extraction"}:
            evidence = Evidence(seed)
            entry = next(entry for entry in battery() if entry.test == name)
            assert evidence.of_persons
            assert measured(entry, evidence).control.value == 0.0
