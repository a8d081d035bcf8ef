"""Bad input to a real node: one clear sentence, a 4xx or an exit code, and the cluster is as it was before."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from lab.guest_xml import mac_of
from tests.lab_fixture import RunningLab
from tests.system.definitions import with_element, xml
from tests.system.talk import FORM, JSON, Request, Talk, Words, everything, run, tracebacks

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

POOL, VOLUME, SNAPSHOT = "/storage/ceph/pool", "/storage/ceph/volume", "/storage/ceph/snapshot"
OFF, ON = "/vm/bad-off", "/vm/bad-on"
AS_FORM = {"Content-Type": FORM}
NEW_UUID = "11111111-2222-3333-4444-555555555555"
MISSING_UUID = "99999999-2222-3333-4444-555555555555"


@dataclass(frozen=True)
class Case:
    id: str
    request: Request
    says: str = ""
    """A regular expression for the message."""
    status: tuple[int, ...] = (400,)


@pytest.fixture(scope="module", autouse=True)
def cluster(lab: RunningLab, talk: Talk) -> Iterator[None]:
    """A VM that is off, one that runs (its disk is empty, it needs no more), a volume with a snapshot, and no debris
    at the end: nothing below may have added anything.
    """
    for volume in ("bad-off", "bad-on", "bad-free"):
        talk.ok(Request(method="POST", path=VOLUME, form={"pool": "vms", "volume": volume, "size": "1M"}))
    talk.ok(Request(method="POST", path=f"{SNAPSHOT}/vms/bad-off/s1"))
    for vm in ("bad-off", "bad-on"):
        talk.ok(Request(method="POST", path="/vm", form={"xml": xml(vm, volume=vm), "user_tags": "there"}))
    talk.ok(Request(method="POST", path=f"{OFF}/tags", form={"action": "add", "tag": "fixed", "protected": "true"}))
    talk.ok(Request(method="POST", path=f"{ON}/state", form={"state": "start", "wait": "true"}))
    lab.eventually(lambda: talk.get(f"{ON}/state")["status"] == "running on hv1", "the guest runs")
    before, restarts = everything(lab, talk), _restarts(lab)
    yield
    assert everything(lab, talk) == before
    assert _restarts(lab) == restarts, "a daemon died of bad input"
    assert tracebacks(lab) == []
    for vm in ("bad-off", "bad-on"):
        lab.remove_guest(vm)
    talk.ok(Request(method="DELETE", path=f"{VOLUME}/vms/bad-free"))


def _restarts(lab: RunningLab) -> dict[str, int]:
    return {name: unit["restarts"] for name, unit in lab.units("hv1").items()}


def refused(lab: RunningLab, talk: Talk, case: Case) -> None:
    before = everything(lab, talk)
    answer = talk.ask(case.request)
    shown = f"{answer.status} {answer.body[:600]!r}"
    assert answer.status in case.status, shown
    said = answer.json
    assert isinstance(said["message"], str | dict) and said["message"], shown
    assert said["code"], shown
    assert b"Traceback" not in answer.body and b'File "' not in answer.body, shown
    assert re.search(case.says, str(said["message"]) + " " + str(said.get("help", "")), re.IGNORECASE), shown
    assert everything(lab, talk) == before


# -- definitions -------------------------------------------------------------------------------------------------------

TAKEN = "bad-off"
DISK = '<disk type="network" device="disk"><source protocol="rbd" name="{}"/><target dev="{}" bus="scsi"/></disk>'
NIC = '<interface type="bridge"><mac address="{}"/><source bridge="{}"/></interface>'
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
)

DEFINITIONS: dict[str, tuple[str, str]] = {
    "not xml": ("hello", "xml"),
    "empty": ("", "xml"),
    "blank": ("  \n ", "xml"),
    "not closed": ("<domain><name>x</name>", "xml"),
    "closed wrongly": ("<domain><name>x</domain></name>", "xml"),
    "two roots": (xml("x") + xml("y"), "xml"),
    "json": ('{"name": "x"}', "xml"),
    "another root": ("<network><name>x</name></network>", "domain"),
    "no name": (xml("x").replace("<name>x</name>", ""), "name"),
    "an empty name": (xml("x").replace("<name>x</name>", "<name/>"), "name"),
    "a slash": (xml("x").replace("<name>x", "<name>a/b"), "name"),
    "dots": (xml("x").replace("<name>x", "<name>.."), "name"),
    "dots inside": (xml("x").replace("<name>x", "<name>a..b"), "name"),
    "a newline": (xml("x").replace("<name>x", "<name>a&#10;b"), "name"),
    "a blank name": (xml("x").replace("<name>x", "<name>   "), "name"),
    "unicode": (xml("x").replace("<name>x", "<name>vm-é"), "name"),
    "right to left": (xml("x").replace("<name>x", "<name>a\u202eb"), "name"),
    "300 characters": (xml("x").replace("<name>x", "<name>" + "a" * 300), "300"),
    "an option": (xml("x").replace("<name>x", "<name>--help"), "name"),
    "name taken": (xml(TAKEN, uuid=NEW_UUID), "exists"),
    "uuid taken": (xml("new", uuid="{off}"), "belongs to"),
    "uuid taken, upper case": (xml("new", uuid="{OFF}"), "belongs to"),
    "no uuid": (xml("new", uuid="hello"), "uuid"),
    "too much memory": (xml("new", memory="99999999"), "largest node"),
    "absurd memory": (xml("new", memory="9" * 40), "memory"),
    "negative memory": (xml("new", memory="-5"), "memory"),
    "no memory": (xml("new", memory=""), "memory"),
    "words for memory": (xml("new", memory="much"), "memory"),
    "memory zero": (xml("new", memory="0"), "memory"),
    "unknown unit": (xml("new").replace('unit="MiB"', 'unit="furlong"'), "unit|furlong"),
    "no vcpus": (xml("new").replace("<vcpu>1", "<vcpu>0"), "vcpu"),
    "negative vcpus": (xml("new").replace("<vcpu>1", "<vcpu>-1"), "vcpu"),
    "words for vcpus": (xml("new").replace("<vcpu>1", "<vcpu>one"), "vcpu"),
    "missing volume": (xml("new", volume="nowhere"), "nowhere"),
    "missing pool": (xml("new", volume="v").replace("vms/v", "nopool/v"), "nopool"),
    "volume of another": (xml("new", volume="bad-off"), "used by VM bad-off"),
    "volume without a pool": (xml("new", volume="v").replace("vms/v", "justname"), "justname"),
    "volume upwards": (xml("new", volume="v").replace("vms/v", "vms/../../etc/shadow"), "volume|name"),
    "volume twice": (with_element(xml("new", volume="bad-free"), DISK.format("vms/bad-free", "sdb")), "twice"),
    "target twice": (with_element(xml("new", volume="bad-free"), DISK.format("vms/bad-free", "sda")), "target sda"),
    "mac twice": (with_element(xml("new"), NIC.format(mac_of("new"), "brupstream")), "MAC"),
    "mac that is none": (with_element(xml("new"), NIC.format("hello", "brupstream")), "mac"),
    "network missing": (with_element(xml("new"), NIC.format("52:54:00:00:00:77", "vmbr99999")), "network"),
    "a file to read": (
        '<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + xml("new").replace("a guest of the lab", "&e;"),
        "doctype|entit",
    ),
    "a bomb": (BOMB + "]>" + xml("new").replace("a guest of the lab", "&j;"), "doctype|entit|xml"),
    "very deep": (with_element(xml("new"), "<a>" * 50_000 + "</a>" * 50_000), "deep|xml"),
    "a control character": (xml("new").replace("a guest", "a \x01 guest"), "xml"),
    "a zero byte": (xml("new").replace("a guest", "a \x00 guest"), "xml"),
}


@pytest.mark.parametrize("id", DEFINITIONS)
def test_a_bad_definition(lab: RunningLab, talk: Talk, id: str) -> None:
    text, says = DEFINITIONS[id]
    off = talk.get(OFF)[0]["uuid"]
    text = text.replace("{off}", off).replace("{OFF}", off.upper())
    refused(lab, talk, Case(id, Request(method="POST", path="/vm", form={"xml": text}), says))


def test_a_definition_for_another_vm(lab: RunningLab, talk: Talk) -> None:
    """PUT: the UUID in the XML belongs to another VM, or to none; or the name does."""
    on = talk.get(ON)[0]["uuid"]
    for text, says in (
        (xml("bad-off", volume="bad-off", uuid=on), "UUID"),
        (xml("bad-off", volume="bad-off", uuid=NEW_UUID), "UUID"),
        (xml("bad-on", volume="bad-off", uuid=""), "called"),
        (xml("bad-off", volume="bad-on"), "used by VM bad-on"),
        (xml("bad-off", volume="nowhere"), "nowhere"),
        (xml("bad-off", memory="99999999"), "largest node"),
        ("<domain", "xml"),
    ):
        refused(lab, talk, Case("put", Request(method="PUT", path=OFF, form={"xml": text}), says, (400, 404)))
    refused(lab, talk, Case("put", Request(method="POST", path="/vm/other", form={"xml": xml("new")}), "other"))


def test_definitions_that_are_too_long(lab: RunningLab, talk: Talk) -> None:
    big = with_element(xml("new"), f"<!-- {'x' * 10_000_000} -->")
    refused(lab, talk, Case("10 MB", Request(method="POST", path="/vm", form={"xml": big}), "", (413,)))
    refused(lab, talk, Case("10 MB", Request(method="POST", path="/vm", json={"xml": big}), "", (413,)))
    for method, path, name in (("POST", "/vm", "new"), ("PUT", OFF, "bad-off")):
        short = len(_json({"xml": with_element(xml(name), "<!--  -->")}))
        text = with_element(xml(name), f"<!-- {'x' * (1024 * 1024 - short)} -->")
        request = Request(method=method, path=path, body=_json({"xml": text}), headers={"Content-Type": JSON})
        refused(lab, talk, Case("fits the request, not the store", request, "", (400, 413)))


def _json(words: dict[str, str]) -> bytes:
    return msgspec.json.encode(words)


# -- names -------------------------------------------------------------------------------------------------------------

NAMES = (
    "a/b",
    "../x",
    "..",
    ".",
    "a b",
    "a\nb",
    "é",
    "\u202e",
    "",
    " ",
    "x" * 300,
    "-x",
    "a%b",
    "a\x00b",
    "*",
    "'; --",
)


def _quoted(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode())


def _named(name: str) -> Iterator[Request]:
    """Every request that makes something of this name, or looks for it."""
    quoted = _quoted(name)
    yield Request(method="POST", path=VOLUME, form={"pool": "vms", "volume": name, "size": "1M"})
    yield Request(method="POST", path=POOL, form={"pool": name})
    yield Request(method="POST", path=SNAPSHOT, form={"pool": "vms", "volume": "bad-off", "snapshot": name})
    yield Request(method="POST", path=f"{OFF}/tags", form={"action": "add", "tag": name})
    yield Request(method="POST", path=f"{OFF}/rename", form={"new_name": name})
    yield Request(method="PUT", path=f"{VOLUME}/vms/bad-free", form={"new_name": name})
    yield Request(method="POST", path=f"{VOLUME}/vms/bad-free/clone", form={"new_volume": name})
    yield Request(method="PUT", path=f"{SNAPSHOT}/vms/bad-off/s1", form={"new_name": name})
    yield Request(method="POST", path="/vm", form={"xml": xml("new"), "user_tags": name or "a/b"})
    yield Request(method="POST", path="/vm", form={"xml": xml("new"), "node": name or "no"})
    if not name:
        return
    yield Request(path=f"/vm/{quoted}")
    yield Request(method="DELETE", path=f"/vm/{quoted}")
    yield Request(method="POST", path=f"/vm/{quoted}/state", form={"state": "start"})
    yield Request(method="POST", path=f"{POOL}/{quoted}")
    yield Request(method="DELETE", path=f"{POOL}/{quoted}", query={"yes-i-really-mean-it": "yes"})
    yield Request(method="POST", path=f"{VOLUME}/vms/{quoted}", form={"size": "1M"})
    yield Request(method="DELETE", path=f"{VOLUME}/vms/{quoted}")
    yield Request(method="POST", path=f"{VOLUME}/{quoted}/v", form={"size": "1M"})
    yield Request(method="POST", path=f"{VOLUME}/{quoted}/v/upload", query={"image_format": "raw"}, body=b"x")
    yield Request(path=f"{VOLUME}/vms/{quoted}/export")
    yield Request(method="POST", path=f"{SNAPSHOT}/vms/bad-off/{quoted}")
    yield Request(method="DELETE", path=f"{SNAPSHOT}/vms/bad-off/{quoted}")
    yield Request(path=f"/node/{quoted}")
    yield Request(path=f"/tasks/{quoted}")
    yield Request(method="POST", path=f"/plugin/{quoted}/{quoted}")


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_a_bad_name(lab: RunningLab, talk: Talk, name: str) -> None:
    before = everything(lab, talk)
    for request in _named(name):
        answer = talk.ask(request)
        shown = f"{request.method} {request.path} {request.form}: {answer.status} {answer.body[:400]!r}"
        assert answer.status in (400, 404, 405), shown
        assert answer.json["message"], shown
    assert everything(lab, talk) == before


# -- everything else ---------------------------------------------------------------------------------------------------


def _volume(**words: object) -> Request:
    return Request(method="POST", path=VOLUME, form={"pool": "vms", "volume": "new", **words})


def _post(path: str, form: Words, **more: Any) -> Request:
    return Request(method="POST", path=path, form=form, **more)


def _put(path: str, form: Words, **more: Any) -> Request:
    return Request(method="PUT", path=path, form=form, **more)


def _upload(volume: str, query: Words, body: bytes) -> Request:
    return Request(method="POST", path=f"{VOLUME}/vms/{volume}/upload", query=query, body=body)


def _list(limit: str, path: str = "/vm") -> Request:
    return Request(path=path, query={"limit": limit})


def _json_body(text: bytes | str) -> Request:
    body = text.encode() if isinstance(text, str) else text
    return Request(method="POST", path=VOLUME, body=body, headers={"Content-Type": JSON})


def _state(vm: str, state: str) -> Request:
    return Request(method="POST", path=f"{vm}/state", form={"state": state})


CASES = [
    # sizes
    Case("larger than the file system", _volume(size="900T"), "fit"),
    Case("larger, with force", _volume(size="900T", force="true"), "fit"),
    Case("as large as can be said", _volume(size="4E"), "size|fit"),
    Case("absurd size", _volume(size="9" * 30), "size"),
    Case("size 10X", _volume(size="10X"), "size"),
    Case("size -1G", _volume(size="-1G"), "size"),
    Case("size 0", _volume(size="0"), "size"),
    Case("size 1.5G", _volume(size="1.5G"), "size"),
    Case("size in words", _volume(size="big"), "size"),
    Case("size empty", _volume(size=""), "size"),
    Case("no size", _volume(), "size"),
    Case("two sizes", _volume(size=["1M", "2M"]), "size"),
    Case("shrink", _put(f"{VOLUME}/vms/bad-free", {"new_size": "1K"}), "smaller"),
    Case("shrink in use", _put(f"{VOLUME}/vms/bad-on", {"new_size": "1K"}), "smaller"),
    Case("grow too far", _put(f"{VOLUME}/vms/bad-free", {"new_size": "900T"}), "fit"),
    Case("grow in use too far", _put(f"{VOLUME}/vms/bad-on", {"new_size": "900T"}), "fit"),
    Case("both changes", _put(f"{VOLUME}/vms/bad-free", {"new_size": "2M", "new_name": "n"})),
    Case("no change", Request(method="PUT", path=f"{VOLUME}/vms/bad-free")),
    # what is there already, or is not
    Case("volume there already", _volume(volume="bad-free", size="1M"), "exists"),
    Case("pool there already", _post(POOL, {"pool": "vms"}), "exists"),
    Case("snapshot there already", Request(method="POST", path=f"{SNAPSHOT}/vms/bad-off/s1"), "already"),
    Case("tag there already", _post(f"{OFF}/tags", {"action": "add", "tag": "there"})),
    Case("tag not there", _post(f"{OFF}/tags", {"action": "remove", "tag": "no"}), "no tag"),
    Case("protected tag", _post(f"{OFF}/tags", {"action": "remove", "tag": "fixed"}), "prot"),
    Case("volume in no pool", _volume(pool="nopool", size="1M"), "nopool", (400, 404)),
    Case("no such driver", _post(POOL, {"pool": "p", "driver": "tape"}), "tape"),
    Case("no such option", _post(POOL, {"pool": "p", "option": "speed=9"}), "speed"),
    Case("option that is none", _post(POOL, {"pool": "p", "option": "speed"})),
    Case("wrong option", _post(POOL, {"pool": "p", "option": "format=tape"}), "format"),
    Case("clone of nothing", _post(f"{VOLUME}/vms/no/clone", {"new_volume": "n"}), "", (404,)),
    Case("clone onto another", _post(f"{VOLUME}/vms/bad-free/clone", {"new_volume": "bad-on"})),
    Case("rename onto another", _put(f"{VOLUME}/vms/bad-free", {"new_name": "bad-on"})),
    Case("rename VM onto another", _post(f"{OFF}/rename", {"new_name": "bad-on"}), "exists"),
    Case("no VM", Request(path="/vm/nobody"), "nobody", (404,)),
    Case("start nobody", _state("/vm/nobody", "start"), "nobody"),
    Case("no VM of that UUID", Request(path=f"/vm/{MISSING_UUID}"), "", (404,)),
    Case("rollback to nothing", Request(method="POST", path=f"{SNAPSHOT}/vms/bad-off/no/rollback"), "no", (404,)),
    Case("unknown task", Request(path="/tasks/deadbeef"), "deadbeef", (404,)),
    Case("unknown node", Request(path="/node/hv9"), "hv9", (404,)),
    Case("unknown plugin", Request(method="POST", path="/plugin/nope/run"), "nope", (404,)),
    Case("unknown action", Request(method="POST", path="/plugin/storage_dir/nope"), "nope", (404,)),
    Case("unknown path", Request(path="/vms"), "", (404,)),
    # what is in use
    Case("remove a volume in use", Request(method="DELETE", path=f"{VOLUME}/vms/bad-on"), "used by VM bad-on"),
    Case("remove a volume of a VM that is off", Request(method="DELETE", path=f"{VOLUME}/vms/bad-off"), "used by"),
    Case("rename a volume in use", _put(f"{VOLUME}/vms/bad-on", {"new_name": "n"}), "used"),
    Case("snapshot in use", Request(method="POST", path=f"{SNAPSHOT}/vms/bad-on/s1"), "shut"),
    Case("clone in use", _post(f"{VOLUME}/vms/bad-on/clone", {"new_volume": "n"})),
    Case("upload in use", _upload("bad-on", {"image_format": "raw"}, b"x" * 4096), "bad-on"),
    Case("remove the pool in use",
        Request(method="DELETE", path=f"{POOL}/vms", query={"yes-i-really-mean-it": "yes"}), "used"),
    Case("remove a pool, unsure", Request(method="DELETE", path=f"{POOL}/vms"), "confirm"),
    Case("rename a VM that runs", _post(f"{ON}/rename", {"new_name": "n"}), "off"),
    Case("locks of a VM that runs", Request(method="POST", path=f"{ON}/locks"), "off"),
    # states
    Case("no state", Request(method="POST", path=f"{OFF}/state"), "state"),
    Case("unknown state", _state(OFF, "explode"), "state"),
    Case("shut down what is off", _state(OFF, "shutdown"), "state"),
    Case("restart what is off", _state(OFF, "restart"), "state"),
    Case("a wait that is none", _post(f"{ON}/state", {"state": "stop", "wait": "perhaps"})),
    Case("move on one node", _post(f"{ON}/node", {"action": "migrate"}), "only node", (400, 501)),
    # devices
    Case("device into what is off", _post(f"{OFF}/device", {"xml": "<disk/>"}), "not run"),
    Case("device that is no XML", _post(f"{ON}/device", {"xml": "<disk"}), "xml"),
    Case("device of no kind", _post(f"{ON}/device", {"xml": "<teapot/>"})),
    Case("device: two", _post(f"{ON}/device", {"xml": "<disk/><disk/>"})),
    Case("no device", Request(method="POST", path=f"{ON}/device"), "xml"),
    # images
    Case("unknown format", _upload("bad-free", {"image_format": "exe"}, b"x"), "format"),
    Case("no format", _upload("bad-free", {}, b"x"), "format"),
    Case("image larger than the volume",
        _upload("bad-free", {"image_format": "raw"}, b"x" * 3_000_000), "large|fit|more|big"),
    Case("qcow2 that is none", _upload("bad-free", {"image_format": "qcow2"}, b"not an image" * 400), "qcow2|image"),
    Case("announced less", _upload("bad-free", {"image_format": "raw", "file_size": "10"}, b"x" * 4096)),
    Case("announced more", _upload("bad-free", {"image_format": "raw", "file_size": "9000"}, b"x" * 4096)),
    Case("export of no snapshot",
        Request(path=f"{VOLUME}/vms/bad-off/export", query={"snapshot": "no"}), "", (400, 404)),
    # meta data
    Case("limit to no node", _post(f"{OFF}/meta", {"limit": "hv9"}), "hv9"),
    Case("no such selector", _post(f"{OFF}/meta", {"selector": "luck"}), "selector"),
    Case("no meta", Request(method="POST", path=f"{OFF}/meta")),
    Case("downtime negative", _post(f"{OFF}/meta", {"migration_max_downtime": "-5"})),
    Case("downtime in words", _post(f"{OFF}/meta", {"migration_max_downtime": "soon"})),
    Case("define on no node", _post("/vm", {"xml": xml("new"), "node": "hv9"}), "hv9"),
    Case("define limited to no node", _post("/vm", {"xml": xml("new"), "limit": "hv9"}), "hv9"),
    Case("tag twice", _post("/vm", {"xml": xml("new"), "user_tags": ["a", "a"]}), "twice"),
    # filters
    Case("filter (", _list("("), "regular expression"),
    Case("filter *", _list("*"), "regular expression"),
    Case("filter too long", _list("a" * 257), "257"),
    Case("filter nests", _list("(a+)+$"), "nest|repet"),
    Case("filter nests deeper", _list("((a|b)*c?)*"), "nest|repet"),
    Case("filter counts wildly", _list("a{65000}{65000}")),
    Case("filter looks ahead", _list("(?=a)b")),
    Case("filter with a zero byte", _list("a\x00(")),
    *(Case(f"filter on {path}", _list("(a*)*", path), "nest|repet") for path in (POOL, VOLUME, SNAPSHOT, "/node")),
    Case("state filter", Request(path="/vm", query={"state": "explode"}), "state"),
    Case("console lines", Request(path=f"{ON}/console", query={"lines": "-1"}), "lines"),
    Case("console lines many", Request(path=f"{ON}/console", query={"lines": "1" * 50}), "lines"),
    # bodies
    Case("json of unknown keys",
        Request(method="POST", path=VOLUME, json={"pool": "vms", "volume": "new", "size": "1M", "colour": "red"}),
        "colour"),
    Case("json list", _json_body("[1, 2]"), "object"),
    Case("json text", _json_body('"hello"'), "object"),
    Case("json null", _json_body("null"), "object"),
    Case("json number", _json_body("17"), "object"),
    Case("json broken", _json_body('{"pool": "vms"'), "json"),
    Case("json of bad bytes", _json_body(b'{"pool": "\xff\xfe"}'), "json|utf"),
    Case("json with NaN", _json_body('{"pool": "vms", "volume": "new", "size": NaN}')),
    Case("json very deep", _json_body("[" * 100_000 + "]" * 100_000)),
    Case("json types", _json_body('{"pool": ["vms"], "volume": {"a": 1}, "size": true}')),
    Case("json size as float", _json_body('{"pool": "vms", "volume": "new", "size": 1.5}'), "size"),
    Case("json size negative", _json_body('{"pool": "vms", "volume": "new", "size": -1048576}'), "size"),
    Case("json key twice", _json_body('{"pool": "vms", "volume": "new", "volume": "new2", "size": "1X"}')),
    Case("two places, two values",
        Request(method="POST", path=VOLUME, query={"size": "1M"}, form={"pool": "vms", "volume": "new",
        "size": "2M"}), "size"),
    Case("another kind of body",
        Request(method="POST", path=VOLUME, body=b"<pool/>", headers={"Content-Type": "text/xml"}), "", (415,)),
    Case("no kind of body", Request(method="POST", path=VOLUME, body=b"pool=vms&volume=new&size=1M"), "", (415,)),
    Case("a form for an upload without a file", Request(
        method="POST", path=f"{VOLUME}/vms/bad-free/upload", query={"image_format": "raw"}, body=b"--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"})),
    Case("form of bad bytes",
        Request(method="POST", path=VOLUME, body=b"pool=%ff%fe&volume=%00&size=1M", headers=AS_FORM)),
    Case("10 MB of form",
        Request(method="POST", path=VOLUME, body=b"pool=" + b"x" * 10_000_000, headers=AS_FORM), "", (413,)),
    Case("2000 parameters", Request(method="POST", path=VOLUME, query={f"k{i}": "v" for i in range(2000)})),
    # the request itself
    Case("wrong method", Request(method="PATCH", path="/vm"), "", (405,)),
    Case("wrong method here", Request(method="DELETE", path="/vm"), "", (405,)),
    Case("a long path", Request(path="/vm/" + "a" * 5000), "", (400, 404, 414)),
    Case("a path of bad bytes", Request(path="/vm/%ff%fe"), "", (400, 404)),
    Case("a path with %", Request(path="/vm/%zz"), "", (400, 404)),
    Case("a path upwards", Request(path="/../../etc/passwd"), "", (400, 404)),
    Case("a stale ETag",
        _put(OFF, {"xml": xml("bad-off", volume="bad-off")}, headers={"If-Match": '"12345-1.1"'}), "", (412,)),
    Case("an ETag that is none",
        _put(OFF, {"xml": xml("bad-off", volume="bad-off")}, headers={"If-Match": "hello"}), "", (400, 412)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_it_is_refused(lab: RunningLab, talk: Talk, case: Case) -> None:
    refused(lab, talk, case)


@pytest.mark.parametrize("request_", [
    Request(method="EXPLODE", path="/vm"), Request(path="/vm", headers={"X-Long": "x" * 100_000}),
    Request(path="/vm", headers={"X-Long": "x" * 100_000, "Host": "x" * 100_000}), Request(path="/v\x7fm"),
], ids=("no method", "a huge header", "huge headers", "a control character"))  # fmt: skip
def test_what_is_hardly_http(lab: RunningLab, talk: Talk, request_: Request) -> None:
    """Refused before anybody reads it as a request of PVC's: by the status alone, or not answered at all."""
    before = everything(lab, talk)
    try:
        answer = talk.ask(request_)
    except (ConnectionError, http.client.HTTPException, ValueError):
        pass
    else:
        assert 400 <= answer.status < 500 or (answer.status == 200 and request_.headers), answer
    assert everything(lab, talk) == before


