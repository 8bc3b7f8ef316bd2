"""Makes findings, measurements and clauses of every kind."""

from __future__ import annotations

from auditor.core.clause import Catalogue, Clause, ClauseKind, StatementForm, Verification
from auditor.core.finding import Estimate, Exhibit, Figure, Finding, Gate, Measurement, Outcome, Power, Series, Stratum
from auditor.core.policy import Least, Policy, QueryBudget, TestEntry, Tolerance
from auditor.core.subject import DatasetIdentity, ModelIdentity, ReleaseContext, Subject

DIGEST = "cd" * 32


def estimate(value, low, high, unit="ratio", n=3000):
    return Estimate(value=value, low=low, high=high, level=0.95, unit=unit, method="made", n=n)


def measurement(name="t/a", **changes):
    values = {
        "test": name,
        "test_version": 1,
        "title": f"Title of {name}",
        "statistic": "excess_rate",
        "question": "Is it so?",
        "answer": "It is 0.1 %.",
        "estimate": estimate(0.0005, 0.0, 0.001),
        "control": estimate(0.0, 0.0, 0.001),
        "excess": estimate(0.0005, -0.0005, 0.001),
        "p_value": 0.5,
        "members": 3000,
        "controls": 3000,
        "power": Power(smallest_effect=0.001, unit="ratio", probability=0.8, statement="It could have shown 0.1 %."),
        "method": "By counting.",
        "advice": "Count less.",
        "source": "Somebody (2024).",
        "observations": (DIGEST,),
    }
    return Measurement(**(values | changes))


def tolerance(**changes):
    values = {
        "statistic": "excess_rate",
        "at_most": 0.001,
        "population": "records",
        "reason": "r",
        "set_by": "controller",
    }
    return Tolerance(**(values | changes))


def entry(name="t/a", **changes):
    values = {
        "test": name,
        "tolerance": tolerance(),
        "evidence_for": ("C-1",),
        "least": Least(members=2995, controls=2995),
    }
    return TestEntry(**(values | changes))


def clause(name="C-1", **changes):
    values = {
        "id": name,
        "reference": "para 1",
        "title": "A clause",
        "paraphrase": "It asks something.",
        "kind": ClauseKind.HYBRID,
        "shows": "something",
        "tests": ("t/a",),
        "statement": StatementForm(form="f"),
        "verification": Verification(verified=False, level="recall", paragraph_confirmed=False),
    }
    return Clause(**(values | changes))


def catalogue(*clauses):
    return Catalogue(
        id="c",
        instrument="An instrument",
        force="an opinion",
        version="1",
        issued="2024-12-17",
        status="in use",
        source="https://example.org",
        review_by="2027-01-01",
        compiled="2026-01-01",
        clauses=clauses or (clause(),),
    )


def policy(*entries, statements=("C-1",)):
    return Policy(
        id="p",
        version=1,
        title="P",
        catalogues=("c",),
        seed=1,
        queries=QueryBudget(per_subject=10, lifetime=100, reason="r"),
        tests=entries or (entry(),),
        statements=statements,
    )


def subject(**changes):
    identity = DatasetIdentity(
        digest=DIGEST, files=(), records=10, clusters=10, has_copies=changes.pop("has_copies", False)
    )
    model = ModelIdentity(adapter="control", dtype="float32", files=(), digest=DIGEST)
    values = {
        "name": "s",
        "controller": "c",
        "release_context": ReleaseContext.PUBLIC_API,
        "model": model,
        "members": identity,
        "controls": identity,
    }
    return Subject(**(values | changes))


def finding(outcome=Outcome.SIGNAL, name="t/a", **changes):
    has = outcome not in {Outcome.NOT_RUN, Outcome.NOT_APPLICABLE}
    values = {
        "test": name,
        "outcome": outcome,
        "reason": "Because.",
        "required": True,
        "tolerance": tolerance(),
        "p_adjusted": 0.01 if has else None,
        "battery": 4,
        "evidence_for": ("C-1",),
        "measurement": measurement(name) if has else None,
    }
    return Finding(**(values | changes))


def figures():
    points = {"x": (1.0, 2.0, 4.0), "y": (0.1, 0.3, 0.8), "low": (0.0, 0.1, 0.5), "high": (0.2, 0.5, 0.9)}
    both = (Series(name="members", role="members", **points), Series(name="controls", role="controls", **points))
    limit = Series(name="limit", x=(1.0, 4.0), y=(0.5, 0.5), role="limit")
    kinds = {"intervals": "log2", "survival": "log", "roc": "log", "by-repetition": "log2"}
    return tuple(
        Figure(
            kind=kind,
            title=f"A figure of {kind}",
            x_label="x",
            y_label="y",
            series=(*both, limit),
            x_scale=scale,
            y_scale="log" if kind == "roc" else "linear",
            caption=f"What a {kind} figure shows in words.",
        )
        for kind, scale in kinds.items()
    )


PICTURE = (  # two grey squares
    "iVBORw0KGgoAAAANSUhEUgAAADQAAAAYCAAAAACQfYF6AAAAJElEQVR4nGOMYsAOljIwMKTikGPCIY4XjGoa1TSqaVTT4NAEAEmZAZQMqllqAAAAAElFTkSuQmCC"
)


def full_measurement(name="t/a", text="plain"):
    return measurement(
        name,
        figures=figures(),
        strata=tuple(Stratum(by="copies", label=str(i), estimate=estimate(0.1, 0.0, 0.2)) for i in (1, 2)),
        gates=(Gate(name="a gate", held=False, on_failure="inconclusive", detail=text),),
        exhibits=(
            Exhibit(record="r1", excerpt=text, note="n"),
            Exhibit(record="r2", excerpt="made beside the record", note="l2 0.01", picture=PICTURE),
        ),
        caveats=("It says little.",),
    )
