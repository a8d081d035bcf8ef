"""A third party's plugin, from its files to its conformance report: built, installed and tested as its author would."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from pvc_cli import skeleton

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "pvc-storage-memo"
TEMPLATE = ROOT / "plugins" / "cli" / "pvc_cli" / "skeletons" / "storage"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["storage_memo", "fast_tape"])
def test_a_strangers_plugin_is_built_installed_and_passes(tmp_path: Path, name: str) -> None:
    """The example as it stands, and a skeleton fresh from `pvc plugin new`."""
    source = tmp_path / "source"
    if name == "storage_memo":
        shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    else:
        skeleton.make("storage", name, source)
    python = virtual_environment(tmp_path / "venv")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path / "dist"), str(source)])
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run([*pip, "--python", python, "install", "--no-deps", "--no-index", str(wheel)])
    shutil.copytree(source / "tests", tmp_path / "tests")  # away from the source: what is tested is what was installed

    checked = run([python, "-m", "pvc_core.testing.check", name], cwd=tmp_path)
    assert "ok        its storage halves fit each other" in checked

    tests = ["-p", "no:pvc", "-p", "pvc_core.testing.pytest_plugin", "-p", "no:cacheprovider", "-q", "tests"]
    report = run([python, "-m", "pytest", *tests], cwd=tmp_path)
    assert " passed" in report and "failed" not in report
    assert "conformance of tests/test_conformance.py" in report
    assert any(line.startswith("core ") and " ok, " in line for line in report.splitlines())


def test_the_template_is_the_example(tmp_path: Path) -> None:
    """One source: whoever changes the example changes the template too."""
    words = {"storage_memo": "storage_example", "storage-memo": "storage-example", "StorageMemo": "StorageExample"}
    skeleton.copy(EXAMPLE, tmp_path / "expected", words)
    assert files(TEMPLATE) == files(tmp_path / "expected")


def files(root: Path) -> dict[str, str]:
    left_out = {"__pycache__", ".pytest_cache", "build", "dist"}
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not left_out & set(path.relative_to(root).parts) and ".egg-info" not in str(path)
    }


def virtual_environment(path: Path) -> str:
    """One of its own that sees our libraries and pvc-core: a .pth stands for installing them from a registry."""
    venv.create(path, with_pip=False, symlinks=True)
    python = path / "bin" / "python"
    target = next((path / "lib").glob("python3*/site-packages"))
    ours = [*site.getsitepackages(), str(ROOT)]
    lines = [f"import site; site.addsitedir({directory!r})" for directory in ours]
    (target / "pvc-core.pth").write_text("\n".join(lines) + "\n")
    return str(python)


def run(argv: list[str], cwd: Path | None = None) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
