"""Leases: what dnsmasq gave, kept in the plugin's part of the store, so that the next primary gives the same again.

dnsmasq tells each change by its script (lease-event.sh, a line into a pipe); changes of a moment are written together,
one record per 256 addresses, over the one session that the daemon has anyway.
"""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Callable
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path

from pvc_core.clock import Clock
from pvc_core.contracts.plugin import PluginState
from pvc_core.errors import NotFound, PvcError
from pvc_net_evpn.dnsmasq import Given

FOLDER = "leases"
TOGETHER_S, AGAIN_S = 0.1, 1.0
"""Changes of so long are written at once; after no answer of the store."""
PIPE_MAX = 65_536


class LeaseBook:
    """The leases of the networks served here. Safe from any thread."""

    def __init__(self, state: PluginState, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._lock = threading.Lock()
        self._leases: dict[str, dict[str, Given]] = {}
        """Network id -> address -> lease."""
        self._unwritten: set[tuple[str, str]] = set()
        """(network id, bucket)."""

    def load(self, id: str) -> None:
        """What the store has of a network, whatever was known here before. Raises StoreUnavailable."""
        found: dict[str, Given] = {}
        for bucket in self._state.children(f"{FOLDER}/{id}"):
            try:
                plain = json.loads(self._state.get(f"{FOLDER}/{id}/{bucket}")[0])
                found |= {one["address"]: Given(**one) for one in plain}
            except (NotFound, ValueError, TypeError, KeyError):
                continue  # gone meanwhile, or of a version that says it otherwise
        with self._lock:
            self._leases[id] = found

    def forget(self, id: str) -> None:
        """Not served here any more; what the store has stays."""
        with self._lock:
            self._leases.pop(id, None)
            self._unwritten = {one for one in self._unwritten if one[0] != id}

    def drop(self, id: str) -> None:
        """The network is gone, and so are its leases. Raises StoreUnavailable."""
        self.forget(id)
        for bucket in self._state.children(f"{FOLDER}/{id}"):
            try:
                self._state.delete(f"{FOLDER}/{id}/{bucket}", if_version=None)
            except NotFound:
                continue

    def of(self, id: str) -> list[Given]:
        """Those that have not run out, by address."""
        now_s = self._clock.wall_s()
        with self._lock:
            found = [one for one in self._leases.get(id, {}).values() if not 0 < one.expires_s < now_s]
        return sorted(found, key=lambda one: (ip_address(one.address).version, int(ip_address(one.address))))

    def lent(self, id: str) -> dict[str, str]:
        """Address -> MAC, of those that have not run out and whose MAC is known."""
        return {one.address: one.mac.lower() for one in self.of(id) if one.mac}

    def mac_at(self, id: str, address: str) -> str:
        """Whose address it is; "" when nobody has it."""
        with self._lock:
            one = self._leases.get(id, {}).get(address)
        return one.mac if one and not 0 < one.expires_s < self._clock.wall_s() else ""

    def note(self, id: str, given: Given | None, gone: str = "") -> None:
        """A lease was given, or the one of the address `gone` has ended."""
        address = given.address if given else gone
        with self._lock:
            table = self._leases.get(id)
            if table is None or table.get(address) == given:
                return
            if given is None:
                table.pop(address, None)
            else:
                table[address] = given
            self._unwritten.add((id, _bucket(address)))

    @property
    def owes(self) -> bool:
        """Whether the store has yet to hear of something."""
        return bool(self._unwritten)

    def write(self) -> set[str]:
        """Ids of the networks whose leases were put on record now. Raises StoreUnavailable; then it is still owed."""
        with self._lock:
            owed, self._unwritten = self._unwritten, set()
            texts = {one: json.dumps(self._plain(*one), separators=(",", ":")).encode() for one in owed}
        for (id, bucket), text in texts.items():
            try:
                self._state.put(f"{FOLDER}/{id}/{bucket}", text, if_version=None)
            except PvcError:
                with self._lock:
                    self._unwritten |= {one for one in owed if one[0] in self._leases}
                raise
        return {id for id, _bucket in owed}

    def _plain(self, id: str, bucket: str) -> list[dict[str, object]]:
        table = self._leases.get(id, {})
        return [asdict(one) for address, one in sorted(table.items()) if _bucket(address) == bucket]


class LeasePipe:
    """Where the script writes. `heard(vni, given, gone)` is called for each line."""

    def __init__(self, path: Path, heard: Callable[[int, Given | None, str], None]) -> None:
        self._heard = heard
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""
        self._ready = select.poll()
        self._ready.register(self._fd, select.POLLIN)

    def wait(self, timeout_s: float) -> bool:
        """Whether anything was heard within that time."""
        if not self._ready.poll(timeout_s * 1000):
            return False
        *lines, self._rest = (self._rest + os.read(self._fd, PIPE_MAX)).split(b"\n")
        for line in lines:
            self._line(line.decode("utf-8", "replace"))
        return True

    def close(self) -> None:
        os.close(self._fd)

    def _line(self, line: str) -> None:
        """VNI, action, MAC or DUID, address, name, expiry, client, IAID, MAC: by tabs, empty where there is none."""
        words = [*line.split("\t"), *[""] * 9][:9]
        vni, action, who, address, hostname, expires, client, iaid, mac = words
        if not vni.isdecimal() or action not in ("add", "old", "del"):
            return
        try:
            ip_address(address)
        except ValueError:
            return
        if action == "del":
            self._heard(int(vni), None, address)
            return
        six = bool(iaid)
        given = Given(
            address=address,
            mac=(mac if six else who).lower(),
            hostname=hostname,
            expires_s=int(expires) if expires.isdecimal() else 0,
            client=who if six else client,
            iaid=iaid,
        )
        self._heard(int(vni), given, "")


def _bucket(address: str) -> str:
    """256 neighbouring addresses; of IPv6 by the last bits above them, for they are drawn from a large space."""
    return f"{int(ip_address(address)) >> 8 & 0xFFFFFF:x}"
