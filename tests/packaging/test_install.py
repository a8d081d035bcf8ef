"""Every distribution installs by itself; `pvc-core[default]` brings the bundle. Real wheels in clean virtualenvs."""

from __future__ import annotations

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
CONSTRAINTS = ROOT / "script" / "constraints.txt"


def run(*argv: str | Path) -> str:
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built one by one from copies, so that nothing is left in the tree."""
    target = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, *PLUGINS):
        copy = tmp_path_factory.mktemp("source")
        names = run("git", "-C", source, "ls-files", "--cached", "--others", "--exclude-standard", ".").split("\n")
        for name in filter(None, names):
            if (source / name).is_file() and not (source == ROOT and name.startswith(("plugins/", "tests/", "lab/"))):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                (copy / name).write_bytes((source / name).read_bytes())
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", target, copy)
    return target


def venv(where: Path, wheels: Path, *requirements: str) -> Path:
    run("/usr/bin/python3", "-m", "venv", where)
    run(where / "bin/pip", "install", "-q", "-c", CONSTRAINTS, "--find-links", wheels, *requirements)
    run(where / "bin/pip", "check")
    return where / "bin"


def test_the_default_bundle_brings_all_programs(tmp_path: Path, wheels: Path) -> None:
    bin = venv(tmp_path / "venv", wheels, "pvc-core[default]")
    for program in ("pvcnoded", "pvcapid", "pvcguard", "pvcstored", "pvc"):
        assert "usage" in run(bin / program, "--help").lower()
    config = tmp_path / "pvc.yaml"
    config.write_text((ROOT / "docs/pvc.yaml").read_text())
    assert "compute_libvirt" in run(bin / "pvcnoded", "--check", "--config", config, "--node", "hv1")


def test_the_command_line_installs_alone_and_brings_nothing_of_the_daemons(tmp_path: Path, wheels: Path) -> None:
    bin = venv(tmp_path / "venv", wheels, "pvc-cli")
    assert "usage" in run(bin / "pvc", "--help").lower()
    installed = run(bin / "pip", "list", "--format=freeze").lower()
    assert not [name for name in ("pvc-core", "kazoo", "libvirt-python") if name in installed]


@pytest.mark.parametrize("plugin", [path.name for path in PLUGINS if path.name not in ("cli", "net_common")])
def test_a_plugin_names_itself_everywhere_alike(plugin: str) -> None:
    parser = ConfigParser()
    parser.read(ROOT / "plugins" / plugin / "setup.cfg")
    assert parser["metadata"]["name"] == f"pvc-{plugin.replace('_', '-')}"
    assert parser["options.entry_points"]["pvc.plugins"].strip().startswith(f"{plugin} = pvc_{plugin}.")
    assert "pvc-core" in parser["options"]["install_requires"]
    assert (ROOT / "plugins" / plugin / f"pvc_{plugin}" / "__init__.py").is_file()
