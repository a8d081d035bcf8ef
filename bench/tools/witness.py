"""Sees when what happened, from outside of PVC's daemons: libvirt's events, the store's, the permit, QEMU's own log.

All times are seconds of the monotonic clock. What is stamped with the wall clock (files, logs) is converted, and is
no finer than a millisecond or so.
"""

from __future__ import annotations

import re
import threading
import time
from datetime import datetime
from pathlib import Path

import libvirt

from pvc_core.store.base import Store

EVENT_S = 60.0


class Domains:
    """When libvirt said that a domain had started; one libvirtd."""

    def __init__(self, uri: str) -> None:
        self._seen = threading.Condition()
        self._started: dict[str, float] = {}
        self.connection = libvirt.open(uri)
        self.connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._event, None)

    def _event(self, _conn: object, domain: libvirt.virDomain, event: int, _detail: int, _opaque: object) -> None:
        now_s = time.monotonic()
        if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
            with self._seen:
                self._started[domain.UUIDString()] = now_s
                self._seen.notify_all()

    def forget(self, uuid: str) -> None:
        with self._seen:
            self._started.pop(uuid, None)

    def started_at_s(self, uuid: str) -> float:
        """Waits for it. Raises TimeoutError."""
        with self._seen:
            if not self._seen.wait_for(lambda: uuid in self._started, timeout=EVENT_S):
                raise TimeoutError(f"libvirt did not say within {EVENT_S:.0f} s that {uuid} had started")
            return self._started[uuid]


class Keys:
    """When keys below /pvc/state changed, as another client of the store hears of it."""

    def __init__(self, store: Store) -> None:
        self._heard = threading.Condition()
        self._events: list[tuple[str, float]] = []
        store.watch("/pvc/state", self._event)

    def _event(self, key: str | None) -> None:
        with self._heard:
            self._events.append((key or "", time.monotonic()))
            self._heard.notify_all()

    def first_s(self, key: str, *, since_s: float) -> float:
        """The first change of `key` after `since_s`; waits for it. Raises TimeoutError."""

        def found() -> float | None:
            return next((at_s for name, at_s in self._events if name == key and at_s >= since_s), None)

        with self._heard:
            at_s = self._heard.wait_for(found, timeout=EVENT_S)
            if at_s is None:
                raise TimeoutError(f"{key} did not change within {EVENT_S:.0f} s")
            return at_s


def event_loop() -> None:
    """libvirt's, on a thread; must run before the first connection is opened."""
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_turn, name="libvirt-events", daemon=True).start()


def _turn() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def written_s(path: Path) -> float:
    return _monotonic(path.stat().st_mtime)


def launched_s(log: Path) -> float:
    """When libvirt began to make QEMU's command line, the last time: the first line it writes into a guest's log."""
    stamps = re.findall(r"^(\S+ \S+)\+0000: starting up", log.read_text(errors="replace"), re.MULTILINE)
    return _monotonic(datetime.fromisoformat(stamps[-1] + "+00:00").timestamp())


def _monotonic(wall_s: float) -> float:
    return wall_s - time.time() + time.monotonic()
