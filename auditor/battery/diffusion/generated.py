"""What a model made, matched in pairs: which records came out, by which rule, at thresholds that real images fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from auditor.core.evidence import Need
from auditor.core.finding import Estimate, Figure, Gate, Power, Series
from auditor.errors import IntegrityError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from auditor.contract.protocol import Facts
    from auditor.evidence.table import ObservedTable

Rule = Literal["distance", "tiled", "ratio", "sscd"]
RULES: dict[Rule, str] = {
    "distance": "l2",
    "tiled": "tiled l2",
    "ratio": "normalised distance",
}
"""What is held against a threshold, and how it is called."""
EMBEDDED: dict[Rule, str] = {"sscd": "1 - SSCD similarity"}
"""What is held against a threshold beside them where embeddings were asked for."""
LEAST_SIMILARITY = 0.5
"""SSCD similarity below which nothing counts as a copy, whatever real images have (Somepalli et al. 2023)."""
PUBLISHED = {0.5: "where Somepalli et al. (2023) count replication", 0.75: "90 % precision on its makers' benchmark"}
"""Published levels of SSCD similarity, and what each means."""
BINS = 24


@dataclass(frozen=True, slots=True)
class Side:
    """The records of one side that were matched against; arrays of shape [records]."""

    ids: NDArray[np.object_]
    clusters: NDArray[np.object_]
    """Persons or documents; those that share a picture are one, for they come out together."""
    first: NDArray[np.int64]
    """Position of the first record with the same picture: the one that images are matched to."""
    copies: NDArray[np.int64]
    sources: NDArray[np.object_]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Real:
    """Real images, each matched against the other side: as near as two images come that have nothing to do with each other."""

    members: Side
    controls: Side
    apart: dict[Rule, NDArray[np.float64]]
    """Of both sides, by rule."""

    def threshold(self, rule: Rule, quantile: float) -> float:
        """Return the largest value that at most a share `quantile` of the real images reach; the smallest value if none may."""
        limit = float(np.quantile(self.apart[rule], quantile, method="lower"))
        return min(limit, 1.0 - LEAST_SIMILARITY) if rule == "sscd" else limit


@dataclass(frozen=True, slots=True)
class Generated:
    """Images that a model made, with the nearest record of either side; arrays of shape [images]."""

    asked: NDArray[np.object_]
    nearest: dict[str, NDArray[np.int64]]
    """Position of the nearest record among those of its side, by `members` and `controls`; `sscd members` by embedding."""
    to_members: dict[Rule, NDArray[np.float64]]
    to_controls: dict[Rule, NDArray[np.float64]]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.asked)

    def matches(self, rule: Rule, threshold: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which images match a member, and which a control: within the threshold, and nearer than to the other side."""
        m, c = self.to_members[rule], self.to_controls[rule]
        return (m <= threshold) & (m < c), (c <= threshold) & (c < m)

    def hits(
        self,
        side: Literal["members", "controls"],
        matched: NDArray[np.bool_],
        records: Side,
        rule: Rule = "distance",
    ) -> NDArray[np.int64]:
        """Return how many images match the picture of each record of a side by a rule, shape [records]."""
        counts = np.bincount(self.places(side, rule)[matched], minlength=len(records)).astype(np.int64)
        return np.asarray(counts[records.first])

    def places(self, side: Literal["members", "controls"], rule: Rule) -> NDArray[np.int64]:
        """Return the position of the nearest record of a side: by pixels, or by embedding if that is the rule."""
        return self.nearest[f"{rule} {side}" if rule in EMBEDDED else side]


def read_real(table: ObservedTable, rules: Iterable[Rule] = tuple(RULES)) -> Real:
    """Return an observation of `image-matches`, with the values that these rules hold against a threshold.

    Raises:
        IntegrityError: There is no record on one side.
    """
    member = table.column("member").astype(np.bool_)
    if not member.any() or member.all():
        msg = "an observation of image matches holds no record of one side"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")

    def side(chosen: NDArray[np.bool_]) -> Side:
        ids = table.column("id")[chosen]
        places = {record: place for place, record in enumerate(ids.tolist())}
        first = np.array(
            [places.get(record, -1) for record in table.column("same_as")[chosen].tolist()], dtype=np.int64
        )
        if (first < 0).any():
            msg = "an image match names a record of the same picture that is not there"
            raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
        return Side(
            ids=ids,
            clusters=_merged(table.column("cluster")[chosen].astype(str), first),
            first=first,
            copies=table.column("copies")[chosen].astype(np.int64),
            sources=table.column("source")[chosen],
        )

    apart = {rule: np.asarray(table.column(rule), dtype=np.float64) for rule in rules}
    return Real(side(member), side(~member), apart)


