"""Prompts searched for on tiny models and on the controls: bounded by exhaustive search, confirmed, resumable by record."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from opened import check_columns, opened, rows
from tiny_models import SENTENCES

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.errors import UnsupportedError
from auditor.observers.prompt_search import OBSERVER, static_compression
from auditor.subjects.data import DataRecord
from auditor.testing.control_model import CUE, ControlModel
from auditor.testing.control_texts import memory_of

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM

TEXTS = [text for text in memory_of("memorizer") if len(text.split()) > 50]
MEMBERS = [DataRecord(f"m{number}", text, f"p{number}", 1 + number) for number, text in enumerate(TEXTS[:4])]
STRANGERS = [" ".join(np.random.default_rng(n).permutation(TEXTS[n].split())) for n in range(40)]
CONTROLS = [DataRecord(f"c{number}", text, f"q{number // 2}") for number, text in enumerate(STRANGERS)]
QUICK = {"records": 4, "prefix": 10, "suffix": 8, "steps": 4, "candidates": 16, "top": 16, "patience": 3}


def need(**parameters: object) -> Need:
    asked = {**QUICK, **parameters}
    return Need(observer="prompt-search", dataset="members+controls", model="subject", parameters=asked)


def memorizer():
    return opened(ControlModel(TEXTS), MEMBERS, CONTROLS)


def test_it_meets_the_protocol_and_writes_what_it_declares(model: CausalLM) -> None:
    assert isinstance(OBSERVER, Observer)
    subject = memorizer()
    check_columns(OBSERVER, need(), subject)
    check_columns(OBSERVER, need(steps=1, suffix=3), opened(model, [DataRecord("m", SENTENCES[0], "m")], CONTROLS))
    assert OBSERVER.items(need(records=3), subject.facts) == 6
    assert OBSERVER.items(need(names=["m2"]), subject.facts) == 2
    assert [len(OBSERVER.join([need(), need(), need(steps=5)])), OBSERVER.covers(need(), need())] == [2, True]
    assert OBSERVER.tokens(need(steps=8), subject.facts) == 2 * OBSERVER.tokens(need(), subject.facts)
    # Pieces of 8 tokens are searched for at 5 and 7, of 20 at 5, 10, 15 and 19: twice the lengths, 2.5 times the tokens.
    assert OBSERVER.tokens(need(suffix=20), subject.facts) == 5 * OBSERVER.tokens(need(), subject.facts)
    searched = sum(row["asked"] for row in rows(OBSERVER, need(), subject))
    assert searched * 12 <= OBSERVER.tokens(need(), subject.facts)


def test_members_come_out_of_the_memorizer_and_controls_do_not() -> None:
    found = rows(OBSERVER, need(), memorizer())
    assert [row["member"] for row in found] == [True] * 4 + [False] * 4
    for row in found[:4]:
        words = next(one.text for one in MEMBERS if one.id == row["id"]).split()
        assert 1 <= row["prompt"] <= CUE
        assert row["confirmed"]
        assert row["spelled"]
        assert row["target_text"] == " ".join(words[10:18])
        assert row["own"] == (row["prompt_text"].split() == words[10 - row["prompt"] : 10])
        assert row["utf8_bytes"] == len(row["target_text"])
        assert row["failed"] == row["prompt"] - 1
    assert all((row["prompt"], row["prompt_text"], row["prompt_ids"]) == (0, "", []) for row in found[4:])
    assert all(row["failed"] == 7 for row in found[4:])


def test_a_record_is_searched_alike_whatever_is_searched_beside_it() -> None:
    found = rows(OBSERVER, need(), memorizer())
    assert rows(OBSERVER, need(), memorizer(), size=3) == found
    smaller = rows(OBSERVER, need(names=["m2"]), memorizer())[0]
    same = next(row for row in found if row["id"] == "m2")
    assert {key: smaller[key] for key in ("prompt", "asked", "steps")} == {
        key: same[key] for key in ("prompt", "asked", "steps")
    }


def test_named_members_are_taken_in_their_order_with_as_many_controls() -> None:
    found = rows(OBSERVER, need(names=["m3", "m1"]), memorizer())
    assert [row["id"] for row in found[:2]] == ["m3", "m1"]
    assert [row["member"] for row in found] == [True, True, False, False]
    with pytest.raises(UnsupportedError, match="no member has the id 'm9', nor have 1 more"):
        rows(OBSERVER, need(names=["m9", "m1", "c0"]), memorizer())


def test_records_without_a_target_are_kept_and_not_searched() -> None:
    short = [DataRecord("s", " ".join(TEXTS[0].split()[:17]), "s"), *MEMBERS[:1]]
    found = rows(OBSERVER, need(records=2), opened(ControlModel(TEXTS), short, CONTROLS))
    assert [(row["eligible"], row["target"], row["asked"] > 0) for row in found[:2]] == [
        (False, 0, False),
        (True, 8, True),
    ]


def test_the_budget_bounds_what_is_asked() -> None:
    for row in rows(OBSERVER, need(steps=2, candidates=5), memorizer()):
        assert row["steps"] <= 2 * 6
        assert row["asked"] <= 5 * row["steps"] + 6 * 8


def test_a_network_is_never_beaten_by_exhaustive_search_from_below(model: CausalLM) -> None:
    rng = np.random.default_rng(2)
    lead = [] if model.begin is None else [model.begin]
    made = []
    while len(made) < 3:  # texts whose tokens are those of their own spelling, the end said by the model itself
        start = rng.integers(2, model.vocabulary, size=3).astype(np.int32)
        said = model.continue_greedily([np.array([*lead, *start], dtype=np.int32)], 6)[0]
        text = model.decode([*start, *said])
        if np.array_equal(model.encode([text])[0], [*start, *said]):
            made.append(DataRecord(f"m{len(made)}", text, f"m{len(made)}"))
    asked = need(records=3, prefix=3, suffix=6, steps=12, candidates=48, top=48)
    every = np.arange(model.vocabulary, dtype=np.int32)[:, None]
    alone = np.concatenate([np.tile(np.array(lead, dtype=np.int32), (len(every), 1)), every], axis=1).astype(np.int32)
    for row, record in zip(rows(OBSERVER, asked, opened(model, made, made)), [*made, *made], strict=True):
        ids = model.encode([record.text])[0]
        one_is_enough = bool(model.score_targets(alone, ids[3:])[1].any())
        assert row["id"] == record.id
        if row["prompt"]:
            assert row["confirmed"]
            prompt = np.array([*lead, *row["prompt_ids"]], dtype=np.int32)
            assert np.array_equal(model.continue_greedily([prompt], 6)[0], ids[3:])
            assert row["prompt"] >= (1 if one_is_enough else 2)
        assert row["vocabulary"] == model.vocabulary


def test_what_a_model_says_by_itself_is_found_with_what_stands_before_it(model: CausalLM) -> None:
    lead = [] if model.begin is None else [model.begin]
    for seed in range(30):
        start = np.random.default_rng(seed).integers(2, model.vocabulary, size=5).astype(np.int32)
        said = model.continue_greedily([np.array([*lead, *start], dtype=np.int32)], 8)[0]
        text = model.decode([*start, *said])
        if np.array_equal(model.encode([text])[0], [*start, *said]):
            break
    else:
        pytest.fail("no text of thirty keeps its tokens")
    record = DataRecord("m", text, "m")
    found = rows(OBSERVER, need(prefix=5), opened(model, [record], [record]))[0]
    assert 1 <= found["prompt"] <= 5
    assert found["confirmed"]


def test_a_model_that_cannot_be_searched_and_a_target_without_room_are_refused() -> None:
    class Plain:
        context, vocabulary, begin = 512, 9, None

    with pytest.raises(UnsupportedError, match="swap"):
        rows(OBSERVER, need(), opened(Plain(), MEMBERS, CONTROLS))
    with pytest.raises(UnsupportedError, match="do not fit"):
        rows(OBSERVER, need(suffix=300), memorizer())


def test_static_compression_can_be_undone_and_knows_the_dictionary() -> None:
    text, dictionary = TEXTS[0].encode()[:200], b"something else " + TEXTS[0].encode()
    for known in (b"", dictionary):
        packed = static_compression(text, known)
        opener = zlib.decompressobj(-15, zdict=known) if known else zlib.decompressobj(-15)
        assert opener.decompress(packed) + opener.flush() == text
    assert len(static_compression(text, dictionary)) < 20 < len(static_compression(text, b""))


def test_the_dictionary_holds_no_text_that_is_searched_for_nor_of_its_persons() -> None:
    held = {}
    subject = memorizer()
    remember = subject.remember

    def kept(key, make):
        held[key] = remember(key, make)
        return held[key]

    subject.remember = kept
    found = rows(OBSERVER, need(), subject)
    dictionary = next(value for value in held.values() if isinstance(value, bytes))
    searched = {row["id"] for row in found}
    apart = {one.cluster for one in (*MEMBERS, *CONTROLS) if one.id in searched}
    assert dictionary
    assert all((one.text.encode() in dictionary) == (one.cluster not in apart) for one in CONTROLS)
