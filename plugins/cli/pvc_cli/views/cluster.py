"""The cluster's status as text."""

from __future__ import annotations

import sys
from typing import Any

import click

from pvc_cli.output import Output
from pvc_cli.tables import Column, facts, section, size, state, table
from pvc_cli.views.node import health

MESSAGES = (
    Column("Id", lambda m: m["id"]),
    Column("Health", lambda m: f"-{m['health_delta']}%", right=True),
    Column("Message", lambda m: m["text"]),
)

FAULTS = (
    Column("Id", lambda f: f["id"]),
    Column("Last reported", lambda f: f["last_reported"]),
    Column("Status", lambda f: f["status"], state=True),
    Column("Health", lambda f: f"-{f['health_delta']}%", right=True),
    Column("Message", lambda f: f["message"]),
)

MOVES = (
    Column("VM", lambda m: m["name"]),
    Column("From", lambda m: m["source"]),
    Column("To", lambda m: m["target"]),
    Column("Why", lambda m: m["why"]),
)


def plan(out: Output, moves: list[dict[str, Any]]) -> str:
    return table(out, MOVES, moves, empty="Nothing to move: memory is given out evenly enough, and every rule is kept.")


def faults(out: Output, found: list[dict[str, Any]]) -> str:
    return table(out, FAULTS, found, empty="Nothing is wrong.")


def faults_long(_out: Output, found: list[dict[str, Any]]) -> str:
    parts = [
        facts(
            [
                ("Fault", fault["id"]),
                ("First reported", fault["first_reported"]),
                ("Last reported", fault["last_reported"]),
                ("Status", state(fault["status"])),
                ("Acknowledged", fault["acknowledged_at"] or "-"),
                ("Health", f"-{fault['health_delta']}%"),
                ("Message", fault["message"]),
            ]
        )
        for fault in found
    ]
    return "\n\n".join(parts) or "Nothing is wrong."


def short(_out: Output, status: dict[str, Any]) -> str:
    return facts(main_facts(status))


def main_facts(status: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("Cluster", status["cluster_name"]),
        ("Health", health((status.get("cluster_health") or {}).get("health"))),
        ("Maintenance", state("on" if str(status["maintenance"]).lower() == "true" else "off")),
        ("Primary node", status["primary_node"] or "none"),
        ("Nodes", counts(status["nodes"])),
        ("VMs", counts(status["vms"])),
    ]


def pretty(out: Output, status: dict[str, Any]) -> str:
    resources = status.get("resources") or {}
    more = [
        ("PVC version", status.get("pvc_version")),
        ("Upstream address", status.get("upstream_ip") or "-"),
        ("Networks", status.get("networks")),
        ("OSDs", counts(status.get("osds"))),
        ("Pools", status.get("pools")),
        ("Volumes", status.get("volumes")),
        ("Snapshots", status.get("snapshots")),
        ("Memory", memory(resources.get("memory") or {})),
        ("CPU", cpu(resources.get("cpu") or {})),
        ("Disk", disk(resources.get("disk") or {})),
    ]
    parts = [facts(main_facts(status) + more)]
    messages = (status.get("cluster_health") or {}).get("messages") or []
    if messages:
        parts.append(section("What lowers the health", table(out, MESSAGES, messages)))
    troubled = [
        {"id": f"{name}: {message.get('id', '')}", **message}
        for name, node in sorted((status.get("node_health") or {}).items())
        for message in node.get("messages") or []
        if isinstance(message, dict)
    ]
    if troubled:
        parts.append(section("What lowers the nodes' health", table(out, MESSAGES, troubled)))
    return "\n".join(parts)


def check(out: Output, found: dict[str, Any]) -> str:
    """A line each; below a finding, what helps."""
    colours = out.colours(sys.stdout)
    parts = []
    wide = max([13, *(len(line["topic"]) for line in found["lines"])]) + 1
    for line in found["lines"]:
        mark = "ok" if line["ok"] else "FINDING"
        shown = click.style(f"{mark:<8}", fg="green" if line["ok"] else "red") if colours else f"{mark:<8}"
        where = f"{line['node']}: " if line["node"] else ""
        parts.append(f"{shown}{line['topic']:<{wide}}{where}{line['text']}")
        if not line["ok"]:
            parts.append(f"{'':<{8 + wide}}-> {line['remedy']}")
    return "\n".join([*parts, "", found["status"]])


def counts(found: Any) -> str:
    """`3 (3 run,ready)` from {"total": 3, "run,ready": 3}."""
    if not isinstance(found, dict):
        return "-" if found is None else str(found)
    parts = [f"{number} {word}" for word, number in sorted(found.items()) if word != "total" and number]
    return f"{found.get('total', 0)} ({'; '.join(parts)})" if parts else str(found.get("total", 0))


def memory(found: dict[str, Any]) -> str:
    if not found:
        return "-"
    return (
        f"{found['utilization']}% of {found['total']} MiB used, {found['free']} MiB free; "
        f"{found['allocated']} MiB are running VMs', {found['provisioned']} MiB all VMs'"
    )


def cpu(found: dict[str, Any]) -> str:
    if not found:
        return "-"
    return (
        f"{found['utilization']}% of {found['total']} CPUs busy, {found['allocated']} vCPUs, load {found['load']:.2f}"
    )


def disk(found: dict[str, Any]) -> str:
    if not found:
        return "-"
    # As the OSDs' statistics they come from, in KiB.
    total, free = size(found["total"] * 1024), size(found["free"] * 1024)
    return f"{found['utilization']}% of {total} used, {free} free"
