"""Every interval, by one name: rates, differences of rates, clustered rates, medians, shifts, bootstrap."""

from __future__ import annotations

from auditor.statistics.clustered import clustered_difference, clustered_rate, effective_trials
from auditor.statistics.location import bootstrap, hodges_lehmann, median_interval
from auditor.statistics.rate_interval import (
    Interval,
    clopper_pearson,
    clopper_pearson_lower,
    clopper_pearson_upper,
    mover_difference,
    newcombe,
    wilson,
)

__all__ = [
    "Interval",
    "bootstrap",
    "clopper_pearson",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "clustered_difference",
    "clustered_rate",
    "effective_trials",
    "hodges_lehmann",
    "median_interval",
    "mover_difference",
    "newcombe",
    "wilson",
]
