"""Reads clause catalogues."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.core.clause import AttackClass, AttackClasses, Catalogue, Clause
from auditor.core.resources import resource
from auditor.core.statement import Form, Forms
from auditor.core.yaml import Document, load_yaml, validate
from auditor.errors import PolicyError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ATTACK_CLASSES = "attack-classes"
"""Name of the file beside the catalogues that says which tests are evidence about which attack class."""
FORMS = "statement-forms"
"""Name of the file beside the catalogues that says what each form asks, in words."""
_ISSUED = re.compile(r"(?:\d{4}(?:-\d\d(?:-\d\d)?)?|not known)\Z")


@dataclass(frozen=True, slots=True)
class LoadedCatalogue:
    """A catalogue, with the bytes of its file."""

    catalogue: Catalogue
    bytes: bytes
    digest: str
    warnings: tuple[str, ...]


def shipped_names() -> tuple[str, ...]:
    """Return the ids of the shipped catalogues, sorted."""
    return catalogue_names(resource("policies/clauses"))


def catalogue_names(folder: Path) -> tuple[str, ...]:
    """Return the ids of the catalogues of a folder, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml") if path.stem not in {ATTACK_CLASSES, FORMS}))


@dataclass(frozen=True, slots=True)
class LoadedClasses:
    """The attack classes by id, with the bytes of their file."""

    classes: Mapping[str, AttackClass]
    bytes: bytes
    digest: str


def load_attack_classes(folder: Path | None = None) -> LoadedClasses:
    """Return the attack classes that the catalogues of a folder speak of.

    Args:
        folder: Where the file lies; None: the shipped one.

    Raises:
        PolicyError: There is none, or it is wrong.
    """
    where = folder if folder is not None else resource("policies/clauses")
    path = where / f"{ATTACK_CLASSES}.yaml"
    if not path.is_file():
        msg = f"{where}: there is no file '{path.name}', and clauses name attack classes"
        raise PolicyError(msg, hint="It lies beside the catalogues; copy the shipped one to start from.")
    document = load_yaml(path, PolicyError)
    found = validate(document, AttackClasses, PolicyError).attack_classes
    classes: dict[str, AttackClass] = {}
    for number, item in enumerate(found):
        if item.id in classes:
            msg = f"{document.where(['attack_classes', number, 'id'])}: the attack class '{item.id}' stands twice"
            raise PolicyError(msg, hint="Attack class ids are unique.")
        classes[item.id] = item
    content = path.read_bytes()
    return LoadedClasses(classes, content, hashlib.sha256(content).hexdigest())


def load_forms(folder: Path | None = None) -> dict[str, Form]:
    """Return the forms of statements by name; none where a folder has no file of them: then every answer is in words.

    Args:
        folder: Where the file lies; None: the shipped one.

    Raises:
        PolicyError: The file is wrong.
    """
    where = folder if folder is not None else resource("policies/clauses")
    path = where / f"{FORMS}.yaml"
    if not path.is_file():
        return {}
    document = load_yaml(path, PolicyError)
    found: dict[str, Form] = {}
    for number, item in enumerate(validate(document, Forms, PolicyError).forms):
        if item.form in found:
            msg = f"{document.where(['forms', number, 'form'])}: the form '{item.form}' stands twice"
            raise PolicyError(msg, hint="Names of forms are unique.")
        found[item.form] = item
    return found


def load_catalogue(name: str, *, today: dt.date | None, folder: Path | None = None) -> LoadedCatalogue:
    """Return a catalogue by id.

    Args:
        name: Its id, which is also its file's name.
        today: Warns of a catalogue past its review date; None: no warning.
        folder: Where it lies; None: among the shipped ones.

    Raises:
        PolicyError: There is none of that name, or it is wrong.
    """
    where = folder if folder is not None else resource("policies/clauses")
    path = where / f"{name}.yaml"
    if "/" in name or not path.exists():
        known = catalogue_names(where)
        msg = f"there is no clause catalogue '{name}'"
        raise PolicyError(msg, hint=did_you_mean(name, known))
    document = load_yaml(path, PolicyError)
    catalogue = validate(document, Catalogue, PolicyError)
    _check(catalogue, document, name)
    if any(clause.classes for clause in catalogue.clauses):
        classes = load_attack_classes(folder).classes
        _check_classes(catalogue, document, classes)
        clauses = tuple(_with_tests(clause, classes) for clause in catalogue.clauses)
        catalogue = catalogue.model_copy(update={"clauses": clauses})
    content = path.read_bytes()
    return LoadedCatalogue(catalogue, content, hashlib.sha256(content).hexdigest(), _warnings(catalogue, today))


def _check(catalogue: Catalogue, document: Document, name: str) -> None:
    if catalogue.id != name:
        msg = f"{document.where(['id'])}: the id is '{catalogue.id}', the file is called '{name}.yaml'"
        raise PolicyError(msg, hint="Give both the same name.")
    if not _ISSUED.match(catalogue.issued):
        msg = f"{document.where(['issued'])}: '{catalogue.issued}' is neither an ISO date nor `not known`"
        raise PolicyError(msg, hint='Write for example "2024-12-17", "2024-12" or "2024".')
    for field in ("review_by", "compiled"):
        try:
            dt.date.fromisoformat(getattr(catalogue, field))
        except ValueError as error:
            msg = f"{document.where([field])}: '{getattr(catalogue, field)}' is not an ISO date"
            raise PolicyError(msg, hint='Write for example "2026-11-21".') from error
    seen: dict[str, int] = {}
    for number, clause in enumerate(catalogue.clauses):
        if clause.id in seen:
            place = document.where(["clauses", number, "id"])
            msg = f"{place}: the clause '{clause.id}' stands already on line {seen[clause.id]}"
            raise PolicyError(msg, hint="Clause ids are unique.")
        seen[clause.id] = document.line_of(["clauses", number, "id"])


def _check_classes(catalogue: Catalogue, document: Document, classes: Mapping[str, AttackClass]) -> None:
    sources = {source.id for source in catalogue.sources}
    for number, clause in enumerate(catalogue.clauses):
        for position, name in enumerate(clause.classes):
            if name not in classes:
                where = document.where(["clauses", number, "classes", position])
                msg = f"{where}: there is no attack class '{name}'"
                raise PolicyError(msg, hint=did_you_mean(name, classes))
        for position, name in enumerate(clause.verification.sources):
            if name not in sources:
                where = document.where(["clauses", number, "verification", "sources", position])
                msg = f"{where}: the catalogue has no source '{name}'"
                raise PolicyError(msg, hint=did_you_mean(name, sources))


def _with_tests(clause: Clause, classes: Mapping[str, AttackClass]) -> Clause:
    """Return a clause with the tests of its attack classes, and the names of those that nothing tests."""
    own = [classes[name] for name in clause.classes]
    tests = dict.fromkeys([*clause.tests, *(test for item in own for test in item.tests)])
    untested = dict.fromkeys(
        [*clause.attack_classes, *(item.name for item in own if not (item.tests or item.every_test))]
    )
    added = {
        "tests": tuple(tests),
        "every_test": clause.every_test or any(item.every_test for item in own),
        "attack_classes": tuple(untested),
    }
    return clause.model_copy(update=added)


def _warnings(catalogue: Catalogue, today: dt.date | None) -> tuple[str, ...]:
    if today is None or today <= dt.date.fromisoformat(catalogue.review_by):
        return ()
    return (
        f"clause catalogue '{catalogue.id}' was due for review by {catalogue.review_by}: a person must read it again",
    )
