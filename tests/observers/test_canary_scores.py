"""Canary scores: the draw of candidates, the shared beginning, and scores against whole sequences."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opened import check_columns, opened, rows
from scipy.stats import chisquare

from auditor.contract.protocol import Observer
from auditor.core.canary import Canary, CanaryFormat, CanarySet
from auditor.core.evidence import Need
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.observers import canary_scores
from auditor.observers.canary_scores import OBSERVER
from auditor.subjects.capability import ScoreRequest

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM

DIGITS = tuple("0123456789")
FORMS = (
    CanaryFormat(id="locker", template="The code of the locker is {secret}.", symbols=DIGITS, length=5, separator=" "),
    CanaryFormat(id="first", template="{secret} units were read at the gate", symbols=DIGITS, length=3),
    CanaryFormat(id="words", template="say {secret}!", symbols=("amber", "birch", "c"), length=2, separator="-"),
)


def canary_set(*forms: CanaryFormat, each: int = 4) -> CanarySet:
    canaries = []
    for form in forms:
        rng = generator(1, form.id)
        for number in range(each):
            secret = form.secret(tuple(int(place) for place in rng.integers(len(form.symbols), size=form.length)))
            canaries.append(
                Canary(id=f"{form.id}-{number}", format=form.id, secret=secret, repetitions=4, planted=number % 2 == 0)
            )
    return CanarySet(seed=1, formats=forms, canaries=tuple(canaries), nonce="a" * 64, commitment="b" * 64)


def need(candidates: int, model: str = "subject") -> Need:
    return Need(observer="canary-scores", dataset="canaries", model=model, parameters={"candidates": candidates})


def test_it_meets_the_protocol_and_writes_what_it_declares(model: CausalLM) -> None:
    assert isinstance(OBSERVER, Observer)
    check_columns(OBSERVER, need(20), opened(model, canaries=canary_set(*FORMS)))
    assert all(field.description for field in OBSERVER.parameters.model_fields.values())


def whole_scores(model: CausalLM, texts: list[str], shared: int) -> list[float]:
    lead = [] if model.begin is None else [model.begin]
    ids = [np.array([*lead, *row], dtype=np.int32) for row in model.encode(texts)]
    return [-float(row.logprob.sum()) for row in model.score(ids, ScoreRequest(first=max(shared, 1)))]


def test_scores_are_those_of_whole_sequences_after_what_they_share(model: CausalLM) -> None:
    canaries = canary_set(*FORMS)
    found = rows(OBSERVER, need(30), opened(model, canaries=canaries))
    lead = [] if model.begin is None else [model.begin]
    for form in FORMS:
        mine = [row for row in found if row["format"] == form.id]
        texts = [form.fill(row["secret"]) for row in mine]
        encoded = [[*lead, *ids.tolist()] for ids in model.encode(texts)]
        shared = 0
        while all(len(ids) > shared and ids[shared] == encoded[0][shared] for ids in encoded):
            shared += 1
        assert (shared == 0) == (form.id == "first" and model.begin is None)
        np.testing.assert_allclose([row["score"] for row in mine], whole_scores(model, texts, shared), atol=1e-3)
        assert [row["tokens"] for row in mine] == [len(ids) - max(shared, 1) for ids in encoded]


def test_canaries_come_first_and_candidates_never_equal_one(model: CausalLM) -> None:
    canaries = canary_set(*FORMS)
    found = rows(OBSERVER, need(50), opened(model, canaries=canaries))
    assert [row["format"] for row in found] == sorted(
        (row["format"] for row in found), key=[form.id for form in FORMS].index
    )
    for form in FORMS:
        mine = [row for row in found if row["format"] == form.id]
        known = [canary for canary in canaries.canaries if canary.format == form.id]
        assert [row["canary"] for row in mine[: len(known)]] == [canary.id for canary in known]
        assert [row["planted"] for row in mine[: len(known)]] == [canary.planted for canary in known]
        assert [row["repetitions"] for row in mine[: len(known)]] == [4] * len(known)
        rest = mine[len(known) :]
        assert {(row["canary"], row["planted"], row["repetitions"]) for row in rest} == {("", False, 0)}
        secrets = [row["secret"] for row in rest]
        assert len(set(secrets)) == len(secrets)
        assert not set(secrets) & {canary.secret for canary in known}
        small = form.id == "words"
        assert {row["exhaustive"] for row in mine} == {small}
        if small:
            assert len(secrets) == 9 - len({canary.secret for canary in known})
        else:
            assert len(secrets) == 50


@pytest.mark.parametrize("size", [1, 7, 60])
def test_shards_share_one_draw(without_begin: CausalLM, size: int) -> None:
    subject = opened(without_begin, canaries=canary_set(*FORMS))
    whole, parts = rows(OBSERVER, need(40), subject), rows(OBSERVER, need(40), subject, size)
    assert [row["secret"] for row in whole] == [row["secret"] for row in parts]
    np.testing.assert_allclose([row["score"] for row in whole], [row["score"] for row in parts], atol=1e-4)
    assert len(whole) == OBSERVER.items(need(40), subject.facts)


def test_another_model_or_other_canaries_are_tokenised_anew(with_begin: CausalLM, without_begin: CausalLM) -> None:
    first = rows(OBSERVER, need(20), opened(without_begin, canaries=canary_set(FORMS[0])))
    rows(OBSERVER, need(20), opened(with_begin, canaries=canary_set(FORMS[0])))
    again = rows(OBSERVER, need(20), opened(without_begin, canaries=canary_set(FORMS[0])))
    assert first == again
    subject = opened(without_begin, canaries=canary_set(FORMS[0]), reference=with_begin)
    other = rows(OBSERVER, need(20, "reference-0"), subject)
    assert [row["secret"] for row in other] == [row["secret"] for row in first]
    assert [row["score"] for row in other] != [row["score"] for row in first]


def test_two_canaries_with_one_secret_do_not_shift_the_count(without_begin: CausalLM) -> None:
    made = canary_set(FORMS[2])
    twin = made.canaries[0].model_copy(update={"id": "twin"})
    subject = opened(without_begin, canaries=made.model_copy(update={"canaries": (*made.canaries, twin)}))
    for count in (1, 3, 4096):
        assert len(rows(OBSERVER, need(count), subject)) == OBSERVER.items(need(count), subject.facts)


def test_a_space_that_the_canaries_fill_has_no_candidates(without_begin: CausalLM) -> None:
    form = FORMS[2].model_copy(update={"length": 1})
    made = tuple(
        Canary(id=secret, format=form.id, secret=secret, repetitions=1, planted=True) for secret in form.symbols
    )
    canaries = canary_set(form).model_copy(update={"canaries": made})
    found = rows(OBSERVER, need(10), opened(without_begin, canaries=canaries))
    assert [row["canary"] for row in found] == list(form.symbols)
    assert all(row["exhaustive"] for row in found)


def test_a_space_too_large_for_a_machine_number(without_begin: CausalLM) -> None:
    form = CanaryFormat(id="key", template="key {secret}", symbols=tuple("0123456789abcdef"), length=20)
    found = rows(OBSERVER, need(30), opened(without_begin, canaries=canary_set(form)))
    assert len({row["secret"] for row in found}) == 34
    assert not any(row["exhaustive"] for row in found)


@pytest.mark.parametrize(("length", "count"), [(2, 60), (2, 30), (4, 300)])
def test_candidates_are_drawn_uniformly(length: int, count: int) -> None:
    """Every digit at every place, over many seeds: dense and sparse draws use different ways."""
    form = FORMS[0].model_copy(update={"length": length})
    canaries = canary_set(form)
    used = {canary.secret for canary in canaries.canaries}
    places: list[Counter[str]] = [Counter() for _ in range(length)]
    for seed in range(60):
        items = canary_scores._items_of(form, canaries, count, seed)[4:]
        assert len(items) == count
        for item in items:
            assert item.secret not in used
            for place, symbol in enumerate(item.secret.split(" ")):
                places[place][symbol] += 1
    allowed: list[Counter[str]] = [Counter() for _ in range(length)]
    for number in range(10**length):
        secret = " ".join(str(number).zfill(length))
        if secret not in used:
            for place, symbol in enumerate(secret.split(" ")):
                allowed[place][symbol] += 1
    for seen, expected in zip(places, allowed, strict=True):
        share = np.array([expected[symbol] for symbol in DIGITS]) / (10**length - len(used))
        total = 60 * count
        # Without replacement the counts vary less than chi-square allows for: only too large a value is a defect.
        assert chisquare([seen[symbol] for symbol in DIGITS], share * total).pvalue > 1e-4


def test_one_pass_serves_all_that_ask_for_candidates() -> None:
    joined = OBSERVER.join([need(100), need(4096), need(7, "reference-0"), need(50)])
    assert sorted((one.model, one.parameters["candidates"]) for one in joined) == [
        ("reference-0", 7),
        ("subject", 4096),
    ]
    assert OBSERVER.covers(need(4096), need(100))
    assert not OBSERVER.covers(need(100), need(4096))


def test_a_subject_without_canaries(without_begin: CausalLM) -> None:
    subject: Any = opened(without_begin)
    with pytest.raises(UnsupportedError, match="no canaries") as caught:
        OBSERVER.items(need(10), subject.facts)
    assert "canary make" in caught.value.hint
