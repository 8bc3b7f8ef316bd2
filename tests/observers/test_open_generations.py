"""What open generations say of themselves, against brute force on what is withheld and the model asked again."""

from __future__ import annotations

import zlib
from collections import Counter

import numpy as np
import pytest
from opened import OpenedInMemory, check_columns, opened, rows, shards

from auditor.contract.protocol import Part
from auditor.core.evidence import Need
from auditor.core.policy import QueryBudget
from auditor.errors import UnsupportedError
from auditor.observers.near_copies import NearCopies
from auditor.observers.open_generations import OBSERVER, Parameters, reference_column
from auditor.subjects.capability import ScoreRequest
from auditor.subjects.data import DataRecord
from auditor.testing.control_model import ControlModel
from auditor.testing.control_subject import control_subject

SMALL = {"unprompted": 12, "decaying": 8, "prompted": 40, "tokens": 70, "prompt": 10}
QUERIES = QueryBudget(per_subject=1, lifetime=1, reason="test")


def need(**changes) -> Need:
    return Need(observer="open-generations", dataset="members+controls", parameters=SMALL | changes)


def subject(kind="memorizer", references=0):
    return control_subject(kind, references=references, confidence=0.95, queries=QUERIES)


def brute_runs(said: list[int], documents: list[list[int]]) -> list[int]:
    """The longest match of what was said at each position."""
    found = []
    text = [" " + " ".join(map(str, document)) + " " for document in documents]
    for start in range(len(said)):
        length = 0
        while start + length < len(said) and any(
            " " + " ".join(map(str, said[start : start + length + 1])) + " " in document for document in text
        ):
            length += 1
        found.append(length)
    return found


def test_every_column_is_what_was_declared():
    for references in (0, 1):
        one = subject(references=references)
        digests = [model.digest for model in one.facts.subject.references]
        check_columns(OBSERVER, need(references=digests), one)


def test_a_model_that_gives_no_scores_is_made_to_speak_and_nothing_else():
    """What was said, matched and repeated is the same to the last column; nothing is asked about its likelihood."""
    one = subject()
    small = {"unprompted": 2, "decaying": 1, "prompted": 6, "least": 20}
    check_columns(OBSERVER, need(scored=False), one)
    whole, bare = rows(OBSERVER, need(**small), one), rows(OBSERVER, need(**small, scored=False), one)
    assert set(whole[0]) - set(bare[0]) == {"logprob", "window", "lowercase"}
    assert [{name: row[name] for name in bare[0]} for row in whole] == bare
    assert OBSERVER.asks(need(scored=False)) == ("samples-tokens",)
    assert OBSERVER.asks(need()) == ("samples-tokens", "scores-given-tokens")
    assert OBSERVER.tokens(need(scored=False), one.facts) * 3 == OBSERVER.tokens(need(), one.facts)
    assert len(OBSERVER.join([need(), need(scored=False)])) == 2


def test_matches_equal_brute_force():
    one = subject()
    model = one.model("subject")
    found = rows(OBSERVER, need(unprompted=2, decaying=1, prompted=6, least=20), one)
    documents = {
        side: [row.tolist() for row in model.encode([record.text for record in one.records(side).records])]
        for side in ("members", "controls")
    }
    ids = [record.id for record in one.records("members").records]
    assert any(row["member_lengths"] for row in found)
    for row in found:
        said = model.encode([row["generated"]])[0].tolist()
        assert row["tokens"] == len(said) == 70
        true = {"member": brute_runs(said, documents["members"]), "control": brute_runs(said, documents["controls"])}
        for side, lengths in true.items():
            assert row[f"{side}_longest"] == max(lengths)
            assert row[f"{side}_units"] == 240
            inside = {place for start, n in enumerate(lengths) if n >= 20 for place in range(start, start + n)}
            assert row[f"{side}_covered"] == len(inside)
            assert sum(row[f"{side}_lengths"]) <= len(inside)
            assert max(row[f"{side}_lengths"], default=0) == (max(lengths) if max(lengths) >= 20 else 0)
        holder = documents["members"][ids.index(row["member_id"])]
        assert max(brute_runs(said, [holder])) == row["member_longest"]
        for unit, length in zip(row["member_unit"], row["member_lengths"], strict=True):
            name = sorted(record.cluster for record in one.records("members").records)[unit]
            own = next(
                d
                for d, record in zip(documents["members"], one.records("members").records, strict=True)
                if record.cluster == name
            )
            assert length in brute_runs(said, [own])
        assert (row["excerpt"] == "") == (not row["member_lengths"])


