"""What ceph-volume and LVM are told for OSDs on logical volumes: there is no device mapper where the tests run, so the
programs are played here. On a real disk: test_ceph_osds.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from pvc_core.contracts.plugin import Completed
from pvc_core.errors import Refused
from pvc_core.testing.context import FakeContext
from pvc_core.units import GIB, MIB
from pvc_storage_ceph.actions import ACTIONS
from pvc_storage_ceph.driver import CephStorage
from pvc_storage_ceph.osds import Osds

OURS, THEIRS = "fsid-ours", "fsid-theirs"
DISKS = [
    {"name": "sda", "size": 480_103_981_056, "type": "disk", "vendor": "ATA", "model": "INTEL SSDSC2KB48"},
    {"name": "nvme1n1", "size": 800_166_076_416, "type": "disk", "vendor": None, "model": "Dell NVMe P4610"},
    {"name": "nvme0n1", "size": 800_166_076_416, "type": "disk", "vendor": None, "model": "Dell NVMe P4610"},
    {"name": "sr0", "size": 800_166_076_416, "type": "rom", "vendor": "NVMe", "model": "no disk"},
]


class Node(FakeContext):
    """Keeps what was run, and which OSDs lie on which disk: number -> (disk, fsid)."""

    def __init__(self, place: Path) -> None:
        bootstrap = place / "bootstrap.keyring"
        bootstrap.write_text("[client.bootstrap-osd]\n")
        super().__init__({"osd_mode": "lvm", "bootstrap": str(bootstrap)})
        self.ran: list[str] = []
        self.on: dict[int, tuple[str, str]] = {}
        self.dbs: dict[int, str] = {}
        self.free_bytes = 100 * GIB
        self.groups: dict[str, str] = {}
        self.fails = ""
        self.started: set[int] = set()

    def run(self, argv: Sequence[str], *, deadline_s: float, stdin: bytes = b"") -> Completed:
        said = " ".join(argv)
        self.ran.append(said)
        if self.fails and said.startswith(self.fails):
            return Completed(returncode=1, stdout="", stderr="stderr: Volume group has insufficient free space\n")
        if said.startswith("systemctl is-active"):
            return Completed(returncode=0 if _number(argv[2]) in self.started else 3, stdout="", stderr="")
        return Completed(returncode=0, stdout=self._answer(list(argv)), stderr="")

    def _answer(self, argv: list[str]) -> str:
        match argv[:3]:
            case ["ceph-volume", "lvm", "list"]:
                return json.dumps({str(number): self._parts(number) for number in self.on | self.dbs})
            case ["ceph-volume", "lvm", "prepare"]:
                data = argv[argv.index("--data") + 1]
                self._made(self.groups.get(data.partition("/")[0], data), argv)
            case ["ceph-volume", "lvm", "batch"]:
                for _each in range(int(argv[argv.index("--osds-per-device") + 1])):
                    self._made(argv[-1], argv)
            case ["ceph-volume", "lvm", "zap"]:
                del self.on[int(argv[argv.index("--osd-id") + 1])]
            case ["lvremove", *_]:
                self.dbs = {number: path for number, path in self.dbs.items() if path != argv[-1]}
            case ["vgs", "--noheadings", *_]:
                return f"  {self.free_bytes}\n"
            case ["vgcreate", "--yes", group]:
                self.groups[group] = argv[3]
            case ["systemctl", "start", unit]:
                self.started.add(_number(unit))
            case ["blockdev", *_]:
                return str(100 * GIB)
            case ["lsblk", *_]:
                return json.dumps({"blockdevices": DISKS})
        return ""

    def _made(self, disk: str, argv: list[str]) -> None:
        number = int(argv[argv.index("--osd-id") + 1]) if "--osd-id" in argv else len(self.on)
        self.on[number] = (disk, OURS)
        if "--block.db" in argv:
            self.dbs[number] = f"/dev/{argv[argv.index('--block.db') + 1]}"

    def _parts(self, number: int) -> list[dict[str, Any]]:
        disk, fsid = self.on.get(number, ("", OURS))
        tags = {"ceph.cluster_fsid": fsid, "ceph.osd_fsid": f"life-{number}"}
        data = {
            "devices": [disk],
            "type": "block",
            "vg_name": "ceph-1",
            "lv_path": "/dev/ceph-1/osd-block",
            "tags": tags,
        }
        db = {
            "devices": ["/dev/fast"],
            "type": "db",
            "vg_name": "osd-db",
            "lv_path": self.dbs.get(number),
            "tags": tags,
        }
        return ([data] if number in self.on else []) + ([db] if number in self.dbs else [])


def _number(unit: str) -> int:
    return int(unit.removeprefix("ceph-osd@").removesuffix(".service"))


class Monitors:
    """Of CephStorage what OSDs need: Ceph's answers, from what runs on the node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.known: set[int] = set()
        self.safe = self.sees_new = True
        self.up_elsewhere: set[int] = set()
        self.asked: list[str] = []

    def ask(self, prefix: str, *, deadline_s: float = 60.0, **words: Any) -> Any:
        self.asked.append(prefix)
        known = self.known | (self.node.on.keys() if self.sees_new else set())
        answers: Mapping[str, Callable[[], Any]] = {
            "fsid": lambda: {"fsid": OURS},
            "osd ls": lambda: sorted(known),
            "osd dump": lambda: {
                "osds": [{"osd": one, "up": int(one in self.node.started | self.up_elsewhere)} for one in known]
            },
            "osd ok-to-stop": lambda: {"ok_to_stop": self.safe},
            "osd purge-actual": lambda: self.known.discard(int(words["id"])),
            "osd safe-to-destroy": lambda: {"safe_to_destroy": [int(one) for one in words["ids"]]},
            "osd tree": lambda: {"nodes": []},
            "osd down": lambda: self.node.started.difference_update(map(int, words["ids"])),
        }
        return answers.get(prefix, dict)()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def do(node: Node, monitors: Monitors, action: str, **args: Any) -> dict[str, Any]:
    schema = next(one.schema for one in ACTIONS if one.name == action)
    osds = Osds(node, cast("CephStorage", monitors), sleep=lambda _s: None)
    return dict(osds.actions()[action](schema().load(args), lambda *_: None))


