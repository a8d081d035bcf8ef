"""Whether guests run under KVM is found out by running one, with a time limit, once per boot."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pvc_compute_libvirt.virt import find_virt_type
from pvc_core.contracts.plugin import Completed
from pvc_core.errors import Retry
from pvc_core.testing.context import FakeContext


def _never(*_: object, **__: object) -> Completed:
    raise AssertionError("nothing is run")


@pytest.mark.parametrize("wanted", ["kvm", "qemu"])
def test_what_the_operator_says_is_not_tried(tmp_path: Path, wanted: str) -> None:
    assert find_virt_type(wanted, run=_never, cache=tmp_path / "virt.json")[0] == wanted


@pytest.mark.system
def test_auto_answers_in_time_and_remembers(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    first = find_virt_type("auto", run=FakeContext().run, cache=tmp_path / "virt.json")
    assert first[0] in ("kvm", "qemu") and first[1] and time.monotonic() - begun_s < 6.0
    assert find_virt_type("auto", run=_never, cache=tmp_path / "virt.json") == first


def test_an_answer_from_before_the_last_boot_counts_for_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "virt.json"
    cache.write_text('{"boot_id": "another", "virt_type": "kvm", "why": ""}')

    def hangs(*_: object, **__: object) -> Completed:
        raise Retry("it did not end")

    assert find_virt_type("auto", run=hangs, cache=cache)[0] == "qemu"


@pytest.mark.system
def test_the_probe_itself_runs_where_guests_run(tmp_path: Path) -> None:
    """Emulated, it must say so: else `auto` would call every machine one without KVM."""
    from pvc_compute_libvirt import virt

    image = tmp_path / "probe.img"
    image.write_bytes(virt._SECTOR)
    command = [
        word.replace("accel=kvm", "accel=tcg") for word in virt._command(str(image)) if word not in ("-cpu", "host")
    ]
    assert FakeContext().run(command, deadline_s=20.0).returncode == 0x55
