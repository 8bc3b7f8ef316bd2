"""Deviations: every difference is named, nothing else is, and what is named is true."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from commitments import MADE, TOLERANCE, digest, preregistration
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.core.preregistration import Commitment
from auditor.preregister.deviations import LONGEST, deviations

quiet = settings(derandomize=True, deadline=None, max_examples=150)


def with_parameters(parameters: dict[str, Any]) -> Commitment:
    plain = MADE.plain()
    plain["tests"]["language/exposure"]["parameters"] = parameters
    return Commitment.from_plain(plain)


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        return {key: found for name, part in value.items() for key, found in leaves(part, (*path, name)).items()}
    return {path: value}


def at(plain, pointer: str):
    """Return the value at a JSON pointer, by an implementation that knows nothing of ours."""
    for key in pointer.split("/")[1:]:
        plain = plain[key.replace("~1", "/").replace("~0", "~")]
    return plain


def test_what_is_as_committed_deviates_in_nothing():
    assert deviations(preregistration(), MADE, stamped=True) == ()


LEAVES = sorted(leaves(MADE.plain()))


@pytest.mark.parametrize("path", LEAVES, ids="/".join)
def test_every_single_thing_that_is_changed_is_named_and_nothing_else(path):
    plain = copy.deepcopy(MADE.plain())
    holder = plain
    for key in path[:-1]:
        holder = holder[key]
    old = holder[path[-1]]
    holder[path[-1]] = _other(old)
    try:
        changed = Commitment.from_plain(plain)
    except ValueError:  # a vocabulary of few words, such as the release context
        holder[path[-1]] = "public-api" if isinstance(old, str) else 0.5
        changed = Commitment.from_plain(plain)
    (found,) = deviations(preregistration(), changed, stamped=True)
    if old == {}:  # what fills an empty mapping is named itself
        old, holder, path = None, holder[path[-1]], (*path, "internal")
        assert at(changed.plain(), found.place) == holder[path[-1]]
        return
    assert at(MADE.plain(), found.place) == old
    assert at(changed.plain(), found.place) == holder[path[-1]]
    assert found.committed != found.now


def _other(value):
    if isinstance(value, bool) or value is None:
        return not value if isinstance(value, bool) else digest("other")
    if isinstance(value, int | float):
        return value / 2 if isinstance(value, float) else value + 1
    if isinstance(value, list):
        return [*value, digest("other")]
    if isinstance(value, dict):
        return {"internal": 0.5}
    return digest("other")


def test_words_say_where_a_person_looks():
    looser = MADE.tests["language/exposure"].model_copy(
        update={"tolerance": TOLERANCE.model_copy(update={"at_most": 0.01})}
    )
    now = MADE.model_copy(update={"tests": {"language/exposure": looser}})
    (found,) = deviations(preregistration(), now, stamped=True)
    assert (found.what, found.committed, found.now) == ("language/exposure: tolerance, at most", "0.001", "0.01")
    assert found.place == "/tests/language~1exposure/tolerance/at_most"


def test_a_test_that_was_left_out_and_one_that_was_added_are_named():
    left_out = deviations(preregistration(), MADE.model_copy(update={"tests": {}}), stamped=True)
    assert {item.now for item in left_out} == {None}
    assert {item.what.split(":")[0] for item in left_out} == {"language/exposure"}
    more = MADE.model_copy(update={"tests": {**MADE.tests, "language/works": MADE.tests["language/exposure"]}})
    added = deviations(preregistration(), more, stamped=True)
    assert {item.committed for item in added} == {None}
    assert {item.what.split(":")[0] for item in added} == {"language/works"}


def test_a_time_stamp_that_was_asked_for_and_is_not_there_is_named():
    asked = preregistration(authority="https://stamps.example/")
    (found,) = deviations(asked, MADE, stamped=False)
    assert (found.committed, found.now) == ("asked from https://stamps.example/", None)
    assert deviations(asked, MADE, stamped=True) == ()
    assert deviations(preregistration(), MADE, stamped=False) == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@quiet
@given(
    st.dictionaries(st.text(min_size=1, max_size=4), json_values, max_size=3),
    st.dictionaries(st.text(min_size=1, max_size=4), json_values, max_size=3),
)
def test_named_is_exactly_what_differs(one, other):
    """Against an oracle of its own: the sets of leaves, compared as JSON text."""
    first, second = with_parameters(one), with_parameters(other)
    text = {path: json.dumps(value, sort_keys=True) for path, value in leaves(json.loads(first.canonical())).items()}
    now = {path: json.dumps(value, sort_keys=True) for path, value in leaves(json.loads(second.canonical())).items()}
    expected = {path for path in text.keys() | now.keys() if text.get(path) != now.get(path)}
    expected -= {
        path
        for path in expected
        if {text.get(path, "{}"), now.get(path, "{}")} == {"{}"}
        and any(len(other) > len(path) and other[: len(path)] == path for other in text.keys() | now.keys())
    }
    found = deviations(preregistration(first), second, stamped=True)
    pointers = {"".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path) for path in expected}
    assert {item.place for item in found} == pointers
    assert all(item.committed != item.now for item in found)
    back = deviations(preregistration(second), first, stamped=True)
    assert [(item.place, item.now, item.committed) for item in back] == [
        (item.place, item.committed, item.now) for item in found
    ]
    assert bool(found) == (first.identity() != second.identity())


@quiet
@given(st.text(max_size=4), st.text(max_size=4))
def test_long_values_are_cut_and_still_told_apart(one, other):
    first, second = (with_parameters({"prompt": "x" * LONGEST + end}) for end in (one, other))
    found = deviations(preregistration(first), second, stamped=True)
    assert bool(found) == (one != other)
    for item in found:
        assert item.committed != item.now
        assert len(item.committed or "") < LONGEST + 100


def test_true_and_one_and_the_word_one_are_three_things():
    kinds = [True, 1, "1", "true"]
    for one in kinds:
        for other in kinds:
            found = deviations(
                preregistration(with_parameters({"a": one})), with_parameters({"a": other}), stamped=True
            )
            assert bool(found) == (type(one) is not type(other) or one != other)
            assert all(item.committed != item.now for item in found)
