"""The conformance kit sees what it is there to see."""

from __future__ import annotations

from auditor.testing import conformance


def test_a_framework_is_seen_whichever_module_imports_it(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "heavy_audit.py").write_text("import torch\n")
    (tmp_path / "light_audit.py").write_text("import json\n")
    (tmp_path / "broken_audit.py").write_text("raise ImportError('no such extra')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    seen = conformance._imported_with.__wrapped__
    assert seen("light_audit") == "[]"
    assert seen("heavy_audit") == seen("light_audit", "heavy_audit") == "['torch']"
    assert "no such extra" in seen("broken_audit", "light_audit"), "what cannot be imported together is looked at alone"
