"""One light node: all of pvcnoded's and pvcguard's logic in one process, on a hypervisor in memory; no host networks,
no questions from other nodes. bench.scale starts many of them on one machine.

Arguments: the configuration file, the node's name, ZooKeeper's address, and where to write the report when told to end:
a JSON object {"seen": {marker: seconds until this node's picture showed it}, "late_s": the oldest that the last
accepted heartbeat ever was}. A marker is the first tag of a VM that is off, "bench NAME SECONDS-OF-CLOCK_MONOTONIC".
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from bench.tools.records import MARKED
from pvc_compute_libvirt.plugin import ComputeLibvirt
from pvc_core.clock import SystemClock
from pvc_core.cluster import layout
from pvc_core.cluster.lease import CALL_S
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import Config
from pvc_core.contracts.compute import RenderRequest
from pvc_core.contracts.plugin import Drivers, PluginContext
from pvc_core.daemon import logs
from pvc_core.daemon.build import build_node
from pvc_core.daemon.channel import Channel
from pvc_core.daemon.life import NodeLife, run_until_signal
from pvc_core.daemon.once import Once
from pvc_core.daemon.opening import grants
from pvc_core.daemon.ring import LogRing
from pvc_core.founding.secrets import STORE_NODE, read_secret
from pvc_core.guard import incarnation
from pvc_core.guard.deadline import Deadline
from pvc_core.guard.facts import read_facts
from pvc_core.guard.heartbeat import Heart
from pvc_core.guard.nics import Nics
from pvc_core.guard.pulse import Pulse
from pvc_core.guard.settings import read_settings
from pvc_core.loader import Loaded, load_all
from pvc_core.store.base import Store
from pvc_core.store.zookeeper import Credentials, ZooKeeperStore
from pvc_core.testing.compute import FakeCompute, FakeComputeWorld, FakePermits

_SAMPLE_S = 0.05


class _AsGiven:
    """Definitions are started as they are: rendering is libvirt's matter, and measured elsewhere."""

    def render(self, request: RenderRequest) -> str:
        return request.definition


class LightCompute(ComputeLibvirt):
    """The definitions of compute_libvirt, so that a real pvcapid understands them; guests in memory."""

    world = FakeComputeWorld()

    def build_drivers(self, context: PluginContext) -> Drivers:
        driver = FakeCompute(self.world, self.world.host(context.node.name))
        driver._definitions = _AsGiven()  # type: ignore[assignment]  # a fake of a fake
        return Drivers(compute=driver)


def main() -> int:
    file, name, hosts, report = sys.argv[1:]
    config, loaded = load_all(file, node=name)
    run = config.paths.run
    run.mkdir(parents=True, exist_ok=True)
    life, clock = incarnation.ensure(run), SystemClock()
    logs.setup(node=name, ring=LogRing())
    log = structlog.get_logger("pvc.noded")
    store = _client(config, hosts)
    node = build_node(
        config, _light(loaded), store=store, clock=clock, log=log, permits=FakePermits(LightCompute.world.host(name)),
        incarnation=life, ring=LogRing(), lease_store=_client(config, hosts, 2.0, CALL_S),
    )  # fmt: skip
    peer = Channel(config, {}, view=lambda: node.keeper.view, store=store, incarnation=life, clock=clock, log=log)
    daemon, beat = NodeLife(node, peer, log), _Guard(Path(file), config, life, lambda: _client(config, hosts, 2.0, 0.8))
    seen = _Markers(node.keeper)

    def begin() -> None:
        beat.begin()
        daemon.begin()

    def end() -> None:
        beat.end()
        Path(report).write_text(json.dumps({"seen": seen.found, "late_s": beat.late_s}))
        daemon.end()

    return run_until_signal(begin, end, log)


def _light(loaded: Loaded) -> Loaded:
    entry = loaded.entries["compute_libvirt"]
    assert entry.plugin is not None
    light = replace(entry, plugin=LightCompute(entry.plugin.config))
    return replace(loaded, entries={**loaded.entries, "compute_libvirt": light})


def _client(config: Config, hosts: str, session_s: float = 6.0, deadline_s: float = 5.0) -> ZooKeeperStore:
    password = read_secret(config.paths.secrets, STORE_NODE)
    return ZooKeeperStore(
        hosts, credentials=Credentials("node", password, "sasl"), acl=grants,
        session_timeout_s=session_s, call_deadline_s=deadline_s,
    )  # fmt: skip


class _Guard:
    """The heartbeat as pvcguard sends it, on a client of its own. Nothing is frozen: there is nothing to freeze."""

    def __init__(self, file: Path, config: Config, life: str, open_store: Callable[[], Store]) -> None:
        settings, _ = read_settings(file, node=config.node, state=config.paths.state)
        clock = SystemClock()
        self._clock, self._deadline, self._stop = clock, Deadline(settings.self_fence_s), threading.Event()
        nics = Nics()
        heart = Heart(
            config.node, life, limit_s=settings.self_fence_s, clock=clock, deadline=self._deadline,
            facts=lambda: read_facts(clock.boottime_s(), settings.run, nics),
        )  # fmt: skip
        once = Once(structlog.get_logger("pvcguard"), clock)
        self._pulse = Pulse(
            settings, heart, incarnation=life, deadline=self._deadline, clock=clock, once=once, open_store=open_store
        )
        self.late_s = 0.0

    def begin(self) -> None:
        for run in (lambda: self._pulse.run(self._stop), self._watch):
            threading.Thread(target=run, daemon=True).start()

    def end(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            sent_s = self._deadline.last_sent_s
            if sent_s is not None:
                self.late_s = max(self.late_s, self._clock.boottime_s() - sent_s)


class _Markers:
    """When this node's picture showed what the bench wrote."""

    def __init__(self, keeper: ViewKeeper) -> None:
        self.found: dict[str, float] = {}
        self._keeper = keeper
        keeper.subscribe(self._look)

    def _look(self, keys: Any) -> None:
        kept = self._keeper.view.vm_wanted.get(MARKED)
        if kept is None or not kept.value.tags or not (keys is None or layout.VM_WANTED.key(MARKED) in keys):
            return
        _, name, at_s = kept.value.tags[0].name.split(" ")
        if name not in self.found:
            self.found[name] = time.monotonic() - float(at_s)


if __name__ == "__main__":
    sys.exit(main())
