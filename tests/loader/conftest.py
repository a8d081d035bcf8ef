"""A site of temporary distributions, and a pvc.yaml that names plugins in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributions import Site

HEAD = "cluster: {name: c1, coordinators: [hv1]}\nstore: {embedded: {}}\nplugins:\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    directory = tmp_path / "site"
    directory.mkdir()
    site = Site(directory)
    yield site
    site.close()


@pytest.fixture
def yaml(tmp_path: Path) -> Callable[..., Path]:
    """yaml("good: {}", "other: {}", more="use: ..."): the first plugin stands on line 4."""

    def write(*plugins: str, more: str = "") -> Path:
        path = tmp_path / "pvc.yaml"
        path.write_text(HEAD + "".join(f"  {plugin}\n" for plugin in plugins) + more)
        return path

    return write