OTHER_SCRIPTS = {"Arabic digits": "\u0661\u0660G", "Kelvin sign": "10\u212a"}


@pytest.mark.parametrize("size", OTHER_SCRIPTS.values(), ids=OTHER_SCRIPTS)
def test_sizes_in_other_scripts(lab: RunningLab, talk: Talk, size: str) -> None:
    try:
        refused(lab, talk, Case(size, _volume(volume=f"new-{len(size)}", size=size), "size"))
    finally:
        talk.ask(Request(method="DELETE", path=f"{VOLUME}/vms/new-{len(size)}"))


# -- keys --------------------------------------------------------------------------------------------------------------


def test_without_a_key_or_with_a_wrong_one(lab: RunningLab, talk: Talk) -> None:
    before = everything(lab, talk)
    name, _, secret = lab.api_key.partition(".")
    for key in (  # fewer tries than the API takes from one address in a minute
        None,
        "wrong",
        "lab.wrong",
        f"{name}.{secret[:-1]}",
        f"x{lab.api_key}",
        "x" * 10_000,
        "lab.",
        ".",
        "\xe9",
    ):
        requests = (Request(path="/vm"), Request(method="DELETE", path=OFF), _volume(size="1M"))
        for request in requests if key == "wrong" else requests[:1]:
            answer = Talk(lab, key).ask(request)
            assert answer.status == 401 and answer.json["message"], (key, answer)
    assert everything(lab, talk) == before