def test_scores_are_the_models_own():
    one = subject(references=1)
    digest = one.facts.subject.references[0].digest
    model, reference = one.model("subject"), one.model("reference-0")
    for row in rows(OBSERVER, need(references=[digest]), one):
        if row["kind"] == "prompted":
            continue
        record = next(r for r in one.records(row["side"]).records if r.id == row["prompt_id"])
        whole = np.concatenate([model.encode([record.text])[0][:1], model.encode([row["generated"]])[0]])
        logprob = model.score([whole], ScoreRequest())[0].logprob.astype(float)
        assert row["logprob"] == pytest.approx(logprob.mean())
        assert row["lowercase"] == pytest.approx(logprob.mean())
        assert row["window"] == pytest.approx(max(logprob[i : i + 50].mean() for i in range(len(logprob) - 49)))
        assert row["zlib_bytes"] == len(zlib.compress(row["generated"].encode()))
        alone = reference.score([model.encode([row["generated"]])[0]], ScoreRequest())[0].logprob.astype(float)
        assert row[reference_column(digest)] == pytest.approx(alone.mean())


class Shouting(ControlModel):
    """Says every word with a capital letter, which it reads as another word."""

    def decode(self, ids):
        return super().decode(ids).upper()

    def encode(self, texts):
        return super().encode(
            [text.lower() if text.isupper() else " ".join(["zzz"] * len(text.split())) for text in texts]
        )


def test_what_is_written_in_lower_case_is_scored_as_such():
    one = subject("innocent")
    sides = [
        [DataRecord(record.id, record.text.upper(), record.cluster) for record in one.records(side).records[:30]]
        for side in ("members", "controls")
    ]
    held = opened(Shouting(()), *sides)
    for row in rows(OBSERVER, need(unprompted=4, decaying=0, prompted=0), held):
        assert row["generated"].isupper()
        assert row["lowercase"] < row["logprob"]


def test_a_run_that_was_taken_up_again_says_the_same():
    whole = rows(OBSERVER, need(), subject(), size=60)
    parts = rows(OBSERVER, need(), subject(), size=7)
    assert whole == parts
    made, again = list(shards(OBSERVER, need(), subject(), size=25)), subject()
    part = Part(25, 50, 5, np.random.default_rng(0), made[0].restricted.column)
    assert OBSERVER.observe(need(), again, part).public.to_pylist() == made[1].public.to_pylist()


def test_sides_begin_alike_and_prompts_are_not_what_was_said():
    found = rows(OBSERVER, need(), subject())
    kinds = Counter((row["kind"], row["side"]) for row in found)
    assert kinds == {
        ("top-k", "members"): 6, ("top-k", "controls"): 6, ("decaying", "members"): 4, ("decaying", "controls"): 4,
        ("prompted", "members"): 20, ("prompted", "controls"): 20,
    }  # fmt: skip
    assert len({row["prompt_id"] for row in found if row["kind"] == "prompted"}) == 40
    assert [row["number"] for row in found] == list(range(60))


def test_a_model_with_a_beginning_token_is_given_nothing_else():
    one = subject("innocent")

    class Begun(ControlModel):
        begin = 7

    held = opened(Begun(()), one.records("members").records[:20], one.records("controls").records[:20])
    found = rows(OBSERVER, need(prompted=6), held)
    assert {row["side"] for row in found[:20]} == {""}
    assert {row["side"] for row in found[20:]} == {"members", "controls"}


def unequal(members=50, controls=20) -> OpenedInMemory:
    one = subject()
    return opened(
        one.model("subject"), one.records("members").records[:members], one.records("controls").records[:controls]
    )


