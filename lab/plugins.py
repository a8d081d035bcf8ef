"""Strangers' plugins in a lab (`up --plugin PATH`): installed beside the repository's virtualenv, which stays as it
is.
"""

from __future__ import annotations

import configparser
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import LabError

GROUP = "pvc.plugins"


def install(target: Path, packages: Sequence[str]) -> list[str]:
    """Install `packages` (directories with pyproject.toml, or wheels) into `target`; return the plugins' names.

    Their dependencies must be in the virtualenv already. Raises LabError.
    """
    target.mkdir(exist_ok=True)
    for package in packages:
        path = Path(package).resolve()
        if not path.exists():
            raise LabError(f"--plugin {package}: there is nothing; name a directory with a pyproject.toml, or a wheel")
        # pip must not go on writing when we are killed: `down` would find files again where it had removed them
        pip = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "pip"]
        argv = [*pip, "install", "--quiet", "--no-deps", "--target", str(target), str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"--plugin {package} cannot be installed: {done.stderr.strip()}")
    names = [name for file in target.glob("*.dist-info/entry_points.txt") for name in _names(file)]
    if packages and not names:
        raise LabError(f"there is no entry point of group {GROUP} in {', '.join(packages)}: that is no PVC plugin")
    return sorted(names)


def _names(entry_points: Path) -> list[str]:
    parser = configparser.ConfigParser(delimiters="=")
    parser.read(entry_points)
    return list(parser[GROUP]) if parser.has_section(GROUP) else []
