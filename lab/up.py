"""Brings a lab up until its API answers, or leaves nothing of it; and takes it down."""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lab import LabError, bmcs, ceph, founding, network, node, plugins, processes, ready
from lab.api import Api
from lab.processes import Process
from lab.state import FORWARDER, REPOSITORY, Lab, Plan

API_PORT = 7370
FLOATING = "floating"
"""The name under which the forwarder leads to whoever is primary."""
KEY_S = 60.0
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
        except BaseException:  # an interruption too: what was begun is undone, and it is raised on
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


def api_of(lab: Lab, coordinator: str = "") -> Api:
    """Return the lab's API as it is reached from the machine: one coordinator's, or whichever answers. Raises LabError
    where the lab is not ready.
    """
    plan = lab.plan()
    if not plan.ready:
        raise LabError(f"lab {lab.name} is not ready; script/lab up --name {lab.name} makes it so")
    url = ready.node_url(plan, coordinator) if coordinator else api_url(plan)
    return Api(url, lab.key_file.read_text().strip() if lab.key_file.exists() else "")


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
    if plan.storage == "ceph":
        say("Ceph: files and keys of its daemons")
        ceph.prepare(lab, plan)
    plan.plugins = plugins.install(lab.root / "plugins", plan.plugins)
    for name in plan.nodes:
        units = node.units_of(plan, name)
        bmcs.switch_on(lab, plan, name)
        say(f"node {name}: {', '.join(unit.removesuffix('.service') for unit in units)}")
        first_boot = None if plan.fresh else functools.partial(founding.install, lab, plan, name)
        node.switch_on(lab, plan, name, first_boot=first_boot)
    _forward(lab, plan, switch)
    if plan.fresh:
        plan.ready = True
        lab.save(plan)
        return
    say("waiting for the API")
    ready.await_apis(lab, plan)
    first = lab.needs(plan.nodes[0])
    key = _make_key(first)
    _write_private(lab.key_file, key + "\n")
    _write_connection(lab, plan, key)
    ready.await_nodes(lab, plan, key)
    api = Api(api_url(plan), key)
    ready.await_primary(lab, plan, api)
    if plan.storage == "ceph":
        say("waiting for Ceph")
        ceph.await_ready(lab, plan, lambda argv: node.run_inside(first, argv, "asking Ceph"))
    ready.ensure_pool(lab, plan, api)
    plan.ready = True
    lab.save(plan)


def _make_key(first: Process) -> str:
    """The first write of all: an ensemble that has just chosen its leader may be too slow for it on a busy machine. Of
    one whose answer got lost nobody knows the key: the next has a name of its own.
    """
    end = time.monotonic() + KEY_S
    for number in itertools.count(1):
        name = "lab" if number == 1 else f"lab{number}"
        try:
            said = node.run_inside(first, ["pvcnoded", "key", "add", name, "--role", "admin"], "making an API key")
            return said.split()[-1]
        except LabError as error:
            if time.monotonic() > end or "the store" not in str(error):
                raise
            time.sleep(1.0)
    raise AssertionError("not reached")


def _forward(lab: Lab, plan: Plan, switch: Process) -> None:
    """Start the forwarder and note in `plan` the ports of 127.0.0.1 on which the machine reaches the APIs."""
    port_file = lab.root / "api-ports"
    hosts = {name: network.UPSTREAM.address(plan.nodes.index(name) + 1) for name in plan.coordinators}
    targets = [f"{name}={host}:{API_PORT}" for name, host in {FLOATING: network.UPSTREAM.floating, **hosts}.items()]
    processes.prepare(
        lab.record(FORWARDER),
        [sys.executable, "-P", "-m", "lab.forward", str(switch.pid), str(port_file), *targets],
        log=lab.root / "forwarder.log",
        env={**node.environment(), "PYTHONPATH": str(REPOSITORY)},
    ).go()
    end = time.monotonic() + 10
    while not port_file.exists():
        if time.monotonic() > end:
            raise LabError(f"the lab's forwarder does not start: {ready.tail(lab.root / 'forwarder.log')}")
        time.sleep(0.01)
    ports = json.loads(port_file.read_text())
    plan.api_port, plan.node_ports = ports.pop(""), ports


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
