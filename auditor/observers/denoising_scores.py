"""Denoising scores: every membership score of a diffusion model from shared passes.

Latents are encoded once; the prediction for the image as it is, at timestep 0, is made once for PIA, PIAN and the first step of
SecMI; the swept losses serve the loss, the multi-loss, the likelihood ratio and the conditional part of CLiD. The noise of a draw is a
function of the draw's number alone: all images, timesteps, models and datasets see the same (common random numbers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field, NonNegativeInt, PositiveInt

from auditor.contract.protocol import Facts, OpenedSubject, Part, Shard
from auditor.core.evidence import Column, Need
from auditor.core.record import Record
from auditor.errors import UnsupportedError
from auditor.observers.denoising_passes import Passes, pia, rescaled, secmi, sima
from auditor.observers.image_sets import ImageSet, sampled, whole_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auditor.subjects.denoiser import Condition, Denoiser

TIMESTEPS = (10, 50, 100, 150, 200, 300, 400, 500, 700, 900)
"""Dense where the signal lies (Carlini et al. 2023: t in [50, 300]), and up to 900 as in the multi-loss of CDI."""


class Parameters(Record):
    """Which images are scored, and by which scores."""

    records: PositiveInt | None = None
    """Size of the random sample; null: all records."""
    timesteps: tuple[NonNegativeInt, ...] = TIMESTEPS
    """Timesteps at which the loss is taken, in thousandths of the schedule."""
    noises: PositiveInt = 3
    """Noise draws at each of them."""
    secmi: PositiveInt | None = None
    """Timestep at which SecMI compares; null: not made."""
    secmi_interval: PositiveInt = 10
    """Timesteps between two steps of SecMI."""
    pia: PositiveInt | None = None
    """Timestep of PIA and PIAN; null: not made."""
    sima: PositiveInt | None = None
    """Timestep of SimA; null: not made."""
    clid: tuple[NonNegativeInt, ...] = Field(default=())
    """Timesteps at which the loss under reduced conditions is taken, one draw each; empty: not made."""


class DenoisingScoresObserver:
    """Asks a diffusion model how well it denoises each image."""

    name = "denoising-scores"
    version = 1
    shard_items = 64
    parameters = Parameters

    def join(self, needs: Sequence[Need]) -> Sequence[Need]:
        """Return one need for all that the same passes can meet: the larger sample, every timestep and score."""
        joined: list[tuple[Need, Parameters]] = []
        for need in needs:
            asked = Parameters.from_plain(need.parameters)
            for number, (held, have) in enumerate(joined):
                if _same_passes(held, have, need, asked):
                    joined[number] = (held, _union(have, asked))
                    break
            else:
                joined.append((need, _union(asked, asked)))
        return [need.model_copy(update={"parameters": parameters.plain()}) for need, parameters in joined]

    def covers(self, joined: Need, need: Need) -> bool:
        """Return whether passes made for `joined` hold all that `need` asks."""
        have, asked = Parameters.from_plain(joined.parameters), Parameters.from_plain(need.parameters)
        return _same_passes(joined, have, need, asked) and _union(have, asked) == _union(have, have)

    def columns(self, parameters: Parameters) -> tuple[Column, ...]:
        """Return the columns it writes."""
        many, one, unit = "list<double>", "double", "latent units"
        steps = "thousandths of the schedule"
        listed = [
            Column(name="id", type="string", unit="none", meaning="Id of the record."),
            Column(name="cluster", type="string", unit="none", meaning="Person, document or record it belongs to."),
            Column(name="copies", type="int32", unit="records", meaning="How often it stood in training, as declared."),
            Column(name="source", type="string", unit="none", meaning="Source, as declared."),
            Column(name="timestep", type="list<int32>", unit=steps, meaning="Timestep of each loss."),
            Column(
                name="loss", type=many, unit="squared noise", meaning="Mean squared error of the noise, over the draws."
            ),
        ]
        if parameters.secmi is not None:
            meaning = "Squared distance after one deterministic step up and back (SecMI)."
            listed.append(Column(name="secmi", type=one, unit=f"squared {unit}", meaning=meaning))
        if parameters.pia is not None:
            meaning = "4-norm between the noise predicted at 0 and where that noise leads (PIA)."
            listed.append(Column(name="pia", type=one, unit="noise", meaning=meaning))
            listed.append(Column(name="pian", type=one, unit="noise", meaning="The same, that noise rescaled (PIAN)."))
        if parameters.sima is not None:
            meaning = "4-norm of the noise predicted for the image as it is (SimA)."
            listed.append(Column(name="sima", type=one, unit="noise", meaning=meaning))
        if parameters.clid:
            meaning = (
                "Loss under reduced conditions minus loss under the record's own, same draw, mean over conditions."
            )
            listed += [
                Column(name="clid_timestep", type="list<int32>", unit=steps, meaning="Timestep of each difference."),
                Column(name="conditional_gain", type=many, unit="squared noise", meaning=meaning),
                Column(name="conditional_loss", type=many, unit="squared noise", meaning="Loss of the draws compared."),
            ]
        return tuple(listed)

    def items(self, need: Need, facts: Facts) -> int:
        """Return the number of images it scores."""
        return sampled(facts, "members" if need.dataset == "members" else "controls", need.parameters.get("records"))

    def tokens(self, need: Need, facts: Facts) -> int:
        """Return how many images will pass the network; of captions, that they have three words or more."""
        asked = Parameters.from_plain(need.parameters)
        text = "conditions-on-text" in facts.subject.model.capabilities
        return self.items(need, facts) * passes_per_image(asked, 4 if text else 1)

    def observe(self, need: Need, opened: OpenedSubject, part: Part) -> Shard:
        """Score one part of the images."""
        asked = Parameters.from_plain(need.parameters)
        model = opened.denoiser(need.model or "subject")
        dataset: Any = need.dataset
        everything = whole_set(opened, dataset, model.image_shape, asked.records, part.seed)
        rows = slice(part.start, part.stop)
        before = model.passes
        conditions = everything.conditions(model.conditioning)[rows]
        found, calls = score(model, everything.images[rows], conditions, asked)
        _check_finite(found, everything.ids[rows])
        return Shard(_public(everything, rows, asked, found), None, calls=calls, tokens=model.passes - before)


def score(
    model: Denoiser,
    images: NDArray[np.uint8],
    conditions: Sequence[Condition],
    asked: Parameters,
) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Return all scores asked of some images, by column, and the number of calls.

    Args:
        model: The model.
        images: Images of the model's shape, uint8, shape [n, height, width, channels].
        conditions: What the model makes each image from, length n.
        asked: The scores.

    Raises:
        UnsupportedError: CLiD is asked of a model without a null condition.
    """
    passes = Passes(model, images, conditions)
    sweep = {timestep: passes.losses(passes.step(timestep), asked.noises) for timestep in asked.timesteps}
    means = [losses.mean(axis=0) for losses in sweep.values()]
    found = {"loss": np.stack(means, axis=1) if means else np.empty((len(images), 0))}
    if asked.secmi is not None:
        found["secmi"] = secmi(passes, asked.secmi, asked.secmi_interval)
    if asked.pia is not None:
        step = passes.step(asked.pia)
        found["pia"] = pia(passes, step, passes.at_zero())
        found["pian"] = pia(passes, step, rescaled(passes.at_zero()))
    if asked.sima is not None:
        found["sima"] = sima(passes, passes.step(asked.sima))
    if asked.clid:
        if not model.guided:
            msg = "the model has no null condition, so conditions cannot be compared (CLiD)"
            raise UnsupportedError(msg, hint="Leave `clid` out for this model.")
        steps = [passes.step(timestep) for timestep in asked.clid]
        own = np.stack(
            [
                sweep[timestep][0] if timestep in sweep else passes.losses(step, 1)[0]
                for timestep, step in zip(asked.clid, steps, strict=True)
            ],
            axis=1,
        )
        found["conditional_gain"] = np.stack([passes.reduced_loss(step) for step in steps], axis=1) - own
        found["conditional_loss"] = own
    return found, passes.calls


