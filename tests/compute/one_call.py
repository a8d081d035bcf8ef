"""A daemon that makes one call of the driver's and may be killed in its course; started by LibvirtRig.spawn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import structlog

from pvc_compute_libvirt.driver import LibvirtDriver, Settings
from pvc_compute_libvirt.permits import Permits
from pvc_compute_libvirt.processes import Processes
from pvc_core.clock import SystemClock
from pvc_core.contracts.compute import RenderRequest
from pvc_core.contracts.targets import File


def main(asked: dict) -> None:
    root = Path(asked["root"])
    driver = LibvirtDriver(
        Settings(uri=asked["uri"], virt_type="qemu", console_log_dir=root / "console", vnc_listen="127.0.0.1"),
        permits=Permits(permits_dir=root / "permits", hooks_dir=root / "etc/hooks"),
        processes=Processes(pid_namespace=asked["pid_namespace"]),
        clock=SystemClock(),
        log=structlog.get_logger(),
    )
    disks = {dev: File(**source) for dev, source in asked["disks"].items()}
    request = RenderRequest(definition=asked["definition"], uuid=asked["uuid"], name=asked["name"], disks=disks)
    print("begin", flush=True)
    if asked["call"] == "start":
        driver.start(request, deadline_s=30.0)
    else:
        driver.stop(request.uuid, deadline_s=30.0)
    print("done", flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
