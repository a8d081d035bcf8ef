"""A VM's life on a real node: over HTTP and with the command line, on a guest that really boots."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.guest_image import guest_image
from lab.guest_xml import guest_xml
from lab.state import CACHE
from tests.lab_fixture import RunningLab
from tests.system.talk import Request, Talk, everything, pool_dir, qemus, run, tracebacks

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

VM, VOLUME, SNAPSHOT = "/vm/life", "/storage/ceph/volume", "/storage/ceph/snapshot"
BOOT_S = 90.0
INFO = """
    name uuid state node last_node migrated failed_reason begun_anew node_limit node_selector node_autostart
    migration_method migration_max_downtime tags snapshots description profile memory memory_stats vcpu vcpu_topology
    vcpu_stats networks type arch machine console vnc emulator features disks controllers xml status priority
"""
TYPE = """
import sys
from pvc_core.peer import ask
ask("/run/pvc/node.sock", "console_write", {"uuid": sys.argv[1]}, body=[sys.argv[2].encode()]).close()
"""
SECOND_NIC = """<interface type="bridge">
  <mac address="52:54:00:aa:bb:01"/>
  <source bridge="brcluster"/>
  <model type="virtio"/>
</interface>"""
SECOND_DISK = """<disk type="network" device="disk">
  <driver name="qemu" type="raw" discard="unmap"/>
  <source protocol="rbd" name="vms/life-data"/>
  <target dev="sdb" bus="scsi"/>
</disk>"""


class Guest:
    """The guest `life`: what a person does at its console."""

    def __init__(self, lab: RunningLab, talk: Talk) -> None:
        self._lab, self._talk = lab, talk
        self.uuid: str = talk.get(VM)[0]["uuid"]

    def console(self, lines: int = 400) -> str:
        return str(self._talk.get(f"{VM}/console", lines=lines)["data"])

    def type(self, line: str) -> None:
        self._lab.exec("hv1", "python3", "-c", TYPE, self.uuid, f"{line}\n")

    def says(self, pattern: str, *, after: int = 0, within_s: float = BOOT_S) -> str:
        """Wait until `pattern` stands on the console, beyond its first `after` characters; what matched."""
        end = time.monotonic() + within_s
        while not (found := re.search(pattern, self.console()[after:])):
            assert time.monotonic() < end, f"no {pattern!r} on the console: {self.console()[-800:]!r}"
            time.sleep(0.2)
        return found[0]

    def run(self, command: str, within_s: float = 30.0) -> str:
        """Run a command in the guest's shell and return what it printed."""
        mark = os.urandom(4).hex()
        self.type(f"echo {mark[:4]}''{mark[4:]}; {command}; echo {mark[4:]}''{mark[:4]}")
        return self._between(mark, mark[4:] + mark[:4], within_s)

    def _between(self, begin: str, end: str, within_s: float) -> str:
        limit = time.monotonic() + within_s
        while True:
            text = self.console()
            if begin in text and end in text.partition(begin)[2]:
                return text.partition(begin)[2].partition(end)[0]
            assert time.monotonic() < limit, f"the guest did not answer: {text[-800:]!r}"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def image() -> Path:
    return guest_image(CACHE, "demo")


@pytest.fixture(scope="module")
def guest(lab: RunningLab, talk: Talk, image: Path) -> Iterator[Guest]:
    """`life`, booted and logged in. Its root is a raw image, uploaded; nothing of it is left afterwards."""
    before = everything(lab, talk)
    size = image.stat().st_size
    talk.ok(_post(VOLUME, pool="vms", volume="life-root", size=str(size)))
    lab.api.upload(f"{VOLUME}/vms/life-root/upload", image, image_format="raw", file_size=size)
    talk.ok(_post("/vm", xml=guest_xml("life", pool="vms", volume="life-root"), selector="mem", user_tags="web"))
    assert talk.get(f"{VM}/state")["state"] == "stop"
    talk.ok(_post(f"{VM}/state", state="start"))
    made = Guest(lab, talk)
    _log_in(made)
    yield made
    talk.ok(Request(method="DELETE", path=VM, query={"delete_disks": "true"}))
    for volume in talk.get(VOLUME):
        if volume["name"].startswith("life-"):
            talk.ok(Request(method="DELETE", path=f"{VOLUME}/vms/{volume['name']}"))
    assert everything(lab, talk) == before
    assert tracebacks(lab) == []