def told(node: Node, program: str) -> list[str]:
    return [one for one in node.ran if one.startswith(program) and " list " not in one]


def test_one_osd_on_a_whole_disk_and_a_second_time_nothing(node: Node) -> None:
    monitors = Monitors(node)
    made = do(node, monitors, "osd_add", device="/dev/sdb", weight=1.0)
    assert made["osds"] == ["0"]
    assert told(node, "ceph-volume") == [
        "ceph-volume lvm prepare --bluestore --data /dev/sdb",
        "ceph-volume lvm activate 0 life-0",
    ]
    node.ran.clear()
    assert do(node, monitors, "osd_add", device="/dev/sdb", weight=1.0)["osds"] == ["0"]
    assert told(node, "ceph-volume") == [], "it is up"
    with pytest.raises(Refused, match="has OSD 0 already"):
        do(node, monitors, "osd_add", device="/dev/sdb", osd_count=2)


def test_several_on_one_disk(node: Node) -> None:
    assert do(node, Monitors(node), "osd_add", device="/dev/sdb", osd_count=3)["osds"] == ["0", "1", "2"]
    batch = "ceph-volume lvm batch --bluestore --osds-per-device 3 --yes /dev/sdb"
    assert told(node, "ceph-volume")[0] == batch
    assert [one for one in node.ran if one.startswith("systemctl start")] == [
        f"systemctl start ceph-osd@{number}.service" for number in range(3)
    ]


@pytest.mark.parametrize(("how", "size_bytes"), [({"ext_db_ratio": 0.05}, 5 * GIB), ({"ext_db_size": "4G"}, 4 * GIB)])
def test_its_database_on_a_part_of_the_fast_disk(node: Node, how: dict[str, Any], size_bytes: int) -> None:
    do(node, Monitors(node), "osd_add", device="/dev/sdb", **how)
    (room,) = told(node, "lvcreate")
    name = room.split()[3]
    assert room == f"lvcreate --yes --name {name} --size {size_bytes}b osd-db"
    prepare = f"ceph-volume lvm prepare --bluestore --data /dev/sdb --block.db osd-db/{name}"
    assert told(node, "ceph-volume")[0] == prepare


def test_several_on_one_disk_with_a_database_each(node: Node) -> None:
    """ceph-volume's batch knows no part of a volume group for databases."""
    assert do(node, Monitors(node), "osd_add", device="/dev/sdb", osd_count=2, ext_db_ratio=0.1)["osds"] == ["0", "1"]
    (group,) = node.groups
    rooms = [one for one in told(node, "lvcreate") if one.endswith(" osd-db")]
    assert [one.split()[5] for one in rooms] == [f"{5 * GIB}b"] * 2
    names = [one.split()[3] for one in rooms]
    assert len(set(names)) == 2
    assert told(node, "ceph-volume lvm prepare") == [
        f"ceph-volume lvm prepare --bluestore --data {group}/osd-block-{index} --block.db osd-db/{names[index]}"
        for index in range(2)
    ]
    shares = [one.split()[5] for one in told(node, "lvcreate") if one.endswith(group)]
    assert shares == ["50%FREE", "100%FREE"]


