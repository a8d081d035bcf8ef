"""What is wrong with the cluster, in sentences with a weight. Pure; who keeps them is reconcile/faults.py.

Ids are the wire's own: DEAD_NODE_<NODE>, VM_FAILED_<VM>, NODE_PLUGIN_<PLUGIN>_<NODE>, CEPH_OSD_OUT_<OSD>,
CEPH_WARN_<CHECK>, CEPH_ERR_<CHECK> and what else storage drivers report; ours are VM_WAITING_<VM> and CLUSTER_SPARE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pvc_core.model.fault import Fault
from pvc_core.model.node import DaemonState
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import GuestState, Want
from pvc_core.policy.admission import cannot_lose
from pvc_core.policy.placement import Describe

DEAD_NODE, FAILED_VM, WAITING_VM, NO_SPARE = 50, 10, 10, 10
_NO_KEY = re.compile(r"[^A-Z0-9_.-]")
NOWHERE = "fits nowhere"
"""What placement's sentence begins with (Choice.sentence)."""


def faults_of(view: ClusterView, describe: Describe) -> dict[str, Fault]:
    """By id, without times."""
    return {
        one.id: one for found in (_nodes(view), _vms(view), _spare(view, describe), _storage(view)) for one in found
    }


def _nodes(view: ClusterView) -> Iterator[Fault]:
    for name, kept in view.node_seen.items():
        seen = kept.value
        if seen.daemon_state in (DaemonState.DEAD, DaemonState.FENCED):
            yield _fault(f"DEAD_NODE_{name}", DEAD_NODE, f"node {name} is {seen.daemon_state}: {seen.sentence}")
            continue
        for item in seen.health:
            if item.delta:
                yield _fault(f"NODE_PLUGIN_{item.plugin}_{name}", item.delta // 2, f"{name}: {item.message}")


def _vms(view: ClusterView) -> Iterator[Fault]:
    for uuid, kept in view.vm_wanted.items():
        vm, seen = kept.value, view.vm_seen.get(uuid)
        if vm.want is not Want.START or seen is None or seen.value.guest is GuestState.RUNNING:
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


def _spare(view: ClusterView, describe: Describe) -> Iterator[Fault]:
    why = cannot_lose(view, describe)
    if why:
        yield _fault("CLUSTER_SPARE", NO_SPARE, why)


def _fault(id: str, weight: int, message: str) -> Fault:
    return Fault(id=_NO_KEY.sub("_", id.upper()), weight=weight, message=message)
