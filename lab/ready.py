"""When a lab is ready: every coordinator's API answers and shows every node at work, and the default pool is usable."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from lab import LabError, ceph, node
from lab.api import Api, ApiError
from lab.state import Lab, Plan

READY_S, BELIEF_S = 90.0, 40.0
POOL = "vms"
PROBE = "lab-is-it-shared"
Say = Callable[[str], None]


def await_apis(lab: Lab, plan: Plan) -> None:
    """Wait until every coordinator's API answers. Raises LabError with the unit that does not come up."""
    _until(
        lambda: all(Api(node_url(plan, name), "").answers() for name in plan.coordinators),
        "every coordinator's API answers",
        lab,
        plan,
    )


def await_nodes(lab: Lab, plan: Plan, key: str) -> None:
    """Wait until every API shows every node at work. Raises LabError."""

    def complete(name: str) -> bool:
        with contextlib.suppress(LabError):
            shown = Api(node_url(plan, name), key).get("/node")
            return {item["name"] for item in shown if item["daemon_state"] == "run"} == set(plan.nodes)
        return False

    _until(lambda: all(map(complete, plan.coordinators)), "every API shows every node at work", lab, plan)


def await_primary(lab: Lab, plan: Plan, api: Api) -> None:
    """Wait until a node is primary. Raises LabError."""

    def is_there() -> bool:
        with contextlib.suppress(LabError):
            return any(item["coordinator_state"] == "primary" for item in api.get("/node"))
        return False

    _until(is_there, "a node is primary", lab, plan)


def ensure_pool(lab: Lab, plan: Plan, api: Api) -> None:
    """Make the default pool where it is not there yet; shared, where there is somebody to share it with. Return when
    PVC believes that it can be used. Raises LabError.
    """
    _until(lambda: _has_pool(api, plan), f"pool {POOL} is made", lab, plan)
    _until(lambda: _usable(api), f"pool {POOL} can be used on all nodes", lab, plan, deadline_s=BELIEF_S)


def _has_pool(api: Api, plan: Plan) -> bool:
    """False: the store was too slow to say whether it took it, or the connection went with a primary."""
    try:
        _make_pool(api, plan)
    except ApiError as error:
        if error.status != 503:
            raise
        return False
    except LabError:
        return False
    return True


def _make_pool(api: Api, plan: Plan) -> None:
    try:
        api.get(f"/storage/ceph/pool/{POOL}")
    except ApiError as error:
        if error.status != 404:
            raise
        if plan.storage == "ceph":
            copies = ceph.copies(plan)
            replcfg = f"copies={copies},mincopies={max(1, copies - 1)}"
            api.post("/storage/ceph/pool", pool=POOL, pgs=16, replcfg=replcfg, driver="storage_ceph")
            return
        words = {"pool": POOL, "replcfg": "copies=1,mincopies=1", "driver": "storage_dir"}
        api.post("/storage/ceph/pool", pgs=1, option=["shared=true"] if len(plan.nodes) > 1 else [], **words)


def _usable(api: Api) -> bool:
    """Whether a volume can be made there: PVC refuses that until every node has seen the others' marks in it."""
    path = f"/storage/ceph/volume/{POOL}/{PROBE}"
    try:
        api.post("/storage/ceph/volume", volume=PROBE, pool=POOL, size="1M")
        api.delete(path)
    except LabError:
        with contextlib.suppress(LabError):  # of one whose answer was lost with a primary
            api.delete(path)
        return False
    return True


def node_url(plan: Plan, name: str) -> str:
    return f"http://127.0.0.1:{plan.node_ports[name]}/api/v1"


def _until(true: Callable[[], bool], what: str, lab: Lab, plan: Plan, *, deadline_s: float = READY_S) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        for name in plan.nodes:
            _check_units(lab, name)
        if time.monotonic() > end:
            units = {name: node.status(lab.needs(name)) for name in plan.nodes}
            raise LabError(f"not within {deadline_s:.0f} s: {what}; units: {json.dumps(units)}")
        time.sleep(0.1)


def _check_units(lab: Lab, name: str) -> None:
    """Raises LabError when the node is off or one of its units does not come up."""
    init, logs = lab.process(name), lab.node_dir(name) / "var/log/pvc"
    if init is None:
        raise LabError(f"the node {name} went off while booting: {tail(logs / 'init.log')}")
    for unit in node.status(init):
        if unit["state"] == "failed" or unit["restarts"] >= 3:
            log = tail(logs / f"{unit['unit']}.log")
            raise LabError(f"{unit['unit']} of {name} does not come up ({unit['why']}). The end of its log:\n{log}")


def tail(path: Path, lines: int = 12) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(there is no log)"
