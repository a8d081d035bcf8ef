"""Real BMCs for tests: OpenIPMI's ipmi_sim on loopback, one process each, whose power switch is a file."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from uuid import UUID, uuid4

from lab.bmc import command, emulator, lan_conf
from pvc_core.model.fence import Target
from pvc_core.testing.context import FakeContext, FakeState
from pvc_core.testing.fence_rig import FenceRig
from pvc_fence_ipmi.driver import IpmiFence
from pvc_fence_ipmi.plugin import Config, IpmiDefinitions

PASSWORD = "s3cret-of-the-bmc"


class Simulator:
    """One BMC and the machine it switches. `guid` is what it says that it is: sixteen bytes, as sent."""

    def __init__(self, place: Path, guid: bytes) -> None:
        self.place, self.guid = place, guid
        self.port = _free_port()
        self.log, self.power = place / "acts", place / "power"
        place.mkdir(parents=True)
        self.power.write_text("1")
        self.log.write_text("")
        (place / "disobey").unlink(missing_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, password: str = PASSWORD) -> None:
        chassis = self.place / "chassis"
        chassis.write_text(
            f"#!/bin/sh\ncd {self.place}\n"
            'if [ "$1" = get ]; then echo "power:$(cat power)"; exit 0; fi\n'
            'if [ "$1 $2" = "set power" ]; then echo "$3" >>acts; [ -e disobey ] || echo "$3" >power; fi\nexit 0\n'
        )
        chassis.chmod(0o755)
        (self.place / "lan.conf").write_text(
            lan_conf("127.0.0.1", self.port, guid=self.guid, user="pvc", password=password, chassis=str(chassis))
        )
        (self.place / "bmc.emu").write_text(emulator())
        self.process = subprocess.Popen(
            command(self.place), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def acts(self) -> list[str]:
        return ["on" if line == "1" else "off" for line in self.log.read_text().split()]


class IpmiRig(FenceRig):
    """hv1 and hv2 with a BMC each."""

    name = "fence_ipmi"
    secrets = (PASSWORD,)
    silence_s = 3.0
    grace_s = 10.0

    def __init__(self, place: Path, **settings: object) -> None:
        self.place, self.settings = place, settings
        self.uuids = {node: uuid4() for node in ("hv1", "hv2")}
        self.state = FakeState()
        self.definitions = IpmiDefinitions(10.0)
        self.password_file = place / "password"
        self.password_file.write_text(PASSWORD + "\n")
        self.password_file.chmod(0o600)
        self.bmcs = {node: Simulator(place / node, uuid.bytes[::-1]) for node, uuid in self.uuids.items()}
        self.addresses = dict(self.bmcs)
        """Node -> the BMC that its settings name."""
        for bmc in self.bmcs.values():
            bmc.start()

    def stop(self) -> None:
        for bmc in self.bmcs.values():
            bmc.stop()

    def driver(self, node: str) -> IpmiFence:
        given = {
            "address": "127.0.0.1",
            "port": self.addresses[node].port,
            "user": "pvc",
            "password_file": str(self.password_file),
            **self.settings,
        }
        return IpmiFence(FakeContext(Config().load(given), node=node, state=self.state))

    def target(self, node: str, *, incarnation: str = "boot-1", uuid: str | None = None) -> Target:
        return Target(node=node, uuid=str(self.uuids[node]) if uuid is None else uuid, incarnation=incarnation)

    def on(self, node: str) -> bool:
        return self.bmcs[node].power.read_text().strip() == "1"

    def acts(self) -> list[tuple[str, str]]:
        return [(node, act) for node, bmc in self.bmcs.items() for act in bmc.acts()]

    def stored(self) -> str:
        return repr(self.state.records)

    def kill(self, node: str) -> bool:
        """Silent: its port stays open and nobody reads."""
        bmc = self.bmcs[node]
        bmc.stop()
        self._silence = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._silence.bind(("127.0.0.1", bmc.port))
        return True

    def disobey(self, node: str) -> bool:
        (self.bmcs[node].place / "disobey").touch()
        return True

    def swap(self, node: str, other: str) -> bool:
        """Their cables, or addresses: each answers where the other did."""
        one, two = self.bmcs[node], self.bmcs[other]
        one.stop()
        two.stop()
        one.port, two.port = two.port, one.port
        one.start()
        two.start()
        return True

    def lock_out(self, node: str) -> bool:
        self.bmcs[node].stop()
        self.bmcs[node].start(password="another-one")
        return True

    def uuid_of(self, node: str) -> UUID:
        return self.uuids[node]


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
