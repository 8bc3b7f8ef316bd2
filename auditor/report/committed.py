"""What the report says of the plan that was committed beforehand, of every deviation from it, and of earlier attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.core.preregistration import Deviation, Preregistration

MOST_DEVIATIONS = 200
"""Deviations printed; the rest is in `deviations.json`."""
NOT_COMMITTED = (
    "No plan was committed beforehand. Tests, tolerances and data may have been chosen after scores had been seen; "
    "nothing in this report excludes it."
)
ELSEWHERE = (
    "Attempts on other machines, or on copies of the subject elsewhere, leave no entry there and cannot be known."
)


@dataclass(frozen=True, slots=True)
class CommittedPlan:
    """A plan that was committed beforehand, as it lies in the bundle."""

    preregistration: Preregistration
    digest: str
    """SHA-256 of the signed commitment."""
    signer: str
    """Who signed it, in words."""
    stamp: str | None
    """Time and authority of the time stamp, in words; None: there is none."""
    deviations: tuple[Deviation, ...]


def preregistration(committed: CommittedPlan | None, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template prints of commitment, deviations and earlier attempts.

    Args:
        committed: The commitment; None: no plan was committed beforehand.
        environment: `environment.json` of the bundle.
    """
    return {
        "committed": committed is not None,
        "sentences": _sentences(committed, str(environment["created"])),
        "digest": committed.digest if committed else "",
        "plan": committed.preregistration.commitment.plan if committed else "",
        "deviations": [
            {
                "what": item.what,
                "committed": item.committed if item.committed is not None else "\u2013",
                "now": item.now if item.now is not None else "\u2013",
            }
            for item in committed.deviations[:MOST_DEVIATIONS]
        ]
        if committed
        else [],
        "all_deviations": len(committed.deviations) if committed else 0,
        "attempts": _attempts(environment.get("attempts")),
    }


def _sentences(committed: CommittedPlan | None, begun: str) -> list[str]:
    if committed is None:
        return [NOT_COMMITTED]
    said = committed.preregistration
    found = [
        f"Before the evidence was begun ({begun}), this plan was committed on {said.created} by {committed.signer}.",
        f"A time-stamping authority saw the commitment at {committed.stamp}. Whether that authority can be trusted is for the "
        "reader to decide; its certificate is named here and not vouched for."
        if committed.stamp
        else "The time is that of the committing machine's own clock: a claim of the signer, which no time stamp supports.",
    ]
    count = len(committed.deviations)
    if count == 0:
        found.append(
            "Policy, subject, tests, tolerances, seeds and versions are those that were committed: no deviation."
        )
    else:
        found.append(
            f"{count} {'thing differs' if count == 1 else 'things differ'} from what was committed; every deviation is listed."
        )
    return found


def _attempts(known: Mapping[str, Any] | None) -> list[str]:
    if known is None:
        return ["How often this subject was audited before was not recorded."]
    count = known["earlier"]
    if count == 0:
        found = ["No earlier attempt on the same model and data is known."]
    else:
        counted = "1 earlier attempt" if count == 1 else f"{count} earlier attempts"
        what = f"{known['finished']} came to the end, {known['same_plan']} had this very plan"
        found = [f"{counted} on the same model and data {'is' if count == 1 else 'are'} known: {what}."]
    if known["before_commitment"]:
        found.append(
            f"{known['before_commitment']} of them began before the plan was committed: its author may have seen scores."
        )
    if known["other_data"]:
        found.append(f"Attempts on the same model with other data: {known['other_data']}.")
    where = (
        "that is kept nowhere, because it could not be written"
        if known["kept"] == "nowhere"
        else f"kept {known['kept']}"
    )
    found.append(f"This is counted from the record of attempts {where}. {ELSEWHERE}")
    if known["faults"]:
        found.append(f"That record does not hold, so more attempts are possible: {'; '.join(known['faults'])}.")
    return found
