"""The plugin's face: names, schemas and the two halves. The driver half is imported only when it is built."""

from __future__ import annotations

from typing import ClassVar

from marshmallow import Schema, fields, validate

from pvc_core.contracts.actions import Action
from pvc_core.contracts.plugin import Drivers, Plugin, PluginContext
from pvc_core.schema.fields import below_run
from pvc_storage_ceph.actions import ACTIONS
from pvc_storage_ceph.definitions import CephDefinitions

_PATH = validate.Regexp(r"/[^\0]*", error="{input!r} is not an absolute path")


class Config(Schema):
    """Section `plugins.storage_ceph` of pvc.yaml."""

    conf = fields.String(
        load_default="/etc/ceph/ceph.conf",
        validate=_PATH,
        metadata={"description": "Ceph's own configuration file: where its monitors are"},
    )
    user = fields.String(
        load_default="admin",
        validate=validate.Regexp(r"[A-Za-z0-9._-]+"),
        metadata={"description": 'who PVC is to Ceph, without "client."'},
    )
    keyring = fields.String(
        load_default="",
        metadata={"description": "file with that user's key; if empty, where Ceph looks by itself"},
    )
    pool_prefix = fields.String(
        load_default="",
        validate=validate.Regexp(r"[A-Za-z0-9._-]*"),
        metadata={"description": "begins the names of the pools in Ceph, when several clusters share one Ceph"},
    )
    state = below_run("storage_ceph", "directory for the key of the guests' disks and notes about running calls")
    osd_mode = fields.String(
        load_default="lvm",
        validate=validate.OneOf(("lvm", "raw")),
        metadata={"description": "how ceph-volume keeps a new OSD on its disk"},
    )
    bootstrap = fields.String(
        load_default="/var/lib/ceph/bootstrap-osd/ceph.keyring",
        validate=_PATH,
        metadata={"description": "where ceph-volume looks for the key with which it makes OSDs known"},
    )


class StorageCeph(Plugin):
    """Storage driver `storage_ceph`."""

    name: ClassVar[str] = "storage_ceph"
    config_schema: ClassVar[type[Schema]] = Config

    @property
    def storage(self) -> CephDefinitions:
        return CephDefinitions()

    @property
    def actions(self) -> tuple[Action, ...]:
        return ACTIONS

    def build_drivers(self, context: PluginContext) -> Drivers:
        from pvc_storage_ceph.benchmark import Benchmark
        from pvc_storage_ceph.driver import CephStorage
        from pvc_storage_ceph.health import Health
        from pvc_storage_ceph.osds import Osds

        driver = CephStorage(context)
        osds, benchmark = Osds(context, driver), Benchmark(context, driver)
        driver.benchmarks = benchmark.kept
        return Drivers(
            storage=driver,
            hooks=Health(driver.health, context.is_primary),
            actions={**osds.actions(), "benchmark": benchmark.run},
        )
