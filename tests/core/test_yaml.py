"""YAML that somebody else wrote: read as plain values, bounded, and every fault named with its line."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from auditor.core.record import Record
from auditor.core.yaml import DEEPEST, LARGEST_FILE, LARGEST_TREE, Document, load_yaml, parse_yaml, validate
from auditor.errors import InputError, PolicyError

PATH = Path("policy.yaml")


def read(text: str) -> Any:
    return parse_yaml(text.encode(), PATH).value


def refused(content: str | bytes) -> InputError:
    """Return the error; it names the file and says what to do."""
    raw = content.encode() if isinstance(content, str) else content
    with pytest.raises(PolicyError) as caught:
        parse_yaml(raw, PATH, PolicyError)
    assert caught.value.message.startswith("policy.yaml:")
    assert caught.value.hint
    return caught.value


# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("-0o17", -15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("0.5", 0.5),
        (".5", 0.5),
        ("-2.", -2.0),
        ("1e3", 1000.0),
        ("1.5e-3", 0.0015),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("off", "off"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2026-11-21", "2026-11-21"),
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
        ("1.2.3", "1.2.3"),
        ("'7'", "7"),
        ('"true"', "true"),
        ('"null"', "null"),
        ('"2026-11-21"', "2026-11-21"),
        ("!!str 7", "7"),
        ("!!str 2026-11-21", "2026-11-21"),
        ("!!int '7'", 7),
        ("[]", []),
        ("{}", {}),
        ("[1, [a, {b: c}]]", [1, ["a", {"b": "c"}]]),
        ("'<<'", "<<"),
    ],
)
def test_a_value_is_what_it_looks_like(text: str, value: Any) -> None:
    found = read(f"key: {text}\n")["key"]
    assert found == value
    assert type(found) is type(value)


def test_text_in_blocks() -> None:
    assert read("a: |\n  two\n  lines\nb: >-\n  one\n  line\n") == {"a": "two\nlines\n", "b": "one line"}


def test_keys_are_words_whatever_they_look_like() -> None:
    assert read("1: a\ntrue: b\n2026-11-21: c\nnull: d\n") == {"1": "a", "true": "b", "2026-11-21": "c", "null": "d"}


def test_aliases_are_written_out() -> None:
    assert read("a: &one [1, 2]\nb: *one\nc: {d: *one}\n") == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}


def test_a_name_may_be_given_anew() -> None:
    assert read("a: &one 1\nb: *one\nc: &one 2\nd: *one\n") == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_a_byte_order_mark_and_line_ends_of_windows() -> None:
    assert parse_yaml(b"\xef\xbb\xbfa: 1\r\nb: caf\xc3\xa9\r\n", PATH).value == {"a": 1, "b": "café"}


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff\ufffe\uffff"),
        max_size=8,
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef -", min_size=1, max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(plain)
def test_json_is_read_as_json(value: Any) -> None:
    """JSON is YAML: an independent writer, and values that come back as they were, types included."""
    text = json.dumps({"top": value})
    assert json.dumps(read(text)["top"]) == json.dumps(value)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text("ab:-[]{}&*!|>'\"#%@`,?<=~.0178xone_ \n\t\x00\u0085\u2028\ufeff", max_size=40) | st.text(max_size=25))
def test_nothing_ends_in_anything_but_a_value_or_an_input_error(text: str) -> None:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    with contextlib.suppress(InputError):
        rfc8785.dumps(parse_yaml(raw, PATH).value)  # whatever is read can be digested


# Refused


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", 3),
        ("top:\n  a: 1\n  a: 1\n", 3),
        ("1: a\n'1': b\n", 2),
        ("{a: 1,\n b: {c: 1, c: 2}}\n", 2),
    ],
)
def test_a_key_that_stands_twice(text: str, line: int) -> None:
    assert f":{line}: the key '" in refused(text).message
    assert "stands twice" in refused(text).message


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system",
        "!!python/name:os.system",
        "!!binary",
        "!!set",
        "!!omap",
        "!!pairs",
        "!custom",
        "!!bool",
        "!!int",
        "!!float",
        "!!null",
        "!!map",
        "!!seq",
        "!<tag:example.org,2026:x>",
    ],
)
def test_a_tag_that_does_not_fit_or_makes_more_than_a_plain_value(tag: str) -> None:
    assert refused(f"a: 1\nb: {tag} yes\n").message.startswith("policy.yaml:2: ")


@pytest.mark.parametrize(
    "text", ["!custom {a: 1}", "!custom [1]", "!custom a: 1", "!!str {a: 1}", "!!map [1]", "!!seq {a: 1}"]
)
def test_a_tag_on_more_than_a_word(text: str) -> None:
    assert "policy.yaml:1: " in refused(text).message


def test_merge_keys() -> None:
    error = refused("base: &base {a: 1}\nb:\n  <<: *base\n  c: 2\n")
    assert error.message == "policy.yaml:3: merge keys (<<) are not allowed"


@pytest.mark.parametrize(
    "word", [".inf", "-.inf", "+.INF", ".Inf", ".nan", ".NaN", ".NAN", "1e999", "-1e999", "!!float inf"]
)
def test_a_number_that_is_not_finite(word: str) -> None:
    assert (
        refused(f"a: 1\nb: {word}\n").message
        == f"policy.yaml:2: '{word.rsplit(maxsplit=1)[-1]}' is not a finite number"
    )


@pytest.mark.parametrize("word", ["!!int 1.5", "!!int abc", "!!float abc", "-_", "!!null abc", "!!bool 1"])
def test_a_word_that_is_not_what_its_tag_says(word: str) -> None:
    assert refused(f"a: 1\nb: {word}\n").message.startswith(f"policy.yaml:2: '{word.rsplit(maxsplit=1)[-1]}' is not ")


@pytest.mark.parametrize("word", [str(2**53), str(-(2**53)), "9" * 5000, "0x" + "f" * 5000])
def test_a_number_that_not_every_reader_holds(word: str) -> None:
    error = refused(f"a: 1\nb: {word}\n")
    assert error.message.startswith("policy.yaml:2: ")
    assert len(error.message) < 100
    assert read(f"a: {2**53 - 1}\nb: {1 - 2**53}\n") == {"a": 2**53 - 1, "b": 1 - 2**53}


@pytest.mark.parametrize("directive", ["%YAML 1.1", "%YAML 1.2", "%TAG !e! tag:example.org,2026:"])
def test_directives(directive: str) -> None:
    """In YAML 1.1 `yes` is true, 010 is 8 and 1:30 is 90: a file that asks for that is not read as something else."""
    assert "directives" in refused(f"{directive}\n---\na: yes\n").message
    assert read("---\na: yes\n") == {"a": "yes"}


@pytest.mark.parametrize("text", ["? [a, b]\n: 1\n", "? {a: 1}\n: 1\n", "{[a]: 1}\n"])
def test_a_key_that_is_not_a_word(text: str) -> None:
    assert refused(text).message.startswith("policy.yaml:1: ")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\n b: 2\n", 2),
        ("a: [1, 2\nb: 3\n", 2),
        ("a: 'open\n\nb: 1\n", 4),
        ("a: 1\n\tb: 2\n", 2),
        ("a: *nobody\n", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: b: c\n", 1),
        ("- a\nb: 1\n", 2),
        ("a: @b\n", 1),
    ],
)
def test_what_is_not_yaml(text: str, line: int) -> None:
    assert refused(text).message.startswith(f"policy.yaml:{line}: not valid YAML (")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n...\n"])
def test_an_empty_file(text: str) -> None:
    with pytest.raises(PolicyError, match=r"policy\.yaml.*(empty|object)") as caught:
        validate(parse_yaml(text.encode(), PATH, PolicyError), Policy, PolicyError)
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"a: caf\xe9\n", b"\xff\xfea\x00", b"a: \xed\xa0\x80"])
def test_bytes_that_are_not_utf8(content: bytes) -> None:
    with pytest.raises(UnicodeDecodeError) as where:
        content.decode()
    assert refused(content).message == f"policy.yaml: not UTF-8 (byte {where.value.start})"


def test_control_characters() -> None:
    refused(b"a: \x00\n")
    refused(b"a: \x1b[31m\n")


# Bombs


def bomb(levels: int, width: int = 10) -> str:
    lines = [f"a0: &a0 [{', '.join(['x'] * width)}]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def test_aliases_are_counted_as_often_as_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(read(bomb(3))["a2"][0][0]) == 10
    began = time.process_time()
    error = refused(bomb(9))  # a billion values
    assert f"more than {LARGEST_TREE:,} values" in error.message
    assert time.process_time() - began < 10
    monkeypatch.setattr("auditor.core.yaml.LARGEST_TREE", 1000)
    refused(
        "\n".join(
            f"a{i}: &a{i} {{x: {'*a' + str(i - 1) if i else 1}, y: {'*a' + str(i - 1) if i else 1}}}" for i in range(30)
        )
    )


def test_a_value_that_holds_itself() -> None:
    assert "levels deep" in refused("a: &a [*a]\n").message
    assert "levels deep" in refused("a: &a {b: *a}\n").message


def test_depth() -> None:
    assert read("[" * DEEPEST + "]" * DEEPEST) is not None
    assert "levels deep" in refused("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2)).message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "{? ", "[{"])
@pytest.mark.parametrize("times", [300, 100_000])
def test_a_bomb_of_depth(opening: str, times: int) -> None:
    """With and without the ends: neither the loader's recursion nor ours may break."""
    refused(opening * times)
    closing = {"[": "]", "{a: ": "}", "{? ": "}", "[{": "}]"}.get(opening, "")
    refused(opening * times + "a" + closing * times)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.yaml"
    with path.open("wb") as stream:
        stream.truncate(LARGEST_FILE + 1)
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(PolicyError, match=f"{LARGEST_FILE + 1:,} bytes are more than") as caught:
        load_yaml(path, PolicyError)
    assert caught.value.hint


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.yaml", tmp_path):
        with pytest.raises(PolicyError, match="cannot be read") as caught:
            load_yaml(path, PolicyError)
        assert str(path) in caught.value.message
        assert caught.value.hint


