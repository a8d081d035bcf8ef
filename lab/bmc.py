"""What OpenIPMI's ipmi_sim is told: one BMC on one address, which switches one machine by a script.

A real RMCP+ endpoint (IPMI 2.0 over LAN), not PVC's code. Which node it switches, and its faults, are bmcs.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PROGRAM = "/usr/bin/ipmi_sim"


def lan_conf(address: str, port: int, *, guid: bytes, user: str, password: str, chassis: str) -> str:
    """ipmi_lan(5). `guid`: sixteen bytes in the order they are sent. `chassis` is called as `get power`, or `set power
    0|1`.
    """
    return (
        'name "bmc"\nset_working_mc 0x20\nstartlan 1\n'
        f"  addr {address} {port}\n  priv_limit admin\n  guid {guid.hex()}\n"
        "  allowed_auths_callback none md2 md5 straight\n  allowed_auths_user none md2 md5 straight\n"
        "  allowed_auths_operator none md2 md5 straight\n  allowed_auths_admin none md2 md5 straight\n"
        f'endlan\nchassis_control "{chassis}"\n'
        # user 1 is the one without a name, which every BMC has; it may do nothing here
        'user 1 false "" "" user 10 none\n'
        f'user 2 true "{user}" "{password}" operator 10 none md2 md5 straight\n'
    )


def emulator() -> str:
    """Commands of ipmi_sim(1): one management controller."""
    return (
        "mc_setbmc 0x20\n"
        "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n"
        "sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n"
    )


def command(place: Path) -> Sequence[str]:
    """The command that runs the BMC whose files lan.conf and bmc.emu lie in `place`."""
    state = place / "state"
    return [PROGRAM, "-n", "-c", str(place / "lan.conf"), "-f", str(place / "bmc.emu"), "-s", str(state)]