def test_a_key_that_may_only_look(lab: RunningLab, talk: Talk) -> None:
    key = lab.exec("hv1", "pvcnoded", "key", "add", "looker", "--role", "read-only").split()[-1]
    looker = Talk(lab, key)
    assert looker.get("/vm") != []
    for request in (
        Request(method="DELETE", path=OFF),
        Request(method="POST", path=f"{OFF}/state", form={"state": "start"}),
        Request(method="PUT", path=OFF, form={"xml": xml("bad-off")}),
        Request(method="POST", path="/vm", form={"xml": xml("new")}),
        Request(method="POST", path=f"{VOLUME}/vms/bad-free/upload", query={"image_format": "raw"}, body=b"x"),
        _volume(size="1M"),
    ):
        answer = looker.ask(request)
        assert answer.status == 403 and "look" in answer.json["message"], answer
    lab.exec("hv1", "pvcnoded", "key", "remove", "looker")
    lab.eventually(lambda: looker.ask(Request(path="/vm")).status == 401, "a removed key opens nothing")


# -- programs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [
    ("pvcnoded",), ("pvcguard",), ("pvcapid",), ("pvcstored", "--secrets", "/etc/pvc/secrets"),
    ("pvcnoded", "--node", "hv7"),
], ids=" ".join)  # fmt: skip
def test_a_second_daemon_on_the_node(lab: RunningLab, argv: tuple[str, ...]) -> None:
    before = lab.units("hv1")
    done = run(lab, argv[0], "--config", "/etc/pvc/pvc.yaml", *argv[1:], timeout_s=20)
    _said_no(done.returncode, done.stdout + done.stderr)
    assert lab.units("hv1") == before


