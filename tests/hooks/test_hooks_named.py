"""A test named after each hook: it can be implemented with its specified arguments, and is called with them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pvc_core.errors import Refused
from pvc_core.hookspecs import Hooks as Specs
from pvc_core.hookspecs import hookimpl
from pvc_core.loader import Hooks
from pvc_core.model.check import CheckLine
from pvc_core.model.node import HealthSeen
from pvc_core.model.storage import Volume
from pvc_core.model.vm import Description, VmWanted

Build = Callable[..., Hooks]

VM = VmWanted(uuid="8f2c2a4e-0000-4000-8000-000000000001", name="db", definition="<domain/>")
DESCRIPTION = Description(name="db", uuid=VM.uuid, memory_bytes=1 << 30, vcpus=2)
VOLUME = Volume(id="v1", pool="vms", name="root", size_bytes=1 << 30)
SPECIFIED = {name: member for name, member in vars(Specs).items() if name.startswith("pvc_")}
DOCUMENT = Path(__file__).parents[2] / "docs" / "hooks.md"


def heard(build: Build, hook: str, **args: object) -> dict[str, object]:
    """What an implementation with every specified argument was called with."""
    calls: list[dict[str, object]] = []
    hooks = build(listener=implementing(hook, calls))
    hooks.notify(hook, key="x", **args)
    hooks.close(5)
    assert hooks.health() == ()
    (call,) = calls
    return call


def implementing(hook: str, calls: list[dict[str, object]]) -> object:
    """An object with just this hook, written with the specification's own argument names."""
    names = list(inspect.signature(SPECIFIED[hook]).parameters)[1:]
    scope: dict[str, Any] = {"calls": calls, "hookimpl": hookimpl}
    taken = ", ".join(f"{name!r}: {name}" for name in names)
    source = f"class Plugin:\n  @hookimpl\n  def {hook}(self, {', '.join(names)}):\n    calls.append({{{taken}}})\n"
    exec(source, scope)
    plugin: object = scope["Plugin"]()
    return plugin


def test_pvc_node_ready(build: Build) -> None:
    assert heard(build, "pvc_node_ready", node="hv1") == {"node": "hv1"}


def test_pvc_node_flushed(build: Build) -> None:
    assert heard(build, "pvc_node_flushed", node="hv1") == {"node": "hv1"}


def test_pvc_node_lost(build: Build) -> None:
    assert heard(build, "pvc_node_lost", node="hv2", why="silent") == {"node": "hv2", "why": "silent"}


def test_pvc_node_fenced(build: Build) -> None:
    assert heard(build, "pvc_node_fenced", node="hv2", why="off") == {"node": "hv2", "why": "off"}


def test_pvc_node_returned(build: Build) -> None:
    assert heard(build, "pvc_node_returned", node="hv1") == {"node": "hv1"}


def test_pvc_vm_defined(build: Build) -> None:
    assert heard(build, "pvc_vm_defined", vm=VM) == {"vm": VM}


def test_pvc_vm_changed(build: Build) -> None:
    assert heard(build, "pvc_vm_changed", vm=VM) == {"vm": VM}


def test_pvc_vm_started(build: Build) -> None:
    assert heard(build, "pvc_vm_started", vm=VM) == {"vm": VM}


def test_pvc_vm_stopped(build: Build) -> None:
    assert heard(build, "pvc_vm_stopped", vm=VM, reason="shutdown") == {"vm": VM, "reason": "shutdown"}


def test_pvc_vm_migrated(build: Build) -> None:
    assert heard(build, "pvc_vm_migrated", vm=VM, source="hv1") == {"vm": VM, "source": "hv1"}


def test_pvc_vm_failed(build: Build) -> None:
    assert heard(build, "pvc_vm_failed", vm=VM, reason="no disk") == {"vm": VM, "reason": "no disk"}


def test_pvc_vm_removed(build: Build) -> None:
    assert heard(build, "pvc_vm_removed", vm=VM) == {"vm": VM}


