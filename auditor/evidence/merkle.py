"""Merkle trees over records (RFC 6962): one record can be shown to belong without showing the others."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256 of 0x00 and the content (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node: SHA-256 of 0x01 and its two children (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class RootBuilder:
    """Builds the root of many leaves, holding one hash per level."""

    def __init__(self) -> None:
        """Begin with no leaf."""
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Add the content of the next leaf."""
        size, top = 1, leaf_hash(leaf)
        while self._peaks and self._peaks[-1][0] == size:
            top = node_hash(self._peaks.pop()[1], top)
            size *= 2
        self._peaks.append((size, top))

    def root(self) -> str:
        """Return the root, lower-case hexadecimal; that of no leaf is the SHA-256 of nothing."""
        if not self._peaks:
            return hashlib.sha256(b"").hexdigest()
        top = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            top = node_hash(peak, top)
        return top.hex()


def root(leaves: Sequence[bytes]) -> str:
    """Return the root over leaf hashes, lower-case hexadecimal."""
    return _subroot(leaves).hex() if leaves else hashlib.sha256(b"").hexdigest()


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


def _subroot(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return node_hash(_subroot(leaves[:middle]), _subroot(leaves[middle:]))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the hashes that lead from one leaf to the root (RFC 6962, section 2.1.1).

    Raises:
        IndexError: There is no such leaf.
    """
    if not 0 <= index < len(leaves):
        msg = f"there is no leaf {index} among {len(leaves)}"
        raise IndexError(msg)
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*inclusion_proof(leaves[:middle], index), _subroot(leaves[middle:])]
    return [*inclusion_proof(leaves[middle:], index - middle), _subroot(leaves[:middle])]


def verify_inclusion(leaf: bytes, index: int, count: int, proof: Sequence[bytes], expected: str) -> bool:
    """Return whether a leaf hash at an index among `count` leaves leads to the root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < count:
        return False
    node, last, top = index, count - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            top = node_hash(sibling, top)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            top = node_hash(top, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and top.hex() == expected
