"""What a trainer wrote beside a bundle: read or refused with its line, told beside the losses, and never more than it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sources import estimate, source

from auditor.compare.comparing import compare
from auditor.compare.drawing import training
from auditor.compare.page import render
from auditor.compare.training import joined, read_training
from auditor.core.training import Look, Loss, Measured
from auditor.errors import DataError


def look(step, held=None, excess=None, *, members=None, unit="bit", statistic="exposure", **more):
    """A look with a held-out loss, and the excess of one test as value and interval."""
    given_ = {"members": members, "controls": held}
    losses = {name: Loss(value=value, tokens=10, records=2) for name, value in given_.items() if value is not None}
    tests = ()
    if excess:
        tests = (Measured(test="t/a", statistic=statistic, excess=estimate(*excess, unit=unit)),)
    values = {"epoch": None, "occasion": "step", "trainer": {}, "losses": losses, "tests": tests} | more
    return Look(step=step, **values)


def lines(*looks):
    return b"".join(item.canonical() + b"\n" for item in looks)


def run(*looks, label="a"):
    return read_training(lines(*looks), label, "history.jsonl")


NONE, SOME = (0.0, -1.0, 1.0), (3.0, 2.0, 4.0)


def test_memory_that_sets_in_while_held_out_loss_falls_is_said_with_step_and_amount():
    found = run(look(0, 7.0, NONE), look(30, 6.0, SOME), look(60, 5.5, SOME), look(90, 5.75, SOME))
    assert found.ends == {"a": 90.0}
    assert (
        found.said[0] == "Held-out loss is lowest at step 60 (5.500 nat per token) and 5.750 at the last look, step 90."
    )
    assert "from step 30 on the interval of its excess lies above zero (there 3 bit, 2 to 4)" in found.said[1]
    assert "Held-out loss still falls after it, by 0.500 nat per token until step 60" in found.said[1]


def test_memory_that_sets_in_after_the_lowest_held_out_loss_blames_nothing_on_it():
    found = run(look(0, 7.0, NONE), look(30, 5.0, NONE), look(60, 6.0, SOME))
    assert "from step 60 on" in found.said[1]
    assert "still falls" not in found.said[1]


def test_an_excess_that_went_away_again_is_no_onset():
    found = run(look(0, 7.0, SOME), look(30, 6.0, SOME), look(60, 5.0, NONE))
    assert found.said[1] == "t/a: exposure: at the last look the interval of its excess holds zero or lies below."
    assert found.said[0].startswith("Held-out loss falls to the last look: from 7.000")


@given(some.lists(some.tuples(some.floats(0.1, 9.0), some.booleans()), min_size=2, max_size=8))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_the_onset_is_the_first_look_after_which_no_interval_holds_zero(points):
    """Beside the definition, look by look."""
    looks = [look(10 * place, held, SOME if above else NONE) for place, (held, above) in enumerate(points)]
    said = run(*looks).said[1]
    onset = next((place for place in range(len(points)) if all(above for _, above in points[place:])), None)
    if onset is None:
        assert "from step" not in said
        return
    assert f"from step {10 * onset} on" in said
    lowest = int(np.argmin([held for held, _ in points]))
    falls = onset < lowest and points[onset][0] > points[lowest][0]
    assert ("still falls after it" in said) == falls


def test_a_look_that_failed_or_measured_something_else_leaves_a_gap():
    found = run(look(0, 7.0, NONE), look(10), look(20, 6.0, (0.5, 0.1, 0.9), unit="ratio"), look(30, 5.0, SOME))
    assert [(row.step, row.held_out) for row in found.losses] == [(0, 7.0), (10, None), (20, 6.0), (30, 5.0)]
    (curve,) = found.curves
    assert curve.steps == (0.0, 30.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no look"),
        (b"{}\n", ":1: not a look"),
        (b"not json\n", ":1: not a look"),
        (lines(look(0, 7.0)) + b'{"step": NaN}\n', ":2: not a look"),
        (lines(look(5, 7.0), look(5, 6.0)), ":2: step 5 comes after step 5"),
        (b"\xff\xfe\n", ":1: not a look"),
        (lines(look(0, 7.0)).replace(b'"step":0', b'"step":0,"secret":"x"'), ":1: not a look"),
    ],
)
def test_what_is_no_history_is_refused_with_its_line(content, words):
    with pytest.raises(DataError) as caught:
        read_training(content, "a", "history.jsonl")
    assert words in caught.value.message
    assert caught.value.hint


def test_a_run_that_is_the_beginning_of_another_is_shown_with_it():
    """The same seed: what the trainer logged and why it looked may differ at the end, the numbers do not."""
    short = run(look(0, 7.0, NONE), look(30, 6.0, SOME, occasion="end", trainer={"loss": 1.0}), label="short")
    long = run(look(0, 7.0, NONE), look(30, 6.0, SOME, trainer={"loss": 2.0}), look(60, 5.0, SOME), label="long")
    other = run(look(0, 7.5, NONE), look(30, 6.5, SOME), label="other")
    first, second = joined([short, long, other])
    assert first.ends == {"long": 60.0, "short": 30.0}
    assert first.losses == long.losses
    assert second.ends == {"other": 30.0}
    assert joined([]) == ()


def test_it_is_shown_apart_marked_unsealed_and_decides_nothing():
    plain = compare([source("a"), source("b", 2.0)])
    watched = run(look(0, 7.0, NONE, members=6.0), look(30, 6.0, SOME, members=2.0))
    told = compare([source("a"), source("b", 2.0)], training=[watched], notes=["b: a note."])
    assert told.model_copy(update={"training": (), "warnings": plain.warnings}) == plain
    assert told.warnings == (*plain.warnings, "b: a note.")
    html, figures = render(told)
    assert "training-1.svg" in figures
    assert "training-1.svg" not in render(plain)[1]
    section = html[html.index('id="training"') : html.index('id="pair-1"')]
    assert "It is under no seal" in section
    assert "training loss from 6.000 to 2.000 nat per token; held-out loss from 7.000 to 6.000 nat per token" in section
    assert render(told) == render(told)


@pytest.mark.parametrize("label", ["$x^{$ \\frac", "_hidden", "\u202eevil" * 40, "<script>x</script>"])
def test_hostile_names_are_drawn_as_they_are(label):
    drawn = training(run(look(0, 7.0, NONE), look(30, 6.0, SOME), label=label), "x")
    assert drawn is not None
    assert b"<script" not in drawn


def test_nothing_to_draw_is_not_drawn():
    assert training(run(look(0), look(5)), "x") is None


def test_it_reads_what_the_callback_writes():
    """The record is the one that `AuditCallback` writes: one definition, in one place."""
    from auditor.integrations import history

    assert (history.Look, history.Loss, history.Measured) == (Look, Loss, Measured)
    assert json.loads(lines(look(0, 7.0)))["schema_version"] == 1
