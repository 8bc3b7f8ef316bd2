"""Handing out what is to be translated and taking it back: nothing is lost, nothing wrong is taken."""

from __future__ import annotations

import json
import shutil

import pytest

from auditor.errors import UsageError
from auditor.language import __main__ as entrance
from auditor.language import catalogue, work
from auditor.language.extraction import Message

MESSAGES = [
    Message("A control failed.", "", ("templates/a.j2:1",)),
    Message("{0} of {1} records, at 0.5", "", ("auditor/battery/a.py:3",)),
    Message("%(n)s test", "%(n)s tests", ("templates/a.j2:2",)),
    Message("No claim is made about {0}.", "", ("auditor/assess/conclusion.py:3",)),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A catalogue of four messages in a folder of its own."""
    place = tmp_path / "languages"
    for language in catalogue.LANGUAGES:
        (place / language / "LC_MESSAGES").mkdir(parents=True)
    for module in (catalogue, work):
        monkeypatch.setattr(module, "catalogue", lambda language: place / language / "LC_MESSAGES" / "report.po")
    monkeypatch.setattr(work, "template_folder", lambda: place)
    monkeypatch.setattr(catalogue, "_there", lambda language: work.catalogue(language).exists())
    monkeypatch.setattr(work, "messages", lambda: MESSAGES)
    work.update()
    yield place
    shutil.rmtree(place)


def filled(path, said):
    rows = json.loads(path.read_text())
    for row in rows:
        row["msgstr"] = said.get(row["msgid"], row["msgstr"])
    path.write_text(json.dumps(rows))


def test_what_is_handed_out_comes_back(folder, tmp_path):
    files = work.split("de", tmp_path / "work", 2)
    assert sum(len(json.loads(path.read_text())) for path in files) == len(MESSAGES)
    said = {
        "A control failed.": "Eine Kontrolle hat versagt.",
        "{0} of {1} records, at 0.5": "von {1} Datensätzen {0}, bei 0,5",
        "%(n)s test": ["%(n)s Test", "%(n)s Tests"],
        "No claim is made about {0}.": "Über {0} wird nichts behauptet.",
    }
    for path in files:
        filled(path, said)
    assert work.merge("de", files) == (4, [])
    state = work.state("de")
    assert (state.translated, state.words_left, state.faulty) == (4, 0, ())
    work.update()
    assert work.state("de").translated == 4, "extracting again keeps translations"
    assert all(json.loads(path.read_text()) == [] for path in work.split("de", tmp_path / "again", 2))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("{0} of {1} records, at 0.5", "von {0} Datensätzen, bei 0,5"),
        ("{0} of {1} records, at 0.5", "von {1} Datensätzen {0}, bei 0,6"),
        ("%(n)s test", ["%(n)s Test"]),
        ("%(n)s test", "%(n)s Tests"),
        ("No claim is made about {0}.", "{0} ist anonym."),
        ("there is no such message", "es gibt sie nicht"),
    ],
)
def test_what_is_wrong_is_named_and_not_taken(folder, tmp_path, message, said):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"msgid": message, "msgstr": said}]))
    taken, wrong = work.merge("de", [path])
    assert taken == 0
    assert len(wrong) == 1
    assert work.state("de").translated == 0


def test_a_message_that_is_no_longer_said_keeps_its_translation(folder, tmp_path, monkeypatch):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"msgid": "A control failed.", "msgstr": "Eine Kontrolle hat versagt."}]))
    work.merge("de", [path])
    monkeypatch.setattr(work, "messages", lambda: MESSAGES[1:])
    work.update()
    assert work.state("de").messages == 3
    monkeypatch.setattr(work, "messages", lambda: MESSAGES)
    work.update()
    assert work.state("de").translated == 1


def test_bad_input_is_said(folder, tmp_path):
    with pytest.raises(UsageError, match="no catalogue for 'it'"):
        work.split("it", tmp_path, 1)
    with pytest.raises(UsageError, match="cannot be read"):
        work.merge("de", [tmp_path / "none.json"])
    (tmp_path / "rows.json").write_text("{}")
    with pytest.raises(UsageError, match="not a list"):
        work.merge("de", [tmp_path / "rows.json"])


def test_the_command_says_how_far_each_language_is(folder, tmp_path, capsys):
    assert entrance.main(["state"]) == 0
    assert "de: 0 of 4 messages" in capsys.readouterr().out
    assert entrance.main(["split", "fr", str(tmp_path / "work"), "--parts", "1"]) == 0
    assert entrance.main(["merge", "fr", str(tmp_path / "none.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err
