"""`pvcnoded key`: API keys made on the node itself, by who is root there."""

from __future__ import annotations

import argparse

from pvc_core.clock import SystemClock
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.config import load
from pvc_core.daemon.life import prepare
from pvc_core.daemon.opening import open_store
from pvc_core.services.keys import KeyService


def key_command(options: argparse.Namespace) -> int:
    """add prints the key, once; list prints "NAME ROLE" lines. Exit code 0; raises what the service raises."""
    config = load(options.config, node=options.node)
    store = open_store(config, "node")
    clock = SystemClock()
    try:
        prepare(store, config.cluster.name)
        keeper = ViewKeeper(store, clock)
        keeper.step()
        keys = KeyService(Repository(store), keeper, clock)
        if options.action == "add":
            print(keys.add(options.name, options.role, description=options.description))
        elif options.action == "remove":
            keys.remove(options.name)
        else:
            for key in keys.list():
                print(f"{key.name} {key.role}")
    finally:
        store.close()
    return 0
