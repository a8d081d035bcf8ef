"""The hardware watchdog: a real pvcguard in a virtual machine whose i6300esb resets it, and what is refused without."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pvc_core.errors import Permanent
from pvc_core.guard.watchdog import Watchdog
from pvc_core.loader import load_all

from . import watchdog_vm

BITES_S = 10
CONFIG = """cluster: {{name: c1, coordinators: [vm]}}
store: {{embedded: {{port: 2181}}}}
paths: {{run: /run/pvc, state: /run/state, secrets: /run/secrets}}
plugins: {{fence_watchdog: {{timeout_s: {bites}}}}}
"""
SCRIPT = """
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH={root} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
cd /run; mkdir secrets
cat >pvc.yaml <<END
{config}END
guard() {{ {python} -m pvc_core.guard.main --config /run/pvc.yaml --node vm >>/run/log 2>&1 & pid=$!; }}
armed() {{ until [ $(grep -c "resets this machine when" /run/log) = $1 ]; do sleep 0.2; done; }}
guard; armed 1
sleep {long}
echo SAID: fed it lives
kill $pid; wait $pid
echo SAID: stopped with $?
sleep {long}
echo SAID: disarmed it lives
guard; armed 2
kill -9 $pid
echo SAID: killed
sleep 300
echo SAID: it lives on
cat /run/log
"""


@pytest.mark.system
@pytest.mark.slow
def test_it_resets_the_machine_whose_guard_is_gone_and_no_other(tmp_path: Path) -> None:
    root = watchdog_vm.REPOSITORY
    config = CONFIG.format(bites=BITES_S)
    script = SCRIPT.format(root=root, python=root / ".venv/bin/python", config=config, long=2 * BITES_S)
    machine = watchdog_vm.start(tmp_path, script)
    said: list[str] = []
    killed_s = None
    try:
        assert machine.stdout
        for line in machine.stdout:
            text = line.decode(errors="replace").strip()
            if "SAID: " in text:
                said.append(text.partition("SAID: ")[2])
                killed_s = time.monotonic() if said[-1] == "killed" else killed_s
        machine.wait(60)
    finally:
        machine.kill()
        machine.wait()
    assert said == ["fed it lives", "stopped with 0", "disarmed it lives", "killed"]
    assert killed_s is not None
    print(f"reset {time.monotonic() - killed_s:.1f} s after its guard was killed, it bites after {BITES_S} s")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_bytes(b"")])
def test_what_is_no_watchdog_is_refused_in_words(tmp_path: Path, make: object) -> None:
    assert callable(make)
    device = tmp_path / "watchdog"
    make(device)
    with pytest.raises(Permanent, match=str(device)):
        Watchdog(device, 5)


def test_its_settings_are_the_plugins_section(tmp_path: Path) -> None:
    config = tmp_path / "pvc.yaml"
    config.write_text(
        "cluster: {name: c1, coordinators: [hv1]}\nstore: {embedded: {}}\n"
        "plugins: {compute_libvirt: {virt_type: qemu}, fence_watchdog: {}}\nuse: {compute: compute_libvirt}\n"
    )
    _, loaded = load_all(config, node="hv1")
    assert loaded.plugins["fence_watchdog"].config == {"device": "/dev/watchdog", "timeout_s": 5}
