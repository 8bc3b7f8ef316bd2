"""Reads a policy and checks it against the installed tests and the clause catalogues it names."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from auditor.contract.registry import listed, load
from auditor.core.clause import ClauseKind
from auditor.core.evidence import Omission
from auditor.core.policy import Override, Policy, TestEntry
from auditor.core.record import digest_of_files
from auditor.core.resources import resource
from auditor.core.yaml import Document, load_yaml, validate
from auditor.errors import PolicyError, did_you_mean
from auditor.policy.catalogue import FORMS, LoadedCatalogue, catalogue_names, load_catalogue, shipped_names
from auditor.policy.inherit import inherit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from auditor.core.clause import Clause
    from auditor.core.statement import Form


Content = bytes
"""What a file holds."""
DEEPEST = 8
"""Policies that may build on one another."""


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy, with the bytes of its file and of those it builds on."""

    policy: Policy
    bytes: Content
    path: Path
    digest: str
    """SHA-256 of the file; of all the digests, the nearest first, where it builds on others."""
    document: Document
    parents: tuple[Content, ...] = ()
    """The files of the policies it builds on, the nearest first."""


def available() -> tuple[str, ...]:
    """Return the names of the shipped policies, sorted."""
    return tuple(sorted(path.stem for path in resource("policies").glob("*.yaml")))


def load_policy(
    name: str,
    *,
    base: Path | None,
    known_tests: Mapping[str, tuple[str, ...]] | None,
    parents: Path | None = None,
) -> LoadedPolicy:
    """Return a policy by the name of a shipped one or by path, with all that it takes over from those it extends.

    Args:
        name: Name of a shipped policy, or a path.
        base: Folder that a path is relative to; None: the current one.
        known_tests: Statistics of every installed test, by name, to check the policy against; None: it is not checked.
        parents: Folder that holds the policies it builds on as `1.yaml`, `2.yaml`, ..., as a bundle does; None: they are looked for.

    Raises:
        PolicyError: There is no such policy, it is wrong, or it extends itself.
    """
    path = _find(name, base)
    chain = _chain(path, parents)
    document = chain[-1]
    overrides: tuple[Override, ...] = ()
    for child in reversed(chain[:-1]):
        document, changed = inherit(child, document)
        own = {change.place for change in changed}
        overrides = (*(change for change in overrides if change.place not in own), *changed)
    if "overrides" in document.value:
        msg = f"{document.where(['overrides'])}: `overrides` is written by the reader of a policy"
        raise PolicyError(msg, hint="Change the entries themselves; each change is listed.")
    if len(chain) == 1 and (first := next((key for key in ("because", "without") if key in document.value), None)):
        msg = f"{document.where([first])}: '{first}' has a meaning only in a policy that extends another"
        raise PolicyError(msg, hint="Name the other under `extends`, or leave it out.")
    policy = validate(document, Policy, PolicyError).model_copy(update={"overrides": overrides})
    if known_tests is not None:
        _check_tests(policy, document, known_tests)
    contents = [item.path.read_bytes() for item in chain]
    return LoadedPolicy(policy, contents[0], path, digest_of_files(contents), document, tuple(contents[1:]))


def _chain(path: Path, parents: Path | None) -> list[Document]:
    """Return the documents of a policy and of those it builds on, the nearest first."""
    chain = [_read(path)]
    seen = {path.resolve()}
    while "extends" in chain[-1].value:
        last = chain[-1]
        name = last.value["extends"]
        where = last.where(["extends"])
        if not isinstance(name, str):
            msg = f"{where}: `extends` names one policy"
            raise PolicyError(msg, hint="Write the name of a shipped policy, or a path.")
        path = parents / f"{len(chain)}.yaml" if parents is not None else _parent(name, last.path.parent, where)
        if path.resolve() in seen:
            msg = f"{where}: the policies extend one another in a circle ('{name}' is already among them)"
            raise PolicyError(msg, hint="Let the first extend nothing.")
        if len(chain) == DEEPEST:
            msg = f"{where}: more than {DEEPEST} policies build on one another"
            raise PolicyError(msg, hint="Write one of them out.")
        seen.add(path.resolve())
        chain.append(_read(path))
    return chain


def _read(path: Path) -> Document:
    document = load_yaml(path, PolicyError)
    if not isinstance(document.value, dict):
        msg = f"{path}: not a mapping of keys to values"
        raise PolicyError(msg, hint="`auditor init` writes one to start from.")
    return document


def _parent(name: str, base: Path, where: str) -> Path:
    try:
        return _find(name, base)
    except PolicyError as fault:
        msg = f"{where}: {fault.message}"
        raise PolicyError(msg, hint=fault.hint) from fault


