"""Reads images with what is said of them: from folders, tables of paths, Parquet and saved datasets, row by row.

An image is read when its record is asked for and not before; a path may not leave the folder of the file that names it.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from auditor.errors import DataError
from auditor.subjects.formats import Row, files_of, rows_of, saved_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.core.subject import RecordsSpec

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""Of the files in a folder that are images."""
FOLDER_COLUMN = "image"
"""What the images of a folder are called in the subject file."""
METADATA = ("metadata.jsonl", "metadata.csv")
"""What Hugging Face's ImageFolder reads beside the images, with the column `file_name`."""
PATH_KINDS = frozenset({".jsonl", ".ndjson", ".csv"})
"""Files whose column of images holds paths, relative to the file."""
LARGEST_IMAGE = 256 << 20
"""Bytes of one encoded image."""


def image_files(path: Path, spec: RecordsSpec) -> list[Path]:
    """Return every file that the records lie in: tables, and the images they name.

    Raises:
        DataError: There are none, or a path leads where it may not.
    """
    if path.is_dir() and not saved_files(path):
        metadata = _metadata(path)
        return [*metadata, *_images_in(path).values()]
    files = files_of(path)
    if not path.is_dir() and path.suffix.lower() in PATH_KINDS:
        named = (row.values.get(str(spec.image)) for row in image_rows(path, spec))
        files += dict.fromkeys(place for place in named if isinstance(place, Path))
    return files


def image_rows(path: Path, spec: RecordsSpec) -> Iterator[Row]:
    """Yield the rows, in order; the image is a path that was looked at, or what the table holds.

    Raises:
        DataError: A row cannot be read, or a path leads where it may not.
    """
    column = str(spec.image)
    if path.is_dir() and not saved_files(path):
        if column != FOLDER_COLUMN:
            msg = f"{path}: a folder of images has no column '{column}' (named as image)"
            raise DataError(msg, hint=f"Say `image: {FOLDER_COLUMN}` in the subject file.")
        yield from _folder_rows(path)
    elif not path.is_dir() and path.suffix.lower() in PATH_KINDS:
        inside = _Folder(path.parent)
        for row in rows_of(path):
            if column in row.values:
                row.values[column] = inside.place(row.values[column], column, row.where)
            yield row
    else:
        roles = (spec.image, spec.id, spec.person, spec.document, spec.copies, spec.source, spec.caption, spec.label)
        yield from rows_of(path, frozenset(role for role in roles if role is not None))


