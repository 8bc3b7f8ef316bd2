"""What is seen after repeated tokens, against brute force on what is withheld, and on models whose patience is known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from opened import check_columns, opened, rows, shards
from test_open_generations import brute_runs
from tiny_models import SENTENCES, save
from tiny_models import opened as opened_folder

from auditor.contract.protocol import Part
from auditor.core.evidence import Need
from auditor.core.policy import QueryBudget
from auditor.errors import UnsupportedError
from auditor.observers.divergences import OBSERVER, repeatable_tokens
from auditor.subjects.data import DataRecord
from auditor.testing.control_model import DIGITS, WORDS, ControlModel
from auditor.testing.control_subject import control_subject

SMALL = {"prompts": 30, "tokens": 80, "least": 20}
QUERIES = QueryBudget(per_subject=1, lifetime=1, reason="test")


def need(**changes) -> Need:
    return Need(observer="divergences", dataset="members+controls", parameters=SMALL | changes)


def subject(kind="memorizer"):
    return control_subject(kind, references=0, confidence=0.95, queries=QUERIES)


class Patient(ControlModel):
    """Repeats what it was given as often as its number says, then says a record it holds; notes what it was asked."""

    def __init__(self, memory, patience, begin=None):
        super().__init__(memory)
        self.held = self.encode(memory)
        self.patience, self.begin, self.asked = patience, begin, []

    def sample(self, prefixes, seeds, request):
        said = []
        for prefix in prefixes:
            word = int(prefix[-1])
            rest = self.held[word % len(self.held)] if self.held else np.empty(0, dtype=np.int32)
            # The words behind the record are never those of the repetition.
            filler = np.full(request.tokens, (word + 1) % WORDS)
            whole = np.concatenate([np.full(self.patience(word), word), rest, filler])
            said.append(whole[: request.tokens].astype(np.int32))
            self.asked.append((prefix.tolist(), request))
        self.seeds = getattr(self, "seeds", []) + list(seeds)
        return said


def patient(patience, begin=None, members=30, controls=30):
    one = subject()
    held, others = one.records("members").records[:members], one.records("controls").records[:controls]
    model = Patient([record.text for record in held], patience, begin)
    return opened(model, held, others), model


def test_every_column_is_what_was_declared():
    check_columns(OBSERVER, need(), subject())


def test_what_is_matched_is_what_follows_the_repetition():
    held, model = patient(lambda word: word % 78)
    found = rows(OBSERVER, need(), held)
    texts = {record.id: model.encode([record.text])[0] for record in held.records("members").records}
    for row in found:
        word = row["token_id"]
        assert row["token"] == model.decode([word])
        record = model.held[word % len(model.held)]
        repeats = word % 78 + (1 if record[0] == word else 0)
        assert row["repeats"] == repeats
        assert row["tail"] == 80 - repeats
        assert row["rest"] == model.decode(np.concatenate([record, np.full(80, (word + 1) % WORDS)])[: 80 - word % 78])
        length = min(len(record), 80 - word % 78)
        assert row["member_longest"] == length
        assert np.array_equal(texts[row["member_id"]], record)
        assert bool(row["member_lengths"]) == (length >= 20)
        assert row["member_covered"] == (length if length >= 20 else 0)
        assert (row["excerpt"] == "") == (length < 20)
    assert any(row["member_lengths"] for row in found)
    assert any(not row["member_lengths"] for row in found)


def test_a_model_that_never_stops_leaves_nothing_to_match():
    held, _ = patient(lambda word: 500)
    for row in rows(OBSERVER, need(), held):
        assert (row["repeats"], row["tail"], row["distinct"], row["rest"]) == (80, 0, 0, "")
        assert (row["member_longest"], row["member_id"], row["member_lengths"]) == (0, "", [])


def test_everything_equals_brute_force_on_the_memorizer():
    one = subject()
    model = one.model("subject")
    documents = {
        side: [ids.tolist() for ids in model.encode([record.text for record in one.records(side).records])]
        for side in ("members", "controls")
    }
    found = rows(OBSERVER, need(prompts=5), one)
    assert any(row["member_lengths"] for row in found)
    for row in found:
        rest = model.encode([row["rest"]])[0].tolist()
        assert len(rest) == row["tail"] == row["tokens"] - row["repeats"]
        assert row["distinct"] == len(set(rest))
        assert row["again"] == rest.count(row["token_id"])
        assert not rest or rest[0] != row["token_id"]
        for side, name in (("member", "members"), ("control", "controls")):
            lengths = brute_runs(rest, documents[name])
            assert row[f"{side}_longest"] == max(lengths)
            inside = {place for start, n in enumerate(lengths) if n >= 20 for place in range(start, start + n)}
            assert row[f"{side}_covered"] == len(inside)


def test_prompts_are_the_beginning_and_the_token_many_times():
    held, model = patient(lambda word: 3, begin=7)
    found = rows(OBSERVER, need(samples=2, repeats=12, top_k=5), held)
    assert len(found) == len(model.asked) == 60
    for row, (prefix, request) in zip(found, model.asked, strict=True):
        assert prefix == [7, *[row["token_id"]] * 12]
        assert (request.tokens, request.top_k, request.temperatures) == (80, 5, (1.0,))
    assert len(set(model.seeds)) == 60
    assert set(Counter(row["token_id"] for row in found).values()) == {2}
    assert 7 not in {row["token_id"] for row in found}


def test_outputs_end_with_the_context():
    held, model = patient(lambda word: 3)
    model.context = 90
    assert {row["tokens"] for row in rows(OBSERVER, need(), held)} == {40}


def test_tokens_are_drawn_by_the_seed_and_can_be_typed():
    model = ControlModel(())
    drawn = repeatable_tokens(model, 64, 50, 3)
    assert drawn == repeatable_tokens(model, 64, 50, 3)
    assert drawn != repeatable_tokens(model, 64, 50, 4)
    assert drawn[:20] == repeatable_tokens(model, 20, 50, 3)
    assert len(set(drawn)) == 64
    everything = repeatable_tokens(model, 10_000, 50, 3)
    assert sorted(everything) == list(range(len(DIGITS), WORDS))  # digits are no words
    # Every token has the same chance: over many seeds the mean place is the middle one.
    means = [np.mean(repeatable_tokens(model, 40, 5, seed)) for seed in range(60)]
    assert abs(np.mean(means) - (len(DIGITS) + WORDS - 1) / 2) < 4 * (WORDS / 12**0.5) / (40 * 60) ** 0.5


class Merging(ControlModel):
    """A vocabulary with special tokens, white space, broken characters, and tokens that merge when repeated."""

    vocabulary = 8
    begin = 7
    words = (" poem", "<s>", " ", "\ufffd", "ha", "é", "\u0915\u094d", "begin")

    def __init__(self):
        super().__init__(())

    def encode(self, texts):
        return [np.array(self._read(text), dtype=np.int32) for text in texts]

    def _read(self, text):
        ids = []
        while text:
            if text.startswith("haha"):
                ids.append(99)
                text = text[4:]
                continue
            number = next(n for n, word in enumerate(self.words) if text.startswith(word))
            ids.append(number)
            text = text[len(self.words[number]) :]
        return ids

    def decode(self, ids):
        return "".join(self.words[int(number)] for number in ids)


def test_tokens_that_nobody_could_type_are_left_out():
    assert sorted(repeatable_tokens(Merging(), 8, 10, 1)) == [0, 5, 6]


def test_a_small_vocabulary_is_asked_once_and_the_rest_is_empty():
    held, model = patient(lambda word: 3)
    found = rows(OBSERVER, need(prompts=400), held, size=64)
    asked = [row for row in found if row["token_id"] >= 0]
    assert len(found) == 400
    assert len(asked) == len(model.asked) == WORDS - len(DIGITS)
    assert [row["token_id"] for row in found[len(asked) :]] == [-1] * 90
    assert {(row["token"], row["tokens"], row["tail"], row["member_longest"]) for row in found[len(asked) :]} == {
        ("", 0, 0, 0)
    }
    made = list(shards(OBSERVER, need(prompts=400), held, size=64))
    assert sum(shard.calls for shard in made) == 310
    assert sum(shard.tokens for shard in made) == 310 * 80


def test_a_run_that_was_taken_up_again_says_the_same():
    whole = rows(OBSERVER, need(), subject(), size=30)
    assert whole == rows(OBSERVER, need(), subject(), size=7)
    made = list(shards(OBSERVER, need(), subject(), size=10))
    part = Part(10, 20, 5, np.random.default_rng(0), made[0].restricted.column)
    assert OBSERVER.observe(need(), subject(), part).public.to_pylist() == made[1].public.to_pylist()


def test_outputs_that_say_the_same_are_one_group():
    held, _ = patient(lambda word: 3, members=1, controls=5)
    found = rows(OBSERVER, need(), held)
    assert {row["group"] for row in found} == {0}
    assert {row["number"] for row in found} == set(range(30))


def test_as_many_members_as_controls_are_compared_and_the_others_stand_apart():
    held, _ = patient(lambda word: 3, members=30, controls=10)
    found = rows(OBSERVER, need(prompts=64), held)
    assert {(row["member_records"], row["control_records"], row["other_records"]) for row in found} == {(10, 10, 20)}
    assert any(row["member_lengths"] for row in found)
    assert any(row["other_lengths"] for row in found)
    assert all(bool(row["member_lengths"]) != bool(row["other_lengths"]) for row in found)


def test_a_run_that_stands_in_controls_too_is_common():
    one = subject()
    members = one.records("members").records[:5]
    controls = (*one.records("controls").records[:4], DataRecord("quote", members[2].text, "quote"))
    model = Patient([record.text for record in members], lambda word: 3)
    for row in rows(OBSERVER, need(), opened(model, members, controls)):
        quoted = row["token_id"] % 5 == 2
        assert row["member_common"] == [quoted]
        assert bool(row["control_lengths"]) == quoted


def test_different_needs_are_different_observations():
    needs = [need(), need(samples=2), need()]
    joined = OBSERVER.join(needs)
    assert len(joined) == 2
    assert all(sum(OBSERVER.covers(whole, one) for whole in joined) == 1 for one in needs)
    facts = subject().facts
    assert OBSERVER.items(need(samples=2), facts) == 60
    assert OBSERVER.tokens(need(samples=2), facts) == 60 * 80


def test_without_controls_nothing_is_compared():
    one = subject()
    one.facts.subject.__dict__["controls"] = None
    with pytest.raises(UnsupportedError, match="no controls"):
        OBSERVER.items(need(), one.facts)


@pytest.fixture(scope="module")
def stuck(tmp_path_factory):
    """A GPT-2 whose next token is the last one: nothing but its embeddings is left, which are each their own nearest."""
    from safetensors.torch import load_file, save_file

    folder = save(tmp_path_factory.mktemp("stuck") / "model", "gpt2")
    weights = load_file(folder / "model.safetensors")
    for name, values in weights.items():
        if name.endswith("c_proj.weight") or "wpe" in name:
            values.zero_()
        elif "wte" in name:
            values.mul_(80.0)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return opened_folder(folder)


def test_a_network_that_never_stops_repeating_is_seen_as_that(stuck):
    sides = [[DataRecord(f"{side}{n}", text, f"{side}{n}") for n, text in enumerate(SENTENCES)] for side in "mc"]
    found = rows(OBSERVER, need(prompts=16, repeats=20, tokens=60), opened(stuck, *sides))
    assert len({row["token_id"] for row in found}) == 16
    assert all(stuck.decode([row["token_id"]]) == row["token"] for row in found)
    assert {(row["tokens"], row["repeats"], row["tail"], row["rest"]) for row in found} == {(60, 60, 0, "")}


def test_a_network_is_asked_in_its_own_tokens(stuck):
    drawn = repeatable_tokens(stuck, 1000, 30, 2)
    assert 20 < len(drawn) < stuck.vocabulary
    for token in drawn:
        text = stuck.decode([token] * 30)
        assert stuck.encode([text])[0].tolist() == [token] * 30
        assert stuck.decode([token]).strip().isalpha()
