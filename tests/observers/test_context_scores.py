"""Scores after a context of controls: the tokens of the record alone, the same context for all, nobody of it scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from opened import check_columns, opened, rows
from tiny_models import SENTENCES

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.errors import UnsupportedError
from auditor.observers.context_scores import OBSERVER
from auditor.subjects.capability import ScoreRequest
from auditor.subjects.data import DataRecord

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM

MEMBERS = [DataRecord(f"m{number}", text, f"p{number}") for number, text in enumerate(["", *SENTENCES])]
CONTROLS = [DataRecord(f"c{number}", text, f"q{number // 2}") for number, text in enumerate([*SENTENCES, *SENTENCES])]


def need(**parameters: object) -> Need:
    asked = {"max_tokens": 12, "shots": 2, **parameters}
    return Need(observer="context-scores", dataset="members+controls", model="subject", parameters=asked)


def test_it_meets_the_protocol_and_writes_what_it_declares(model: CausalLM) -> None:
    assert isinstance(OBSERVER, Observer)
    subject = opened(model, MEMBERS, CONTROLS)
    check_columns(OBSERVER, need(), subject)
    assert OBSERVER.items(need(records=3), subject.facts) == 6
    assert [len(OBSERVER.join([need(), need(), need(shots=3)])), OBSERVER.covers(need(), need())] == [2, True]


@pytest.mark.parametrize("size", [3, 256])
def test_records_of_the_context_are_not_scored_and_every_other_is(model: CausalLM, size: int) -> None:
    subject = opened(model, MEMBERS, CONTROLS)
    found = rows(OBSERVER, need(), subject, size)
    scored = [row["id"] for row in found]
    left_out = {record.cluster for record in CONTROLS if record.id not in scored}
    assert 1 <= len(left_out) <= 2
    assert scored == [one.id for one in (*MEMBERS, *CONTROLS) if one.cluster not in left_out]
    assert [row["member"] for row in found] == [name.startswith("m") for name in scored]


def test_the_scores_are_those_of_the_record_after_the_context(model: CausalLM) -> None:
    subject = opened(model, MEMBERS, CONTROLS)
    found = {row["id"]: row for row in rows(OBSERVER, need(shots=1), subject)}
    left_out = [record for record in CONTROLS if record.id not in found]
    lead = [] if model.begin is None else [model.begin]
    between = model.encode(["\n"])[0]
    share = model.context - len(lead) - 12 - len(between)
    candidates = [np.array([*lead, *model.encode([one.text])[0][:share], *between], np.int32) for one in left_out]
    for record in MEMBERS:
        ids = model.encode([record.text])[0][:12]
        row = found[record.id]
        assert row["begin"] == 1 - len(lead)
        assert len(row["logprob"]) == max(len(ids) - row["begin"], 0)
        if row["logprob"]:
            first = [len(before) + row["begin"] for before in candidates]
            alone = [
                model.score([np.concatenate([before, ids])], ScoreRequest(first=at))[0].logprob
                for before, at in zip(candidates, first, strict=True)
            ]
            assert any(np.allclose(row["logprob"], one, atol=1e-4) for one in alone)


def test_a_context_without_room_is_refused(model: CausalLM) -> None:
    with pytest.raises(UnsupportedError, match="no room"):
        rows(OBSERVER, need(max_tokens=model.context - 9), opened(model, MEMBERS, CONTROLS))
