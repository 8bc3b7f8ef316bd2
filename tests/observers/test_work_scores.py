"""Whole works through overlapping windows: what is read, in which order, and that every number is that of its own window."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from opened import check_columns, opened, rows
from pydantic import ValidationError
from tiny_models import SENTENCES

from auditor.contract.protocol import Observer
from auditor.core.evidence import Need
from auditor.core.subject import RecordsSpec
from auditor.errors import UnsupportedError
from auditor.observers.work_scores import OBSERVER, Parameters
from auditor.subjects.data import DataRecord, FileRecords

if TYPE_CHECKING:
    from pathlib import Path

    from opened import OpenedInMemory

    from auditor.subjects.adapters.language_model import CausalLM

WINDOW = {"prefix": 6, "suffix": 8, "stride": 4}
TITLES = ["sea", "town", "sea", "short", "town", "lamp"]
TEXTS = [
    " ".join(SENTENCES[:3]),
    " ".join(SENTENCES[3:]),
    SENTENCES[4] + " " + SENTENCES[1],
    "ok",
    SENTENCES[2],
    " ".join(SENTENCES),
]
RECORDS = [
    DataRecord(f"r{number}", text, title, copies=1 + number, source="a" if number % 2 == 0 else "b")
    for number, (title, text) in enumerate(zip(TITLES, TEXTS, strict=True))
]
WORKS = ["sea", "town", "short", "lamp"]


def need(**parameters: object) -> Need:
    asked = Parameters.from_plain({**WINDOW, "works": None, **parameters}).plain()
    return Need(observer="work-scores", dataset="members", parameters=asked)


def subject_of(model: CausalLM, records: list[DataRecord] = RECORDS) -> OpenedInMemory:
    found = opened(model, records)
    members = found.facts.subject.members.model_copy(update={"clusters": len({record.cluster for record in records})})
    object.__setattr__(found, "facts", _with(found.facts, members))
    return found


def _with(facts, members):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(facts, subject=facts.subject.model_copy(update={"members": members}))


def test_it_meets_the_protocol_and_writes_what_it_declares(model: CausalLM) -> None:
    assert isinstance(OBSERVER, Observer)
    subject = subject_of(model)
    check_columns(OBSERVER, need(), subject)
    assert OBSERVER.items(need(), subject.facts) == 4
    assert OBSERVER.items(need(works=3), subject.facts) == 3
    assert [column.name for column in OBSERVER.columns(Parameters()) if column.restricted] == ["likeliest"]


def test_a_work_is_all_its_records_in_the_order_of_the_file(model: CausalLM) -> None:
    found = {row["cluster"]: row for row in rows(OBSERVER, need(), subject_of(model))}
    assert list(found) == WORKS
    assert [found[name]["id"] for name in WORKS] == ["r0", "r1", "r3", "r5"]
    assert [found[name]["records"] for name in WORKS] == [2, 2, 1, 1]
    assert [found[name]["copies"] for name in WORKS] == [3, 5, 4, 6]
    assert [found[name]["source"] for name in WORKS] == ["a", "", "b", "b"]
    tokens = [len(ids) for ids in model.encode(TEXTS)]
    assert found["sea"]["tokens"] == tokens[0] + tokens[2]
    assert found["sea"]["cells"] == [(tokens[0] - 6) // 4, (tokens[2] - 6) // 4]
    assert (found["short"]["short"], found["short"]["cells"], found["short"]["log_p"]) == (1, [], [])


def test_every_window_is_scored_after_its_own_prefix_alone(model: CausalLM) -> None:
    """Held against code of its own: the summed log-probability of a completion after a prefix, all tokens allowed."""
    found = {row["cluster"]: row for row in rows(OBSERVER, need(top_k=model.vocabulary), subject_of(model))}
    lead = [] if model.begin is None else [model.begin]
    expected, agree = [], []
    for ids in model.encode([TEXTS[0], TEXTS[2]]):
        for start in range(0, len(ids) - 14 + 1, 4):
            before, after = np.array([*lead, *ids[start : start + 6]], np.int32), ids[start + 6 : start + 14]
            expected.append(model.score_completions(before, [after])[0])
            said = model.continue_greedily([before], 8)[0]
            agree.append(8 if (said == after).all() else int((said == after).argmin()))
    assert np.allclose(found["sea"]["log_p"], expected, atol=1e-3)
    assert found["sea"]["agree"] == agree


def test_cells_tile_the_work(model: CausalLM) -> None:
    for row in rows(OBSERVER, need(), subject_of(model)):
        assert len(row["log_p"]) == sum(cells - 1 for cells in row["cells"])
        assert len(row["characters"]) == sum(row["cells"])
        assert len(row["hit"]) == 4 * sum(row["cells"])
    row = next(row for row in rows(OBSERVER, need(), subject_of(model)) if row["cluster"] == "lamp")
    ids = model.encode([TEXTS[5]])[0]
    end = 6 + 4 * row["cells"][0]
    whole = len(model.decode(ids[:end].tolist())) - len(model.decode(ids[:6].tolist()))
    assert sum(row["characters"]) == whole
    assert end <= len(ids) < end + 4


def test_a_token_is_judged_in_the_window_that_gives_it_most_context(model: CausalLM) -> None:
    from auditor.subjects.capability import ScoreRequest

    row = next(row for row in rows(OBSERVER, need(), subject_of(model)) if row["cluster"] == "lamp")
    ids, lead = model.encode([TEXTS[5]])[0], [] if model.begin is None else [model.begin]
    for place, hit in enumerate(row["hit"]):
        token = 6 + place
        start = max(0, -(-(token - 13) // 4)) * 4
        sequence = np.array([*lead, *ids[start : token + 1]], np.int32)
        score = model.score([sequence], ScoreRequest(first=len(sequence) - 1))[0]
        if not score.tie[0]:
            assert bool(score.hit[0]) == hit, place


def test_trivial_suffixes_can_be_told(model: CausalLM) -> None:
    text = " ".join(["left left left left left left left left left left", SENTENCES[1]])
    (row,) = rows(OBSERVER, need(), subject_of(model, [DataRecord("r", text, "w")]))
    ids = model.encode([text])[0].tolist()
    for number, start in enumerate(range(0, len(ids) - 14 + 1, 4)):
        before, after = ids[start : start + 6], ids[start + 6 : start + 14]
        assert row["distinct"][number] == len(set(after))
        runs = [
            length
            for length in range(9)
            for place in range(9 - length)
            if any(before[at : at + length] == after[place : place + length] for at in range(7 - length))
        ]
        assert row["echo"][number] == max(runs)


def test_a_separator_lets_windows_cross_records(model: CausalLM) -> None:
    joined = {row["cluster"]: row for row in rows(OBSERVER, need(separator="\n"), subject_of(model))}
    whole = [DataRecord("one", TEXTS[0] + "\n" + TEXTS[2], "sea")]
    (expected,) = rows(OBSERVER, need(), subject_of(model, whole))
    for name in ("tokens", "cells", "agree", "characters"):
        assert joined["sea"][name] == expected[name]
    assert np.allclose(joined["sea"]["log_p"], expected["log_p"], atol=1e-4)


def test_long_works_are_cut(model: CausalLM) -> None:
    found = {row["cluster"]: row for row in rows(OBSERVER, need(max_tokens=40), subject_of(model))}
    assert [found[name]["cut"] for name in WORKS] == [True, True, False, True]
    assert found["sea"]["tokens"] == 40
    assert len(found["sea"]["cells"]) == 1
    assert found["sea"]["short"] == 0


@pytest.mark.parametrize("size", [1, 3])
def test_shards_change_nothing_and_samples_nest(model: CausalLM, size: int) -> None:
    subject = subject_of(model)
    whole = rows(OBSERVER, need(), subject)
    apart = rows(OBSERVER, need(), subject, size)
    assert [row["id"] for row in whole] == [row["id"] for row in apart]
    for one, other in zip(whole, apart, strict=True):
        assert np.allclose(one["log_p"], other["log_p"], atol=1e-4)
    some = [{row["id"] for row in rows(OBSERVER, need(works=count), subject, size)} for count in (1, 2, 3)]
    assert some[0] < some[1] < some[2] < {row["id"] for row in whole}


def test_records_in_a_file_are_found_again_however_they_are_mixed(model: CausalLM, tmp_path: Path) -> None:
    lines = [{"id": one.id, "text": one.text, "work": one.cluster} for one in RECORDS]
    (tmp_path / "works.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = FileRecords(RecordsSpec(path="works.jsonl", id="id", document="work"), tmp_path)
    subject = subject_of(model)
    expected = rows(OBSERVER, need(), subject)
    subject.sides["members"] = source  # type: ignore[assignment]
    subject.memory.clear()
    found = rows(OBSERVER, need(), subject, 3)
    assert source.identity().clusters == 4
    assert [(row["id"], row["tokens"]) for row in found] == [(row["id"], row["tokens"]) for row in expected]


def test_one_pass_serves_whoever_asks_the_same_of_fewer_works() -> None:
    few, more, every, other = need(works=2), need(works=3), need(), need(stride=8)
    assert OBSERVER.join([few, every, more, other]) == [every, other]
    assert OBSERVER.covers(more, few)
    assert not OBSERVER.covers(few, more)
    assert not OBSERVER.covers(every, other)


def test_what_cannot_be_is_refused(model: CausalLM) -> None:
    with pytest.raises(UnsupportedError, match="does not fit the model's context"):
        rows(OBSERVER, need(prefix=model.context), subject_of(model))
    with pytest.raises(ValidationError, match="does not divide"):
        need(stride=3)


def test_a_work_without_a_window_has_a_row_of_nothing(model: CausalLM) -> None:
    (row,) = rows(OBSERVER, need(), subject_of(model, [DataRecord("r", "ok", "w")]))
    assert (row["log_p"], row["hit"], row["excerpt"], row["likeliest"]) == ([], [], "", "")
