"""What is printed of the same canaries audited by memaudit and by this tool: how far both agree, and what one of them alone reports."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

from auditor.statistics.operating_point import least_controls, tpr_at_fpr
from auditor.statistics.roc import auc_interval

if TYPE_CHECKING:
    from beside_memaudit import Found, Work

    from auditor.core.finding import Measurement

FPR = 0.01
FRACTIONS = (0.25, 0.5)


def agreement(report: dict[str, Any], found: Found, where: dict[str, tuple[int, int]], work: Work) -> None:
    """Print both rates and areas with their intervals, and how far the scores lie apart."""
    rows = {row["id"]: row for row in report["per_canary"]}
    apart = max(abs(rows[name]["scores"]["masked_nll"] - found.loss[name]) for name in where)
    sides = {flag: [name for name, row in rows.items() if row["included"] == flag] for flag in (True, False)}
    print(f"largest difference of a loss on a secret: {apart:.1e} nat")
    inexact = sum(
        importlib.import_module("memaudit.utils").find_subsequence(
            work.tokenizer.encode(f"MEMAUDIT RECOVERY PHRASE: {c['secret']}"), list(c["secret_token_ids"])
        )
        is None
        for c in work.manifest["canaries"]
    )
    print(f"secrets whose tokens memaudit does not find in their record, so that it guesses the place: {inexact}")
    theirs_scores = {name: rows[name]["scores"]["headline_score"] for name in rows}
    claimed = report["membership"]
    print(
        f"memaudit: TPR at 1 % FPR {claimed['exploratory_tpr']:.3f} [{claimed['exploratory_ci_low']:.3f}, "
        f"{claimed['exploratory_ci_high']:.3f}], AUC {claimed['auc']:.4f} (no interval)"
    )
    both = {}
    for name, scores in (("memaudit's scores", theirs_scores), ("our scores", found.score)):
        members, controls = ([scores[one] for one in sides[flag]] for flag in (True, False))
        area = auc_interval(members, controls)
        text = f"  {name}, our statistics: AUC {area.value:.4f} [{area.low:.4f}, {area.high:.4f}]"
        if len(controls) >= least_controls(FPR):
            point = tpr_at_fpr(members, controls, FPR).tpr
            both[name] = (point, area)
            text += f", TPR {point.value:.3f} [{point.low:.3f}, {point.high:.3f}]"
        print(text)
    point, area = both["our scores"]
    tpr_within = point.low <= claimed["exploratory_tpr"] <= point.high
    held = tpr_within and claimed["exploratory_ci_low"] <= point.value <= claimed["exploratory_ci_high"]
    within = area.low <= claimed["auc"] <= area.high
    print(f"TPR each within the other's interval: {held}; memaudit's AUC within ours: {within}")


def regurgitation(report: dict[str, Any], prompted: dict[str, tuple[bool, bool]], passed: Found, work: Work) -> None:
    """Print how many planted canaries come out, by memaudit, by the same prompts in batches, and after the record's own beginning."""
    rows = {row["id"]: row for row in report["per_canary"]}
    planted = [c["id"] for c in work.manifest["canaries"] if c["included"]]
    exact = sum(any(part["exact"] for part in rows[name]["regurgitation"]["by_prefix"]) for name in planted)
    anyhow = sum(rows[name]["regurgitation"]["regurgitated"] for name in planted)
    print(
        f"\nregurgitated of {len(planted)}: memaudit {exact} word for word, {anyhow} nearly; the same prompts in batches "
        f"{sum(prompted[name][0] for name in planted)} and {sum(prompted[name][1] for name in planted)}"
    )
    whole = sum(any(passed.said[name, share] for share in FRACTIONS) for name in planted)
    controls = sum(
        any(passed.said[c["id"], share] for share in FRACTIONS) for c in work.manifest["canaries"] if not c["included"]
    )
    print(
        f"after the beginning that stood before the secret in training, by the scoring pass alone: {whole} (controls {controls})"
    )


def keys_of(value: Any, path: str = "") -> set[str]:
    """Return the dotted names of everything in a report."""
    if isinstance(value, dict):
        return {path} | {key for name, item in value.items() for key in keys_of(item, f"{path}.{name}")}
    if isinstance(value, list):
        return {path} | {key for item in value[:3] for key in keys_of(item, f"{path}[]")}
    return {path}


def only_ours(found: Measurement, report: dict[str, Any]) -> None:
    """Print what our finding has and no key of memaudit's report does, and the other way round."""
    keys = keys_of(report)
    strata = {stratum.by for stratum in found.strata}
    rows = (
        (
            "an interval of the area under the ROC curve",
            any("area" in by for by in strata),
            r"auc\w*\.?\w*(ci|low|interval|se$)",
        ),
        ("an interval of the false positive rate", found.control is not None, r"fpr\w*[._](ci|low|interval)"),
        ("the excess over chance, with an interval", found.excess is not None, r"excess|advantage"),
        (
            "a p-value for the canaries, corrected for trying several scores",
            found.p_value is not None,
            r"membership.*(p_value|pvalue|adjusted)",
        ),
        ("classifiers that never see the model, as a gate", bool(found.gates), r"blind|bag_of_words|model_free"),
        (
            "the smallest effect that these canaries could have shown",
            found.power is not None,
            r"power\b|detectable|mde",
        ),
        (
            "what the whole set shows, learned on other folds (dataset inference)",
            any("whole set" in by for by in strata),
            r"dataset_inference|whole_set",
        ),
        ("the outcome against a tolerance that a policy set before the run", True, r"tolerance|verdict|outcome"),
        (
            "a memorizer and an innocent that the same test was tried on in the same audit",
            True,
            r"memorizer|positive_control|innocent",
        ),
        ("a signature over report and evidence", True, r"signature$|dsse|public_key"),
        ("evidence from which the numbers can be measured again without the model", True, r"evidence\.|shards|merkle"),
    )
    print("\nOnly this tool reports (looked for in memaudit's report by name):")
    for what, here, pattern in rows:
        theirs_too = sorted(key for key in keys if re.search(pattern, key))
        if here and not theirs_too:
            print(f"  - {what}")
        else:
            print(f"  ? {what}: ours {here}, memaudit {theirs_too[:2]}")
    both = ("membership.calibration_stability", "membership.by_repetition", "preflight", "compliance_annex")
    print("Only memaudit reports:", ", ".join(name for name in both if any(name in key for key in keys)))
