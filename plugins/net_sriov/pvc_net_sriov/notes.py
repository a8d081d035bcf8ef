"""Which networks this node has, and whose function is whose: notes in /run, which end with the boot as functions do.

The kernel keeps neither for us: a function has a MAC and a VLAN, but no word of the network it is used for.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

RUN = Path("/run/pvc-sriov")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A function is for the NIC with this MAC."""

    pci: str
    mac: str
    vni: int
    id: str


class Notes:
    """`place` is made when something is written."""

    def __init__(self, place: Path) -> None:
        self._networks, self._functions = place / "networks", place / "functions"

    def networks(self) -> dict[int, str]:
        """VNI -> id."""
        return {int(name): text for name, text in _all(self._networks).items() if name.isdecimal()}

    def note_network(self, vni: int, id: str) -> bool:
        """True if it was not noted before."""
        if self.networks().get(vni) == id:
            return False
        _write(self._networks / str(vni), id)
        return True

    def forget_network(self, vni: int) -> None:
        (self._networks / str(vni)).unlink(missing_ok=True)

    def held(self) -> dict[str, Held]:
        """PCI address -> who has it."""
        return {name: Held(**json.loads(text)) for name, text in _all(self._functions).items()}

    def hold(self, one: Held) -> None:
        _write(self._functions / one.pci, json.dumps(asdict(one)))

    def release(self, pci: str) -> None:
        (self._functions / pci).unlink(missing_ok=True)


def _all(folder: Path) -> dict[str, str]:
    names = sorted(folder.iterdir()) if folder.exists() else []
    return {one.name: one.read_text() for one in names if not one.name.endswith(".new")}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    os.replace(new, path)
