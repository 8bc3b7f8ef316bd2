"""What a test measured, and the outcome that follows from it.

A test returns a :class:`Measurement`: numbers, each with an interval, beside its control. It knows no tolerance,
no other test and no clause. The outcome is decided in one place for all tests (`auditor.assess.outcome`) and makes it a
:class:`Finding`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from auditor.core.policy import Tolerance
from auditor.core.record import Digest, Name, Record, Text

Access = Literal["text", "scores", "distribution", "weights", "data"]
"""What a test needs to see, weakest first; `data` is no access to the model at all."""


class Outcome(StrEnum):
    """The outcome of a finding. There is no `pass`."""

    SIGNAL = "signal"
    NO_SIGNAL = "no_signal"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"
    NOT_RUN = "not_run"
    NOT_APPLICABLE = "not_applicable"


class Estimate(Record):
    """A number with its interval; there is no number without one."""

    value: float
    low: float
    high: float
    level: float = Field(gt=0.0, lt=1.0)
    """Confidence level of the two-sided interval."""
    unit: Text
    """`ratio`, `bit`, `records`, ..."""
    method: Text
    """How the interval was made."""
    n: NonNegativeInt
    """Number of independent units behind it."""
    upper: float | None = None
    """One-sided upper bound at the same level: what `no_signal` is held to (rule R3); None: `high` is."""

    @property
    def bound(self) -> float:
        """The upper bound that a tolerance is held against."""
        return self.high if self.upper is None else self.upper

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            msg = f"an estimate needs low <= value <= high, got {self.low} <= {self.value} <= {self.high}"
            raise ValueError(msg)
        if self.upper is not None and not self.value <= self.upper <= self.high:
            msg = f"a one-sided bound lies between the value and the upper end, got {self.upper}"
            raise ValueError(msg)
        return self


class Gate(Record):
    """A condition without which a number means nothing."""

    name: Text
    """For example `blind baseline`, `positive control`, `negative control`, `label permutation`, `teacher forcing`."""
    held: bool
    on_failure: Literal["invalid", "inconclusive"]
    """What the outcome becomes if it did not hold."""
    detail: Text
    """What was measured, in words with numbers."""


class Power(Record):
    """What this sample could have shown."""

    smallest_effect: float
    """Smallest true excess that would have been called a signal with probability `probability`."""
    unit: Text
    probability: float = Field(gt=0.0, lt=1.0)
    statement: Text
    """The same in one sentence."""


class Stratum(Record):
    """The same statistic on a part of the data, or a further statistic of the same test."""

    by: Text
    """What divides, for example `copies`, `prefix`, `source`, `score`."""
    label: Text
    estimate: Estimate
    control: Estimate | None = None
    note: str = ""


class Series(Record):
    """A line, a band or a set of points; x and y have the same length."""

    name: Text
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    role: Literal["members", "controls", "reference", "limit"]


class Figure(Record):
    """A figure as data; the report knows how to draw each kind and knows no test."""

    kind: Literal["intervals", "survival", "roc", "by-repetition", "histogram"]
    title: Text
    x_label: Text
    y_label: Text
    series: tuple[Series, ...]
    x_scale: Literal["linear", "log", "log2"] = "linear"
    y_scale: Literal["linear", "log"] = "linear"
    caption: Text
    """What the reader sees, in words: it is also the text alternative."""


class Exhibit(Record):
    """One record that came out, masked."""

    record: Text
    """Id of the record."""
    excerpt: Text
    """Masked text."""
    note: str = ""
    picture: str = Field(default="", pattern=r"^[A-Za-z0-9+/]*={0,2}$")
    """What came out beside the record, PNG in base64; as far as the policy lets it be shown."""


class PerQuery(Record):
    """How likely one query brings something out. Only such numbers grow with the number of queries; a share of records does not."""

    what: Text
    """What one query brings out, for example `the likeliest member record`."""
    asked: Text
    """How a query is made: what the number grows to holds for queries made so, each independent of the others."""
    estimate: Estimate
    """Probability of one query, unit `ratio`."""
    control: Estimate | None = None
    """The same for what was not in training."""

    @model_validator(mode="after")
    def _probabilities(self) -> Self:
        for found in (self.estimate, self.control):
            if found is not None and (found.unit != "ratio" or found.low < 0.0 or found.high > 1.0):
                msg = f"a probability of one query has unit `ratio` and lies from 0 to 1, got {found.low} to {found.high} {found.unit}"
                raise ValueError(msg)
        return self


class Measurement(Record):
    """What one test measured: its primary statistic, its control and everything a reader needs to doubt it."""

    test: Name
    test_version: int
    access: Access | None = None
    """What the test had to see: what it says itself where it made do with less, else what the runner knows of the test."""
    title: Text
    statistic: Text
    question: Text
    """One plain sentence."""
    answer: Text
    """One plain sentence with the number, its interval and its control."""
    estimate: Estimate | None
    control: Estimate | None
    control_reason: str = ""
    """Why there is no control, if there is none."""
    excess: Estimate | None
    p_value: float | None = Field(default=None, ge=0.0, le=1.0)
    """One-sided p-value of `no excess over the control`; enters the battery's correction."""
    confirmed: NonNegativeInt = 0
    """Distinct real persons with a record that came out, checked against the controls."""
    members: NonNegativeInt = 0
    controls: NonNegativeInt = 0
    canaries: NonNegativeInt = 0
    gates: tuple[Gate, ...] = ()
    power: Power
    strata: tuple[Stratum, ...] = ()
    figures: tuple[Figure, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    caveats: tuple[Text, ...] = ()
    method: Text
    """Three sentences for a reader who wants to know how."""
    advice: Text
    """What to do about a finding."""
    source: Text
    """Citation."""
    observations: tuple[Digest, ...]
    per_query: tuple[PerQuery, ...] = ()
    """Probabilities of one query; the assessment converts them to the declared query budget. Empty where all is per record."""


class Finding(Record):
    """The outcome of one test of the battery."""

    test: Name
    outcome: Outcome
    reason: Text
    """Plain words."""
    required: bool
    tolerance: Tolerance | None = None
    p_adjusted: float | None = Field(default=None, ge=0.0, le=1.0)
    """p-value after the correction over the pre-declared battery."""
    battery: NonNegativeInt = 0
    """Number of tests the correction was over."""
    evidence_for: tuple[Text, ...] = ()
    measurement: Measurement | None = None
    """None where the test was not run."""


class InstrumentCheck(Record):
    """How one test behaved on a control subject: the calibration of the instrument."""

    test: Name
    control_subject: Literal["memorizer", "innocent"]
    expected: Literal["fires", "stays quiet"]
    held: bool
    p_value: float | None
    answer: Text