def _find(name: str, base: Path | None) -> Path:
    if name in available():
        return resource("policies") / f"{name}.yaml"
    path = (base / name) if base is not None else Path(name)
    if path.is_file():
        return path
    msg = f"'{name}' is neither a shipped policy nor a file"
    raise PolicyError(msg, hint=did_you_mean(name, available()))


def _check_tests(policy: Policy, document: Document, known: Mapping[str, tuple[str, ...]]) -> None:
    seen: dict[str, int] = {}
    for number, entry in enumerate(policy.tests):
        where = document.where(["tests", number, "test"])
        if entry.test not in known:
            msg = f"{where}: no test of the name '{entry.test}' is installed"
            raise PolicyError(msg, hint=did_you_mean(entry.test, known))
        if entry.test in seen:
            msg = f"{where}: the test '{entry.test}' stands already on line {seen[entry.test]}"
            raise PolicyError(msg, hint="A policy names each test once.")
        seen[entry.test] = document.line_of(["tests", number, "test"])
        statistics = known[entry.test]
        if entry.tolerance is not None and statistics and entry.tolerance.statistic not in statistics:
            place = document.where(["tests", number, "tolerance", "statistic"])
            msg = f"{place}: '{entry.test}' has no statistic '{entry.tolerance.statistic}'"
            raise PolicyError(msg, hint=did_you_mean(entry.tolerance.statistic, statistics))
        _check_tolerance(entry, document, number)
        _check_parameters(entry, document, number)


def _check_tolerance(entry: TestEntry, document: Document, number: int) -> None:
    """Refuse a tolerance that nothing could meet, or that nothing could fail."""
    if entry.tolerance is None:
        return
    own = entry.tolerance
    values: dict[tuple[str, ...], float | None] = {
        ("at_most",): own.at_most,
        ("absolute_at_most",): own.absolute_at_most,
    }
    values |= {("by_release_context", context): value for context, value in own.by_release_context.items()}
    for place, value in values.items():
        if value is None:
            continue
        field = ".".join(place)
        where = document.where(["tests", number, "tolerance", *place])
        if value < 0.0:
            msg = f"{where}: {field} is {value:g}; no excess below zero can be asked for"
            raise PolicyError(msg, hint="Write 0 or more.")
        if value >= 1.0 and entry.tolerance.unit == "ratio":
            msg = f"{where}: {field} is {value:g}, and every ratio is at most 1: nothing would ever be above it"
            raise PolicyError(
                msg, hint="Write one in a thousand as 0.001; name the unit if it is not a ratio (`unit: bit`)."
            )


def _check_parameters(entry: TestEntry, document: Document, number: int) -> None:
    """Refuse a parameter that the installed test does not have, on its line; what is not installed is not asked."""
    if entry.test not in {item.name for item in listed("tests")}:
        return
    test = load("tests", entry.test)
    if isinstance(test, Omission):  # a row of the plan, not a fault of the policy
        return
    try:
        test.parameters.from_plain(entry.parameters)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ["tests", number, "parameters", *first["loc"]]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            msg = f"{document.where(place)}: '{entry.test}' has no parameter '{name}'"
            raise PolicyError(msg, hint=did_you_mean(name, test.parameters.model_fields)) from fault
        known = ", ".join(sorted(test.parameters.model_fields))
        msg = f"{document.where(place)}: {name}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise PolicyError(msg, hint=f"Parameters of this test: {known}.") from fault


def load_catalogues(
    policy: Policy | LoadedPolicy, *, today: dt.date | None, folder: Path | None = None
) -> tuple[LoadedCatalogue, ...]:
    """Return the clause catalogues of a policy, whose clauses it may name.

    Args:
        policy: The policy; loaded from a file, its clause ids are checked with file and line.
        today: Warns of catalogues past their review date; None: no warnings.
        folder: Where the catalogues lie; None: the shipped ones.

    Raises:
        PolicyError: A catalogue or a clause does not exist or stands twice, no test can answer a clause that a test is
            said to be evidence for, or a clause asks no statement.
    """
    plain = policy.policy if isinstance(policy, LoadedPolicy) else policy
    found = tuple(load_catalogue(name, today=today, folder=folder) for name in plain.catalogues)
    if isinstance(policy, LoadedPolicy):
        _check_apart(policy, found)
        _check_clauses(policy, {clause.id: clause for item in found for clause in item.catalogue.clauses})
    return found