def test_a_share_of_a_disk_is_whole_extents(node: Node) -> None:
    """LVM takes no size that is not a multiple of 512 bytes."""
    do(node, Monitors(node), "osd_add", device="/dev/sdb", ext_db_ratio=0.0123)
    size = int(told(node, "lvcreate")[0].split()[5].removesuffix("b"))
    assert size % (4 * MIB) == 0 and 0 <= size - 100 * GIB * 0.0123 < 4 * MIB


def test_no_room_for_databases_is_said_before_the_disk_is_touched(node: Node) -> None:
    node.free_bytes = 7 * GIB
    with pytest.raises(Refused, match="has 7G left, not 2 times 4G"):
        do(node, Monitors(node), "osd_add", device="/dev/sdb", osd_count=2, ext_db_size="4G")
    node.fails = "vgs"
    with pytest.raises(Refused, match="no volume group osd-db") as refused:
        do(node, Monitors(node), "osd_add", device="/dev/sdb", ext_db_size="4G")
    assert "`pvc storage osd create-db-vg hv1 DEVICE`" in str(refused.value.help)
    assert not [one for one in node.ran if one.startswith(("vgcreate", "lvcreate", "ceph-volume lvm prepare"))]


def test_a_divided_disk_that_became_no_osd_is_whole_again(node: Node) -> None:
    node.fails = "ceph-volume lvm prepare"
    with pytest.raises(Refused, match="insufficient free space"):
        do(node, Monitors(node), "osd_add", device="/dev/sdb", osd_count=2, ext_db_size="4G")
    (group,) = node.groups
    assert [one for one in told(node, "lvremove") if group in one] == [
        f"lvremove --yes {group}/osd-block-{index}" for index in range(2)
    ]
    assert told(node, "vgremove") == [f"vgremove {group}"]


def test_a_failed_osd_gives_its_room_for_the_database_back(node: Node) -> None:
    node.fails = "ceph-volume lvm prepare"
    with pytest.raises(Refused, match="insufficient free space") as refused:
        do(node, Monitors(node), "osd_add", device="/dev/sdb", ext_db_size="4G")
    assert "/dev/sdb on hv1" in str(refused.value)
    name = told(node, "lvcreate")[0].split()[3]
    assert told(node, "lvremove") == [f"lvremove --yes osd-db/{name}"]


def test_raw_disks_hold_one_osd_and_its_database(node: Node) -> None:
    node.config = {**node.config, "osd_mode": "raw"}
    for more in ({"osd_count": 2}, {"ext_db_size": "4G"}):
        with pytest.raises(Refused, match="osd_mode: lvm"):
            do(node, Monitors(node), "osd_add", device="/dev/sdb", **more)
    assert told(node, "ceph-volume raw prepare") == []


def test_another_cephs_disk_is_left_alone(node: Node) -> None:
    """Its OSD 0 is not ours, which is up elsewhere."""
    node.on[0] = ("/dev/sdb", THEIRS)
    monitors = Monitors(node)
    monitors.known = {0}
    node.started = {0}
    for action, args in (("osd_add", {}), ("osd_refresh", {"osd": 0})):
        with pytest.raises(Refused, match="OSD 0 of another Ceph"):
            do(node, monitors, action, device="/dev/sdb", **args)
    with pytest.raises(Refused, match="another Ceph"):
        do(node, monitors, "osd_replace", osd=0, new_device="/dev/sdb")
    assert told(node, "ceph-volume") == told(node, "systemctl") == []


def test_an_osd_is_replaced_under_its_number(node: Node) -> None:
    node.on[7], node.started = ("/dev/sdb", OURS), {7}
    monitors = Monitors(node)
    monitors.known = {7}
    monitors.safe = False
    with pytest.raises(Refused, match="cannot be stopped now"):
        do(node, monitors, "osd_replace", osd=7, new_device="/dev/sdc", ext_db_size="4G")
    assert told(node, "systemctl") == []
    monitors.safe = True
    do(node, monitors, "osd_replace", osd=7, new_device="/dev/sdc", ext_db_size="4G")
    name = told(node, "lvcreate")[0].split()[3]
    assert [one for one in node.ran if not one.startswith(("ceph-volume lvm list", "lvc", "vgs", "systemctl is-"))] == [
        "systemctl stop ceph-osd@7.service",
        "ceph-volume lvm zap --destroy --osd-id 7 --osd-fsid life-7",
        f"ceph-volume lvm prepare --bluestore --data /dev/sdc --block.db osd-db/{name} --osd-id 7",
        "ceph-volume lvm activate 7 life-7",
        "systemctl start ceph-osd@7.service",
    ]
    assert monitors.asked.index("osd ok-to-stop") < monitors.asked.index("osd destroy-actual")
    assert node.on[7] == ("/dev/sdc", OURS)


