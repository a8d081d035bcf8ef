"""Real distributions made on the spot: a module and a .dist-info with an entry point in a directory on sys.path."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path

GOOD = """
    from marshmallow import Schema, fields
    from pvc_core.contracts import Plugin

    class Settings(Schema):
        path = fields.String()

    class Good(Plugin):
        name = "{name}"
        config_schema = Settings
"""

HOOKS = """
    from marshmallow import Schema
    from pvc_core.contracts import Plugin
    from pvc_core.hookspecs import hookimpl

    class Good(Plugin):
        name = "{{name}}"
        config_schema = Schema

    class Listener:
        @hookimpl
        def {hook}: ...
"""

STORAGE = """
    from marshmallow import Schema
    from pvc_core.contracts import Action, Block, File, Plugin, StorageCapabilities, StorageDefinitions

    class Definitions(StorageDefinitions):
        capabilities = StorageCapabilities(disk_sources=(File, Block), clone=True)
        pool_options = Schema

        def shared(self, options):
            return False

    class Good(Plugin):
        name = "{name}"
        config_schema = Schema
        actions = (Action(name="scrub", help="Read everything once.", where="node", schema=Schema),)

        @property
        def storage(self):
            return Definitions()

        def build_frontend(self, context, services):
            return None
"""

COMPUTE = """
    from marshmallow import Schema
    from pvc_core.contracts import ComputeCapabilities, ComputeDefinitions, File, Plugin

    class Definitions(ComputeDefinitions):
        capabilities = ComputeCapabilities(disk_sources=(File,), nic_targets=())

    Definitions.__abstractmethods__ = frozenset()

    class Good(Plugin):
        name = "{name}"
        config_schema = Schema

        @property
        def compute(self):
            return Definitions()
"""


class Site:
    """A directory of installed distributions; `close` takes it and the modules out of this process again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.modules: set[str] = set()
        sys.path.insert(0, str(directory))

    def install(
        self, name: str, code: str = GOOD, *, cls: str = "Good", version: str = "1.0", distribution: str | None = None
    ) -> None:
        """`code` becomes the module of entry point `name`; "{name}" in it is filled in."""
        distribution = distribution or "pvc-" + name.replace("_", "-")
        module = f"site_{distribution.replace('-', '_')}"
        (self.directory / f"{module}.py").write_text(textwrap.dedent(code).replace("{name}", name))
        info = self.directory / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[pvc.plugins]\n{name} = {module}:{cls}\n")
        self.modules.add(module)

    def remove(self, name: str, *, version: str) -> None:
        """What pip uninstall leaves: nothing."""
        shutil.rmtree(self.directory / f"pvc_{name}-{version}.dist-info")

    def close(self) -> None:
        sys.path.remove(str(self.directory))
        for module in self.modules:
            sys.modules.pop(module, None)
