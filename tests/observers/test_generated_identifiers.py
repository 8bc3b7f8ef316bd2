"""Identifiers in open generations: those of what was said, by the numbers of the data, the same after a crash."""

from __future__ import annotations

import pyarrow as pa
from opened import SEED, check_columns, rows

from auditor.contract.protocol import Part
from auditor.core.evidence import Need
from auditor.core.policy import QueryBudget
from auditor.observers.identifier_register import normal, register
from auditor.observers.identifiers import identifiers
from auditor.observers.open_generations import OBSERVER, Parameters
from auditor.observers.recognizers import KINDS
from auditor.testing.control_subject import control_subject

QUERIES = QueryBudget(per_subject=1, lifetime=1, reason="test")
SMALL = {"unprompted": 30, "decaying": 0, "prompted": 200, "tokens": 110, "identifiers": "patterns"}


def need(**changes):
    return Need(observer="open-generations", dataset="members+controls", parameters=SMALL | changes)


def subject():
    return control_subject("memorizer", references=0, confidence=0.95, queries=QUERIES)


def test_they_are_those_of_what_was_said():
    one = subject()
    check_columns(OBSERVER, need(), one)
    known = register(one, SEED, None, "patterns")
    owners = {known.numbers[other.kind, other.plain]: other.persons for other in known.known}
    found = rows(OBSERVER, need(), one)
    assert sum(len(row["identifiers"]) for row in found) >= 2
    for row in found:
        said = [(other.type, normal(other.type, other.value)) for other in identifiers(row["generated"])]
        assert [KINDS[kind] for kind in row["identifier_kinds"]] == [kind for kind, _ in said]
        assert [number if number < len(owners) else -1 for number in row["identifiers"]] == [
            known.numbers.get(key, -1) for key in said
        ]
        assert row["identifier_known"] == [key in known.numbers for key in said]
        assert not any(row["identifier_given"])
        assert set(row["identifier_other"]) <= {-1}
        for number in row["identifiers"]:
            if row["side"] == "members" and number in owners:
                ((side, _),) = owners[number]
                assert side == "members"


class Babbling:
    """Says new numbers, some of them twice."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def decode(self, ids):
        number = sum(int(one) for one in ids) % 7
        return f"{self.model.decode(ids)} a{number}@acme.de"


def test_new_ones_are_numbered_alike_after_a_crash():
    def asked():
        one = subject()
        one._models["memorizer"] = Babbling(one.model("subject"))
        return one

    asking = need(unprompted=24, prompted=0, tokens=60)
    whole = rows(OBSERVER, asking, asked())
    numbers = [number for row in whole for number in row["identifiers"]]
    assert min(numbers) == 48
    assert list(dict.fromkeys(numbers)) == list(range(48, 1 + max(numbers)))
    assert len(numbers) == 24 > len(set(numbers))
    said = {}
    for row in whole:
        (value,) = (other.value for other in identifiers(row["generated"]))
        assert said.setdefault(value, row["identifiers"]) == row["identifiers"]
    fresh = asked()

    def earlier(column):
        return pa.chunked_array([pa.array([row[column] for row in whole[:10]])])

    resumed = OBSERVER.observe(asking, fresh, Part(10, 24, SEED, None, earlier)).public.to_pylist()
    assert [row["identifiers"] for row in resumed] == [row["identifiers"] for row in whole[10:]]


def test_one_pass_serves_those_who_look_and_those_who_do_not():
    needs = [
        need(identifiers=""),
        need(),
        need(references=["a" * 64], identifiers=""),
        need(identifiers="presidio"),
        need(tokens=50, identifiers=""),
    ]
    joined = OBSERVER.join(needs)
    assert len(joined) == 3
    assert all(any(OBSERVER.covers(one, asked) for one in joined) for asked in needs)
    small = [one for one in joined if Parameters.from_plain(one.parameters).tokens == 50]
    assert [Parameters.from_plain(one.parameters).identifiers for one in small] == [""]
    assert len(OBSERVER.join(needs[:3])) == 1
    plain = OBSERVER.columns(Parameters())
    assert not any(column.name.startswith("identifier") for column in plain)
