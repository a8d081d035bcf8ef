"""Every bench runs, with tiny sizes, and prints its tables. No time is asserted: a bench never fails on one."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHES = sorted(path.stem for path in (ROOT / "bench").glob("[a-z]*.py"))

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Labs of this test live below its own directory, and none outlives it."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    monkeypatch.setenv("PVC_LAB_DIR", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []


def run(name: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert importlib.import_module(f"bench.{name}").main(arguments) == 0
    return capsys.readouterr().out


def test_start(labs: None, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("start", capsys, "--rounds", "2")
    assert re.search(r"2 rounds\..*\nPVC costs -?[0-9.]+ ms on top of bare libvirt", printed)
    assert "pvc: permit written" in printed


def test_memory(labs: None, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("memory", capsys, "--vms", "5")
    for daemon in ("pvcnoded", "pvcapid", "pvcguard", "pvcstored"):
        cells = re.search(rf"^\| {daemon} +\|(.*)\|$", printed, re.MULTILINE)
        assert cells is not None
        assert all(5 < float(cell) < 500 for cell in cells.group(1).split("|"))


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("lists", capsys, "--vms", "0", "30", "--calls", "3")
    assert "Requests to the store: 0;" in printed
    assert re.search(r"^\| 30 VMs +\|", printed, re.MULTILINE)


def test_requests(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("requests", capsys, "--vms", "20", "--clients", "1", "4", "--seconds", "0.3")
    assert re.search(r"^\| GET /vm +\| +4 \| +[1-9]", printed, re.MULTILINE) and "PSS of pvcapid" in printed


def test_cli(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("cli", capsys, "--vms", "2", "--rounds", "1")
    assert re.search(r"^\| pvc vm list +\| +[1-9]", printed, re.MULTILINE)


def test_store(capsys: pytest.CaptureFixture[str]) -> None:
    assert "put to event in another client p50" in run("store", capsys)


def test_each_bench_has_a_test_here() -> None:
    assert [name for name in BENCHES if f"test_{name}" not in globals()] == []


@pytest.mark.parametrize("name", BENCHES)
def test_each_bench_has_its_figures_in_the_docs(name: str) -> None:
    assert f"`script/bench {name}`" in (ROOT / "docs/benchmarks.md").read_text()


def test_scale(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"--nodes": 2, "--vms": 4, "--api-nodes": 1, "--api-vms": 2, "--writes": 5, "--over": 2, "--settle": 6}
    printed = run("scale", capsys, *(str(word) for pair in sizes.items() for word in pair))
    assert "every view current" in printed and re.search(r"^\| GET /status +\|", printed, re.MULTILINE)


def test_flush(labs: None, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("flush", capsys, "--guests", "2", "--parallel", "2", "--rounds", "1")
    assert "2 at once" in printed and "flush p50" in printed


def test_migrate(labs: None, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("migrate", capsys, "--rounds", "1", "--pings", "0")
    stood_still = printed.split("the guest stood still, ms")[1]
    found = re.findall(r"^\| (?:PVC|libvirt): [^|]+\| +([0-9.]+) \|", stood_still, re.MULTILINE)
    assert len(found) == 3 and all(10 < float(cell) < 60_000 for cell in found)


def test_failover(labs: None, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("failover", capsys, "--rounds", "1", "--profiles", "fast")
    for step in ("given up", "agreed", "proved", "let go", "running", "executes"):
        assert re.search(rf"^\| {step} +\| +[0-9.]+ ", printed, re.MULTILINE), printed


def test_ceph(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("ceph", capsys, "--rounds", "1", "--volumes", "3")
    assert "clone (thin)" in printed and "upload qcow2" in printed and "list of 3" in printed


def test_networks(capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    sizes = {"--networks": 1, "--rules": 20, "--leases": 20, "--cut": 1}
    printed = run("networks", capsys, *(str(word) for pair in sizes.items() for word in pair))
    assert "DHCP: 20 of 20" in printed
    assert re.search(r"^\| 20 rules loaded +\| +[0-9]+ \|", printed, re.MULTILINE)
    assert re.search(r"^\| the gateway is handed to the other node +\| +[0-9]+ of", printed, re.MULTILINE)


def test_seen(labs: None, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("seen", capsys, "--writes", "4")
    cells = re.search(r"^\| seen by all +\|(.*)\|$", printed, re.MULTILINE)
    assert cells is not None and all(1 < float(cell) < 30_000 for cell in cells.group(1).split("|"))