def _check_apart(loaded: LoadedPolicy, catalogues: Sequence[LoadedCatalogue]) -> None:
    """Refuse a catalogue named twice, and catalogues that give one clause two meanings."""
    owner: dict[str, str] = {}
    for number, item in enumerate(catalogues):
        where = loaded.document.where(["catalogues", number])
        if item.catalogue.id in loaded.policy.catalogues[:number]:
            msg = f"{where}: the catalogue '{item.catalogue.id}' stands twice"
            raise PolicyError(msg, hint="Name each catalogue once.")
        for clause in item.catalogue.clauses:
            if clause.id in owner:
                msg = f"{where}: the clause '{clause.id}' stands in '{owner[clause.id]}' and in '{item.catalogue.id}'"
                raise PolicyError(msg, hint="Clause ids are unique over all catalogues of a policy.")
            owner[clause.id] = item.catalogue.id


def _check_clauses(loaded: LoadedPolicy, clauses: Mapping[str, Clause]) -> None:
    document = loaded.document
    for number, entry in enumerate(loaded.policy.tests):
        for position, name in enumerate(entry.evidence_for or ()):
            if name not in clauses:
                where = document.where(["tests", number, "evidence_for", position])
                msg = f"{where}: no catalogue of the policy has the clause '{name}'"
                raise PolicyError(msg, hint=did_you_mean(name, clauses))
            if clauses[name].kind in {ClauseKind.INTERPRETIVE, ClauseKind.DOCUMENTARY}:
                where = document.where(["tests", number, "evidence_for", position])
                msg = f"{where}: no test is evidence for the clause '{name}', which is {clauses[name].kind.value}"
                raise PolicyError(msg, hint="Leave it out; a documentary clause is answered under `statements`.")
    for position, name in enumerate(loaded.policy.statements or ()):
        where = document.where(["statements", position])
        if name not in clauses:
            msg = f"{where}: no catalogue of the policy has the clause '{name}'"
            raise PolicyError(msg, hint=did_you_mean(name, clauses))
        if clauses[name].statement is None:
            msg = f"{where}: the clause '{name}' asks no statement"
            raise PolicyError(msg, hint="Leave it out, or name it under evidence_for of a test.")


def load_all_catalogues(*, today: dt.date | None, folder: Path | None = None) -> tuple[LoadedCatalogue, ...]:
    """Return every catalogue of a folder.

    Args:
        today: Warns of catalogues past their review date; None: no warnings.
        folder: Where they lie; None: the shipped ones.

    Raises:
        PolicyError: One of them is wrong.
    """
    names = shipped_names() if folder is None else catalogue_names(folder)
    return tuple(load_catalogue(name, today=today, folder=folder) for name in names)


def check_catalogues(
    catalogues: Sequence[LoadedCatalogue], installed: AbstractSet[str], forms: Mapping[str, Form] | None = None
) -> None:
    """Refuse catalogues that give one id to two clauses, name a test that is not installed, or leave a clause without an answer.

    Args:
        catalogues: The catalogues.
        installed: Names of the installed tests.
        forms: The forms of statements, each of whose keys has to be explained; none: every key is asked by its name.

    Raises:
        PolicyError: A clause does not hold.
    """
    owner: dict[str, str] = {}
    for item in catalogues:
        for clause in item.catalogue.clauses:
            if clause.id in owner:
                msg = f"the clause '{clause.id}' stands in '{owner[clause.id]}' and in '{item.catalogue.id}'"
                raise PolicyError(msg, hint="Clause ids are unique over all catalogues.")
            owner[clause.id] = item.catalogue.id
            for test in clause.tests:
                if test not in installed:
                    msg = f"{item.catalogue.id}: the clause '{clause.id}' names '{test}', which is not installed"
                    raise PolicyError(msg, hint=did_you_mean(test, installed))
            _check_form(item.catalogue.id, clause, forms or {})
            answered = clause.tests or clause.every_test or clause.attack_classes or clause.statement
            if not answered and clause.kind is not ClauseKind.INTERPRETIVE:
                msg = f"{item.catalogue.id}: the clause '{clause.id}' names no test, no attack class and no statement"
                raise PolicyError(msg, hint="Say what can answer it, or that it is interpretive.")


def _check_form(catalogue: str, clause: Clause, forms: Mapping[str, Form]) -> None:
    asked = clause.statement
    if asked is None or not forms:
        return
    if asked.form not in forms:
        msg = f"{catalogue}: the clause '{clause.id}' asks a form '{asked.form}' that {FORMS}.yaml does not have"
        raise PolicyError(msg, hint=did_you_mean(asked.form, forms))
    for key in asked.asks:
        if key not in forms[asked.form].answers:
            msg = f"{catalogue}: the clause '{clause.id}' asks '{key}', which the form '{asked.form}' does not explain"
            raise PolicyError(msg, hint=did_you_mean(key, forms[asked.form].answers))
