"""Where the plugins' halves that act on this node are built, each with its context, and found by what they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pvc_core.clock import Clock
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import Config
from pvc_core.contracts.compute import ComputeDefinitions, ComputeDriver
from pvc_core.contracts.fence import FenceDriver
from pvc_core.contracts.network import NetworkDriver
from pvc_core.contracts.plugin import Drivers, Plugin
from pvc_core.daemon.context import DaemonContext
from pvc_core.errors import Permanent, PvcError
from pvc_core.loader import Loaded, driver_faults
from pvc_core.model.node import PluginSeen
from pvc_core.store.base import Store


def build_drivers(
    config: Config,
    loaded: Loaded,
    store: Store,
    keeper: ViewKeeper,
    clock: Clock,
    log: Any,
    *,
    incarnation: str,
    tolerant: bool,
) -> tuple[dict[str, DaemonContext], dict[str, Drivers], dict[str, str]]:
    """(contexts, drivers, why a plugin is broken), each by plugin's name.

    Raises Permanent naming the plugin whose drivers cannot be built; if `tolerant`, that one is broken instead.
    """
    contexts: dict[str, DaemonContext] = {}
    drivers: dict[str, Drivers] = {}
    broken: dict[str, str] = {}
    for name, plugin in loaded.plugins.items():
        contexts[name] = DaemonContext(
            config, name, plugin.config, store=store, keeper=keeper, clock=clock, log=log, incarnation=incarnation
        )
        try:
            drivers[name] = _built(name, plugin, contexts[name])
        except PvcError as error:
            if not tolerant:
                raise
            broken[name] = str(error)
    return contexts, drivers, broken


def _built(name: str, plugin: Plugin, context: DaemonContext) -> Drivers:
    try:
        made = plugin.build_drivers(context)
    except PvcError as error:
        raise Permanent(f"plugin {name} cannot be started: {error.message}", help=error.help) from error
    except Exception as error:  # a stranger's bug is named, and costs no traceback
        raise Permanent(f"plugin {name} failed while it was built: {type(error).__name__}: {error}") from error
    faults = list(driver_faults(plugin, made))
    if faults:
        raise Permanent(f"plugin {name} does not keep its contract: {'; '.join(faults)}")
    return made


def ladder_of(config: Config, drivers: Mapping[str, Drivers]) -> dict[str, FenceDriver]:
    """The fence drivers of the ladder, in its order; a rung that is a storage driver is found among those."""
    found = {name: drivers[name].fence for name in config.fencing.ladder if name in drivers}
    return {name: driver for name, driver in found.items() if driver is not None}


def compute_of(loaded: Loaded, drivers: Mapping[str, Drivers]) -> tuple[ComputeDriver, ComputeDefinitions]:
    """Raises Permanent: there is none."""
    plugin = loaded.compute
    made = drivers.get(plugin.name) if plugin else None
    if plugin is None or plugin.compute is None or made is None or made.compute is None:
        raise Permanent(
            "no compute plugin works on this node", help="name one in pvc.yaml under plugins, and in use.compute"
        )
    return made.compute, plugin.compute


def plugins_seen(loaded: Loaded, broken: Mapping[str, str], custody: bool) -> tuple[PluginSeen, ...]:
    def state(plugin: PluginSeen) -> PluginSeen:
        if plugin.name in broken:
            return replace(plugin, state="broken", reason=broken[plugin.name])
        return replace(plugin, state="custody") if custody and plugin.state == "active" else plugin

    return tuple(state(plugin) for plugin in loaded.seen())


def networks_of(config: Config, drivers: Mapping[str, Drivers]) -> dict[str, NetworkDriver]:
    """By the word of use.networks."""
    found = {word: drivers[name].network for word, name in config.use.networks.items() if name in drivers}
    return {word: driver for word, driver in found.items() if driver is not None}
