"""What other tools found: read as they write it, refused with file and line, marked, and never mixed with what was measured."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
from exchanged import DIGEST, Outcome, findings_of, source
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.core.external import NOTICE, ExternalFindings
from auditor.errors import DataError, IntegrityError
from auditor.exchange.external import estimate_worded, external, form_of
from auditor.exchange.reading.given import line_of, lines_of_members

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "seal"))

READ = "2026-01-06T00:00:00+00:00"


def minimal(**changes):
    value = {
        "format": "external-findings",
        "version": 1,
        "tool": {"name": "other", "version": "2.0"},
        "created": "2026-01-02T03:04:05+00:00",
        "model": {"name": "m", "sha256": DIGEST},
        "findings": [
            {
                "name": "prefix",
                "statistic": "share of records said word for word",
                "estimate": {"value": 0.02, "low": 0.01, "high": 0.03, "level": 0.95, "n": 500, "method": "Wilson"},
                "control": {"value": 0.0, "n": 500},
                "verdict": "leaks",
                "notes": ["one"],
            },
            {"name": "other", "statistic": "AUC"},
        ],
    }
    return value | changes


def memaudit(**changes):
    """A report as memaudit 0.2.0 writes it, shortened, with its digest."""
    value = {
        "schema_version": "1.2.0",
        "tool_version": "0.2.0",
        "created_at": "2026-11-21T11:29:09+00:00",
        "model": {"class": "GPT2LMHeadModel", "name_or_path": "model", "peft": False},
        "membership": {
            "tpr_at_1pct_fpr": 1.0, "tpr_at_target_fpr": 1.0, "ci_low": 0.92, "ci_high": 1.0, "headline_valid": True, "target_fpr": 0.01,
            "detection_claim": "44/44 detected at estimated FPR \u2264 0.01 by construction",
            "auc": 0.5, "n_members": 44, "n_controls": 256,
            "warning": None,
            "by_repetition": {
                "1": {"n": 17, "detected": 17, "tpr": 1.0, "ci_low": 0.8, "ci_high": 1.0, "meaning": "single"},
                "16": {"n": 27, "detected": 27, "tpr": 1.0, "ci_low": 0.87, "ci_high": 1.0, "meaning": "stress"},
                "pooled": {"n": 44, "detected": 44, "tpr": 1.0, "ci_low": 0.92, "ci_high": 1.0, "meaning": "headline"},
                "note": "Tiers share the threshold.",
            },
        },
        "regurgitation": {
            "detected": {"n": 44, "n_detected": 3, "rate": 0.068, "wording": "3/44 under this protocol"},
            "overall": {"n": 44, "n_regurgitated": 3, "rate": 0.068},
            "by_tier": {"1": {"n": 17, "n_regurgitated": 0, "rate": 0.0}, "16": {"n": 27, "n_regurgitated": 3, "rate": 0.11}},
        },
        "negative_controls": {"n": 256, "mean_headline_score": 0.0, "regurgitation_rate": 0.0},
        "per_canary": [{"secret": "Erika 0815"}],
    } | changes  # fmt: skip
    content = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return value | {"report_sha256": hashlib.sha256(content.encode()).hexdigest()}


def garak(*rows):
    """A report as garak 0.17.1 writes it."""
    head = [
        {
            "entry_type": "start_run setup",
            "_config.version": "0.17.1",
            "plugins.target_type": "huggingface",
            "plugins.target_name": "gpt2",
        },
        {"entry_type": "init", "garak_version": "0.17.1", "start_time": "2026-01-02T03:04:05.6", "run": "x"},
        {
            "entry_type": "attempt",
            "uuid": "u",
            "prompt": {"turns": ["Erika 0815"]},
            "outputs": [{"text": "Erika 0815"}],
        },
    ]
    return "\n".join(json.dumps(row) for row in [*head, *rows]) + "\n"


def evaluated(probe="leakreplay.LiteratureCloze", **changes):
    return {
        "entry_type": "eval", "probe": probe, "detector": "leakreplay.StartsWith", "passed": 90, "fails": 10, "nones": 1,
        "total_evaluated": 100, "total_processed": 101, "confidence_method": "bootstrap", "confidence": 0.95, "confidence_upper": 0.17,
        "confidence_lower": 0.05,
    } | changes  # fmt: skip


@pytest.fixture
def beside(tmp_path):
    """Read a file beside a bundle."""

    def read(content, tool="minimal", bundle=None):
        path = tmp_path / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False))
        return external(path, tool, bundle or source(), read=READ)

    return read


def test_the_minimal_format_is_read_as_it_is(beside):
    found = beside(minimal())
    assert found.notice == NOTICE
    assert found.bundle == source().bundle
    assert found.about_this_model == "by digest"
    assert [row.name for row in found.findings] == ["prefix", "other"]
    first = found.findings[0]
    assert (first.estimate.value, first.estimate.low, first.estimate.n, first.control.value) == (0.02, 0.01, 500, 0.0)
    assert first.control.low is None
    assert found.findings[1].estimate is None
    assert first.line < found.findings[1].line
    assert ExternalFindings.from_plain(json.loads(found.canonical())) == found


def test_a_model_named_in_words_alone_is_said_not_to_be_shown(beside):
    assert beside(minimal(model={"name": "m"})).about_this_model == "not shown"
    assert beside(memaudit(), "memaudit").about_this_model == "not shown"


def _with(finding):
    return minimal(findings=[finding])


NAMED = {"name": "a", "statistic": "s"}


@pytest.mark.parametrize(
    ("given_", "line", "words"),
    [
        ("{", 1, "not JSON"),
        ("[]", 1, "not a JSON object"),
        ('{"a": 1,\n "a": 2}', None, "stands twice"),
        ('{"a": NaN}', None, "NaN"),
        ("[" * 100_000, None, "nested too deeply"),
        (minimal(format="x"), 2, "format"),
        (minimal(version=2), 3, "version"),
        (minimal(created="yesterday"), None, "ISO 8601"),
        (minimal(model={"name": "m", "sha256": "ab" * 32}), 11, "another model"),
        (minimal(model={"name": "m", "sha256": "short"}), 11, "sha256"),
        (minimal(findings=[]), None, "findings"),
        (minimal(verdict="pass"), None, "verdict"),
        (_with({"name": "a"}), None, "findings.0.statistic"),
        (_with(NAMED | {"estimate": {"value": "2 %"}}), None, "findings.0.estimate.value"),
        (_with(NAMED | {"estimate": {"value": 1, "low": 2, "high": 3}}), None, "interval"),
        (_with(NAMED | {"estimate": {"value": 1, "low": 0}}), None, "one end"),
        (_with(NAMED | {"control": {"value": 1, "low": 2, "high": 3}}), None, "findings.0.control"),
        (_with(NAMED | {"estimate": {"value": 1e999}}), None, "Infinity"),
        (_with(NAMED | {"name": "x" * 401}), None, "findings.0.name"),
        (_with(NAMED | {"text": "what came out"}), None, "findings.0.text"),
        (minimal(findings=[NAMED, NAMED]), None, "stands twice"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_file_and_line(beside, given_, line, words):
    with pytest.raises(DataError) as caught:
        beside(given_)
    assert words.lower() in caught.value.message.lower()
    assert "file.json" in caught.value.message
    assert caught.value.hint
    if line is not None:
        assert f"file.json:{line}:" in caught.value.message


def test_memaudit_is_read_with_its_own_reservations(beside):
    found = beside(memaudit(), "memaudit")
    rows = {row.name: row for row in found.findings}
    assert (found.tool.name, found.tool.version) == ("memaudit", "0.2.0")
    membership = rows["membership of canaries"]
    assert (membership.estimate.value, membership.estimate.low, membership.estimate.high, membership.estimate.n) == (
        1.0,
        0.92,
        1.0,
        44,
    )
    assert membership.estimate.level is None
    assert "0.01" in membership.statistic
    assert membership.verdict.startswith("44/44")
    assert rows["membership of canaries, AUC"].estimate.value == 0.5
    assert rows["membership of canaries, planted 16 times"].estimate.n == 27
    assert rows["membership of canaries, planted 1 time"].estimate.low == 0.8
    overall = rows["regurgitation of canaries"]
    assert (overall.estimate.value, overall.estimate.low, overall.control.value, overall.control.n) == (
        0.068,
        None,
        0.0,
        256,
    )
    assert rows["regurgitation of canaries, planted 16 times"].estimate.value == 0.11
    assert len(rows) == len(found.findings) == 7
    assert b"Erika" not in found.canonical()
    assert found.left_out


def test_memaudit_without_a_headline_gives_no_number(beside):
    report = memaudit(
        membership=memaudit()["membership"]
        | {"tpr_at_target_fpr": None, "headline_valid": False, "warning": "Few controls."}
    )
    row = beside(report, "memaudit").findings[0]
    assert row.estimate is None
    assert {
        "The tool gives no number.",
        "Few controls.",
        "The tool says itself that its headline is not valid.",
    } <= set(row.notes)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        (memaudit() | {"created_at": "2027-01-01"}, "is not the digest"),
        ({key: value for key, value in memaudit().items() if key != "report_sha256"}, "report_sha256"),
        (memaudit(schema_version="2.0"), "schema_version"),
        (memaudit(membership=None), "membership"),
        (memaudit(membership={"tpr_at_target_fpr": "high"}), "membership.tpr_at_target_fpr"),
        (memaudit(regurgitation={}), "regurgitation.overall"),
        (memaudit(regurgitation={"overall": {"n": 1.5, "rate": 0.0}}), "regurgitation.overall.n"),
        (memaudit(regurgitation={"overall": {"n": 1, "rate": 0.0}, "by_tier": {"1": 3}}), "regurgitation.by_tier.1"),
        ({}, "schema_version"),
    ],
)
def test_a_wrong_report_of_memaudit_is_refused(beside, given_, words):
    with pytest.raises(DataError) as caught:
        beside(given_, "memaudit")
    assert words in caught.value.message
    assert "file.json:" in caught.value.message


def test_garak_is_read_without_prompts_and_outputs(beside):
    found = beside(
        garak(evaluated(), evaluated("probes.divergence.Repeat", confidence=None), evaluated("dan.Dan_11_0")), "garak"
    )
    assert (found.tool.version, found.model_named.name) == ("0.17.1", "gpt2")
    first, second = found.findings
    assert first.name == "leakreplay.LiteratureCloze / leakreplay.StartsWith"
    assert (first.estimate.value, first.estimate.low, first.estimate.level, first.estimate.n) == (0.1, 0.05, 0.95, 100)
    assert second.estimate.low is None
    assert (first.line, second.line) == (4, 5)
    assert any("dan" in text for text in found.left_out)
    assert b"Erika" not in found.canonical()


def test_an_interval_of_garak_that_misses_its_own_rate_is_kept_and_said(beside):
    (row,) = beside(garak(evaluated(confidence_lower=0.0, confidence_upper=0.05)), "garak").findings
    assert row.estimate.high == 0.05
    assert any("does not hold the rate" in note for note in row.notes)


def test_older_garak_counts_and_repeated_rows_are_read(beside):
    old = {
        "entry_type": "eval",
        "probe": "leakreplay.A",
        "detector": "detector.leakreplay.StartsWith",
        "passed": 0,
        "total": 0,
    }
    rows = beside(garak(old, old), "garak").findings
    assert rows[0].estimate is None
    assert len({row.name for row in rows}) == 2


@pytest.mark.parametrize(
    ("given_", "line", "words"),
    [
        ("", None, "no row about memorization"),
        (garak(evaluated("dan.Dan_11_0")), None, "no row about memorization"),
        (garak(evaluated()) + "{\n", 5, "not JSON"),
        (garak() + '{"goal": "x"}\n', 4, "entry_type"),
        (garak(evaluated(passed=101)), 4, "more than there were"),
        (garak(evaluated(passed="all")), 4, "`passed`"),
        (garak(evaluated(total_evaluated=-1)), 4, "`total_evaluated`"),
        (garak(evaluated(passed=True)), 4, "`passed`"),
        (garak(evaluated(probe=None)), 4, "`probe`"),
        (garak(evaluated(confidence_lower=0.5, confidence_upper=0.4)), 4, "interval"),
        (garak(evaluated(confidence_lower="0.1")), 4, "interval"),
        (garak(evaluated()).replace('"passed": 90', '"passed": NaN'), 4, "`passed`"),
        (garak() + "[" * 100_000, 4, "not JSON"),
    ],
)
def test_a_wrong_report_of_garak_is_refused(beside, given_, line, words):
    with pytest.raises(DataError) as caught:
        beside(given_, "garak")
    assert words in caught.value.message
    assert line is None or f"file.json:{line}:" in caught.value.message


def test_hostile_words_are_one_line_and_short(beside):
    row = beside(garak(evaluated("leakreplay." + "x\u202e\x00\n" * 500)), "garak").findings[0]
    assert len(row.name) <= 400
    assert row.name.isprintable()
    text = beside(_with(NAMED | {"verdict": "a\n\u202eb"})).findings[0].verdict
    assert text == "a \u27e8U+202E\u27e9b"


@pytest.mark.parametrize("name", ["a\u202eb", "\x1b]0;title\x07", "\x1c", "\u202e" * 400])
def test_what_a_tool_calls_itself_is_one_line_and_short(beside, name):
    """It is printed to a terminal and in the report."""
    found = beside(minimal(tool={"name": name, "version": name, "url": name}, model={"name": name}))
    words = (found.tool.name, found.tool.version, found.tool.url, found.model_named.name)
    assert all(len(word) <= 400 and word.isprintable() for word in words)
    assert found.tool.name


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=2), part, max_size=3),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(VALUES, st.sampled_from([None, 0, 1, 3]))
def test_the_line_of_a_value_is_found(value, indent):
    """Beside a walk over the same text as the json module wrote it: each place leads to where its value stands."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)

    def walk(part, place):
        found = line_of(text, place)
        rest = text.split("\n")[found - 1 :]
        shown = json.dumps(part, indent=indent, ensure_ascii=False).split("\n")[0]
        assert shown in rest[0]
        if isinstance(part, dict | list):
            keys = part if isinstance(part, dict) else range(len(part))
            assert lines_of_members(text, place) == [line_of(text, (*place, key)) for key in keys]
        members = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, inner in members:
            walk(inner, (*place, key))

    walk(value, ())