# Lines


TEXT = """\
# a comment
name: first
tests:
  - test: one
    alpha: 0.1
  - test: two

    alpha: 0.2
nested:
  inner:
    deep: [1,
      2]
"""


def document(text: str = TEXT) -> Document:
    return parse_yaml(text.encode(), PATH, PolicyError)


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("name",), 2),
        (("tests",), 3),
        (("tests", 0), 4),
        (("tests", 1, "test"), 6),
        (("tests", 1, "alpha"), 8),
        (("nested",), 9),
        (("nested", "inner"), 10),
        (("nested", "inner", "deep"), 11),
        (("nested", "inner", "deep", 1), 12),
        (("tests", 1, "missing"), 6),
        (("nested", "missing", "deeper"), 9),
        (("missing",), 1),
    ],
)
def test_the_line_of_a_value_is_where_it_is_named(place: tuple[str | int, ...], line: int) -> None:
    found = document()
    if place == ("missing",):
        assert found.line_of(place) <= 2
    else:
        assert found.line_of(place) == line
        assert found.where(place) == f"policy.yaml:{line}"


class Entry(Record):
    test: str
    alpha: float = Field(default=0.5, gt=0, lt=1)


class Policy(Record):
    name: str
    tests: tuple[Entry, ...] = ()
    seed: int = 0


