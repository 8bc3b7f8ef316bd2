"""The audit at a glance: tests by strata, clauses by prong, and who answers for what."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from auditor.core.assessment import StatementState
from auditor.core.finding import Outcome
from auditor.report.writing import OUTCOMES, STATEMENTS, estimate, outcome, plural, statement_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.core.assessment import Assessment, ClauseState
    from auditor.core.clause import Catalogue
    from auditor.core.finding import Finding
    from auditor.core.subject import Subject
    from auditor.report.view import ReportInput

MOST_COLUMNS = 2
"""Kinds of strata with a column of their own; the others share one."""
MOST_OTHERS = 3
"""Kinds of strata shown in that one."""
PRONGS = {1: "Prong 1: direct extraction", 2: "Prong 2: obtained by asking", None: "Not tied to one prong"}
"""The two prongs of EDPB Opinion 28/2024, paragraph 43."""


def counts(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return how many tests have each outcome, the gravest first."""
    found = Counter(item.outcome for item in findings)
    return [{**(outcome(value) or {}), "count": found[value]} for value in OUTCOMES if found[value]]


def headline(findings: Sequence[Finding]) -> dict[str, str]:
    """Return the gravest outcome of the battery."""
    present = {item.outcome for item in findings}
    return next((outcome(value) or {} for value in OUTCOMES if value in present), {})


def summary(source: ReportInput) -> dict[str, Any]:
    """Return the conclusions: the two prongs, what else holds for the whole audit, then what single tests say.

    Every sentence of the assessment is printed once, in the assessment's own words.
    """
    tests = {item.test: index for index, item in enumerate(source.findings, start=1)}
    titles = {item.test: item.measurement.title for item in source.findings if item.measurement is not None}
    prongs = [
        {"title": PRONGS[item.prong], "outcome": outcome(item.outcome), "text": item.sentence}
        for item in source.assessment.prongs
    ]
    said = {item.sentence for item in source.assessment.prongs}
    general: list[dict[str, Any]] = []
    single: dict[str, dict[str, Any]] = {}
    for sentence in source.assessment.conclusion:
        test = sentence.partition(" ")[0]
        if sentence in said:
            continue
        if test in tests:
            place = {"anchor": f"test-{tests[test]}", "title": titles.get(test, test), "sentences": []}
            single.setdefault(test, place)["sentences"].append(sentence)
        else:
            general.append({"text": sentence, "person": "Art. 33" in sentence})
    general.sort(key=lambda item: not item["person"])  # what cannot wait stands first
    return {"prongs": prongs, "general": general, "single": list(single.values())}


def conversions(source: ReportInput) -> list[dict[str, Any]]:
    """Return what a probability of one query becomes when the model is asked as often as declared."""
    return [
        {
            "test": item.test,
            "what": item.what,
            "asked": item.asked,
            "numbers": [
                (queries, estimate(found), estimate(control))
                for queries, found, control in (
                    (1, item.per_query, item.control_per_query),
                    (item.subject_queries, item.per_subject, item.control_per_subject),
                    (item.lifetime_queries, item.lifetime, item.control_lifetime),
                )
            ],
        }
        for item in source.assessment.conversions
    ]


def tiles(source: ReportInput) -> list[dict[str, str]]:
    """Return the few numbers that a reader asks for first."""
    clauses = source.assessment.clauses
    states = Counter(item.statement for item in clauses)
    asked = sum(states[state] for state in StatementState)
    tested = sum(item.outcome is not None for item in clauses)
    signals = sum(item.outcome is Outcome.SIGNAL for item in clauses)
    classes = source.assessment.attack_classes
    untested = sum(bool(item.not_tested) for item in classes)
    signalling = sum(item.outcome is Outcome.SIGNAL for item in source.findings)
    return [
        {"value": f"{signalling} of {len(source.findings)}", "label": "tests with a signal"},
        {"value": f"{signals} of {tested}", "label": "tested clauses with a signal"},
        {
            "value": f"{states[StatementState.MISSING]} of {asked}",
            "label": f"statements missing, {states[StatementState.CONTRADICTED]} contradicted",
        },
        {"value": f"{untested} of {len(classes)}", "label": "attack classes not tested"}
        if classes
        else {
            "value": str(len(source.assessment.attack_classes_not_tested)),
            "label": "attack classes and tests named by clauses and not tested",
        },
    ]


