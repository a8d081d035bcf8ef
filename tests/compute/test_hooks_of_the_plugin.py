"""The hooks that the plugin gives are hooks, all of them: the loader takes the object as it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog

from pvc_compute_libvirt.check import Check
from pvc_compute_libvirt.driver import LibvirtDriver
from pvc_compute_libvirt.plugin import ComputeLibvirt, ConfigSchema, _Together
from pvc_core.clock import SystemClock
from pvc_core.hookspecs import hookimpl
from pvc_core.loader import Hooks
from pvc_core.testing.context import FakeContext


class Other:
    @hookimpl
    def pvc_node_ready(self, node: str) -> None: ...


def test_the_hooks_of_several_are_all_heard(tmp_path: Path) -> None:
    check = Check(
        lambda: [("libvirt", "9.0.0"), ("virt_type_why", "set in pvc.yaml")], pki=tmp_path, conf=tmp_path / "none"
    )
    hooks: Any = Hooks({"compute_libvirt": _Together(Other(), check)}, clock=SystemClock(), log=structlog.get_logger())
    assert hooks.implementing("pvc_node_ready") == hooks.implementing("pvc_collect_check") == {"compute_libvirt"}
    versions, patience, tls = hooks.collect("pvc_collect_check", peers={"hv1": "127.0.0.1"})["compute_libvirt"]
    assert (versions.text, versions.same) == ("libvirt 9.0.0", "9.0.0")
    assert not tls.ok and "certificates below" in tls.text and tls.remedy
    assert not patience.ok and "30 s of silence" in patience.text and "keepalive_interval = 2" in patience.remedy
    hooks.close(1.0)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ("", "30 s"),
        ("#keepalive_interval = 1\n", "30 s"),
        ("keepalive_interval=1\nkeepalive_count = 14", "15 s"),
        ("keepalive_interval = -1\n", "for ever"),
        ("keepalive_interval = 2\nkeepalive_count = 4\n", ""),
        ("  keepalive_interval = 9\nkeepalive_interval = 2\nkeepalive_count = 5\n", ""),
    ],
)
def test_how_long_libvirt_waits_for_a_silent_one_is_read_as_it_does(tmp_path: Path, conf: str, said: str) -> None:
    (tmp_path / "qemu.conf").write_text(conf)
    check = Check(list, pki=tmp_path, conf=tmp_path / "qemu.conf")
    (line,) = [line for line in check.pvc_collect_check({"hv2": "127.0.0.1"}) if line.topic == "libvirt patience"]
    assert said in line.text
    assert line.ok == (said == "") and bool(line.remedy) != line.ok
    assert not [line for line in check.pvc_collect_check({}) if line.topic == "libvirt patience"]


@pytest.mark.parametrize(
    ("own", "uri"), [("10.1.0.11/24", "10.1.0.11"), ("fd10:1::11/64", "[fd10:1::11]"), ("", "")], ids=["4", "6", "none"]
)
def test_guests_find_the_node_by_either_family(tmp_path: Path, own: str, uri: str) -> None:
    plugin = ComputeLibvirt({**ConfigSchema().load({"virt_type": "qemu", "hooks_dir": str(tmp_path)})})
    drivers = plugin.build_drivers(FakeContext(plugin.config, host_networks={"cluster": own} if own else {}))
    assert drivers.stop is not None and isinstance(drivers.compute, LibvirtDriver)
    drivers.stop()
    settings = drivers.compute._settings
    assert (settings.migration_uri, settings.migration_address) == (f"qemu+tls://{uri}/system", uri)