def content_of(row: Row, column: str) -> bytes:
    """Return the encoded image of a row.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    value: Any = row.values.get(column)
    where = place_of(row, column)
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            msg = f"{where}: the column '{column}' names the file '{str(value['path'])[:80]}' and does not hold it"
            raise DataError(msg, hint="Embed the images in the dataset (embed_external_files), or give the folder.")
        value = value.get("bytes")
    try:
        size = value.stat().st_size if isinstance(value, Path) else len(value) if isinstance(value, bytes) else 0
        if size > LARGEST_IMAGE:
            msg = f"{where}: the image is larger than {LARGEST_IMAGE >> 20} MiB"
            raise DataError(msg, hint="Make it smaller, or leave it out.")
        content = value.read_bytes() if isinstance(value, Path) else value
    except OSError as error:
        msg = f"{where}: the image cannot be read ({error.strerror or error})"
        raise DataError(msg, hint="Check the path and the permissions.") from error
    if not isinstance(content, bytes):
        kind = "missing" if content is None else f"a {type(content).__name__}, not an image"
        msg = f"{where}: the column '{column}' is {kind}"
        raise DataError(msg, hint="Every record needs an image: its encoded bytes, or a path in .jsonl and .csv.")
    return content


def place_of(row: Row, column: str) -> str:
    """Return where the image of a row stands: the file and line that name it, and its own name."""
    value = row.values.get(column)
    return f"{row.where} ({value.name})" if isinstance(value, Path) and str(value) != row.where else row.where


def refuse_images_as_texts(path: Path) -> None:
    """Raise if a folder that should hold texts holds images and no text: the subject file does not say that they are meant.

    Raises:
        DataError: It does.
    """
    if not path.is_dir() or saved_files(path) or any(path.rglob("*.txt")):
        return
    first = next((file for file in sorted(path.rglob("*")) if file.suffix.lower() in ENDINGS), None)
    if first is not None:
        msg = f"{path}: a folder of images ({first.relative_to(path)}), and the subject file does not say so"
        raise DataError(msg, hint=f"Say `image: {FOLDER_COLUMN}` beside its path in the subject file.")


def _folder_rows(folder: Path) -> Iterator[Row]:
    images = _images_in(folder)
    found = _metadata(folder)
    if not found:
        for name, file in images.items():
            yield Row(str(file), {FOLDER_COLUMN: file}, name=name)
        return
    left = dict(images)
    for row in rows_of(found[0]):
        value = row.values.get("file_name")
        if "file_name" not in row.values:
            msg = f"{row.where}: there is no column 'file_name'"
            raise DataError(msg, hint="Each row names its image, relative to the folder, as `file_name`.")
        name = _plain_name(value, "file_name", row.where)
        if name not in images:
            msg = f"{row.where}: there is no image '{name[:120]}' in {folder}"
            raise DataError(msg, hint=f"Images end in {', '.join(sorted(ENDINGS))}; hidden files are left out.")
        if name not in left:
            msg = f"{row.where}: the image '{name[:120]}' was named before"
            raise DataError(
                msg, hint="Each image has one row; say how often it stood in training in a column of copies."
            )
        row.values[FOLDER_COLUMN] = left.pop(name)
        yield Row(row.where, row.values, name=name)
    if left:
        msg = f"{found[0]}: {len(left)} images of the folder have no row, the first is '{next(iter(left))}'"
        raise DataError(msg, hint="Give every image a row, or move the others out of the folder.")


def _images_in(folder: Path) -> dict[str, Path]:
    """Return the images by name, sorted; hidden files and folders are left out, as programs leave copies there."""
    home = folder.resolve()
    found = {}
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if file.is_symlink() and (file.is_dir() or not file.resolve().is_relative_to(home)):
            msg = f"{file}: a link that leads out of the folder or to another one"
            raise DataError(msg, hint="Put the images themselves into the folder.")
        if file.suffix.lower() in ENDINGS and file.is_file():
            found[relative.as_posix()] = file
        elif file.name in METADATA and len(relative.parts) > 1:
            msg = f"{file}: what is said of the images lies in a folder below"
            raise DataError(msg, hint=f"Join it into one {file.name} in {folder}.")
    if not found:
        msg = f"{folder}: there is no image in the folder"
        raise DataError(msg, hint=f"Images end in {', '.join(sorted(ENDINGS))}.")
    return found


def _metadata(folder: Path) -> list[Path]:
    found = [folder / name for name in METADATA if (folder / name).is_file()]
    if len(found) > 1:
        msg = f"{found[1]}: {found[0].name} lies beside it"
        raise DataError(msg, hint="Keep one of the two.")
    return [file for path in found for file in files_of(path)]


def _plain_name(value: Any, column: str, where: str) -> str:  # noqa: ANN401  (whatever a table holds)
    """Return a relative path that leads downwards alone, as it is written with forward strokes."""
    if not isinstance(value, str) or not value:
        kind = "missing" if value is None or value == "" else f"a {type(value).__name__}, not a path"
        msg = f"{where}: the column '{column}' is {kind}"
        raise DataError(msg, hint="Every record needs the path of its image.")
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\x00" in value or "\\" in value or not path.parts:
        msg = f"{where}: the path '{value[:120]}' may leave the folder of the data"
        raise DataError(
            msg, hint="Give paths relative to the data file, with '/', without '..', to files beside or below it."
        )
    return path.as_posix()


class _Folder:
    """Follows paths from a folder and refuses those that leave it."""

    def __init__(self, folder: Path) -> None:
        self._home = folder.resolve()
        self._known: dict[str, Path] = {}

    def place(self, value: Any, column: str, where: str) -> Path:  # noqa: ANN401  (whatever a table holds)
        """Return where the image lies."""
        name = _plain_name(value, column, where)
        above, _, last = name.rpartition("/")
        try:
            if above not in self._known:
                self._known[above] = (self._home / above).resolve()  # links in between are followed once per folder
            file = self._known[above] / last
            end = file.resolve() if file.is_symlink() else file
            fine = end.is_file()
        except (OSError, ValueError, RuntimeError) as error:
            msg = f"{where}: the path '{name[:120]}' cannot be followed ({error})"
            raise DataError(msg, hint="Is the column one of paths?") from error
        if not end.is_relative_to(self._home):
            msg = f"{where}: the path '{name[:120]}' leaves the folder of the data by a link"
            raise DataError(msg, hint="Put the images themselves beside or below the data file.")
        if not fine:
            msg = f"{where}: there is no image '{name[:120]}' in {self._home}"
            raise DataError(msg, hint="Paths are relative to the file that names them.")
        return file
