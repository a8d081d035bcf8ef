"""`pvcnoded hostnet`: this host's networks made once, before what listens on them is started; the daemon keeps them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from pvc_core.config import load
from pvc_core.config.sections import HostNetwork
from pvc_core.errors import Permanent
from pvc_core.hostnet.network import ensure_all


def hostnet_command(options: argparse.Namespace) -> int:
    """Prints what it changed. 1 when one of them cannot be made: the others are made all the same."""
    return 1 if make(load(options.config, node=options.node).host_networks) else 0


def make(networks: Mapping[str, HostNetwork]) -> list[str]:
    """Make `networks` on this host, telling what was changed and what is wrong; returns the faults."""
    faults: list[str] = []
    for network, done in ensure_all(networks).items():
        if isinstance(done, Permanent):
            faults.append(str(done))
            print(done, file=sys.stderr)
        else:
            print("".join(f"{network}: {change}\n" for change in done), end="", flush=True)
    return faults
