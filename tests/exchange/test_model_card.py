"""Model cards: what is ours is put in and replaced, everything else stays byte for byte, and Hugging Face's own reader reads it."""

from __future__ import annotations

import re

import pytest
from exchanged import RESTRICTED, Outcome, finding, findings_of, rich, source
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.core.yaml import parse_yaml
from auditor.errors import DataError
from auditor.exchange.front_matter import END, START
from auditor.exchange.markdown import escaped, headings, split_lines
from auditor.exchange.model_card import EVALUATION, RISKS, attached

TEMPLATE = """---
# a comment of the author's
license: mit   # kept
tags: [a, "b"]
date: 2026-01-01
---

# Model

## Bias, Risks, and Limitations

<!-- This section is meant to convey
# no heading
-->
It is small.

### Recommendations

None.

## Evaluation

```markdown
## Evaluation
```

### Results

Fine.

## Contact

me
"""
INDEX = """---
model-index:
- name: other
  results:
  - task:
      type: text-generation
    dataset:
      name: Wiki
      type: wikitext
    metrics:
    - type: perplexity
      value: 12.5
      # a remark
  # another
license: mit
---
text
"""


TRAINER = """---
library_name: peft
base_model: someone/base
model-index:
- name: tuned
  results: []
license: other
---

<!-- This model card has been generated automatically according to the information the Trainer had access to. You
should probably proofread and complete it, then remove this comment. -->

# tuned

It achieves the following results on the evaluation set:
- Loss: 0.0847

## Intended uses & limitations

More information needed

## Training and evaluation data

More information needed
"""


def without_ours(text: str) -> str:
    """What is left when every part between markers is cut out, without the reader's own code."""
    kept, inside = [], False
    for line in split_lines(text):
        if line.strip() in {START, EVALUATION[0], RISKS[0]}:
            inside = True
        if not inside:
            kept.append(line)
        if line.strip() in {END, EVALUATION[1], RISKS[1]}:
            inside = False
    return "".join(kept)


def loaded(text):
    from huggingface_hub import ModelCard

    return ModelCard(text, ignore_metadata_errors=False)


@pytest.fixture(scope="module")
def bundle():
    numbers = tuple(
        finding(outcome, f"t/{name}", measurement=rich(f"t/{name}"))
        for name, outcome in (("a", Outcome.SIGNAL), ("b", Outcome.NO_SIGNAL))
    )
    return source((*numbers, finding(Outcome.NOT_RUN, "t/c")))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("card", [TEMPLATE, INDEX, "# Only text\n", "", "---\nlicense: mit\n---\n", "---\n---\nx\n"])
def test_attached_twice_is_attached_once_and_the_rest_stays(bundle, card, newline):
    card = card.replace("\n", newline)
    newline = newline if card else "\n"
    once = attached(card, bundle)
    assert attached(once, bundle) == once
    rest = without_ours(once)
    assert rest == (card if card.startswith("---") else f"---{newline}---{newline}{card}")
    assert (newline == "\r\n") == ("\r\n" in once)
    assert "\n" not in once.replace(newline, "")
    assert RESTRICTED not in once


def test_the_end_of_the_last_line_is_all_that_is_added(bundle):
    once = attached("# M\n\nno end", bundle)
    assert without_ours(once) == "---\n---\n# M\n\nno end\n"
    assert attached(once, bundle) == once


def test_huggingface_reads_every_result(bundle):
    results = loaded(attached(TEMPLATE, bundle, url="https://example.org/report.pdf")).data.eval_results
    assert [item.metric_type for item in results] == ["t/a", "t/b"]
    first, measured = results[0], bundle.findings[0].measurement
    assert first.metric_value == measured.estimate.value
    assert first.metric_args["low"] == measured.estimate.low
    assert first.metric_args["control"]["high"] == measured.control.high
    assert first.metric_args["outcome"] == "signal"
    assert first.metric_args["tolerance"] == 0.001
    assert first.dataset_args["bundle"] == bundle.bundle
    assert first.source_url == "https://example.org/report.pdf"
    assert loaded(attached(TEMPLATE, bundle)).data.license == "mit"


def test_small_numbers_are_numbers_for_yaml_1_1_too():
    from exchanged import estimate

    made = source((finding(measurement=rich(estimate=estimate(1e-05, 1e-06, 2e-05))),))
    (result,) = loaded(attached("", made)).data.eval_results
    assert (result.metric_value, result.metric_args["low"]) == (1e-05, 1e-06)


def test_results_of_others_are_kept_beside_ours(bundle):
    once = attached(INDEX, bundle)
    results = loaded(once).data.eval_results
    assert [item.metric_type for item in results] == ["t/a", "t/b", "perplexity"]
    assert loaded(once).data.model_name == "other"


@pytest.mark.parametrize("card", [TEMPLATE, INDEX])
def test_ours_are_known_again_when_another_tool_has_removed_the_markers(bundle, card):
    rewritten = str(loaded(attached(card, bundle)))
    assert START not in rewritten
    again = attached(rewritten, bundle)
    assert attached(again, bundle) == again
    types = [item.metric_type for item in loaded(again).data.eval_results]
    assert types.count("t/a") == types.count("t/b") == 1
    assert ("perplexity" in types) == (card == INDEX)


def test_another_audit_replaces_the_one_before(bundle):
    other = source(findings_of(Outcome.NO_SIGNAL), bundle="other")
    again = attached(attached(TEMPLATE, bundle), other)
    assert again == attached(TEMPLATE, other)
    assert bundle.bundle not in again


