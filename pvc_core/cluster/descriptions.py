"""What each VM's definition says, read once per text. The reading is the compute plugin's pure half."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_core.contracts.compute import ComputeDefinitions
from pvc_core.errors import Invalid
from pvc_core.model.view import Kept
from pvc_core.model.vm import Description, VmWanted


class Descriptions:
    """Descriptions by VM, kept until the text changes."""

    def __init__(self, definitions: ComputeDefinitions) -> None:
        self._definitions = definitions
        self._kept: dict[str, tuple[str, Description]] = {}

    def of(self, vm: VmWanted) -> Description:
        """What `vm`'s definition says. One that can no longer be read (another plugin's) is described as empty."""
        kept = self._kept.get(vm.uuid)
        if kept is not None and kept[0] == vm.definition:
            return kept[1]
        try:
            description = self._definitions.describe(vm.definition)
        except Invalid as error:
            description = Description(name=vm.name, uuid=vm.uuid, memory_bytes=0, vcpus=0, description=str(error))
        self._kept[vm.uuid] = (vm.definition, description)
        return description

    def forget_except(self, vms: Mapping[str, Kept[VmWanted]]) -> None:
        """Drop what belongs to VMs that are gone."""
        for uuid in self._kept.keys() - vms.keys():
            self._kept.pop(uuid, None)
