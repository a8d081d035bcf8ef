"""What each command prints in each format, held against files in golden/ (GOLDEN=write makes them anew)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click
import pytest

from pvc_cli.output import Output
from pvc_cli.views import vm as vm_view
from pvc_cli.views.cluster import check

GOLDEN = Path(__file__).parent / "golden"

LISTS = {
    "node-list": ("node", "list"),
    "vm-list": ("vm", "list"),
    "tag": ("vm", "tag", "get", "vm00001"),
    "vcpu": ("vm", "vcpu", "get", "vm00001"),
    "memory": ("vm", "memory", "get", "vm00001"),
    "vm-network": ("vm", "network", "get", "vm00001"),
    "vm-volume": ("vm", "volume", "get", "vm00001"),
    "pool": ("storage", "pool", "list"),
    "volume": ("storage", "volume", "list"),
    "snapshot": ("storage", "volume", "snapshot", "list"),
    "task": ("task", "list"),
    "plugin": ("plugin", "list"),
}
INFOS = {"node-info": ("node", "info", "hv1"), "vm-info": ("vm", "info", "vm00001")}


def cases() -> list[Any]:
    found = [(f"{name}.{form}", (*argv, "-f", form)) for name, argv in LISTS.items() for form in ("pretty", "raw")]
    found += [(f"{name}.{form}", (*argv, "-f", form)) for name, argv in INFOS.items() for form in ("pretty", "long")]
    found += [(f"cluster.{form}", ("cluster", "status", "-f", form)) for form in ("pretty", "short")]
    found += [("why", ("vm", "why", "vm00001")), ("plugin-info", ("plugin", "info", "storage_dir"))]
    return [pytest.param(*case, id=case[0]) for case in found]


@pytest.mark.parametrize(("name", "argv"), cases())
def test_text(pvc: Any, name: str, argv: tuple[str, ...]) -> None:
    result = pvc(*argv)
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(result.out)
    assert (result.code, result.err) == (0, "")
    assert result.out == golden.read_text()


WHOLE = {
    ("node", "list"): "GET /node",
    ("vm", "list"): "GET /vm",
    ("vm", "tag", "get", "vm00001"): "GET /vm/vm00001/tags",
    ("cluster", "status"): "GET /status",
    ("storage", "pool", "list"): "GET /storage/ceph/pool",
    ("storage", "volume", "list"): "GET /storage/ceph/volume",
    ("storage", "volume", "snapshot", "list"): "GET /storage/ceph/snapshot",
    ("plugin", "list"): "GET /plugin",
    ("task", "info", "1a2b3c4d"): "GET /tasks/1a2b3c4d (queued)",
}


@pytest.mark.parametrize(("argv", "sample"), WHOLE.items(), ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_json_is_what_the_api_answered(pvc: Any, api: Any, argv: tuple[str, ...], sample: str) -> None:
    body = api.samples[sample]["body"]
    assert pvc(*argv, "-f", "json").out == json.dumps(body) + "\n"
    assert pvc(*argv, "-f", "json-pretty").out == json.dumps(body, indent=2) + "\n"


@pytest.mark.parametrize(
    ("argv", "sample"), [(INFOS["node-info"], "GET /node/hv1"), (INFOS["vm-info"], "GET /vm/vm00001")]
)
def test_json_of_one_object_is_that_object(pvc: Any, api: Any, argv: tuple[str, ...], sample: str) -> None:
    assert json.loads(pvc(*argv, "-f", "json").out) == api.samples[sample]["body"][0]


def test_tasks_are_one_list(pvc: Any) -> None:
    first = json.loads(pvc("cluster", "task", "-f", "json").out)[0]
    assert (first["id"], first["type"], first["worker"]) == ("1a2b3c4d", "active", "hv1")


def test_an_empty_raw_list_prints_nothing(pvc: Any, api: Any) -> None:
    api.on("GET /vm", type(api.sample("GET /vm"))(200, []))
    assert pvc("vm", "list", "-f", "raw").out == ""
    assert pvc("vm", "list").out == "No VM matches.\n"


def test_raw_is_sorted(pvc: Any, api: Any) -> None:
    reply = api.sample("GET /node")
    reply.body = list(reversed(reply.body))
    api.on("GET /node", reply)
    assert pvc("node", "list", "-f", "raw").out == "hv1\nhv2\n"


def test_colours_only_where_wanted(pvc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in pvc("vm", "list").out, "a pipe gets no colours"
    assert "\x1b[32m" in pvc("--colour", "vm", "list").out
    monkeypatch.setenv("PVC_COLOUR", "1")
    assert "\x1b[32m" in pvc("vm", "info", "vm00001").out


def test_control_characters_of_a_description_do_not_reach_the_terminal(pvc: Any, api: Any) -> None:
    reply = api.sample("GET /vm/vm00001")
    reply.body[0]["description"] = "\x1b[2Jgone [bold]x"
    reply.body[0]["name"] = "evil\x07[red]name"
    api.on("GET /vm/vm00001", reply)
    api.on("GET /vm", reply)
    assert "\N{REPLACEMENT CHARACTER}[2Jgone [bold]x" in pvc("vm", "info", "vm00001").out
    assert "evil\N{REPLACEMENT CHARACTER}[red]name" in pvc("vm", "list").out


def test_dump_is_byte_for_byte(pvc: Any, api: Any, tmp_path: Path) -> None:
    reply = api.sample("GET /vm/vm00001")
    reply.body[0]["xml"] = "<domain>\r\n  <!-- ü -->  <name>vm00001</name></domain>"
    api.on("GET /vm/vm00001", reply)
    assert pvc("vm", "dump", "vm00001", "-f", str(tmp_path / "out.xml")).code == 0
    assert (tmp_path / "out.xml").read_bytes() == reply.body[0]["xml"].encode()
    reply.body[0]["xml"] = "<domain/>\n"
    assert pvc("vm", "dump", "vm00001").out == "<domain/>\n"


def test_why_tells_of_a_node_that_does_nothing_about_it() -> None:
    vm = {"status": "running on hv3", "state": "stop", "node": "hv3"}
    stopped = {"name": "hv3", "daemon_state": "stop", "status": "pvcnoded was stopped; guests run on"}
    shown = click.unstyle(vm_view.why(vm, stopped))
    assert "hv3 is in state stop: pvcnoded was stopped; guests run on" in shown
    assert "Its node" not in vm_view.why(vm, {**stopped, "daemon_state": "run"})


def test_why_tells_when_and_why_a_guest_was_last_begun_anew() -> None:
    vm = {"name": "web1", "state": "start", "node": "hv1", "status": "running on hv1"}
    assert "hv2, for a while; `pvc vm unmigrate web1` brings it back" in vm_view.why({**vm, "last_node": "hv2"})
    assert "Migrated" not in vm_view.why({**vm, "last_node": ""})
    assert "Begun anew" not in vm_view.why({**vm, "begun_anew": None})
    shown = click.unstyle(vm_view.why({**vm, "begun_anew": {"at_s": 1e9, "why": "recovered from hv2, which ..."}}))
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1e9))
    assert f"Begun anew:  {at}: recovered from hv2, which ..." in shown


def test_a_check_with_a_long_topic_keeps_its_columns() -> None:
    topics = ("clock", "libvirt patience")
    lines = [{"ok": topic == "clock", "topic": topic, "node": "hv1", "text": "so", "remedy": "do"} for topic in topics]
    shown = check(Output({}), {"lines": lines, "status": "well"}).splitlines()
    assert shown[0].index("hv1:") == shown[1].index("hv1:") == shown[2].index("->") and "patience hv1" in shown[1]
