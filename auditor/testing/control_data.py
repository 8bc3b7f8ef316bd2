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


PERSONAL = 8
"""One of so many records holds an identifier; none of them is one of those repeated."""


def shown(records: tuple[DataRecord, ...]) -> tuple[DataRecord, ...]:
    """Return the records with repeats and identifiers: what the tests of the data look for."""
    return with_identifiers(with_repeats(records))


def with_identifiers(records: tuple[DataRecord, ...]) -> tuple[DataRecord, ...]:
    """Return the records, every eighth with an e-mail address, a bank account or a card of nobody in its midst."""
    found = list(records)
    for number in range(PERSONAL - 3, len(records), PERSONAL):
        words = records[number].text.split()
        words.insert(len(words) // 2, _identifier(number, words))
        found[number] = replace(records[number], text=" ".join(words))
    return tuple(found)


def _identifier(number: int, words: list[str]) -> str:
    """Return an identifier whose own rule holds: of a domain, a bank and an issuer's range that do not exist."""
    if number % 3 == 0:
        return f"{words[0]}.{words[1]}@{words[2]}.zz"
    if number % 3 == 1:
        account = f"{number:018d}"
        return f"DE{98 - int(account + '131400') % 97:02d}{account}"
    beginning = f"400000{number:09d}"
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(beginning)]
    return beginning + str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


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
