"""A node on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict, cast

from msgspec import Meta

from pvc_api_falcon.wire.common import Mib, Object
from pvc_core.model.node import CoordinatorState, DaemonState, DomainState, HealthSeen
from pvc_core.services.fencing import FenceStep
from pvc_core.services.pictures import NodePicture
from pvc_core.units import MIB


class HealthBody(TypedDict):
    name: str
    last_run: Annotated[int, Meta(description="seconds since 1970")]
    health_delta: Annotated[int, Meta(description="how many of 100 points of health it costs the node")]
    message: str
    data: dict[str, Any]


class VcpuBody(TypedDict):
    total: int
    allocated: int


class MemoryBody(TypedDict):
    total: Mib
    allocated: Mib
    provisioned: Mib
    used: Mib
    free: Mib


class InterfaceBody(TypedDict):
    rx_bps: Annotated[float, Meta(description="bits a second")]
    rx_pps: Annotated[float, Meta(description="packets a second")]
    tx_bps: float
    tx_pps: float
    total_bps: float
    total_pps: float
    link_speed: Annotated[float, Meta(description="bits a second; 0 where the kernel does not say")]
    state: str


class HeartbeatBody(TypedDict):
    beat: int
    silent_s: Annotated[float | None, Meta(description="how long it has not moved; null where nobody follows it")]
    told_s: Annotated[float | None, Meta(description="how old what its pvcnoded had said was then")]
    vms_running: int
    vcpus_allocated: int
    memory_allocated: Mib
    memory_provisioned: Mib


class NodeBody(Object):
    """A node."""

    name: str
    daemon_state: DaemonState
    coordinator_state: CoordinatorState
    domain_state: DomainState
    pvc_version: str
    cpu_count: int
    kernel: str
    os: str
    arch: str
    health: Annotated[int, Meta(description="0 to 100")]
    health_plugins: list[str]
    health_details: list[HealthBody]
    load: Annotated[float, Meta(description="of the last minute")]
    domains_count: int
    running_domains: Annotated[list[str], Meta(description="names of the VMs that run there")]
    vcpu: VcpuBody
    memory: MemoryBody
    interfaces: Annotated[dict[str, InterfaceBody], Meta(description="by name")]
    heartbeat: HeartbeatBody | None


class DaemonStateBody(Object):
    name: str
    daemon_state: DaemonState


class CoordinatorStateBody(Object):
    name: str
    coordinator_state: CoordinatorState


class DomainStateBody(Object):
    name: str
    domain_state: DomainState


class WhyBody(TypedDict):
    name: str
    lines: list[str]


class FenceStepBody(TypedDict):
    node: Annotated[str, Meta(description="the coordinator that tried")]
    driver: str
    step: str
    passed: bool
    message: str


class FenceTestBody(TypedDict):
    name: str
    passed: bool
    message: str
    steps: list[FenceStepBody]


def node_body(node: NodePicture) -> NodeBody:
    seen, load = node.seen, node.load
    return {
        "name": seen.name,
        "daemon_state": seen.daemon_state,
        "coordinator_state": node.coordinator_state,
        "domain_state": seen.domain_state,
        "pvc_version": seen.pvc_version,
        "cpu_count": seen.cpu_count,
        "kernel": seen.kernel,
        "os": seen.os,
        "arch": seen.arch,
        "health": node.health,
        "health_plugins": sorted({item.plugin for item in seen.health}),
        "health_details": [_health(item) for item in seen.health],
        "load": load_of(node),
        "domains_count": len(node.running),
        "running_domains": list(node.running),
        "vcpu": {"total": seen.cpu_count, "allocated": load.vcpus},
        "memory": {
            "total": memory_mib(node)[0],
            "allocated": load.allocated_bytes // MIB,
            "provisioned": load.provisioned_bytes // MIB,
            "used": memory_mib(node)[1],
            "free": memory_mib(node)[2],
        },
        "interfaces": cast(dict[str, InterfaceBody], node.heartbeat.interfaces if node.heartbeat else {}),
        "heartbeat": heartbeat_of(node),
        "status": status_of(node),
    }


def heartbeat_of(node: NodePicture) -> HeartbeatBody | None:
    """What the node's own guard said last, and how old what its pvcnoded had told it was then."""
    beat = node.heartbeat
    if beat is None:
        return None
    return {
        "beat": beat.beat,
        "silent_s": node.silent_s,
        "told_s": beat.told_s,
        "vms_running": len(beat.running),
        "vcpus_allocated": beat.vcpus_allocated,
        "memory_allocated": beat.memory_allocated_bytes // MIB,
        "memory_provisioned": beat.memory_provisioned_bytes // MIB,
    }


def fence_test_body(node: str, steps: Sequence[FenceStep]) -> FenceTestBody:
    """`passed`: every step of every coordinator is well, and there is one."""
    passed = bool(steps) and all(step.passed for step in steps)
    lost = sorted({step.coordinator for step in steps if not step.passed})
    sentence = f"Node {node} could be fenced." if passed else f"Node {node} could not be fenced by {', '.join(lost)}."
    return {
        "name": node,
        "passed": passed,
        "message": sentence,
        "steps": [_fence_step(step) for step in steps],
    }


def _fence_step(step: FenceStep) -> FenceStepBody:
    return {
        "node": step.coordinator,
        "driver": step.rung,
        "step": step.step,
        "passed": step.passed,
        "message": step.said,
    }


def memory_mib(node: NodePicture) -> tuple[int, int, int]:
    """Total, used, free. Before the first heartbeat nothing is known to be free."""
    beat = node.heartbeat
    total = (beat.memory_total_bytes if beat else 0) or node.seen.memory_total_bytes
    free = beat.memory_free_bytes if beat else 0
    return total // MIB, (total - free) // MIB, free // MIB


def load_of(node: NodePicture) -> float:
    return round(node.heartbeat.load, 2) if node.heartbeat else 0.0


def status_of(node: NodePicture) -> str:
    return f"custody: {node.seen.custody}" if node.seen.custody else node.seen.sentence


def _health(item: HealthSeen) -> HealthBody:
    return {
        "name": item.plugin,
        "last_run": int(item.at_s),
        "health_delta": item.delta,
        "message": item.message,
        "data": {},
    }
