"""A policy that extends another: what it takes over, what it changes and says of it, and what is refused."""

from __future__ import annotations

import hashlib

import pytest
from ruamel.yaml import YAML

from auditor.core.record import digest_of
from auditor.core.resources import resource
from auditor.core.subject import ReleaseContext
from auditor.errors import PolicyError
from auditor.policy.load import load_policy
from auditor.policy.written_out import in_context

HEAD = "id: own\nversion: 1\ntitle: Own\nextends: baseline\nbecause: we know better\n"
KNOWN = {"language/exposure": ("excess_exposure",)}


def written(tmp_path, text, name="own.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return load_policy(str(path), base=None, known_tests=None)


def entries(loaded):
    return {entry.test: entry for entry in loaded.policy.tests}


def shipped(name):
    return load_policy(name, base=None, known_tests=None)


def test_what_is_not_changed_is_taken_over(tmp_path):
    own, parent = written(tmp_path, HEAD), shipped("baseline")
    assert own.policy.overrides == ()
    changed = {"id": "own", "version": 1, "title": "Own", "extends": "baseline", "because": "we know better"}
    assert own.policy == parent.policy.model_copy(update=changed)
    assert own.parents == (parent.bytes,)
    assert own.digest == digest_of([hashlib.sha256(item).hexdigest() for item in (own.bytes, parent.bytes)])


def test_parts_of_an_entry_are_changed_key_by_key_and_every_change_is_listed(tmp_path):
    own = written(
        tmp_path,
        HEAD
        + "confidence: 0.9\nwithout: {language/membership: no scores}\ntests:\n"
        + "  - {test: language/exposure, because: more bits, parameters: {candidates: 512},"
        + " tolerance: {at_most: 5.0, reason: five, set_by: controller}}\n"
        + "  - {test: language/duplication, parameters: {records: 10}}\n",
    )
    before, after = entries(shipped("baseline")), entries(own)
    assert list(after) == [name for name in before if name != "language/membership"] + ["language/duplication"]
    was, now = before["language/exposure"], after["language/exposure"]
    assert now.tolerance == was.tolerance.model_copy(update={"at_most": 5.0, "reason": "five", "set_by": "controller"})
    assert now.parameters == was.parameters | {"candidates": 512}
    assert now.least == was.least
    listed = {change.place: (change.inherited, change.now, change.because) for change in own.policy.overrides}
    assert listed == {
        "confidence": ("0.95", "0.9", "we know better"),
        "language/membership": ("asked for", "left out", "no scores"),
        "language/exposure.tolerance.at_most": ("3.0", "5.0", "more bits"),
        "language/exposure.tolerance.reason": (was.tolerance.reason, "five", "more bits"),
        "language/exposure.tolerance.set_by": ("engineering default", "controller", "more bits"),
        "language/exposure.parameters.candidates": ("4096", "512", "more bits"),
        "language/duplication": ("not asked for", "asked for", "we know better"),
    }


def test_a_changed_tolerance_says_what_holds_in_each_release_context(tmp_path):
    """The inherited 0.01 for internal release went before a stricter number, a hundred times as much as it says."""
    text = (
        HEAD
        + "tests:\n  - {test: language/discoverable-extraction, because: stricter,"
        + " tolerance: {at_most: 0.0001, reason: few, set_by: controller%s}}\n"
    )
    with pytest.raises(PolicyError, match=r"own.yaml:7.*internal 0.01.*open-weights 0.0001"):
        written(tmp_path, text % "")
    for said, internal in (("{}", 0.0001), ("{internal: 0.001}", 0.001)):
        own = written(tmp_path, text % f", by_release_context: {said}")
        found = entries(type("Loaded", (), {"policy": in_context(own.policy, ReleaseContext.INTERNAL)}))
        assert found["language/discoverable-extraction"].tolerance.at_most == internal


def test_changes_add_up_over_generations(tmp_path):
    written(tmp_path, HEAD + "confidence: 0.9\nvalid_months: 6\n", "middle.yaml")
    text = HEAD.replace("id: own", "id: last").replace("extends: baseline", "extends: middle.yaml")
    own = written(tmp_path, text + "confidence: 0.8\n", "last.yaml")
    assert {change.place: change.inherited for change in own.policy.overrides} == {
        "valid_months": "12",
        "confidence": "0.9",
    }
    assert (own.policy.confidence, own.policy.valid_months, len(own.parents)) == (0.8, 6, 2)


def test_from_a_bundle_only_the_parents_that_lie_there_are_read(tmp_path):
    own = written(tmp_path, HEAD + "seed: 7\n")
    (tmp_path / "parents").mkdir()
    with pytest.raises(PolicyError, match=r"1\.yaml"):
        load_policy(str(own.path), base=None, known_tests=None, parents=tmp_path / "parents")
    (tmp_path / "parents" / "1.yaml").write_bytes(own.parents[0].replace(b"valid_months: 12", b"valid_months: 3"))
    again = load_policy(str(own.path), base=None, known_tests=None, parents=tmp_path / "parents")
    assert again.policy.valid_months == 3
    assert again.digest != own.digest


ENTRY = "tests:\n  - {test: language/exposure, "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD.replace("because: we know better\n", ""), ["own.yaml:4", "because"]),
        (HEAD.replace("baseline", "baselime"), ["own.yaml:4", "baselime"]),
        (HEAD.replace("baseline", "own.yaml"), ["own.yaml:4", "circle"]),
        (HEAD.replace("extends: baseline", "extends: [baseline]"), ["own.yaml:4", "names one"]),
        (HEAD + ENTRY + "parameters: {candidates: 1}}\n", ["own.yaml:7", "without a reason"]),
        (HEAD + "without: {language/epsilon: no}\n", ["own.yaml:6", "not a test of the policy"]),
        (HEAD + "without: [language/exposure]\n", ["own.yaml:6", "its reason"]),
        (HEAD + "without: {language/exposure: x}\n" + ENTRY + "because: y}\n", ["own.yaml:6", "another line"]),
        (HEAD + ENTRY + "because: y, tolerance: {at_most: much}}\n", ["own.yaml:7", "at_most"]),
        (
            HEAD + ENTRY + "because: y, tolerance: {at_most: 5.0, reason: five}}\n",
            ["own.yaml:7", "set_by would be inherited"],
        ),
        (HEAD + ENTRY + "because: y, tolerance: {absolute_at_most: 9.0}}\n", ["own.yaml:7", "reason and set_by"]),
        (HEAD + ENTRY + "because: y, tolerances: {at_most: 1.0}}\n", ["own.yaml:7", "tolerances"]),
        (HEAD + "overrides: []\n", ["own.yaml:6", "reader"]),
        (HEAD + "tests: [{because: y}]\n", ["own.yaml:6", "without the name"]),
    ],
)
def test_what_does_not_hold_is_refused_with_its_line(tmp_path, text, words):
    with pytest.raises(PolicyError) as caught:
        written(tmp_path, text)
    for word in words:
        assert word in caught.value.message


