"""Merkle trees against the vectors of Certificate Transparency, and against the recursive definition of RFC 6962."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.evidence.merkle import RootBuilder, inclusion_proof, leaf_hash, root, verify_inclusion

# Source: the test data of google/certificate-transparency (merkletree/merkle_tree_test.cc): eight leaves, the root over
# the first one, the first two, ... all eight of them, and audit paths.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
PROOF_OF_5_IN_8 = (
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
)

contents = st.lists(st.binary(max_size=5), min_size=1, max_size=40)


def streamed(leaves) -> str:
    builder = RootBuilder()
    for leaf in leaves:
        builder.add(leaf)
    return builder.root()


def by_definition(leaves) -> bytes:
    """MTH of RFC 6962, section 2.1, written from its text: split at the largest power of two below the size."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    power = max(2**k for k in range(10) if 2**k < len(leaves))
    return hashlib.sha256(b"\x01" + by_definition(leaves[:power]) + by_definition(leaves[power:])).digest()


def test_empty_tree_is_the_hash_of_nothing():
    assert RootBuilder().root() == root([]) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("count", range(1, 9))
def test_roots_are_those_of_certificate_transparency(count):
    assert streamed(LEAVES[:count]) == ROOTS[count - 1]
    assert root([leaf_hash(leaf) for leaf in LEAVES[:count]]) == ROOTS[count - 1]


def test_a_proof_is_that_of_certificate_transparency():
    hashes = [leaf_hash(leaf) for leaf in LEAVES]
    assert [step.hex() for step in inclusion_proof(hashes, 5)] == list(PROOF_OF_5_IN_8)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(contents)
def test_streamed_and_whole_roots_follow_the_definition(leaves):
    assert streamed(leaves) == root([leaf_hash(leaf) for leaf in leaves]) == by_definition(leaves).hex()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=5), min_size=1, max_size=40, unique=True), st.data())
def test_a_proof_shows_its_leaf_at_its_place_and_nothing_else(leaves, data):
    hashes = [leaf_hash(leaf) for leaf in leaves]
    index = data.draw(st.integers(0, len(leaves) - 1))
    expected = root(hashes)
    proof = inclusion_proof(hashes, index)
    assert verify_inclusion(hashes[index], index, len(leaves), proof, expected)
    assert not verify_inclusion(leaf_hash(leaves[index] + b"!"), index, len(leaves), proof, expected)
    assert not verify_inclusion(hashes[index], index, len(leaves), [*proof, hashes[0]], expected)
    assert not verify_inclusion(hashes[index], len(leaves), len(leaves), proof, expected)
    assert not verify_inclusion(hashes[index], -1, len(leaves), proof, expected)
    assert not verify_inclusion(hashes[index], index, len(leaves), proof, "0" * 64)
    if proof:
        assert not verify_inclusion(hashes[index], index, len(leaves), proof[:-1], expected)
        assert not verify_inclusion(hashes[index], index ^ 1, len(leaves), proof, expected)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(contents, st.data())
def test_any_changed_or_moved_leaf_changes_the_root(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    changed = [*leaves[:index], leaves[index] + b"\x00", *leaves[index + 1 :]]
    assert streamed(changed) != streamed(leaves)
    assert streamed([*leaves, b""]) != streamed(leaves)
    if leaves[index] != leaves[0]:
        swapped = list(leaves)
        swapped[0], swapped[index] = swapped[index], swapped[0]
        assert streamed(swapped) != streamed(leaves)


def test_a_node_cannot_pass_for_a_leaf():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert streamed([left + right]) != streamed([b"a", b"b"])


def test_there_is_no_proof_of_a_leaf_that_is_not_there():
    with pytest.raises(IndexError):
        inclusion_proof([leaf_hash(b"")], 1)