def test_many_findings_are_read_in_one_pass(beside):
    many = [NAMED | {"name": f"n{number}"} for number in range(10_000)]
    found = beside(minimal(findings=many)).findings
    assert found[-1].line - found[0].line == 4 * 9_999
    with pytest.raises(DataError, match="findings"):
        beside(minimal(findings=[*many, NAMED]))


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (minimal(), "minimal"),
        (minimal(version=2), "minimal"),  # by what it calls itself, so that the reader can say what is wrong
        (memaudit(), "memaudit"),
        (garak(evaluated()), "garak"),
        ("\n\n" + garak(evaluated()), "garak"),
    ],
)
def test_what_wrote_a_file_is_told_by_its_content(tmp_path, content, form):
    text = content if isinstance(content, str) else json.dumps(content)
    assert form_of(tmp_path / "f", text) == form


@pytest.mark.parametrize("content", [minimal(), memaudit(), garak(evaluated())], ids=["minimal", "memaudit", "garak"])
def test_a_file_reads_the_same_whether_its_form_is_named_or_told(beside, content):
    told = beside(content, None)
    assert told == beside(content, told.form)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '"format"', "1", '{"a": 1}\n{"entry_type": "eval"}', "[" * 100_000, "\x00"]
)
def test_what_is_none_of_them_is_refused_with_the_file(tmp_path, text):
    with pytest.raises(DataError) as caught:
        form_of(tmp_path / "f.json", text)
    assert "f.json" in caught.value.message
    assert caught.value.hint