def test_a_fault_in_what_was_inherited_is_named_in_the_file_it_stands_in(tmp_path):
    text = resource("policies/baseline.yaml").read_text().replace("at_most: 3.0", "at_most: three")
    (tmp_path / "parent.yaml").write_text(text)
    line = next(number for number, row in enumerate(text.splitlines(), start=1) if "at_most: three" in row)
    with pytest.raises(PolicyError, match=rf"parent\.yaml:{line}: "):
        written(tmp_path, HEAD.replace("baseline", "parent.yaml"))


def test_a_circle_of_two_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(HEAD.replace("baseline", "b.yaml"))
    (tmp_path / "b.yaml").write_text(HEAD.replace("baseline", "a.yaml"))
    with pytest.raises(PolicyError, match="circle"):
        load_policy(str(tmp_path / "a.yaml"), base=None, known_tests=None)


def test_because_and_without_have_no_meaning_alone(tmp_path):
    text = resource("policies/baseline.yaml").read_text()
    with pytest.raises(PolicyError, match="only in a policy that extends"):
        written(tmp_path, text + "because: why not\n")


@pytest.mark.parametrize(
    ("context", "expected"),
    [(ReleaseContext.INTERNAL, 0.01), (ReleaseContext.PUBLIC_API, 0.001), (ReleaseContext.OPEN_WEIGHTS, 0.0001)],
)
def test_the_tolerance_is_that_of_the_declared_release_context(context, expected):
    policy = shipped("baseline").policy
    found = in_context(policy, context)
    by_name = {entry.test: entry for entry in found.tests}
    assert by_name["language/discoverable-extraction"].tolerance.at_most == expected
    assert by_name["language/exposure"] == {entry.test: entry for entry in policy.tests}["language/exposure"]
    assert len(found.overrides) == (0 if expected == 0.001 else 2)
    assert all(context.value in change.because for change in found.overrides)


def test_the_shipped_policies_that_extend_say_why():
    for path in resource("policies").glob("*.yaml"):
        plain = YAML(typ="safe").load(path.read_text())
        assert ("extends" in plain) == ("because" in plain), path
