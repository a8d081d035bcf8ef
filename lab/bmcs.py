"""The nodes' BMCs: each a real IPMI endpoint on upstream that switches its node, on while the node is off.

What ipmi_sim is told is bmc.py's. Here: whose power which BMC switches, who may log in, and what can be wrong with one.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sys
import uuid
from pathlib import Path

from lab import LabError, bmc, network, processes
from lab.state import REPOSITORY, SWITCH, Lab, Plan

USER = "pvc"
FAULTS = ("ok", "dead", "disobey", "liar", "wrong")
"""dead: silent. disobey: says done and does nothing. liar: the same, and reads off from then on. wrong: another node's
BMC answers at this address.
"""
PORT = 623

CHASSIS = REPOSITORY / "lab/chassis.sh"


def address(plan: Plan, node: str) -> str:
    """Of the BMC of `node`: on upstream, where every node can reach it."""
    return f"{network.UPSTREAM.subnet}.{210 + plan.nodes.index(node) + 1}"


def machine_uuid(lab: Lab, node: str) -> uuid.UUID:
    """What the machine's firmware would say."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{node}.{lab.name}.pvc-lab")


def password(lab: Lab, node: str) -> str:
    """Of USER on the BMC of `node`; made once."""
    path = _place(lab, node) / "password"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(8))
    return path.read_text()


def switch_on(lab: Lab, plan: Plan, node: str, *, is_of: str = "") -> None:
    """Start the BMC at the address of `node`; it is that of `is_of`, by default the node's own. Raises LabError."""
    if not Path(bmc.PROGRAM).exists():
        raise LabError(f"{bmc.PROGRAM} is not installed; script/setup installs it (Debian's openipmi)")
    if lab.process(_record(node)) is not None:
        return
    place, machine, switch = _place(lab, node), is_of or node, lab.needs(SWITCH)
    chassis = place / "chassis"
    login = password(lab, node)
    chassis.write_text(_chassis(lab, place, machine))
    chassis.chmod(0o700)
    guid = _as_sent(machine_uuid(lab, machine), plan.nodes.index(machine))
    conf = bmc.lan_conf(address(plan, node), PORT, guid=guid, user=USER, password=login, chassis=str(chassis))
    _write_private(place / "lan.conf", conf)
    (place / "bmc.emu").write_text(bmc.emulator())
    network.add_address(switch, network.UPSTREAM, address(plan, node))
    processes.prepare(
        lab.record(_record(node)),
        ["/usr/bin/nsenter", "--target", str(switch.pid), "--net", *bmc.command(place)],
        log=place / "log",
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
    ).go()


def switch_off(lab: Lab, plan: Plan, node: str) -> None:
    """It is silent: nobody has its address."""
    found, switch = lab.process(_record(node)), lab.process(SWITCH)
    if found is not None:
        found.kill()
    lab.record(_record(node)).unlink(missing_ok=True)
    if switch is not None:
        network.drop_address(switch, network.UPSTREAM, address(plan, node))


def set_fault(lab: Lab, plan: Plan, node: str, fault: str, other: str = "") -> None:
    """One of FAULTS; `other` is the node whose BMC answers instead, with "wrong"."""
    if (fault == "wrong") != bool(other):
        raise LabError("say whose BMC answers instead: script/lab bmc NODE wrong NODE2")
    switch_off(lab, plan, node)
    _write_private(_place(lab, node) / "fault", f"{fault}\n")
    if fault != "dead":
        switch_on(lab, plan, node, is_of=other)


def fault(lab: Lab, node: str) -> str:
    path = _place(lab, node) / "fault"
    return path.read_text().strip() if path.exists() else "ok"


def runs(lab: Lab, node: str) -> bool:
    return lab.process(_record(node)) is not None


def _place(lab: Lab, node: str) -> Path:
    return lab.root / "bmcs" / node


def _record(node: str) -> str:
    return f"bmc.{node}"


def _chassis(lab: Lab, place: Path, machine: str) -> str:
    """ipmi_sim names no environment: a script of the BMC's own gives CHASSIS what it needs."""
    words = {
        "RECORD": lab.record(machine),
        "FAULT": place / "fault",
        "LOG": place / "power.log",
        "LAB": lab.name,
        "CABLES": " ".join(item.port(machine) for item in network.NETWORKS),
        "NODE": machine,
        "REPOSITORY": REPOSITORY,
        "PYTHON": sys.executable,
        **_lab_dir(),
    }
    given = " ".join(f"{word}={shlex.quote(str(value))}" for word, value in words.items())
    return f'#!/bin/sh\nexec env {given} {shlex.quote(str(CHASSIS))} "$@"\n'


def _as_sent(of: uuid.UUID, number: int) -> bytes:
    """Makers do not agree on the order of a GUID's bytes: the lab's first node has IPMI's, the second SMBIOS', the
    third the one it is written in.
    """
    return (of.bytes[::-1], of.bytes_le, of.bytes)[number % 3]


def _lab_dir() -> dict[str, str]:
    where = os.environ.get("PVC_LAB_DIR")
    return {"PVC_LAB_DIR": where} if where else {}


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
