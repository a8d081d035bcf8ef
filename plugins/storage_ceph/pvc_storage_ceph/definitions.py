"""What storage_ceph can do and which options its pools take. Pure; talking to Ceph is driver.py's work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from pvc_core.contracts.storage import StorageCapabilities, StorageDefinitions
from pvc_core.contracts.targets import Rbd

UPLOAD_FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vpc", "qed")
_COPIES = validate.Range(min=1, max=10)
_REPLCFG = re.compile(r"copies=(\d+),mincopies=(\d+)")


class PoolOptions(Schema):
    """`option=key=value` of a pool."""

    copies = fields.Integer(validate=_COPIES, metadata={"description": "copies of each object; 3 if nothing is said"})
    mincopies = fields.Integer(validate=_COPIES, metadata={"description": "writes stop below so many copies"})


class CephDefinitions(StorageDefinitions):
    """The pure half."""

    capabilities = StorageCapabilities(
        disk_sources=(Rbd,),
        formats=("raw",),
        upload_formats=UPLOAD_FORMATS,
        shrink=True,
        clone=True,
        thin_clone=True,
        diffs=True,
        adopt=True,
        reports=True,
        snapshots=True,
        online_snapshots=True,
        online_resize="driver",
        storage_fencing=True,
    )
    pool_options = PoolOptions

    def shared(self, options: Mapping[str, Any]) -> bool:
        """One Ceph for all nodes."""
        return True


def copies_of(options: Mapping[str, str], replcfg: str) -> tuple[int, int]:
    """(copies, fewest copies to write to), from a pool's options or the wire's "copies=3,mincopies=2"; (0, 0) if
    nothing is said. Raises ValidationError.
    """
    loaded = PoolOptions().load(dict(options))
    said = _REPLCFG.fullmatch(replcfg.replace(" ", ""))
    if replcfg and not said:
        raise ValidationError(f'{replcfg!r} is not of the form "copies=3,mincopies=2"')
    copies = int(loaded.get("copies") or (said and said[1]) or 0)
    fewest = int(loaded.get("mincopies") or (said and said[2]) or 0)
    if copies and fewest > copies:
        raise ValidationError(f"mincopies={fewest} is more than copies={copies}")
    return copies, fewest
