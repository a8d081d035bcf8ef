"""One of two machines whose NIC vec0 is a trunk: net_vlan makes network 100 on it, and the machine itself takes an
address on the network's bridge. Number 1 pings number 2 and ends by whether it answered; number 2 waits to be ended.
"""

from __future__ import annotations

import subprocess
import sys
import time

from pyroute2 import IPRoute

from pvc_core.clock import SystemClock
from pvc_core.model.network import Network
from pvc_core.testing.context import FakeContext
from pvc_net_common.filters import Filters
from pvc_net_vlan.driver import VlanNetworks
from pvc_net_vlan.kernel import Kernel

ANSWER_S = 500.0


def main(number: int) -> int:
    driver = VlanNetworks(Kernel("vec0", tx_offload=False), Filters(FakeContext({}).run, SystemClock()))
    network = Network(vni=100, id="7c1a", name="lab", nettype="bridged")
    assert driver.ensure_network(network, deadline_s=30) is True
    assert driver.ensure_network(network, deadline_s=30) is False
    with IPRoute() as ip:
        bridge = ip.link_lookup(ifname="vmbr100")[0]
        ip.addr("add", index=bridge, address=f"10.20.100.{number}", prefixlen=24)
    if number == 2:
        time.sleep(ANSWER_S)
        return 1
    until_s = time.monotonic() + ANSWER_S
    while time.monotonic() < until_s:
        if subprocess.run(["busybox", "ping", "-c", "2", "-W", "2", "10.20.100.2"], check=False).returncode == 0:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
