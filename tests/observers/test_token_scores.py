"""The token scores of records: which tokens, under which names, and that no record disturbs another."""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import check_columns, opened, rows
from tiny_models import CONTEXT, SENTENCES

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.observers.excerpt import MASK, masked
from auditor.observers.token_scores import OBSERVER, longest_run
from auditor.subjects.capability import ScoreRequest, TokenScores
from auditor.subjects.data import DataRecord

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM

LISTS = ("logprob", "hit", "tie", "previous", "mean", "deviation", "top_logprob")
TEXTS = ["", "x", "ferry", " ".join(SENTENCES), *SENTENCES, "THE FERRY", "ß" * 40]
RECORDS = [
    DataRecord(f"r{number}", text, f"p{number % 3}", copies=number + 1, source="mail" if number % 2 else "")
    for number, text in enumerate(TEXTS)
]


def need(model: str | None = "subject", dataset: Any = "members", **parameters: Any) -> Need:
    return Need(observer="token-scores", dataset=dataset, model=model, parameters=parameters)


def everything(**parameters: Any) -> Need:
    return need(**({"moments": True, "top_k": 4, "temperature": 0.9} | parameters))


def test_it_meets_the_protocol_and_writes_what_it_declares(model: CausalLM) -> None:
    assert isinstance(OBSERVER, Observer)
    subject = opened(model, RECORDS)
    for asked in (need(), everything(), need(moments=True), need(top_k=3), need(from_token=5)):
        check_columns(OBSERVER, asked, subject)
    for name, field in OBSERVER.parameters.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name


@pytest.mark.parametrize("from_token", [0, 1, 7])
def test_rows_are_the_scores_of_the_kept_tokens(model: CausalLM, from_token: int) -> None:
    found = rows(OBSERVER, everything(max_tokens=30, from_token=from_token), opened(model, RECORDS))
    assert [row["id"] for row in found] == [record.id for record in RECORDS]
    lead = [] if model.begin is None else [model.begin]
    begin = max(from_token, 1 - len(lead))
    for row, record in zip(found, RECORDS, strict=True):
        kept = model.encode([record.text])[0][:30]
        assert row["token_ids"] == kept.tolist()
        assert (row["tokens"], row["begin"]) == (len(kept), begin)
        assert (row["cluster"], row["copies"], row["source"]) == (record.cluster, record.copies, record.source)
        scored = max(len(kept) - begin, 0)
        assert {len(row[name]) for name in LISTS} == {scored}
        if scored:
            ids = np.array([*lead, *kept], dtype=np.int32)
            alone = model.score([ids], ScoreRequest(moments=True, top_k=4, temperature=0.9))[0]
            for name in ("logprob", "mean", "deviation", "top_logprob"):
                np.testing.assert_allclose(row[name], getattr(alone, name)[-scored:], atol=1e-4)
            assert row["hit"] == alone.hit[-scored:].tolist()


def test_texts_that_are_too_long_are_cut_and_their_bytes_are_those_that_were_scored(model: CausalLM) -> None:
    subject = opened(model, RECORDS)
    lead = 0 if model.begin is None else 1
    for limit in (5, 10_000):
        for row, record in zip(rows(OBSERVER, need(max_tokens=limit), subject), RECORDS, strict=True):
            whole = model.encode([record.text])[0]
            kept = whole[: min(limit, CONTEXT - lead)]
            text = record.text if len(kept) == len(whole) else model.decode(kept.tolist())
            assert row["tokens"] == len(kept)
            assert row["utf8_bytes"] == len(text.encode())
            assert row["zlib_bytes"] == len(zlib.compress(text.encode()))
            assert row["text"] == record.text


def test_lowercase_changes_what_is_scored_and_not_what_is_kept(model: CausalLM) -> None:
    subject = opened(model, RECORDS)
    lower = opened(model, [DataRecord(record.id, record.text.lower(), record.cluster) for record in RECORDS])
    for row, other, record in zip(
        rows(OBSERVER, need(transform="lowercase"), subject), rows(OBSERVER, need(), lower), RECORDS, strict=True
    ):
        assert row["logprob"] == other["logprob"]
        assert row["zlib_bytes"] == other["zlib_bytes"]
        assert row["text"] == record.text


def test_distance_back_to_the_same_token(model: CausalLM) -> None:
    for row in rows(OBSERVER, need(max_tokens=60), opened(model, RECORDS)):
        ids = row["token_ids"]
        expected = []
        for place in range(row["begin"], len(ids)):
            earlier = [before for before in range(place) if ids[before] == ids[place]]
            expected.append(place - earlier[-1] if earlier else 0)
        assert row["previous"] == expected


@pytest.mark.parametrize("size", [1, 3, 256])
def test_shards_change_nothing(model: CausalLM, size: int) -> None:
    subject = opened(model, RECORDS)
    whole, parts = rows(OBSERVER, everything(), subject), rows(OBSERVER, everything(), subject, size)
    for one, other in zip(whole, parts, strict=True):
        for name in one:
            if name in {"logprob", "mean", "deviation", "top_logprob"}:
                np.testing.assert_allclose(one[name], other[name], atol=1e-4)
            else:
                assert one[name] == other[name]