def test_only_the_disk_of_the_osd_is_wiped(node: Node) -> None:
    """An operator may name any disk of the node as the old one."""
    node.config = {**node.config, "osd_mode": "raw"}
    monitors = Monitors(node)
    monitors.known = {7}
    node.on[7] = ("/dev/sdc", OURS)
    done = do(node, monitors, "osd_replace", osd=7, new_device="/dev/sdd", old_device="/dev/sda")
    assert done["message"].endswith("; its old disk /dev/sda is not wiped: the OSD is not found on it")
    assert told(node, "blkdiscard") == told(node, "dd") == []


def test_a_disk_that_came_is_started_here(node: Node) -> None:
    node.on[3] = ("/dev/sdb", OURS)
    assert "OSD 3 is up on /dev/sdb" in do(node, Monitors(node), "osd_refresh", osd=3, device="/dev/sdb")["message"]
    assert told(node, "lvchange") == ["lvchange --activate y /dev/ceph-1/osd-block"]
    assert told(node, "ceph-volume") == ["ceph-volume lvm activate 3 life-3"]
    with pytest.raises(Refused, match="holds no OSD, not OSD 3"):
        do(node, Monitors(node), "osd_refresh", osd=3, device="/dev/sdc")


def test_a_disk_that_came_before_ceph_missed_it_elsewhere_is_started(node: Node) -> None:
    node.on[3], monitors = ("/dev/sdb", OURS), Monitors(node)
    monitors.up_elsewhere = {3}
    do(node, monitors, "osd_refresh", osd=3, device="/dev/sdb")
    assert node.started == {3}


def test_the_volume_group_for_databases_is_made_once(node: Node) -> None:
    node.fails = "vgs"
    do(node, Monitors(node), "osd_db", device="detect:NVMe:800GB:1")
    assert told(node, "pvcreate") == ["pvcreate --yes /dev/nvme1n1"]
    assert told(node, "vgcreate") == ["vgcreate osd-db /dev/nvme1n1"]
    node.fails = ""
    node.ran.clear()
    do(node, Monitors(node), "osd_db", device="/dev/nvme1n1")
    assert node.ran == ["vgs osd-db"]


def test_a_removed_osd_leaves_the_group_of_the_databases(node: Node) -> None:
    """ceph-volume's zap would remove it with the last one in it; and zap what another Ceph has under this number."""
    node.on[7], node.dbs[7], node.started = ("/dev/sdb", OURS), "/dev/osd-db/db-1", {7}
    do(node, Monitors(node), "osd_remove", osd=7)
    assert [one for one in node.ran if not one.startswith("ceph-volume lvm list")] == [
        "systemctl stop ceph-osd@7.service",
        "lvremove --yes /dev/osd-db/db-1",
        "ceph-volume lvm zap --destroy --osd-id 7 --osd-fsid life-7",
    ]


def test_a_removal_that_was_interrupted_before_its_disk_was_wiped(node: Node) -> None:
    node.on[7], monitors = ("/dev/sdb", OURS), Monitors(node)
    monitors.sees_new = False
    with pytest.raises(Refused, match="what is left of OSD 7"):
        do(node, monitors, "osd_add", device="/dev/sdb")
    assert do(node, monitors, "osd_remove", osd=7) == {"osd": "7", "message": "there is no OSD 7"}
    assert told(node, "ceph-volume") == ["ceph-volume lvm zap --destroy --osd-id 7 --osd-fsid life-7"]
    node.on[7] = ("/dev/sdb", THEIRS)
    assert do(node, monitors, "osd_remove", osd=7) == {"osd": "7", "message": "there is no OSD 7"}
    assert node.on[7] == ("/dev/sdb", THEIRS), "another Ceph's OSD 7 is none of ours"


@pytest.mark.parametrize(
    ("device", "found"),
    [
        ("detect:NVMe:800GB:0", "/dev/nvme0n1"), ("detect:nvme:745Gi:1", "/dev/nvme1n1"),
        ("detect:INTEL:480GB:0", "/dev/sda"), ("detect:ATA:0.5TB:0", "/dev/sda"), ("/dev/sdz", "/dev/sdz"),
    ],
)  # fmt: skip
def test_a_disk_by_its_maker_and_size(node: Node, device: str, found: str) -> None:
    assert do(node, Monitors(node), "osd_add", device=device)["device"] == found


@pytest.mark.parametrize("device", ["detect:NVMe:800GB:2", "detect:NVMe:480GB:0", "detect:Samsung:800GB:0"])
def test_a_disk_that_is_not_there_names_those_that_are(node: Node, device: str) -> None:
    with pytest.raises(Refused, match="names no disk of hv1") as refused:
        do(node, Monitors(node), "osd_add", device=device)
    assert "/dev/nvme0n1 (Dell NVMe P4610" in str(refused.value) and "sr0" not in str(refused.value)
