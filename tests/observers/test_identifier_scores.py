"""Identifiers asked of a model: continuations, probabilities and ranks against brute force, on both sides alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
from opened import SEED, check_columns, opened, rows

from auditor.core.evidence import Need
from auditor.core.policy import QueryBudget
from auditor.core.seeds import generator
from auditor.errors import UnsupportedError
from auditor.observers.identifier_forms import candidates
from auditor.observers.identifier_register import register
from auditor.observers.identifier_scores import OBSERVER, Parameters
from auditor.observers.recognizers import KINDS
from auditor.subjects.capability import ScoreRequest
from auditor.subjects.data import DataRecord
from auditor.testing.control_subject import control_subject

QUERIES = QueryBudget(per_subject=1, lifetime=1, reason="test")
PLAIN = (
    "She left a note: write to {} before the ferry leaves.",
    "The keeper said <{}> and nothing else that night",
    "Call me at\n\t{}, the lamp is out.",
    "mail:{};locker",
    "Das Café öffnet um acht {}",
)


def person(side, number):
    """Four types of identifiers of nobody, by turns."""
    rng = np.random.default_rng([number, side == "controls"])
    names = ["anna", "bert", "cleo", "dora", "emil", "fynn", "gita", "hugo"]
    if number % 4 == 0:
        return f"{names[rng.integers(8)]}.{names[rng.integers(8)]}{number}@{side}.de"
    if number % 4 == 1:
        return f"+49 30 {rng.integers(10**6, 10**7)}"
    if number % 4 == 2:
        return f"93.{rng.integers(10, 250)}.{rng.integers(10, 250)}.{rng.integers(10, 250)}"
    return f"({rng.integers(212, 219)}) {rng.integers(222, 911)}-{rng.integers(1000, 9999)}"


def side(name, count=20):
    texts = [PLAIN[n % len(PLAIN)].format(person(name, n)) for n in range(count)]
    return [DataRecord(id=f"{name}{n}", text=text, cluster=f"{name}-{n}") for n, text in enumerate(texts)]


def need(**parameters):
    return Need(observer="identifier-scores", dataset="members+controls", parameters=parameters)


def subject(model):
    return opened(model, side("members"), side("controls"))


def memorizer(kind="memorizer"):
    return control_subject(kind, references=0, confidence=0.95, queries=QUERIES)


def test_it_writes_what_it_declares(without_begin):
    check_columns(OBSERVER, need(candidates=4, samples=1), subject(without_begin))
    check_columns(OBSERVER, need(), memorizer())
    assert all(field.description for field in Parameters.model_fields.values())


def test_nothing_public_says_an_identifier(with_begin):
    found = rows(OBSERVER, need(candidates=3, samples=1), subject(with_begin))
    public = [column.name for column in OBSERVER.columns(Parameters()) if not column.restricted]
    values = [value for row in found for _, value, _ in json.loads(row["found"])]
    assert len(values) == 40
    for row in found:
        shown = " ".join(str(row[name]) for name in public)
        assert not any(value in shown for value in values)


def test_ranks_and_probabilities_are_those_of_whole_texts(model):
    one = subject(model)
    asked = {"candidates": 30, "samples": 0, "following": 12, "shortest": 2}
    found = rows(OBSERVER, need(**asked), one)
    known = register(one, SEED, None, "patterns")
    lead = [] if model.begin is None else [model.begin]

    def scores(texts):
        ids = [np.array([*lead, *row], dtype=np.int32) for row in model.encode(texts)]
        return [row.logprob.astype(float) for row in model.score(ids, ScoreRequest())]

    compared = 0
    for number, row in enumerate(found):
        assert row["played"] == [True]
        own = known.rows[number]
        text = next(record.text for record in one.sides[own.side].records if record.id == own.id)
        value = own.found[0][0].value
        before, after = text.split(value)
        rng = generator(SEED, "identifier-candidates", str(number), "0")
        others = candidates(own.found[0][0].type, value, (own.side, own.cluster), 30, known, rng)
        assert row["candidates"] == [len(others)]
        assert len(others) >= 20
        totals = [float(one.sum()) for one in scores([before + other + after[:12] for other in (value, *others)])]
        above = sum(total > totals[0] + 1e-3 for total in totals[1:])
        tied = sum(abs(total - totals[0]) <= 1e-3 for total in totals[1:])
        assert 1 + above <= row["rank"][0] <= 1 + above + tied
        compared += not tied
        alone = scores([before + value])[0][-row["tokens"][0] :].sum()
        assert row["logprob"][0] == pytest.approx(alone, abs=1e-3)
    assert compared > 30


class Reciting:
    """Continues each prompt as the record that it is from goes on, whatever the model would say."""

    def __init__(self, model, texts, changed=None):
        self.model, self.changed = model, changed
        self.ids = [ids.tolist() for ids in model.encode(texts)]

    def __getattr__(self, name):
        return getattr(self.model, name)

    def continue_greedily(self, prefixes, tokens):
        said = []
        for prefix in prefixes:
            own = prefix.tolist()[0 if self.model.begin is None else 1 :]
            (rest,) = {tuple(ids[len(own) :]) for ids in self.ids if ids[: len(own)] == own and len(own) < len(ids)}
            text = self.model.decode(list(rest))
            rest = self.model.encode([self.changed(text)])[0].tolist() if self.changed else list(rest)
            said.append(np.array((rest + [5] * tokens)[:tokens], dtype=np.int32))
        return said


def distinct(name, count=20):
    """Records that differ before their identifiers, so that a prompt is of one record."""
    return [
        DataRecord(id=one.id, text=f"{n} {name}: {one.text}", cluster=one.cluster)
        for n, one in enumerate(side(name, count))
    ]


def test_a_true_continuation_is_seen_wherever_tokens_end(model):
    members, controls = distinct("members"), distinct("controls")
    reciting = Reciting(model, [one.text for one in members + controls])
    found = rows(OBSERVER, need(ranked=0, samples=0, shortest=2), opened(reciting, members, controls))
    assert all(row["equal"] == [True] and row["rank"] == [0] for row in found)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "".join(str((int(mark) + 1) % 10) if mark.isdigit() else mark for mark in text).replace("a", "e"),
        lambda text: text.replace("0", "", 1).replace("1", "", 1).replace("2", "", 1).replace("3", "", 1)[:-1],
    ],
)
def test_a_near_miss_is_not_the_identifier(without_begin, change):
    members, controls = distinct("members"), distinct("controls")
    reciting = Reciting(without_begin, [one.text for one in members + controls], change)
    found = rows(OBSERVER, need(ranked=0, samples=0, shortest=2), opened(reciting, members, controls))
    kinds = {KINDS[row["kind"][0]] for row in found}
    assert kinds == {"email", "phone", "ip_address"}
    assert sum(row["equal"] == [True] for row in found) <= 2


def test_the_memorizer_says_its_members_identifiers_and_no_controls():
    found = [row for row in rows(OBSERVER, need(), memorizer()) if row["number"]]
    assert len(found) == 48
    assert all(row["equal"] == [row["member"]] for row in found)
    assert all((row["sampled"][0] > 0) == row["member"] for row in found)
    assert {row["rank"][0] for row in found if row["member"]} == {1}
    assert len({row["rank"][0] for row in found if not row["member"]}) > 12
    innocent = [row for row in rows(OBSERVER, need(), memorizer("innocent")) if row["number"]]
    assert not any(row["equal"][0] or row["sampled"][0] for row in innocent)
    assert [row["number"] for row in innocent] == [row["number"] for row in found]


def test_ranks_of_an_innocent_are_uniform():
    p = []
    for variant in (3, 8, 11, 12):
        one = control_subject("innocent", references=0, confidence=0.95, queries=QUERIES, variant=variant)
        found = rows(OBSERVER, need(samples=0), one)
        p += [row["rank"][0] / (1 + row["candidates"][0]) for row in found if row["number"]]
    assert len(p) == 4 * 48
    for level in (0.05, 0.25, 0.5, 0.75):  # 4 standard deviations of a share of 192
        assert abs(np.mean(np.array(p) <= level) - level) < 4 * np.sqrt(level * (1 - level) / len(p)) + 0.01


def test_shards_change_nothing():
    whole = rows(OBSERVER, need(candidates=20, samples=2), memorizer())
    assert rows(OBSERVER, need(candidates=20, samples=2), memorizer(), size=37) == whole


def test_some_persons_and_some_of_their_identifiers_are_asked_for(without_begin):
    texts = [f"The baker wrote to {person('members', n)} and {person('members', 4 * n + 100)}" for n in range(12)]
    members = [DataRecord(id=str(n), text=text, cluster=f"p{n // 2}") for n, text in enumerate(texts)]
    one = opened(without_begin, members, members[:0] + side("controls", 12))
    found = rows(OBSERVER, need(persons=4, per_person=3, ranked=2, candidates=3, samples=0), one)
    for name, most in (("p", 3), ("c", 1)):
        asked = {}
        for row in found:
            if row["cluster"].startswith(name):
                asked.setdefault(row["cluster"], []).extend(
                    rank > 0 for rank, played in zip(row["rank"], row["played"], strict=True) if played
                )
        chosen = [ranked for ranked in asked.values() if ranked]
        assert [len(ranked) for ranked in chosen] == [most] * 4
        assert sum(all(ranked) for ranked in chosen) == 2
        assert sum(not any(ranked) for ranked in chosen) == 2


def test_what_several_hold_or_is_public_is_not_asked_for(without_begin):
    texts = ["The keeper reads ann@acme.de here", "The baker reads ann@acme.de here", "The boat has 8.8.8.8 now"]
    texts += ["She asked support@acme.de for bread", "He has bob@acme.de", "He has bob@acme.de", "She has cat@acme.de"]
    clusters = ["1", "2", "3", "4", "5", "5", "6"]
    members = [DataRecord(id=str(n), text=t, cluster=c) for n, (t, c) in enumerate(zip(texts, clusters, strict=True))]
    controls = [DataRecord(id=f"c{n}", text="He has cat@acme.de too", cluster="9") for n in range(7)]
    found = rows(OBSERVER, need(shortest=1, samples=0, candidates=2), opened(without_begin, members, controls))
    unique = [[row["unique"][0], row["played"][0]] for row in found]
    assert unique == [[False, False]] * 4 + [[True, True], [True, False], [False, False]] + [[False, False]] * 7
    assert found[4]["number"] == found[5]["number"]


def test_members_beyond_those_compared_make_an_identifier_shared(without_begin):
    compared = [DataRecord(id=str(n), text=f"The baker has b{n}@acme.de", cluster=f"p{n}") for n in range(12)]
    twins = [
        DataRecord(id=f"t{n}", text=f"The boat has b{n}@acme.de", cluster=f"p{n + 12 * (n > 5)}") for n in range(12)
    ]
    controls = [DataRecord(id=f"c{n}", text="nothing", cluster=f"c{n}") for n in range(12)]
    one = opened(without_begin, compared + twins, controls)
    known = register(one, SEED, None, "patterns")
    held = {row.id for row in known.rows if row.side == "members"}
    assert len(held) == 12
    for n in range(12):
        pair = {str(n), f"t{n}"} & held
        for identifier in known.known:
            if identifier.value == f"b{n}@acme.de" and pair:
                # The twin of the first six is the same person's.
                assert identifier.unique == (n <= 5)


def test_what_the_text_before_says_is_given(without_begin):
    texts = [
        "write to Ann Dale, ann.dale@acme.de",
        "write to Bob Hill, ann.lake@acme.de",
        "+49 30 9018200 is 004930-9018200; +49309018200",
    ]
    members = [DataRecord(id=str(n), text=text, cluster=str(n)) for n, text in enumerate(texts)]
    controls = [DataRecord(id=f"c{n}", text="nothing here", cluster=f"c{n}") for n in range(3)]
    found = rows(OBSERVER, need(shortest=1, samples=0, candidates=2), opened(without_begin, members, controls))
    assert [row["given"] for row in found[:2]] == [[True], [False]]
    assert found[2]["unique"] == [True, True]
    assert found[2]["played"] == [False, False]  # the first stands at the very beginning, the second is the same


def test_too_little_before_an_identifier_is_not_asked_for(without_begin):
    members = [DataRecord(id="0", text="ann@acme.de wrote from the island", cluster="0")]
    controls = [DataRecord(id="c", text="nothing here", cluster="c")]
    found = rows(OBSERVER, need(samples=0), opened(without_begin, members, controls))
    assert (found[0]["unique"], found[0]["played"]) == ([True], [False])


def test_without_controls_it_is_refused(without_begin):
    one = opened(without_begin, side("members"))
    with pytest.raises(UnsupportedError, match="no controls"):
        rows(OBSERVER, need(), one)


def test_one_pass_serves_those_who_ask_alike():
    needs = [need(), need(), need(samples=2), need().model_copy(update={"model": "reference-0"})]
    joined = OBSERVER.join(needs)
    assert len(joined) == 3
    assert all(sum(OBSERVER.covers(one, asked) for one in joined) == 1 for asked in needs)
