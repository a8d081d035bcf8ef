"""Whether what `Plugin.build_drivers` returned is what the plugin promised. daemon/build_drivers.py asks."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_core.contracts import ComputeDriver, Drivers, FenceDriver, NetworkDriver, Plugin, StorageDriver
from pvc_core.loader.signatures import hook_faults, override_faults


def driver_faults(plugin: Plugin, drivers: object) -> Iterator[str]:
    """A sentence for each promise that is not kept; none when all is well."""
    if not isinstance(drivers, Drivers):
        yield f"build_drivers returned an object of type {type(drivers).__name__}; Drivers is needed"
        return
    yield from _half_faults("compute", plugin.compute, drivers.compute, ComputeDriver)
    yield from _half_faults("storage", plugin.storage, drivers.storage, StorageDriver)
    yield from _half_faults("fence", plugin.fence, drivers.fence, FenceDriver)
    yield from _half_faults("network", plugin.network, drivers.network, NetworkDriver)
    if drivers.hooks is not None:
        yield from hook_faults(drivers.hooks)
    promised = {action.name for action in plugin.actions}
    for name in sorted(promised ^ set(drivers.actions)):
        yield f"action {name!r} is " + ("declared but not built" if name in promised else "built but not declared")


def _half_faults(role: str, definitions: object | None, driver: object | None, contract: type) -> Iterator[str]:
    if (definitions is None) != (driver is None):
        there, missing = ("definitions", "driver") if driver is None else ("driver", "definitions")
        yield f"its {role} half has {there} but no {missing}"
    if driver is None:
        return
    if not isinstance(driver, contract):
        yield f"its {role} driver is an object of type {type(driver).__name__}; a {contract.__name__} is needed"
        return
    yield from override_faults(type(driver), contract)
