"""The forms of texts in source: whole sentences, every alternative, and nothing that nobody reads."""

from __future__ import annotations

import pytest

from auditor.language.sentences import sentences


def forms(source: str, **more) -> list[str]:
    return [found.form for found in sentences(source, "a.py", **more)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('x = f"Of {n:,} records {k} came out."', ["Of {0} records {1} came out."]),
        (
            "x = f\"{n} {'thing differs' if n == 1 else 'things differ'} here\"",
            ["{0} thing differs here", "{0} things differ here"],
        ),
        (
            "x = f\"{'is' if n == 1 else 'are'} known: {n} {'attempt' if n == 1 else 'attempts'}\"",
            ["is known: {0} attempt", "are known: {0} attempts"],
        ),
        (
            'def f(n):\n    more = "" if n else f"; control {n}"\n    return f"Found {n}{more}."',
            ["control {0}", "Found {0}; control {1}.", "Found {0}."],
        ),
        ('T = "{test} shows more: {answer:,}"', ["{0} shows more: {1}"]),
        ('x = f"a set of {{values}} of {n}"', ["a set of {{values}} of {0}"]),
        ('x = f"{answer} Corrected over the battery, p = {p:.2g}."', ["Corrected over the battery, p = {0}."]),
        ('x = plural(n, "member")', ["{0} member", "{0} members"]),
        ('x = plural(n, "planted canary", "planted canaries")', ["{0} planted canary", "{0} planted canaries"]),
        ('x = "two words" + f" and {n}"', ["two words and {0}"]),
        ('x = Stratum(by="copies", label=name)', ["copies"]),
        ('x = table.column("copies")', []),
        ('"""A docstring of words."""\ndef f():\n    """Another one of them."""', []),
        ('msg = "the file is wrong"\nraise DataError(msg, hint="Mend the file.")', []),
        (
            'msg = "there are no canaries"\nraise UnsupportedError(msg, hint="Make some first.")',
            ["there are no canaries", "Make some first."],
        ),
        ('x = re.compile("some words here")', []),
        ('if mode == "two words":\n    pass', []),
    ],
)
def test_forms_are_found(source, found):
    assert sorted(set(forms(source))) == sorted(found)


def test_of_some_rooms_only_reasons_and_methods_are_taken():
    source = (
        'x = "words nobody prints"\nmethod = "order statistic"\nmsg = "no classes are known"\nraise UnsupportedError(msg)\n'
        'c = Column(name="rest", meaning="What followed it.", restricted=True)\nd = Column(name="n", meaning="How many there are.")'
    )
    assert forms(source, reasons=True) == ["order statistic", "no classes are known", "What followed it."]
