"""Merkle trees over records (RFC 6962): one record can be shown to belong without showing the others."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


LEAF = b"\x00"
"""What stands before the content of a leaf, so that no node can pass for one (RFC 6962, section 2.1)."""
_NODE = b"\x01"


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256 of 0x00 and the content (RFC 6962, section 2.1)."""
    return hashlib.sha256(LEAF + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node: SHA-256 of 0x01 and its two children (RFC 6962, section 2.1)."""
    return hashlib.sha256(_NODE + left + right).digest()


class RootBuilder:
    """Builds the root of many leaves, holding one hash per level."""

    def __init__(self) -> None:
        """Begin with no leaf."""
        self._left: list[bytes | None] = []
        """On each level, from the leaves up, the left child that waits for its right one."""

    def add(self, leaf: bytes) -> None:
        """Add the content of the next leaf."""
        self.extend([leaf_hash(leaf)])

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add the hashes of the next leaves: level by level, which is faster than leaf by leaf."""
        nodes, level = list(leaves), 0
        sha256 = hashlib.sha256
        while nodes:
            if level == len(self._left):
                self._left.append(None)
            waiting = self._left[level]
            if waiting is not None:
                nodes.insert(0, waiting)
            self._left[level] = nodes.pop() if len(nodes) % 2 else None
            nodes = [sha256(_NODE + nodes[i] + nodes[i + 1]).digest() for i in range(0, len(nodes), 2)]
            level += 1

    def root(self) -> str:
        """Return the root, lower-case hexadecimal; that of no leaf is the SHA-256 of nothing."""
        top: bytes | None = None
        for peak in self._left:
            if peak is not None:
                top = peak if top is None else node_hash(peak, top)
        return hashlib.sha256(b"").hexdigest() if top is None else top.hex()


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
