"""What a comparison says: its values, all of them plain and closed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt

from auditor.core.finding import Estimate, Outcome
from auditor.core.record import Digest, Name, Record, Text

Basis = Literal["paired", "unpaired", "same evidence", "none"]
"""How a difference was made: record by record; from two intervals as if independent; zero by identity; not at all."""


class BundleIdentity(Record):
    """One of the bundles compared."""

    label: Text
    """Name of its folder, made distinct."""
    step: float
    """Where it stands in the order: the step given, else its number from 1."""
    subject: Text
    model: Digest
    policy: Text
    """Id and version."""
    policy_digest: Digest
    plan_digest: Digest
    created: Text
    auditor: Text
    signer: Text
    trusted: bool
    """The seal was made with a key that the user trusts; otherwise it only agrees with the bundle's own certificate."""


class Mismatch(Record):
    """Something that is declared differently in two bundles, or was done differently."""

    what: Text
    first: str
    second: str
    consequence: Text
    """What it does to the comparison."""


class Difference(Record):
    """One statistic of one test in two bundles."""

    test: Name
    statistic: Text
    title: Text
    of: Literal["excess", "members", "controls"]
    """The members' number less the controls', or that of one side."""
    first: Estimate | None
    second: Estimate | None
    difference: Estimate | None
    """Second minus first."""
    basis: Basis
    reason: str = ""
    """Why it is not paired, or why there is none."""
    matched: NonNegativeInt = 0
    """Records in both bundles."""
    unmatched: NonNegativeInt = 0
    """Records in one of them only; they do not enter."""
    p_value: float | None = Field(default=None, ge=0.0, le=1.0)
    """Two-sided p-value of `no difference`."""
    p_adjusted: float | None = Field(default=None, ge=0.0, le=1.0)
    """The same after Holm's correction over all deciding differences of the comparison."""
    decides: bool = False
    """The one statistic of the test on which `worse` and `better` are decided."""
    direction: Literal["worse", "better", "not shown"] = "not shown"


class Change(Record):
    """Something that the two bundles declare differently: a tolerance, a clause, a statement."""

    kind: Literal["tolerance", "test", "clause", "statement", "policy"]
    name: Text
    field: Text
    first: str
    """Empty where it is not in the first bundle."""
    second: str
    """Empty where it is not in the second."""


class OutcomeChange(Record):
    """A finding whose outcome is not the same."""

    test: Name
    first: Outcome | None
    """None where the test is not in the battery."""
    second: Outcome | None
    became_signal: bool
    causes: tuple[Text, ...]
    """What differs that the outcome follows from; empty: nothing that is known."""


class ClauseChange(Record):
    """A clause whose state is not the same."""

    clause: Text
    catalogue: Text
    fields: tuple[Text, ...]
    """What of its state differs."""
    first: str
    second: str
    causes: tuple[Text, ...]
    """What differs that the state follows from; empty: nothing that is known."""


class Pair(Record):
    """Two bundles compared, the first the earlier or the one held against."""

    first: Text
    second: Text
    same_evidence: bool
    """Every observation of the audited subject is the same."""
    mismatches: tuple[Mismatch, ...]
    differences: tuple[Difference, ...]
    declared: tuple[Change, ...]
    outcomes: tuple[OutcomeChange, ...]
    clauses: tuple[ClauseChange, ...]
    conclusion_lost: tuple[Text, ...]
    conclusion_new: tuple[Text, ...]
    exit_codes: tuple[int, int]
    unexplained: tuple[Text, ...]
    """Outcomes and clauses that changed though nothing did that they follow from."""
    regressions: tuple[Text, ...]
    """What is shown to be worse, in words."""


class Curve(Record):
    """One number over the bundles in their order."""

    name: Text
    unit: Text
    role: Literal["training loss", "held-out loss", "finding"]
    steps: tuple[float, ...]
    estimates: tuple[Estimate, ...]


class LookLosses(Record):
    """Losses at one look of a trainer, over a fixed sample; they have no interval."""

    step: float
    training: float | None
    """Of members, nat per token."""
    held_out: float | None
    """Of controls, taken alike."""


class TrainingRun(Record):
    """What a trainer wrote while a model was trained (`history.jsonl` beside a bundle): under no seal, and nobody vouches for it."""

    sha256: Digest
    """Of the file."""
    ends: dict[Text, float]
    """The bundles it lies beside, by name, and the step of the last look before each."""
    losses: tuple[LookLosses, ...]
    curves: tuple[Curve, ...]
    """Excess of each watched test over its control, with the interval of each look alone."""
    said: tuple[Text, ...]
    """What the losses and the excesses show together, in words."""


class Comparison(Record):
    """All that was compared."""

    bundles: tuple[BundleIdentity, ...]
    against: Literal["first", "previous"]
    level: float
    """Confidence level of the intervals, and one minus the level of the correction."""
    family: NonNegativeInt
    """Differences that Holm's correction is over."""
    pairs: tuple[Pair, ...]
    curves: tuple[Curve, ...]
    """Where there are three bundles or more, or steps were given."""
    course: tuple[Text, ...]
    """What the curves show, in words."""
    warnings: tuple[Text, ...]
    training: tuple[TrainingRun, ...] = ()
    """The training runs whose history lies beside a bundle."""

    @property
    def regressions(self) -> tuple[str, ...]:
        """What is shown to be worse in any of the pairs."""
        return tuple(item for pair in self.pairs for item in pair.regressions)
