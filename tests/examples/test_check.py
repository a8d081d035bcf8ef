"""`pvc plugin check`: a good plugin passes, and each way to be wrong is named."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path

import pytest

from pvc_core.testing.check import main

ROOT = Path(__file__).parents[2]
GOOD = """
    from marshmallow import Schema, fields
    from pvc_core.contracts import *
    from pvc_core.hookspecs import hookimpl

    class Config(Schema):
        path = fields.String(load_default="/tmp")

    class Good(Plugin):
        name = "good"
        config_schema = Config
"""


def check(*argv: str) -> tuple[int, str]:
    out = io.StringIO()
    return main([*argv], out), out.getvalue()


def plugin(tmp_path: Path, module: str, body: str, *, name: str = "good", target: str = "Good") -> str:
    """A distribution in a directory; its module's name is new each time, because Python imports a name once."""
    (tmp_path / "setup.cfg").write_text(f"[options.entry_points]\npvc.plugins =\n    {name} = {module}:{target}\n")
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(body))
    return f"{tmp_path}/"


@pytest.mark.parametrize("path", ["plugins/storage_dir", "docs/examples/pvc-storage-memo"])
def test_our_own_plugins_pass(path: str) -> None:
    code, said = check(str(ROOT / path))
    assert code == 0, said
    assert "ok        importing it is cheap and pure" in said and "FAULT" not in said


def test_an_installed_plugin_is_found_by_its_name() -> None:
    code, said = check("storage_dir")
    assert code == 0 and "pvc-storage-dir" in said


def test_a_plugin_with_no_halves_is_fine(tmp_path: Path) -> None:
    code, said = check(plugin(tmp_path, "check_good", GOOD))
    assert code == 0, said


WRONG = {
    "on import": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "missing module": ("import does_not_exist_at_all", "No module named 'does_not_exist_at_all'"),
    "heavy import": (GOOD + "    import kazoo\n", "it imports kazoo; do that in build_drivers"),
    "ends the process": ("import os; os._exit(3)", "it ended the process with code 3"),
    "starts a thread": (
        GOOD + "    import threading, time\n    threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n",
        "it started 1 threads",
    ),
    "no plugin": ("class Good: pass", "a subclass of pvc_core.contracts.Plugin is needed"),
    "other name": (GOOD + "    Good.name = 'bad'\n", "the class says 'bad', the entry point \"good\""),
    "too new": (GOOD + "    Good.api_range = (7, 9)\n", "its api_range contains 1: it is 7 to 9"),
    "no range": (GOOD + "    Good.api_range = 1\n", "1 is no range"),
    "no schema": (
        GOOD + "    Good.config_schema = dict\n",
        "its config_schema is a marshmallow Schema: it is <class 'dict'>",
    ),
    "build signature": (
        GOOD + "    Good.build_drivers = lambda self: Drivers()\n",
        "the contract is build_drivers(context)",
    ),
    "raises when built": (
        GOOD + "        def __init__(self, config): raise KeyError('x')\n",
        "it is built from its settings: KeyError: 'x'",
    ),
    "drivers raise": (
        GOOD + "        def build_drivers(self, context): raise KeyError('x')\n",
        "its drivers are built: KeyError: 'x'",
    ),
    "half a storage plugin": (
        GOOD
        + """
        @property
        def storage(self):
            class Half(StorageDefinitions):
                capabilities = StorageCapabilities(disk_sources=(File,))
                pool_options = Schema
                def shared(self, options): return False
            return Half()
""",
        "there are storage definitions without a driver",
    ),
    "capabilities": (
        GOOD
        + """
        @property
        def storage(self):
            class Half(StorageDefinitions):
                capabilities = {"clone": True}
                pool_options = Schema
                def shared(self): return False
            return Half()
""",
        "its capabilities must be a StorageCapabilities",
    ),
    "unknown hook": (
        GOOD
        + """
        def build_drivers(self, context):
            class Listener:
                @hookimpl
                def pvc_vm_strated(self, vm): ...
            return Drivers(hooks=Listener())
""",
        "there is no hook pvc_vm_strated; did you mean pvc_vm_started?",
    ),
    "action without a call": (
        GOOD
        + """
        @property
        def actions(self):
            return [Action(name="tidy", help="Tidy up", where="node", schema=Config)]
""",
        '"tidy" is declared, but Drivers.actions lacks it',
    ),
    "action without a schema": (
        GOOD
        + """
        @property
        def actions(self):
            return [Action(name="tidy", help="", where="everywhere", schema=dict)]
""",
        "the schema of action 'tidy' is no Schema class",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_each_fault_is_named(tmp_path: Path, wrong: str) -> None:
    body, sentence = WRONG[wrong]
    code, said = check(plugin(tmp_path, f"check_{wrong.replace(' ', '_')}", body))
    assert code == 1, said
    assert sentence in said
    assert "Traceback" not in said


def test_a_driver_that_lacks_a_method_is_named(tmp_path: Path) -> None:
    body = (
        GOOD
        + """
        def build_drivers(self, context):
            class Lame(StorageDriver):
                def ensure_pool(self, pool): ...
            return Drivers(storage=Lame())
"""
    )
    code, said = check(plugin(tmp_path, "check_lame", body))
    assert code == 1 and "abstract" in said and "attach" in said


def test_a_driver_with_another_signature_is_named(tmp_path: Path) -> None:
    body = (
        GOOD
        + """
        def build_drivers(self, context):
            from pvc_core.testing.storage import FakeStorage, FakeStorageWorld
            class Other(FakeStorage):
                def attach(self, pool, volume): ...
            return Drivers(storage=Other(FakeStorageWorld(), "hv1"))
"""
    )
    code, said = check(plugin(tmp_path, "check_other", body))
    assert code == 1 and "Other.attach(pool, volume) cannot be called" in said


def test_required_settings_are_asked_for(tmp_path: Path) -> None:
    body = GOOD.replace('fields.String(load_default="/tmp")', "fields.String(required=True)")
    path = plugin(tmp_path, "check_required", body)
    code, said = check(path)
    assert code == 0 and "it has no defaults for path; give them as KEY=VALUE" in said
    code, said = check(path, "path=/srv")
    assert code == 0 and "ok        it is built from its settings" in said
    code, said = check(path, "path=5")
    assert code == 1 and "its settings load" in said


def test_what_cannot_be_built_on_this_machine_is_left_out(tmp_path: Path) -> None:
    body = (
        GOOD
        + """
        def build_drivers(self, context):
            from pvc_core.errors import Permanent
            raise Permanent("there is no tape robot here")
"""
    )
    code, said = check(plugin(tmp_path, "check_robot", body))
    assert code == 0 and "left out  its drivers" in said and "no tape robot" in said


@pytest.mark.parametrize("argv", [[], ["no-such-plugin"], ["--help"], ["/no/such/directory"], ["storage_dir", "junk"]])
def test_nothing_to_ask_is_exit_code_2(argv: list[str]) -> None:
    code, said = check(*argv)
    assert code == 2 and said


def test_pyproject_is_read_too(tmp_path: Path) -> None:
    plugin(tmp_path, "check_toml", GOOD)
    (tmp_path / "setup.cfg").unlink()
    (tmp_path / "pyproject.toml").write_text('[project.entry-points."pvc.plugins"]\ngood = "check_toml:Good"\n')
    code, said = check(f"{tmp_path}/")
    assert code == 0, said
