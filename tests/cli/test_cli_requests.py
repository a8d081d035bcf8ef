"""What each command asks the API: method, path, parameters. And what it does with the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvc_cli.api import Api
from pvc_cli.errors import NoAnswer

REALLY = {"yes-i-really-mean-it": ["yes-i-really-mean-it"]}

CASES: list[tuple[str, str, dict[str, list[str]]]] = [
    ("vm start vm1", "POST /vm/vm1/state", {"state": ["start"]}),
    ("vm start vm1 --force", "POST /vm/vm1/state", {"state": ["start"], "force": ["true"]}),
    ("vm stop vm1 -y", "POST /vm/vm1/state", {"state": ["stop"]}),
    ("vm shutdown vm1 -y --wait", "POST /vm/vm1/state", {"state": ["shutdown"], "wait": ["true"]}),
    ("vm restart vm1 -y -w", "POST /vm/vm1/state", {"state": ["restart"], "wait": ["true"]}),
    ("vm disable vm1 -y --force", "POST /vm/vm1/state", {"state": ["disable"], "force": ["true"]}),
    ("vm undefine vm1 -y", "DELETE /vm/vm1", {"delete_disks": ["false"]}),
    ("vm remove vm1 -y", "DELETE /vm/vm1", {"delete_disks": ["true"]}),
    ("vm rename vm1 vm2 -y", "POST /vm/vm1/rename", {"new_name": ["vm2"]}),
    ("vm tag add vm1 web -p", "POST /vm/vm1/tags", {"action": ["add"], "tag": ["web"], "protected": ["true"]}),
    ("vm tag remove vm1 web", "POST /vm/vm1/tags", {"action": ["remove"], "tag": ["web"]}),
    ("vm move vm1 -t hv2 -w", "POST /vm/vm1/node", {"action": ["move"], "node": ["hv2"], "wait": ["true"]}),
    ("vm migrate vm1 -f --force-live", "POST /vm/vm1/node",
     {"action": ["migrate"], "force": ["true"], "force_live": ["true"]}),
    ("vm unmigrate vm1", "POST /vm/vm1/node", {"action": ["unmigrate"]}),
    ("vm flush-locks vm1", "POST /vm/vm1/locks", {}),
    ("vm meta vm1 -l hv1,hv2 -A -m live", "POST /vm/vm1/meta",
     {"limit": ["hv1,hv2"], "autostart": ["false"], "migration_method": ["live"]}),
    ("vm meta vm1 -P -5", "POST /vm/vm1/meta", {"priority": ["-5"]}),
    ("node flush hv1 -w", "POST /node/hv1/domain-state", {"state": ["flush"], "wait": ["false"]}),
    ("node ready hv1", "POST /node/hv1/domain-state", {"state": ["ready"], "wait": ["false"]}),
    ("node primary hv1 -w", "POST /node/hv1/coordinator-state", {"state": ["primary"]}),
    ("node secondary hv1", "POST /node/hv1/coordinator-state", {"state": ["secondary"]}),
    ("cluster maintenance on", "POST /status", {"state": ["true"]}),
    ("cluster maintenance off", "POST /status", {"state": ["false"]}),
    (
        "cluster maintenance on --for 2h --reason switches",
        "POST /status",
        {"state": ["true"], "for": ["2h"], "reason": ["switches"]},
    ),
    ("cluster fault ack VM_FAILED_X", "PUT /faults/VM_FAILED_X", {}),
    ("key remove robot -y", "DELETE /key/robot", {}),
    ("cluster fault ack-all -y", "PUT /faults", {}),
    ("cluster fault delete VM_FAILED_X", "DELETE /faults/VM_FAILED_X", {}),
    ("cluster fault delete-all -y", "DELETE /faults", {}),
    ("cluster disarm --for 30m", "POST /status", {"state": ["true"], "for": ["30m"]}),
    ("cluster maintenance arm", "POST /status", {"state": ["false"]}),
    ("storage pool add fast 64 -t ssd --driver storage_dir -O path=/x -O shared=true", "POST /storage/ceph/pool",
     {"pool": ["fast"], "pgs": ["64"], "tier": ["ssd"], "replcfg": ["copies=3,mincopies=2"], "driver": ["storage_dir"],
      "option": ["path=/x", "shared=true"]}),
    ("storage pool remove fast -y", "DELETE /storage/ceph/pool/fast", REALLY),
    ("storage pool set-pgs fast 128 -y", "PUT /storage/ceph/pool/fast", {"pgs": ["128"]}),
    ("storage volume add vms root 20G -f", "POST /storage/ceph/volume",
     {"pool": ["vms"], "volume": ["root"], "size": ["20G"], "force": ["true"]}),
    ("storage volume remove vms root -y", "DELETE /storage/ceph/volume/vms/root", {}),
    ("storage volume resize vms root 30G -y", "PUT /storage/ceph/volume/vms/root", {"new_size": ["30G"]}),
    ("storage volume rename vms root r2 -y", "PUT /storage/ceph/volume/vms/root", {"new_name": ["r2"]}),
    ("storage volume clone vms root r2", "POST /storage/ceph/volume/vms/root/clone", {"new_volume": ["r2"]}),
    ("storage volume snapshot add vms root s1", "POST /storage/ceph/snapshot",
     {"pool": ["vms"], "volume": ["root"], "snapshot": ["s1"]}),
    ("storage volume snapshot rename vms root s1 s2", "PUT /storage/ceph/snapshot/vms/root/s1", {"new_name": ["s2"]}),
    ("storage volume snapshot remove vms root s1 -y", "DELETE /storage/ceph/snapshot/vms/root/s1", {}),
    ("storage volume snapshot rollback vms root s1 -y", "POST /storage/ceph/snapshot/vms/root/s1/rollback", {}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "route", "query"), CASES, ids=lambda v: str(v)[:60])
def test_change(pvc: Any, api: Any, line: str, route: str, query: dict[str, list[str]]) -> None:
    result = pvc(*line.split())
    assert result.code == 0, result.err
    assert "It is done." in result.out
    change = next(request for request in api.requests if request.method != "GET")
    assert (f"{change.method} {change.path}", change.query, change.form) == (route, query, {})
    assert change.headers["x-api-key"] == "a-key-nobody-may-see-in-a-list"


LISTS: list[tuple[str, str, dict[str, list[str]]]] = [
    ("vm list ^db -t hv1 -s start -g web -n", "/vm",
     {"limit": ["^db"], "node": ["hv1"], "state": ["start"], "tag": ["web"], "negate": ["true"]}),
    ("node list hv. -ds run -cs primary -vs ready", "/node",
     {"limit": ["hv."], "daemon_state": ["run"], "coordinator_state": ["primary"], "domain_state": ["ready"]}),
    ("storage pool list vm", "/storage/ceph/pool", {"limit": ["vm"]}),
    ("storage volume list vm -p vms", "/storage/ceph/volume", {"limit": ["vm"], "pool": ["vms"]}),
    ("storage volume snapshot list ab -p vms -o root", "/storage/ceph/snapshot",
     {"limit": ["ab"], "pool": ["vms"], "volume": ["root"]}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "path", "query"), LISTS, ids=lambda v: str(v)[:40])
def test_list(pvc: Any, api: Any, line: str, path: str, query: dict[str, list[str]]) -> None:
    assert pvc(*line.split()).code == 0
    assert [(r.method, r.path, r.query) for r in api.requests] == [("GET", path, query)]


MEMORY = [("4096", 4096), ("4G", 4096), ("512m", 512), ("1GiB", 1024), ("2T", 2 << 20)]


@pytest.mark.parametrize(("word", "mib"), MEMORY)
def test_memory_with_a_unit(pvc: Any, api: Any, word: str, mib: int) -> None:
    assert pvc("vm", "memory", "set", "vm00001", word, "-y", "-R").code == 0
    assert api.last.form == {"memory": [str(mib)]}


@pytest.mark.parametrize("word", ["4X", "0", "-1", "1.5G", "", "4 000"])
def test_no_size_of_memory(pvc: Any, api: Any, word: str) -> None:
    result = pvc("vm", "memory", "set", "-y", "--", "vm00001", word)
    assert (result.code, api.requests) == (2, [])
    assert "a number of MiB, or one with a unit, like 4G" in result.err


def test_an_example_to_begin_with(pvc: Any, api: Any, tmp_path: Path) -> None:
    """Each has a UUID of its own, and is a definition as it is (tests/compute holds it against libvirt's plugin)."""
    first, second = pvc("vm", "define", "--example").out, pvc("vm", "define", "--example").out
    assert first != second and api.requests == []
    (tmp_path / "web1.xml").write_text(first)
    assert pvc("vm", "define", str(tmp_path / "web1.xml")).code == 0
    assert api.last.form == {"xml": [first]}


def test_define_sends_the_file_as_it_is(pvc: Any, api: Any, tmp_path: Path) -> None:
    xml = "<domain>\r\n  <name>ü &amp; + %41</name>\n</domain>"
    file = tmp_path / "vm.xml"
    file.write_bytes(xml.encode())
    assert pvc("vm", "define", "-t", "hv1", "-g", "a", "-g", "b", "-G", "c", "-a", str(file)).code == 0
    assert api.last.form == {"xml": [xml]}
    assert api.last.query == {
        "node": ["hv1"],
        "selector": ["none"],
        "autostart": ["true"],
        "migration_method": ["none"],
        "migration_max_downtime": ["300"],
        "user_tags": ["a", "b"],
        "protected_tags": ["c"],
    }


def test_a_name_is_quoted_whole(pvc: Any, api: Any) -> None:
    pvc("vm", "info", "a/../b?c d")
    assert api.last.path == "/vm/a/../b?c d"
    assert api.last.query == {}


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_change_the_path_is_refused(pvc: Any, api: Any, name: str) -> None:
    result = pvc("vm", "remove", "-y", name)
    assert (result.code, api.requests) == (1, [])
    assert "a name may not be empty" in result.err


@pytest.mark.parametrize("line", [line for line, _, query in CASES if " -y" in line])
def test_asks_before_it_destroys(pvc: Any, api: Any, line: str) -> None:
    words = [word for word in line.split() if word != "-y"]
    refused = pvc(*words, typed="n\n")
    assert (refused.code, api.requests) == (1, [])
    assert "nothing was changed" in refused.err
    assert pvc(*words).code == 1, "no answer at all is no yes"
    assert pvc(*words, typed="y\n").code == 0
    assert pvc("-u", *words).code == 0
    assert len(api.requests) - len(api.asked("GET")) == 2


@pytest.mark.parametrize(("state", "code"), [("primary", 0), ("secondary", 1)])
def test_is_primary_answers_with_its_exit_code(pvc: Any, api: Any, state: str, code: int) -> None:
    reply = api.sample("GET /node/hv1/coordinator-state")
    reply.body["coordinator_state"] = state
    api.on("GET /node/hv1/coordinator-state", reply)
    assert pvc("node", "is-primary", "hv1").code == code
    assert pvc("node", "is-primary", "gone").code == 3, "could not be asked is not the same as no"


def test_plugin_action(pvc: Any, api: Any) -> None:
    assert pvc("plugin", "run", "storage_ceph", "osd-add", "node=hv1", "device=/dev/sdb", "tag=a", "tag=b").code == 0
    assert (api.last.method, api.last.path) == ("POST", "/plugin/storage_ceph/osd-add")
    assert api.last.form == {"node": ["hv1"], "device": ["/dev/sdb"], "tag": ["a", "b"]}
    assert pvc("plugin", "run", "storage_ceph", "osd-add", "node").code == 2


def test_a_role_that_moves_away_with_the_api_before_it_answered(pvc: Any, api: Any, monkeypatch: Any) -> None:
    """The floating address went, and with it the connection the answer was to come through: it is looked at instead."""
    sample = api.sample("GET /node/hv1/coordinator-state")
    api.on("GET /node/hv1/coordinator-state", type(sample)(200, {"name": "hv1", "coordinator_state": "secondary"}, {}))
    asked = Api._ask

    def lost(self: Api, method: str, path: str, *more: Any) -> Any:
        if method == "POST":
            raise NoAnswer("no answer", sent=True)
        return asked(self, method, path, *more)

    monkeypatch.setattr(Api, "_ask", lost)
    result = pvc("node", "secondary", "hv1")
    assert (result.code, result.out) == (0, "Node hv1 is secondary now.\n"), result.err
