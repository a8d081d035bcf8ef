"""Which guests pvcnoded names to the guard as never to be frozen (safety B12, A20)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pvc_core.cluster.layout import volume_id
from pvc_core.daemon.report import ReportReconciler
from pvc_core.guard.report import read_report
from pvc_core.model.storage import Volume
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Claim, Description, VmWanted

HERE = ("local", "tied", "free", "gone")
"""A disk in a pool of hv1's own; a device of the host; a disk in a shared pool; no definition any more."""


def test_b12_only_what_no_other_node_could_claim(tmp_path: Path) -> None:
    descriptions = {uuid: Description(name=uuid, uuid=uuid, memory_bytes=1, vcpus=1) for uuid in HERE}
    descriptions["tied"] = replace(descriptions["tied"], outside=("a device",), failover=False)
    volumes = {"local": volume("local", home="hv1"), "free": volume("free", home="")}
    view = ClusterView(
        claims={
            uuid: Kept(Claim(uuid=uuid, holder="hv1", volumes=(f"vms/{uuid}",) if uuid in volumes else ()), 0)
            for uuid in HERE
        }
        | {"else": Kept(Claim(uuid="else", holder="hv2", volumes=("vms/local",)), 0)},
        vm_wanted={uuid: Kept(VmWanted(uuid=uuid, name=uuid, definition=""), 0) for uuid in HERE if uuid != "gone"},
        volumes={volume_id("vms", name): Kept(one, 0) for name, one in volumes.items()},
    )
    ground: Any = SimpleNamespace(
        node="hv1",
        view=view,
        clock=SimpleNamespace(boottime_s=lambda: 50.0),
        descriptions=SimpleNamespace(of=lambda vm: descriptions.get(vm.uuid)),
    )
    ReportReconciler(ground, tmp_path).step("hv1")
    report = read_report(tmp_path, 51.0)
    assert report and report.only_here == ("local", "tied")


def volume(name: str, home: str) -> Volume:
    return Volume(id=name, pool="vms", name=name, size_bytes=1, home=home)
