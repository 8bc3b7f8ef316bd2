"""Reads a policy and checks it against the installed tests and the clause catalogues it names."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from auditor.contract.registry import listed, load
from auditor.core.clause import ClauseKind
from auditor.core.evidence import Omission
from auditor.core.policy import Policy, TestEntry
from auditor.core.resources import resource
from auditor.core.yaml import Document, load_yaml, validate
from auditor.errors import PolicyError, did_you_mean
from auditor.policy.catalogue import LoadedCatalogue, catalogue_names, load_catalogue, shipped_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from auditor.core.clause import Catalogue, Clause


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy, with the bytes of its file."""

    policy: Policy
    bytes: bytes
    path: Path
    digest: str
    """SHA-256 of the file."""
    document: Document


def available() -> tuple[str, ...]:
    """Return the names of the shipped policies, sorted."""
    return tuple(sorted(path.stem for path in resource("policies").glob("*.yaml")))


def load_policy(name: str, *, base: Path | None, known_tests: Mapping[str, tuple[str, ...]] | None) -> LoadedPolicy:
    """Return a policy by the name of a shipped one or by path.

    Args:
        name: Name of a shipped policy, or a path.
        base: Folder that a path is relative to; None: the current one.
        known_tests: Statistics of every installed test, by name, to check the policy against; None: it is not checked.

    Raises:
        PolicyError: There is no such policy, or it is wrong.
    """
    path = _find(name, base)
    document = load_yaml(path, PolicyError)
    policy = validate(document, Policy, PolicyError)
    if known_tests is not None:
        _check_tests(policy, document, known_tests)
    content = path.read_bytes()
    return LoadedPolicy(policy, content, path, hashlib.sha256(content).hexdigest(), document)


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
    for field in ("at_most", "absolute_at_most"):
        value = getattr(entry.tolerance, field)
        if value is None:
            continue
        where = document.where(["tests", number, "tolerance", field])
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


def mapped(policy: Policy, catalogues: Sequence[Catalogue]) -> Policy:
    """Return the policy with the clauses that each test is evidence for, and the statements that are asked, written out.

    What a policy names itself stays. Else a test is evidence for every clause that names it and that a test can answer, and every
    statement is asked that a clause asks for.
    """
    clauses = [clause for catalogue in catalogues for clause in catalogue.clauses]
    answerable = [clause for clause in clauses if clause.kind in {ClauseKind.TESTABLE, ClauseKind.HYBRID}]
    tests = tuple(
        entry
        if entry.evidence_for is not None
        else entry.model_copy(
            update={
                "evidence_for": tuple(
                    clause.id for clause in answerable if clause.every_test or entry.test in clause.tests
                )
            }
        )
        for entry in policy.tests
    )
    statements = policy.statements
    if statements is None:
        statements = tuple(clause.id for clause in clauses if clause.statement is not None)
    return policy.model_copy(update={"tests": tests, "statements": statements})


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


def check_catalogues(catalogues: Sequence[LoadedCatalogue], installed: AbstractSet[str]) -> None:
    """Refuse catalogues that give one id to two clauses, name a test that is not installed, or leave a clause without an answer.

    Args:
        catalogues: The catalogues.
        installed: Names of the installed tests.

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
            answered = clause.tests or clause.every_test or clause.attack_classes or clause.statement
            if not answered and clause.kind is not ClauseKind.INTERPRETIVE:
                msg = f"{item.catalogue.id}: the clause '{clause.id}' names no test, no attack class and no statement"
                raise PolicyError(msg, hint="Say what can answer it, or that it is interpretive.")
