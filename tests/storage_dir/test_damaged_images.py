"""What contracts/images.py says of images that were cut off, and of those that only look so, by the real qemu-img."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pvc_core.contracts.images import check_argv, cut_off, damage, format_of, raw_fault
from pvc_core.testing.storage_rig import pattern

MIB = 1024**2
_AS = {
    "qcow2": [],
    "compressed": ["-c"],
    "old": ["-o", "compat=0.10"],
    "vmdk": [],
    "stream": ["-o", "subformat=streamOptimized"],
    "vdi": [],
    "static": ["-o", "static=on"],
    "vpc": ["-o", "force_size=on"],
    "qed": [],
}
_FORMAT = {"compressed": "qcow2", "old": "qcow2", "stream": "vmdk", "static": "vdi"}


def image(where: Path, kind: str, data: bytes) -> Path:
    raw, made = where / "raw", where / "image"
    raw.write_bytes(data)
    argv = ["qemu-img", "convert", "-f", "raw", "-O", _FORMAT.get(kind, kind), *_AS[kind], str(raw), str(made)]
    subprocess.run(argv, check=True)
    return made


def info(path: Path, image_format: str) -> dict[str, Any]:
    argv = ["qemu-img", "info", "--output=json", "-f", image_format, str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return found


def fault(path: Path, image_format: str) -> str:
    code = subprocess.run(check_argv(image_format, str(path))).returncode
    return damage(code, info(path, image_format)) or cut_off(path.read_bytes()[:1024], path.stat().st_size)


@pytest.mark.parametrize("kind", _AS)
@pytest.mark.parametrize("content", ["full", "half empty", "empty"])
def test_a_whole_image_is_taken(tmp_path: Path, kind: str, content: str) -> None:
    data = {
        "full": pattern(1, 5 * MIB + 512),
        "half empty": pattern(1, 2 * MIB) + bytes(3 * MIB),
        "empty": bytes(5 * MIB),
    }
    made = image(tmp_path, kind, data[content])
    assert fault(made, _FORMAT.get(kind, kind)) == ""
    assert format_of(made.read_bytes()[:1024]) == _FORMAT.get(kind, kind)


@pytest.mark.parametrize("kind", ["qcow2", "compressed", "old", "vmdk", "stream", "vdi", "static", "qed"])
@pytest.mark.parametrize("part", [0.3, 0.6])
def test_one_that_is_cut_off_is_not(tmp_path: Path, kind: str, part: float) -> None:
    made = image(tmp_path, kind, pattern(1, 5 * MIB))
    os.truncate(made, int(made.stat().st_size * part))
    assert "cut off" in fault(made, _FORMAT.get(kind, kind))


def test_one_that_was_not_closed_is_taken(tmp_path: Path) -> None:
    """Its counts of references are wrong, which QEMU knows; its data are all there."""
    made = tmp_path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", str(made), "4M"], check=True)
    commands = ["-c", "write -P 7 0 1M", "-c", "flush", "-c", "abort"]
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, str(made)], capture_output=True)
    assert info(made, "qcow2")["dirty-flag"] and fault(made, "qcow2") == ""


def test_a_check_that_was_killed_says_nothing_of_damage() -> None:
    assert damage(-24, {}) == "looking at it took too long or too much memory"


def test_a_disk_with_a_boot_sector_is_raw() -> None:
    assert raw_fault(b"\xeb\x63\x90" + bytes(507) + b"\x55\xaa" + bytes(512)) == ("", "")
    assert raw_fault(b"short") == ("", "") and raw_fault(b"") == ("", "")
