"""Indexes a corpus that does not fit into memory: infini-gram's indexer sorts its suffixes on disk, and the files are mapped.

What is searched is the same `CorpusIndex`, so lengths, places and the division of documents are the same, too; infini-gram's
own search is not used (its `creativity`, version 2.6.0, misses the match at the last place of the order). The indexer
compares symbols by their bytes from the first on, so they are written with the highest first. Ids of more than 2 bytes are
written as two symbols of 2, and suffixes that begin inside an id are left out: its own 4 bytes take 32 GiB of memory.

Where several processes sort, suffixes that agree in more than 100,000 bytes stand in any order: a query is shorter.

The files lie in a temporary folder (`TMPDIR`) that only its owner can read, and are deleted once they are mapped: they end
with the index, or with the process. A process that is killed while it builds leaves them behind. Disk, for each token: 1, 2 or
4 bytes and 8 for its place; while it is built, three pointers of up to 5 bytes for each symbol more.

Source:
    Liu et al. (2024), Infini-gram, arXiv 2401.17377; package infini-gram 2.6.0, module `indexing`.
"""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auditor.errors import DataError, StorageError, UnsupportedError
from auditor.subjects import corpus_index
from auditor.subjects.corpus_index import ORDERED_AT_ONCE, PADDING, CorpusIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

MEMORY = 8
"""Gibibytes that building may take."""
POINTER = 5
"""Most bytes of the indexer's pointers, up to 2^40 bytes of symbols."""
LEAST_OF_A_PROCESS = 1_000_000
"""Bytes of symbols. The indexer lets parts share 100,000 bytes and writes a wrong order where a part is smaller."""


def index_of_tokens(documents: Iterable[NDArray[np.integer]], vocabulary: int) -> CorpusIndex:
    """Return the index of token ids in memory, or, where they are more than such an index holds, on disk.

    Args:
        documents: Ids of each document, read once.
        vocabulary: Number of ids the model has. Of a tokenizer that gives larger ones, those in the part that is held in
            memory are counted, too.

    Raises:
        DataError: An id is outside the vocabulary.
        StorageError: The temporary folder is too small.
        UnsupportedError: The corpus is too large for memory, and infini-gram is not installed or cannot index it.
    """
    rest = iter(documents)
    held: deque[NDArray[np.integer]] = deque()
    symbols = 0
    for ids in rest:
        held.append(ids)
        symbols += len(ids) + 1
        vocabulary = max(vocabulary, int(ids.max()) + 1 if len(ids) else 0)
        if symbols * (1 + (vocabulary >= 2**8) + (vocabulary >= 2**16)) > corpus_index.MOST_BYTES:
            return index_on_disk(itertools.chain(_taken(held), rest), vocabulary)
    return CorpusIndex.of_tokens(held, vocabulary)


def index_on_disk(
    documents: Iterable[NDArray[np.integer]], vocabulary: int, processors: int | None = None
) -> CorpusIndex:
    """Return the index of token ids in mapped files; the ids are read once and not held in memory.

    Args:
        documents: Ids of each document, 0 to `vocabulary` - 1.
        vocabulary: Number of ids there are.
        processors: Most processes that sort; None: one for each processor.

    Raises:
        DataError: An id is outside the vocabulary.
        StorageError: The temporary folder is too small.
        UnsupportedError: infini-gram is not installed or cannot index this corpus here.
    """
    if find_spec("infini_gram") is None:
        msg = f"an index in memory holds {corpus_index.MOST_BYTES:,} bytes of symbols, and infini-gram is not installed"
        raise UnsupportedError(msg, hint="On Linux: pip install 'memorization-auditor[infini-gram]'.")
    if vocabulary >= 2**24:
        msg = f"a vocabulary of {vocabulary:,} token ids is larger than the index can hold"
        raise UnsupportedError(msg, hint="The tokenizer does not belong to this model.")
    try:
        with tempfile.TemporaryDirectory(prefix="auditor-index-") as name:
            return _built(Path(name), documents, vocabulary, processors or os.cpu_count() or 1)
    except OSError as error:
        msg = f"the index of the corpus cannot be written to a temporary folder: {error}"
        raise StorageError(msg, hint="Set TMPDIR to a folder on a larger disk.") from error


