"""What is wrong with the cluster, in sentences with a weight. Pure; who keeps them is reconcile/faults.py.

Ids are the wire's own: DEAD_NODE_<NODE>, VM_FAILED_<VM>, NODE_PLUGIN_<PLUGIN>_<NODE>, CEPH_OSD_OUT_<OSD>,
CEPH_WARN_<CHECK>, CEPH_ERR_<CHECK> and what else storage drivers report; ours are SILENT_NODE_<NODE>, VM_WAITING_<VM>,
VM_CRASHING_<VM>, STORAGE_SILENT_<DRIVER> and CLUSTER_SPARE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pvc_core.model.fault import Fault
from pvc_core.model.node import DaemonState
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import GuestState, Want
from pvc_core.policy.admission import cannot_lose
from pvc_core.policy.placement import NOWHERE, Describe

DEAD_NODE, SILENT_NODE, FAILED_VM, WAITING_VM, CRASHING_VM, NO_SPARE = 50, 25, 10, 10, 10, 10
SILENT_STORAGE = 25
CRASHES = 3
"""So often in a row a guest ended by itself that somebody should look."""
_NO_KEY = re.compile(r"[^A-Z0-9_.-]")


def faults_of(view: ClusterView, describe: Describe, silent: Mapping[str, str] | None = None) -> dict[str, Fault]:
    """By id, without times. `silent`: nodes that are not heard -> why they are not given up all the same."""
    found = (_nodes(view, silent or {}), _vms(view), _spare(view, describe), _storage(view))
    return {one.id: one for some in found for one in some}


def _nodes(view: ClusterView, silent: Mapping[str, str]) -> Iterator[Fault]:
    for name, kept in view.node_seen.items():
        seen = kept.value
        if seen.daemon_state in (DaemonState.DEAD, DaemonState.FENCED):
            yield _fault(f"DEAD_NODE_{name}", DEAD_NODE, f"node {name} is {seen.daemon_state}: {seen.sentence}")
            continue
        if name in silent:
            yield _fault(f"SILENT_NODE_{name}", SILENT_NODE, f"node {name} is silent and not given up: {silent[name]}")
        for item in seen.health:
            if item.delta:
                yield _fault(f"NODE_PLUGIN_{item.plugin}_{name}", item.delta // 2, f"{name}: {item.message}")


def _vms(view: ClusterView) -> Iterator[Fault]:
    for uuid, kept in view.vm_wanted.items():
        vm, seen = kept.value, view.vm_seen.get(uuid)
        if vm.want is not Want.START or seen is None:
            continue
        if seen.value.crashes >= CRASHES:
            times = f"VM {vm.name} has ended by itself {seen.value.crashes} times in a row"
            yield _fault(f"VM_CRASHING_{vm.name}", CRASHING_VM, f"{times}: {seen.value.sentence}")
        if seen.value.guest is GuestState.RUNNING:
            continue
        if seen.value.failed_reason:
            yield _fault(f"VM_FAILED_{vm.name}", FAILED_VM, f"VM {vm.name} has failed: {seen.value.failed_reason}")
        elif NOWHERE in seen.value.sentence:
            yield _fault(f"VM_WAITING_{vm.name}", WAITING_VM, f"VM {vm.name} waits: {seen.value.sentence}")


def _storage(view: ClusterView) -> Iterator[Fault]:
    """As the drivers of pools that are still there tell it."""
    drivers = {kept.value.driver for kept in view.pools.values()}
    for name, kept in view.storage_reports.items():
        if name in drivers:
            yield from (_fault(one.id, one.weight, one.message) for one in kept.value.faults)
            if kept.value.silent:
                said = f"the figures of {name} are old: {kept.value.silent}"
                yield _fault(f"STORAGE_SILENT_{name}", SILENT_STORAGE, said)


def _spare(view: ClusterView, describe: Describe) -> Iterator[Fault]:
    why = cannot_lose(view, describe)
    if why:
        yield _fault("CLUSTER_SPARE", NO_SPARE, why)


def _fault(id: str, weight: int, message: str) -> Fault:
    return Fault(id=_NO_KEY.sub("_", id.upper()), weight=weight, message=message)
