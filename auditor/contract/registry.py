"""Finds tests, observers and adapters through entry points; listing them imports none."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from auditor.core.evidence import Omission
from auditor.errors import PolicyError, did_you_mean

Kind = Literal["tests", "observers", "adapters"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A plug-in that is installed, not yet imported."""

    name: str
    distribution: str
    """Distribution and version it comes from."""
    target: str
    """`module:object`."""


def _points(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"auditor.{kind}")}


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"


def listed(kind: Kind) -> tuple[Listed, ...]:
    """Return what is installed, sorted by name, without importing it."""
    points = _points(kind)
    return tuple(Listed(name, _distribution(points[name]), points[name].value) for name in sorted(points))


def distribution_of(kind: Kind, name: str) -> str:
    """Return the distribution and version a plug-in comes from, `unknown` if it is not installed."""
    point = _points(kind).get(name)
    return _distribution(point) if point else "unknown"


def load(kind: Kind, name: str) -> Any | Omission:  # noqa: ANN401  (the three protocols)
    """Return the plug-in, or why it cannot be had: a plug-in that fails to import is a row in the plan.

    Raises:
        PolicyError: Nothing of that name is installed.
    """
    points = _points(kind)
    if name not in points:
        msg = f"no {kind[:-1]} of the name '{name}' is installed"
        raise PolicyError(msg, hint=did_you_mean(name, points))
    point = points[name]
    try:
        return point.load()
    except Exception as error:  # noqa: BLE001  (a plug-in may fail in any way; the failure becomes a row of the report)
        return Omission(
            reason="fault",
            message=f"{_distribution(point)} cannot be imported: {type(error).__name__}: {error}",
            where=point.value,
        )


def statistics_of_tests() -> dict[str, tuple[str, ...]]:
    """Return the statistics of every installed test, by name; none for a test that cannot be imported."""
    found: dict[str, tuple[str, ...]] = {}
    for item in listed("tests"):
        test = load("tests", item.name)
        found[item.name] = () if isinstance(test, Omission) else tuple(test.statistics)
    return found
