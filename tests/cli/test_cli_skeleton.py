"""`pvc plugin new` and `pvc plugin check`."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path
from typing import Any

import pytest

from pvc_cli import skeleton


def test_new_makes_a_plugin_of_that_name(pvc_alone: Any, tmp_path: Path) -> None:
    target = tmp_path / "here"
    result = pvc_alone("plugin", "new", "storage", "fast_tape", str(target))
    assert result.code == 0, result.err
    config = configparser.ConfigParser()
    config.read(target / "setup.cfg")
    assert config["metadata"]["name"] == "pvc-fast-tape"
    assert config["options.entry_points"]["pvc.plugins"].strip().startswith("fast_tape = pvc_fast_tape:FastTape")
    assert (target / "pvc_fast_tape" / "__init__.py").is_file()
    for path in target.rglob("*"):
        assert "example" not in path.name
        if path.is_file():
            text = path.read_text()
            assert not {"storage_example", "storage-example", "StorageExample"} & set(text.replace("-", " ").split())
            assert "storage_example" not in text and "storage-example" not in text and "StorageExample" not in text


def test_new_overwrites_nothing(pvc_alone: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    result = pvc_alone("plugin", "new", "storage", "tape", str(tmp_path))
    assert (result.code, "nothing was written" in result.err) == (1, True)
    assert not (tmp_path / "setup.cfg").exists()


@pytest.mark.parametrize("name", ["Tape", "ta-pe", "9a", "a__b", "_a", "a_", "../x", "", "a" * 61])
def test_new_refuses_names_python_or_pip_would(pvc_alone: Any, tmp_path: Path, name: str) -> None:
    result = pvc_alone("plugin", "new", "storage", name, str(tmp_path / "x"))
    assert (result.code, (tmp_path / "x").exists()) == (1, False)


def test_names_are_replaced_in_texts_and_paths(tmp_path: Path) -> None:
    source = tmp_path / "template"
    (source / "pvc_storage_example" / "__pycache__").mkdir(parents=True)
    (source / "pvc_storage_example" / "x.py").write_text(
        "class StorageExample: name = 'storage_example'  # pvc-storage-example"
    )
    skeleton.copy(source, tmp_path / "made", skeleton.words("storage", "my_tape"))
    made = tmp_path / "made" / "pvc_my_tape"
    assert [path.name for path in made.iterdir()] == ["x.py"]
    assert (made / "x.py").read_text() == "class MyTape: name = 'my_tape'  # pvc-my-tape"


def test_check_says_what_is_missing(pvc_alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    result = pvc_alone("plugin", "check", "storage_dir")
    assert (result.code, "pvc-core[testing]" in result.err) == (1, True)
