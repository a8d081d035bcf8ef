"""VMs as bytes, encoded once per change: a list is spliced from ready bodies, and kept whole until anything changes."""

from __future__ import annotations

from pvc_api_falcon.wire.vm import encoded_vm
from pvc_core.services import Services
from pvc_core.services.counted import Counted
from pvc_core.services.pictures import VmPicture
from pvc_core.services.vms import VmFilter


class VmBodies:
    """The service hands out the same picture until one of its records changes: its identity is what a body hangs on."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: dict[str, tuple[VmPicture, bytes]] = {}
        self._whole: Counted[bytes] = Counted()

    def one(self, picture: VmPicture) -> bytes:
        uuid = picture.wanted.uuid
        kept = self._kept.get(uuid)
        if kept is None or kept[0] is not picture:
            kept = self._kept[uuid] = (picture, encoded_vm(picture))
        return kept[1]

    def many(self, by: VmFilter | None = None) -> bytes:
        """The VMs `by` finds, as a JSON list. Raises Invalid for a bad filter."""
        if by is not None and by != VmFilter():
            return self._spliced(self._services.vms.list(by))
        view = self._services.desk.view
        return self._whole.of((view.vm_wanted, view.claims, view.vm_seen, view.stats), self._all)

    def _all(self) -> bytes:
        pictures = self._services.vms.list()
        body = self._spliced(pictures)
        for uuid in self._kept.keys() - {picture.wanted.uuid for picture in pictures}:
            self._kept.pop(uuid, None)
        return body

    def _spliced(self, pictures: list[VmPicture]) -> bytes:
        return b"[" + b",".join([self.one(picture) for picture in pictures]) + b"]"