def _log_in(guest: Guest, after: int = 0) -> None:
    guest.says("login: ", after=after)
    guest.type("root")
    guest.says("Password: ", after=after)
    guest.type("pvc")
    guest.says("This is a real virtual machine", after=after)


def _post(path: str, **form: Any) -> Request:
    return Request(method="POST", path=path, form=form)


def _put(path: str, **form: Any) -> Request:
    return Request(method="PUT", path=path, form=form)


def _running(lab: RunningLab, talk: Talk) -> None:
    lab.eventually(lambda: talk.get(f"{VM}/state")["status"] == "running on hv1", "it runs")


# -- while it runs -----------------------------------------------------------------------------------------------------


def test_the_guest_answers_on_its_console(guest: Guest) -> None:
    assert "42" in guest.run("echo $((6 * 7))")
    assert "life" in guest.run("hostname")


def test_one_qemu_runs_it(lab: RunningLab, talk: Talk, guest: Guest) -> None:
    assert len(qemus(lab, guest.uuid)) == 1
    assert "life" in lab.exec("hv1", "virsh", "list", "--name")
    assert "life" in talk.get("/node")[0]["running_domains"]


def test_info_has_every_key(lab: RunningLab, talk: Talk, guest: Guest) -> None:
    found = talk.get(VM)
    assert len(found) == 1
    assert set(found[0]) == set(INFO.split())
    assert (found[0]["state"], found[0]["node"], found[0]["memory"], found[0]["vcpu"]) == ("start", "hv1", 160, 1)
    assert found[0]["xml"] == guest_xml("life", pool="vms", volume="life-root")
    assert talk.get(f"/vm/{guest.uuid}")[0]["name"] == "life"
    lab.eventually(lambda: talk.get(VM)[0]["memory_stats"]["rss"] > 0, "statistics of the guest come")
    lab.eventually(lambda: talk.get(VM)[0]["vcpu_stats"]["cpu_time"] > 0, "its CPU time counts")
    assert talk.get(VM)[0]["disks"][0]["rd_bytes"] > 0


def test_the_command_line_shows_it(lab: RunningLab, guest: Guest) -> None:
    assert "life" in _pvc(lab, "vm", "list")
    assert _pvc(lab, "vm", "list", "-f", "raw").split() == ["life"]
    assert "running on hv1" in _pvc(lab, "vm", "why", "life")
    assert "life" in _pvc(lab, "vm", "info", "life", "-f", "long")
    assert _pvc(lab, "vm", "dump", "life") == guest_xml("life", pool="vms", volume="life-root")
    assert "login:" in _pvc(lab, "vm", "log", "life", "-l", "200")
    assert "compute_libvirt" in _pvc(lab, "plugin", "list")
    _pvc(lab, "task", "list")
    assert "hv1" in _pvc(lab, "node", "list")
    assert "life-root" in _pvc(lab, "storage", "volume", "list")


def _pvc(lab: RunningLab, *argv: str) -> str:
    done = lab.pvc(*argv)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_tags_and_meta(talk: Talk, guest: Guest) -> None:
    talk.ok(_post(f"{VM}/tags", action="add", tag="db", protected="true"))
    assert [(tag["name"], tag["protected"]) for tag in talk.get(f"{VM}/tags")["tags"]] == [("web", False), ("db", True)]
    talk.ok(_post(f"{VM}/tags", action="remove", tag="web"))
    assert [vm["name"] for vm in talk.get("/vm", tag="db")] == ["life"]
    assert talk.get("/vm", tag="web") == []
    talk.ok(_post(f"{VM}/meta", autostart="true", limit="hv1", migration_max_downtime="400"))
    meta = talk.get(f"{VM}/meta")
    assert (meta["node_autostart"], meta["node_limit"], meta["migration_max_downtime"]) == ("True", ["hv1"], 400)


@pytest.mark.parametrize(("query", "found"), [
    ({"limit": "li"}, True), ({"limit": "life"}, True), ({"limit": "^fe"}, False), ({"limit": "ife$"}, True),
    ({"limit": "nobody"}, False), ({"state": "start"}, True), ({"state": "stop"}, False), ({"node": "hv1"}, True),
    ({"node": "hv1", "negate": "true"}, False), ({"state": "stop", "negate": "true"}, True), ({"tag": "none"}, False),
], ids=str)  # fmt: skip
def test_filters(talk: Talk, guest: Guest, query: dict[str, str], found: bool) -> None:
    assert [vm["name"] for vm in talk.get("/vm", **query)] == (["life"] if found else [])