def passes_per_image(asked: Parameters, reduced: int) -> int:
    """Return how often one image passes the network.

    Args:
        asked: The scores.
        reduced: Number of reduced conditions: 4 of a caption of three words or more, else 1.
    """
    steps = 0 if asked.secmi is None else -(-asked.secmi // asked.secmi_interval) + 2
    zero = 1 if asked.secmi is not None or asked.pia is not None else 0
    own = sum(timestep not in asked.timesteps for timestep in asked.clid)
    return (
        len(asked.timesteps) * asked.noises
        + zero
        + max(0, steps - 1)  # the first step of SecMI is the prediction at 0
        + (2 if asked.pia is not None else 0)
        + (1 if asked.sima is not None else 0)
        + own
        + len(asked.clid) * reduced
    )


def _check_finite(found: dict[str, NDArray[np.float64]], ids: NDArray[np.object_]) -> None:
    for name, values in found.items():
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if len(bad):
            msg = f"the model's answer for record '{ids[bad[0]]}' is not finite ({name})"
            raise UnsupportedError(msg, hint="The weights may be damaged, or the precision too low: try float32.")


def _same_passes(held: Need, have: Parameters, need: Need, asked: Parameters) -> bool:
    """Return whether one set of passes can hold both: what both ask for must be asked alike."""
    pairs = ((have.secmi, asked.secmi), (have.pia, asked.pia), (have.sima, asked.sima))
    alike = all(one is None or other is None or one == other for one, other in pairs)
    interval = have.secmi is None or asked.secmi is None or have.secmi_interval == asked.secmi_interval
    clid = not have.clid or not asked.clid or have.clid == asked.clid
    same = (held.dataset, held.model, have.noises) == (need.dataset, need.model, asked.noises)
    return same and alike and interval and clid


def _union(have: Parameters, asked: Parameters) -> Parameters:
    """Return parameters that hold both; an interval without SecMI changes nothing and is left out."""
    chain = have if have.secmi is not None else asked
    return Parameters(
        records=None if have.records is None or asked.records is None else max(have.records, asked.records),
        timesteps=tuple(sorted({*have.timesteps, *asked.timesteps})),
        noises=have.noises,
        secmi=chain.secmi,
        secmi_interval=chain.secmi_interval if chain.secmi is not None else 10,
        pia=have.pia if have.pia is not None else asked.pia,
        sima=have.sima if have.sima is not None else asked.sima,
        clid=have.clid or asked.clid,
    )


def _listed(values: NDArray[Any], kind: pa.DataType) -> pa.ListArray:
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel(), type=kind))


def _public(everything: ImageSet, rows: slice, asked: Parameters, found: dict[str, NDArray[np.float64]]) -> pa.Table:
    columns: dict[str, Any] = {
        "id": pa.array(everything.ids[rows].tolist(), type=pa.string()),
        "cluster": pa.array(everything.clusters[rows].tolist(), type=pa.string()),
        "copies": pa.array(everything.copies[rows], type=pa.int32()),
        "source": pa.array(everything.sources[rows].tolist(), type=pa.string()),
    }
    count = len(columns["id"])
    steps = {"loss": ("timestep", asked.timesteps), "conditional_gain": ("clid_timestep", asked.clid)}
    for name, values in found.items():
        if name in steps:
            column, chosen = steps[name]
            columns[column] = _listed(np.tile(np.array(chosen, dtype=np.int32), (count, 1)), pa.int32())
        columns[name] = pa.array(values, type=pa.float64()) if values.ndim == 1 else _listed(values, pa.float64())
    return pa.table(columns)


OBSERVER = DenoisingScoresObserver()
