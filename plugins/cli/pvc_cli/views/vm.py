"""Virtual machines as text."""

from __future__ import annotations

import time
from typing import Any

from pvc_cli.output import Output
from pvc_cli.tables import Column, facts, plain, section, size, state, table

COLUMNS = (
    Column("Name", lambda v: v["name"]),
    Column("State", lambda v: v["state"], state=True),
    Column("Node", lambda v: v["node"]),
    Column("Migrated", lambda v: v["migrated"]),
    Column("vCPUs", lambda v: v["vcpu"], right=True),
    Column("Memory MiB", lambda v: v["memory"], right=True),
    Column("Networks", lambda v: [nic["vni"] for nic in v["networks"]] or "-"),
    Column("Tags", lambda v: tag_names(v) or "-"),
    Column("Snapshots", lambda v: len(v.get("snapshots") or []), right=True),
    Column("Status", lambda v: v.get("status") or v.get("failed_reason") or ""),
)

DISKS = (
    Column("Disk", lambda d: d["dev"]),
    Column("Bus", lambda d: d["bus"]),
    Column("Type", lambda d: d["type"]),
    Column("Name", lambda d: d["name"]),
    Column("Read", lambda d: size(d.get("rd_bytes", 0)), right=True),
    Column("Written", lambda d: size(d.get("wr_bytes", 0)), right=True),
)

NICS = (
    Column("Network", lambda n: n["vni"]),
    Column("MAC", lambda n: n["mac"]),
    Column("Type", lambda n: n["type"]),
    Column("Source", lambda n: n["source"]),
    Column("Model", lambda n: n["model"]),
    Column("Received", lambda n: size(n.get("rd_bytes", 0)), right=True),
    Column("Sent", lambda n: size(n.get("wr_bytes", 0)), right=True),
)

SNAPSHOTS = (
    Column("Snapshot", lambda s: s["name"]),
    Column("Age", lambda s: f"{int(s.get('age') or 0) // 3600} h", right=True),
    Column("Volumes", lambda s: s.get("rbd_snapshots") or []),
)

TAGS = (
    Column("Tag", lambda t: t["name"]),
    Column("Type", lambda t: t["type"]),
    Column("Protected", lambda t: t["protected"], state=True),
)


def vm_list(out: Output, vms: list[dict[str, Any]]) -> str:
    return table(out, COLUMNS, sorted(vms, key=lambda v: v["name"]), empty="No VM matches.")


def vm_info(_out: Output, vm: dict[str, Any]) -> str:
    return facts(main_facts(vm))


def main_facts(vm: dict[str, Any]) -> list[tuple[str, Any]]:
    rows = [
        ("Name", vm["name"]),
        ("UUID", vm["uuid"]),
        ("State", state(vm["state"])),
        ("Status", vm.get("status") or "-"),
        ("Node", vm["node"] or "-"),
        ("Previous node", vm.get("last_node") or "-"),
        ("Description", vm.get("description") or "-"),
        ("vCPUs", f"{vm['vcpu']} (sockets/cores/threads {vm.get('vcpu_topology') or '-'})"),
        ("Memory", f"{vm['memory']} MiB"),
        ("Networks", [nic["vni"] for nic in vm["networks"]] or "-"),
        ("Disks", [disk["name"] for disk in vm["disks"]] or "-"),
        ("Tags", tag_names(vm) or "-"),
    ]
    if vm.get("failed_reason"):
        rows.append(("Failed because", vm["failed_reason"]))
    return rows


def vm_long(out: Output, vm: dict[str, Any]) -> str:
    more = [
        ("Profile", vm.get("profile") or "-"),
        ("May run on", vm.get("node_limit") or "every node"),
        ("Node selector", vm.get("node_selector") or "the cluster's default"),
        ("Autostart", bool(vm.get("node_autostart"))),
        ("Priority", vm.get("priority") or 0),
        (
            "Migration",
            f"{vm.get('migration_method') or 'the default'}, at most {vm.get('migration_max_downtime')} ms down",
        ),
        ("Machine", f"{vm.get('type', '')} {vm.get('arch', '')} {vm.get('machine', '')}".strip()),
        ("Emulator", vm.get("emulator")),
        ("Features", vm.get("features") or "-"),
        ("Console", vm.get("console")),
        ("VNC", vnc(vm)),
        ("Controllers", controllers(vm) or "-"),
        ("Memory in use", used_memory(vm)),
    ]
    parts = [facts(main_facts(vm) + more)]
    if vm["networks"]:
        parts.append(section("Interfaces", table(out, NICS, vm["networks"])))
    if vm["disks"]:
        parts.append(section("Disks", table(out, DISKS, vm["disks"])))
    if vm.get("snapshots"):
        parts.append(section("Snapshots", table(out, SNAPSHOTS, vm["snapshots"])))
    return "\n".join(parts)


def why(vm: dict[str, Any], node: dict[str, Any] | None = None) -> str:
    """The reconciler's sentence about a VM, what is wanted of it and what was seen; its node's, if it stands still."""
    rows = [("Status", vm.get("status") or "the cluster says nothing about it")]
    if vm.get("failed_reason"):
        rows.append(("Failed because", plain(vm["failed_reason"])))
    if vm.get("last_node"):
        rows.append(
            ("Migrated", f"from {vm['last_node']}, for a while; `pvc vm unmigrate {vm['name']}` brings it back")
        )
    if anew := vm.get("begun_anew"):
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(anew["at_s"]))
        rows.append(("Begun anew", f"{at}: {plain(anew['why'])}"))
    rows.append(("Wanted", described(vm["wanted"]) if vm.get("wanted") else state(vm["state"])))
    seen = vm["seen"] if "seen" in vm else f"on {vm['node']}" if vm.get("node") else "on no node"
    rows.append(("Seen", described(seen)))
    if node is not None and node.get("daemon_state") != "run":
        rows.append(("Its node", f"{node['name']} is in state {node['daemon_state']}: {node.get('status', '')}"))
    return facts(rows)


def described(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(one)}" for name, one in value.items())
    return plain(value)


def tag_names(vm: dict[str, Any]) -> list[str]:
    return sorted(tag["name"] for tag in vm.get("tags") or [])


def vnc(vm: dict[str, Any]) -> str:
    found = vm.get("vnc") or {}
    return f"{found.get('listen')}:{found.get('port')}" if found.get("port") not in (None, "", "None") else "-"


def controllers(vm: dict[str, Any]) -> list[str]:
    return [" ".join(filter(None, (c.get("type"), c.get("model")))) for c in vm.get("controllers") or []]


def used_memory(vm: dict[str, Any]) -> str:
    # libvirt's memory statistics are KiB.
    stats = vm.get("memory_stats") or {}
    return f"{size(stats['rss'] * 1024)} on the node" if stats.get("rss") else "-"
