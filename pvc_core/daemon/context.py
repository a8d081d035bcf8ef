"""The PluginContext that drivers are built with: all a plugin gets from the core."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pvc_core.clock import Clock
from pvc_core.cluster import layout
from pvc_core.cluster.guests import GuestIndex
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import Config
from pvc_core.contracts.plugin import Completed, GuestFacts, NodeFacts, PluginContext, PluginState, Supervised
from pvc_core.daemon.supervise import Supervisor
from pvc_core.errors import Conflict, Exists, NotFound, Permanent, Refused, Retry
from pvc_core.founding import node_seal
from pvc_core.founding.secrets import STORE_NODE, read_secret
from pvc_core.model.node import HealthSeen
from pvc_core.store.base import Store


class StoreState(PluginState):
    """The plugin's own subtree, /pvc/plugins/NAME."""

    def __init__(self, store: Store, plugin: str) -> None:
        self._store, self._root = store, f"{layout.PLUGINS}/{plugin}"

    def get(self, key: str) -> tuple[bytes, int]:
        entry = self._store.get(f"{self._root}/{key}")
        return entry.value, entry.version

    def put(self, key: str, value: bytes, *, if_version: int | None) -> int:
        path = f"{self._root}/{key}"
        if if_version == -1:
            return self._create(path, value)
        try:
            return self._store.put(path, value, if_version=if_version).version
        except NotFound:
            if if_version is not None:
                raise Conflict(f"record {key} is gone") from None
            return self._create(path, value)

    def delete(self, key: str, *, if_version: int | None) -> None:
        self._store.delete(f"{self._root}/{key}", if_version=if_version)

    def children(self, key: str) -> list[str]:
        try:
            return self._store.children(f"{self._root}/{key}" if key else self._root)
        except NotFound:
            return []

    def wake(self, call: Callable[[], None]) -> None:
        self._store.watch(self._root, lambda _: call())

    def _create(self, path: str, value: bytes) -> int:
        try:
            return self._store.create(path, value).version
        except Exists:
            raise Conflict(f"record {path} is there already") from None


class DaemonContext(PluginContext):
    """Of one plugin, in one daemon."""

    def __init__(
        self,
        config: Config,
        plugin: str,
        options: Mapping[str, Any],
        *,
        store: Store,
        keeper: ViewKeeper,
        clock: Clock,
        log: Any,
        incarnation: str = "",
    ) -> None:
        self.config, self.clock = options, clock
        self.log = log.bind(plugin=plugin)
        self.node = NodeFacts(
            name=config.node,
            coordinator=config.coordinator,
            floating={name: str(net.floating) for name, net in config.host_networks.items() if net.floating},
            host_networks={name: str(net.address) for name, net in config.host_networks.items() if net.address},
            incarnation=incarnation,
        )
        self.state = StoreState(store, plugin)
        self.health = HealthSeen(plugin=plugin, delta=0, message="")
        self._plugin, self._secrets, self._keeper = plugin, config.paths.secrets, keeper
        self.acts: Callable[[], bool] = lambda: self._keeper.view.primary == self.node.name
        """Whether this node may act as primary now. By the picture alone, until build.py puts the lease's word here."""
        self.index: GuestIndex | None = None
        self.holds: Callable[[str, Mapping[str, Sequence[str]]], None] | None = None
        """The primary's addresses that plugins give (Floating.also), by plugin. None: this node is never primary."""
        self._on_primary: list[Callable[[bool], None]] = []
        self._was_primary = False
        self._telling = threading.Lock()
        self._stopping = threading.Event()
        self._supervised: list[Supervisor] = []

    def secret(self, name: str) -> str:
        return read_secret(self._secrets, f"{self._plugin}-{name}")

    def seal(self, label: str, plain: str) -> str:
        return node_seal.seal(read_secret(self._secrets, STORE_NODE), self._plugin, label, plain)

    def unseal(self, label: str, sealed: str) -> str:
        return node_seal.unseal(read_secret(self._secrets, STORE_NODE), self._plugin, label, sealed)

    def run(self, argv: Sequence[str], *, deadline_s: float, stdin: bytes = b"") -> Completed:
        try:
            done = subprocess.run(list(argv), input=stdin, capture_output=True, timeout=deadline_s, check=False)
        except FileNotFoundError:
            raise Permanent(f"{argv[0]} is not installed on node {self.node.name}", help="install it") from None
        except subprocess.TimeoutExpired:
            raise Retry(f"{argv[0]} did not end within {deadline_s:g} s") from None
        except OSError as error:
            raise Permanent(f"{argv[0]} cannot be run on node {self.node.name}: {error.strerror}") from None
        return Completed(
            returncode=done.returncode,
            stdout=done.stdout.decode("utf-8", "replace"),
            stderr=done.stderr.decode("utf-8", "replace"),
        )

    def supervise(self, argv: Sequence[str]) -> Supervised:
        program = Supervisor(argv, self.log)
        self._supervised.append(program)
        return program

    def is_primary(self) -> bool:
        return self.acts()

    def on_primary(self, wake: Callable[[bool], None]) -> None:
        if not self._on_primary:
            self._was_primary = self.is_primary()
            self._keeper.subscribe(self._leader_changed)
        self._on_primary.append(wake)

    def tell_primary(self) -> None:
        """The role may have come or gone: those who asked are told, once for each change."""
        with self._telling:
            now = self.is_primary()
            if now == self._was_primary:
                return
            self._was_primary = now
            for wake in self._on_primary:
                try:
                    wake(now)
                except Exception:  # a plugin's bug must not end the thread that follows the store, or renews the lease
                    self.log.exception("the plugin failed when it was told who is primary")

    def _leader_changed(self, keys: frozenset[str] | None) -> None:
        if keys is None or layout.LEADER.key(layout.ONLY) in keys:
            self.tell_primary()

    def hold(self, addresses: Mapping[str, Sequence[str]]) -> None:
        if self.holds is not None:
            self.holds(self._plugin, addresses)
        elif addresses:
            raise Refused(f"node {self.node.name} cannot be primary, so it holds none of the primary's addresses")

    def guests(self, network: str) -> Sequence[GuestFacts]:
        return self.index.on(network) if self.index else ()

    def guest_of(self, mac: str) -> GuestFacts | None:
        return self.index.of(mac) if self.index else None

    def on_guests(self, wake: Callable[[], None]) -> None:
        if self.index is not None:
            self.index.wakes.append(wake)

    def gone_nodes(self) -> frozenset[str]:
        view = self._keeper.view
        return frozenset(kept.value.name for kept in view.removed_nodes.values()) - view.node_peers.keys()

    def report(self, delta: int, message: str) -> None:
        self.health = HealthSeen(plugin=self._plugin, delta=delta, message=message, at_s=self.clock.wall_s())

    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """The daemon is ending: long work comes back, supervised programs end."""
        self._stopping.set()
        for program in self._supervised:
            program.stop()
