"""The plugin's face: names, schemas and the two halves. The driver half is imported only when it is built."""

from __future__ import annotations

from typing import ClassVar

from marshmallow import Schema, fields

from pvc_core.contracts.plugin import Drivers, Plugin, PluginContext
from pvc_storage_dir.definitions import DirDefinitions, checked_directory


class Config(Schema):
    """Section `plugins.storage_dir` of pvc.yaml."""

    path = fields.String(
        load_default="/var/lib/pvc/volumes",
        validate=checked_directory,
        metadata={"description": "pools are directories below this one"},
    )


class StorageDir(Plugin):
    """Storage driver `storage_dir`."""

    name: ClassVar[str] = "storage_dir"
    config_schema: ClassVar[type[Schema]] = Config

    @property
    def storage(self) -> DirDefinitions:
        return DirDefinitions()

    def build_drivers(self, context: PluginContext) -> Drivers:
        from pvc_storage_dir.driver import DirStorage
        from pvc_storage_dir.health import Health

        driver = DirStorage(context)
        return Drivers(storage=driver, hooks=Health(driver.pools))
