"""Network passes of all membership scores of a diffusion model together, against each score run alone.

python benchmarks/denoising_passes.py [--images 8] [--references 0 1 2]

Passes are counted, not timed: the model counts every image that goes through its network, so the figure is the same on every machine and
for every model. Each score is run alone by the same code with only what it needs, but starting from nothing. Three sums stand beside what
the battery spends:

published     what the authors' implementations call: the swept loss, ten losses for the multi-loss (one noise each), SecMI 12, PIA 2, PIAN 2,
              SimA 1, CLiD 15, and for LiRA five timesteps on the model and on every reference;
each alone    every score of the battery at the settings that it has here, each with the passes that it uses and no other;
with tests    the same, and what else is measured from these passes: dataset inference over all features, and the risk of outliers.
"""

from __future__ import annotations

import argparse
from typing import Any

from auditor.battery.diffusion.membership import TEST as MEMBERSHIP
from auditor.battery.diffusion.outliers import TEST as OUTLIERS
from auditor.core.policy import QueryBudget
from auditor.observers.denoising_scores import OBSERVER, Parameters, score
from auditor.testing.control_subject import control_subject

QUERIES = QueryBudget(per_subject=1, lifetime=1, reason="benchmark")


class Counted:
    """A control model as it is, or without its null condition and captions."""

    def __init__(self, model: Any, *, guided: bool) -> None:
        self._model = model
        self.guided = guided
        self.conditioning = "text" if guided else "none"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def spent(model: Any, images: Any, conditions: list, **asked: Any) -> float:
    """Return passes an image of some scores, from nothing."""
    before = model.passes
    score(model, images, conditions, Parameters.from_plain({"timesteps": [], **asked}))
    return (model.passes - before) / len(images)


def alone(model: Any, images: Any, conditions: list, references: int) -> dict[str, dict[str, float]]:
    """Return passes an image of each score, run alone."""
    asked = MEMBERSHIP.parameters()
    steps, noises = list(asked.timesteps), asked.noises
    band = [step for step in steps if asked.band[0] <= step <= asked.band[1]]

    def count(**parameters: Any) -> float:
        return spent(model, images, conditions, **parameters)

    sweep = count(timesteps=steps, noises=noises)
    one, averaged = count(timesteps=[asked.timestep], noises=noises), count(timesteps=band, noises=noises)
    multi = count(timesteps=steps, noises=1)
    secmi, sima = count(secmi=asked.secmi), count(sima=asked.sima)
    pia = count(pia=asked.pia) - 1  # PIA and PIAN share the prediction at 0; alone each has its own
    clid = count(clid=list(asked.clid)) if model.guided else 0.0
    fixed = {"secmi": secmi, "pia": pia, "pian": pia, "sima": sima, "clid": clid}
    ratio = (1 + references) * averaged if references else 0.0
    published = {"loss sweep": sweep, "multi-loss": multi, **fixed, "lira": ratio}
    each = {
        "loss": one,
        "loss by timestep": sweep,
        **fixed,
        "reference": (1 + references) * one if references else 0.0,
        "lira": ratio,
        "multi_loss": sweep + references * averaged,
    }
    outliers = count(timesteps=list(OUTLIERS.parameters().timesteps), noises=OUTLIERS.parameters().noises)
    features = sweep + references * averaged + secmi + 2 * pia + sima + clid
    more = {"dataset inference": features, "outliers": (1 + references) * outliers}
    return {"published": published, "each alone": each, "with tests": {**each, **more}}


def together(model: Any, images: Any, conditions: list, references: int) -> float:
    """Return passes an image of what the battery asks, joined by the observer as in a run."""
    opened = control_subject("memorizer", references=references, confidence=0.95, queries=QUERIES, modality="image")
    subject = opened.facts.subject
    capabilities = subject.model.capabilities if model.guided else ("denoises", "generates-images")
    facts = type(opened.facts)(
        subject.model_copy(
            update={
                "model": subject.model.model_copy(update={"capabilities": capabilities}),
                "references": (subject.model,) * references,
            }
        ),
        None,
        0,
        0.95,
        QUERIES,
    )
    needs = [
        need
        for test in (MEMBERSHIP, OUTLIERS)
        for need in test.needs(test.parameters(), facts).values()
        if need.observer == OBSERVER.name and need.dataset == "members"
    ]
    before = model.passes
    for need in OBSERVER.join(needs):
        score(model, images, conditions, Parameters.from_plain(need.parameters))
    return (model.passes - before) / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--references", type=int, nargs="*", default=[0, 1, 2])
    options = parser.parse_args()
    opened = control_subject("memorizer", references=1, confidence=0.95, queries=QUERIES, modality="image")
    records = list(opened.records("members").sample(options.images, 0, 0, options.images))
    from auditor.observers.image_sets import image_set

    held = image_set(records, (8, 8, 1))
    for guided in (False, True):
        model = Counted(opened.denoiser("subject"), guided=guided)
        conditions = held.conditions(model.conditioning)
        for references in options.references:
            ours = together(model, held.images, conditions, references)
            sums = alone(model, held.images, conditions, references)
            kind = "guided, captions" if guided else "unconditional"
            print(f"\n{kind}, {references} reference models: {ours:g} passes an image together")
            for name, parts in sums.items():
                total = sum(parts.values())
                told = " + ".join(f"{part} {value:g}" for part, value in parts.items() if value)
                print(f"  {ours / total:.2f} of {total:g} ({name}): {told}")


if __name__ == "__main__":
    main()
