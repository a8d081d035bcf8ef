"""Who answers for the floating addresses, as a machine on the same wires hears it: asked ten times a second on each of
the three networks, from the switch. Nothing here asks PVC.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from lab import network

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

LISTEN = """
import fcntl, json, socket, struct, sys, time
bridges = [word.split("=") for word in sys.argv[1:]]          # bridge=own address=floating address
line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
line.settimeout(0.02)
SIOCGIFHWADDR = 0x8927  # linux/sockios.h; /sys here is the machine's
macs = {name: fcntl.ioctl(line, SIOCGIFHWADDR, struct.pack("256s", name.encode()))[18:24] for name, _, _ in bridges}
def ask(name, own, floating):
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + macs[name] + socket.inet_aton(own) + bytes(6)
    frame = b"\\xff" * 6 + macs[name] + b"\\x08\\x06" + body + socket.inet_aton(floating)
    line.sendto(frame, (name, 0x0806))
asked = 0.0
while True:
    if time.monotonic() - asked >= 0.1:
        asked = time.monotonic()
        for words in bridges:
            ask(*words)
    try:
        frame, (name, *_) = line.recvfrom(2048)
    except TimeoutError:
        continue
    (kind,) = struct.unpack("!H", frame[20:22])
    sender, target = socket.inet_ntoa(frame[28:32]), socket.inet_ntoa(frame[38:42])
    for bridge, _, floating in bridges:
        if sender == floating and name == bridge:
            mac = ":".join(f"{byte:02x}" for byte in frame[22:28])
            print(json.dumps([time.monotonic(), bridge, mac, sender == target]), flush=True)
"""


class AddressWatch:
    """Listens from the moment it is made until `stop`. Times are of CLOCK_MONOTONIC."""

    def __init__(self, lab: RunningLab) -> None:
        self._lab = lab
        words = [f"{net.name}={net.gateway}={net.floating}" for net in network.NETWORKS]
        self._path = lab.root_of(lab.nodes[0]).parent / "heard.jsonl"
        with self._path.open("w") as file:
            self._process: subprocess.Popen[bytes] = lab.at_the_switch(
                ["timeout", "600", sys.executable, "-I", "-c", LISTEN, *words], stdout=file
            )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def heard(self, net: network.Network) -> list[tuple[float, str, bool]]:
        """(when, the node that answered, whether it announced itself unasked), the oldest first."""
        names = {net.mac(number): name for number, name in enumerate(self._lab.nodes, 1)}
        lines = [json.loads(line) for line in self._path.read_text().splitlines() if line.endswith("]")]
        return [(when, names.get(mac, mac), own) for when, bridge, mac, own in lines if bridge == net.name]

    def answers(self, node: str, *, since_s: float) -> bool:
        """On all three networks."""
        return all(any(who == node and when >= since_s for when, who, _ in self.heard(net)) for net in network.NETWORKS)

    def anyone(self, *besides: str, since_s: float) -> str:
        """The node that answers on all three networks and is none of `besides`; "" when there is none."""
        found = (name for name in self._lab.coordinators if name not in besides)
        return next((name for name in found if self.answers(name, since_s=since_s)), "")

    def check_handover(self, old: str, new: str, *, since_s: float) -> float:
        """On no network was the old one heard once the new one had answered, and the new one announced itself.

        Returns how long after `since_s` the last of the three answered.
        """
        last_s = 0.0
        for net in network.NETWORKS:
            heard = [(when, who, own) for when, who, own in self.heard(net) if when >= since_s]
            began_s = next(when for when, who, _ in heard if who == new)
            late = [when - began_s for when, who, _ in heard if who == old and when > began_s]
            assert not late, f"{net.name}: {old} was heard {late} s after {new}"
            self._lab.eventually(
                lambda net=net: any(who == new and own and when >= since_s for when, who, own in self.heard(net)),
                f"{new} announces that it has {net.floating} now",
            )
            last_s = max(last_s, began_s - since_s)
        return last_s


def now_s() -> float:
    return time.monotonic()
