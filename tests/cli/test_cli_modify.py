"""Changing a VM: what is shown and asked, what is sent, and that nobody else's change is overwritten."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

NEW = "<domain>\n  <name>vm00001</name>\n</domain>\n"


@pytest.fixture
def running(api: Any) -> Any:
    """The sample VM, whose answer carries a version. Its reply can be changed by the test."""
    reply = api.sample("GET /vm/vm00001")
    reply.headers["ETag"] = '"v7"'
    api.on("GET /vm/vm00001", reply)
    return reply


@pytest.fixture
def new_file(tmp_path: Path) -> str:
    file = tmp_path / "new.xml"
    file.write_text(NEW)
    return str(file)


def put(api: Any) -> Any:
    return api.asked("PUT")[-1]


def test_from_a_file_with_the_version_that_was_read(pvc: Any, api: Any, running: Any, new_file: str) -> None:
    result = pvc("vm", "modify", "vm00001", new_file, typed="y\n")
    assert result.code == 0, result.err
    assert "-    <emulator>/usr/bin/kvm</emulator>\n" in result.out
    assert put(api).form == {"xml": [NEW]}
    assert put(api).query == {"restart": ["false"]}
    assert put(api).headers["if-match"] == '"v7"'


def test_from_standard_input(pvc: Any, api: Any, running: Any) -> None:
    assert pvc("vm", "modify", "-y", "vm00001", "-", typed=NEW).code == 0
    assert put(api).form == {"xml": [NEW]}


def test_nothing_is_written_without_a_yes(pvc: Any, api: Any, running: Any, new_file: str) -> None:
    assert pvc("vm", "modify", "vm00001", new_file, typed="n\n").code == 1
    assert pvc("vm", "modify", "-d", "-r", "vm00001", new_file, typed="n\n").code == 1
    assert api.asked("PUT") == []
    assert pvc("vm", "modify", "-d", "-r", "-c", "vm00001", new_file).code == 0
    assert put(api).query == {"restart": ["true"]}


def test_nothing_is_written_when_nothing_changed(pvc: Any, api: Any, running: Any) -> None:
    xml = running.body[0]["xml"]
    assert "unchanged" in pvc("vm", "modify", "vm00001", "-", typed=xml).out
    assert api.asked("PUT") == []


def test_somebody_else_was_first(pvc: Any, api: Any, running: Any, new_file: str) -> None:
    api.on("PUT /vm/vm00001", type(running)(412, {"message": "The VM is at version 8."}))
    result = pvc("vm", "modify", "-y", "vm00001", new_file)
    assert (result.code, "changed by somebody else" in result.err) == (6, True)


def test_somebody_else_was_first_and_the_api_gives_no_versions(pvc: Any, api: Any, running: Any, new_file: str) -> None:
    other = api.sample("GET /vm/vm00001")
    other.body = [{**other.body[0], "xml": "<domain/>"}]
    api.on("GET /vm/vm00001", api.sample("GET /vm/vm00001"), other)
    result = pvc("vm", "modify", "-y", "vm00001", new_file)
    assert (result.code, api.asked("PUT")) == (6, [])


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "editor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(program))


def test_in_an_editor(pvc: Any, api: Any, running: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, monkeypatch, 'sed -i "s/2048/4096/" "$1"; touch -d "+5 seconds" "$1"')
    result = pvc("--colour", "vm", "modify", "-e", "-y", "vm00001")
    assert result.code == 0, result.err
    assert '\x1b[32m+  <memory unit="MiB">4096</memory>' in result.out
    assert put(api).form["xml"][0] == running.body[0]["xml"].replace("2048", "4096")


def test_what_was_typed_is_not_lost(
    pvc: Any, api: Any, running: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(tmp_path, monkeypatch, 'sed -i "s/2048/4096/" "$1"; touch -d "+5 seconds" "$1"')
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    api.on("PUT /vm/vm00001", type(running)(400, {"message": "Not enough memory."}))
    result = pvc("vm", "modify", "-e", "-y", "vm00001")
    kept = Path(result.err.partition("kept in ")[2].splitlines()[0])
    assert (result.code, "4096" in kept.read_text()) == (1, True)


def test_an_editor_that_is_not_there(pvc: Any, api: Any, running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "/nonexistent/editor")
    monkeypatch.delenv("VISUAL", raising=False)
    result = pvc("vm", "modify", "-e", "vm00001")
    assert (result.code, api.asked("PUT")) == (1, [])
    assert "EDITOR" in result.err


@pytest.mark.parametrize(
    ("options", "typed", "restart"),
    [("-r", "", "true"), ("-R", "", "false"), ("", "y\n", "true"), ("", "n\n", "false"), ("-y", "", "true")],
)
def test_vcpus_of_a_running_vm(pvc: Any, api: Any, running: Any, options: str, typed: str, restart: str) -> None:
    result = pvc("vm", "vcpu", "set", "vm00001", "4", *options.split(), typed=typed)
    assert result.code == 0, result.err
    assert (put(api).path, put(api).query) == ("/vm/vm00001/vcpu", {"restart": [restart]})
    assert put(api).form == {"vcpus": ["4"], "topology": ["1,4,1"]}


def test_memory_of_a_vm_that_is_off_asks_for_no_restart(pvc: Any, api: Any, running: Any) -> None:
    running.body[0]["state"] = "stop"
    assert pvc("vm", "memory", "set", "vm00001", "512").code == 0
    assert put(api).query == {"restart": ["false"]}
    assert (put(api).path, put(api).form) == ("/vm/vm00001/memory", {"memory": ["512"]})


def test_a_restart_nobody_decided_changes_nothing(pvc: Any, api: Any, running: Any) -> None:
    result = pvc("vm", "memory", "set", "vm00001", "512")
    assert (result.code, api.asked("PUT")) == (1, [])
    assert "--restart or --no-restart" in result.err


DEVICE = '<disk type="network"/>'


@pytest.fixture
def modified(api: Any, running: Any) -> None:
    """The API's answer to a change of the definition."""
    for method in ("POST", "DELETE"):
        for kind in ("network", "volume"):
            api.on(f"{method} /vm/vm00001/{kind}", type(running)(200, {"message": "It is modified.", "device": DEVICE}))


