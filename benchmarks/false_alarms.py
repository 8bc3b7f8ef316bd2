"""False alarms of the whole battery of a language model, corrected as a policy's is, over many innocent audits.

    python benchmarks/false_alarms.py [--audits 400] [--processes 2]

The evidence of each is drawn as the gate's test draws it (`tests/battery/innocent_audits.py`): there is something to find, as often
in controls as in members. Gates are left out, for they can only keep a signal back.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from pathlib import Path

from auditor.statistics.rate_interval import clopper_pearson

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "battery"), str(ROOT)]


def main() -> None:
    from innocent_audits import ALPHA, Evidence, audit, battery, stood_in_for

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audits", type=int, default=400)
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    with multiprocessing.Pool(asked.processes) as workers:
        audits = workers.map(audit, range(asked.audits), chunksize=10)
    print(f"{asked.audits} innocent audits, {len(battery())} tests, alpha {ALPHA}")
    print(
        f"not drawn here, so a uniform p-value with an interval always above zero: {', '.join(stood_in_for()) or 'none'}"
    )
    for entry in battery():
        alone, held = (sum(entry.test in getattr(one, name) for one in audits) for name in ("alone", "corrected"))
        sure = sum(entry.test in one.confirmed for one in audits)
        print(f"{entry.test:36} alone {alone:4}   corrected {held:4}   persons confirmed {sure:4}")
    for name, text in (
        ("alone", "any test, uncorrected"),
        ("corrected", "whole battery, corrected (Holm)"),
        ("signals", "whole battery, corrected, or a person confirmed"),
    ):
        print(f"{text}: {_share([bool(getattr(one, name)) for one in audits])}")
    persons = [bool(one.confirmed) for seed, one in enumerate(audits) if Evidence(seed).of_persons]
    print(f"a person confirmed by mistake, where persons are declared: {_share(persons)}")


def _share(alarms: list[bool]) -> str:
    found = clopper_pearson(sum(alarms), len(alarms), 0.95)
    return f"{sum(alarms)} of {len(alarms)} = {found.value:.2%} [{found.low:.2%}, {found.high:.2%}]"


if __name__ == "__main__":
    main()
