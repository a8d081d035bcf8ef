"""storage_memo: a storage driver for PVC. This module is the pure half; driver.py touches files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, fields

from pvc_core.contracts import Action, Drivers, File, Plugin, PluginContext, StorageCapabilities, StorageDefinitions


class Config(Schema):
    """Section `plugins.storage_memo` of pvc.yaml."""

    path = fields.String(load_default="/srv/storage_memo", metadata={"description": "pools are directories in here"})


class PoolOptions(Schema):
    """`option=key=value` of a pool: this driver has none."""


class NoteArguments(Schema):
    """Arguments of the action `note`."""

    pool = fields.String(required=True)
    volume = fields.String(required=True)
    text = fields.String(load_default="")


class Definitions(StorageDefinitions):
    """What the driver can do. Everything that is not named here, PVC refuses before it asks the driver."""

    capabilities = StorageCapabilities(disk_sources=(File,), online_resize="hypervisor")
    pool_options = PoolOptions

    def shared(self, options: Mapping[str, Any]) -> bool:
        return False


class StorageMemo(Plugin):
    """The class that the entry point names."""

    name: ClassVar[str] = "storage_memo"
    config_schema: ClassVar[type[Schema]] = Config

    @property
    def storage(self) -> Definitions:
        return Definitions()

    @property
    def actions(self) -> tuple[Action, ...]:
        help_text = "Keep a note on a volume, or read it if no text is given"
        return (Action(name="note", help=help_text, where="node", schema=NoteArguments),)

    def build_drivers(self, context: PluginContext) -> Drivers:
        from pvc_storage_memo.driver import Driver, Health

        driver = Driver(context)
        return Drivers(storage=driver, hooks=Health(driver), actions={"note": driver.note})
