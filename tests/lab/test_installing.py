"""docs/installing.md typed word by word on bare machines, and what it promises: a guest that counts through all of it,
no secret where none belongs, a removed node that reaches nobody, refusals in words.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import pytest

from lab import LabError, guests
from lab.api import Api
from lab.state import REPOSITORY
from tests.lab_fixture import RunningLab

pytestmark = [pytest.mark.system, pytest.mark.slow]
LINE = re.compile(r"^    (hv\d)# (.+)$")
SECRETS = ("store-node", "store-api", "store-quorum")
WAIT_S = 120.0

REACH = """
import sys
from pathlib import Path
from pvc_core.config import load
from pvc_core.daemon.opening import open_store
from pvc_core.errors import PvcError
from pvc_core.peer import ask
from pvc_core.peer.network import Address, node_identity
config, pki = load("/etc/pvc/pvc.yaml"), Path("/etc/pvc/pki")
identity = node_identity(pki / "ca.crt", pki / "node.crt", pki / "node.key")
try:
    with ask(Address("hv1", "10.71.0.11", 7371, identity), "hello", {}) as reply:
        print("peer: answered")
except PvcError as error:
    print("peer:", error)
for user in sys.argv[1:]:
    store = open_store(config, user, call_deadline_s=5.0)
    try:
        store.get("/pvc/state", deadline_s=5.0)
        print(user, "is let in")
    except PvcError as error:
        print(user, "is refused:", error)
