"""compute_libvirt as a user of pvc_node_flushed and pvc_node_ready, with the real hook file and a fake libvirt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pvc_compute_libvirt.maintenance import Maintenance
from pvc_compute_libvirt.permits import Permits
from pvc_core.contracts.compute import Observation
from pvc_core.errors import Retry
from pvc_core.model.vm import GuestState


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, line: str, **_: Any) -> None:
        self.lines.append(line)

    error = warning


def maintenance(tmp_path: Path, *names: str) -> tuple[Maintenance, Log, list[str]]:
    log, proved = Log(), []
    permits = Permits(permits_dir=tmp_path / "permits", hooks_dir=tmp_path / "hooks")
    there = [Observation(uuid=name, name=name, guest=GuestState.RUNNING) for name in names]
    made = Maintenance(
        guests=lambda *, deadline_s: there,
        install_hook=permits.install_hook,
        prove_again=lambda: proved.append("again"),
        log=log,
    )
    return made, log, proved


def test_guests_that_are_not_pvcs_are_named_when_a_node_is_flushed(tmp_path: Path) -> None:
    made, log, _ = maintenance(tmp_path, "windows-by-hand")
    made.pvc_node_flushed(node="hv1")
    assert log.lines == ["node hv1 is flushed, but guests that are not PVC's still run: windows-by-hand"]
    made, log, _ = maintenance(tmp_path)
    made.pvc_node_flushed(node="hv1")
    assert log.lines == []


def test_a_libvirt_that_does_not_answer_is_said(tmp_path: Path) -> None:
    def silent(*, deadline_s: float) -> list[Observation]:
        raise Retry("libvirtd does not answer")

    log = Log()
    made = Maintenance(guests=silent, install_hook=lambda: False, prove_again=lambda: None, log=log)
    made.pvc_node_flushed(node="hv1")
    assert "cannot be told: libvirtd does not answer" in log.lines[0]


def test_the_permit_hook_is_put_back_when_a_node_gets_ready(tmp_path: Path) -> None:
    made, log, proved = maintenance(tmp_path)
    made.pvc_node_ready(node="hv1")
    (hook,) = (tmp_path / "hooks/qemu.d").iterdir()
    assert proved == ["again"]
    made.pvc_node_ready(node="hv1")
    assert proved == ["again"], "it was there"
    hook.unlink()
    made.pvc_node_ready(node="hv1")
    assert hook.exists() and proved == ["again", "again"] and "in place again" in log.lines[-1]
