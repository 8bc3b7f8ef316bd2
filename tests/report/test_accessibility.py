"""axe-core finds nothing in the report, in a real browser, light and dark; skipped where either is missing.

Needs Chromium on the path, and axe-core (`npm install axe-core`) named by AXE_CORE or in `node_modules/`.
"""

from __future__ import annotations

import html as markup
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_report import source

from auditor.report.html import render_html

AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js"))
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
ASK = """axe.run(document, {runOnly: %s, resultTypes: ["violations"]}).then(function (found) {
  var out = document.createElement("pre");
  out.textContent = "AXE" + JSON.stringify(found.violations.map(function (rule) {
    return [rule.id, rule.nodes.map(function (node) { return node.html.slice(0, 200) + " | " + node.failureSummary; })];
  })) + "EXA";
  document.body.appendChild(out);
});"""


needs_browser = pytest.mark.skipif(BROWSER is None or not AXE.exists(), reason="Chromium or axe-core is not installed")


def violations(html: str, folder: Path, scheme: int) -> list:
    """What axe-core finds wrong with a page, rule by rule, in a real browser."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    asked = AXE.read_text(encoding="utf-8"), ASK % json.dumps(RULES)
    scripts = "".join(f"<script>{script}</script>" for script in asked)
    (folder / "page.html").write_text(page.replace("</body>", f"{scripts}</body>"), encoding="utf-8")
    run = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=60000",
        f"--user-data-dir={folder}",
    ]
    seen = subprocess.run(
        [*run, f"--blink-settings=preferredColorScheme={scheme}", "--dump-dom", str(folder / "page.html")],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout
    answer = re.search(r"AXE(\[.*\])EXA</pre>", seen, re.DOTALL)
    assert answer, "axe-core did not answer"
    return json.loads(markup.unescape(answer.group(1)))


@needs_browser
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_axe_finds_nothing(tmp_path, scheme):
    assert violations(render_html(source("plain"))[0], tmp_path, scheme) == []