"""


class Typist:
    """Types the commands of a section of the manual. TOKEN is what the last `pvcnoded token` printed."""

    def __init__(self, lab: RunningLab) -> None:
        self.lab, self.token, self.key = lab, "", ""
        text = (REPOSITORY / "docs/installing.md").read_text()
        parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
        self.sections = dict(zip(parts[1::2], parts[2::2], strict=True))

    def section(self, title: str, *, first: int = 0, until: int | None = None) -> str:
        """Type its lines from `first` up to `until`; what the last one said."""
        lines = [found for line in self.sections[title].splitlines() if (found := LINE.match(line))]
        said = ""
        for found in lines[first:until]:
            said = self.type(found[1], found[2])
        return said

    def type(self, where: str, command: str) -> str:
        said = self.lab.exec(where, "bash", "-c", command.replace("TOKEN", self.token))
        if command.startswith("pvcnoded token"):
            self.token = said.strip()
        if "--first-key" in command:
            self.key = next(line for line in said.splitlines() if line.startswith("admin."))
            self.lab.exec(where, "sed", "-i", "s/virt_type: auto/virt_type: qemu/", "/etc/pvc/pvc.yaml")
        return said

    def refused(self, where: str, command: str, why: str) -> None:
        with pytest.raises(LabError) as caught:
            self.type(where, command)
        assert why in str(caught.value)


@pytest.fixture(scope="module")
def typist() -> Iterator[Typist]:
    lab = RunningLab(f"inst{os.getpid()}", nodes=5, fresh=True)
    yield Typist(lab)
    lab.down()


def test_one_node_and_a_guest(typist: Typist) -> None:
    lab = typist.lab
    typist.section("Before you begin")
    typist.section("The first node")
    lab.api = Api(lab.api_url, typist.key)
    lab.api.post("/storage/ceph/pool", pool="vms", pgs=1, replcfg="copies=1,mincopies=1", driver="storage_dir")
    guests.make_guest(lab.api, guests.Wish(name="counts"))


def test_the_guest_counts_on_from_the_embedded_store_to_three_coordinators(typist: Typist) -> None:
    lab = typist.lab
    before = lab.ticks("counts")
    typist.section("From the embedded store to ZooKeeper")
    assert "zookeeper" in lab.exec("hv1", "cat", "/etc/pvc/pvc.yaml")
    typist.section("From one coordinator to three", until=2)
    typist.refused("hv1", "pvcnoded coordinators hv1 hv2 hv3", "the store would lose its majority")
    typist.refused("hv1", "pvcnoded coordinators hv1 hv2", "2 coordinators (hv1, hv2) are no ensemble")
    typist.refused("hv1", "pvcnoded coordinators hv2 hv1 hv3", "a ZooKeeper server keeps its own for life")
    said = typist.section("From one coordinator to three", first=2)
    assert {"hv1", "hv2", "hv3"} <= set(said.split())
    lab.eventually(lambda: lab.ticks("counts") > before + 5, "the guest counts on", deadline_s=WAIT_S)
    _unbroken(lab.api.get("/vm/counts/console", lines=5000)["data"])
    _three_serve(lab, "hv1", "hv2", "hv3")


def test_no_secret_stands_where_none_belongs(typist: Typist) -> None:
    lab = typist.lab
    words = [lab.exec("hv1", "cat", f"/etc/pvc/secrets/{name}").strip() for name in SECRETS]
    for where in ("hv1", "hv2", "hv3"):
        for word in words:
            found = lab.exec(where, "sh", "-c", f"grep -rlF -e '{word}' /etc /var /run || true").split()
            allowed = {f"/etc/pvc/secrets/{name}" for name in SECRETS} | {"/var/lib/pvc/zookeeper/jaas.conf"}
            assert {path for path in found if not path.startswith("/run/credentials/")} <= allowed, where
            seen = lab.exec(where, "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '")
            assert word not in seen.replace(f"grep -rlF -e {word}", "")
    modes = lab.exec("hv1", "sh", "-c", "stat -c '%a %n' /etc/pvc/secrets/* /etc/pvc/pki/*.key")
    assert all(line.split()[0] in ("600", "640") for line in modes.splitlines()), modes


def test_a_hypervisor_comes_and_is_removed_for_good(typist: Typist) -> None:
    lab = typist.lab
    typist.section("A hypervisor")
    lab.eventually(lambda: _seen(lab, "hv4") == "run", "hv4 is at work", deadline_s=WAIT_S)
    assert "node is let in" in lab.exec("hv4", "python3", "-c", REACH, "node")
    typist.refused("hv1", "pvc -c local node remove hv1 --wait -y", "it may be running VM counts")
    typist.refused("hv1", "pvc -c local node remove hv4 --wait -y", "it is alive, its heartbeat moves")
    typist.section("Removing a node", until=2)
    lab.power_off("hv4")
    typist.section("Removing a node", first=2)
    assert _seen(lab, "hv4") == ""
    lab.power_on("hv4")
    _reaches_nobody(lab, "hv4", "node")


def test_a_burned_coordinator_is_replaced_by_a_machine_of_another_name(typist: Typist) -> None:
    lab = typist.lab
    typist.refused("hv1", "pvc -c local node remove hv2 --wait -y", "it is alive, its heartbeat moves")
    lab.power_off("hv2")
    lab.eventually(lambda: _writes(lab), "the two that are left take writes", deadline_s=WAIT_S)
    typist.section("Replacing a coordinator", until=1)
    typist.refused("hv1", "pvcnoded coordinators hv1 hv5 hv3", "the store would lose its majority")
    typist.section("Replacing a coordinator", first=1, until=5)
    lab.eventually(lambda: _listens(lab, "hv5"), "the new server has begun", deadline_s=WAIT_S)
    typist.section("Replacing a coordinator", first=5, until=7)
    _three_serve(lab, "hv1", "hv3", "hv5")
    lab.eventually(lambda: _seen(lab, "hv5") == "run", "hv5 is at work", deadline_s=WAIT_S)
    lab.power_on("hv2")  # it did not burn after all
    _reaches_nobody(lab, "hv2", "node", "api")
    lab.eventually(lambda: _roles(lab, "hv2") == ["not serving"], "its server is in no ensemble")
    lab.power_off("hv2")


def test_a_new_machine_takes_the_name_of_the_old(typist: Typist) -> None:
    lab = typist.lab
    lab.power_off("hv3")
    lab.eventually(lambda: _writes(lab), "the two that are left take writes", deadline_s=WAIT_S)
    place = lab._lab.node_dir("hv3")
    shutil.move(place, place.with_name("burned"))
    lab.power_on("hv3")
    typist.section("Before you begin", first=2)
    typist.section("Replacing a coordinator", first=7)
    _three_serve(lab, "hv1", "hv3", "hv5")
    lab.eventually(lambda: _seen(lab, "hv3") == "run", "hv3 is at work", deadline_s=WAIT_S)
    before = lab.ticks("counts")
    lab.eventually(lambda: lab.ticks("counts") > before, "the guest counts", deadline_s=WAIT_S)
    _unbroken(lab.api.get("/vm/counts/console", lines=5000)["data"])


def _reaches_nobody(lab: RunningLab, where: str, *users: str) -> None:
    """With all it was given. ZooKeeper's servers look into their lists twice a minute."""
    lab.exec(where, "pvcnoded", "hostnet")

    def refused() -> bool:
        said = lab.exec(where, "python3", "-c", REACH, *users)
        assert f"peer: node {where} was removed" in said, said
        return "is let in" not in said

    lab.eventually(refused, f"{where} is refused by the store", deadline_s=WAIT_S)


def _unbroken(console: str) -> None:
    """It counted every second once: it never stood still for long, and did not begin anew."""
    ticks = [int(number) for number in re.findall(r"tick (\d+)", console)]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))


def _writes(lab: RunningLab) -> bool:
    try:
        for state in ("true", "false"):
            lab.api.post("/status", state=state)
    except LabError:
        return False
    return True


def _roles(lab: RunningLab, *names: str) -> list[str]:
    return sorted(lab.store_role(name) for name in names)


def _three_serve(lab: RunningLab, *names: str) -> None:
    wanted = ["follower", "follower", "leader"]
    lab.eventually(lambda: _roles(lab, *names) == wanted, "three servers", deadline_s=WAIT_S)


def _listens(lab: RunningLab, name: str) -> bool:
    return ":3888" in lab.exec(name, "ss", "-ltn")


def _seen(lab: RunningLab, name: str) -> str:
    try:
        return {item["name"]: str(item["daemon_state"]) for item in lab.api.get("/node")}.get(name, "")
    except LabError:
        return "?"
