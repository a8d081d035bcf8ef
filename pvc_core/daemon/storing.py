"""`pvcnoded store`: from the embedded store to ZooKeeper, on the one node there is so far."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from pvc_core.config import Config, EmbeddedStore, ZookeeperStore, load
from pvc_core.daemon import systemd
from pvc_core.daemon.members import SERVER, write_value
from pvc_core.daemon.opening import open_store
from pvc_core.errors import Refused, Retry, StoreUnavailable
from pvc_core.founding import ensemble, moving
from pvc_core.founding.places import cluster_address, store_hosts
from pvc_core.store.base import Store

OLD_SERVER = "pvcstored"


def store_command(options: argparse.Namespace) -> int:
    """Move, or unseal. Where systemd runs it starts what is needed, else it prints what is left to do.

    Raises Refused, Retry (no ZooKeeper), StoreUnavailable.
    """
    config = load(options.config, node=options.node)
    if not isinstance(config.store, EmbeddedStore):
        raise Refused("pvc.yaml does not name the embedded store", help="only its content can be moved")
    source = open_store(config, "node")
    try:
        if options.action == "unseal":
            moving.unseal(source)
            print("the embedded store takes writes again")
            return 0
        return _move(config, source, options.port, options.wait)
    finally:
        source.close()


def _move(config: Config, source: Store, port: int, wait_s: float) -> int:
    assert isinstance(config.store, EmbeddedStore)
    if cluster_address(config) is None and port == config.store.port:
        raise Refused(f"port {port} of 127.0.0.1 is the embedded store's", help="choose another with --port")
    target_config = replace(config, store=ZookeeperStore(port=port))
    if not ensemble.place_of(config).exists():
        ensemble.let_vote_empty(config.paths.state)
    ensemble.ensure_rendered(target_config)
    if systemd.runs():
        systemd.do("enable", "--now", SERVER)
        print("ZooKeeper's files are written, and it starts", flush=True)
    else:
        print(f"ZooKeeper's files are written; start it now: systemctl enable --now {SERVER}", flush=True)
    target = open_store(target_config, "node")
    try:
        _await(target, store_hosts(target_config), wait_s)
        count = moving.move(source, target, where=store_hosts(target_config))
    finally:
        target.close()
    print(f"{count} keys were moved; the embedded store is sealed")
    if not systemd.runs():
        print(f"now write `store: {{zookeeper: {{port: {port}}}}}` into {config.file}, then:")
        print(f"systemctl restart {' '.join(systemd.DAEMONS)}; systemctl disable --now {OLD_SERVER}")
        return 0
    write_value(config.file, ("store",), f"{{zookeeper: {{port: {port}}}}}", node=config.node)
    print(f"{config.file}: the store is ZooKeeper now; the daemons begin anew, guests run on")
    systemd.do("try-restart", *systemd.DAEMONS)
    systemd.do("disable", "--now", OLD_SERVER)
    return 0


def _await(target: Store, where: str, wait_s: float) -> None:
    until_s = time.monotonic() + wait_s
    while True:
        try:
            target.children("/", deadline_s=2.0)
            return
        except StoreUnavailable as error:
            if time.monotonic() >= until_s:
                raise Retry(
                    f"ZooKeeper at {where} does not answer after {wait_s:g} s, so nothing was moved: {error.message}",
                    help="look at its log, then try again",
                ) from None
            time.sleep(0.2)
