# SPDX-License-Identifier: LGPL-3.0-or-later
"""What every plugin is: definitions that are pure and imported everywhere, and drivers built in pvcnoded only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from marshmallow import Schema

from pvc_core.clock import Clock
from pvc_core.errors import Permanent
from pvc_core.model.vm import NicSpec

if TYPE_CHECKING:
    from pvc_core.contracts.actions import Action, ActionCall
    from pvc_core.contracts.compute import ComputeDefinitions, ComputeDriver
    from pvc_core.contracts.fence import FenceDefinitions, FenceDriver
    from pvc_core.contracts.frontend import Frontend
    from pvc_core.contracts.network import NetworkDefinitions, NetworkDriver
    from pvc_core.contracts.storage import StorageDefinitions, StorageDriver

API_VERSION = 1
"""The contracts' version that this pvc-core speaks. It accepts any plugin whose range contains it."""


class Plugin(ABC):
    """The class an entry point in group "pvc.plugins" names. Importing its module must be cheap and pure:

    no libvirt, rados or pyroute2, no file opened, no thread started. Heavy modules are imported in `build_drivers`.
    """

    name: ClassVar[str]
    """One name everywhere: entry point, section in pvc.yaml, log field."""
    api_range: ClassVar[tuple[int, int]] = (1, 1)
    """Lowest and highest contract version this plugin works with."""
    config_schema: ClassVar[type[Schema]]
    """Checks `plugins.NAME` of pvc.yaml. Fields with metadata={"secret": True} are never logged or shown."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` has been loaded by `config_schema`."""
        self.config = config

    @property
    def compute(self) -> ComputeDefinitions | None:
        """The definitions half of a compute driver, if the plugin has one."""
        return None

    @property
    def storage(self) -> StorageDefinitions | None:
        """The definitions half of a storage driver, if the plugin has one."""
        return None

    @property
    def fence(self) -> FenceDefinitions | None:
        """The definitions half of a fence driver, if the plugin has one."""
        return None

    @property
    def network(self) -> NetworkDefinitions | None:
        """The definitions half of a network driver, if the plugin has one."""
        return None

    @property
    def actions(self) -> Sequence[Action]:
        return ()

    @property
    def units(self) -> Sequence[str]:
        """systemd services this plugin cannot do without on a node, like "libvirtd.service". pvcnoded starts those that
        do not run and shows in the node's health what it cannot start; it never stops or restarts one.
        """
        return ()

    def definition_hooks(self) -> object | None:
        """An object with pvc_check_vm_define: a pure hook, asked in pvcapid. All other hooks belong to
        Drivers.hooks.
        """
        return None

    def prepare_node(self) -> Sequence[str]:
        """Put onto this machine what must be there before its daemons start (a hook of another daemon, a module).

        Called as root by `pvcnoded init`, outside any daemon; idempotent. Returns a sentence for each thing made or
        changed. Raises Permanent.
        """
        return ()

    def build_drivers(self, context: PluginContext) -> Drivers:
        """Called once, in pvcnoded, before anything is reconciled. May import heavy modules and open connections
        lazily;

        must return within ten seconds. Raises Permanent when the machine lacks what it needs, in words.
        """
        return Drivers()

    def build_frontend(self, context: PluginContext, services: Any) -> Frontend | None:
        """Called once, in pvcapid. `services` is pvc_core.services.Services."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """What a plugin brings to pvcnoded. `stop` is called last, once."""

    compute: ComputeDriver | None = None
    storage: StorageDriver | None = None
    fence: FenceDriver | None = None
    network: NetworkDriver | None = None
    hooks: object | None = None
    actions: Mapping[str, ActionCall] = field(default_factory=dict)
    stop: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """This node, as a plugin may know it. `host_networks` maps upstream, cluster, storage to their address in CIDR
    form.
    """

    name: str
    coordinator: bool
    host_networks: Mapping[str, str] = field(default_factory=dict)
    floating: Mapping[str, str] = field(default_factory=dict)
    """Host network -> the address there that follows the primary, in CIDR form; those that have one."""
    incarnation: str = ""
    """This life of the node, another after each boot; "" in pvcapid, which is no part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a program run by PluginContext.run left."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFacts:
    """A VM, as far as plugins that serve guests may know it (PluginContext.guest_of)."""

    uuid: str
    name: str
    profile: str = ""
    user_data: str = ""
    """What an operator gave for the guest's own first start (cloud-init)."""
    nics: tuple[NicSpec, ...] = ()


