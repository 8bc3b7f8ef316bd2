"""Records of a subject: where they lie, how they are read, without ever holding them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class DataRecord:
    """One record.

    Args:
        id: Unique in its file.
        text: The text, Unicode.
        cluster: Person, document or the record itself: the independent unit of every interval.
        copies: How often it stood in training; 1 where nothing is said.
        source: Source label, "" where nothing is said.
    """

    id: str
    text: str
    cluster: str
    copies: int = 1
    source: str = ""


class RecordSource(Protocol):
    """A set of records that can be read in order, any number of times."""

    def __len__(self) -> int:
        """Return the number of usable records."""
        ...

    def sample(self, count: int | None, seed: int, start: int, stop: int) -> Iterator[DataRecord]:
        """Yield items start to stop of a simple random sample without replacement, in file order.

        Args:
            count: Size of the sample; None or a count not below the number of records: all of them.
            seed: Decides which records are in the sample, together with nothing but the dataset's digest.
            start: First item of the sample to yield.
            stop: One past the last.
        """
        ...
