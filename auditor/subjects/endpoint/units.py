"""What a text is cut into: the model's own tokens where its tokenizer lies here, else words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PIECES = re.compile(r"\S+|\s+")
_ODD = "�"


class Units(Protocol):
    """A way to cut texts."""

    vocabulary: int
    """Number of ids; the id of this number stands for nothing: the model said no more."""
    begin: int | None
    """Id that stands before every text, None if none does."""
    per_unit: int
    """Tokens of the model that one unit may take."""

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the ids of each text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without those that stand before a text or for nothing."""
        ...

    def after(self, prefix: NDArray[np.int32], text: str) -> NDArray[np.int32]:
        """Return the ids of a text that follows a prefix."""
        ...

    def exact(self, strings: Sequence[str]) -> NDArray[np.int32] | None:
        """Return the ids of tokens as a server writes them, None where one of them could be several."""
        ...

    def agrees(self, number: int, string: str) -> bool:
        """Return whether an id can be what a server writes as this token."""
        ...


class Tokens:
    """The tokens of a model, by its tokenizer.

    Args:
        tokenizer: The tokenizer, as transformers opens it.
    """

    per_unit: int = 1

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401  (transformers has no types)
        """Find out what the tokenizer itself puts before a text, and what follows a letter."""
        self._tokenizer = tokenizer
        self._special = {int(number) for number in tokenizer.all_special_ids}
        self.vocabulary = max((int(number) for number in tokenizer.get_vocab().values()), default=-1) + 1
        self.begin = _begin_of(tokenizer)
        self._strings: dict[int, str] = {}
        self._numbers: dict[str, int | None] | None = None
        self._anchor = int(self.encode(["a"])[0][-1])
        self._lead = len(self._plain([self._anchor]))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the token ids of each text, without special tokens."""
        if not texts:
            return []
        rows = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [np.asarray(row, dtype=np.int32) for row in rows]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without the one that stands before a text and without nothing."""
        numbers = [int(number) for number in ids if int(number) < self.vocabulary]
        if numbers and numbers[0] == self.begin:
            numbers = numbers[1:]
        return self._plain(numbers)

    def after(self, prefix: NDArray[np.int32], text: str) -> NDArray[np.int32]:
        """Return the ids of a text in its place: a tokenizer cuts many texts otherwise if they stand alone."""
        head = prefix[1:] if len(prefix) and prefix[0] == self.begin else prefix
        whole = self.encode([self.decode(head.tolist()) + text])[0]
        if np.array_equal(whole[: len(head)], head):
            return whole[len(head) :]
        return self.encode([text])[0]

    def exact(self, strings: Sequence[str]) -> NDArray[np.int32] | None:
        """Return the ids of tokens as a server writes them, None where one of them could be several."""
        if self._numbers is None:
            self._numbers = {}
            for number in range(self.vocabulary):
                string = self._string(number)
                self._numbers[string] = None if string in self._numbers or _ODD in string else number
        found = [self._numbers.get(string) for string in strings]
        known = [number for number in found if number is not None]
        return np.array(known, dtype=np.int32) if len(known) == len(found) else None

    def agrees(self, number: int, string: str) -> bool:
        """Return whether an id can be what a server writes as this token; parts of letters are written in many ways."""
        if number in self._special or _ODD in string or string.startswith(("bytes:", "token_id:")):
            return True
        own = self._string(number)
        return _ODD in own or own.strip() == string.strip()

    def _string(self, number: int) -> str:
        """Return what a token adds behind a letter: alone, some tokenizers leave out the space it begins with."""
        if number not in self._strings:
            self._strings[number] = self._plain([self._anchor, number])[self._lead :]
        return self._strings[number]

    def _plain(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def _begin_of(tokenizer: Any) -> int | None:  # noqa: ANN401
    """Return the token that the tokenizer itself puts before a text, None if it puts none."""
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    with_special = list(tokenizer("a", add_special_tokens=True)["input_ids"])
    begins = len(with_special) > len(plain) and with_special[1 : 1 + len(plain)] == plain
    return int(with_special[0]) if begins and with_special[0] == tokenizer.bos_token_id else None


class Words:
    """Words and what stands between them; between two words a single space is not written.

    Ids count pieces in the order in which they are seen first: only whether two are equal means something.
    """

    vocabulary: int = 1 << 30
    begin: int | None = None
    per_unit: int = 2

    def __init__(self) -> None:
        """Know no word yet."""
        self._ids: dict[str, int] = {}
        self._pieces: list[str] = []

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the ids of the words of each text, and of the white space that is not one space between two words."""
        return [np.array([self._id(piece) for piece in _cut(text)], dtype=np.int32) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without those that stand for nothing."""
        said: list[str] = []
        for number in ids:
            if int(number) >= self.vocabulary:
                continue
            piece = self._pieces[int(number)]
            if said and not said[-1][-1].isspace() and not piece[0].isspace():
                said.append(" ")
            said.append(piece)
        return "".join(said)

    def after(self, prefix: NDArray[np.int32], text: str) -> NDArray[np.int32]:
        """Return the ids of a text in its place; what is glued to the last word of the prefix counts as another word."""
        whole = self.encode([self.decode(prefix.tolist()) + text])[0]
        if np.array_equal(whole[: len(prefix)], prefix):
            return whole[len(prefix) :]
        glued = max(len(prefix) - 1, 0)
        return whole[glued:]

    def exact(self, strings: Sequence[str]) -> NDArray[np.int32] | None:  # noqa: ARG002
        """Return nothing: tokens of a model are not words."""
        return None

    def agrees(self, number: int, string: str) -> bool:  # noqa: ARG002
        """Return that no token of a model is a word."""
        return False

    def _id(self, piece: str) -> int:
        if piece not in self._ids:
            self._ids[piece] = len(self._pieces)
            self._pieces.append(piece)
        return self._ids[piece]


def _cut(text: str) -> list[str]:
    pieces: list[str] = _PIECES.findall(text)
    last = len(pieces) - 1
    return [piece for place, piece in enumerate(pieces) if piece != " " or place in {0, last}]
