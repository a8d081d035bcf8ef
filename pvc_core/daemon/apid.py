"""pvcapid: the frontends of pvc.yaml on the services. Unprivileged, and keeps nothing on disk."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

import structlog

from pvc_core import __version__, config_file
from pvc_core.clock import SystemClock
from pvc_core.config import ConfigError
from pvc_core.contracts.frontend import Frontend
from pvc_core.daemon import logs
from pvc_core.daemon.build_services import build_services
from pvc_core.daemon.context import DaemonContext
from pvc_core.daemon.files import allow_many_files
from pvc_core.daemon.notify import notify
from pvc_core.daemon.opening import open_store
from pvc_core.errors import Permanent, PvcError
from pvc_core.founding.secrets import STORE_API, read_secret
from pvc_core.loader import load_all

READY_S = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes as pvcnoded's."""
    parser = argparse.ArgumentParser(prog="pvcapid", description="The API daemon of PVC.")
    parser.add_argument("--version", action="version", version=f"pvcapid {__version__}")
    where = config_file(os.environ)
    parser.add_argument("--config", default=where, help=f"the configuration file (default: {where})")
    parser.add_argument("--node", help="this node's name (default: the hostname)")
    options = parser.parse_args(argv)
    try:
        return _serve(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except PvcError as error:
        print(f"pvcapid: {error}", file=sys.stderr)
        return 1


def _serve(options: argparse.Namespace) -> int:
    allow_many_files()
    config, loaded = load_all(options.config, node=options.node)
    logs.setup(node=config.node).hide(read_secret(config.paths.secrets, STORE_API))
    log, clock = structlog.get_logger("pvc.apid"), SystemClock()
    store = open_store(config, "api")
    services = build_services(config, loaded, store=store, clock=clock, log=log)
    threading.Thread(target=services.desk.keeper.run, name="view", daemon=True).start()
    frontends: list[Frontend] = []
    for name, plugin in loaded.plugins.items():
        context = DaemonContext(
            config, name, plugin.config, store=store, keeper=services.desk.keeper, clock=clock, log=log
        )
        made = plugin.build_frontend(context, services)
        if made is not None:
            frontends.append(made)
    if not frontends:
        raise Permanent("no plugin of pvc.yaml brings a frontend", help="name api_falcon under plugins")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: [frontend.stop() for frontend in frontends])
    log.info(f"pvcapid {__version__} begins")
    code = _run(frontends, log)
    services.close()
    store.close()
    return code


def _say_ready(frontends: list[Frontend]) -> None:
    """To the service manager, when all of them answer."""
    if all(frontend.ready.wait(READY_S) for frontend in frontends):
        notify("READY=1", os.environ)


def _run(frontends: list[Frontend], log: object) -> int:
    """All but the first on threads of their own; ends when the first ends, with 1 if any could not serve."""
    failed: list[PvcError] = []

    def serve(frontend: Frontend) -> None:
        try:
            frontend.serve()
        except PvcError as error:
            failed.append(error)
            for other in frontends:
                other.stop()

    others = [threading.Thread(target=serve, args=(frontend,), daemon=True) for frontend in frontends[1:]]
    for thread in others:
        thread.start()
    threading.Thread(target=_say_ready, args=(frontends,), daemon=True).start()
    serve(frontends[0])
    for frontend in frontends:
        frontend.stop()
    for error in failed:
        print(f"pvcapid: {error}", file=sys.stderr)
    return 1 if failed else 0