def test_a_nic_goes_into_the_definition_and_the_guest(pvc: Any, api: Any, modified: Any) -> None:
    assert pvc("vm", "network", "add", "vm00001", "net77", "-a", "52:54:00:AA:BB:CC").code == 0
    first, second = api.requests[1:]
    assert (first.method, first.path, second.method, second.path) == (
        "POST", "/vm/vm00001/network", "POST", "/vm/vm00001/device",
    )  # fmt: skip
    asked = {"network": "net77", "macaddr": "52:54:00:AA:BB:CC", "model": "virtio", "sriov": "false"}
    assert first.form == {name: [value] for name, value in {**asked, "sriov_mode": "macvtap"}.items()}
    assert second.form == {"xml": [DEVICE]}, "as the API wrote it"


def test_a_disk_goes_into_the_definition_and_the_guest(pvc: Any, api: Any, modified: Any) -> None:
    assert pvc("vm", "volume", "add", "vm00001", "vms/data", "-b", "virtio", "-d", "vdc").code == 0
    first, second = api.requests[1:]
    assert first.form == {"volume": ["vms/data"], "bus": ["virtio"], "disk_id": ["vdc"]}
    assert (second.path, second.form) == ("/vm/vm00001/device", {"xml": [DEVICE]})


def test_a_disk_leaves_the_definition_and_the_guest(pvc: Any, api: Any, modified: Any) -> None:
    assert pvc("vm", "volume", "remove", "vm00001", "vms/vm00001_sda").code == 0
    assert [(r.method, r.path) for r in api.requests[1:]] == [
        ("DELETE", "/vm/vm00001/volume"), ("DELETE", "/vm/vm00001/device"),
    ]  # fmt: skip


def test_only_the_definition(pvc: Any, api: Any, running: Any, modified: Any) -> None:
    assert pvc("vm", "volume", "add", "vm00001", "vms/data", "-L", "-R").code == 0
    assert [r.path for r in api.requests[1:]] == ["/vm/vm00001/volume"]
    running.body[0]["state"] = "stop"
    assert pvc("vm", "volume", "add", "vm00001", "vms/data").code == 0
    assert api.last.path == "/vm/vm00001/volume", "a VM that is off has no running guest to change"


@pytest.mark.parametrize(("volume", "kind"), [("x.iso", "file"), ("/srv/x.iso", "rbd")])
def test_a_volume_is_no_path(pvc: Any, api: Any, running: Any, volume: str, kind: str) -> None:
    assert pvc("vm", "volume", "add", "vm00001", volume, "--type", kind).code == 2
    assert not api.requests


def test_half_a_change_is_said(pvc: Any, api: Any, running: Any, modified: Any) -> None:
    api.on("POST /vm/vm00001/device", type(running)(400, {"message": "No more PCI slots are free."}))
    result = pvc("vm", "volume", "add", "vm00001", "vms/data")
    assert result.code == 1
    assert "takes effect at its next start" in result.err
    assert "No more PCI slots" in result.err
