"""OSDs are made of a real (loop) disk by ceph-volume, marked, drained and removed, by the plugin's own actions."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.ceph_conf import ENVIRONMENT, client_conf
from lab.ceph_make import Ceph
from pvc_core.contracts.plugin import Completed
from pvc_core.errors import NotFound, Refused
from pvc_core.testing.context import FakeContext
from pvc_core.testing.storage_rig import DEADLINE_S
from pvc_core.units import GIB
from pvc_storage_ceph.actions import ACTIONS
from pvc_storage_ceph.benchmark import TESTS, Benchmark
from pvc_storage_ceph.osds import Osds

from .volumes_rig import CephRig

pytestmark = pytest.mark.slow
NODE = "hv9"
SYSTEMCTL = """#!/bin/sh
number=${{2#ceph-osd@}}; number=${{number%.service}}
case "$1" in
start) exec ceph-osd -c {conf} -i "$number" --crush-location "root=default host={node}" ;;
stop) pid=$(cat {run}/osd.$number.pid) && kill "$pid" && while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done; exit 0 ;;
esac
"""


class NodeContext(FakeContext):
    """Programs run where /etc/ceph and /var/lib/ceph are this node's own, and systemctl starts OSDs by itself."""

    def __init__(self, config: Mapping[str, Any], place: Path, pid: int) -> None:
        super().__init__(
            {**config, "osd_mode": "raw", "bootstrap": f"{place}/var/bootstrap-osd/ceph.keyring"}, node=NODE
        )
        path = f"{place}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._inside = ["nsenter", "--mount", f"--target={pid}", "env", "-u", "CEPH_CONF", f"PATH={path}"]
        self._inside += [f"{key}={value}" for key, value in ENVIRONMENT.items()]

    def run(self, argv: Sequence[str], *, deadline_s: float, stdin: bytes = b"") -> Completed:
        return super().run([*self._inside, *argv], deadline_s=deadline_s, stdin=stdin)


@pytest.fixture
def place(ceph: Ceph) -> Iterator[Path]:
    """Below the rig's own directory: its leash ends what runs from here, too."""
    place = Path(tempfile.mkdtemp(prefix="node-", dir=ceph.directory))
    for name in ("etc", "var/osd", "var/bootstrap-osd", "var/tmp", "log", "bin", "run"):
        (place / name).mkdir(parents=True)
    ceph.directory.chmod(0o711)  # ceph-volume makes OSDs as the user ceph
    place.chmod(0o711)
    run = place / "run"
    more = f"[osd]\npid_file = {run}/$name.pid\nrun_dir = {run}\nadmin_socket = {run}/$name.asok\nlog_file =\n"
    quick = "bdev_aio_poll_ms = 10\npublic_network = 127.0.0.0/8\ncluster_network = 127.0.0.0/8\n"
    (place / "etc/ceph.conf").write_text(client_conf(ceph.fsid, ceph.monitors) + more + quick)
    systemctl = place / "bin/systemctl"
    systemctl.write_text(SYSTEMCTL.format(node=NODE, run=run, conf=place / "etc/ceph.conf"))
    systemctl.chmod(0o755)
    no_udev = place / "bin/udevadm"  # ceph-volume only asks for what it does not need; there is no udevd in a container
    no_udev.write_text("#!/bin/sh\nexit 0\n")
    no_udev.chmod(0o755)
    for root in ("var", "var/osd", "var/bootstrap-osd", "var/tmp", "run", "log"):
        shutil.chown(place / root, "ceph", "ceph")
    yield place


@pytest.fixture
def node(ceph: Ceph, whole: CephRig, place: Path) -> Iterator[NodeContext]:
    binds = {"etc": "/etc/ceph", "var": "/var/lib/ceph", "log": "/var/log/ceph"}
    mounts = "".join(f"mkdir -p {target}; mount --bind {place}/{name} {target}; " for name, target in binds.items())
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f"{mounts} echo ready; exec sleep 3600"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
            yield NodeContext(whole.config("hv1"), place, holder.pid)
        finally:
            holder.kill()


