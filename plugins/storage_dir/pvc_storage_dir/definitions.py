"""What storage_dir can do and which options its pools take. Pure; touching files is driver.py's work."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from pvc_core.contracts.storage import StorageCapabilities, StorageDefinitions
from pvc_core.contracts.targets import File

FORMATS = ("raw", "qcow2")
UPLOAD_FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vpc", "qed")


def checked_directory(value: str) -> None:
    """Marshmallow validator: an absolute path without detours that is not the root of the node."""
    if not os.path.isabs(value) or os.path.normpath(value) != value or "\0" in value or value == "/":
        raise ValidationError(f"{value!r} is not an absolute path like /var/lib/pvc/volumes")


class PoolOptions(Schema):
    """`option=key=value` of a pool."""

    path = fields.String(validate=checked_directory, metadata={"description": "the pool's directory, if elsewhere"})
    format = fields.String(
        load_default="raw",
        validate=validate.OneOf(FORMATS),
        metadata={"description": "format of new volumes: raw or qcow2"},
    )
    shared = fields.Boolean(
        load_default=False,
        metadata={"description": "the directory is one file system that all nodes have mounted"},
    )


class DirDefinitions(StorageDefinitions):
    """The pure half."""

    capabilities = StorageCapabilities(
        disk_sources=(File,),
        formats=FORMATS,
        upload_formats=UPLOAD_FORMATS,
        clone=True,
        snapshots=True,
        online_resize="hypervisor",
    )
    pool_options = PoolOptions

    def shared(self, options: Mapping[str, Any]) -> bool:
        """From the pool's options, loaded by `pool_options` or still as strings."""
        return bool(self.pool_options().load(dict(options))["shared"])
