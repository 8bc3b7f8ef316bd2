"""A model card with the outcomes of an audit: results in its front matter, a section under Evaluation, a line under Risks.

The headings are those of Hugging Face's template. What stands between the markers is written anew every time; all else is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from auditor.core.finding import Outcome
from auditor.errors import DataError
from auditor.exchange.front_matter import DATASET_TYPE, results_in, split_card
from auditor.exchange.markdown import escaped, headings, split_lines, without
from auditor.exchange.source import TOOL, line, of_the_data, tolerated, worded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditor.core.finding import Estimate, Finding, Measurement
    from auditor.exchange.source import Source

EVALUATION = ("<!-- memorization-audit:start -->", "<!-- memorization-audit:end -->")
RISKS = ("<!-- memorization-audit-risks:start -->", "<!-- memorization-audit-risks:end -->")


class _Part(NamedTuple):
    """A part of the text that is ours."""

    markers: tuple[str, str]
    under: tuple[str, ...]
    """Headings it may stand under, in lower case, the first that is there."""
    title: str
    """The heading that is written where none of them is there."""
    whole: bool
    """It stands after the subsections, too."""


_RISKS = _Part(
    RISKS,
    (
        "bias, risks, and limitations",
        "bias, risks and limitations",
        "risks and limitations",
        "limitations",
        "risks",
        "intended uses & limitations",
    ),
    "Bias, Risks, and Limitations",
    whole=False,
)
_EVALUATION = _Part(EVALUATION, ("evaluation", "evaluation results"), "Evaluation", whole=True)


def attached(card: str, source: Source, *, where: str = "README.md", url: str = "") -> str:
    """Return a model card with the outcomes of an audit in it; those of an earlier one are replaced.

    Args:
        card: The model card, as it is.
        source: The bundle.
        where: The file, for messages.
        url: Address where the report can be had; empty: none is named.

    Raises:
        DataError: The front matter cannot be read, `model-index` is written in a form that cannot be added to, or markers are broken.
    """
    made = _written(card, source, where, url)
    if _written(made, source, where, url) != made:
        msg = f"{where}: what is put into this file cannot be found again"
        raise DataError(msg, hint="A block of code (```), a comment (<!--) or a heading is not closed; close it.")
    return made


def _written(card: str, source: Source, where: str, url: str) -> str:
    if card.startswith("\ufeff"):
        msg = f"{where}:1: begins with a byte order mark, and so its front matter is not read"
        raise DataError(msg, hint="Save the file as UTF-8 without a byte order mark.")
    newline = "\r\n" if "\r\n" in card else "\n"
    parts = split_card(card)
    before = len(split_lines(parts.opening))
    settings = results_in(parts.settings, line(source.subject.name), result_of(source, url), newline, where, before)
    offset = before + len(split_lines(parts.settings))
    body = [*["\n"] * offset, *split_lines(parts.rest)]  # so that messages name the lines of the file
    for markers in (RISKS, EVALUATION):
        body = without(body, *markers, where)
    del body[:offset]
    # Both places are found in the text of others alone, and filled from below, so that neither part comes to lie in the other.
    ours = [
        _placed(body, _EVALUATION, lambda level: _section(source, url, level)),
        _placed(body, _RISKS, lambda _: [_risk(source)]),
    ]
    if body and not body[-1].endswith(("\n", "\r")):
        body[-1] += newline
    for place, lines in sorted(ours, key=lambda part: part[0], reverse=True):
        body[place:place] = [f"{text}{newline}" for text in lines]
    opening, closing = (parts.opening, "") if parts.opening else (f"---{newline}", f"---{newline}")
    return opening + settings + closing + "".join(body)


def result_of(source: Source, url: str = "") -> dict[str, Any]:
    """Return the entry of `model-index`: one metric for each finding that has a number, with its interval and control."""
    members = source.subject.members
    images = members.modality == "image"
    metrics = [
        _metric(finding, finding.measurement, finding.measurement.estimate)
        for finding in source.findings
        if finding.measurement and finding.measurement.estimate
    ]
    result: dict[str, Any] = {
        "task": {
            "type": "unconditional-image-generation" if images else "text-generation",
            "name": "Memorization audit",
        },
        "dataset": {
            "type": DATASET_TYPE,
            "name": f"{members.records} member records ({members.digest[:16]})",
            "args": {
                "members": members.digest,
                "controls": source.subject.controls.digest if source.subject.controls else None,
                "policy": f"{line(source.policy.id)}, version {source.policy.version}",
                "bundle": source.bundle,
            },
        },
        "metrics": metrics,
    }
    if url:
        result["source"] = {"name": f"{TOOL} {source.auditor}", "url": url}
    return result


def _metric(finding: Finding, measured: Measurement, found: Estimate) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "outcome": finding.outcome.value,
        "low": found.low,
        "high": found.high,
        "level": found.level,
        "n": found.n,
        "unit": line(found.unit),
    }
    if measured.control is not None:
        arguments["control"] = {part: getattr(measured.control, part) for part in ("value", "low", "high", "n")}
    if finding.tolerance is not None:
        arguments["tolerance"] = finding.tolerance.at_most
    return {"type": finding.test, "value": found.value, "name": line(measured.title), "args": arguments}


def _placed(body: Sequence[str], part: _Part, content: Callable[[int], list[str]]) -> tuple[int, list[str]]:
    """Return where a part goes, the end of its section or of the text, and its lines without their ends.

    Args:
        body: The text of others.
        part: What is put in; with its heading, if the text has none.
        content: Its lines, for the level of the heading it stands under.
    """
    found = headings(body)
    heading = next((item for name in part.under for item in found if item.text == name), None)
    if heading is None:
        place, said = len(body), [f"## {part.title}", "", *content(2)]
    else:
        after = (
            item.line for item in found if item.line > heading.line and (not part.whole or item.level <= heading.level)
        )
        place, said = next(after, len(body)), content(heading.level)
    return place, [part.markers[0], *said, part.markers[1]]


def _risk(source: Source) -> str:
    signals = [finding for finding in source.findings if finding.outcome is Outcome.SIGNAL]
    about = f"policy {escaped(line(source.policy.id))}, version {source.policy.version}, {source.moment:%Y-%m-%d}"
    if signals:
        names = "; ".join(escaped(line(item.measurement.title if item.measurement else item.test)) for item in signals)
        said = f"{len(signals)} of {len(source.findings)} tests ended with a signal: {names}"
    else:
        said = (
            f"none of {len(source.findings)} tests ended with a signal, which does not show that nothing can come out"
        )
    asked = f"**Memorization.** An audit ({about}) asked what this model remembers of its training data"
    return f"{asked}: {said}. Outcomes, and what was not tested, stand under Evaluation."


_OUTCOMES = (
    "`signal`: more came out than the control explains. `no_signal`: nothing above the tolerance was found with this sample. "
    "`inconclusive`: the sample shows neither. `invalid`: a control failed. `not_run`: asked for and not done."
)


def _section(source: Source, url: str, level: int) -> list[str]:
    head = (
        f"What this model remembers of its training data, audited on {source.moment:%Y-%m-%d} with {TOOL} {source.auditor}, "
        f"policy {escaped(line(source.policy.id))}, version {source.policy.version}. To be read again after {source.expires:%Y-%m-%d}."
    )
    columns = ["| Test | Members | Controls | Tolerance | Outcome |", "|---|---|---|---|---|"]
    rows = [_row(finding) for finding in source.findings]
    lines = [f"{'#' * min(level + 1, 6)} Memorization audit", "", head, "", *columns, *rows, "", _OUTCOMES]
    untested = source.assessment.attack_classes_not_tested
    if untested:
        lines += ["", "Not tested: " + "; ".join(escaped(line(name)) for name in untested) + "."]
    if source.assessment.limits:
        lines += ["", *(f"- {escaped(line(text))}" for text in source.assessment.limits)]
    report = f"[report]({url})" if url else "report"
    digests = (
        f"Model `{source.subject.model.digest}`, bundle `{source.bundle}`, {report} `{source.digests['report.pdf']}` (SHA-256), "
        f"sealed with the key of certificate `{source.signer}`. To check a bundle: `auditor verify BUNDLE --trust CERTIFICATE`."
    )
    return [*lines, "", digests]


def _row(finding: Finding) -> str:
    measured = finding.measurement
    title = escaped(line(measured.title)) if measured else finding.test
    title += " (training data alone)" if of_the_data(finding) else ""
    members = worded(measured.estimate) if measured else escaped(line(finding.reason))
    controls = worded(measured.control) if measured else ""
    required = "" if finding.required else " (not required)"
    cells = [title, members, controls, escaped(tolerated(finding)), f"`{finding.outcome.value}`{required}"]
    return f"| {' | '.join(cells)} |"
