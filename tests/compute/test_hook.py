"""The hook that libvirt asks for launch permits: a shell script that says no whenever it cannot read a clear yes."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

UUID = "11111111-2222-3333-4444-555555555555"
XML = f"<domain type='kvm'>\n  <name>web&lt;uuid></name>\n  <uuid>{UUID}</uuid>\n  <title>x</title>\n</domain>\n"


class Hook:
    def __init__(self, root: Path) -> None:
        from pvc_compute_libvirt.permits import Permits

        self.permits = root / "permits"
        self.permits.mkdir()
        self.path = root / "hooks/qemu.d/pvc-launch-permit"
        assert Permits(permits_dir=self.permits, hooks_dir=root / "hooks").install_hook()

    def permit(self, text: str) -> None:
        (self.permits / UUID).write_text(text)

    def ask(self, operation: str, stage: str = "begin", xml: str = XML) -> str:
        """What it says against it; "" when it lets it pass."""
        command = [str(self.path), "web1", operation, stage, "-"]
        done = subprocess.run(command, input=xml, capture_output=True, text=True, timeout=10, check=False)
        assert done.stdout == "" and bool(done.returncode) == bool(done.stderr)
        return done.stderr


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


def _in(seconds: float) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) + seconds


@pytest.mark.parametrize("operation", ["prepare", "start", "migrate", "restore"])
def test_nothing_runs_without_a_permit(hook: Hook, operation: str) -> None:
    assert "no launch permit" in hook.ask(operation)


@pytest.mark.parametrize(
    ("operation", "stage"), [("started", "begin"), ("stopped", "end"), ("release", "end"), ("reconnect", "begin")]
)
def test_what_starts_nothing_is_not_held_up(hook: Hook, operation: str, stage: str) -> None:
    assert hook.ask(operation, stage) == ""


def test_a_permit_holds_until_its_deadline(hook: Hook) -> None:
    hook.permit(f'{{"generation": 3, "deadline_boottime_s": {_in(1.0)!r}, "kind": "start"}}')
    assert hook.ask("prepare") == "" and hook.ask("start") == ""
    time.sleep(1.05)
    assert "run out" in hook.ask("start")


def test_the_guards_own_permits_are_read(hook: Hook) -> None:
    import msgspec

    from pvc_core.guard.permits import Permit

    permit = Permit(generation=3, deadline_boottime_s=_in(5.0), kind="start")
    (hook.permits / UUID).write_bytes(msgspec.json.encode(permit))
    assert hook.ask("start") == ""
    assert "incoming" in hook.ask("migrate")
    permit = Permit(generation=3, deadline_boottime_s=_in(5.0), kind="incoming")
    (hook.permits / UUID).write_bytes(msgspec.json.encode(permit))
    assert hook.ask("migrate") == ""


VALUES = ("soon", "1e9", "-1", "Infinity", "1.2.3", "", ".5", "99999999999999999999999999", "null", "[]")
RUBBISH = (
    "",
    "{}",
    "null",
    "9999999999",
    "$(touch /tmp/x)",
    *(f'{{"deadline_boottime_s": {value}}}' for value in VALUES),
)


@pytest.mark.parametrize("permit", RUBBISH)
def test_what_cannot_be_read_is_no_permit(hook: Hook, permit: str) -> None:
    hook.permit(permit)
    assert hook.ask("start")


@pytest.mark.parametrize(
    "xml", ["", "<domain/>", "<uuid>../../etc/passwd</uuid>\n", "<uuid></uuid>\n", "<uuid>A B</uuid>\n"]
)
def test_a_definition_without_a_uuid_is_refused(hook: Hook, xml: str) -> None:
    assert "names no UUID" in hook.ask("start", xml=xml)


def test_it_is_quick(hook: Hook) -> None:
    hook.permit(f'{{"generation": 3, "deadline_boottime_s": {_in(60.0)!r}, "kind": "start"}}')
    begun_s = time.monotonic()
    for _again in range(20):
        assert hook.ask("start") == ""
    assert (time.monotonic() - begun_s) / 20 < 0.05


def test_it_is_installed_once_and_repaired(hook: Hook) -> None:
    from pvc_compute_libvirt.permits import Permits

    permits = Permits(permits_dir=hook.permits, hooks_dir=hook.path.parent.parent)
    assert not permits.install_hook()
    hook.path.write_text("#!/bin/sh\n")
    assert permits.install_hook() and os.access(hook.path, os.X_OK)
