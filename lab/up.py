"""Brings a lab up until its API answers, or leaves nothing of it; and takes it down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lab import LabError, network, node, plugins, processes
from lab.api import Api, ApiError
from lab.processes import Process
from lab.state import FORWARDER, REPOSITORY, Lab, Plan

API_PORT = 7370
READY_S = 90.0
Say = Callable[[str], None]


def bring_up(lab: Lab, plan: Plan, say: Say, *, keep: bool = False) -> Plan:
    """Make the lab as `plan` says and return when it is ready; one that runs already is left alone.

    What an earlier `up` left half-made is removed first. When this one fails or is interrupted everything is removed
    again, unless `keep`. Raises LabError.
    """
    with lab.locked():
        running = _running(lab)
        if running is not None:
            say(f"lab {lab.name} runs already")
            return running
        if any(lab.root.iterdir()):
            say(f"removing what is left of an earlier lab {lab.name}")
            lab.kill_all()
            _empty(lab)
        try:
            _make(lab, plan, say)
        except BaseException:
            if not keep:
                lab.remove()
            raise
        return plan


def take_down(lab: Lab) -> None:
    """Kill and remove everything of the lab. Raises LabError where there is none."""
    if not lab.exists:
        raise LabError(f"there is no lab {lab.name}")
    with lab.locked():
        lab.remove()


def api_of(lab: Lab) -> Api:
    """Return the lab's API as it is reached from the machine. Raises LabError where the lab is not ready."""
    plan = lab.plan()
    if not plan.ready:
        raise LabError(f"lab {lab.name} is not ready; script/lab up --name {lab.name} makes it so")
    return Api(api_url(plan), lab.key_file.read_text().strip())


def api_url(plan: Plan) -> str:
    return f"http://127.0.0.1:{plan.api_port}/api/v1"


def _running(lab: Lab) -> Plan | None:
    try:
        plan = lab.plan()
    except LabError:
        return None
    return plan if plan.ready and lab.process(FORWARDER) is not None else None


def _empty(lab: Lab) -> None:
    """Remove what is in the lab's directory, but not the directory: it is what we hold the lock on."""
    subprocess.run(["find", str(lab.root), "-mindepth", "1", "-delete"], check=True)


def _make(lab: Lab, plan: Plan, say: Say) -> None:
    lab.save(plan)
    say(f"network: {', '.join(item.name for item in network.NETWORKS)} in a namespace of their own")
    switch = node.switch_on_network(lab)
    plan.plugins = plugins.install(lab.root / "plugins", plan.plugins)
    first = plan.nodes[0]
    say(f"node {first}: {', '.join(name.removesuffix('.service') for name in node.units_of(plan))}")
    init = node.switch_on(lab, plan, first, first_boot=[["pvcnoded", "init", "--config", "/etc/pvc/pvc.yaml"]])
    plan.api_port = _forward(lab, plan, switch)
    say("waiting for the API")
    _await_api(lab, plan, init)
    key = node.run_inside(init, ["pvcnoded", "key", "add", "lab", "--role", "admin"], "making an API key").split()[-1]
    _write_private(lab.key_file, key + "\n")
    _write_connection(lab, plan, key)
    ensure_pool(Api(api_url(plan), key))
    plan.ready = True
    lab.save(plan)


def _await_api(lab: Lab, plan: Plan, init: Process) -> None:
    """Wait until the API answers. Raises LabError with the unit that does not come up and the end of its log."""
    end = time.monotonic() + READY_S
    api = Api(api_url(plan), "")
    while not api.answers():
        if not init.runs():
            raise LabError(
                f"the node went off while booting: {_tail(lab.node_dir(plan.nodes[0]) / 'var/log/pvc/init.log')}"
            )
        broken = [unit for unit in node.status(init) if unit["state"] == "failed" or unit["restarts"] >= 3]
        if broken:
            unit = broken[0]
            log = lab.node_dir(plan.nodes[0]) / f"var/log/pvc/{unit['unit']}.log"
            raise LabError(f"{unit['unit']} does not come up ({unit['why']}). The end of its log:\n{_tail(log)}")
        if time.monotonic() > end:
            raise LabError(f"the API does not answer after {READY_S:.0f} s; units: {json.dumps(node.status(init))}")
        time.sleep(0.1)


def ensure_pool(api: Api) -> None:
    """Make the default pool `vms` where it is not there yet."""
    try:
        api.get("/storage/ceph/pool/vms")
    except ApiError as error:
        if error.status != 404:
            raise
        api.post("/storage/ceph/pool", pool="vms", pgs=1, replcfg="copies=1,mincopies=1", driver="storage_dir")


def _forward(lab: Lab, plan: Plan, switch: Process) -> int:
    """Start the forwarder and return the port of 127.0.0.1 on which the machine reaches the API."""
    port_file = lab.root / "api-port"
    targets = [f"{network.UPSTREAM.address(number)}:{API_PORT}" for number in range(1, len(plan.nodes) + 1)]
    processes.prepare(
        lab.record(FORWARDER),
        [sys.executable, "-P", "-m", "lab.forward", str(switch.pid), str(port_file), *targets],
        log=lab.root / "forwarder.log",
        env={**node.environment(), "PYTHONPATH": str(REPOSITORY)},
    ).go()
    end = time.monotonic() + 10
    while not port_file.exists():
        if time.monotonic() > end:
            raise LabError(f"the lab's forwarder does not start: {_tail(lab.root / 'forwarder.log')}")
        time.sleep(0.01)
    return int(port_file.read_text())


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _write_connection(lab: Lab, plan: Plan, key: str) -> None:
    """Write the CLI's connection to this lab, in the format of its store pvc.json."""
    words = {
        "description": f"lab {lab.name}",
        "host": "127.0.0.1",
        "port": plan.api_port,
        "scheme": "http",
        "api_key": key,
    }
    (lab.root / "cli").mkdir(exist_ok=True)
    _write_private(lab.root / "cli/pvc.json", json.dumps({lab.name: words}))


def _tail(path: Path, lines: int = 12) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(there is no log)"
