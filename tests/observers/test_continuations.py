"""Continuations: which records are continued, and that the verdict is that of the teacher-forced pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opened import check_columns, opened, rows
from tiny_models import CONTEXT, SENTENCES

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.observers.continuations import OBSERVER
from auditor.observers.token_scores import OBSERVER as SCORES
from auditor.statistics.text_similarity import bleu, common_run, edit_distance, rouge_l
from auditor.subjects.data import DataRecord

if TYPE_CHECKING:
    from auditor.subjects.adapters.language_model import CausalLM


def need(**parameters: Any) -> Need:
    return Need(observer="continuations", dataset="members", parameters=parameters)


class Spelled:
    """A model whose texts are its token ids written out, so that every sequence of tokens is a text."""

    def __init__(self, model: CausalLM) -> None:
        self.inner = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        return [np.array([int(word) for word in text.split()], dtype=np.int32) for text in texts]

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


@pytest.fixture
def spelled(model: CausalLM) -> Any:
    return Spelled(model)


@pytest.fixture
def records(spelled: Any) -> list[DataRecord]:
    """Return records of which every third is what the model itself says after six tokens; some are too short."""
    lead = [] if spelled.begin is None else [spelled.begin]
    rng = np.random.default_rng(0)
    found = []
    for number in range(30):
        ids = rng.integers(2, spelled.vocabulary, 6 if number % 10 == 7 else 14).tolist()
        if number % 3 == 0:
            said = spelled.continue_greedily([np.array([*lead, *ids[:6]], dtype=np.int32)], 8)[0].tolist()
            spoiled = number % 6 and int(rng.integers(8))
            ids = ids[:6] + said
            ids[6 + spoiled] = (ids[6 + spoiled] + (spoiled > 0)) % spelled.vocabulary
        found.append(DataRecord(f"r{number}", spelled.decode(ids), f"r{number}"))
    return found


def test_it_meets_the_protocol_and_writes_what_it_declares(spelled: Any, records: list[DataRecord]) -> None:
    assert isinstance(OBSERVER, Observer)
    check_columns(OBSERVER, need(prefix=6, suffix=4), opened(spelled, records))
    assert all(field.description for field in OBSERVER.parameters.model_fields.values())


def test_the_verdict_is_that_of_the_teacher_forced_pass(spelled: Any, records: list[DataRecord]) -> None:
    subject = opened(spelled, records)
    found = rows(OBSERVER, need(prefix=6, suffix=4, generate=30), subject)
    scored = rows(SCORES, Need(observer="token-scores", dataset="members", parameters={"from_token": 6}), subject)
    by_id = {row["id"]: row for row in scored}
    assert len(found) == 30
    for row in found:
        forced = by_id[row["id"]]
        assert row["eligible"] == (forced["tokens"] >= 10)
        if row["eligible"] and not any(forced["tie"][:4]):
            assert row["equal"] == all(forced["hit"][:4])
            hits = [*forced["hit"][:4], False]
            assert row["agree"] == hits.index(False)
            assert row["suffix"] == spelled.decode(forced["token_ids"][6:10])
            assert (row["continuation"] == row["suffix"]) or not row["equal"]
        if not row["eligible"]:
            assert (row["equal"], row["agree"], row["continuation"], row["suffix"]) == (False, 0, "", "")
    assert 0 < sum(row["equal"] for row in found) < 30
    assert any(not row["eligible"] for row in found)


def test_the_continued_records_are_part_of_the_scored_sample(spelled: Any, records: list[DataRecord]) -> None:
    subject = opened(spelled, records)
    asked = need(prefix=6, suffix=4, records=20, generate=7)
    found = [row["id"] for row in rows(OBSERVER, asked, subject)]
    scored = Need(observer="token-scores", dataset="members", parameters={"records": 20})
    assert len(found) == OBSERVER.items(asked, subject.facts) == 7
    assert set(found) < {row["id"] for row in rows(SCORES, scored, subject)}
    assert OBSERVER.items(need(records=3, generate=7), subject.facts) == 3
    assert [row["id"] for row in rows(OBSERVER, asked, subject, 2)] == found


def test_what_does_not_fit_the_context_is_not_eligible(model: CausalLM) -> None:
    records = [DataRecord("long", " ".join(SENTENCES), "long")]
    longest = CONTEXT - (model.begin is not None)
    for suffix, eligible in ((longest - 6, True), (longest - 5, False)):
        (row,) = rows(OBSERVER, need(prefix=6, suffix=suffix), opened(model, records))
        assert row["eligible"] == eligible


def test_nearness_is_that_of_what_is_withheld(spelled: Any, records: list[DataRecord]) -> None:
    held = opened(spelled, records)
    found = rows(OBSERVER, need(prefix=6, suffix=8, generate=30), held)
    texts = {record.id: record for record in records}
    fits = [row for row in found if row["eligible"]]
    for row in found:
        said, true = row["continuation"].split(), row["suffix"].split()
        assert (row["cluster"], row["copies"]) == (texts[row["id"]].cluster, texts[row["id"]].copies)
        if not row["eligible"]:
            assert (row["distance"], row["chance"], row["run"], row["distinct"]) == (-1, -1, 0, 0)
            continue
        assert row["distance"] == edit_distance(true, said)
        assert (row["distance"] == 0) == row["equal"]
        assert row["run"] == common_run(true, said) >= row["agree"]
        assert row["bleu"] == pytest.approx(bleu(true, said))
        assert row["rouge"] == pytest.approx(rouge_l(true, said).f)
        assert row["distinct"] == len(set(true))
        assert row["chance"] in {edit_distance(other["suffix"].split(), said) for other in fits if other is not row}
        assert row["excerpt"] == ""
    assert any(row["equal"] for row in fits)
    assert any(0 < row["distance"] < 8 for row in fits)


def test_needs_that_continue_alike_are_one_observation() -> None:
    few, many, other = need(records=10, generate=2), need(records=None, generate=30), need(suffix=9)
    joined = OBSERVER.join([few, many, other])
    assert [whole.parameters.get("generate", 32) for whole in joined] == [30, 32]
    for one in (few, many, other):
        assert sum(OBSERVER.covers(whole, one) for whole in joined) == 1
    assert not OBSERVER.covers(few, many)