def strata_matrix(pages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return tests by kinds of strata: each cell the worst stratum, in words and shape.

    Args:
        pages: What `finding_page` made.
    """
    kinds = Counter(group["by"] for page in pages if page["measured"] for group in page["measured"]["groups"])
    shared = sorted((by for by, count in kinds.items() if count > 1), key=lambda by: (-kinds[by], by))[:MOST_COLUMNS]
    rows = []
    for page in pages:
        found = {group["by"]: group for group in page["measured"]["groups"]} if page["measured"] else {}
        rows.append(
            {
                "page": page,
                "cells": [found.get(by) for by in shared],
                "others": [group for by, group in found.items() if by not in shared][:MOST_OTHERS],
            }
        )
    return {"kinds": shared, "rows": rows}


def prong_matrix(catalogues: Sequence[Catalogue], clauses: Sequence[ClauseState]) -> dict[str, Any]:
    """Return catalogues by prong: how many clauses have each outcome, and their statements."""
    prongs = [prong for prong in PRONGS if any(item.clause.prong == prong for item in clauses)]
    rows = []
    for catalogue in catalogues:
        own = [item for item in clauses if item.catalogue == catalogue.id]
        rows.append(
            {
                "catalogue": catalogue,
                "all": len(own),
                "cells": [_outcomes([item for item in own if item.clause.prong == prong]) for prong in prongs],
                "statements": _statements(own),
            }
        )
    return {"prongs": [PRONGS[prong] for prong in prongs], "rows": rows}


def _outcomes(clauses: Sequence[ClauseState]) -> list[dict[str, Any]]:
    found = Counter(item.outcome for item in clauses)
    counted = [{**(outcome(value) or {}), "count": found[value]} for value in OUTCOMES if found[value]]
    if found[None]:
        counted.append({"class": "none", "shape": "\u00b7", "word": "no test", "count": found[None]})
    return counted


def _statements(clauses: Sequence[ClauseState]) -> list[dict[str, Any]]:
    found = Counter(item.statement for item in clauses)
    return [{**(statement_state(state) or {}), "count": found[state]} for state in STATEMENTS if found[state]]


def identification(source: ReportInput) -> list[dict[str, str]]:
    """Return what was audited, and by whose word each part of it stands here."""
    subject, model = source.subject, source.subject.model
    said, taken = f"declared by the controller ({subject.controller})", "measured by the tool from the files"
    answers = "said by the server; the weights were not seen"
    size = f", {model.parameters:,} parameters" if model.parameters else ""
    rows = [
        {"what": "Subject", "value": subject.name, "word": said, "digest": ""},
        {
            "what": "Model",
            "value": f"adapter {model.adapter}, {model.dtype}{size}, {plural(len(model.files), 'file')}",
            "word": taken if model.seen == "weights" else answers,
            "digest": model.digest,
        },
    ]
    rows += [
        {
            "what": f"Reference model {place}",
            "value": f"adapter {item.adapter}, {item.dtype}",
            "word": f"{taken}; that it never saw the members is {said}",
            "digest": item.digest,
        }
        for place, item in enumerate(subject.references)
    ]
    rows += _data(subject, said)
    if subject.canaries is not None:
        rows.append(
            {
                "what": "Canaries",
                "value": f"{subject.canaries.path}, {subject.canaries.bytes:,} bytes",
                "word": "planted by coins flipped before training, as their manifest says",
                "digest": subject.canaries.sha256,
            }
        )
    rows.append(
        {
            "what": "Release context",
            "value": subject.release_context.value,
            "word": f"{said}; never inferred",
            "digest": "",
        }
    )
    return rows


def _data(subject: Subject, said: str) -> list[dict[str, str]]:
    rows = []
    sets = (
        ("Members", subject.members, f"that they were in training is {said}"),
        ("Controls", subject.controls, f"drawn {subject.controls_drawn.replace('-', ' ')}: {said}"),
    )
    for what, identity, word in sets:
        if identity is None:
            rows.append({"what": what, "value": "none supplied", "word": said, "digest": ""})
            continue
        value = f"{plural(identity.records, 'record')}, {plural(identity.clusters, identity.clustered_by)} as independent units"
        rows.append(
            {"what": what, "value": value, "word": f"files measured by the tool; {word}", "digest": identity.digest}
        )
    return rows


def responsibilities(source: ReportInput, assessment: Assessment) -> list[dict[str, str]]:
    """Return who answers for what in this report."""
    own = sum(item.tolerance is not None and item.tolerance.set_by != "engineering default" for item in source.findings)
    named = sum(item.tolerance is not None for item in source.findings)
    return [
        {
            "who": f"Controller: {source.subject.controller}",
            "what": "Data, statements, release context and tolerances. "
            f"{own} of {named} tolerances are the controller's word, the others engineering defaults to be justified or replaced.",
        },
        {
            "who": f"Operator: {source.environment['operator']}",
            "what": "Ran the procedures named here and keeps the evidence. "
            "Whether the operator is independent of the controller is not checked.",
        },
        {
            "who": f"Signer: {source.signer or 'nobody, this copy was made without a key'}",
            "what": "Seals what was found; the seal is no opinion on the model.",
        },
        {
            "who": "The tool",
            "what": f"Measured {plural(len(source.findings), 'test')} and mapped them to {plural(len(assessment.clauses), 'clause')}; "
            "every sentence of the summary is a template filled with numbers.",
        },
    ]
