"""The protocols that tests, observers and adapters meet.

A test is pure: it says which observations it needs, what it could show, and turns observations into one measurement.
An observer is the only caller of a subject. Neither knows a policy's tolerances or a clause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

from auditor.core.finding import Access as Access  # noqa: PLC0414  (plug-ins take it from here)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

    from auditor.core.canary import CanarySet
    from auditor.core.evidence import Column, Need
    from auditor.core.finding import Measurement, Power
    from auditor.core.policy import QueryBudget
    from auditor.core.record import Record
    from auditor.core.subject import Modality, ModelSpec, Subject
    from auditor.evidence.table import ObservedTable
    from auditor.subjects.capability import OpenModel
    from auditor.subjects.data import RecordSource
    from auditor.subjects.denoiser import Denoiser

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a subject before it is asked anything."""

    subject: Subject
    canaries: CanarySet | None
    context_length: int
    """Longest sequence the model takes, tokens."""
    confidence: float
    queries: QueryBudget
    instrument: bool = False
    """A control of the instrument, the memorizer or the innocent: what is declared of the audited subject does not hold of it."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """What a measurement may use besides the evidence."""

    facts: Facts
    seed: int
    """Seeds for resampling come from `auditor.core.seeds.generator(seed, test name, purpose)` and nothing else."""


@runtime_checkable
class MemorizationTest(Protocol):
    """A test of the battery. An instance stands behind an entry point of the group `auditor.tests`."""

    name: str
    """`language/exposure`; a third party's begins with its distribution."""
    version: int
    """Raised when equal evidence would measure differently."""
    title: str
    question: str
    access: Access
    modality: Modality
    """What the records of the subjects it can audit are."""
    statistics: tuple[str, ...]
    """Statistics a tolerance may name."""
    source: str
    """Citation."""
    parameters: type[Record]
    """Schema of its parameters, every one with a default and a docstring."""

    def needs(self, parameters: Any, facts: Facts) -> Mapping[str, Need]:  # noqa: ANN401
        """Return the observations it needs, under names of its own.

        Raises:
            UnsupportedError: The subject cannot give what the test needs; the message says what.
        """
        ...

    def forecast(self, parameters: Any, facts: Facts) -> Power:  # noqa: ANN401
        """Return what the sample at hand could show, before anything is asked."""
        ...

    def measure(
        self,
        parameters: Any,  # noqa: ANN401
        evidence: Mapping[str, ObservedTable],
        measuring: Measuring,
    ) -> Measurement:
        """Return the measurement; pure, and equal for equal evidence."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """The items of one shard."""

    start: int
    stop: int
    seed: int
    """Seed of the whole observation, for choices that all shards share, such as which records are sampled."""
    rng: np.random.Generator
    """Generator of this shard alone."""
    earlier: Callable[[str], pa.ChunkedArray]
    """Returns a column, public or restricted, of all shards of this observation that stand before this one."""


@dataclass(frozen=True, slots=True)
class Shard:
    """What an observer saw of some items; row i is item start + i, in both tables."""

    public: pa.Table
    restricted: pa.Table | None
    """Columns with text or images; same number of rows."""
    calls: int
    tokens: int
    """Tokens that were scored or generated; of an image model: images that passed the network."""


class OpenedSubject(Protocol):
    """A subject opened for observation."""

    facts: Facts

    def model(self, role: str) -> OpenModel:
        """Return the model of a role (`subject`, `reference-0`, ...), opened on first use."""
        ...

    def denoiser(self, role: str) -> Denoiser:
        """Return the diffusion model of a role, opened on first use.

        Raises:
            UnsupportedError: The model of that role is none.
        """
        ...

    def records(self, dataset: Literal["members", "controls"]) -> RecordSource:
        """Return the members or the controls."""
        ...

    def contents(self, dataset: Literal["members", "controls"]) -> RecordSource:
        """Return the members or the controls for an observer that asks no model.

        Of an audited subject they are its records. A memorizer is a positive control by its model; for tests of the data
        alone it is one by these records, which show what such tests look for.
        """
        ...

    def remember(self, key: str, make: Callable[[], T]) -> T:
        """Return what was made for the key, made on first use: what all shards of an observation share, such as decoded images."""
        ...


@runtime_checkable
class Observer(Protocol):
    """A kind of observation. An instance stands behind an entry point of the group `auditor.observers`."""

    name: str
    version: int
    shard_items: int
    """Items in one shard: what is lost at most when the run is killed."""
    parameters: type[Record]

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return fewer needs that meet all of these: one pass for what several tests ask.

        Each of the needs given must be met by exactly one of those returned: the one with the same dataset and model
        for which `covers` is true.
        """
        ...

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether an observation made for `joined` holds all that `need` asks."""
        ...

    def columns(self, parameters: Any) -> tuple[Column, ...]:  # noqa: ANN401
        """Return the columns it will write."""
        ...

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of items: records, canaries with candidates, ..."""
        ...

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return about how many tokens it will score or generate, or how many images will pass the network."""
        ...

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Ask the subject about one part of the items."""
        ...


@runtime_checkable
class Adapter(Protocol):
    """A way to open models. An instance stands behind an entry point of the group `auditor.adapters`."""

    name: str
    capabilities: tuple[str, ...]
    """All that it can do with any model: `scores-tokens`, `continues-tokens`, `denoises`, `generates-images`, ..."""

    def files(self, spec: ModelSpec, base: Path) -> Sequence[Path]:
        """Return every file that can change what the model computes, without opening any.

        Raises:
            SubjectError: A file is missing or of a refused kind (pickle).
        """
        ...

    def describe(self, spec: ModelSpec, base: Path) -> tuple[int, int]:
        """Return the number of parameters (0 if unknown) and the context length in tokens (0 for images), without loading weights."""
        ...

    def capabilities_of(self, spec: ModelSpec, base: Path) -> tuple[str, ...]:
        """Return which of its capabilities this model has, without loading weights."""
        ...

    def open(self, spec: ModelSpec, base: Path) -> OpenModel | Denoiser:
        """Load the model.

        Raises:
            SubjectError: The files are damaged or do not belong together.
        """
        ...
