"""Which guest has which NIC: kept up with the picture, one VM at a time, so that nobody ever lists all VMs for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.descriptions import Descriptions
from pvc_core.cluster.view import ViewKeeper
from pvc_core.contracts.plugin import GuestFacts


class GuestIndex:
    """By MAC and by network. `wakes` are called after each change, from the thread that follows the store."""

    def __init__(self, keeper: ViewKeeper, descriptions: Descriptions, log: Any) -> None:
        self._keeper, self._descriptions, self._log = keeper, descriptions, log
        self.wakes: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._guests: dict[str, GuestFacts] = {}
        self._macs: dict[str, str] = {}
        self._networks: dict[str, set[str]] = {}
        keeper.subscribe(self._changed)

    def of(self, mac: str) -> GuestFacts | None:
        with self._lock:
            return self._guests.get(self._macs.get(mac.lower(), ""))

    def on(self, network: str) -> tuple[GuestFacts, ...]:
        with self._lock:
            return tuple(self._guests[uuid] for uuid in sorted(self._networks.get(network, ())))

    def _changed(self, keys: frozenset[str] | None) -> None:
        wanted = self._keeper.view.vm_wanted
        prefix = f"{layout.VM_WANTED.prefix}/"
        uuids = {key.removeprefix(prefix) for key in keys if key.startswith(prefix)} if keys is not None else None
        if uuids is not None and not uuids:
            return
        with self._lock:
            changed = [self._take(uuid) for uuid in (uuids if uuids is not None else {*wanted, *self._guests})]
        if any(changed):
            for wake in self.wakes:
                try:
                    wake()
                except Exception:  # noqa: BLE001  # a plugin's bug must not end the thread that follows the store
                    self._log.exception("a plugin failed when it was told that guests have changed")

    def _take(self, uuid: str) -> bool:
        """True when anything of it is other than before."""
        kept, old = self._keeper.view.vm_wanted.get(uuid), self._guests.get(uuid)
        new = None
        if kept is not None:
            vm = kept.value
            nics = self._descriptions.of(vm).nics
            new = GuestFacts(uuid=uuid, name=vm.name, profile=vm.profile or "", user_data=vm.user_data, nics=nics)
        if new == old:
            return False
        for nic in old.nics if old else ():
            if self._macs.get(nic.mac.lower()) == uuid:
                del self._macs[nic.mac.lower()]
            self._networks.get(nic.network or "", set()).discard(uuid)
        self._guests.pop(uuid, None)
        if new is not None:
            self._guests[uuid] = new
            for nic in new.nics:
                self._macs[nic.mac.lower()] = uuid
                self._networks.setdefault(nic.network or "", set()).add(uuid)
        return True
