"""What tests of the data alone find on the control subjects: the memorizer's data show it, the innocent's do not.

Such a test asks no model, so a model that memorizes is no control of it. Its positive control is a set of records in which
what it looks for was put, a known number of times. The records that tests of the model read stay as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.subjects.data import DataRecord

EVERY = 16
"""Of so many records one is repeated exactly and one nearly: four of them have a duplicate."""
REPLACED = (20, 80)
"""Places of the words by which a near duplicate differs."""


def with_repeats(records: tuple[DataRecord, ...]) -> tuple[DataRecord, ...]:
    """Return the records, of every 16 the second the text of the first in other white space, the fourth nearly the third."""
    found: list[DataRecord] = []
    for number, record in enumerate(records):
        words = found[-1].text.split() if found else []
        if number % EVERY == 1:
            found.append(replace(record, text="\n".join(words)))
        elif number % EVERY == 3:
            own = record.text.split()
            for place in REPLACED:
                words[place : place + 1] = own[place : place + 1]
            found.append(replace(record, text=" ".join(words)))
        else:
            found.append(record)
    return tuple(found)
