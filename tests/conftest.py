"""Settings that all tests share: one thread, no colours, no network; what takes longest begins first."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("NO_COLOR", "1")

LONGEST = (
    "end_to_end/test_audit.py",
    "end_to_end/test_image_audit.py",
    "architecture/test_conformance_language.py",
    "architecture/test_conformance_images.py",
    "end_to_end/test_bad_input.py",
    "end_to_end/test_endpoint_audit.py",
    "end_to_end/test_external_findings.py",
    "end_to_end/test_redaction.py",
    "end_to_end/test_preregistered.py",
    "end_to_end/test_wheel.py",
    "end_to_end/test_exchange.py",
    "end_to_end/test_compare_command.py",
    "integrations/test_transformers_callback.py",
    "battery/test_exposure.py",
    "battery/test_extraction.py",
    "battery/test_whole_battery.py",
    "observers/test_blind_baseline.py",
    "third_party/test_third_party.py",
)
"""Files of half a minute and more, the longest first: begun last, one worker would still be at them when the other has nothing left."""


def pytest_collection_modifyitems(items: list) -> None:
    """Begin with the longest files; whole files stay together."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    here = Path(__file__).resolve().parent
    items.sort(key=lambda item: rank.get(item.path.relative_to(here).as_posix(), len(rank)))
