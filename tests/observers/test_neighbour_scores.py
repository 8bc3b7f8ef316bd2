"""Scores beside neighbours: one token away each, the likeliest other one, and the same whatever the shard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from opened import check_columns, opened, rows
from tiny_models import SENTENCES

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.errors import UnsupportedError
from auditor.observers.neighbour_scores import OBSERVER
from auditor.subjects.capability import ScoreRequest
from auditor.subjects.data import DataRecord

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM

MEMBERS = [DataRecord(f"m{number}", text, f"p{number}") for number, text in enumerate(["", "a", *SENTENCES])]
CONTROLS = [DataRecord(f"c{number}", text[::-1], f"q{number}") for number, text in enumerate(SENTENCES)]


def need(**parameters: object) -> Need:
    asked = {"max_tokens": 12, "neighbours": 5, **parameters}
    return Need(observer="neighbour-scores", dataset="members+controls", model="subject", parameters=asked)


def sequence(model: CausalLM, record: DataRecord, size: int = 12) -> np.ndarray:
    lead = [] if model.begin is None else [model.begin]
    return np.array([*lead, *model.encode([record.text])[0][:size]], dtype=np.int32)


def mean(model: CausalLM, ids: np.ndarray) -> float:
    return float(model.score([ids], ScoreRequest())[0].logprob.astype(np.float64).mean())


def test_it_meets_the_protocol_and_writes_what_it_declares(model: CausalLM) -> None:
    assert isinstance(OBSERVER, Observer)
    subject = opened(model, MEMBERS, CONTROLS)
    check_columns(OBSERVER, need(), subject)
    assert OBSERVER.items(need(records=3), subject.facts) == 6
    assert [len(OBSERVER.join([need(), need(), need(neighbours=6)])), OBSERVER.covers(need(), need())] == [2, True]


@pytest.mark.parametrize("size", [2, 9, 64])
def test_every_record_is_there_whatever_the_shards(model: CausalLM, size: int) -> None:
    found = rows(OBSERVER, need(), opened(model, MEMBERS, CONTROLS), size)
    assert [row["id"] for row in found] == [one.id for one in (*MEMBERS, *CONTROLS)]
    assert [row["member"] for row in found] == [True] * len(MEMBERS) + [False] * len(CONTROLS)
    whole = rows(OBSERVER, need(), opened(model, MEMBERS, CONTROLS))
    for row, other in zip(found, whole, strict=True):
        assert row["tokens"] == other["tokens"]
        np.testing.assert_allclose([row["own"], *row["neighbour"]], [other["own"], *other["neighbour"]], atol=1e-4)


def test_neighbours_are_one_token_away_and_that_is_the_likeliest_other_one(model: CausalLM) -> None:
    for row, record in zip(
        rows(OBSERVER, need(), opened(model, MEMBERS, CONTROLS)), [*MEMBERS, *CONTROLS], strict=True
    ):
        ids = sequence(model, record)
        assert row["tokens"] == max(len(ids) - 1, 0)
        if len(ids) < 2:
            assert row["neighbour"] == []
            continue
        assert row["own"] == pytest.approx(mean(model, ids), abs=1e-4)
        every = np.arange(model.vocabulary, dtype=np.int32)
        likely = []
        for place in range(1, len(ids)):
            order = np.argsort(-model.next_logprob(ids[:1], [ids[1:place]], every)[0], kind="stable")
            others = [token for token in order if token != ids[place]][: -(-5 // (len(ids) - 1))]
            for token in others:
                changed = ids.copy()
                changed[place] = token
                likely.append(mean(model, changed))
        assert len(row["neighbour"]) == min(5, len(likely))
        left = list(likely)
        for value in row["neighbour"]:  # each is one of them, and none is taken twice
            near = int(np.abs(np.array(left) - value).argmin())
            assert left.pop(near) == pytest.approx(value, abs=2e-4)


def test_a_short_text_has_as_many_neighbours_as_a_long_one(model: CausalLM) -> None:
    found = rows(OBSERVER, need(neighbours=30, max_tokens=4), opened(model, MEMBERS, CONTROLS))
    assert all(len(row["neighbour"]) == 30 for row in found if row["tokens"] > 0)


def test_a_model_that_proposes_nothing_is_refused() -> None:
    class Plain:
        context, vocabulary, begin = 96, 9, None

    with pytest.raises(UnsupportedError, match="what else"):
        rows(OBSERVER, need(), opened(Plain(), MEMBERS, CONTROLS))
