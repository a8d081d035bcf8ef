# SPDX-License-Identifier: LGPL-3.0-or-later
"""A PluginContext for tests: programs really run, state is kept in memory, time is the clock's that it was given."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from pvc_core.clock import Clock, SystemClock
from pvc_core.contracts.plugin import Completed, GuestFacts, NodeFacts, PluginContext, PluginState, Supervised
from pvc_core.daemon.supervise import Supervisor
from pvc_core.errors import Conflict, NotFound, Permanent, Retry
from pvc_core.founding import node_seal


@dataclass
class FakeState(PluginState):
    """The plugin's subtree. Hand the same one to several contexts, as all nodes share the store."""

    records: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    wakes: list[Callable[[], None]] = field(default_factory=list)

    def get(self, key: str) -> tuple[bytes, int]:
        if key not in self.records:
            raise NotFound(f"there is no record {key}")
        return self.records[key]

    def put(self, key: str, value: bytes, *, if_version: int | None) -> int:
        now = self.records[key][1] if key in self.records else -1
        if if_version is not None and if_version != now:
            raise Conflict(f"record {key} has version {now}, not {if_version}")
        self.records[key] = (value, now + 1)
        self._wake()
        return now + 1

    def delete(self, key: str, *, if_version: int | None) -> None:
        version = self.get(key)[1]
        if if_version is not None and if_version != version:
            raise Conflict(f"record {key} has version {version}, not {if_version}")
        del self.records[key]
        self._wake()

    def children(self, key: str) -> list[str]:
        below = f"{key}/" if key else ""
        return sorted({one[len(below) :].split("/")[0] for one in self.records if one.startswith(below)})

    def wake(self, call: Callable[[], None]) -> None:
        self.wakes.append(call)

    def _wake(self) -> None:
        for call in self.wakes:
            call()


class FakeContext(PluginContext):
    """`config` is what the plugin's schema would have loaded. What is reported lies in `reports`."""

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        node: str = "hv1",
        state: PluginState | None = None,
        clock: Clock | None = None,
        secrets: Mapping[str, str] | None = None,
        incarnation: str = "boot-1",
        host_networks: Mapping[str, str] | None = None,
    ) -> None:
        self.config = dict(config or {})
        self.log = structlog.get_logger().bind(node=node)
        self.clock = clock or SystemClock()
        self.node = NodeFacts(
            name=node, coordinator=True, host_networks=dict(host_networks or {}), incarnation=incarnation
        )
        self.state = state if state is not None else FakeState()
        self.reports: list[tuple[int, str]] = []
        self.primary = True
        self.held: dict[str, list[str]] = {}
        """What `hold` was told last."""
        self.known_guests: list[GuestFacts] = []
        self.gone: set[str] = set()
        """What `gone_nodes` says."""
        self.supervised: list[Supervisor] = []
        self._on_primary: list[Callable[[bool], None]] = []
        self.is_stopping = False
        self._secrets = dict(secrets or {})

    def secret(self, name: str) -> str:
        if name not in self._secrets:
            raise NotFound(f'there is no secret "{name}"')
        return self._secrets[name]

    def seal(self, label: str, plain: str) -> str:
        """All test contexts belong to one cluster."""
        return node_seal.seal("a test cluster's secret", "test", label, plain)

    def unseal(self, label: str, sealed: str) -> str:
        return node_seal.unseal("a test cluster's secret", "test", label, sealed)

    def run(self, argv: Sequence[str], *, deadline_s: float, stdin: bytes = b"") -> Completed:
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, timeout=deadline_s, check=False)
        except FileNotFoundError:
            raise Permanent(f"{argv[0]} is not installed") from None
        except subprocess.TimeoutExpired:
            raise Retry(f"{argv[0]} did not end within {deadline_s:g} s") from None
        return Completed(
            returncode=done.returncode,
            stdout=done.stdout.decode("utf-8", "replace"),
            stderr=done.stderr.decode("utf-8", "replace"),
        )

    def supervise(self, argv: Sequence[str]) -> Supervised:
        """It really runs, until it is stopped, or `stop` ends all."""
        program = Supervisor(argv, self.log)
        self.supervised.append(program)
        return program

    def stop(self) -> None:
        """As when the daemon ends."""
        self.is_stopping = True
        for program in self.supervised:
            program.stop()

    def is_primary(self) -> bool:
        return self.primary

    def on_primary(self, wake: Callable[[bool], None]) -> None:
        self._on_primary.append(wake)
        if self.primary:
            wake(True)

    def become(self, primary: bool) -> None:
        """The role has come or gone."""
        self.primary = primary
        for wake in self._on_primary:
            wake(primary)

    def hold(self, addresses: Mapping[str, Sequence[str]]) -> None:
        self.held = {device: list(words) for device, words in addresses.items()}

    def guests(self, network: str) -> Sequence[GuestFacts]:
        return [one for one in self.known_guests if any(nic.network == network for nic in one.nics)]

    def guest_of(self, mac: str) -> GuestFacts | None:
        return next((one for one in self.known_guests if any(nic.mac == mac.lower() for nic in one.nics)), None)

    def gone_nodes(self) -> frozenset[str]:
        return frozenset(self.gone)

    def report(self, delta: int, message: str) -> None:
        self.reports.append((delta, message))

    def stopping(self) -> bool:
        return self.is_stopping
