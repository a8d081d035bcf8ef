"""The lab's three networks: bridges in a namespace of their own (the switch), cables to each node, DHCP on upstream.

Nothing of the machine is touched: bridges and cables come into being inside the namespaces and vanish with them. All
labs use the same
addresses, because none can see another.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lab import LabError
from lab.processes import Process

MTU = 1500


@dataclass(frozen=True)
class Network:
    """One of the three. `subnet`: the first three octets of its /24; .1 is the switch, .11 the first node."""

    name: str
    device: str
    subnet: str

    def port(self, node: str) -> str:
        """The switch's end of the node's cable."""
        return f"{self.device}.{node}"

    def address(self, number: int) -> str:
        return f"{self.subnet}.{10 + number}"

    def mac(self, number: int) -> str:
        """A NIC keeps its address for life: the others remember it across a power cut."""
        return f"02:70:{self.subnet.split('.')[1]}:00:00:{number:02x}"

    @property
    def gateway(self) -> str:
        return f"{self.subnet}.1"

    @property
    def floating(self) -> str:
        return f"{self.subnet}.250"


UPSTREAM = Network("upstream", "eth0", "10.70.0")
CLUSTER = Network("cluster", "eth1", "10.71.0")
STORAGE = Network("storage", "eth2", "10.72.0")
NETWORKS = (UPSTREAM, CLUSTER, STORAGE)
DHCP_RANGE = (f"{UPSTREAM.subnet}.100", f"{UPSTREAM.subnet}.199")


def make_switch(switch: Process) -> None:
    """Make the three bridges in the switch's namespace. It has an address on each, as the router of a real site has.

    Their MAC addresses are given: a bridge without one takes its ports' lowest, so that a cable's coming or going would
    change it, and whoever knew the switch or a BMC would talk into the void until he asks again.
    """
    lines = ["link set lo up"]
    for network in NETWORKS:
        lines += [
            f"link add {network.name} address {network.mac(0)} type bridge forward_delay 0",
            f"addr add {network.gateway}/24 dev {network.name}",
            f"link set {network.name} up",
        ]
    _ip(switch, lines)
    _no_bridge_filter(switch)
    # a cable that is pulled lies beside the bridge: nobody may answer there for the bridge's own address
    _sysctl(switch, "net/ipv4/conf/all/arp_ignore", 1)


def plug_in(switch: Process, node: Process, name: str, number: int, *, cut: Collection[str] = ()) -> None:
    """Lay three cables from the switch to node `name`, its `number`th from 1: bare NICs, which pvcnoded makes use of.

    Those to the networks in `cut` end beside their bridge.
    """
    cables = []
    for network in NETWORKS:
        port = network.port(name)
        cables += [
            f"link add {port} type veth peer name {network.device} address {network.mac(number)} netns {node.pid}",
            f"link set {port} up" if network.name in cut else f"link set {port} master {network.name} up",
        ]
    _ip(switch, cables)
    _ip(node, ["link set lo up"])
    _no_bridge_filter(node)


def part(switch: Process, name: str, networks: Sequence[Network] = NETWORKS) -> None:
    """Take the cables of node `name` off the bridges: silence, without the node seeing its link go."""
    _ip(switch, [f"link set {network.port(name)} nomaster" for network in networks])


def join(switch: Process, name: str, networks: Sequence[Network] = NETWORKS) -> None:
    """Undo part()."""
    _ip(switch, [f"link set {network.port(name)} master {network.name}" for network in networks])


def unplug(switch: Process, name: str) -> None:
    """Take away the cables of node `name`, as far as they are there."""
    _ip(switch, [f"link del {network.port(name)}" for network in NETWORKS], tolerant=True)


def add_address(switch: Process, item: Network, address: str) -> None:
    """Something on the switch's own side of network `item` answers at `address`; there already: fine."""
    _ip(switch, [f"addr replace {address}/32 dev {item.name}"])


def drop_address(switch: Process, item: Network, address: str) -> None:
    """Nobody answers there. Gone already: fine."""
    _ip(switch, [f"addr del {address}/32 dev {item.name}"], tolerant=True)


def named(word: str | None) -> Sequence[Network]:
    """Return the networks a person means by `word` (None: all). Raises LabError."""
    found = [network for network in NETWORKS if word in (None, network.name)]
    if not found:
        raise LabError(f"there is no network {word!r}; a node has {', '.join(item.name for item in NETWORKS)}")
    return found


def _ip(where: Process, lines: Sequence[str], *, tolerant: bool = False) -> None:
    argv = ["nsenter", "--target", str(where.pid), "--net", "ip", *(["-force"] if tolerant else []), "-batch", "-"]
    done = subprocess.run(argv, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    if done.returncode and not tolerant:
        raise LabError(
            f"the lab's network could not be made: {done.stderr.strip()}; does this kernel have bridge and veth?"
        )


def _no_bridge_filter(where: Process) -> None:
    """Bridged frames are nobody's IP packets: without this the machine's firewall rules could swallow them
    (br_netfilter).
    """
    _sysctl(where, "net/bridge/bridge-nf-call-*", 0)


def _sysctl(where: Process, names: str, value: int) -> None:
    """Set what there is of the settings `names` (a pattern below /proc/sys)."""
    script = f"for f in /proc/sys/{names}; do if [ -e $f ]; then echo {value} >$f; fi; done"
    subprocess.run(["nsenter", "--target", str(where.pid), "--net", "sh", "-c", script], check=False)