def test_each_part_stands_where_readers_of_the_template_look(bundle):
    lines = attached(TEMPLATE, bundle).splitlines()
    risks, section = lines.index(RISKS[0]), lines.index(EVALUATION[0])
    assert lines.index("It is small.") < risks < lines.index("### Recommendations")
    assert lines.index("Fine.") < section < lines.index("## Contact")
    assert lines[section + 1] == "### Memorization audit"
    rows = [line for line in lines[section:] if line.startswith("| ")]
    assert len(rows) == 1 + len(bundle.findings)
    assert "| `signal` |" in rows[1]
    assert "| `not_run` |" in rows[3]
    assert "which does not show" in attached("", source(findings_of(Outcome.NO_SIGNAL)))


def test_a_top_level_heading_gets_a_section_one_below(bundle):
    assert "\n## Memorization audit\n" in attached("# Evaluation\n\nx\n\nContact\n=======\n", bundle)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.sampled_from([
    "# A\n", "## Evaluation\n", "Evaluation\n", "---\n", "===\n", "```\n", "~~~~\n", "<!-- x -->\n", "text\n", "\n", "| a | b |\n",
    "    code\n",
    "## Risks ##\n", "- a\n", "\r\n", "\u2028\n", "\x0b\n", "> ## Limitations\n", "<!--\n", "-->\n", "a", "license: mit\n",
]), max_size=12).map("".join))  # fmt: skip
def test_any_text_is_kept_or_refused(text):
    made = source((finding(measurement=rich("t/a")),))
    try:
        once = attached(text, made)
    except DataError:
        return
    assert attached(once, made) == once
    rest = without_ours(once)
    assert any(
        rest == f"{head}{text}{end}" for head in ("", "---\n---\n", "---\r\n---\r\n") for end in ("", "\n", "\r\n")
    )


@pytest.mark.parametrize(
    ("card", "line", "words"),
    [
        ("---\na: [1\n---\n", 3, "not valid YAML"),
        ("---\n- a\n---\n", 2, "not a mapping"),
        ("---\na: 1\na: 2\n---\n", 3, "a"),
        ("---\na: 1\nmodel-index: []\n---\n", 3, "model-index"),
        ("---\na: 1\nmodel-index: [{name: a, results: [{task: {type: b}}]}]\n---\n", 3, "model-index"),
        (f"---\n{START}\na: 1\n---\n", 2, "has no end"),
        (f"---\na: 1\n{END}\n---\n", 3, "stands where it cannot"),
        (f"---\na: 1\n---\nx\n{EVALUATION[0]}\n", 5, "has no end"),
        (f"x\n{RISKS[1]}\n", 2, "stands where it cannot"),
        ("\ufeff# M\n", 1, "byte order mark"),
    ],
)
def test_what_cannot_be_added_to_is_refused_with_file_and_line(bundle, card, line, words):
    with pytest.raises(DataError) as caught:
        attached(card, bundle, where="R.md")
    assert words in caught.value.message
    assert caught.value.message.startswith(f"R.md:{line}")
    assert caught.value.hint


@pytest.mark.parametrize("remark", ["", "  # none yet"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_empty_list_that_trainers_write_makes_room(bundle, newline, remark):
    """`results: []` cannot be added to as it stands: its brackets go, and nothing else."""
    card = TRAINER.replace("results: []", f"results: []{remark}").replace("\n", newline)
    once = attached(card, bundle)
    assert attached(once, bundle) == once
    assert without_ours(once) == card.replace(f"results: []{remark}", f"results:{remark.replace('  ', ' ')}")
    found = loaded(once).data
    assert found.model_name == "tuned"
    assert {result.dataset_type for result in found.eval_results} == {"memorization-audit"}
    assert found.license == "other"
    place = once.index("**Memorization.**")
    assert once.index("## Intended uses & limitations") < place < once.index("## Training and evaluation data")


def test_anchors_in_what_is_not_ours_are_kept(bundle):
    card = "---\nbase: &x {a: 1}\nother: *x\n---\n"
    once = attached(card, bundle)
    assert without_ours(once) == card


def test_text_of_an_open_code_block_is_refused(bundle):
    with pytest.raises(DataError, match="cannot be found again"):
        attached("# M\n\n```\nopen\n", bundle)


def test_hostile_words_are_shown_as_they_are(bundle):
    words = "</table><script>x</script> | `a` [b](javascript:c) ![d](http://e) \u202e\n# Heading\n---\nkey: 1"
    made = source((finding(reason=words, measurement=rich(title=words)),), words=words)
    once = attached(TEMPLATE, made)
    assert "<script>" not in without_front(once)
    assert "\u202e" not in once
    assert not re.search(r"(?<!\\)\]\(javascript|(?<!\\)!(?<!\\)\[", without_front(once))
    assert [head.text for head in headings(split_lines(without_front(once)))].count("heading") == 0
    assert parse_yaml(once.split("---\n")[1].encode(), __import__("pathlib").Path("x")).value["license"] == "mit"
    assert loaded(once).data.eval_results
    row = next(line for line in once.splitlines() if line.startswith("| ") and "`signal`" in line)
    assert row.replace("\\|", "").count("|") == 6


def without_front(text):
    return text.split("\n---\n", 1)[1]


def test_escaping_leaves_plain_words_alone():
    assert escaped("Exposure of canaries, 3.5 bit (95 %)") == "Exposure of canaries, 3.5 bit (95 %)"
