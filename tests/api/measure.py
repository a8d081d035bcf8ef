"""How long `GET /vm` takes with many VMs, over real HTTP on loopback, and how often the store is read for it.

python -m tests.api.measure [COUNT ...]      from the repository root; default: 1000 10000
"""

from __future__ import annotations

import http.client
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pvc_core.cluster import layout
from pvc_core.model.cluster import NameIndex
from pvc_core.model.node import NodeStats
from pvc_core.model.vm import Claim, GuestState, Phase, Tag, VmSeen, VmWanted, Want
from pvc_core.schema.records import encode
from pvc_core.store.base import Create

from .fake_compute import definition
from .rig import Api, Rig, new_rig, running

PADDING = "<!-- " + "x" * 2500 + " -->"
"""A definition is about 3 kB."""

NODES = 20


def fill(rig: Rig, count: int) -> list[str]:
    """`count` running VMs with statistics. Returns their UUIDs."""
    rig.node.lazy = True
    uuids = [str(uuid.uuid5(uuid.NAMESPACE_DNS, str(number))) for number in range(count)]
    store = rig.repository.store
    for number, id in enumerate(uuids):
        name = f"vm{number:05}"
        nics = f'<nic mac="52:54:00:00:{number // 256 % 256:02x}:{number % 256:02x}" source="vmbr1000" network="1000"/>'
        vm = VmWanted(
            uuid=id,
            name=name,
            definition=definition(name, uuid=id, more=nics + PADDING),
            want=Want.START,
            tags=(Tag(name="tag0"),),
        )
        node = f"hv{number % NODES + 1}"
        seen = VmSeen(uuid=id, node=node, guest=GuestState.RUNNING, sentence="running")
        records = (
            (layout.VM_WANTED, id, vm),
            (layout.VM_NAMES, name, NameIndex(uuid=id)),
            (layout.CLAIMS, id, Claim(uuid=id, holder=node, phase=Phase.RUN)),
            (layout.VM_SEEN, id, seen),
        )
        store.commit([Create(kind.key(id), encode(record)) for kind, id, record in records])
    tick(rig)
    rig.keeper.settle(timeout_s=120)
    return uuids


@dataclass(frozen=True)
class Figures:
    p50_ms: float
    p95_ms: float
    size_bytes: int
    store_reads: int

    def __str__(self) -> str:
        size = f"{self.size_bytes / 1e6:.1f} MB"
        return f"p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms, {size}, {self.store_reads} store reads"


def ask_often(api: Api, path: str, times: int, before_each: Callable[[], None] = lambda: None) -> Figures:
    """One client on one connection, one request after the other."""
    line = http.client.HTTPConnection("127.0.0.1", api.frontend.port)
    took, size, reads = [], 0, 0
    for number in range(times + 1):
        before_each()
        reads_before, began = api.rig.keeper.reads, time.perf_counter()
        line.request("GET", f"/api/v1{path}", headers={"X-Api-Key": api.key})
        answer = line.getresponse()
        size = len(answer.read())
        if number:  # the first warms up
            took.append((time.perf_counter() - began) * 1000)
            reads += api.rig.keeper.reads - reads_before
        assert answer.status == 200
    line.close()
    return Figures(statistics.median(took), sorted(took)[int(len(took) * 0.95)], size, reads)


def measure(count: int) -> None:
    rig = new_rig()
    uuids = fill(rig, count)
    with tempfile.TemporaryDirectory() as tmp, running(rig, Path(tmp)) as api:
        began = time.perf_counter()
        line = http.client.HTTPConnection("127.0.0.1", api.frontend.port)
        line.request("GET", "/api/v1/vm", headers={"X-Api-Key": api.key})
        line.getresponse().read()
        print(f"{count} VMs: first list after a start {(time.perf_counter() - began) * 1000:.0f} ms")
        print(f"{count} VMs: nothing changed between   {ask_often(api, '/vm', 30)}")
        print(f"{count} VMs: one VM changed between    {ask_often(api, '/vm', 20, lambda: touch(rig, uuids[7]))}")
        print(f"{count} VMs: all statistics changed    {ask_often(api, '/vm', 5, lambda: tick(rig))}")
        print(f"{count} VMs: filter by tag             {ask_often(api, '/vm?tag=tag0', 10)}")
        print(f"{count} VMs: one VM                    {ask_often(api, '/vm/vm00007', 100)}")
        print(f"{count} VMs: /status                   {ask_often(api, '/status', 10)}")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{count} VMs: peak memory of this process, client and store in memory included: {peak_mib} MiB")
    rig.close()


def touch(rig: Rig, uuid: str) -> None:
    kept = rig.repository.get(layout.VM_SEEN, uuid)
    seen = replace(kept.value, sentence=f"running, {kept.version}")
    rig.repository.set(layout.VM_SEEN, uuid, seen, if_version=None)
    rig.keeper.settle([layout.VM_SEEN.key(uuid)])


def tick(rig: Rig) -> None:
    """Every node reports new counters of all its guests."""
    guests: dict[str, dict[str, dict[str, object]]] = {f"hv{number + 1}": {} for number in range(NODES)}
    for claim in rig.repository.all(layout.CLAIMS).values():
        counters = {"uuid": claim.value.uuid, "cpu_time_ns": time.monotonic_ns(), "memory": {"actual": 1}}
        guests[claim.value.holder][claim.value.uuid] = {**counters, "disks": {}, "nics": {}}
    for node, counted in guests.items():
        stats = NodeStats(node=node, guests=counted)
        rig.repository.save(layout.STATS, node, stats, rig.repository.find(layout.STATS, node))
    rig.keeper.settle([layout.STATS.key(node) for node in guests])


if __name__ == "__main__":
    for each in sys.argv[1:] or ("1000", "10000"):
        measure(int(each))