def _built(folder: Path, documents: Iterable[NDArray[np.integer]], vocabulary: int, processors: int) -> CorpusIndex:
    kind = np.dtype("u1" if vocabulary < 2**8 else ">u2" if vocabulary < 2**16 else ">u4")
    lengths = _write(folder / "tokenized.0", documents, vocabulary, kind)
    total = int(lengths.sum())
    if total == len(lengths):  # the indexer fails where there is next to nothing
        return CorpusIndex.of_tokens([np.empty(0, dtype=np.int64)] * len(lengths), vocabulary)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    width = min(kind.itemsize, 2)
    needed = total * (kind.itemsize // width * 3 * POINTER + 8)
    free = shutil.disk_usage(folder).free
    if needed > free:
        msg = f"the index of the corpus takes {needed:,} bytes in {folder.parent} while it is built; {free:,} are free"
        raise StorageError(msg, hint="Set TMPDIR to a folder on a larger disk.")
    _sort(folder, width, max(1, min(processors, total * kind.itemsize // LEAST_OF_A_PROCESS)))
    _places(folder, total, kind.itemsize, width)
    with (folder / "tokenized.0").open("ab") as tokens:
        tokens.write(bytes(PADDING * kind.itemsize))
    text: NDArray[np.unsignedinteger] = np.memmap(folder / "tokenized.0", dtype=kind, mode="r")
    order: NDArray[np.int64] = np.memmap(folder / "order", dtype=np.int64, mode="r")
    # What is mapped stays until nobody holds it, although its name goes with the folder.
    return CorpusIndex.sorted(text, order, starts, 1)


def _taken(held: deque[NDArray[np.integer]]) -> Iterator[NDArray[np.integer]]:
    """Yield documents, each of which is given up as it is taken."""
    while held:
        yield held.popleft()


def _write(
    path: Path, documents: Iterable[NDArray[np.integer]], vocabulary: int, kind: np.dtype[np.unsignedinteger]
) -> NDArray[np.int64]:
    """Write symbols as `CorpusIndex` holds them, and return how many each document has, the 0 behind it included."""
    lengths: list[int] = []
    with path.open("wb") as tokens:
        for number, ids in enumerate(documents):
            if len(ids) and (ids.min() < 0 or ids.max() >= vocabulary):
                msg = f"document {number} of the corpus holds a token id outside the vocabulary of {vocabulary:,}"
                raise DataError(msg, hint="The tokenizer does not belong to this model.")
            tokens.write((ids.astype(np.int64) + 1).astype(kind).tobytes() + bytes(kind.itemsize))
            lengths.append(len(ids) + 1)
    return np.array(lengths, dtype=np.int64)


def _sort(folder: Path, width: int, processors: int) -> None:
    """Sort the suffixes of what was written there, in a process of its own: the indexer changes its working folder."""
    import resource  # noqa: PLC0415  (only where infini-gram is)

    if shlex.quote(str(folder)) != str(folder):
        msg = f"infini-gram cannot write to {folder}: its shell would take the path apart"
        raise UnsupportedError(msg, hint="Set TMPDIR to a folder with only letters, digits, '/', '.', '-' and '_'.")
    # The indexer asks for its own tokenizer's two files, and sorts the first.
    (folder / "offset.0").touch()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    options = {
        "data_dir": folder,
        "save_dir": folder,
        "token_dtype": f"u{8 * width}",
        "cpus": processors,
        "mem": MEMORY,
        "ulimit": hard if hard > 0 else soft,
    }
    command = [sys.executable, "-m", "infini_gram.indexing"]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    # In the folder, since a module is looked for in the working folder first.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode or not (folder / "table.0").is_file():
        said = " ".join((done.stderr.strip() or done.stdout.strip() or "nothing").split())[-300:]
        msg = f"infini-gram ended with {done.returncode} and without an index; it said: {said}"
        raise UnsupportedError(msg, hint="Is there enough memory, and room in TMPDIR?")


def _places(folder: Path, total: int, size: int, width: int) -> None:
    """Write where each suffix begins, in symbols, in the order of the suffixes, from the indexer's pointers to bytes."""
    table = np.memmap(folder / "table.0", dtype=np.uint8, mode="r")
    count = total * size // width
    pointer, filled = len(table) // count, 0
    if pointer * count == len(table) and 1 <= pointer <= 8:
        rows = table.reshape(count, pointer)
        with (folder / "order").open("wb") as order:
            for start in range(0, count, ORDERED_AT_ONCE):
                some = np.zeros((min(ORDERED_AT_ONCE, count - start), 8), dtype=np.uint8)
                some[:, :pointer] = rows[start : start + len(some)]
                places = some.view("<u8")[:, 0].astype(np.int64)
                whole = places[places % size == 0] // size
                order.write(whole.tobytes())
                filled += len(whole)
    if filled != total:
        msg = f"infini-gram's index has {filled:,} places of this corpus; it has {total:,}"
        raise UnsupportedError(msg, hint="Install the version of infini-gram that constraints.txt names.")
    (folder / "table.0").unlink()
