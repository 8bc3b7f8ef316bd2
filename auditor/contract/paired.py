"""What a test says of each record, so that two bundles can be compared record by record.

Optional: a test that offers it is compared in pairs, any other by its intervals alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auditor.contract.protocol import Measuring
    from auditor.evidence.table import ObservedTable

Kind = Literal["rate", "mean", "area"]
"""What is made of the values of all records: the share of ones; the mean; the area under the ROC curve of members against controls."""


@dataclass(frozen=True, slots=True)
class RecordValues:
    """One value for each record, shape [records] all three."""

    ids: NDArray[np.object_]
    """Distinct ids of records or canaries."""
    clusters: NDArray[np.object_]
    """The person or document each belongs to, its own id where neither is known."""
    values: NDArray[np.float64]
    """Finite; more is always more of a trace of the record: 1 for a record that came out, bits of exposure, a score."""


@dataclass(frozen=True, slots=True)
class PerRecord:
    """One statistic of a test, record by record."""

    statistic: str
    """A name that stays the same between versions of the test, for example `extracted`."""
    title: str
    """The statistic in words, for a table."""
    kind: Kind
    unit: str
    """Unit of the estimate: `ratio`, `bit`, `nat`."""
    members: RecordValues
    """Members, or canaries that were planted."""
    controls: RecordValues | None = None
    """Controls, or canaries that the coin left out; an area cannot do without."""


@runtime_checkable
class ComparesRecords(Protocol):
    """A test that says what it saw of each record. Additive to `MemorizationTest`."""

    def per_record(
        self,
        parameters: Any,  # noqa: ANN401
        evidence: Mapping[str, ObservedTable],
        measuring: Measuring,
    ) -> Sequence[PerRecord]:
        """Return its statistics record by record, the one a comparison is decided on first.

        Pure, from public columns alone, and the values of a record depend on the other records as little as the test allows.

        Raises:
            UnsupportedError: The evidence does not carry the test.
        """
        ...