def test_as_many_members_as_controls_are_compared_and_the_others_stand_apart():
    found = rows(OBSERVER, need(prompted=60, least=8), unequal())
    assert {(row["member_units"], row["control_units"], row["other_units"]) for row in found} == {(20, 20, 30)}
    assert sum(len(row["member_lengths"]) for row in found) > 0
    assert sum(len(row["other_lengths"]) for row in found) > 0
    fewer = rows(OBSERVER, need(prompted=10, documents=15), unequal())
    assert {(row["member_units"], row["control_units"], row["other_units"]) for row in fewer} == {(15, 15, 35)}


def test_a_run_that_stands_on_both_sides_is_common():
    one = subject()
    members = one.records("members").records[:20]
    controls = (*one.records("controls").records[:19], DataRecord("quote", members[3].text, "quote"))
    held = opened(one.model("subject"), members, controls)
    found = rows(OBSERVER, need(prompted=160, least=20), held)
    runs = [(row, n) for row in found for n in range(len(row["member_lengths"]))]
    quoted = [row["member_common"][n] for row, n in runs if row["member_unit"][n] == 3]
    assert quoted
    assert all(quoted)
    assert not any(row["member_common"][n] for row, n in runs if row["member_unit"][n] != 3)
    assert any(row["control_lengths"] for row in found)
    assert all(all(row["control_common"]) for row in found)


def test_a_run_in_several_documents_counts_once_and_says_in_how_many():
    one = subject()
    first = one.records("members").records[:10]
    twice = tuple(DataRecord(f"copy-{record.id}", record.text, f"copy-{record.id}") for record in first)
    held = opened(one.model("subject"), (*first, *twice), one.records("controls").records[:20])
    found = rows(OBSERVER, need(prompted=60, least=20), held)
    counts = [count for row in found for count in row["member_documents"]]
    assert counts
    assert set(counts) == {2}


def test_needs_that_differ_in_references_are_one_observation():
    plain, scored = need(), need(references=["a" * 64])
    other = need(top_k=5)
    joined = OBSERVER.join([plain, scored, other])
    assert len(joined) == 2
    for one in (plain, scored, other):
        assert sum(OBSERVER.covers(whole, one) for whole in joined) == 1
    assert not OBSERVER.covers(plain, scored)


def test_without_controls_nothing_is_compared():
    one = subject()
    one.facts.subject.__dict__["controls"] = None
    with pytest.raises(UnsupportedError, match="no controls"):
        OBSERVER.items(need(), one.facts)


def repeats(text: str, earlier: str) -> bool:
    """The definition: half of the trigrams of one, each as often as it stands, are in the other."""
    grams = [Counter(zip(words, words[1:], words[2:], strict=False)) for words in (text.split(), earlier.split())]
    return bool(grams[0]) and (grams[0] & grams[1]).total() >= grams[0].total() / 2


def test_near_copies_follow_the_definition():
    rng = np.random.default_rng(6)
    texts = [" ".join(rng.choice(list("abc"), size=int(rng.integers(0, 12)))) for _ in range(300)]
    copies, leaders = NearCopies(), []
    for number, text in enumerate(texts):
        expected = next((leader for leader in leaders if repeats(text, texts[leader])), None)
        if expected is None:
            short = len(text.split()) < 3
            expected = next((n for n in leaders if short and texts[n] == text), number)
        assert copies.add(text) == expected
        if expected == number:
            leaders.append(number)
    assert 10 < len(leaders) < 300
    resumed = NearCopies(texts[:200])
    assert [resumed.add(text) for text in texts[200:]] == [NearCopies(texts[:n]).add(texts[n]) for n in range(200, 300)]


def test_the_papers_example_has_two_different_trigrams():
    copies = NearCopies(["my name my name my name"])
    assert copies.add("my name my name") == 0
    assert copies.add("my name is nobody here") == 2


def test_parameters_have_defaults():
    assert OBSERVER.items(Need(observer="open-generations", dataset="members+controls"), subject().facts) == 400
    assert Parameters().least == 50
