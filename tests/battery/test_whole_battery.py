"""The whole battery of a language model on innocent subjects: the correction keeps false alarms of all tests together at 5 %.

More audits, and the figures by test: `python benchmarks/false_alarms.py`.
"""

from __future__ import annotations

import pytest
from innocent_audits import ALPHA, Evidence, audit, battery, measured, stood_in_for
from scipy.stats import binom

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
    assert sum(bool(one.signals) for one in audits) <= MOST


def test_without_the_correction_there_would_be_more(audits):
    """So that the evidence drawn here could show a correction that is missing."""
    assert sum(bool(one.alone) for one in audits) > MOST


def test_no_test_alone_raises_more_than_five_of_a_hundred(audits):
    for entry in battery():
        if entry.test in stood_in_for():
            continue
        assert sum(entry.test in one.alone for one in audits) <= MOST, entry.test


def test_a_person_is_confirmed_only_where_no_control_came_out(audits):
    for seed, one in enumerate(audits):
        for name in one.confirmed & {"language/discoverable-extraction", "language/probabilistic-extraction"}:
            evidence = Evidence(seed)
            entry = next(entry for entry in battery() if entry.test == name)
            assert evidence.of_persons
            assert measured(entry, evidence).control.value == 0.0
