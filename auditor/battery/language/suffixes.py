"""What the teacher-forced pass says about the suffix of each record; shared by both extraction tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from auditor.battery.confirmed import Confirmed, beyond_chance
from auditor.battery.copies import copies_bins
from auditor.battery.estimates import rate
from auditor.core.finding import Estimate, Exhibit, Stratum
from auditor.errors import UnsupportedError
from auditor.evidence.table import Ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.evidence.table import ObservedTable

MOST_EXHIBITS = 5


@dataclass(frozen=True, slots=True)
class Suffixes:
    """One entry per record that has a prefix and a suffix; every array has shape [records]."""

    ids: NDArray[np.object_]
    clusters: NDArray[np.object_]
    copies: NDArray[np.int64]
    sources: NDArray[np.object_]
    excerpts: NDArray[np.object_]
    extracted: NDArray[np.bool_]
    """Every token of the suffix is the arg-max."""
    tied: NDArray[np.int64]
    """Tokens of the suffix whose arg-max is ambiguous."""
    distinct: NDArray[np.int64]
    """Different tokens in the suffix."""
    log_p: NDArray[np.float64]
    """log p_z, the log-probability of sampling the suffix, nat; empty where top-k was not observed."""
    too_short: int
    """Records without a whole prefix and suffix."""

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.ids)


def read_suffixes(table: ObservedTable, prefix: int, suffix: int) -> Suffixes:
    """Return what the pass says about tokens prefix to prefix + suffix of each record long enough.

    Args:
        table: An observation of `token-scores`, or of `continuations` made with this prefix and suffix: of a model that
            does not say how likely a text is, what it says is all there is.
        prefix: Tokens given, at least 1.
        suffix: Tokens to be said, at least 1.
    """
    if was_generated(table):
        return _read_continued(table)
    sampled = "top_logprob" in table.names
    names = ["id", "cluster", "copies", "source", "excerpt", "tokens", "begin", "hit", "tie", "previous"]
    rows: dict[str, list[object]] = {key: [] for key in ("id", "cluster", "copies", "source", "excerpt")}
    extracted, tied, distinct, log_p = [], [], [], []
    too_short = 0
    for shard in table.shards(*names, *(["top_logprob"] if sampled else [])):
        for row in range(len(shard["id"])):
            start = prefix - int(shard["begin"][row])
            if int(shard["tokens"][row]) < prefix + suffix or start < 0:
                too_short += 1
                continue
            window = slice(start, start + suffix)
            for key, values in rows.items():
                values.append(shard[key][row])
            extracted.append(bool(_row(shard["hit"], row)[window].all()))
            tied.append(int(_row(shard["tie"], row)[window].sum()))
            distance = _row(shard["previous"], row)[window].astype(np.int64)
            # A token is new in the suffix if the same token does not stand earlier in the suffix.
            distinct.append(int(((distance == 0) | (distance > np.arange(suffix))).sum()))
            if sampled:
                log_p.append(float(_row(shard["top_logprob"], row)[window].astype(np.float64).sum()))
    return Suffixes(
        ids=np.array(rows["id"], dtype=object),
        clusters=np.array(rows["cluster"], dtype=object),
        copies=np.array(rows["copies"], dtype=np.int64),
        sources=np.array(rows["source"], dtype=object),
        excerpts=np.array(rows["excerpt"], dtype=object),
        extracted=np.array(extracted, dtype=np.bool_),
        tied=np.array(tied, dtype=np.int64),
        distinct=np.array(distinct, dtype=np.int64),
        log_p=np.array(log_p, dtype=np.float64),
        too_short=too_short,
    )


def was_generated(table: ObservedTable) -> bool:
    """Return whether verdicts rest on what the model said, not on how likely it found the text."""
    return "equal" in table.names


def _read_continued(table: ObservedTable) -> Suffixes:
    fits = table.column("eligible").astype(np.bool_)
    count = int(fits.sum())

    def column(name: str) -> NDArray[np.generic]:
        return table.column(name)[fits]

    return Suffixes(
        ids=column("id").astype(object),
        clusters=column("cluster").astype(object),
        copies=column("copies").astype(np.int64),
        sources=column("source").astype(object),
        excerpts=column("excerpt").astype(object),
        extracted=column("equal").astype(np.bool_),
        tied=np.zeros(count, dtype=np.int64),
        distinct=column("distinct").astype(np.int64),
        log_p=np.empty(0),
        too_short=int((~fits).sum()),
    )


def _row(column: object, row: int) -> NDArray[np.generic]:
    return cast("Ragged", column)[row]


def require_records(members: Suffixes, prefix: int, suffix: int) -> None:
    """Refuse a measurement that rests on no record at all.

    Raises:
        UnsupportedError: No member record has a whole prefix and suffix.
    """
    if not len(members):
        msg = f"none of the {members.too_short:,} member records has {prefix} + {suffix} tokens"
        raise UnsupportedError(msg, hint="Supply longer records, or ask for a shorter prefix and suffix.")


def rate_strata(members: Suffixes, flagged: NDArray[np.bool_], control: Estimate | None, level: float) -> list[Stratum]:
    """Return the rate by copies and by source, each with its interval beside that of all controls."""
    parts = [("copies", label, chosen) for label, chosen, _ in copies_bins(members.copies)]
    names = members.sources.astype(str)
    parts += [("source", name, names == name) for name in sorted(set(names.tolist()) - {""})]
    return [
        Stratum(by=by, label=label, estimate=rate(flagged[chosen], members.clusters[chosen], level), control=control)
        for by, label, chosen in parts
    ]


def confirmed_persons(
    members: Suffixes, controls: Suffixes | None, flagged: NDArray[np.bool_], least: int, *, persons: bool
) -> Confirmed:
    """Return the number of distinct persons with a record that came out without doubt, with a caveat if they are too few.

    Not trivial (at least `least` different tokens in the suffix), no ambiguous arg-max, no control record that is not trivial came
    out under the same test, and so many persons that chance and common phrases are excluded. Zero where records are not tied to persons.
    """
    if not persons or controls is None:
        return Confirmed()
    if bool((controls.extracted & (controls.distinct >= least)).any()):
        return Confirmed()
    sure = flagged & (members.distinct >= least) & (members.tied == 0)
    return beyond_chance(len(set(members.clusters[sure].tolist())), members.clusters, controls.clusters)


def exhibits(members: Suffixes, order: Sequence[int] | NDArray[np.intp]) -> tuple[Exhibit, ...]:
    """Return the first few records of an order as masked exhibits."""
    shown = [row for row in order if members.excerpts[row]][:MOST_EXHIBITS]
    return tuple(
        Exhibit(
            record=str(members.ids[row]),
            excerpt=str(members.excerpts[row]),
            note=f"{members.copies[row]} copies in training, {members.distinct[row]} different tokens in the suffix",
        )
        for row in shown
    )


def no_controls() -> str:
    """Return why a rate has no control."""
    return "The subject has no control records, so chance and common phrases cannot be told from memory."
