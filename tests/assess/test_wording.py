"""Nothing that anybody calls or says can make a conclusion say more than the evidence: every shipped policy, every outcome."""

from __future__ import annotations

import datetime as dt
import itertools
import re
import string
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from making import catalogue, clause, entry, estimate, finding, measurement, policy, subject

from auditor.assess import conclusion, formal_bound, prongs, wording
from auditor.assess.clauses import assess
from auditor.assess.wording import FORBIDDEN, Foreign, forbidden_words, may_stand, overclaims, plain_letters, say
from auditor.core.assessment import Statement
from auditor.core.finding import Exhibit, Outcome, PerQuery, Stratum
from auditor.core.subject import ReleaseContext
from auditor.policy.catalogue import load_attack_classes
from auditor.policy.load import load_catalogues, load_policy
from auditor.policy.written_out import in_context, mapped

TODAY = dt.date(2026, 11, 21)
SHIPPED = (
    "ai-act-gpai", "baseline", "copyright", "edpb-28-2024", "edpb-28-2024-images", "full", "full-images", "model-card",
)  # fmt: skip
MORE = (
    "The model passes.", "It passed the audit.", "Every test was passed.", "All tests passed", "no memorization",
    "No memorisation was found",
    "free of personal data", "zero risks", "The model does not memorize.", "It has never leaked; it doesn't remember", "memorized nothing",
    "privacy score 97", "Overall score: 9/10", "a trust grade of A", "fully private", "in line with the GDPR", "leaks no record",
)  # fmt: skip
FINE = (
    "Of 3,000 passages 12 come out in one pass with a probability of 10 % or more.", "no excess over the control", "unsafely",
    "a safeguard",
    "5 scores picked 100 of 400 different generations", "anonymity", "the certificate", "5 came out of 100 members", "passes over the data",
    "No record of a control came out.", "the score of most power is min_k", "compliance", "a guarantee",
)  # fmt: skip


def stands_in(sentence):
    """Return the forbidden words of a sentence, found in another way than the code finds them: word by word."""
    letters = unicodedata.normalize("NFKD", sentence)
    letters = "".join(c for c in letters if unicodedata.category(c) not in {"Mn", "Cf", "Me"}).lower()
    words = re.sub(r"[^a-z0-9]+", " ", letters).split()
    joined = " ".join(["", *words, ""])
    return [word for word in FORBIDDEN if f" {word.lower().replace('-', ' ')} " in joined]


def says_too_much(sentence):
    """Return whether a sentence gives a verdict, a score or an absence, by a few plain words."""
    text = sentence.lower()
    found = re.search(r"\bpass(ed|es)?\b|\bscore\b|no memori[sz]ation|\bverdict\b|\d/10\b", text)
    return found.group() if found else ""


def shipped(name):
    found = load_policy(name, base=None, known_tests=None).policy
    loaded = load_catalogues(found, today=None)
    shelves = tuple(item.catalogue for item in loaded)
    return mapped(in_context(found, ReleaseContext.PUBLIC_API), shelves), shelves


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_policy_with_every_pair_of_outcomes(name):
    """One outcome for all tests, and every pair of outcomes in turn; statements missing, given and contradicted."""
    declared, shelves = shipped(name)
    classes = tuple(load_attack_classes().classes.values())
    answer = "A training record came out of 3 of 100 members: 3.0 %."
    for one, other in itertools.combinations_with_replacement(Outcome, 2):
        findings = []
        for place, item in enumerate(declared.tests):
            outcome = (one, other)[place % 2]
            has = outcome not in {Outcome.NOT_RUN, Outcome.NOT_APPLICABLE}
            made = measurement(item.test, answer=answer, confirmed=place % 3, access="text") if has else None
            findings.append(finding(outcome, item.test, evidence_for=item.evidence_for, measurement=made))
        said = Statement(
            id="s", clauses=(declared.statements or ("X",))[:1], text="No record can be extracted.", author="A", role="R", date="2026-01-01"
        )  # fmt: skip
        for statements in ((), (said,)):
            found = assess(declared, shelves, findings, statements, subject(), created=TODAY, classes=classes)
            for sentence in (*found.conclusion, *found.limits, *found.triggers):
                assert not stands_in(sentence), sentence
                assert not says_too_much(sentence), sentence
                assert may_stand(sentence), sentence
            for state in found.prongs:
                assert state.sentence in found.conclusion


def templates():
    """Return every template of a conclusion, as text."""
    found = {}
    for module in (conclusion, prongs, formal_bound):
        for name, value in vars(module).items():
            if name.isupper() or (name.startswith("_") and name.isupper()):
                values = value.values() if isinstance(value, dict) else [value]
                found |= {
                    f"{module.__name__}.{name} {place}": text
                    for place, text in enumerate(values)
                    if isinstance(text, str)
                }
    return found


@pytest.mark.parametrize("name", sorted(templates()))
def test_no_template_says_too_much(name):
    text = templates()[name]
    assert may_stand(text), text
    assert not stands_in(text)
    assert not says_too_much(text)


def test_the_templates_were_looked_at():
    assert len(templates()) > 25


@pytest.mark.parametrize("text", MORE)
def test_a_verdict_a_score_and_an_absence_may_not_stand(text):
    assert overclaims(text), text


@pytest.mark.parametrize("text", FINE)
def test_what_tests_say_of_numbers_may_stand(text):
    assert may_stand(text), text