BROKEN = {
    "empty": ("", ""),
    "not yaml": ("cluster: [", "line"),
    "a list": ("- a\n- b\n", ""),
    "unknown key": ("{good}colour: red\n", "colour"),
    "unknown plugin": ("{good}".replace("{good}", "{plugin}"), "compute_teapot"),
    "unknown option": ("{option}", "speed"),
    "wrong type": ("{type}", "coordinators"),
    "two coordinators": ("{two}", "coordinators"),
    "another node": ("{other}", "hv1|coordinators"),
    "a tab": ("cluster:\n\tname: x\n", ":2:"),
    "bytes": ("\x00\x01\x02", ""),
    "a key twice": ("{good}store:\n  embedded: {{}}\n", "store"),
}


@pytest.mark.parametrize("id", BROKEN)
def test_a_broken_pvc_yaml(lab: RunningLab, id: str) -> None:
    good = lab.exec("hv1", "cat", "/etc/pvc/pvc.yaml")
    text, says = BROKEN[id]
    text = {
        "{plugin}": good.replace("compute_libvirt:", "compute_teapot:"),
        "{option}": good.replace("virt_type: qemu", "speed: 9"),
        "{type}": good.replace("coordinators:\n  - hv1", "coordinators: 17"),
        "{two}": good.replace("  - hv1", "  - hv1\n  - hv2"),
        "{other}": good.replace("  - hv1", "  - hv2"),
    }.get(text) or text.replace("{good}", good).replace("{{}}", "{}")
    place = lab._lab.node_dir("hv1") / "var/tmp-broken.yaml"
    place.write_text(text)
    done = run(lab, "pvcnoded", "--check", "--config", "/var/tmp-broken.yaml")
    place.unlink()
    said = done.stdout + done.stderr
    _said_no(done.returncode, said)
    assert "tmp-broken.yaml" in said
    assert re.search(says, said), said


