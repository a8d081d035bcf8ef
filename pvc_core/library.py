"""PVC as a Python library: `connect` opens a cluster's services without HTTP. docs/library.md has the manual; what
services can do is pvc_core/services.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from pvc_core import config_file
from pvc_core.clock import SystemClock
from pvc_core.daemon.build_services import build_services
from pvc_core.daemon.opening import open_store
from pvc_core.errors import StoreUnavailable
from pvc_core.loader import load_all
from pvc_core.services import Services

_LOOK_S = 0.05


@contextmanager
def connect(config: str | Path | None = None, *, node: str | None = None, within_s: float = 30.0) -> Iterator[Services]:
    """The services of the cluster that `config` (a pvc.yaml; None: PVC_CONFIG_FILE, else /etc/pvc/pvc.yaml) names, as
    long as the `with` lasts.

    Runs where a coordinator's pvc.yaml and secrets can be read (root, or the user pvc), with the rights of pvcapid: it
    may ask for anything, and never says who runs what. `node`: this host's name in the cluster, by default the
    hostname. Plugins' pure halves are loaded, no driver is. Threads of its own keep the picture of the cluster current;
    every call may come from any thread.

    Raises ConfigError (pvc.yaml, with its line), NotFound (no secret), StoreUnavailable (no answer within `within_s`
    seconds).
    """
    read, loaded = load_all(config or config_file(os.environ), node=node)
    clock, store = SystemClock(), open_store(read, "api")
    services = None
    try:
        services = build_services(read, loaded, store=store, clock=clock, log=structlog.get_logger("pvc.library"))
        threading.Thread(target=services.desk.keeper.run, name="view", daemon=True).start()
        _await_picture(services, within_s)
        yield services
    finally:
        if services is not None:
            services.close()
        store.close()


def _await_picture(services: Services, within_s: float) -> None:
    began_s, waited = services.desk.clock.boottime_s(), threading.Event()
    while not services.cluster.fresh:
        if services.desk.clock.boottime_s() - began_s > within_s:
            raise StoreUnavailable(
                f"the store of cluster {services.cluster.name} has not answered within {within_s:g} s",
                help="does it run, and may this user read PVC's secrets? `pvcnoded --check` tells",
            )
        waited.wait(_LOOK_S)
