"""Every way a plugin can be wrong: one sentence each at its line of pvc.yaml, all in one run, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from distributions import GOOD, HOOKS, Site

from pvc_core.config import ConfigError, load
from pvc_core.loader import load_all, load_plugins

Yaml = Callable[..., Path]


def faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_all(path, node="hv1")
    return [f"{fault.line} {fault.key}: {fault.message}" for fault in caught.value.faults]


def only_fault(path: Path) -> str:
    told = faults(path)
    assert len(told) == 1, told
    return told[0]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import nothing_of_that_name",
            "pvc-bad 1.0 cannot be imported: ModuleNotFoundError: No module named 'nothing_of",
        ),
        ("raise ValueError('one\\ntwo')", "cannot be imported: ValueError: one two; reinstall it"),
        ("raise AttributeError('x')", "cannot be imported: AttributeError: x"),
        ("assert 1 == 2, 'sums'", "cannot be imported: AssertionError: sums"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
        ("def Good(:", "cannot be imported: SyntaxError: "),
        ("x = 1", "AttributeError: module 'site_pvc_bad' has no attribute 'Good'"),
        ("class Good: pass", "its entry point names class Good; a subclass of pvc_core.contracts.Plugin is needed"),
        ("def Good(): pass", "its entry point names a function; a subclass"),
        (
            GOOD + "        api_range = (2, 4)",
            "pvc-bad 1.0 needs plugin API 2 or newer; it is too new for this pvc-core",
        ),
        (GOOD + "        api_range = (0, 0)", "knows the plugin API up to 0 only; it is too old for this pvc-core"),
        (GOOD + "        api_range = (2, 1)", "api_range = (2, 1); two whole numbers are needed, lowest and highest"),
        (GOOD + "        api_range = 1", "api_range = 1; two whole numbers are needed"),
        (
            GOOD.replace('"{name}"', '"other"'),
            "class Good has name = 'other'; its name must be that of its entry point",
        ),
        (GOOD.replace("config_schema =", "schema ="), "config_schema = None; a marshmallow Schema class is needed"),
        (
            GOOD + "        def __init__(self, config): raise RuntimeError('no disk')",
            "from its settings: RuntimeError: no disk",
        ),
        (
            GOOD + "        def build_drivers(self): ...",
            "Good.build_drivers() cannot be called: too many positional arg",
        ),
        (GOOD + "        async def build_drivers(self, context): ...", "Good.build_drivers(context) is async"),
        (
            GOOD + "        from abc import abstractmethod\n        @abstractmethod\n        def mine(self): ...",
            "class Good lacks mine; these methods must be written",
        ),
        (
            GOOD + "        @property\n        def storage(self): return 1/0",
            "its storage half could not be built: ZeroDivision",
        ),
        (GOOD + "        @property\n        def compute(self): return 4", "its compute half is an object of type int"),
        (GOOD + "        actions = (7,)", "an object of type int is among its actions"),
        (
            HOOKS.format(hook="pvc_vm_strated(self, vm)"),
            "there is no hook pvc_vm_strated; did you mean pvc_vm_started?",
        ),
        (
            HOOKS.format(hook="pvc_vm_started(self, uuid)"),
            "takes uuid, which it is never given; specified is pvc_vm_started(vm)",
        ),
        (HOOKS.format(hook="pvc_vm_started(self, vm=None)"), "must take plain arguments without defaults"),
    ],
)
def test_one_bad_plugin(site: Site, yaml: Yaml, code: str, said: str) -> None:
    site.install("bad", code)
    told = only_fault(yaml("bad: {}"))
    assert told.startswith("4 plugins.bad: ")
    assert said in told
    assert "Traceback" not in told


def test_a_plugin_that_is_not_installed(site: Site, yaml: Yaml) -> None:
    site.install("net_evpn")
    told = only_fault(yaml("net_evnp: {}"))
    assert told.startswith("4 plugins.net_evnp: no plugin of this name is installed; ")
    assert 'did you mean "net_evpn"? install it with pip install pvc-net-evnp' in told


def test_two_distributions_that_offer_one_name(site: Site, yaml: Yaml) -> None:
    """Apart in the list of entry points, and even with the same class behind: nobody can say which is meant."""
    site.install("good")
    site.install("between")
    site.install("good", distribution="zz-copy", version="2.0")
    told = only_fault(yaml("good: {}"))
    assert "pvc-good 1.0" in told and "zz-copy 2.0" in told and "pip uninstall the one that is not meant" in told


def test_settings_are_checked_by_the_plugins_own_schema(site: Site, yaml: Yaml) -> None:
    site.install("good")
    told = faults(yaml("good: {paht: /x, path: 5}"))
    assert told == [
        '4 plugins.good.paht: unknown key; did you mean "path"? allowed here: path',
        "4 plugins.good.path: found 5; text is allowed",
    ]


def test_a_secret_setting_is_never_shown(site: Site, yaml: Yaml) -> None:
    site.install("vault", GOOD.replace("fields.String()", "fields.Integer(metadata={'secret': True})"))
    path = yaml("vault: {path: hunter2, other: 1}")
    with pytest.raises(ConfigError) as caught:
        load_all(path, node="hv1")
    assert "hunter2" not in str(caught.value)
    assert "found something (not shown: it is a secret); a whole number is allowed" in str(caught.value)
    assert "hunter2" not in repr(load(path, node="hv1"))


def test_faults_of_the_file_and_of_all_plugins_come_together_by_line(site: Site, yaml: Yaml) -> None:
    site.install("good")
    site.install("boom", "raise OSError('x')")
    site.install("new", GOOD + "        api_range = (9, 9)")
    site.install("wrong", HOOKS.format(hook="pvc_vm_started(self, uuid)"))
    site.install("twice")
    site.install("twice", distribution="zz-twice")
    path = yaml(
        "good: {pth: 1}", "boom: {}", "new: {}", "twice: {}", "missing: {}", "wrong: {}", "good: {}",
        more="colour: red\nuse: {compute: goood}\n",
    )  # fmt: skip
    places = [line.partition(": ")[0] for line in faults(path)]
    assert places == [
        "4 plugins.good.pth",
        "5 plugins.boom",
        "6 plugins.new",
        "7 plugins.twice",
        "8 plugins.missing",
        "9 plugins.wrong",
        "10 plugins.good",
        "11 colour",
        "12 use.compute",
    ]


def test_a_plugin_may_not_be_used_for_what_it_is_not(site: Site, yaml: Yaml) -> None:
    site.install("good")
    told = faults(yaml("good: {}", more="use: {compute: good, default_pool: {name: vms, driver: good}}\n"))
    assert told == [
        '5 use.compute: found "good", which brings no compute driver; '
        "a plugin with a compute driver is needed: none is listed",
        '5 use.default_pool.driver: found "good", which brings no storage driver; '
        "a plugin with a storage driver is needed: none is listed",
    ]


def test_custody_gets_what_loads_and_the_faults_beside_it(site: Site, yaml: Yaml) -> None:
    site.install("good")
    site.install("boom", "raise OSError('disk on fire')")
    loaded = load_plugins(load(yaml("boom: {}", "good: {}"), node="hv1"), tolerant=True)
    assert list(loaded.plugins) == ["good"]
    assert [fault.key for fault in loaded.faults] == ["plugins.boom"]
    boom, good = loaded.seen()
    assert (boom.name, boom.state, good.state) == ("boom", "broken", "active")
    assert "OSError: disk on fire" in boom.reason
