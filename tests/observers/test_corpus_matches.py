"""The floor: real texts of one side matched against the other, against brute force."""

from __future__ import annotations

import numpy as np
from opened import SEED, check_columns, opened, rows

from auditor.core.evidence import Need
from auditor.observers.corpora import corpus
from auditor.observers.corpus_matches import OBSERVER
from auditor.subjects.data import DataRecord
from auditor.testing.control_model import ControlModel, speak, vocabulary


def texts(seed, count):
    rng = np.random.default_rng(seed)
    return [" ".join(vocabulary()[word] for word in speak(rng, 90)) for _ in range(count)]


def held(members=12, controls=8):
    quote = texts(9, 1)[0].split()[:60]
    left = [DataRecord(f"m{n}", text, f"m{n}") for n, text in enumerate(texts(1, members))]
    right = [DataRecord(f"c{n}", text, f"c{n}") for n, text in enumerate(texts(2, controls))]
    left[0] = DataRecord("m0", " ".join([*left[0].text.split()[:20], *quote]), "m0")
    right[0] = DataRecord("c0", " ".join([*quote, *right[0].text.split()[:20]]), "c0")
    return opened(ControlModel(()), left, right)


def need(**parameters):
    return Need(observer="corpus-matches", dataset="members+controls", parameters=parameters)


def test_what_is_written_is_what_was_declared():
    check_columns(OBSERVER, need(), held())


def test_every_text_is_matched_against_the_other_side():
    one = held(8, 8)
    found = rows(OBSERVER, need(), one, size=5)
    assert [row["id"] for row in found] == [f"m{n}" for n in range(8)] + [f"c{n}" for n in range(8)]
    assert [row["member"] for row in found] == [True] * 8 + [False] * 8
    spaced = {s: [f" {record.text} " for record in one.records(s).records] for s in ("members", "controls")}
    for row in found:
        own, other = ("members", "controls") if row["member"] else ("controls", "members")
        words = next(r.text for r in one.records(own).records if r.id == row["id"]).split()
        longest = max(
            n
            for start in range(len(words))
            for n in range(len(words) - start + 1)
            if not n or any(f" {' '.join(words[start : start + n])} " in text for text in spaced[other])
        )
        assert row["longest"] == longest
        assert row["covered"] == (longest if longest >= 50 else 0)
    assert [(row["id"], row["longest"], row["match"]) for row in found if row["longest"] >= 50] == [
        ("m0", 60, "c0"),
        ("c0", 60, "m0"),
    ]


def test_sides_are_of_equal_size_and_texts_are_cut():
    found = rows(OBSERVER, need(records=5, tokens=30), held(12, 8))
    assert [sum(row["member"] is side for row in found) for side in (True, False)] == [8, 8]
    assert [sum(row["matched"] and row["member"] is side for row in found) for side in (True, False)] == [5, 5]
    assert {row["tokens"] for row in found if row["matched"]} == {30}
    assert {(row["tokens"], row["longest"], row["match"]) for row in found if not row["matched"]} == {(0, 0, "")}
    assert OBSERVER.items(need(), held(12, 8).facts) == 16
    assert OBSERVER.items(need(documents=3), held(12, 8).facts) == 6


def test_the_listing_is_in_the_order_of_the_index():
    one = held(30, 8)
    listed = [row for row in rows(OBSERVER, need(), one, size=5) if row["member"]]
    index = corpus(one, "member", SEED)
    assert [row["id"] for row in listed] == index.ids.tolist()
    assert [row["cluster"] for row in listed] == index.names[index.units].tolist()