def test_an_update_is_not_lost(talk: Talk, guest: Guest) -> None:
    seen = talk.ask(Request(path=VM))
    text, etag = seen.json[0]["xml"], seen.headers["etag"]
    new = text.replace("a guest of the lab", "changed")
    talk.ok(Request(method="PUT", path=VM, form={"xml": new}, headers={"If-Match": etag}))
    late = talk.ask(Request(method="PUT", path=VM, form={"xml": text}, headers={"If-Match": etag}))
    assert (late.status, late.json["code"]) == (412, "changed_meanwhile")
    assert talk.get(VM)[0]["description"] == "changed"
    talk.ok(_put(VM, xml=text))


def test_a_disk_and_a_nic_come_and_go(lab: RunningLab, talk: Talk, guest: Guest) -> None:
    talk.ok(_post(VOLUME, pool="vms", volume="life-data", size="8M"))
    talk.done(_post(f"{VM}/device", xml=SECOND_DISK))
    assert "sdb" in guest.run("for n in 1 2 3 4 5 6 7 8 9; do [ -e /sys/block/sdb ] || sleep 1; done; ls /sys/block")
    guest.run("echo written-by-the-guest > /dev/sdb; sync")
    talk.done(_post(f"{VM}/device", xml=SECOND_NIC))
    assert "52:54:00:aa:bb:01" in guest.run("sleep 2; cat /sys/class/net/*/address")
    talk.done(Request(method="DELETE", path=f"{VM}/device", form={"xml": SECOND_NIC}))
    talk.done(Request(method="DELETE", path=f"{VM}/device", form={"xml": SECOND_DISK}))
    assert "sdb" not in guest.run("sleep 1; ls /sys/block")
    assert "52:54:00:aa:bb:01" not in guest.run("cat /sys/class/net/*/address")
    assert _content(talk, "life-data").startswith(b"written-by-the-guest\n")
    talk.ok(Request(method="DELETE", path=f"{VOLUME}/vms/life-data"))


def _content(talk: Talk, volume: str, **query: str) -> bytes:
    answer = talk.ask(Request(path=f"{VOLUME}/vms/{volume}/export", query=query))
    assert answer.status == 200, answer
    return answer.body


