"""The observer of identifiers: counts are public, values are not, and samples are nested."""

from __future__ import annotations

import json

from auditor.core.evidence import Need
from auditor.observers.identifiers import TYPES
from auditor.observers.personal_data import OBSERVER
from auditor.subjects.data import DataRecord
from auditor.testing.control_model import ControlModel
from tests.observers.opened import check_columns, opened, rows

TEXTS = (
    "nothing to see",
    "ann@acme.de and ann@acme.de and DE02120300000000202051",
    "call +49 30 901820 from 93.184.216.34",
    "DNI 54362315K, card 4532015112830366",
)
RECORDS = [DataRecord(id=f"r{n}", text=text, cluster=f"c{n % 2}", source="s") for n, text in enumerate(TEXTS)]


def need(dataset="members", **parameters):
    return Need(observer="personal-data", dataset=dataset, model=None, parameters=parameters)


def subject():
    return opened(ControlModel(()), RECORDS, RECORDS[:1])


def test_it_counts_by_type_and_keeps_the_values_apart():
    found = rows(OBSERVER, need(), subject(), size=3)
    counts = [[row[kind] for kind in TYPES] for row in found]
    assert counts == [[0] * 6, [2, 0, 1, 0, 0, 0], [0, 1, 0, 0, 1, 0], [0, 0, 0, 1, 0, 1]]
    assert [row["characters"] for row in found] == [len(text) for text in TEXTS]
    assert json.loads(found[2]["found"]) == [["phone", "+49 30 901820"], ["ip_address", "93.184.216.34"]]
    public = [column.name for column in OBSERVER.columns(OBSERVER.parameters()) if not column.restricted]
    values = [value for row in found for _, value in json.loads(row["found"])]
    assert len(values) == 7
    assert not any(value in str(row[name]) for value in values for row in found for name in public)


def test_offices_and_what_manuals_print_are_nobodys():
    """As in `language/personal-data`: one address of a help desk does not make data personal."""
    text = "support@acme.de, no-reply@acme.de, 8.8.8.8, DE89 3704 0044 0532 0130 00, 4111 1111 1111 1111, 12345678Z"
    record = DataRecord(id="r", text=text, cluster="c", source="")
    found = rows(OBSERVER, need(), opened(ControlModel(()), [record], [record]), size=1)
    assert [found[0][kind] for kind in TYPES] == [0] * 6
    assert json.loads(found[0]["found"]) == []


def test_it_writes_what_it_declares():
    check_columns(OBSERVER, need(), subject())
    check_columns(OBSERVER, need("controls", records=1), subject())


def test_one_pass_serves_all_who_ask():
    needs = [need(records=2), need(records=None), need("controls", records=5), need("controls", records=9)]
    joined = OBSERVER.join(needs)
    assert [(one.dataset, one.parameters["records"]) for one in joined] == [("members", None), ("controls", 9)]
    assert all(sum(OBSERVER.covers(one, asked) for one in joined) == 1 for asked in needs)
    assert OBSERVER.items(need(records=2), subject().facts) == 2
    assert OBSERVER.items(need("controls"), subject().facts) == 1
    assert OBSERVER.tokens(need(), subject().facts) == 0
