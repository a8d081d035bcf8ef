"""One libvirtd for all tests of a module: it takes two seconds to start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .libvirt_node import LibvirtNode
from .libvirt_rig import LibvirtRig


@pytest.fixture(scope="module")
def libvirt_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtNode]:
    yield from _node(tmp_path_factory.mktemp("libvirt"))


@pytest.fixture(scope="module")
def libvirt_neighbour(libvirt_node: LibvirtNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LibvirtNode]:
    """A second node, with a cable between them."""
    for node in _node(tmp_path_factory.mktemp("neighbour")):
        libvirt_node.join(node)
        yield node


@pytest.fixture
def here(libvirt_node: LibvirtNode, libvirt_neighbour: LibvirtNode) -> Iterator[LibvirtRig]:
    """A driver beside another node's, `there`."""
    rig = LibvirtRig(libvirt_node, libvirt_neighbour)
    yield rig
    rig.close()


@pytest.fixture
def there(here: LibvirtRig) -> Iterator[LibvirtRig]:
    rig = here.neighbour()
    assert rig is not None
    yield rig
    rig.close()


def _node(root: Path) -> Iterator[LibvirtNode]:
    from pvc_compute_libvirt.permits import Permits

    node = LibvirtNode(root)
    Permits(permits_dir=root / "permits", hooks_dir=root / "etc/hooks").install_hook()
    try:
        node.start()
        yield node
    finally:
        node.stop()