DRESS = {
    "upper": str.upper,
    "soft hyphens": "\u00ad".join,
    "zero width": "\u200b".join,
    "full width": lambda word: "".join(chr(ord(c) + 0xFEE0) if c in string.ascii_letters else c for c in word),
    "accents": lambda word: "".join(unicodedata.normalize("NFC", c + "\u0301") for c in word),
    "cyrillic": lambda word: word.translate(
        str.maketrans("aceopsix", "\u0430\u0441\u0435\u043e\u0440\u0455\u0456\u0445")
    ),
    "bold letters": lambda word: "".join(
        chr(0x1D41A + ord(c) - 97) if c in string.ascii_lowercase else c for c in word
    ),
    "underscores": lambda word: re.sub(r"[ -]", "_", word),
    "line ends": lambda word: re.sub(r"[ -]", "-\n", word),
    "joined": lambda word: re.sub(r"[ -]", "", word),
    "turned around": lambda word: f"\u202e{word}\u202c",
}


@pytest.mark.parametrize("dress", DRESS)
@pytest.mark.parametrize("word", FORBIDDEN)
def test_the_guard_sees_through_every_dress(word, dress):
    worn = DRESS[dress](word)
    if dress == "joined" and word == "non-compliant":
        pytest.skip("'noncompliant' is another word; it is listed with its hyphen")
    assert forbidden_words(f"The model is {worn}, it says."), worn


def test_letters_are_seen_as_a_reader_sees_them():
    assert plain_letters("S\u0430\u200bf\u00e9\n\uff21") == "safe a"


def hostile(word):
    """Return what a third party could call and say: everything carries the words."""
    name = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") or "x"
    number = estimate(0.25, 0.125, 0.5, unit=word)
    ratio = estimate(0.25, 0.125, 0.5)
    rows = tuple(
        Stratum(by="source", label=label, estimate=number, control=number)
        for label in (word, f"{word} {word}", word * 40)
    )
    said = measurement(
        f"acme/{name}", answer=f"The model is {word}.", estimate=number, control=number, excess=number, strata=rows, confirmed=1,
        exhibits=(Exhibit(record=word, excerpt=word),), access="weights",
        per_query=(PerQuery(what=word, asked=word, estimate=ratio, control=ratio),),
    )  # fmt: skip
    return f"acme/{name}", said


def conclusions_of(word, outcome):
    name, said = hostile(word)
    ids = (f"{word}", f"{word} 2")
    clauses = [
        clause(item, prong=1 + place % 2, tests=(name,), title=word, paraphrase=word) for place, item in enumerate(ids)
    ]
    found = finding(
        outcome, name, evidence_for=ids, reason=word, measurement=said if outcome is not Outcome.NOT_RUN else None
    )
    answers = {"epsilon": 1.0, "delta": 1e-5, "unit": "record", "dedup": word}
    stated = Statement(
        id=word, clauses=ids[:1], form="training_method_statement", answers=answers, text=word, author=word, role=word, date="2026-01-01"
    )  # fmt: skip
    declared = policy(entry(name, evidence_for=ids), statements=ids)
    named = subject(name=word, controller=word, overlap=(word,))
    result = assess(declared, [catalogue(*clauses)], [found], [stated], named, created=TODAY)
    return (*result.conclusion, *result.limits, *result.triggers)


@pytest.mark.parametrize("word", [*FORBIDDEN, *MORE])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_third_party_cannot_put_words_into_a_conclusion(word, outcome):
    """Not by the name of a test, its answer, unit, strata or queries, nor by ids of clauses and statements or a subject's name."""
    for sentence in conclusions_of(word, outcome):
        assert may_stand(sentence), sentence
        assert not stands_in(sentence), sentence


FRAGMENTS = some.sampled_from(
    ["zero", "risk", "GDPR", "proof", "passes", "EDPB", "de", "identified", "non", "compliant", "sa", "fe", "safe", "-", " ", "\u200b", "{",
     "}",      "{tests}", "{0}", "%s", "<b>", "\n", "a", "anonymous", "no", "memorization", "score", "9/10", "S\u0430fe"]
)  # fmt: skip


@settings(derandomize=True, deadline=None, max_examples=120)
@given(
    some.lists(FRAGMENTS, min_size=1, max_size=6).map("".join).filter(lambda text: text.strip()),
    some.sampled_from(list(Outcome)),
)
def test_no_fragments_add_up_to_what_may_not_stand(text, outcome):
    for sentence in conclusions_of(text.strip(), outcome):
        assert may_stand(sentence), sentence


def test_words_that_only_meet_at_a_seam_are_kept_apart():
    """Each may stand alone; beside each other they may not."""
    one, other = Foreign("zero", "nothing of note"), Foreign("risk", "something")
    assert (one.own, other.own) == ("zero", "risk")
    assert say("{a} {b}", a=one, b=other) == "nothing of note something"
    assert say("{a}, then {b}", a=one, b=other) == "zero, then risk"


def test_braces_of_others_are_only_braces():
    assert say("{a} said", a=Foreign("{b.__class__}", "x")) == "{b.__class__} said"


def test_numbers_stay_where_the_words_may_not():
    sentences = conclusions_of("safe", Outcome.SIGNAL)
    assert "0.25 (95 % interval 0.125 to 0.5)" in sentences[0]


def test_long_texts_are_cut_and_very_many_clauses_counted():
    name, _ = hostile("x")
    long = finding(measurement=measurement(name, answer="word " * 200_000), name=name)
    ids = tuple(f"C-{number}" for number in range(3000))
    declared = policy(entry(name, evidence_for=ids), statements=ids)
    result = assess(declared, [catalogue(*(clause(item) for item in ids))], [long], [], subject(), created=TODAY)
    assert max(map(len, result.conclusion)) < 2 * wording.LONGEST
    assert any("and 2,950 more, in the table of clauses" in line for line in result.conclusion)
