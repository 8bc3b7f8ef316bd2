"""The small sealed bundle, as it was sealed and as a copy to do harm to."""

from __future__ import annotations

import shutil

import asn1crypto.tsp  # noqa: F401  (adds names to the CMS module, which remembers those it knew at its first use)
import pytest
import small_audit


@pytest.fixture(scope="session")
def origin(tmp_path_factory) -> small_audit.Sealed:
    """The bundle as it was sealed; no test may write into it."""
    folder = tmp_path_factory.mktemp("origin")
    keys, signer = small_audit.new_signer(folder / "key")
    small_audit.audited(folder / "bundle")
    small_audit.seal(folder / "bundle", signer)
    return small_audit.Sealed(folder / "bundle", keys, signer)


@pytest.fixture
def sealed(origin, tmp_path) -> small_audit.Sealed:
    """A copy of the sealed bundle, to do harm to."""
    copy = tmp_path / "bundle"
    shutil.copytree(origin.bundle, copy)
    return small_audit.Sealed(copy, origin.keys, origin.signer)
