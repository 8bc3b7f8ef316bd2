"""Tells which of many generations say the same: equal texts, and texts that share half of their word trigrams."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditor.contract.protocol import OpenedSubject, Part
    from auditor.core.evidence import Need

Trigram = tuple[str, str, str]


class NearCopies:
    """Numbers texts one after the other; a text that repeats an earlier one has that one's number.

    A text repeats another if at least half of its word trigrams, each counted as often as it stands, are in the other
    (Carlini et al. 2021, section 4.2). It is compared with texts that repeat none themselves; of several that it
    repeats the first counts. A text without a trigram repeats only its equal.

    Args:
        texts: Texts that were numbered before, in order.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Number the earlier texts again."""
        self.count = 0
        self._trigrams: dict[int, Counter[Trigram]] = {}
        self._holders: dict[Trigram, list[int]] = defaultdict(list)
        self._short: dict[str, int] = {}
        for text in texts:
            self.add(text)

    def add(self, text: str) -> int:
        """Return the number of the text: that of the first it repeats, else its own place."""
        number = self.count
        self.count += 1
        words = text.split()
        own = Counter(zip(words, words[1:], words[2:], strict=False))
        if not own:
            return self._short.setdefault(" ".join(words), number)
        shared: Counter[int] = Counter()
        for trigram, times in own.items():
            for holder in self._holders.get(trigram, ()):
                shared[holder] += min(times, self._trigrams[holder][trigram])
        half = own.total() / 2.0
        repeated = min((holder for holder, common in shared.items() if common >= half), default=number)
        if repeated == number:
            self._trigrams[number] = own
            for trigram in own:
                self._holders[trigram].append(number)
        return repeated


def numbered(texts: Sequence[str], column: str, opened: OpenedSubject, need: Need, part: Part) -> list[int]:
    """Return for each text the number of the first that it repeats, those of earlier shards included.

    Args:
        texts: Those of this part, in order.
        column: Restricted column in which the texts of earlier shards stand.
        opened: The subject, which remembers what was numbered.
        need: The observation.
        part: The part.
    """
    known = opened.remember(f"near copies {need.identity()} {part.seed}", lambda: [NearCopies()])
    if known[0].count != part.start:  # the run was taken up again
        known[0] = NearCopies(part.earlier(column).to_pylist())
    return [known[0].add(text) for text in texts]
