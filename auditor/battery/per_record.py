"""Values of records for a comparison of bundles, from what the tests read; see `auditor.contract.paired`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from auditor.contract.paired import PerRecord, RecordValues

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from auditor.battery.membership_outcome import Scored


class Identified(Protocol):
    """Records with their ids and clusters."""

    @property
    def ids(self) -> NDArray[np.object_]:
        """Ids, shape [records]."""
        ...

    @property
    def clusters(self) -> NDArray[np.object_]:
        """Persons or documents, shape [records]."""
        ...


def values_of(side: Identified, values: ArrayLike, chosen: NDArray[np.bool_] | None = None) -> RecordValues:
    """Return one value for each record of a side, or for those chosen.

    Args:
        side: The records.
        values: A value for each, shape [records].
        chosen: The records to keep, shape [records]; None: all.
    """
    kept = np.ones(len(side.ids), dtype=np.bool_) if chosen is None else chosen
    ids, clusters = side.ids[kept].astype(object), side.clusters[kept].astype(object)
    return RecordValues(ids, clusters, np.asarray(values, dtype=np.float64)[kept])


def counted(
    statistic: str,
    title: str,
    members: Identified,
    flagged: ArrayLike,
    controls: Identified | None,
    control_flagged: ArrayLike | None,
) -> PerRecord:
    """Return a rate, record by record: 1 for a record that is counted, else 0."""
    beside = None if controls is None or control_flagged is None else values_of(controls, control_flagged)
    return PerRecord(statistic, title, "rate", "ratio", values_of(members, flagged), beside)


def areas(members: Scored, controls: Scored, names: Iterable[str], titles: dict[str, str]) -> Sequence[PerRecord]:
    """Return the scores of some names that both sides have, for the areas under their ROC curves."""
    return [
        PerRecord(
            statistic=f"area-{name}",
            title=titles.get(name, f"area under the ROC curve of the score {name}"),
            kind="area",
            unit="ratio",
            members=values_of(members, members.scores[name]),
            controls=values_of(controls, controls.scores[name]),
        )
        for name in names
        if name in members.scores and name in controls.scores
    ]