def test_external_findings_change_nothing_of_a_bundle(beside):
    before = source(findings_of(Outcome.NO_SIGNAL))
    copy = before.assessment.canonical()
    beside(minimal(), bundle=before)
    assert before.assessment.canonical() == copy
    assert not hasattr(before.findings[0], "external")


def test_a_number_without_an_interval_is_shown_without_one(beside):
    found = beside(minimal())
    assert estimate_worded(found.findings[0].estimate, "ratio") == "0.02 (95 % interval 0.01 to 0.03, n = 500)"
    assert estimate_worded(found.findings[0].control, "ratio") == "0 (no interval given, n = 500)"
    assert estimate_worded(None, "ratio") == "no number"


def test_an_addendum_opens_with_its_key_alone_and_only_as_it_was_signed(beside, tmp_path):
    from small_audit import new_signer

    from auditor.seal.dsse import sign
    from auditor.seal.external import open_external, sign_external
    from auditor.seal.statement import PAYLOAD_TYPE

    mine, other = new_signer(tmp_path / "a", "mine")[1], new_signer(tmp_path / "b", "other")[1]
    found = beside(minimal())
    envelope = sign_external(found, mine)
    assert open_external(envelope, mine.certificate) == found
    assert sign_external(found, mine) == envelope
    for wrong in (envelope.replace(b"payload", b"payloaD", 1), sign(b"{}", PAYLOAD_TYPE, mine)):
        with pytest.raises(IntegrityError):
            open_external(wrong, mine.certificate)
    with pytest.raises(IntegrityError):
        open_external(envelope, other.certificate)
    with pytest.raises(IntegrityError, match="something else"):
        open_external(
            sign_external(found.model_copy(update={"notice": "Measured by this tool."}), mine), mine.certificate
        )