def test_pvc_volume_created(build: Build) -> None:
    assert heard(build, "pvc_volume_created", volume=VOLUME) == {"volume": VOLUME}


def test_pvc_volume_resized(build: Build) -> None:
    args = {"volume": VOLUME, "old_size_bytes": 1 << 20}
    assert heard(build, "pvc_volume_resized", **args) == args


def test_pvc_volume_removed(build: Build) -> None:
    assert heard(build, "pvc_volume_removed", volume=VOLUME) == {"volume": VOLUME}


def objection(build: Build, hook: str) -> str:
    """What a plugin's objection to the VM reaches the caller as."""

    def refuse(self: object, vm: VmWanted, description: Description) -> None:
        raise Refused(f"{vm.name} with {description.vcpus} vcpus is too big", help="use fewer")

    plugin = type("Plugin", (), {hook: hookimpl(refuse)})()
    with pytest.raises(Refused) as caught:
        build(quota=plugin).check(hook, vm=VM, description=DESCRIPTION)
    return str(caught.value)


def test_pvc_check_vm_define(build: Build) -> None:
    assert objection(build, "pvc_check_vm_define") == "quota: db with 2 vcpus is too big (use fewer)"


def test_pvc_check_vm_start(build: Build) -> None:
    assert objection(build, "pvc_check_vm_start") == "quota: db with 2 vcpus is too big (use fewer)"


def test_pvc_collect_health(build: Build) -> None:
    class Plugin:
        @hookimpl
        def pvc_collect_health(self) -> list[HealthSeen]:
            return [HealthSeen(plugin="somebody-else", delta=250, message="disk nearly full")]

    found = build(disks=Plugin()).collect("pvc_collect_health")
    assert found == {"disks": (HealthSeen(plugin="disks", delta=100, message="disk nearly full"),)}


def test_pvc_collect_check(build: Build) -> None:
    class Plugin:
        @hookimpl
        def pvc_collect_check(self, peers: Mapping[str, str]) -> list[CheckLine]:
            return [CheckLine(topic="cables", text=f"{len(peers)} are loose", ok=False)]

    class Wrong:
        @hookimpl
        def pvc_collect_check(self) -> list[str]:
            return ["all is well"]

    hooks = build(cabling=Plugin(), wrong=Wrong())
    found = hooks.collect("pvc_collect_check", peers={"hv1": "10.1.0.11"})
    assert [line.text for line in found["cabling"]] == ["1 are loose"] and found.keys() == {"cabling"}
    assert found["cabling"][0].remedy, "no finding goes without what helps"
    assert hooks.implementing("pvc_collect_check") == {"cabling", "wrong"}


def test_pvc_collect_metrics(build: Build) -> None:
    class Plugin:
        @hookimpl
        def pvc_collect_metrics(self) -> list[tuple[str, dict[str, str], float]]:
            return [("pvc_disks_free_bytes", {"pool": "vms"}, 5)]

    found = build(disks=Plugin()).collect("pvc_collect_metrics")
    assert found == {"disks": (("pvc_disks_free_bytes", {"pool": "vms"}, 5.0),)}


def test_every_hook_has_a_test_of_its_name_and_no_test_is_left_over() -> None:
    named = {name.removeprefix("test_") for name in globals() if name.startswith("test_pvc_")}
    assert named == set(SPECIFIED)


def test_the_document_shows_every_hook_with_its_real_signature() -> None:
    shown = re.findall(r"^### `(pvc_\w+\(.*\))`$", DOCUMENT.read_text(), re.MULTILINE)
    assert shown == [f"{name}{signature(member)}" for name, member in SPECIFIED.items()]


def signature(member: Callable[..., object]) -> str:
    """(vm: VmWanted, reason: str), as the document shows it."""
    parameters = list(inspect.signature(member).parameters.values())[1:]
    return f"({', '.join(str(parameter).replace(chr(39), '') for parameter in parameters)})"
