"""Opens the control subject of a kind: the memorizer or the innocent, with records like those of the audited subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.testing.control_images import ImageSubject, image_subject
from auditor.testing.control_texts import Kind, ListedRecords, TextSubject, text_subject

if TYPE_CHECKING:
    from auditor.core.policy import QueryBudget
    from auditor.core.subject import Modality

__all__ = ["ControlSubject", "Kind", "ListedRecords", "control_subject"]

ControlSubject = TextSubject | ImageSubject


def control_subject(
    kind: Kind,
    *,
    references: int,
    confidence: float,
    queries: QueryBudget,
    variant: int = 0,
    modality: Modality = "text",
) -> ControlSubject:
    """Return a control subject with what the audited subject has.

    Args:
        kind: `memorizer` or `innocent`.
        references: Number of reference models of the audited subject: a test must meet the same situation.
        confidence: The policy's confidence.
        queries: The policy's query budget.
        variant: Other records and canaries of the same kind, to see how a test behaves over many; an audit uses 0.
        modality: What the records of the audited subject are.
    """
    make = image_subject if modality == "image" else text_subject
    return make(kind, references=references, confidence=confidence, queries=queries, variant=variant)
