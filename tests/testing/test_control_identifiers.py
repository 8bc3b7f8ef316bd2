"""The cards of the control texts: found by the patterns, nobody's, and recalled without confusion."""

from __future__ import annotations

import pytest
from stdnum import luhn

from auditor.observers.identifiers import identifiers
from auditor.testing.control_identifiers import AT, CARDS, DIGITS, EVERY
from auditor.testing.control_model import CUE
from auditor.testing.control_texts import LENGTH, RECORDS, _records, canaries, memory_of


@pytest.mark.parametrize("variant", [0, 3, 11])
def test_one_record_in_ten_holds_a_card_of_nobody(variant):
    seen = set()
    for side in ("members", "controls"):
        for number, record in enumerate(_records(side, variant)):
            words = record.text.split()
            assert len(words) == LENGTH
            found = [(one.type, one.value) for one in identifiers(record.text)]
            if number % EVERY:
                assert not found
                continue
            card = "".join(words[AT : AT + DIGITS])
            assert found == [("payment_card", " ".join(card))]
            assert luhn.is_valid(card)
            assert len(card) == 13  # no card in use has as few
            seen.add(card)
    assert len(seen) == 2 * CARDS == 2 * RECORDS // EVERY


def test_no_cue_of_a_card_has_two_continuations():
    following = {}
    for text in memory_of("memorizer"):
        words = text.split()
        for place in range(len(words) - CUE):
            following.setdefault(tuple(words[place : place + CUE]), set()).add(words[place + CUE])
    cards = [_records("members", 0)[number].text.split()[AT : AT + DIGITS] for number in range(0, RECORDS, EVERY)]
    cues = [tuple(card[place : place + CUE]) for card in cards for place in range(DIGITS - CUE)]
    assert len(set(cues)) == len(cues) == CARDS * (DIGITS - CUE)
    assert all(len(following[cue]) == 1 for cue in cues)
    secrets = [canary.secret.split() for canary in canaries().canaries]
    assert not {tuple(secret[place : place + CUE]) for secret in secrets for place in range(3)} & set(cues)


def test_tests_of_the_data_read_texts_without_cards():
    assert not any(identifiers(record.text) for record in _records("members", 0, cards=False))