def test_a_sample_is_part_of_a_larger_one_and_controls_and_references_are_asked(with_begin: CausalLM) -> None:
    controls = [DataRecord(f"c{number}", text, f"c{number}") for number, text in enumerate(TEXTS)]
    subject = opened(with_begin, RECORDS, controls)
    small = {row["id"] for row in rows(OBSERVER, need(records=3), subject)}
    large = {row["id"] for row in rows(OBSERVER, need(records=8), subject)}
    assert len(small) == 3
    assert small < large
    assert OBSERVER.items(need(records=3), subject.facts) == 3
    assert OBSERVER.items(need(records=300), subject.facts) == OBSERVER.items(need(), subject.facts) == len(TEXTS)
    found = rows(OBSERVER, need("reference-0", "controls"), subject)
    assert [row["id"] for row in found] == [record.id for record in controls]


class Fluent:
    """A model that says every text by itself."""

    vocabulary, context, begin = 256, 1000, 0

    def encode(self, texts):
        return [np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32) for text in texts]

    def decode(self, ids):
        return bytes(ids).decode(errors="replace")

    def score(self, sequences, request):
        scores = []
        for ids in sequences:
            hits = np.ones(max(len(ids) - 1, 0), dtype=np.bool_)
            hits[19:20] = False  # 19 tokens in a row, then one that it would not have said
            zeros, none = np.zeros(len(hits), dtype=np.float32), np.empty(0, dtype=np.float32)
            scores.append(TokenScores(zeros, hits, ~hits, none, none, none))
        return scores


def test_an_excerpt_is_shown_only_where_the_model_says_twenty_tokens_by_itself() -> None:
    records = [DataRecord(str(n), ("abcdefghijklmnopqrstuvwxyz" * 4)[:n], str(n)) for n in (19, 39, 40, 78)]
    found = rows(OBSERVER, need(), opened(Fluent(), records))
    assert [row["excerpt"] for row in found] == ["", "", f"abcd{MASK} (40 tokens)", f"abcdefg{MASK} (78 tokens)"]


@given(st.text(max_size=400), st.integers(0, 500))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_an_excerpt_gives_little_away_and_turns_no_text_around(text: str, tokens: int) -> None:
    shown, mask, length = masked(text, tokens).partition(MASK)
    assert mask == MASK
    assert length == f" ({tokens} tokens)"
    assert len(shown) <= min(12, 0.1 * len(text))
    assert not set(shown) & set("\u202e\u202d\u200f\u200e\u2066\u2067\u2069\ufeff\x00\x1b\x07\n\t\r\u2028")


def test_runs_of_hits() -> None:
    rng = np.random.default_rng(0)
    for length in (0, 1, 2, 50):
        for _ in range(20):
            hits = rng.random(length) < 0.7
            expected = max((len(list(run)) for hit, run in itertools.groupby(hits) if hit), default=0)
            assert longest_run(hits) == expected


PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "records": st.sampled_from([None, 5, 9]),
        "max_tokens": st.sampled_from([100, 256]),
        "from_token": st.sampled_from([0, 50]),
        "transform": st.sampled_from(["none", "lowercase"]),
        "moments": st.booleans(),
        "top_k": st.sampled_from([None, 10, 40]),
        "temperature": st.sampled_from([1.0, 0.7]),
    },
)
NEEDS = st.builds(
    lambda model, dataset, parameters: need(model, dataset, **parameters),
    st.sampled_from(["subject", "reference-0"]),
    st.sampled_from(["members", "controls"]),
    PARAMETERS,
)


@given(st.lists(NEEDS, max_size=7))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_joined_needs_hold_all_that_was_asked(needs: list[Need]) -> None:
    joined = OBSERVER.join(needs)
    assert len(joined) <= len(needs)
    for one in needs:
        covering = [
            whole
            for whole in joined
            if (whole.dataset, whole.model) == (one.dataset, one.model) and OBSERVER.covers(whole, one)
        ]
        assert covering
        have = OBSERVER.parameters.from_plain(covering[0].parameters)
        want = OBSERVER.parameters.from_plain(one.parameters)
        assert have.records is None or (want.records is not None and have.records >= want.records)
        assert have.max_tokens >= want.max_tokens
        assert have.from_token <= want.from_token
        assert have.transform == want.transform
        assert have.moments or not want.moments
        if want.top_k is not None:
            assert (have.top_k, have.temperature) == (want.top_k, want.temperature)


def test_everything_the_language_battery_asks_of_a_dataset_is_one_pass() -> None:
    asked = [
        need(records=5000, max_tokens=100, from_token=50),
        need(records=2000, max_tokens=100, from_token=50, top_k=40),
        need(records=5000, max_tokens=256, moments=True),
    ]
    for order in itertools.permutations(asked):
        (joined,) = OBSERVER.join(order)
        parameters = OBSERVER.parameters.from_plain(joined.parameters)
        assert (parameters.records, parameters.max_tokens, parameters.from_token) == (5000, 256, 0)
        assert parameters.moments
        assert parameters.top_k == 40
    assert len(OBSERVER.join([*asked, need(transform="lowercase")])) == 2
