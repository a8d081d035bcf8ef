"""The hardware watchdog (Linux watchdog API, Documentation/watchdog/watchdog-api.rst): resets this machine when nobody
feeds it, so that what the guard promised is kept though the guard itself is stopped or the kernel hangs.

Off unless pvc.yaml names the plugin fence_watchdog. When it may be fed is selffence.py's.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from pvc_core.errors import Permanent

_SETTIMEOUT, _GETTIMEOUT = 0xC0045706, 0x80045707  # linux/watchdog.h, _IOWR('W', 6, int) and _IOR('W', 7, int)
_FEED_S = 0.5


class Watchdog:
    """Armed from when it is made. One thread uses it."""

    def __init__(self, device: Path, timeout_s: int) -> None:
        """Raises Permanent: it is not there, somebody else feeds it, or it cannot bite that soon."""
        try:
            self._file = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Permanent(
                f"the watchdog {device} cannot be used: {error.strerror}",
                help="load its module (i6300esb, iTCO_wdt, ipmi_watchdog, softdog); is another daemon feeding it?",
            ) from error
        try:
            fcntl.ioctl(self._file, _SETTIMEOUT, struct.pack("i", timeout_s))
            self.timeout_s = int(struct.unpack("i", fcntl.ioctl(self._file, _GETTIMEOUT, struct.pack("i", 0)))[0])
        except OSError as error:
            self.disarm()
            raise Permanent(f"the watchdog {device} does not take {timeout_s} s: {error.strerror}") from error
        if self.timeout_s > timeout_s:
            bites_s = self.timeout_s
            self.disarm()
            raise Permanent(
                f"the watchdog {device} bites after {bites_s} s at the soonest, {timeout_s} s were asked for",
                help="give plugins.fence_watchdog.timeout_s a value it can keep",
            )
        self._fed_s = float("-inf")

    def feed(self, now_s: float) -> None:
        """Raises OSError."""
        if now_s - self._fed_s >= _FEED_S:
            os.write(self._file, b"\0")
            self._fed_s = now_s

    def disarm(self) -> None:
        """It does not bite any more ("magic close"), unless its driver forbids that (nowayout)."""
        try:
            os.write(self._file, b"V")
        finally:
            os.close(self._file)