@pytest.fixture
def disk(place: Path) -> Iterator[Callable[[str], str]]:
    devices: list[str] = []

    def made(name: str) -> str:
        file = place / name
        with file.open("wb") as new:
            new.truncate(4 * GIB)
        found = subprocess.run(["losetup", "-f", "--show", str(file)], capture_output=True, text=True, check=True)
        devices.append(found.stdout.strip())
        return devices[-1]

    yield made
    for device in devices:
        subprocess.run(["losetup", "-d", device], check=False)


def loaded(action: str, **args: Any) -> dict[str, Any]:
    schema = next(one.schema for one in ACTIONS if one.name == action)
    return dict(schema().load(args))


def test_an_osd_from_its_disk_to_its_end(
    ceph: Ceph, whole: CephRig, node: NodeContext, disk: Callable[[str], str]
) -> None:
    whole.begin()
    driver = whole.driver()
    driver.ensure_pool(whole.pool, deadline_s=DEADLINE_S)
    told: list[str] = []
    osds = Osds(node, driver)
    do = osds.actions()

    def progress(_current: int, _total: int, said: str) -> None:
        told.append(said)

    device = disk("disk1")
    made = do["osd_add"](loaded("osd_add", device=device, weight=1.0), progress)
    number = int(made["osds"][0])  # type: ignore[index]  # a list
    try:
        assert any("making 1 OSD" in said for said in told)
        assert do["osd_add"](loaded("osd_add", device=device, weight=1.0), progress)["osds"] == made["osds"]
        shown = {osd["id"]: osd for osd in driver.report([whole.pool], deadline_s=DEADLINE_S).osds}[str(number)]
        assert (shown["node"], shown["stats"]["up"], shown["stats"]["in"]) == (NODE, 1, 1)
        do["osd_out"](loaded("osd_out", osd=number), progress)
        report = driver.report([whole.pool], deadline_s=DEADLINE_S)
        assert f"CEPH_OSD_OUT_{number}" in {fault.id for fault in report.faults}
        do["osd_in"](loaded("osd_in", osd=number), progress)
        do["flag_set"](loaded("flag_set", flag="noscrub"), progress)
        assert "noscrub" in driver.report([whole.pool], deadline_s=DEADLINE_S).flags
        do["flag_unset"](loaded("flag_unset", flag="noscrub"), progress)
        with pytest.raises(Refused, match="not OSD 0"):
            do["osd_refresh"](loaded("osd_refresh", osd=0, device=device), progress)
        with pytest.raises(NotFound):
            do["osd_out"](loaded("osd_out", osd=99), progress)
    finally:
        removed = do["osd_remove"](loaded("osd_remove", osd=number), progress)
    assert "is removed" in str(removed["message"])
    assert number not in ceph.asked("osd", "ls")
    assert node.run(["ceph-volume", "raw", "list", device], deadline_s=60.0).stdout.strip() in ("{}", "")
    assert "there is no OSD" in str(do["osd_remove"](loaded("osd_remove", osd=number), progress)["message"])
    ceph.await_clean()


def test_a_pool_is_measured(whole: CephRig) -> None:
    whole.begin()
    driver = whole.driver()
    driver.ensure_pool(whole.pool, deadline_s=DEADLINE_S)
    benchmark = Benchmark(FakeContext(whole.config("hv1")), driver)
    found = benchmark.run(loaded("benchmark", pool=whole.pool.name, name="one", seconds=1), lambda *_: None)
    assert found["benchmark_result"].keys() == TESTS.keys()  # type: ignore[attr-defined]  # a dict
    assert all(one["iops"] > 0 for one in found["benchmark_result"].values())
    assert [one["job"] for one in benchmark.kept()] == ["one"]
    assert whole.debris() == [] and "MB/s" in str(found["message"])
