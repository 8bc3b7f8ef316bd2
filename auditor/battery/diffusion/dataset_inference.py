"""Dataset inference on images: the loss along the noise and every score together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.battery.dataset_inference import whole_set
from auditor.battery.diffusion.membership_scores import Sides, codes_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from auditor.core.finding import Stratum


def whole_set_stratum(
    sides: Sides, folds: NDArray[np.int64], rng: np.random.Generator, permutations: int, level: float
) -> Stratum:
    """Return what the whole set of images shows; see `auditor.battery.dataset_inference.whole_set`."""
    codes, member_units = codes_of(sides)
    return whole_set(sides.everything, codes, member_units, folds, rng, permutations, level, "image")
