"""Run inside a lab node, as root: build its fence driver on the real store as pvcnoded does, and fence a node with it.

Arguments: the node, deadline in seconds. Prints one JSON object: the answer, and how long it took.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

import structlog

from pvc_core.clock import SystemClock
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.daemon.context import DaemonContext
from pvc_core.daemon.opening import open_store
from pvc_core.loader import load_all
from pvc_core.model.fence import Proof, Target


def main(node: str, deadline_s: float) -> None:
    config, loaded = load_all("/etc/pvc/pvc.yaml")
    store, clock, log = open_store(config, "node"), SystemClock(), structlog.get_logger()
    plugin = loaded.plugins["fence_ipmi"]
    keeper = ViewKeeper(store, clock, live=False, spread=lambda: 0.0)
    context = DaemonContext(config, plugin.name, plugin.config, store=store, keeper=keeper, clock=clock, log=log)
    driver = plugin.build_drivers(context).fence
    assert driver is not None
    seen = Repository(store).get(layout.NODE_SEEN, node).value
    target = Target(node=node, uuid=seen.machine_uuid, incarnation=seen.incarnation, addresses=seen.addresses)
    started_s = time.monotonic()
    answer = driver.fence(target, deadline_s=deadline_s)
    took_s = time.monotonic() - started_s
    print(json.dumps({"proof": isinstance(answer, Proof), "took_s": took_s, **asdict(answer)}))
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
