"""What loads: instances with their settings, what `pvc plugin list` tells of them, and nothing imported that was not
named.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from distributions import COMPUTE, GOOD, STORAGE, Site

from pvc_core.clock import SystemClock
from pvc_core.config import load
from pvc_core.contracts import Drivers
from pvc_core.errors import Refused
from pvc_core.loader import Hooks, driver_faults, load_all, load_plugins
from pvc_core.model.node import ActionSeen
from pvc_core.model.vm import Description, VmWanted

Yaml = Callable[..., Path]


class Log:
    def warning(self, event: str, **fields: object) -> None: ...

    def info(self, event: str, **fields: object) -> None: ...


def test_a_plugin_gets_its_settings_as_its_schema_loaded_them(site: Site, yaml: Yaml) -> None:
    site.install("good")
    _, loaded = load_all(yaml("good: {path: /x}"), node="hv1")
    assert loaded.plugins["good"].config == {"path": "/x"}
    assert (loaded.distribution("good").name, loaded.distribution("good").version) == ("pvc-good", "1.0")
    assert (loaded.compute, loaded.storage, loaded.frontends) == (None, {}, {})


def test_nothing_is_imported_that_is_not_named(site: Site, yaml: Yaml) -> None:
    site.install("good")
    site.install("unnamed", "raise SystemExit")
    load_all(yaml("good:"), node="hv1")
    assert "site_pvc_good" in sys.modules and "site_pvc_unnamed" not in sys.modules


def test_an_upgrade_a_moment_ago_is_seen_and_no_cache_is_written(
    site: Site, yaml: Yaml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    site.install("good")
    config = load(yaml("good: {}"), node="hv1")
    assert load_plugins(config).distribution("good").version == "1.0"
    site.remove("good", version="1.0")
    site.install("good", version="2.0")
    assert load_plugins(config).distribution("good").version == "2.0"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("span", ["(0, 1)", "(1, 1)", "(1, 9)"])
def test_any_range_that_contains_our_version_is_taken_without_a_word(
    site: Site, yaml: Yaml, span: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    site.install("good", GOOD + f"        api_range = {span}\n")
    _, loaded = load_all(yaml("good: {}"), node="hv1")
    assert loaded.seen()[0].state == "active"
    assert capfd.readouterr() == ("", "") and not recwarn.list


def test_what_plugin_list_shows(site: Site, yaml: Yaml) -> None:
    site.install("disks", STORAGE, version="3.1")
    _, loaded = load_all(yaml("disks: {}", more="use: {default_pool: {name: vms, driver: disks}}\n"), node="hv1")
    (seen,) = loaded.seen()
    assert (seen.name, seen.distribution, seen.version) == ("disks", "pvc-disks", "3.1")
    assert (seen.api_low, seen.api_high, seen.state, seen.reason) == (1, 1, "active", "")
    assert seen.roles == ("storage", "frontend")
    assert seen.capabilities["disk_sources"] == "File, Block"
    assert seen.capabilities["clone"] is True
    assert seen.actions == (ActionSeen(name="scrub", help="Read everything once.", where="node"),)
    assert list(loaded.storage) == list(loaded.frontends) == ["disks"]


def test_a_driver_that_was_promised_must_be_built(site: Site, yaml: Yaml) -> None:
    site.install("disks", STORAGE)
    _, loaded = load_all(yaml("disks: {}"), node="hv1")
    plugin = loaded.plugins["disks"]
    assert list(driver_faults(plugin, Drivers())) == [
        "its storage half has definitions but no driver",
        "action 'scrub' is declared but not built",
    ]
    assert list(driver_faults(plugin, None)) == ["build_drivers returned an object of type NoneType; Drivers is needed"]


def test_a_compute_driver_that_nothing_uses_is_told(site: Site, yaml: Yaml) -> None:
    site.install("hyper", COMPUTE)
    loaded = load_plugins(load(yaml("hyper: {}"), node="hv1"), tolerant=True)
    assert [fault.message for fault in loaded.faults] == [
        "it brings a compute driver that nothing uses; add `compute: hyper` to section `use`"
    ]
    _, loaded = load_all(yaml("hyper: {}", more="use: {compute: hyper}\n"), node="hv1")
    assert loaded.compute is loaded.plugins["hyper"]


def test_definition_hooks_are_asked(site: Site, yaml: Yaml) -> None:
    site.install(
        "strict",
        GOOD
        + """
        def definition_hooks(self):
            return self

        from pvc_core.hookspecs import hookimpl

        @hookimpl
        def pvc_check_vm_define(self, vm, description):
            from pvc_core.errors import Refused
            raise Refused(f"{description.vcpus} vcpus are too many for {vm.name}")
        """,
    )
    _, loaded = load_all(yaml("strict: {}"), node="hv1")
    hooks = Hooks(loaded.definition_hooks(), clock=SystemClock(), log=Log())
    vm = VmWanted(uuid="u", name="db", definition="")
    with pytest.raises(Refused, match="strict: 64 vcpus are too many for db"):
        hooks.check(
            "pvc_check_vm_define", vm=vm, description=Description(name="db", uuid="u", memory_bytes=1, vcpus=64)
        )