def _merged(clusters: NDArray[np.str_], first: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return clusters, of which those that share a picture have the name of one of them."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for own, place in zip(clusters.tolist(), first.tolist(), strict=True):
        parent[root(own)] = root(str(clusters[place]))
    return np.array([root(name) for name in clusters.tolist()], dtype=object)


def read_generated(table: ObservedTable, real: Real, count: int) -> Generated:
    """Return an observation of `generations`: its first `count` images.

    Raises:
        IntegrityError: An image is matched to a record that was not among those matched against.
    """
    nearest = {}
    prefixes = ["", *(f"{rule} " for rule in EMBEDDED if rule in real.apart)]
    for name, side in (("member", real.members), ("control", real.controls)):
        places = {record: place for place, record in enumerate(side.ids.tolist())}
        for prefix in prefixes:
            column = "_".join([name, *prefix.split(), "id"])
            found = [places.get(record, -1) for record in table.column(column)[:count].tolist()]
            if -1 in found:
                msg = f"an image is matched to a {name} that is not among the records matched against"
                hint = "The bundle is damaged, or its parameters are not those of its evidence."
                raise IntegrityError(msg, hint=hint)
            nearest[f"{prefix}{name}s"] = np.array(found, dtype=np.int64)
    distances = [
        {rule: np.asarray(table.column(f"{name}_{rule}")[:count], dtype=np.float64) for rule in real.apart}
        for name in ("member", "control")
    ]
    return Generated(table.column("asked")[:count], nearest, *distances)


def allowed_share(quantile: float | None, count: int) -> float:
    """Return the share of real images that may lie within the threshold: as asked, or one in `count`, at most one in a hundred.

    A model that remembers nothing makes images about as near to a side as real ones are: then about one of `count` matches by chance.
    """
    return min(0.01, 1.0 / count) if quantile is None else quantile


def deciding(rule: Rule, facts: Facts) -> Rule:
    """Return the rule that decides; the control models of the instrument make images too small for an embedding."""
    return "distance" if facts.instrument and rule in EMBEDDED else rule


def rules_asked(rule: Rule, embedding: str, facts: Facts) -> dict[Rule, str]:
    """Return the rules that images are matched by, and how each is called."""
    return {**RULES, **EMBEDDED} if "sscd" in {rule, embedding} and not facts.instrument else RULES


def at_least_one(found: Estimate, budget: int) -> Estimate:
    """Return the probability that one of `budget` images matches, from the share of images that do."""

    def of_share(share: float) -> float:
        return float(-np.expm1(budget * np.log1p(-min(share, 1.0 - 1e-12))))

    ends = {name: of_share(getattr(found, name)) for name in ("value", "low", "high")}
    upper = None if found.upper is None else of_share(found.upper)
    return found.model_copy(update={**ends, "upper": upper, "method": f"1 - (1 - share)^{budget}, of {found.method}"})


def require_generator(facts: Facts) -> None:
    """Raise UnsupportedError where a subject makes no images or has no controls to match them against."""
    if facts.subject.controls is None:
        msg = "the subject has no control records, so a match by chance cannot be told from memory"
        raise UnsupportedError(msg, hint="Supply held-out images of the same distribution as data.controls.")
    if "generates-images" not in facts.subject.model.capabilities:
        msg = "the model cannot be asked to make images"
        raise UnsupportedError(msg, hint="Audit the pipeline itself, with the adapter `diffusion`.")


def blind_need(facts: Facts, records: int | None) -> Need:
    """Return the need of the blind baseline, as the membership tests have it."""
    captions = "conditions-on-text" in facts.subject.model.capabilities
    return Need(
        observer="image-blind-baseline",
        dataset="members+controls",
        model=None,
        parameters={"records": records, "captions": captions},
    )


def blind_names(facts: Facts) -> tuple[str, ...]:
    """Return the blind classifiers that matter to what a model makes: of pixels, and of captions where it is asked for them."""
    return ("pixels", "captions") if "conditions-on-text" in facts.subject.model.capabilities else ("pixels",)


def matched_clusters(facts: Facts, records: int | None) -> int:
    """Return about how many independent units of each side are matched against."""
    sides = []
    for identity in (facts.subject.members, facts.subject.controls):
        if identity is not None:
            share = 1.0 if records is None else min(1.0, records / max(identity.records, 1))
            sides.append(max(1, round(identity.clusters * share)))
    return min(sides)


def threshold_gate(threshold: float, quantile: float, real: Real) -> Gate:
    """Return the gate that real images leave a threshold: two sides that share images leave none."""
    same = int((real.apart["distance"] == 0.0).sum())
    return Gate(
        name="calibrated threshold",
        held=threshold > 0.0,
        on_failure="inconclusive",
        detail=(
            f"l2 {threshold:.4f}, the {100 * quantile:.3g} % quantile of the distances of {len(real.members) + len(real.controls):,} "
            f"real images to the nearest of the other side; {same:,} of them stand on both sides"
        ),
    )


def distances_figure(made: Generated, threshold: float) -> Figure:
    """Return how far what was made lies from either side, as a histogram."""
    both = np.concatenate([made.to_members["distance"], made.to_controls["distance"]])
    edges = np.linspace(0.0, max(float(both.max()), threshold, 1e-6), BINS + 1)
    middles = tuple((edges[:-1] + edges[1:]) / 2)
    counts = [np.histogram(one["distance"], edges)[0] for one in (made.to_members, made.to_controls)]
    top = float(max(int(count.max()) for count in counts))
    names: Sequence[tuple[str, Literal["members", "controls"]]] = (
        ("nearest member", "members"),
        ("nearest control", "controls"),
    )
    series = [
        Series(name=name, x=middles, y=tuple(float(value) for value in count), role=role)
        for (name, role), count in zip(names, counts, strict=True)
    ]
    series.append(Series(name="threshold", x=(threshold, threshold), y=(0.0, top), role="limit"))
    below = [int((one["distance"] <= threshold).sum()) for one in (made.to_members, made.to_controls)]
    return Figure(
        kind="histogram",
        title="Distance of what was made to the nearest record",
        x_label="l2 to the nearest record (pixels in 0 to 1)",
        y_label="images",
        series=tuple(series),
        caption=(
            f"Of {len(made):,} images {below[0]:,} lie within the threshold of {threshold:.3f} of a member and {below[1]:,} of a "
            "control; a model that remembers nothing makes the two lines alike."
        ),
    )


def unmeasurable(reason: str) -> Power:
    """Return the power of a sample that can show nothing."""
    return Power(smallest_effect=1.0, unit="ratio", probability=0.8, statement=reason)
