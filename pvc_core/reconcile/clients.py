"""Who of this node has a guest's volumes open at the storage: noted in the claim while the guest runs, and shut out
before it starts again.

A node that is cut off may be in none of the storage's lists any more when it is fenced (A3, B17); what stands in its
claims is shut out in any case. And what a guest that was killed left locked would keep the next one waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.contracts.storage import StorageDriver
from pvc_core.errors import NotFound, Permanent, Refused, Retry
from pvc_core.model.storage import Pool, Volume
from pvc_core.model.view import Kept
from pvc_core.model.vm import Claim
from pvc_core.reconcile.ground import Ground

CLIENTS_S = 5.0
AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Clients:
    ground: Ground
    _noted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """UUID -> the volumes whose clients its claim has on record, of the process that runs now."""

    def note(self, claim: Kept[Claim]) -> str:
        """The guest runs here by this claim. Why its clients are not known yet; "" when they are. Raises Conflict."""
        mine = claim.value
        if self._noted.get(mine.uuid) == mine.volumes:
            return ""
        found: set[str] = set()
        try:
            for driver, pool, volume in self._fenceable(mine.volumes):
                found.update(self._asked(driver, pool, volume))
        except (Retry, Refused, NotFound, Permanent) as error:
            return error.message
        if found != set(mine.addresses):
            new = replace(mine, addresses=tuple(sorted(found)), generation=mine.generation + 1)
            self.ground.commit(Set(layout.CLAIMS, mine.uuid, new, claim.version))
        self._noted[mine.uuid] = mine.volumes
        return ""

    def forget(self, uuid: str) -> None:
        """Its process is, or will be, another one."""
        self._noted.pop(uuid, None)

    def shut_out(self, claim: Claim) -> None:
        """The guest is off, and starts next: what its last process left is free. Raises what the driver raises."""
        if not claim.addresses:
            return
        for driver, pool in {pool.name: (driver, pool) for driver, pool, _ in self._fenceable(claim.volumes)}.values():
            self._freed(driver, pool, claim.addresses)

    def _fenceable(self, refs: tuple[str, ...]) -> Iterator[tuple[StorageDriver, Pool, Volume]]:
        for ref in refs:
            kept = self.ground.view.volume(ref)
            pool = self.ground.view.pools.get(kept.value.pool) if kept is not None else None
            if kept is None or pool is None:
                continue
            plugin = self.ground.plugins.get(pool.value.driver)
            if plugin is not None and plugin.storage is not None and plugin.storage.capabilities.storage_fencing:
                yield self.ground.driver(pool.value), pool.value, kept.value

    def _asked(self, driver: StorageDriver, pool: Pool, volume: Volume) -> tuple[str, ...]:
        found = self.ground.calls(
            f"clients/{volume.id}",
            f"looking who has volume {volume.ref} open",
            CLIENTS_S,
            lambda: driver.clients(pool, volume, deadline_s=CLIENTS_S),
        )
        return tuple(found)

    def _freed(self, driver: StorageDriver, pool: Pool, addresses: tuple[str, ...]) -> None:
        self.ground.calls(
            f"clients/{pool.name}",
            f"freeing what the guest's last process left in pool {pool.name}",
            CLIENTS_S,
            lambda: driver.shut_out(pool, addresses, deadline_s=CLIENTS_S),
        )
