"""The Secret Sharer on a small character model: exposure by repetitions, how near the estimates come, what a search finds.

    python benchmarks/secret_sharer.py [--digits 5]

A transformer of two layers is trained on lines that hold canaries 1, 4, 16 and 64 times, or not at all, as a coin fell. Every secret
of both formats is scored, so that every rank is known exactly; the estimates see 4,096 random ones, as the shipped policy asks.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "observers"))
CANDIDATES = 4096
WITHIN = 1.0
SHARE = 0.01


def main() -> None:
    from character_model import TIERS, exposures, trained_on_canaries
    from opened import opened, rows

    from auditor.core.evidence import Need
    from auditor.observers.secret_search import OBSERVER
    from auditor.statistics.exposure import sampled_exposure, skew_normal_fit, skew_normal_log_cdf

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", type=int, default=4, help="digits of a secret")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0: its own choice")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    trained = trained_on_canaries(asked.digits)
    cap, reach = math.log2(trained.space), math.log2(CANDIDATES + 1)
    found = exposures(trained)
    print(f"2 formats of {trained.space:,} secrets (cap {cap:.2f} bit), {len(trained.canaries.canaries)} canaries")
    for tier in TIERS:
        ours, left = found[tier, True], found[tier, False]
        print(
            f"planted {tier:2} times: median exposure {np.median(ours):5.2f} bit (least {min(ours):5.2f}); "
            f"left out {np.median(left):5.2f}"
        )
    apart: dict[str, list[tuple[float, float]]] = {"sampled": [], "fitted": []}
    for form in trained.forms:
        known = {canary.secret for canary in trained.of(form)}
        others = np.array([cost for secret, cost in trained.costs[form.id].items() if secret not in known])
        drawn = np.random.default_rng(2).choice(others, min(CANDIDATES, len(others)), replace=False)
        fit = skew_normal_fit(drawn)
        for canary in trained.of(form):
            cost = trained.costs[form.id][canary.secret]
            exact = cap - math.log2(trained.rank(form, canary.secret, apart=True))
            if exact < cap - 1e-9:
                sampled = sampled_exposure(cost, drawn, space_size=trained.space).bits
                fitted = min(-float(skew_normal_log_cdf(cost, fit)) / math.log(2.0), cap)
                apart["sampled"].append((exact, sampled - exact))
                apart["fitted"].append((exact, fitted - exact))
    for name, pairs in apart.items():
        near = [abs(by) <= WITHIN for _, by in pairs]
        worst = max(pairs, key=lambda pair: abs(pair[1]))
        inside = [abs(by) for exact, by in pairs if exact <= reach - 3.0]
        print(
            f"{name}: within {WITHIN:g} bit of the exact rank for {sum(near)} of {len(near)} canaries below the cap, worst "
            f"{worst[1]:+.2f} at {worst[0]:.2f} bit; where eight candidates lie below ({len(inside)}): at most {max(inside):.2f}"
        )
    budget = int(trained.space * SHARE)
    need = Need(observer="secret-search", dataset="canaries", parameters={"expansions": budget})
    searched = {row["canary"]: row for row in rows(OBSERVER, need, opened(trained.model, canaries=trained.canaries))}
    first = [
        searched[canary.id]
        for form in trained.forms
        for canary in trained.of(form)
        if trained.rank(form, canary.secret, apart=True) == 1
    ]
    asked_for = [row["expansions_found"] for row in first if row["found"]]
    print(
        f"search: {sum(row['found'] for row in first)} of {len(first)} canaries of exact rank 1 found within {budget:,} expansions "
        f"({SHARE:.0%} of the space); the last after {max(asked_for, default=0)} ({max(asked_for, default=0) / trained.space:.3%})"
    )


if __name__ == "__main__":
    main()
