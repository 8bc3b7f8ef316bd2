"""A report of very many rows: strata and exhibits of one finding, rendered as HTML and PDF; prints seconds and peak memory.

The findings are made and written by a process of its own, so that memory counts what a report takes and nothing else: the file is read, drawn
and attached.

Usage: python benchmarks/large_report.py [--rows 100000] [--no-pdf]
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "report"), str(ROOT / "tests" / "assess")]


def main() -> None:
    """Render and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="strata, and as many exhibits, conditions and points")
    parser.add_argument("--no-pdf", action="store_true")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        write(asked.rows, asked.write)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "findings.json"
        subprocess.run([sys.executable, __file__, "--rows", str(asked.rows), "--write", str(path)], check=True)
        render(path, pdf=not asked.no_pdf)


def write(rows: int, path: Path) -> None:
    """Make the findings."""
    from test_hostile import big

    path.write_bytes(b"[" + b",".join(item.canonical() for item in big(rows).findings) + b"]")


def render(path: Path, *, pdf: bool) -> None:
    """Read the findings as a bundle's are read, draw and print."""
    from test_report import CREATED, source

    from auditor.core.finding import Finding
    from auditor.evidence.bundle import Bundle
    from auditor.report.html import render_html
    from auditor.report.pdf import render_pdf

    print(f"findings.json: {path.stat().st_size:,} bytes; before: {peak()} MiB")
    begun = time.perf_counter()
    findings = Bundle(path.parent).read_list(path.name, Finding)
    read = time.perf_counter()
    print(f"read {read - begun:.1f} s; {peak()} MiB")
    html, _ = render_html(dataclasses.replace(source("plain"), findings=findings))
    drawn = time.perf_counter()
    print(f"HTML {drawn - read:.1f} s, {len(html):,} characters; {peak()} MiB")
    if pdf:
        made = render_pdf(html, {"findings.json": path.read_bytes()}, created=CREATED, identifier=b"0" * 16)
        print(f"PDF {time.perf_counter() - drawn:.1f} s, {len(made):,} bytes")
    print(f"all {time.perf_counter() - begun:.1f} s, {time.process_time():.1f} s of a core; peak memory {peak()} MiB")


def peak() -> int:
    """Return the most memory held so far, MiB."""
    unit = 1024 if sys.platform == "linux" else 1024 * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


if __name__ == "__main__":
    main()
