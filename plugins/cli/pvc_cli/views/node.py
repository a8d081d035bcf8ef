"""Nodes as text."""

from __future__ import annotations

from typing import Any

from pvc_cli.output import Output
from pvc_cli.tables import Column, facts, plain, section, state, table

COLUMNS = (
    Column("Name", lambda n: n["name"]),
    Column("Health", lambda n: health(n.get("health")), right=True),
    Column("Daemon", lambda n: n["daemon_state"], state=True),
    Column("Coordinator", lambda n: n["coordinator_state"], state=True),
    Column("Domain", lambda n: n["domain_state"], state=True),
    Column("VMs", lambda n: n["domains_count"], right=True),
    Column("CPUs", lambda n: n["vcpu"]["total"], right=True),
    Column("vCPUs", lambda n: n["vcpu"]["allocated"], right=True),
    Column("Load", lambda n: n["load"], right=True),
    Column("Memory MiB", lambda n: n["memory"]["total"], right=True),
    Column("Used", lambda n: n["memory"]["used"], right=True),
    Column("Free", lambda n: n["memory"]["free"], right=True),
    Column("Allocated", lambda n: n["memory"]["allocated"], right=True),
    Column("Provisioned", lambda n: n["memory"]["provisioned"], right=True),
    Column("Status", lambda n: n.get("status", "")),
)

CHECKS = (
    Column("Check", lambda c: c["name"]),
    Column("Health", lambda c: f"-{c['health_delta']}%" if c["health_delta"] else "ok", right=True),
    Column("Message", lambda c: c["message"]),
)

FENCE_STEPS = (
    Column("Coordinator", lambda s: s["node"]),
    Column("Driver", lambda s: s["driver"] or "-"),
    Column("Step", lambda s: s["step"]),
    Column("Result", lambda s: "ok" if s["passed"] else "failed", state=True),
    Column("Message", lambda s: s["message"]),
)

INTERFACES = (
    Column("Interface", lambda i: i[0]),
    Column("State", lambda i: i[1].get("state", ""), state=True),
    Column("Speed", lambda i: bits(i[1].get("link_speed")), right=True),
    Column("Received", lambda i: bits(i[1].get("rx_bps")) + "/s", right=True),
    Column("Sent", lambda i: bits(i[1].get("tx_bps")) + "/s", right=True),
)


def fence_test(out: Output, found: dict[str, Any]) -> str:
    return f"{table(out, FENCE_STEPS, found['steps'])}\n\n{plain(found['message'])}"


def node_list(out: Output, nodes: list[dict[str, Any]]) -> str:
    return table(out, COLUMNS, sorted(nodes, key=lambda n: n["name"]), empty="No node matches.")


def node_info(_out: Output, node: dict[str, Any]) -> str:
    return facts(main_facts(node))


def main_facts(node: dict[str, Any]) -> list[tuple[str, Any]]:
    memory = node["memory"]
    return [
        ("Name", node["name"]),
        ("Status", node.get("status") or "-"),
        ("Health", health(node.get("health"))),
        ("Daemon state", state(node["daemon_state"])),
        ("Coordinator state", state(node["coordinator_state"])),
        ("Domain state", state(node["domain_state"])),
        ("VMs", node["domains_count"]),
        ("CPUs", f"{node['vcpu']['total']}, {node['vcpu']['allocated']} allocated to VMs, load {node['load']}"),
        ("Memory", f"{memory['total']} MiB, {memory['used']} used, {memory['free']} free"),
        ("Memory of VMs", f"{memory['allocated']} MiB running, {memory['provisioned']} MiB defined"),
    ]


def node_long(out: Output, node: dict[str, Any]) -> str:
    more = [
        ("PVC version", node.get("pvc_version")),
        ("Kernel", f"{node.get('kernel', '')} {node.get('arch', '')}"),
        ("Operating system", node.get("os")),
        ("Running VMs", node.get("running_domains") or "none"),
    ]
    if "heartbeat" in node:
        more.append(("Heartbeat", heartbeat(node["heartbeat"])))
    parts = [facts(main_facts(node) + more)]
    if node.get("health_details"):
        parts.append(section("Health checks", table(out, CHECKS, node["health_details"])))
    if node.get("interfaces"):
        parts.append(section("Interfaces", table(out, INTERFACES, sorted(node["interfaces"].items()))))
    return "\n".join(parts)


def heartbeat(beat: Any) -> str:
    if not isinstance(beat, dict):
        return "never heard"
    told_s = beat.get("told_s")
    told = "its daemon has told nothing yet" if told_s is None else f"as its daemon told {told_s} s before"
    return (
        f"number {beat['beat']}, {beat.get('silent_s') or 0} s ago: {beat['vms_running']} VMs running, "
        f"{beat['vcpus_allocated']} vCPUs, {beat['memory_allocated']} MiB ({told})"
    )


def health(percent: Any) -> str:
    return "unknown" if percent is None else f"{percent}%"


def bits(per_second: Any) -> str:
    """Network people count in thousands, not in 1024s."""
    if not isinstance(per_second, (int, float)):
        return "?"
    left = float(per_second)
    for unit in ("", "k", "M", "G"):
        if left < 1000 or unit == "G":
            break
        left /= 1000
    return f"{left:.1f}".removesuffix(".0") + f" {unit}bit"
