"""compute_libvirt answers the questions that every compute driver is asked, with a real libvirtd and real guests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pvc_core.testing.contract_compute import ComputeContract

from .libvirt_node import LibvirtNode
from .libvirt_rig import LibvirtRig


@pytest.mark.system
class TestLibvirt(ComputeContract):
    @pytest.fixture
    def rig(self, libvirt_node: LibvirtNode, libvirt_neighbour: LibvirtNode) -> Iterator[LibvirtRig]:
        rig = LibvirtRig(libvirt_node, libvirt_neighbour)
        yield rig
        rig.close()