def misfit(text: str) -> InputError:
    with pytest.raises(PolicyError) as caught:
        validate(document(text), Policy, PolicyError)
    assert caught.value.hint
    return caught.value


def test_what_fits() -> None:
    found = validate(document("name: a\ntests: [{test: b, alpha: 0.25}]\nseed: 3\n"), Policy, PolicyError)
    assert found == Policy(name="a", tests=(Entry(test="b", alpha=0.25),), seed=3)


def test_an_unknown_key_has_its_line_and_a_suggestion() -> None:
    error = misfit("name: a\ntests:\n  - test: b\n    alpa: 0.1\n")
    assert error.message == "policy.yaml:4: 'alpa' is not known here"
    assert error.hint == "Did you mean 'alpha'?"
    error = misfit("name: a\ntets:\n\n  - test: b\n")
    assert error.message == "policy.yaml:2: 'tets' is not known here"
    assert "'test" in error.hint


def test_a_key_that_is_missing_has_the_line_of_what_lacks_it() -> None:
    assert misfit("name: a\ntests:\n  - test: b\n  - alpha: 0.1\n").message == "policy.yaml:4: 'test' is missing"
    assert misfit("seed: 1\n").message == "policy.yaml:1: 'name' is missing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nseed: one\n", "policy.yaml:2: seed: "),
        ("name: a\nseed: 1.5\n", "policy.yaml:2: seed: "),
        ("name: 2026\n", "policy.yaml:1: name: "),
        ("name: a\ntests:\n  - test: b\n    alpha: 1.5\n", "policy.yaml:4: tests.0.alpha: "),
        ("name: a\ntests: one\n", "policy.yaml:2: tests: "),
    ],
)
def test_a_value_that_does_not_fit_has_its_line(text: str, message: str) -> None:
    assert misfit(text).message.startswith(message)


@pytest.mark.parametrize("text", ["- a\n", "word\n", "7\n", "null\n"])
def test_a_file_that_is_not_a_mapping(text: str) -> None:
    assert misfit(text).message.startswith("policy.yaml")


def test_several_faults_are_announced() -> None:
    assert "1 more" in misfit("nam: a\n").hint or "name" in misfit("nam: a\n").message
