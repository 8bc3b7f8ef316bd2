"""One withheld record, shown with proof: its texts belong to the record that the sealed bundle is bound to.

A disclosure holds the record's restricted columns, the key of its commitment and the Merkle path from the record to the root in the
sealed manifest. It shows this record and nothing of another one: the key is the record's own, and the path is made of hashes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from auditor.core.record import canonical_bytes, parse_json
from auditor.errors import IntegrityError, UsageError
from auditor.evidence.bundle import OBSERVATIONS, Bundle
from auditor.evidence.manifest import read_manifest
from auditor.evidence.merkle import inclusion_proof, leaf_hash, verify_inclusion
from auditor.evidence.records import leaf_hashes, record_bytes
from auditor.evidence.shards import COMMITMENT, RESTRICTED, record_key
from auditor.evidence.table import ObservedTable, shard_name

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
LARGEST = 64 * 1024 * 1024
"""Bytes of the largest disclosure that is read."""


class Disclosed(NamedTuple):
    """A record that was shown to belong to a bundle."""

    observation: str
    row: int
    records: int
    public: dict[str, Any]
    restricted: dict[str, Any]


def disclose(bundle: Path, observation: str, row: int) -> bytes:
    """Return the disclosure of one record, in canonical JSON.

    Args:
        bundle: The whole bundle, with its restricted part.
        observation: Id of the observation, or the beginning of it.
        row: Number of the record in it, from 0.

    Raises:
        UsageError: There is no such observation or record, or more than one observation begins so.
        IntegrityError: The restricted part was withheld or is damaged.
    """
    identity = _one(bundle, observation)
    table = ObservedTable(bundle / OBSERVATIONS / identity)
    if not 0 <= row < table.record.items:
        msg = f"observation {identity[:16]} has no record {row}: it has {table.record.items:,}"
        raise UsageError(msg, hint="Records are numbered from 0.")
    leaves: list[bytes] = []
    found: tuple[pa.Table, pa.Table, int, int] | None = None
    for number in range(table.record.shards):
        public = pq.read_table(table.folder / shard_name(number))
        if len(leaves) <= row < len(leaves) + public.num_rows:
            place = row - len(leaves)
            found = (public.slice(place, 1), _restricted(table.folder, number).slice(place, 1), number, place)
        leaves.extend(itertools.chain.from_iterable(leaf_hashes(public)))
    if found is None:
        msg = f"observation {identity[:16]}: the shards do not hold the records that are counted"
        raise IntegrityError(msg, hint="The bundle is damaged; take it again from its origin.")
    shown, kept, number, place = found
    key = record_key(Bundle(bundle).commitment_key(), identity, number, place)
    content = canonical_bytes(
        {
            "schema_version": VERSION,
            "observation": identity,
            "row": row,
            "count": len(leaves),
            "public": _packed(shown),
            "restricted": _packed(kept),
            "key": key.hex(),
            "proof": [item.hex() for item in inclusion_proof(leaves, row)],
        }
    )
    check_disclosure(bundle, content)
    return content


def check_disclosure(bundle: Path, content: bytes) -> Disclosed:
    """Return the record of a disclosure, after it was shown to belong to the bundle; the bundle's seal is not checked here.

    Args:
        bundle: The bundle; its restricted part is not needed.
        content: The disclosure.

    Raises:
        IntegrityError: It is damaged, about another bundle, or shows other texts than those that were bound.
    """
    again = "Take the disclosure again from whoever holds the whole bundle."
    try:
        if len(content) > LARGEST:
            raise ValueError("it is too large")  # noqa: TRY301, EM101, TRY003
        plain = parse_json(content)
        if canonical_bytes(plain) != content or plain["schema_version"] != VERSION:
            raise ValueError("it is not in canonical form")  # noqa: TRY301, EM101, TRY003
        identity, row, count = str(plain["observation"]), int(plain["row"]), int(plain["count"])
        public, restricted = _unpacked(plain["public"]), _unpacked(plain["restricted"])
        key, proof = bytes.fromhex(plain["key"]), [bytes.fromhex(item) for item in plain["proof"]]
        leaf = leaf_hash(next(record_bytes(public)))
        committed = hmac.new(key, next(record_bytes(restricted)), hashlib.sha256).digest()
        bound = public.column(COMMITMENT)[0].as_py()
        written = [plain["public"], plain["restricted"], plain["key"], *plain["proof"]]
        if written != [_packed(public), _packed(restricted), key.hex(), *(item.hex() for item in proof)]:
            raise ValueError("it is not in canonical form")  # noqa: TRY301, EM101, TRY003
    except Exception as error:
        # A hostile file can make a parser fail in any way; none of them is a disclosure.
        msg = f"not a disclosure of a record ({type(error).__name__}: {error})"
        raise IntegrityError(msg, hint=again) from error
    root = read_manifest(bundle).merkle_roots.get(identity)
    if root is None:
        msg = f"the bundle has no observation {identity[:16]}"
        raise IntegrityError(msg, hint="It is about another bundle.")
    counted = ObservedTable(bundle / OBSERVATIONS / identity).record.items
    if count != counted or not verify_inclusion(leaf, row, count, proof, root):
        msg = f"the record does not lead to the root of observation {identity[:16]}"
        raise IntegrityError(msg, hint=again)
    if len(key) != 32 or not hmac.compare_digest(committed, bound):
        msg = "the texts are not those that the record was bound to"
        raise IntegrityError(msg, hint=again)
    shown = {name: value for name, value in public.to_pylist()[0].items() if name != COMMITMENT}
    return Disclosed(identity, row, count, shown, restricted.to_pylist()[0])


def _one(bundle: Path, observation: str) -> str:
    found = [name for name in read_manifest(bundle).merkle_roots if observation and name.startswith(observation)]
    if len(found) != 1:
        msg = f"{len(found)} observations of the bundle begin with '{observation}'"
        raise UsageError(msg, hint=f"Their ids are the names of the folders in {bundle / OBSERVATIONS}.")
    return found[0]


def _restricted(folder: Path, number: int) -> pa.Table:
    path = folder / RESTRICTED / shard_name(number)
    if not path.exists():
        msg = f"{path}: nothing to disclose: the restricted part was withheld, or the observation has none"
        raise IntegrityError(msg, hint="Whoever holds the whole bundle can disclose a record.")
    return pq.read_table(path)


def _packed(table: pa.Table) -> str:
    """Return one row as an Arrow stream in base64: types and bits stay as they are."""
    sink = io.BytesIO()
    columns = {
        name: pa.array(table.column(name).to_pylist(), type=table.schema.field(name).type)
        for name in table.column_names
    }
    plain = pa.table(columns)  # made anew, so that no padding or old buffer comes along
    with pa.ipc.new_stream(sink, plain.schema) as stream:
        stream.write_table(plain)
    return base64.b64encode(sink.getvalue()).decode()


def _unpacked(text: str) -> pa.Table:
    with pa.ipc.open_stream(base64.b64decode(text, validate=True)) as stream:
        table = stream.read_all()
    table.validate(full=True)
    if table.num_rows != 1:
        raise ValueError("it is not about one record")  # noqa: EM101, TRY003
    return table
