"""The observer of duplicates: known groups, whatever their white space, Unicode form and small changes."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.core.evidence import Need
from auditor.observers.text_duplicates import OBSERVER
from auditor.subjects.data import DataRecord
from auditor.testing.control_model import ControlModel
from tests.observers.opened import check_columns, opened, rows

LONG = " ".join(f"word{number}" for number in range(60))
TEXTS = (
    LONG,
    LONG.replace(" ", "\n\n"),  # equal but for white space
    LONG.replace("word30", "other"),  # 5 of 56 runs differ: 51 / 61 = 0.836
    LONG.replace("word30", "other").replace("word45", "more"),  # 46 / 66 = 0.697 of the first, 51 / 61 of the third
    " ".join(f"word{59 - number}" for number in range(60)),  # the same words the other way round
    "Caf\u00e9 au lait",
    "Cafe\u0301 au  lait",  # the same in another Unicode form
    "caf\u00e9 au lait",  # near only: the case differs
    "caf\u00e9 au th\u00e9",
)


def records(texts):
    return [
        DataRecord(id=f"r{n}", text=text, cluster=f"c{n}", copies=n + 1, source="s") for n, text in enumerate(texts)
    ]


def need(dataset="members", **parameters):
    return Need(observer="text-duplicates", dataset=dataset, model=None, parameters=parameters)


def seen(texts=TEXTS, **parameters):
    return rows(OBSERVER, need(**parameters), opened(ControlModel(()), records(texts), records(texts[:1])))


def test_it_finds_the_known_groups():
    found = seen()
    assert [row["exact_group"] for row in found] == [0, 0, 1, 2, 3, 4, 4, 5, 6]
    assert [row["exact_size"] for row in found] == [2, 2, 1, 1, 1, 2, 2, 1, 1]
    assert [row["near_size"] for row in found] == [4, 4, 4, 4, 1, 3, 3, 3, 1]
    assert [row["id"] for row in found] == [f"r{number}" for number in range(9)]
    assert [row["copies"] for row in found] == list(range(1, 10))


def test_near_is_what_was_asked():
    assert [row["near_size"] for row in seen(jaccard=0.9)] == [2, 2, 1, 1, 1, 3, 3, 3, 1]
    assert [row["near_size"] for row in seen(words=1, jaccard=0.9)][:5] == [5, 5, 5, 5, 5]


def test_it_writes_what_it_declares_and_no_text():
    subject = opened(ControlModel(()), records(TEXTS), records(TEXTS[:1]))
    check_columns(OBSERVER, need(), subject)
    assert not any(column.restricted for column in OBSERVER.columns(OBSERVER.parameters()))
    assert not any("word" in str(value) or "lait" in str(value) for row in seen() for value in row.values())


def test_the_sides_and_the_sample_are_their_own():
    subject = opened(ControlModel(()), records(TEXTS), records(TEXTS[:1]))
    assert len(rows(OBSERVER, need("controls"), subject)) == 1
    assert len(rows(OBSERVER, need(records=4), subject)) == 4
    needs = [need(records=4), need(records=5), need(records=4)]
    assert len(OBSERVER.join(needs)) == 2
    assert not OBSERVER.covers(need(records=5), need(records=4))
    assert OBSERVER.tokens(need(), subject.facts) == 0


@pytest.mark.parametrize("seed", range(3))
def test_texts_with_nothing_in_common_are_never_grouped(seed):
    rng = np.random.default_rng(seed)
    texts = [" ".join(f"w{word}" for word in rng.integers(200, size=80)) for _ in range(300)]
    assert {row["near_size"] for row in seen(texts)} == {1}