def test_a_pvc_yaml_that_is_not_there(lab: RunningLab) -> None:
    for program in ("pvcnoded", "pvcguard", "pvcapid", "pvcstored"):
        secrets = ("--secrets", "/etc/pvc/secrets") if program == "pvcstored" else ()
        done = run(lab, program, "--config", "/nowhere/pvc.yaml", *secrets, timeout_s=20)
        _said_no(done.returncode, done.stdout + done.stderr)


@pytest.mark.parametrize("argv", [
    ("add", "lab"), ("add", "a/b"), ("add", ""), ("add", "x" * 300), ("add", "new", "--role", "god"),
    ("remove", "nobody"),
], ids=lambda argv: " ".join(argv)[:20])  # fmt: skip
def test_keys_that_cannot_be(lab: RunningLab, argv: tuple[str, ...]) -> None:
    before = lab.exec("hv1", "pvcnoded", "key", "list")
    done = run(lab, "pvcnoded", "key", *argv)
    _said_no(done.returncode, done.stdout + done.stderr)
    assert lab.exec("hv1", "pvcnoded", "key", "list") == before


@pytest.mark.parametrize("argv", [
    ("vm", "info", "nobody"), ("vm", "define", "/nowhere.xml"), ("vm", "define", "/etc/hostname"),
    ("vm", "start", "nobody"), ("vm", "tag", "add", "bad-off", "a/b"), ("vm", "rename", "bad-on", "n"),
    ("storage", "volume", "add", "vms", "new", "10X"), ("storage", "volume", "add", "vms", "a/b", "1M"),
    ("--unsafe", "storage", "volume", "remove", "vms", "bad-on"),
    ("storage", "volume", "resize", "vms", "bad-free", "1K"),
    ("storage", "volume", "upload", "vms", "bad-free", "/nowhere.img"), ("vm", "list", "(a+)+"), ("vm", "teapot"),
    ("task", "info", "deadbeef"), ("--connection", "nowhere", "vm", "list"), ("vm", "log", "nobody"),
], ids=" ".join)  # fmt: skip
def test_the_command_line(lab: RunningLab, talk: Talk, argv: tuple[str, ...]) -> None:
    before = everything(lab, talk)
    done = lab.pvc(*argv)
    _said_no(done.returncode, done.stdout + done.stderr)
    assert everything(lab, talk) == before


def _said_no(code: int, said: str) -> None:
    assert code not in (0, 137, -9), f"exit code {code}: {said}"
    assert said.strip(), "it said nothing"
    assert "Traceback" not in said, said
