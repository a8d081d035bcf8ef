"""This node's NICs divided as pvc.yaml says, and functions set as operators said (kept in the store, so that they hold
after a boot). One thread sees to it, because a NIC takes seconds; guests' functions are driver.py's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import NotFound, PvcError, Retry
from pvc_net_sriov.functions import Functions
from pvc_net_sriov.words import RESTING, Settings, Virtual, settings_of

LOOK_S = 15.0
FOLDER = "vf"


class Settled:
    """Holds the lock that all changes of functions are made under."""

    def __init__(self, context: PluginContext, functions: Functions) -> None:
        self._context, self.functions = context, functions
        self.devices: dict[str, Mapping[str, Any]] = {one["phy"]: one for one in context.config.get("devices", ())}
        self.lock = threading.RLock()
        self._ending, self._thread = (
            threading.Event(),
            threading.Thread(target=self._keep, name="net_sriov", daemon=True),
        )
        self._said: str | None = None
        self._settled: set[str] = set()
        """NICs whose functions were set as operators said, in this life."""

    def begin(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_S)

    def divide(self, pf: str) -> None:
        """It has virtual functions. Raises Retry, Permanent."""
        with self.lock:
            wanted, there = int(self.devices[pf]["vfcount"]), self.functions.count(pf)
            if there == 0:
                self.functions.make(pf, wanted)
            self.functions.set_link(pf, mtu=int(self.devices[pf].get("mtu") or 0))
            if pf not in self._settled:
                for one in self.functions.virtual(pf):
                    if not one.used and (kept := self.kept(one)) != RESTING:
                        self.functions.set(one, kept)
                self._settled.add(pf)

    def all(self) -> list[Virtual]:
        """Of those NICs that are there."""
        found: list[Virtual] = []
        for pf in self.devices:
            try:
                found += self.functions.virtual(pf)
            except Retry:
                continue
        return found

    def kept(self, one: Virtual) -> Settings:
        """What an operator said of it, or nothing. Raises StoreUnavailable."""
        try:
            return settings_of(json.loads(self._context.state.get(self._key(one))[0]))
        except (NotFound, ValueError, TypeError):
            return RESTING

    def keep(self, one: Virtual, settings: Settings) -> None:
        """Raises StoreUnavailable."""
        self._context.state.put(self._key(one), json.dumps(asdict(settings)).encode(), if_version=None)

    def _key(self, one: Virtual) -> str:
        """By number: names change with drivers."""
        return f"{FOLDER}/{self._context.node.name}/{one.pf}v{one.number}"

    def _keep(self) -> None:
        while not self._ending.is_set():
            wrong = self._look()
            said = "; ".join(wrong) or f"{', '.join(self.devices) or 'no NIC'} divided as wanted"
            if said != self._said:
                self._context.report(10 if wrong else 0, said)
                self._said = said
            self._ending.wait(LOOK_S)

    def _look(self) -> Sequence[str]:
        """What is not as it shall be, in words."""
        wrong = []
        for pf, device in self.devices.items():
            try:
                self.divide(pf)
                if (there := self.functions.count(pf)) != device["vfcount"]:
                    wrong.append(
                        f"{pf} has {there} virtual functions, {device['vfcount']} are wanted: their number changes "
                        "with the next boot, because all of them would be taken away first"
                    )
            except PvcError as error:
                wrong.append(str(error))
        return wrong
