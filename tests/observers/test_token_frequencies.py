"""The frequencies of tokens: of both sides together, aligned with the kept tokens, blind to the labels."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from opened import check_columns, opened, rows
from tiny_models import SENTENCES

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.observers.token_frequencies import OBSERVER
from auditor.subjects.data import DataRecord

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM

MEMBERS = [DataRecord(f"m{number}", text, f"m{number}") for number, text in enumerate(SENTENCES[:3])]
CONTROLS = [DataRecord(f"c{number}", text, f"c{number}") for number, text in enumerate(["", *SENTENCES[1:]])]


def need(**parameters: object) -> Need:
    return Need(observer="token-frequencies", dataset="members+controls", model="subject", parameters=parameters)


def test_it_meets_the_protocol_and_writes_what_it_declares(model: CausalLM) -> None:
    assert isinstance(OBSERVER, Observer)
    subject = opened(model, MEMBERS, CONTROLS)
    check_columns(OBSERVER, need(), subject)
    assert OBSERVER.items(need(records=2), subject.facts) == 4
    assert OBSERVER.tokens(need(), subject.facts) == 0
    assert [len(OBSERVER.join([need(), need(), need(max_tokens=3)])), OBSERVER.covers(need(), need())] == [2, True]


def test_every_token_has_its_smoothed_share_of_both_sides(model: CausalLM) -> None:
    found = rows(OBSERVER, need(max_tokens=6), opened(model, MEMBERS, CONTROLS))
    kept = [model.encode([record.text])[0][:6].tolist() for record in (*MEMBERS, *CONTROLS)]
    counts = Counter(token for ids in kept for token in ids)
    total = sum(counts.values()) + model.vocabulary
    assert [row["member"] for row in found] == [True] * len(MEMBERS) + [False] * len(CONTROLS)
    for row, ids in zip(found, kept, strict=True):
        np.testing.assert_allclose(
            row["log_frequency"], [np.log((counts[token] + 1) / total) for token in ids], rtol=1e-6
        )


def test_it_does_not_know_who_is_a_member(model: CausalLM) -> None:
    one, two = (
        {row["id"]: row["log_frequency"] for row in rows(OBSERVER, need(), opened(model, *sides))}
        for sides in ((MEMBERS, CONTROLS), (CONTROLS, MEMBERS))
    )
    assert one == two
