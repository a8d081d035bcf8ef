"""The guest of test_ceph_cluster.py: it writes numbered, checksummed blocks onto a volume; what is read there tells
which of its lives wrote what, and whether anything is missing or foreign.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lab import LabError, guests
from lab.api import ApiError
from lab.guest_xml import guest_xml

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

VM, DATA, EXTRA = "writer", "writer-data", "writer-extra"


def disk_xml(volume: str, dev: str) -> str:
    return (
        f'<disk type="network" device="disk"><driver name="qemu" type="raw" discard="unmap"/>'
        f'<source protocol="rbd" name="vms/{volume}"/><target dev="{dev}" bus="scsi"/></disk>'
    )


@dataclass
class Writer:
    lab: RunningLab

    def begin(self, node: str) -> None:
        """With two disks from the start; returns when it writes."""
        wish = guests.Wish(name=VM, node=node, flavour="blocks")
        root = partial(guests.ensure_volume, self.lab.api, wish)
        self.lab.eventually(lambda: _done(root), "its first volume is there", deadline_s=180)
        self.lab.eventually(lambda: _done(self._make_data), "its second volume is there", deadline_s=180)
        xml = guest_xml(VM, pool="vms", volume=wish.volume)
        xml = xml.replace("</disk>", f"</disk>{disk_xml(DATA, 'sdb')}", 1)
        words = {"xml": xml, "node": node, "selector": "mem", "autostart": "true", "migration_method": "live"}
        self.lab.api.call("POST", "/vm", {}, form=words)
        self.start()

    def _make_data(self) -> None:
        with contextlib.suppress(ApiError):  # it is there, when an answer was lost
            self.lab.api.post("/storage/ceph/volume", pool="vms", volume=DATA, size="8M")
        self.lab.api.get(f"/storage/ceph/volume/vms/{DATA}")

    def start(self) -> None:
        self.lab.api.post(f"/vm/{VM}/state", state="start")
        self.await_more(len(self.blocks()))

    def stop(self) -> None:
        self.lab.api.post(f"/vm/{VM}/state", state="stop")
        self.lab.eventually(lambda: self.shown()["state"] == "stop", "the guest is off")

    def told(self, words: str) -> bool:
        """Whether the guest itself said so on its console."""
        return words in self.lab.console(VM)

    def shown(self) -> dict[str, str]:
        """As GET /vm shows it."""
        answer: list[dict[str, str]] = self.lab.api.get(f"/vm/{VM}")
        return answer[0]

    @property
    def node(self) -> str:
        return self.shown()["node"]

    def move(self, node: str) -> None:
        self.lab.eventually(lambda: self._is_on(node), f"the guest lives on {node}", deadline_s=180)

    def _is_on(self, node: str) -> bool:
        """Asked to go there until it is: a busy machine's API may close a connection."""
        if self.node == node:
            return True
        with contextlib.suppress(LabError):
            self.lab.api.post(f"/vm/{VM}/node", action="move", node=node, wait="true", force_live="true")
        return False

    def await_more(self, than: int, *, deadline_s: float = 240) -> None:
        self.lab.eventually(lambda: len(self.blocks()) > than + 2, "the guest writes", deadline_s=deadline_s)

    def blocks(self, asked: str = "") -> list[str]:
        """Who wrote each block, by number. Every one must be whole, in its place, and no life may write after its
        successor.
        """
        where = asked or next(node for node in self.lab.nodes if self.lab.is_on(node))
        read = f"timeout 60 rbd export --no-progress vms/{DATA} - | tr -d '\\000'"
        lines = self.lab.exec(where, "sh", "-c", read).splitlines()
        lives: list[str] = []
        for number, line in enumerate(lines):
            word, counted, life, sum_ = line.split()
            text = f"{word} {counted} {life}\n"
            assert (word, int(counted)) == ("block", number), f"block {number} holds {line!r}"
            assert hashlib.md5(text.encode()).hexdigest() == sum_, f"block {number} is damaged: {line!r}"
            assert life not in lives or lives[-1] == life, f"block {number} is of {life}, which was over"
            lives.append(life)
        return lives

    def user(self, node: str) -> str:
        """Who its disks are to Ceph, by libvirt on `node`."""
        xml = self.lab.exec(node, "virsh", "dumpxml", VM)
        return xml.partition("<auth username='")[2].partition("'")[0]


def _done(call: Callable[[], object]) -> bool:
    """A busy machine's API may close a connection, or have no store for a second: asked again."""
    try:
        call()
    except LabError:
        return False
    return True