def test_a_running_guest_sees_its_disk_grow(talk: Talk, guest: Guest, image: Path) -> None:
    sectors = int(re.search(r"\d+", guest.run("cat /sys/block/sda/size"))[0])  # type: ignore[index]  # a number stands there
    assert sectors * 512 == image.stat().st_size
    talk.ok(_put(f"{VOLUME}/vms/life-root", new_size="32M"))
    assert talk.get(f"{VOLUME}/vms/life-root")[0]["stats"]["size_bytes"] == 32 << 20
    assert str((32 << 20) // 512) in guest.run("sleep 1; cat /sys/block/sda/size")


def test_it_restarts(lab: RunningLab, talk: Talk, guest: Guest) -> None:
    pid = qemus(lab, guest.uuid)
    talk.ok(_post(f"{VM}/state", state="restart", wait="true"))
    _running(lab, talk)
    assert qemus(lab, guest.uuid) != pid and len(qemus(lab, guest.uuid)) == 1
    guest.says(r"(?s)going down.*login: ")  # asked, not switched off; and back


# -- off ---------------------------------------------------------------------------------------------------------------


def test_it_shuts_down_when_asked(lab: RunningLab, talk: Talk, guest: Guest) -> None:
    began = time.monotonic()
    talk.ok(_post(f"{VM}/state", state="shutdown", wait="true"))
    assert time.monotonic() - began < 60, "it obeyed, it was not switched off"
    assert "going down" in guest.console()
    assert qemus(lab, guest.uuid) == []
    lab.eventually(lambda: talk.get(f"{VM}/state")["status"].startswith("off"), "it is told as off")


def test_it_is_renamed_while_off(lab: RunningLab, talk: Talk, guest: Guest) -> None:
    talk.ok(_post(f"{VM}/rename", new_name="life2"))
    assert talk.ask(Request(path=VM)).status == 404
    assert talk.get("/vm/life2")[0]["uuid"] == guest.uuid
    assert "<name>life2</name>" in talk.get("/vm/life2")[0]["xml"]
    _pvc(lab, "vm", "rename", "-y", "life2", "life")
    assert talk.get(VM)[0]["uuid"] == guest.uuid


def test_a_snapshot_is_gone_back_to(talk: Talk, guest: Guest) -> None:
    before = hashlib.sha256(_content(talk, "life-root")).digest()
    talk.ok(_post(SNAPSHOT, pool="vms", volume="life-root", snapshot="s1"))
    other = b"quite another content\n".ljust(1 << 20, b"x")
    talk.ok(Request(
        method="POST", path=f"{VOLUME}/vms/life-root/upload", query={"image_format": "raw"}, body=other
    ))  # fmt: skip
    assert _content(talk, "life-root").startswith(other)
    assert hashlib.sha256(_content(talk, "life-root", snapshot="s1")).digest() == before
    talk.ok(_post(f"{SNAPSHOT}/vms/life-root/s1/rollback"))
    assert hashlib.sha256(_content(talk, "life-root")).digest() == before
    talk.ok(_put(f"{SNAPSHOT}/vms/life-root/s1", new_name="s2"))
    assert [one["snapshot"] for one in talk.get(SNAPSHOT, volume="life-root")] == ["s2"]
    talk.ok(Request(method="DELETE", path=f"{SNAPSHOT}/vms/life-root/s2"))


def test_a_clone_is_equal_and_apart(talk: Talk, guest: Guest) -> None:
    talk.ok(_post(f"{VOLUME}/vms/life-root/clone", new_volume="life-copy"))
    assert _content(talk, "life-copy") == _content(talk, "life-root")
    talk.ok(Request(method="DELETE", path=f"{VOLUME}/vms/life-copy"))
    assert talk.get(f"{VOLUME}/vms/life-root")[0]["name"] == "life-root"


def test_what_is_uploaded_comes_out_again(
    talk: Talk, lab: RunningLab, guest: Guest, image: Path, tmp_path: Path
) -> None:
    """As raw and as qcow2, both into a raw volume: the export is the image."""
    qcow2 = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(image), str(qcow2)], check=True)
    for format, file in (("raw", image), ("qcow2", qcow2)):
        talk.ok(_post(VOLUME, pool="vms", volume="life-io", size=str(image.stat().st_size)))
        lab.api.upload(f"{VOLUME}/vms/life-io/upload", file, image_format=format)
        assert _content(talk, "life-io") == image.read_bytes()
        talk.ok(Request(method="DELETE", path=f"{VOLUME}/vms/life-io"))


def test_it_starts_stops_and_is_disabled(lab: RunningLab, talk: Talk, guest: Guest) -> None:
    talk.ok(_post(f"{VM}/state", state="start", wait="true"))
    assert len(qemus(lab, guest.uuid)) == 1
    talk.ok(_post(f"{VM}/state", state="stop", wait="true"))
    assert qemus(lab, guest.uuid) == []
    talk.ok(_post(f"{VM}/state", state="disable"))
    assert talk.get(f"{VM}/state")["state"] == "disable"
    talk.ok(_post(f"{VM}/state", state="start", wait="true"))
    _pvc(lab, "vm", "disable", "-y", "--force", "life")
    lab.eventually(lambda: talk.get(f"{VM}/state")["state"] == "disable", "disabled by force")
    assert qemus(lab, guest.uuid) == []


def test_removed_with_its_disks_nothing_is_left(lab: RunningLab, talk: Talk, guest: Guest) -> None:
    before = everything(lab, talk)
    talk.ok(_post(VOLUME, pool="vms", volume="life-gone", size="1M"))
    talk.ok(_post("/vm", xml=guest_xml("gone", pool="vms", volume="life-gone")))
    talk.ok(_post("/vm/gone/state", state="start", wait="true"))
    uuid = talk.get("/vm/gone")[0]["uuid"]
    talk.ok(Request(method="DELETE", path="/vm/gone", query={"delete_disks": "true"}))
    assert everything(lab, talk) == before
    assert qemus(lab, uuid) == []
    assert uuid not in lab.exec("hv1", "virsh", "list", "--all", "--uuid")
    assert not any("life-gone" in str(path) for path in pool_dir(lab).rglob("*"))
    assert run(lab, "ls", f"/run/pvc/permits/{uuid}").returncode != 0
