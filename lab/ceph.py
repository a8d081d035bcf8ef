"""Ceph in a lab, on the storage network: a monitor per coordinator, a manager on the first two, an OSD per node.

Its files are in one directory that all nodes see; its daemons are units of the nodes: they go with the power and come
back with it.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Mapping
from pathlib import Path

from lab import network
from lab.ceph_conf import ENVIRONMENT, Monitor
from lab.ceph_make import Ceph, Osd, Run, run_here
from lab.state import Lab, Plan

UNITS = {"mon": "lab-ceph-mon.service", "mgr": "lab-ceph-mgr.service", "osd": "lab-ceph-osd.service"}
_CLEAN_S = 120.0


def directory(lab: Lab) -> Path:
    """The same path inside the nodes and outside."""
    return lab.root / "ceph"


def units(plan: Plan, name: str) -> list[str]:
    """Those of Ceph that start with the node `name`."""
    if plan.storage != "ceph":
        return []
    return [UNITS[role] for role in _roles(plan, name)]


def ceph_of(lab: Lab, plan: Plan, run: Run = run_here) -> Ceph:
    """As it is, or shall be. Its commands go by `run`, which must run them in a node that has power."""
    address = {name: network.STORAGE.address(number) for number, name in enumerate(plan.nodes, 1)}
    return Ceph(
        directory=directory(lab),
        monitors=[Monitor(name=name, address=address[name]) for name in plan.coordinators],
        mon_runs=[run] * len(plan.coordinators),
        osds=[
            Osd(number=number, host=name, address=address[name], uuid=str(_uuid(lab, name)))
            for number, name in enumerate(plan.nodes)
        ],
        network=f"{network.STORAGE.subnet}.0/24",
        managers=plan.coordinators[:2],
        copies=copies(plan),
        by_host=len(plan.nodes) > 1,
        fsid=str(_uuid(lab, "")),
    )


def copies(plan: Plan) -> int:
    return min(3, len(plan.nodes))


def prepare(lab: Lab, plan: Plan) -> None:
    """Files and keys, before any node has power. Raises LabError."""
    ceph_of(lab, plan).prepare()


def node_files(lab: Lab, plan: Plan, name: str) -> Mapping[str, str]:
    """What stands in the /etc of `name`, by path: what its units run."""
    ceph = ceph_of(lab, plan)
    environment = " ".join(f"{key}={value}" for key, value in ENVIRONMENT.items())
    osd = next(one for one in ceph.osds if one.host == name)
    admin = f"timeout 60 ceph -c {ceph.conf} --name client.admin"
    lines = {"osd": (f"{admin} osd new {osd.uuid} {osd.number}", ceph.osd_argv(osd))}
    if "mgr" in _roles(plan, name):
        lines["mgr"] = ("", ceph.mgr_argv(name))
    for monitor in ceph.monitors:
        if monitor.name == name:
            lines["mon"] = ("", ceph.mon_argv(monitor))
    return {
        f"ceph/lab-{role}": f"set -e\n{first}\nexec env {environment} {shlex.join([*argv, '-f'])}\n"
        for role, (first, argv) in lines.items()
    }


def await_ready(lab: Lab, plan: Plan, run: Run) -> None:
    """Wait until every OSD is up and Ceph has counted its room. Raises LabError."""
    ceph_of(lab, plan, run).await_clean(_CLEAN_S)


def _roles(plan: Plan, name: str) -> list[str]:
    roles = ["osd"]
    if name in plan.coordinators:
        roles.insert(0, "mon")
    if name in plan.coordinators[:2]:
        roles.insert(1, "mgr")
    return roles


def _uuid(lab: Lab, word: str) -> uuid.UUID:
    """The same whenever it is asked for, another in each lab."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"lab-ceph/{lab.root}/{word}")
