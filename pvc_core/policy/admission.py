"""Could the cluster lose any one of its nodes and run all its guests (N+1)? Pure; memory and placement's rules decide.

Guests that another node could not run anyway (their disks or devices are on one node only) are not counted: no spare
room would help them.
"""

from __future__ import annotations

from dataclasses import replace

from pvc_core.model.node import DaemonState, DomainState
from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Phase
from pvc_core.policy.placement import Describe, NodeLoad, loads, need_of, objection

_SHOWN = 3


def cannot_lose(view: ClusterView, describe: Describe) -> str:
    """Which node's loss the others had no room for, in words; "" when there is room, and in a cluster of one."""
    nodes = [
        name
        for name, kept in sorted(view.node_seen.items())
        if kept.value.daemon_state is DaemonState.RUN and kept.value.domain_state is DomainState.READY
    ]
    if len(view.node_seen) < 2:
        return ""
    load, found = loads(view, describe), []
    for name in nodes:
        left = _left_over(view, describe, name, dict(load))
        if left:
            named = ", ".join(left[:_SHOWN]) + (f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else "")
            found.append(f"{name} ({named} would wait for room)")
    return f"the cluster could not lose {'; nor '.join(found)}" if found else ""


def _left_over(view: ClusterView, describe: Describe, lost: str, load: dict[str, NodeLoad]) -> list[str]:
    """Names of the guests of `lost` that would fit nowhere, placed as recovery would: the greatest priority first."""
    vms = [
        view.vm_wanted[uuid].value
        for uuid in load.get(lost, NodeLoad()).running
        if uuid in view.vm_wanted and view.claims[uuid].value.phase in (Phase.RUN, Phase.MIGRATING)
    ]
    left = []
    for vm in sorted(vms, key=lambda vm: (-vm.priority, vm.name)):
        what = describe(vm)
        need = need_of(view, vm, what)
        if need.only or need.homes:
            continue
        others = sorted((name for name in view.node_seen if name != lost), key=lambda name: _given(load, name))
        target = next((name for name in others if not objection(view, need, name, load)), None)
        if target is None:
            left.append(vm.name)
            continue
        here = load.get(target, NodeLoad())
        load[target] = replace(here, allocated_bytes=here.allocated_bytes + what.memory_bytes)
    return left


def _given(load: dict[str, NodeLoad], name: str) -> tuple[int, str]:
    return load.get(name, NodeLoad()).allocated_bytes, name
