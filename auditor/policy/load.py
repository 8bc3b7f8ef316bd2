"""Reads a policy and checks it against the installed tests and the clause catalogues it names."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.core.policy import Policy
from auditor.core.resources import resource
from auditor.core.yaml import Document, load_yaml, validate
from auditor.errors import PolicyError, did_you_mean
from auditor.policy.catalogue import LoadedCatalogue, load_catalogue, shipped_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.core.clause import Clause


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


def load_catalogues(
    policy: Policy | LoadedPolicy, *, today: dt.date | None, folder: Path | None = None
) -> tuple[LoadedCatalogue, ...]:
    """Return the clause catalogues of a policy, whose clauses it may name.

    Args:
        policy: The policy; loaded from a file, its clause ids are checked with file and line.
        today: Warns of catalogues past their review date; None: no warnings.
        folder: Where the catalogues lie; None: the shipped ones.

    Raises:
        PolicyError: A catalogue or a clause does not exist, or a clause asks no statement.
    """
    plain = policy.policy if isinstance(policy, LoadedPolicy) else policy
    found = tuple(load_catalogue(name, today=today, folder=folder) for name in plain.catalogues)
    if isinstance(policy, LoadedPolicy):
        _check_clauses(policy, {clause.id: clause for item in found for clause in item.catalogue.clauses})
    return found


def _check_clauses(loaded: LoadedPolicy, clauses: Mapping[str, Clause]) -> None:
    document = loaded.document
    for number, entry in enumerate(loaded.policy.tests):
        for position, name in enumerate(entry.evidence_for):
            if name not in clauses:
                where = document.where(["tests", number, "evidence_for", position])
                msg = f"{where}: no catalogue of the policy has the clause '{name}'"
                raise PolicyError(msg, hint=did_you_mean(name, clauses))
    for position, name in enumerate(loaded.policy.statements):
        where = document.where(["statements", position])
        if name not in clauses:
            msg = f"{where}: no catalogue of the policy has the clause '{name}'"
            raise PolicyError(msg, hint=did_you_mean(name, clauses))
        if clauses[name].statement is None:
            msg = f"{where}: the clause '{name}' asks no statement"
            raise PolicyError(msg, hint="Leave it out, or name it under evidence_for of a test.")


def shipped_catalogues(*, today: dt.date | None) -> tuple[LoadedCatalogue, ...]:
    """Return every shipped catalogue."""
    return tuple(load_catalogue(name, today=today) for name in shipped_names())
