"""Reads clause catalogues."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.core.clause import Catalogue
from auditor.core.resources import resource
from auditor.core.yaml import Document, load_yaml, validate
from auditor.errors import PolicyError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LoadedCatalogue:
    """A catalogue, with the bytes of its file."""

    catalogue: Catalogue
    bytes: bytes
    digest: str
    warnings: tuple[str, ...]


def shipped_names() -> tuple[str, ...]:
    """Return the ids of the shipped catalogues, sorted."""
    return tuple(sorted(path.stem for path in resource("policies/clauses").glob("*.yaml")))


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
        known = [item.stem for item in where.glob("*.yaml")]
        msg = f"there is no clause catalogue '{name}'"
        raise PolicyError(msg, hint=did_you_mean(name, known))
    document = load_yaml(path, PolicyError)
    catalogue = validate(document, Catalogue, PolicyError)
    _check(catalogue, document, name)
    content = path.read_bytes()
    return LoadedCatalogue(catalogue, content, hashlib.sha256(content).hexdigest(), _warnings(catalogue, today))


def _check(catalogue: Catalogue, document: Document, name: str) -> None:
    if catalogue.id != name:
        msg = f"{document.where(['id'])}: the id is '{catalogue.id}', the file is called '{name}.yaml'"
        raise PolicyError(msg, hint="Give both the same name.")
    for field in ("issued", "review_by", "compiled"):
        try:
            dt.date.fromisoformat(getattr(catalogue, field) if field != "issued" else catalogue.issued[:10])
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


def _warnings(catalogue: Catalogue, today: dt.date | None) -> tuple[str, ...]:
    if today is None or today <= dt.date.fromisoformat(catalogue.review_by):
        return ()
    return (
        f"clause catalogue '{catalogue.id}' was due for review by {catalogue.review_by}: a person must read it again",
    )
