"""Shadow classifiers: small networks on 8 x 8 digits, one of ten labels flipped, each trained on a random half; all at once.

Stacked, sixteen of them train in a second. What the reference leaves open (optimiser, rate, batch) was set so that the area of
the plain loss lies near its own; the areas of the likelihood ratios follow from that.
"""

from __future__ import annotations

from functools import cache

import numpy as np

MODELS, RECORDS, EPOCHS, HIDDEN = 16, 500, 100, 128
RATE, BATCH = 0.01, 128


@cache
def trained(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits [models, records, 10], labels [records] and which model was trained on which record [models, records]."""
    import torch
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(seed)
    pixels, labels = load_digits(return_X_y=True)
    chosen = rng.permutation(len(pixels))[:RECORDS]
    x, y = pixels[chosen] / 16.0, labels[chosen].copy()
    flipped = rng.permutation(RECORDS)[: RECORDS // 10]
    y[flipped] = (y[flipped] + rng.integers(1, 10, len(flipped))) % 10
    held = np.zeros((MODELS, RECORDS), dtype=bool)
    for record in range(RECORDS):
        held[rng.permutation(MODELS)[: MODELS // 2], record] = True
    source = torch.Generator().manual_seed(seed)

    def layer(fan_in: int, fan_out: int) -> list[torch.Tensor]:
        shapes = ((MODELS, fan_in, fan_out), (MODELS, 1, fan_out))
        bound = fan_in**-0.5
        return [((2 * torch.rand(shape, generator=source) - 1) * bound).requires_grad_() for shape in shapes]

    weights = [*layer(64, HIDDEN), *layer(HIDDEN, 10)]
    optimiser = torch.optim.Adam(weights, lr=RATE)
    images, truth = torch.tensor(x, dtype=torch.float32), torch.tensor(y)

    def logits(batch: torch.Tensor) -> torch.Tensor:
        return torch.relu(batch @ weights[0] + weights[1]) @ weights[2] + weights[3]

    own = [np.flatnonzero(row) for row in held]
    fewest = min(map(len, own))
    for _ in range(EPOCHS):
        order = torch.tensor(np.stack([rng.permutation(rows)[:fewest] for rows in own]))
        for start in range(0, fewest - BATCH // 2, BATCH):
            rows = order[:, start : start + BATCH]
            found = logits(images[rows]).flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(found, truth[rows].flatten(), reduction="sum") / BATCH
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        return logits(images.expand(MODELS, -1, -1)).double().numpy(), y, held
