"""`python -m auditor.language`: brings the catalogues up to date and hands out what is to be translated."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auditor.errors import AuditorError
from auditor.language import work
from auditor.language.catalogue import LANGUAGES


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 1 where translations cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m auditor.language", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("update", help="extract every message again; translations are kept")
    commands.add_parser("state", help="say how far each language is, and which translations cannot be used")
    split = commands.add_parser("split", help="write what is not translated into numbered JSON files")
    split.add_argument("language")
    split.add_argument("folder", type=Path)
    split.add_argument("--parts", type=int, default=3)
    merge = commands.add_parser("merge", help="take translated JSON files back")
    merge.add_argument("language")
    merge.add_argument("files", type=Path, nargs="+")
    asked = parser.parse_args(arguments)
    try:
        return _done(asked)
    except AuditorError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _done(asked: argparse.Namespace) -> int:
    if asked.command == "split":
        for path in work.split(asked.language, asked.folder, asked.parts):
            sys.stdout.write(f"{path}\n")
        return 0
    if asked.command == "merge":
        taken, wrong = work.merge(asked.language, asked.files)
        sys.stdout.write("".join(f"{line}\n" for line in wrong) + f"{taken} taken, {len(wrong)} faults\n")
        return 1 if wrong else 0
    states = work.update() if asked.command == "update" else [work.state(language) for language in LANGUAGES]
    for found in states:
        sys.stdout.write("".join(f"{line}\n" for line in found.faulty))
        sys.stdout.write(
            f"{found.language}: {found.translated} of {found.messages} messages; {found.words_left} of {found.words} words are left\n"
        )
    return 1 if any(found.faulty for found in states) else 0


if __name__ == "__main__":
    sys.exit(main())
