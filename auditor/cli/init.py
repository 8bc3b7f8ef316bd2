"""`auditor init`: a commented subject and statements to start from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

SUBJECT = """\
# What is audited, and by whose word. Paths are relative to this file.
name: my-model
controller: Example GmbH, Example Street 1          # who answers for the processing; printed on the cover
# responsible: {name: ..., role: ..., organisation: ...}  # who dates and signs the report by hand; the seal does not replace that
model: {adapter: causal-lm, path: ./model}          # a folder with config.json, tokenizer and *.safetensors
release_context: public-api                         # internal | public-api | open-weights: declared, never inferred
data:
  # Records that were in training. `person` (or `document`) is the unit of every interval.
  members: {path: train.jsonl, text: text, id: id}  # also: person, document, copies, source
  # Records of the same distribution that were not. Without them no number has a control.
  controls: {path: heldout.jsonl, text: text, id: id}
  controls_drawn: not-declared                      # at-random-before-training | afterwards | not-declared
  # canaries: canaries.json                         # from `auditor canary make`, before training
# references: [{adapter: causal-lm, path: ./base-model}]
statements: statements.yaml
policy: edpb-28-2024                                # a shipped policy, or a path: see `auditor policies`
"""

IMAGES = """\
# What is audited, and by whose word. Paths are relative to this file.
name: my-image-generator
controller: Example GmbH, Example Street 1          # who answers for the processing; printed on the cover
# responsible: {name: ..., role: ..., organisation: ...}  # who dates and signs the report by hand; the seal does not replace that
model: {adapter: diffusion, path: ./model}          # a folder with model_index.json and *.safetensors, as save_pretrained writes it
release_context: public-api                         # internal | public-api | open-weights: declared, never inferred
data:
  # Images that were in training: a folder (with metadata.jsonl), .jsonl or .csv with paths, .parquet, or a saved dataset folder.
  members: {path: train, image: image, id: id}      # also: caption, label, person, document, copies, source
  # Images of the same distribution that were not. Without them no number has a control.
  controls: {path: heldout, image: image, id: id}
  controls_drawn: not-declared                      # at-random-before-training | afterwards | not-declared
# references: [{adapter: diffusion, path: ./twin}]  # the same recipe, never shown these images
statements: statements.yaml
policy: edpb-28-2024-images                         # a shipped policy, or a path: see `auditor policies`
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write the files.")] = Path(),
    policy: Annotated[str, typer.Option("--policy", help="Shipped policy to copy, to change its tolerances.")] = "",
    *,
    images: Annotated[bool, typer.Option("--images", help="The subject makes images.")] = False,
) -> None:
    """Write a commented subject.yaml, and the forms of what its policy asks of you; nothing is overwritten."""
    from auditor.errors import UsageError  # noqa: PLC0415
    from auditor.evidence.shards import write_file  # noqa: PLC0415
    from auditor.pipeline.stating import asked, new_statements  # noqa: PLC0415

    needed = asked(None, policy or ("edpb-28-2024-images" if images else "edpb-28-2024"))
    subject = IMAGES if images else SUBJECT
    if policy:
        subject = re.sub(r"^policy: \S+ *", f"policy: {needed.policy.id}.yaml  ", subject, flags=re.MULTILINE)
    if not needed.forms:
        subject = subject.replace("statements: ", "# statements: ")
    files = {"subject.yaml": subject.encode()}
    if needed.forms:
        files["statements.yaml"] = new_statements(needed).encode()
    if policy:
        from auditor.policy.load import load_policy  # noqa: PLC0415

        loaded = load_policy(policy, base=None, known_tests=None)
        files[f"{loaded.policy.id}.yaml"] = loaded.bytes
    for name in files:
        if (folder / name).exists():
            msg = f"{folder / name}: there is already such a file"
            raise UsageError(msg, hint="Choose another folder, or remove the file.")
    for name, content in files.items():
        write_file(folder / name, content)
        typer.echo(str(folder / name))
