"""A backup as a file: which records are in it, how it is written and read. Restoring is reconcile/kinds/restore.py's.

Only what people asked for, never who runs what: claims, what nodes see, leases and terms of another day would start
guests twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pvc_core.cluster import layout
from pvc_core.cluster.layout import Kind
from pvc_core.errors import Invalid, Permanent
from pvc_core.schema.records import NewerRecord, decode
from pvc_core.store.base import Entry

FORMAT, VERSION = "pvc-backup", 1
KINDS: tuple[Kind[Any], ...] = (
    layout.SETTINGS, layout.NODE_WANTED, layout.VM_WANTED, layout.POOLS, layout.VOLUMES, layout.KEYS,
    layout.NETWORKS,
)  # fmt: skip
"""What is in a backup. Names of VMs follow from their records."""
NEVER = "the certificates, the authority's key and the store's passwords: they stay in /etc/pvc of the nodes"

AWAITED = "waiting for the backup's content"
"""The sentence of a task that restores one and has yet to be given it; who has it gives it to whoever says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One that was read and is whole."""

    cluster: str
    era: int
    nodes: tuple[str, ...]
    """Members at that time."""
    taken_at_s: float
    records: Mapping[Kind[Any], Mapping[str, Any]] = field(default_factory=dict)
    """By kind and id, typed."""

    def of(self, kind: Kind[Any]) -> Mapping[str, Any]:
        return self.records.get(kind, {})


def plain_records(entries: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """Kind name -> id -> the record's plain data with its schema number, of those kinds that are in a backup.

    Raises Permanent: a record that this PVC does not understand, which it could not say is complete.
    """
    found: dict[str, dict[str, Any]] = {kind.name: {} for kind in KINDS}
    for key, entry in sorted(entries.items()):
        split = layout.split(key)
        if split is None or split[0] not in KINDS:
            continue
        kind, id = split
        decode(entry.value, kind.record)
        found[kind.name][id] = msgspec.json.decode(entry.value)
    return found


def written(records: Mapping[str, Any], **about: Any) -> dict[str, Any]:
    """The file, as plain data."""
    return {"format": FORMAT, "version": VERSION, **about, "records": records, "digest": _digest(records)}


def read(data: Mapping[str, Any]) -> Backup:
    """Raises Invalid: no backup, another's format, changed since, or of a newer PVC."""
    if data.get("format") != FORMAT:
        raise Invalid(
            "this is no backup of PVC: it has no format pvc-backup",
            help="give a file made by `pvc cluster backup`; backups of PVC 1.0 hold the whole database of another PVC",
        )
    if data.get("version") != VERSION:
        raise Invalid(f"this backup has version {data.get('version')}, understood is {VERSION}", help="upgrade PVC")
    records = data.get("records")
    if not isinstance(records, dict) or _digest(records) != data.get("digest"):
        raise Invalid("the backup is damaged: its content does not fit its digest", help="take another copy of it")
    try:
        return Backup(
            cluster=str(data["cluster"]),
            era=int(data["era"]),
            nodes=tuple(map(str, data["nodes"])),
            taken_at_s=float(data["taken_at"]),
            records={kind: _typed(kind, records.get(kind.name, {})) for kind in KINDS},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Invalid(f"the backup cannot be read: {type(error).__name__} {error}") from None


def _typed(kind: Kind[Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for id, record in plain.items():
        if "/" in id or not id:
            raise Invalid(f"the backup has a {kind.name} called {id!r}")
        try:
            found[id] = decode(_schema_first(record), kind.record)
        except NewerRecord as error:
            raise Invalid(f"{kind.name} {id} of the backup: {error.message}", help=error.help) from None
        except Permanent as error:
            raise Invalid(f"{kind.name} {id} of the backup cannot be read: {error.message}") from None
    return found


def _schema_first(record: Mapping[str, Any]) -> bytes:
    """As the store has it; JSON tools may have sorted the file's keys."""
    rest = {key: value for key, value in record.items() if key != "schema"}
    return msgspec.json.encode({"schema": record.get("schema", 1), **rest})


def _digest(records: Mapping[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(records, order="sorted")).hexdigest()
