"""Training runs as their trainer saw them: losses beside what each look measured, from the history beside a bundle.

The history is under no seal. It is shown apart from what the bundles hold, and decides nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from auditor.core.comparison import Curve, LookLosses, TrainingRun
from auditor.core.record import parse_json
from auditor.core.training import Look
from auditor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST_LOOKS = 2


def read_training(content: bytes, label: str, where: str) -> TrainingRun:
    """Return a training run from its history.

    Args:
        content: The file: one JSON object a look.
        label: The bundle it lies beside.
        where: The file, for messages.

    Raises:
        DataError: A line is not a look, or the steps do not rise.
    """
    looks: list[Look] = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            looks.append(Look.from_plain(parse_json(line)))
        except (ValueError, TypeError) as error:
            msg = f"{where}:{number}: not a look of a trainer ({str(error).splitlines()[0]})"
            raise DataError(msg, hint="It is the file that AuditCallback writes; see docs/integrations.md.") from error
        if len(looks) > 1 and looks[-1].step <= looks[-2].step:
            msg = f"{where}:{number}: step {looks[-1].step} comes after step {looks[-2].step}"
            raise DataError(msg, hint="It is the file that AuditCallback writes; see docs/integrations.md.")
    if not looks:
        msg = f"{where}: holds no look"
        raise DataError(msg, hint="It is the file that AuditCallback writes; see docs/integrations.md.")
    losses = tuple(
        LookLosses(
            step=look.step,
            training=look.losses["members"].value if "members" in look.losses else None,
            held_out=look.losses["controls"].value if "controls" in look.losses else None,
        )
        for look in looks
    )
    curves = tuple(curve for name in _tests(looks) if (curve := _curve(name, looks)) is not None)
    return TrainingRun(
        sha256=hashlib.sha256(content).hexdigest(),
        ends={label: float(looks[-1].step)},
        losses=losses,
        curves=curves,
        said=tuple(_said(losses, curves)),
    )


def _tests(looks: Sequence[Look]) -> list[str]:
    return list(dict.fromkeys(row.test for look in looks for row in look.tests))


def _curve(name: str, looks: Sequence[Look]) -> Curve | None:
    """Return the excess of a test over the looks; looks that measured another statistic than the last are left out."""
    rows = [(look.step, row) for look in looks for row in look.tests if row.test == name and row.excess is not None]
    if not rows:
        return None
    last = rows[-1][1]
    kept = [
        (step, row.excess)
        for step, row in rows
        if row.excess and last.excess and (row.statistic, row.excess.unit) == (last.statistic, last.excess.unit)
    ]
    if len(kept) < _LEAST_LOOKS:
        return None
    return Curve(
        name=f"{name}: {last.statistic}" if last.statistic else name,
        unit=kept[-1][1].unit,
        role="finding",
        steps=tuple(float(step) for step, _ in kept),
        estimates=tuple(found for _, found in kept),
    )


def joined(runs: Sequence[TrainingRun]) -> tuple[TrainingRun, ...]:
    """Return training runs, those that are the beginning of another with it: the same numbers at the same steps."""
    made: list[TrainingRun] = []
    for run in sorted(runs, key=lambda run: -len(run.losses)):
        place = next((number for number, longer in enumerate(made) if _begins(run, longer)), None)
        if place is None:
            made.append(run)
        else:
            ends = {**run.ends, **made[place].ends}
            made[place] = made[place].model_copy(update={"ends": ends})
    order = list(dict.fromkeys(label for run in runs for label in run.ends))
    return tuple(sorted(made, key=lambda run: min(order.index(label) for label in run.ends)))


def _begins(run: TrainingRun, longer: TrainingRun) -> bool:
    return run.losses == longer.losses[: len(run.losses)]


def _said(losses: Sequence[LookLosses], curves: Sequence[Curve]) -> list[str]:
    held = [(look.step, look.held_out) for look in losses if look.held_out is not None]
    words: list[str] = []
    lowest: float | None = None
    if len(held) >= _LEAST_LOOKS:
        (first, begun), (last, ended) = held[0], held[-1]
        lowest, least = min(held, key=lambda point: point[1])
        if lowest == last:
            words.append(
                f"Held-out loss falls to the last look: from {begun:.3f} nat per token at step {first:g} to {ended:.3f} at step {last:g}."
            )
        else:
            words.append(
                f"Held-out loss is lowest at step {lowest:g} ({least:.3f} nat per token) and {ended:.3f} at the last look, step {last:g}."
            )
    return [*words, *(_onset(curve, dict(held), lowest) for curve in curves)]


def _onset(curve: Curve, held: dict[float, float], lowest: float | None) -> str:
    """Return from which look on the excess of a test lies above zero, and what held-out loss did after it."""
    above = [found.low > 0.0 for found in curve.estimates]
    if not above[-1]:
        return f"{curve.name}: at the last look the interval of its excess holds zero or lies below."
    place = len(above) - next((number for number, is_so in enumerate(reversed(above)) if not is_so), len(above))
    step, found = curve.steps[place], curve.estimates[place]
    said = (
        f"{curve.name}: from step {step:g} on the interval of its excess lies above zero (there {found.value:.3g} {found.unit}, "
        f"{found.low:.3g} to {found.high:.3g})"
    )
    if lowest is not None and step < lowest and step in held and held[step] > held[lowest]:
        return (
            f"{said}. Held-out loss still falls after it, by {held[step] - held[lowest]:.3f} nat per token until step {lowest:g}: whoever "
            "stops where held-out loss is lowest keeps what was memorized."
        )
    return f"{said}."
