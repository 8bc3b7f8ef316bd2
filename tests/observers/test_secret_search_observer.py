"""Secret search: ranks against every secret of the space scored, spelling in tokens, budgets, shards and what is refused."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opened import SEED, check_columns, opened, rows
from test_canary_scores import canary_set

from auditor.contract.protocol import Observer
from auditor.core.canary import Canary, CanaryFormat
from auditor.core.evidence import Need
from auditor.errors import UnsupportedError
from auditor.observers.secret_search import OBSERVER
from auditor.observers.secret_tokens import spell, symbols_of
from auditor.testing.control_model import ControlModel

if TYPE_CHECKING:
    from auditor.core.canary import CanarySet
    from auditor.subjects.adapters.language_model import CausalLM

DIGITS = tuple("0123456789")
SPACED = CanaryFormat(id="spaced", template="The code is {secret}.", symbols=DIGITS, length=3, separator=" ")
UNITS = CanaryFormat(
    id="units", template="Read {secret} units at the gate", symbols=DIGITS[:6], length=3, separator=" "
)
WORDS = CanaryFormat(
    id="words", template="say {secret}", symbols=("amber", "birch", "c", "ca", "zanzibar"), length=3, separator=" "
)
JOINED = CanaryFormat(id="joined", template="A {secret}", symbols=("The", " ferry", " island"), length=2, separator="")


def need(expansions: int = 4096, model: str = "subject") -> Need:
    return Need(observer="secret-search", dataset="canaries", model=model, parameters={"expansions": expansions})


def ranked(model: CausalLM, form: CanaryFormat) -> list[tuple[float, str]]:
    """Return every secret of a format with its cost after what all texts begin with, likeliest first, by brute force."""
    secrets = [form.secret(row) for row in itertools.product(range(len(form.symbols)), repeat=form.length)]
    lead = [] if model.begin is None else [model.begin]
    ids = [np.array([*lead, *row], dtype=np.int32) for row in model.encode([form.fill(secret) for secret in secrets])]
    head = spell(model, form, [], 0).head
    costs = -model.score_completions(head, [row[len(head) :] for row in ids])
    return sorted(zip(costs.tolist(), secrets, strict=True))


def all_canaries(form: CanaryFormat, every: int) -> CanarySet:
    """Return canaries whose secrets are spread over the whole space."""
    places = list(itertools.product(range(len(form.symbols)), repeat=form.length))[::every]
    made = tuple(
        Canary(id=f"c{number}", format=form.id, secret=form.secret(row), repetitions=1, planted=number % 2 == 0)
        for number, row in enumerate(places)
    )
    return canary_set(form).model_copy(update={"canaries": made})


def test_it_meets_the_protocol_and_writes_what_it_declares(model: CausalLM) -> None:
    assert isinstance(OBSERVER, Observer)
    check_columns(OBSERVER, need(50), opened(model, canaries=canary_set(SPACED, UNITS)))
    assert all(field.description for field in OBSERVER.parameters.model_fields.values())


@pytest.mark.parametrize("form", [SPACED, UNITS, WORDS], ids=lambda form: form.id)
def test_ranks_are_those_of_the_whole_space_scored(model: CausalLM, form: CanaryFormat) -> None:
    """With and without words after the secret, and with symbols of several tokens that begin alike."""
    order = ranked(model, form)
    place = {secret: number for number, (_, secret) in enumerate(order, start=1)}
    costs = {secret: cost for cost, secret in order}
    canaries = all_canaries(form, 7)
    found = rows(OBSERVER, need(5000), opened(model, canaries=canaries))
    assert all(row["found"] and row["searched"] and not row["exhausted"] for row in found)
    for row in found:
        assert row["cost"] == pytest.approx(costs[row["secret"]], abs=1e-3)
        assert row["score"] == pytest.approx(costs[row["secret"]], abs=1e-3)
        near = [number for cost, number in ((costs[s], place[s]) for s in place) if abs(cost - row["cost"]) < 2e-3]
        assert min(near) <= row["rank"] <= max(near)  # secrets as likely as the arithmetic can tell may change places
        assert row["space"] == len(order)
        assert 0 < row["expansions_found"] <= row["expansions"]
        assert row["popped"] >= row["rank"]
    assert sorted(row["canaries_before"] for row in found) == list(range(len(found)))
    by_rank = sorted(found, key=lambda row: row["rank"])
    assert [row["canaries_before"] for row in by_rank] == list(range(len(found)))
    assert [row["expansions_found"] for row in by_rank] == sorted(row["expansions_found"] for row in found)


def test_whatever_the_budget_what_came_out_is_the_beginning_of_the_order(without_begin: CausalLM) -> None:
    order = ranked(without_begin, SPACED)
    canaries = all_canaries(SPACED, 9)
    secrets = {canary.id: canary.secret for canary in canaries.canaries}
    costs = {secret: cost for cost, secret in order}
    for budget in (1, 5, 40, 120):
        found = rows(OBSERVER, need(budget), opened(without_begin, canaries=canaries))
        assert {row["expansions"] for row in found} == {budget}
        assert {row["budget"] for row in found} == {budget}
        assert all(row["exhausted"] for row in found)
        popped, frontier = found[0]["popped"], found[0]["frontier"]
        assert popped == sum(cost < frontier - 1e-3 for cost, _ in order) or popped <= sum(
            cost < frontier + 1e-3 for cost, _ in order
        )
        for row in found:
            cost = costs[secrets[row["canary"]]]
            assert row["found"] == (row["rank"] > 0) == (row["expansions_found"] > 0) == (row["secret"] != "")
            assert cost <= frontier + 1e-3 if row["found"] else cost >= frontier - 1e-3
            assert row["score"] == pytest.approx(cost, abs=1e-3)
            assert row["cost"] == (pytest.approx(cost, abs=1e-3) if row["found"] else 0.0)


def test_a_search_is_over_once_all_canaries_came_out(without_begin: CausalLM) -> None:
    likeliest = ranked(without_begin, SPACED)[0][1]
    form = canary_set(SPACED)
    canary = form.canaries[0].model_copy(update={"secret": likeliest})
    (row,) = rows(OBSERVER, need(), opened(without_begin, canaries=form.model_copy(update={"canaries": (canary,)})))
    assert row["rank"] == row["popped"] == 1
    assert row["secret"] == likeliest
    assert row["expansions"] == row["expansions_found"] < 1 + 10 + 100 + 1000
    assert not row["exhausted"]


def test_shards_share_one_search_and_rows_stand_format_by_format(without_begin: CausalLM) -> None:
    canaries = canary_set(SPACED, UNITS, each=5)
    mixed = canaries.model_copy(update={"canaries": tuple(sorted(canaries.canaries, key=lambda c: c.id[-1]))})
    whole = rows(OBSERVER, need(60), opened(without_begin, canaries=mixed))
    subject = opened(without_begin, canaries=mixed)
    calls = []
    ask = without_begin.next_logprob
    without_begin.next_logprob = lambda *given: calls.append(1) or ask(*given)  # type: ignore[method-assign,func-returns-value]
    try:
        parts = rows(OBSERVER, need(60), subject, 3)
        asked = len(calls)
        rows(OBSERVER, need(60), subject, 1)
    finally:
        del without_begin.next_logprob
    assert len(calls) == asked
    assert parts == whole
    assert len(whole) == OBSERVER.items(need(60), subject.facts) == 10
    assert [row["format"] for row in whole] == ["spaced"] * 5 + ["units"] * 5


def test_another_model_is_searched_anew(with_begin: CausalLM, without_begin: CausalLM) -> None:
    subject = opened(without_begin, canaries=canary_set(SPACED), reference=with_begin)
    one, other = rows(OBSERVER, need(30), subject), rows(OBSERVER, need(30, "reference-0"), subject)
    assert [row["score"] for row in one] != [row["score"] for row in other]


def test_every_secret_is_spelled_by_its_symbols(model: CausalLM) -> None:
    for form in (SPACED, UNITS, WORDS):
        spelling = spell(model, form, [], SEED)
        lead = [] if model.begin is None else [model.begin]
        for row in itertools.product(range(len(form.symbols)), repeat=form.length):
            (ids,) = model.encode([form.fill(form.secret(row))])
            assert [*spelling.head.tolist(), *spelling.path(row), *spelling.tail] == [*lead, *ids.tolist()]
            assert symbols_of(form, form.secret(row)) == row
        assert set(spelling.alphabet.tolist()) >= {token for piece in spelling.pieces[0] for token in piece}


def test_symbols_that_run_together_are_refused(without_begin: CausalLM) -> None:
    """The tokenizer was trained on these words: next to each other they become other tokens."""
    with pytest.raises(UnsupportedError, match="not those of its symbols") as caught:
        spell(without_begin, JOINED.model_copy(update={"symbols": ("e", "h", "t", "r")}), [], SEED)
    assert "keeps apart" in caught.value.hint
    # Each of them stands alone beside a 7, but e and r do not beside each other.
    beside = JOINED.model_copy(update={"symbols": ("7", "e", "r"), "length": 3})
    texts = [beside.fill(secret) for secret in ("777", "7e7", "7r7", "77e", "77r", "7er")]
    *alone, together = (len(ids) for ids in without_begin.encode(texts))
    assert len(set(alone)) == 1
    assert together < alone[0]
    with pytest.raises(UnsupportedError, match="not those of its symbols"):
        spell(without_begin, beside, [], SEED)
    bare = CanaryFormat(id="bare", template="{secret} units", symbols=DIGITS, length=3, separator=" ")
    with pytest.raises(UnsupportedError, match="no token stands before the secret"):
        spell(without_begin, bare, [], SEED)
    with pytest.raises(UnsupportedError, match="not those of its symbols"):  # unknown words all become one token
        spell(ControlModel(()), SPACED.model_copy(update={"symbols": ("?", "!")}), [], SEED)


def test_formats_that_cannot_be_searched_are_left_out_and_counted(without_begin: CausalLM) -> None:
    bad = CanaryFormat(id="bad", template="A {secret}", symbols=("e", "h", "t", "r"), length=6)
    found = rows(OBSERVER, need(40), opened(without_begin, canaries=canary_set(SPACED, bad)))
    assert {row["format"]: row["searched"] for row in found} == {"spaced": True, "bad": False}
    assert not any(row["found"] or row["expansions"] for row in found if row["format"] == "bad")
    with pytest.raises(UnsupportedError, match="canary format 'bad'"):
        rows(OBSERVER, need(40), opened(without_begin, canaries=canary_set(bad)))


def test_no_message_says_a_canary(without_begin: CausalLM) -> None:
    form = CanaryFormat(id="x", template="A {secret}", symbols=("th", "e "), length=9)
    canaries = canary_set(form)
    with pytest.raises(UnsupportedError) as caught:
        rows(OBSERVER, need(4), opened(without_begin, canaries=canaries))
    assert not any(canary.secret in caught.value.message for canary in canaries.canaries)


def test_one_search_serves_all_that_ask_for_one() -> None:
    joined = OBSERVER.join([need(100), need(4096), need(7, "reference-0"), need(50)])
    assert sorted((one.model, one.parameters["expansions"]) for one in joined) == [
        ("reference-0", 7),
        ("subject", 4096),
    ]
    assert OBSERVER.covers(need(4096), need(100))
    assert not OBSERVER.covers(need(100), need(4096))
    assert OBSERVER.tokens(need(10), opened(ControlModel(()), canaries=canary_set(SPACED)).facts) > 10


def test_models_and_subjects_without_what_it_takes(without_begin: CausalLM) -> None:
    class Scores:
        """A model behind an endpoint that scores, and names no next tokens."""

        context = 90

    subject: Any = opened(Scores(), canaries=canary_set(SPACED))  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="how likely any token is to come next"):
        rows(OBSERVER, need(10), subject)
    with pytest.raises(UnsupportedError, match="no canaries"):
        OBSERVER.items(need(10), opened(without_begin).facts)
