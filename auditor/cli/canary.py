"""`auditor canary`: secrets planted on purpose, with coin flips committed before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Make canaries before training, and plant them in the training data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("make")
def make(
    out: Annotated[Path, typer.Option("--out", "-o", help="Manifest to write.")] = Path("canaries.json"),
    tiers: Annotated[str, typer.Option("--tiers", help="How often canaries are planted, one tier each.")] = "1,4,16,64",
    per_tier: Annotated[
        int, typer.Option("--per-tier", min=1, help="Canaries per tier; a coin plants about half.")
    ] = 20,
    formats: Annotated[str, typer.Option("--formats", help="Built-in formats, or all.")] = "all",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the secrets and the coin flips.")] = ...,  # type: ignore[assignment]
) -> None:
    """Draw secrets and flip the coins; publish the commitment it prints before training."""
    from auditor.canary.formats import FORMATS  # noqa: PLC0415
    from auditor.canary.make import make as make_canaries  # noqa: PLC0415
    from auditor.errors import UsageError, did_you_mean  # noqa: PLC0415
    from auditor.evidence.shards import write_file  # noqa: PLC0415

    known = {form.id: form for form in FORMATS}
    names = list(known) if formats == "all" else [name.strip() for name in formats.split(",")]
    for name in names:
        if name not in known:
            msg = f"no canary format is called '{name}'"
            raise UsageError(msg, hint=did_you_mean(name, known))
    if out.exists():
        msg = f"{out}: there is already a manifest; its coin flips may be committed"
        raise UsageError(msg, hint="Choose another file with --out.")
    try:
        levels = [int(tier) for tier in tiers.split(",")]
    except ValueError as error:
        msg = f"--tiers '{tiers}' is not a list of whole numbers"
        raise UsageError(msg, hint="Write for example --tiers 1,4,16,64.") from error
    made = make_canaries([known[name] for name in names], levels, per_tier, seed)
    write_file(out, made.canonical())
    planted = sum(canary.planted for canary in made.canaries)
    typer.echo(f"Manifest:    {out} ({len(made.canaries)} canaries, {planted} to be planted; keep it secret)")
    typer.echo(f"Commitment:  {made.commitment} (publish it before training)")


@app.command("plant")
def plant(
    manifest: Annotated[Path, typer.Argument(help="The manifest of `auditor canary make`.")],
    data: Annotated[Path, typer.Argument(help="Training data: .jsonl, .csv, .parquet or a folder of .txt files.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the data with the canaries.")],
    text: Annotated[str, typer.Option("--text", help="Column that holds the text.")] = "text",
) -> None:
    """Write the training data with every planted canary as often as its tier says, at random places."""
    from auditor.canary.plant import plant as plant_canaries  # noqa: PLC0415
    from auditor.subjects.canaries import read_canaries  # noqa: PLC0415

    report = plant_canaries(read_canaries(manifest), data, out, text=text)
    typer.echo(
        f"Wrote {out}: {report.records:,} records and {report.planted:,} planted lines of {report.canaries} canaries."
    )
    typer.echo("Count them again after deduplication and filtering: what a pipeline removes cannot be remembered.")