class Supervised(Protocol):
    """A program kept running by the daemon until stopped; restarted with back-off when it dies."""

    def stop(self) -> None: ...

    @property
    def pid(self) -> int | None: ...


class PluginState(Protocol):
    """The plugin's own subtree of the store: small records that all nodes' instances of this plugin share.

    Keys are relative ("leases/52:54"); values at most 100 kB. Errors as in the store: NotFound, Conflict,
    StoreUnavailable.
    """

    def get(self, key: str) -> tuple[bytes, int]:
        """(value, version)."""

    def put(self, key: str, value: bytes, *, if_version: int | None) -> int:
        """The new version. `if_version=-1` creates and raises Conflict if it is there; None writes in any case."""

    def delete(self, key: str, *, if_version: int | None) -> None: ...

    def children(self, key: str) -> list[str]:
        """Sorted; empty when there is nothing."""

    def wake(self, call: Callable[[], None]) -> None:
        """Call after every change below the plugin's subtree; from a thread of the core's, must return at once."""


class PluginContext(ABC):
    """All a plugin gets from the core; nothing else of the core may be reached."""

    config: Mapping[str, Any]
    log: Any
    """A structlog logger with node and plugin bound."""
    clock: Clock
    node: NodeFacts
    state: PluginState

    @abstractmethod
    def secret(self, name: str) -> str:
        """A secret of the cluster kept outside pvc.yaml. Raises NotFound."""

    def seal(self, label: str, plain: str) -> str:
        """`plain` encrypted, as text, so that every node's instance of this plugin can read it and nobody else: not the
        API, no backup of the store. `label` names what it is for, and must be the same to open it. Raises Permanent.
        """
        raise Permanent("this context seals nothing")

    def unseal(self, label: str, sealed: str) -> str:
        """What `seal` was given. Raises Permanent when it was sealed elsewhere, for something else, or changed."""
        raise Permanent("this context unseals nothing")

    @abstractmethod
    def run(self, argv: Sequence[str], *, deadline_s: float, stdin: bytes = b"") -> Completed:
        """Run a program to its end; killed at the deadline (raises Retry). Never through a shell. Raises Permanent if
        absent.
        """

    @abstractmethod
    def supervise(self, argv: Sequence[str]) -> Supervised: ...

    @abstractmethod
    def is_primary(self) -> bool: ...

    @abstractmethod
    def on_primary(self, wake: Callable[[bool], None]) -> None:
        """Call `wake(is_primary)` at every change; same duties as PluginState.wake."""

    def hold(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Device -> addresses ("10.0.0.1/24") that this plugin has, or is about to have, there only while this node is
        primary: all of them, each time. To be told before any is given. They are taken away before the role is handed
        on, and by the node's guard when the lease ends while this daemon is stopped. Raises Permanent, Refused (this
        node cannot be primary).
        """
        return

    def guests(self, network: str) -> Sequence[GuestFacts]:
        """The VMs that have a NIC on this network (a VNI as text) by their definitions, run they or not. Of the picture
        in memory: nothing is asked, however many VMs there are.
        """
        return ()

    def guest_of(self, mac: str) -> GuestFacts | None:
        """The VM that has the NIC with this MAC. As cheap as `guests`."""
        return None

    def on_guests(self, wake: Callable[[], None]) -> None:
        """Call after a definition has come, gone or changed; same duties as PluginState.wake."""
        return

    def gone_nodes(self) -> frozenset[str]:
        """Nodes that were removed from the cluster and are not back: what the plugin has on record of them is void, and
        the primary's instance should delete it. Of the picture in memory; never names a node because it is not known.
        """
        return frozenset()

    @abstractmethod
    def report(self, delta: int, message: str) -> None:
        """This plugin's health: 0 and a sentence when well, else how many points of 100 it costs the node and why."""

    @abstractmethod
    def stopping(self) -> bool:
        """True once the daemon is ending: long work should come back."""
