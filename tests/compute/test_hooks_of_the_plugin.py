"""The hooks that the plugin gives are hooks, all of them: the loader takes the object as it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from pvc_compute_libvirt.check import Check
from pvc_compute_libvirt.plugin import _Together
from pvc_core.clock import SystemClock
from pvc_core.hookspecs import hookimpl
from pvc_core.loader import Hooks


class Other:
    @hookimpl
    def pvc_node_ready(self, node: str) -> None: ...


def test_the_hooks_of_several_are_all_heard(tmp_path: Path) -> None:
    check = Check(lambda: [("libvirt", "9.0.0"), ("virt_type_why", "set in pvc.yaml")], pki=tmp_path)
    hooks: Any = Hooks({"compute_libvirt": _Together(Other(), check)}, clock=SystemClock(), log=structlog.get_logger())
    assert hooks.implementing("pvc_node_ready") == hooks.implementing("pvc_collect_check") == {"compute_libvirt"}
    versions, tls = hooks.collect("pvc_collect_check", peers={"hv1": "127.0.0.1"})["compute_libvirt"]
    assert (versions.text, versions.same) == ("libvirt 9.0.0", "9.0.0")
    assert not tls.ok and "certificates below" in tls.text and tls.remedy
    hooks.close(1.0)
