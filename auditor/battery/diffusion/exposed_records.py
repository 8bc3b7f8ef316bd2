"""Which single images are most exposed: each held against controls, with what would be called wrongly kept in check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.battery.diffusion.atypicality import QUARTERS, Side
from auditor.battery.estimates import estimate, rate
from auditor.core.finding import Exhibit, Stratum
from auditor.statistics.conformal import benjamini_hochberg
from auditor.statistics.rate_interval import clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRINTED = 10
"""Records listed by name, where some are called exposed."""
UNCALLED = 3
"""Records listed where none is."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """How exposed each member is; every array has shape [members]."""

    residuals: NDArray[np.float64]
    p_values: NDArray[np.float64]
    adjusted: NDArray[np.float64]

    def called(self, fdr: float) -> NDArray[np.bool_]:
        """Return the members called exposed."""
        return np.asarray(self.adjusted <= fdr)


def exposed(
    members: Side, controls: Side, member_strata: NDArray[np.int64], control_strata: NDArray[np.int64]
) -> Exposed:
    """Return p-values of `this image scores like a control`, each relative to its atypicality, adjusted over all members.

    A residual is the distance from the median of the stratum in its interquartile range: what is hard or easy for every model of its
    kind is taken out. For each member the median and range are those of the controls and itself, so that it is treated as any
    of them is and its p-value is exact if it is exchangeable with them.

    Args:
        members: The members.
        controls: The controls.
        member_strata: Stratum of atypicality of each member.
        control_strata: The same of controls.

    Source:
        Full conformal p-values: Vovk, Gammerman, Shafer (2005). Benjamini-Hochberg on them: Bates et al. (2023), Ann. Stat. 51:149.
    """
    residuals, p_values = np.zeros(len(members.ids)), np.ones(len(members.ids))
    inside = {int(name): controls.scores[control_strata == name] for name in np.unique(control_strata)}
    alone = {name: _relative(scores[None, :])[0] for name, scores in inside.items()}
    for stratum in np.unique(member_strata).tolist():
        mine = member_strata == stratum
        like = inside.get(stratum, np.empty(0))
        others = np.sort(np.concatenate([np.empty(0), *(found for name, found in alone.items() if name != stratum)]))
        own = members.scores[mine]
        relative = _relative(np.column_stack([np.broadcast_to(like, (len(own), len(like))), own]))
        residuals[mine] = relative[:, -1]
        above = (relative[:, :-1] >= relative[:, -1:]).sum(axis=1)
        above = above + len(others) - np.searchsorted(others, relative[:, -1], "left")
        p_values[mine] = (1.0 + above) / (len(controls.ids) + 1.0)
    return Exposed(residuals, p_values, benjamini_hochberg(p_values))


def _relative(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row less its median, over its interquartile range."""
    low, middle, high = np.quantile(scores, (0.25, 0.5, 0.75), axis=1)[:, :, None]
    return np.asarray((scores - middle) / np.where(high > low, high - low, 1.0))


def called_by_quarter(
    members: Side, found: Exposed, quarters: NDArray[np.int64], fdr: float, level: float
) -> list[Stratum]:
    """Return the share of members called exposed in each quarter of atypicality."""
    called = found.called(fdr)
    strata = []
    for number in np.unique(quarters):
        mine = quarters == number
        strata.append(
            Stratum(
                by="atypicality, share of members called exposed",
                label=QUARTERS[number],
                estimate=rate(called[mine], members.clusters[mine].astype(object), level),
                note=f"{int(called[mine].sum())} of {int(mine.sum())}; at most {fdr:.0%} of those called are expected to be wrong",
            )
        )
    return strata


def most_exposed(members: Side, found: Exposed, controls: int, fdr: float, level: float) -> list[Stratum]:
    """Return the most exposed members by name: the share of controls that score lower, each relative to its atypicality."""
    listed = PRINTED if found.called(fdr).any() else UNCALLED
    order = np.lexsort((-found.residuals, found.p_values))[:listed]
    rows = []
    for row in order:
        above = round(float(found.p_values[row]) * (controls + 1)) - 1
        interval = clopper_pearson(controls - above, controls, level)
        rows.append(
            Stratum(
                by="most exposed records, controls that score lower",
                label=str(members.ids[row]),
                estimate=estimate(interval, "ratio", controls),
                note=f"p = {found.p_values[row]:.2g}, {found.adjusted[row]:.2g} after the false discovery rate; {_told(members, row)}",
            )
        )
    return rows


def exhibits(members: Side, found: Exposed, fdr: float) -> tuple[Exhibit, ...]:
    """Return the members called exposed, most exposed first."""
    called = found.called(fdr)
    order = [row for row in np.lexsort((-found.residuals, found.p_values)) if called[row]][:PRINTED]
    return tuple(
        Exhibit(
            record=str(members.ids[row]),
            excerpt="told from the controls of similar atypicality by the model's denoising alone",
            note=f"false discovery rate {found.adjusted[row]:.2g}; {_told(members, row)}",
        )
        for row in order
    )


def _told(members: Side, row: int) -> str:
    more = float((members.neighbours < members.neighbours[row]).mean())
    copies = int(members.copies[row])
    return f"more atypical than {more:.0%} of members, {copies} {'copy' if copies == 1 else 'copies'} in training"
