"""Telling members from controls by a score, by one name. A higher score means more likely a member."""

from __future__ import annotations

from auditor.statistics.area import auc, auc_interval, minimum_detectable_auc, null_sd_auc, roc_curve
from auditor.statistics.operating_point import OperatingPoint, least_controls, tpr_at_fpr
from auditor.statistics.permutation import permutation_max_auc

__all__ = [
    "OperatingPoint",
    "auc",
    "auc_interval",
    "least_controls",
    "minimum_detectable_auc",
    "null_sd_auc",
    "permutation_max_auc",
    "roc_curve",
    "tpr_at_fpr",
]
