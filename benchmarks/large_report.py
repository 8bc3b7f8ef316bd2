"""A report of very many rows: strata and exhibits of one finding, rendered as HTML and PDF; prints seconds and peak memory.

Usage: python benchmarks/large_report.py [--rows 100000] [--no-pdf]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "report"), str(ROOT / "tests" / "assess")]


def main() -> None:
    """Render and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="strata, and as many exhibits, conditions and points")
    parser.add_argument("--no-pdf", action="store_true")
    asked = parser.parse_args()
    from test_hostile import CREATED, big

    from auditor.core.finding import Finding
    from auditor.report.html import render_html
    from auditor.report.pdf import render_pdf

    source = big(asked.rows)
    findings = b"[" + b",".join(item.canonical() for item in source.findings) + b"]"
    print(f"findings.json: {len(findings):,} bytes")
    begun = time.perf_counter()
    Finding.model_validate_json(findings[1:-1])
    read = time.perf_counter()
    html, _ = render_html(source)
    drawn = time.perf_counter()
    print(f"read {read - begun:.1f} s; HTML {drawn - read:.1f} s, {len(html):,} characters")
    if not asked.no_pdf:
        pdf = render_pdf(html, {"findings.json": findings}, created=CREATED, identifier=b"0" * 16)
        print(f"PDF {time.perf_counter() - drawn:.1f} s, {len(pdf):,} bytes")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
