"""Random generators that depend on nothing but the policy's seed and what they are for.

Order of work, number of workers and neighbours cannot change a draw.
"""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Return the generator for one purpose.

    Args:
        seed: The policy's seed, 0 <= seed < 2^53.
        purpose: Words that name the use, for example the observation's digest and "sample".
    """
    digest = hashlib.sha256("\x1f".join(purpose).encode()).digest()
    words = np.frombuffer(digest, dtype=np.uint32)
    return np.random.default_rng([seed, *(int(word) for word in words)])
