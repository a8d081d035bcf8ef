"""The entry point: configuration, definitions, and the driver built from them. Imports no libvirt until it is built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marshmallow import Schema, fields, validate

from pvc_compute_libvirt.definitions import LibvirtDefinitions
from pvc_compute_libvirt.maintenance import Maintenance
from pvc_compute_libvirt.virt import find_virt_type
from pvc_core.contracts.compute import ComputeDefinitions
from pvc_core.contracts.plugin import Drivers, Plugin, PluginContext
from pvc_core.schema.fields import below_run

if TYPE_CHECKING:
    from pvc_compute_libvirt.permits import Permits


class ConfigSchema(Schema):
    virt_type = fields.String(
        load_default="auto",
        validate=validate.OneOf(["auto", "kvm", "qemu"]),
        metadata={"description": "kvm, qemu (emulation), or auto: kvm if a guest was seen to run under it"},
    )
    uri = fields.String(load_default="qemu:///system", metadata={"description": "where libvirt answers"})
    console_log_dir = fields.String(
        load_default="/var/log/libvirt", metadata={"description": "where serial consoles are logged, one UUID.log each"}
    )
    vnc_listen = fields.String(
        load_default="127.0.0.1", metadata={"description": "address on which guests' VNC servers listen"}
    )
    hooks_dir = fields.String(
        load_default="/etc/libvirt/hooks", metadata={"description": "libvirt's hooks; ours is put into qemu.d"}
    )
    permits_dir = below_run("permits", "where pvcguard writes launch permits")
    migration_uri = fields.String(
        load_default="qemu+tls://{address}/system",
        metadata={
            "description": "this node's libvirt as other nodes reach it, with {address} on the cluster network; "
            "without tls anybody on that network may read and change guests"
        },
    )


class ComputeLibvirt(Plugin):
    name = "compute_libvirt"
    config_schema = ConfigSchema

    @property
    def compute(self) -> ComputeDefinitions:
        return LibvirtDefinitions()

    @property
    def units(self) -> Sequence[str]:
        """libvirt elsewhere than on this machine's own socket is somebody else's to start."""
        return ("libvirtd.service",) if self.config["uri"] == "qemu:///system" else ()

    def prepare_node(self) -> Sequence[str]:
        """libvirtd reads its hooks only when it starts, so ours must be there before."""
        hook = self._permits().install_hook()
        return (
            ("installed libvirt's launch permit hook; a libvirtd that runs already must be restarted",) if hook else ()
        )

    def build_drivers(self, context: PluginContext) -> Drivers:
        """Finds out how guests run (once per boot) and installs libvirt's hook; connects later. Raises Permanent."""
        from pvc_compute_libvirt.check import Check
        from pvc_compute_libvirt.clocks import Clocks
        from pvc_compute_libvirt.driver import LibvirtDriver, Settings
        from pvc_compute_libvirt.health import Health
        from pvc_compute_libvirt.libvirtd import restart_libvirtd
        from pvc_compute_libvirt.processes import Processes

        cache = Path(self.config["permits_dir"]).with_name("virt_type.json")
        virt_type, why = find_virt_type(self.config["virt_type"], run=context.run, cache=cache)
        context.log.info("how guests run here", virt_type=virt_type, why=why)
        permits = self._permits()
        if permits.install_hook():
            context.log.warning("installed libvirt's launch permit hook; libvirtd is restarted if it does not ask it")
        address = context.node.host_networks.get("cluster", "").partition("/")[0]
        address = f"[{address}]" if ":" in address else address  # as URIs have IPv6 (RFC 3986 3.2.2)
        settings = Settings(
            uri=self.config["uri"],
            virt_type=virt_type,
            virt_why=why,
            console_log_dir=Path(self.config["console_log_dir"]),
            vnc_listen=self.config["vnc_listen"],
            migration_uri=self.config["migration_uri"].replace("{address}", address),
            migration_address=address,
            restart_libvirtd=lambda: restart_libvirtd(self.config["uri"], run=context.run),
        )
        driver = LibvirtDriver(settings, permits=permits, processes=Processes(), clock=context.clock, log=context.log)
        maintenance = Maintenance(
            guests=driver.list_guests,
            install_hook=permits.install_hook,
            prove_again=driver.prove_again,
            log=context.log,
        )
        clocks = Clocks(driver.set_clock, context.log)
        hooks = _Together(maintenance, Check(driver.host_facts), clocks, Health(driver.away_s))
        return Drivers(compute=driver, stop=driver.stop_driver, hooks=hooks)

    def _permits(self) -> Permits:
        from pvc_compute_libvirt.permits import Permits

        return Permits(permits_dir=Path(self.config["permits_dir"]), hooks_dir=Path(self.config["hooks_dir"]))


class _Together:
    """One object with the hooks of several, as Drivers.hooks wants it."""

    def __init__(self, *listeners: object) -> None:
        for one in listeners:
            for name in dir(one):
                if name.startswith("pvc_"):
                    setattr(self, name, getattr(one, name))
