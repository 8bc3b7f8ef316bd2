"""The only rooms that know the order: plan, observe, measure, assess, render, seal; and verify, which repeats it."""

from auditor.pipeline.auditing import Audited, Occasion, audit
from auditor.pipeline.before import Prepared, now, prepare, speed
from auditor.pipeline.external import read_external
from auditor.pipeline.preregistering import commit_plan, earlier_attempts, read_preregistered
from auditor.pipeline.presenting import render_again
from auditor.pipeline.verifying import kind_of, verify_path

__all__ = [
    "Audited",
    "Occasion",
    "Prepared",
    "audit",
    "commit_plan",
    "earlier_attempts",
    "kind_of",
    "now",
    "prepare",
    "read_external",
    "read_preregistered",
    "render_again",
    "speed",
    "verify_path",
]
