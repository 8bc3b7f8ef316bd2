"""Likelihood ratios against published vectors, scipy's densities, and sixteen shadow models trained here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from shadow_models import MODELS, trained

from auditor.statistics.area import auc
from auditor.statistics.likelihood_ratio import (
    logit_confidence,
    offline_deviation,
    offline_probability,
    offline_reference,
    online_ratio,
    relative_ratio,
    shadow_scores,
)

FINITE = st.floats(-50, 50)
POSITIVE = st.floats(0.05, 20)


def test_worked_values():
    assert logit_confidence([[3.0, 1.0, -2.0]], [0])[0] == pytest.approx(1.951413, abs=1e-6)
    assert online_ratio(2.0, 2.0, 1.0, 0.0, 1.0) == pytest.approx(2.0)
    assert online_ratio(1.0, 3.0, 2.0, 0.0, 1.0) == pytest.approx(-0.6931, abs=5e-5)
    assert offline_probability(2.0, 0.0, 1.0) == pytest.approx(0.97725, abs=5e-6)
    assert offline_reference(0.2, 0.3) == pytest.approx(0.48)


@settings(derandomize=True, deadline=None)
@given(FINITE, FINITE, POSITIVE, FINITE, POSITIVE)
def test_the_ratio_is_that_of_two_normal_densities(x, mean_in, sd_in, mean_out, sd_out):
    expected = stats.norm.logpdf(x, mean_in, sd_in) - stats.norm.logpdf(x, mean_out, sd_out)
    assert float(online_ratio(x, mean_in, sd_in, mean_out, sd_out)) == pytest.approx(expected, rel=1e-9, abs=1e-8)
    assert float(offline_probability(x, mean_out, sd_out)) == pytest.approx(stats.norm.cdf(x, mean_out, sd_out))


def test_confidence_does_not_round_away():
    """In single precision p is 1 and log(p / (1 - p)) infinite."""
    assert logit_confidence([[60.0, 0.0, 0.0]], [0])[0] == pytest.approx(60.0 - np.log(2.0))
    assert np.isfinite(offline_deviation([1e3, 2e3], 0.0, 1.0)).all()
    assert np.diff(offline_deviation([1e3, 2e3], 0.0, 1.0))[0] > 0.0  # the probabilities would tie at 1


def test_the_offline_ratio_is_one_sided():
    """A record far below the models without it is no member; a two-sided density, as in public code, calls it one."""
    phi = np.array([-6.0, 0.0, 6.0])
    found = offline_probability(phi, 0.0, 1.0)
    assert found.tolist() == sorted(found)
    two_sided = -stats.norm.logpdf(phi, 0.0, 1.0)
    assert two_sided[0] == two_sided[2] > two_sided[1]


def test_the_shared_variance_of_out_is_that_of_out():
    """Public code takes IN's for both. Here IN is three times as wide, and only the right one gives the densities' ratio."""
    rng = np.random.default_rng(0)
    held = np.arange(40)[:, None] % 2 == np.zeros(200, dtype=int)
    shadows = np.where(held, rng.normal(2, 3, (40, 200)), rng.normal(0, 1, (40, 200)))
    phi = rng.normal(0, 1, 200)
    inside, outside = shadows[held].reshape(-1, 200), shadows[~held].reshape(-1, 200)
    spread = [np.sqrt(side.var(axis=0, ddof=1).mean()) for side in (inside, outside)]
    expected = stats.norm.logpdf(phi, inside.mean(axis=0), spread[0]) - stats.norm.logpdf(
        phi, outside.mean(axis=0), spread[1]
    )
    np.testing.assert_allclose(shadow_scores(phi, shadows, held, fixed=True), expected, rtol=1e-9, atol=1e-9)
    assert spread == pytest.approx([3.0, 1.0], rel=0.05)


def test_one_reference_gives_the_order_of_differences():
    rng = np.random.default_rng(1)
    phi, reference = rng.normal(size=30), rng.normal(size=(1, 30))
    found = shadow_scores(phi, reference)
    assert np.argsort(found).tolist() == np.argsort(phi - reference[0]).tolist()


def test_models_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="shape"):
        shadow_scores(np.zeros(3), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="no shadow model without"):
        shadow_scores(np.zeros(2), np.zeros((2, 2)), np.array([[True, False], [True, True]]))


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=3, max_size=8), st.floats(1.0, 3.0))
def test_the_relative_ratio_is_the_share_it_dominates(values, gamma):
    probability, reference = np.array(values), np.array(values)[::-1]
    found = relative_ratio(probability, reference, probability, reference, gamma)
    for row in range(len(values)):
        share = np.mean(
            [
                np.log(probability[row] / reference[row]) - np.log(gamma) >= np.log(probability[z] / reference[z])
                for z in range(len(values))
            ]
        )
        assert 0.0 <= found[row] - share < 0.5 / len(values) + 1e-9


REFERENCE = {"loss": 0.661, "online": 0.755, "online, one variance": 0.766, "offline": 0.717}
"""Areas measured elsewhere on 16 models of this recipe, each a target beside the other fifteen."""


def areas(seed: int) -> dict[str, float]:
    logits, labels, held = trained(seed)
    phi = np.stack([logit_confidence(rows, labels) for rows in logits])
    ways = {
        "online": {"fixed": False},
        "online, one variance": {"fixed": True},
        "offline": {"offline": True, "fixed": True},
    }
    found = {"loss": auc(phi[held], phi[~held])}
    for name, how in ways.items():
        scores = []
        for target in range(MODELS):
            rest = np.arange(MODELS) != target
            scores.append(shadow_scores(phi[target], phi[rest], held[rest], **how))
        found[name] = auc(np.stack(scores)[held], np.stack(scores)[~held])
    return found


def test_sixteen_shadow_models_give_the_reference_areas():
    found = [areas(seed) for seed in range(3)]
    mean = {name: float(np.mean([one[name] for one in found])) for name in REFERENCE}
    for name, expected in REFERENCE.items():
        assert mean[name] == pytest.approx(expected, abs=0.02), mean
    for one in found:
        assert min(one["online"], one["online, one variance"], one["offline"]) > one["loss"]


def test_labels_that_mean_nothing_give_no_area():
    logits, labels, held = trained(0)
    phi = np.stack([logit_confidence(rows, labels) for rows in logits])
    shuffled = (
        np.random.default_rng(7).random(held.shape) < 0.5
    )  # coins: halves would make the target's side the smaller
    scores = [
        shadow_scores(phi[t], np.delete(phi, t, axis=0), np.delete(shuffled, t, axis=0), fixed=True)
        for t in range(MODELS)
    ]
    assert auc(np.stack(scores)[shuffled], np.stack(scores)[~shuffled]) == pytest.approx(0.5, abs=0.02)
