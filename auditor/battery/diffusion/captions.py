"""The captions of both sides, held against each other at equal length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.core.finding import Estimate, Figure, Gate, Series
from auditor.errors import UnsupportedError
from auditor.statistics.roc import auc, roc_curve
from auditor.statistics.stratified import stratified_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auditor.contract.protocol import Facts
    from auditor.evidence.table import ObservedTable

SCORES = ("magnitude", "first_step", "one_step", "attention_d", "attention_e")
"""Columns of the observation, higher for memorized captions; the last two where the network shows attention."""
USED = 0.8
"""Share of the records of each side that must lie in strata where both sides are."""
Strata = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
"""Stratum of each member's and of each control's caption."""


@dataclass(frozen=True, slots=True)
class Captions:
    """The captions of one side; every array has shape [captions]."""

    ids: NDArray[np.object_]
    clusters: NDArray[np.str_]
    copies: NDArray[np.int64]
    lengths: NDArray[np.float64]
    same: NDArray[np.int64]
    excerpts: NDArray[np.object_]
    scores: dict[str, NDArray[np.float64]]


def require_captions(facts: Facts) -> None:
    """Refuse a subject whose model is not conditioned on captions that its records have.

    Raises:
        UnsupportedError: It says what is missing.
    """
    capabilities = facts.subject.model.capabilities
    if "conditions-on-class" in capabilities:
        msg = "the model is conditioned on classes, and a class stands for members and controls alike"
        raise UnsupportedError(
            msg, hint="What it holds of single images is asked by diffusion/extraction and membership."
        )
    if "conditions-on-text" not in capabilities:
        msg = "the model is not conditioned on captions"
        raise UnsupportedError(
            msg, hint="What it holds of single images is asked by diffusion/extraction and membership."
        )
    controls = facts.subject.controls
    if controls is None:
        msg = "the subject has no controls, so nothing says how the model reacts to captions it never saw"
        raise UnsupportedError(msg, hint="Supply held-out images with captions as data.controls.")
    if not (facts.subject.members.has_captions and controls.has_captions):
        msg = "the records have no captions"
        raise UnsupportedError(msg, hint="Name the column as `caption` in the subject file.")


def read_captions(table: ObservedTable) -> Captions:
    """Return the observation of one side; the length is in tokens where they are known, else in words."""
    tokens = np.asarray(table.column("tokens"), dtype=np.float64)
    words = np.asarray(table.column("words"), dtype=np.float64)
    return Captions(
        ids=table.column("id"),
        clusters=table.column("cluster").astype(str),
        copies=table.column("copies").astype(np.int64),
        lengths=words if (tokens < 0).any() else tokens,
        same=table.column("same_caption").astype(np.int64),
        excerpts=table.column("excerpt"),
        scores={name: np.asarray(table.column(name), dtype=np.float64) for name in SCORES if name in table.names},
    )


def units(side: Captions) -> int:
    """Return the number of independent units of a side."""
    return len(set(side.clusters.tolist()))


def length_gates(
    members: Captions,
    controls: Captions,
    strata: Strata,
    kept: NDArray[np.int64],
    margin: float,
    level: float,
) -> tuple[Gate, Gate]:
    """Return whether lengths overlap enough to be compared, and whether they are equal within strata."""
    shares = [float(np.isin(side, kept).mean()) for side in strata]
    within = stratified_auc(members.lengths, controls.lengths, *strata, level, members.clusters, controls.clusters)
    whole = auc(members.lengths, controls.lengths)
    return (
        Gate(
            name="captions have lengths in common",
            held=min(shares) >= USED,
            on_failure="inconclusive",
            detail=(
                f"{shares[0]:.0%} of the members' and {shares[1]:.0%} of the controls' captions have a length that both sides "
                f"have; at least {USED:.0%} are asked for"
            ),
        ),
        Gate(
            name="captions compared are equally long",
            held=within.low <= 0.5 + margin and within.high >= 0.5 - margin,
            on_failure="inconclusive",
            detail=(
                f"length alone reaches an area of {whole:.3f} over all captions and of {within.value:.3f} ({within.low:.3f} to "
                f"{within.high:.3f}) within strata, where it may lie {margin:.2f} from 0.5"
            ),
        ),
    )


def length_matched_roc(
    members: Captions,
    controls: Captions,
    strata: Strata,
    best: str,
    found: Estimate,
) -> Figure:
    """Return the ROC curve of ranks within strata, so that length does not show in it."""
    ranks = [np.empty(len(side.ids)) for side in (members, controls)]
    for stratum in np.unique(np.concatenate(strata)):
        pooled = np.sort(
            np.concatenate(
                [side.scores[best][own == stratum] for side, own in zip((members, controls), strata, strict=True)]
            )
        )
        for rank, side, own in zip(ranks, (members, controls), strata, strict=True):
            values = side.scores[best][own == stratum]
            rank[own == stratum] = (
                np.searchsorted(pooled, values, "left") + np.searchsorted(pooled, values, "right")
            ) / len(pooled)
    fpr, tpr = roc_curve(*ranks)
    keep = np.unique(np.round(np.linspace(0, len(fpr) - 1, min(len(fpr), 200))).astype(int))
    curve = Series(
        name=best,
        x=tuple(float(value) for value in fpr[keep]),
        y=tuple(float(value) for value in tpr[keep]),
        role="members",
    )
    return Figure(
        kind="roc",
        title=f"Members' captions against controls' of equal length, by {best}",
        x_label="false positive rate",
        y_label="true positive rate",
        series=(curve, Series(name="chance", x=(0.0, 1.0), y=(0.0, 1.0), role="reference")),
        caption=(
            f"ROC curve of {best}, ranked within strata of caption length; the mean area over the strata is {found.value:.3f} "
            f"({found.low:.3f} to {found.high:.3f}), chance 0.5."
        ),
    )
