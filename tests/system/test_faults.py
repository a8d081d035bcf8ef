"""Daemons die with kill -9 at any moment of any work, libvirtd hangs, pvc.yaml breaks, the power goes.

What must hold each time: a running guest notices nothing, what was acknowledged is there, nothing exists twice, work
that was cut is finished or has failed in words. Seeds are printed: PVC_FAULT_SEED=n repeats a run, PVC_FAULT_ROUNDS=n
makes it longer.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.lab_fixture import RunningLab
from tests.system.definitions import xml
from tests.system.talk import Answer, Request, Talk, everything, pool_dir, qemus, run, tracebacks

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

SEED = int(os.environ.get("PVC_FAULT_SEED", "1"))
ROUNDS = int(os.environ.get("PVC_FAULT_ROUNDS", "10"))
VICTIMS = ("pvcnoded", "pvcapid", "pvcstored", "pvcguard", "libvirtd")
VOLUME = "/storage/ceph/volume"
BACK_S = 60.0
IMAGE = os.urandom(1 << 20) * 32
"""Random, so that no copy of it is a hole."""


@pytest.fixture(scope="module")
def own() -> Iterator[RunningLab]:
    """A lab of this module's own: its node is switched off and its configuration broken."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    made = RunningLab(f"faults{os.getpid()}")
    try:
        yield made
        assert tracebacks(made) == []
    finally:
        made.down()


@dataclass
class Witness:
    """A guest that counts seconds on its console, and that nothing here may disturb."""

    lab: RunningLab
    uuid: str
    pid: list[int]

    def undisturbed(self) -> None:
        """The same process, counting on, without a second lost or told twice."""
        assert qemus(self.lab, self.uuid) == self.pid
        before = self.lab.ticks("witness")
        self.lab.eventually(lambda: self.lab.ticks("witness") > before, "the guest counts on")
        ticks = [int(number) for number in re.findall(r"tick (\d+)", self.lab.console("witness"))]
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))


@pytest.fixture(scope="module")
def witness(own: RunningLab) -> Witness:
    own.guest("witness")
    uuid = own.api.get("/vm/witness")[0]["uuid"]
    found = qemus(own, uuid)
    assert len(found) == 1
    return Witness(own, uuid, found)


# -- what is cut short -------------------------------------------------------------------------------------------------


@dataclass
class Round:
    """A VM `cut` with a volume, and what is asked of it while a daemon dies."""

    lab: RunningLab
    talk: Talk
    rng: random.Random

    def __post_init__(self) -> None:
        self.uuid = ""

    def volume(self) -> None:
        self.talk.ok(post(VOLUME, pool="vms", volume="cut", size="32M"))

    def filled(self) -> None:
        self.volume()
        self.talk.ok(UPLOAD)

    def defined(self) -> None:
        self.volume()
        self.talk.ok(post("/vm", xml=xml("cut", volume="cut")))
        self.uuid = self.talk.get("/vm/cut")[0]["uuid"]

    def started(self) -> None:
        self.defined()
        self.talk.ok(post("/vm/cut/state", state="start", wait="true"))

    def names(self) -> set[str]:
        return {one["name"] for one in self.talk.get(VOLUME)}

    def state(self) -> str:
        return str(self.talk.get("/vm/cut/state")["state"])

    def running(self) -> bool:
        return len(qemus(self.lab, self.uuid)) == 1

    def content(self, name: str) -> bytes:
        answer = self.talk.ask(Request(path=f"{VOLUME}/vms/{name}/export"))
        assert answer.status == 200, answer
        return answer.body


def post(path: str, **form: str) -> Request:
    return Request(method="POST", path=path, form=form)


@dataclass(frozen=True)
class Work:
    """`before` prepares, `asks` is cut. `done`: what must come true if it was acknowledged (`answered`), and what may
    be if it was not.
    """

    before: Callable[[Round], None]
    asks: Request
    done: Callable[[Round, bool], bool]
    takes_s: float = 0.06
    """About how long: the daemon dies within this time, or a little later."""


def _either(true: Callable[[Round], bool], false: Callable[[Round], bool]) -> Callable[[Round, bool], bool]:
    """Acknowledged: true. Not acknowledged: it happened or it did not, but nothing between."""
    return lambda one, acknowledged: true(one) or (not acknowledged and false(one))


def _image_of(one: Round) -> bytes:
    return one.content("cut").rstrip(b"\0")


UPLOAD = Request(method="POST", path=f"{VOLUME}/vms/cut/upload", query={"image_format": "raw"}, body=IMAGE)
WORKS: dict[str, Work] = {
    "make a volume": Work(
        lambda one: None, post(VOLUME, pool="vms", volume="cut", size="32M"),
        _either(lambda one: "cut" in one.names(), lambda one: "cut" not in one.names()),
    ),
    "define": Work(
        Round.volume, post("/vm", xml=xml("cut", volume="cut")),
        _either(
            lambda one: [vm["name"] for vm in one.talk.get("/vm", limit="^cut$")] == ["cut"],
            lambda one: one.talk.get("/vm", limit="^cut$") == [],
        ),
    ),
    "start": Work(
        Round.defined, post("/vm/cut/state", state="start"),
        _either(
            lambda one: one.state() == "start" and one.running(),
            lambda one: one.state() == "stop" and not one.running(),
        ),
        takes_s=1.5,
    ),
    "stop": Work(
        Round.started, post("/vm/cut/state", state="stop", wait="true"),
        _either(
            lambda one: one.state() == "stop" and qemus(one.lab, one.uuid) == [],
            lambda one: one.state() == "start" and one.running(),
        ),
        takes_s=0.5,
    ),
    "restart": Work(
        Round.started, post("/vm/cut/state", state="restart"),
        lambda one, _: one.state() in ("start", "restart") and one.running(),
        takes_s=0.5,
    ),
    "remove": Work(
        Round.started, Request(method="DELETE", path="/vm/cut", query={"delete_disks": "true"}),
        _either(
            lambda one: one.talk.get("/vm", limit="^cut$") == [] and "cut" not in one.names()
            and qemus(one.lab, one.uuid) == [],
            lambda one: one.state() == "start" and one.running(),
        ),
        takes_s=0.5,
    ),
    "clone": Work(
        Round.filled, post(f"{VOLUME}/vms/cut/clone", new_volume="cut-copy"),
        _either(
            lambda one: "cut-copy" in one.names() and one.content("cut-copy") == one.content("cut"),
            lambda one: "cut-copy" not in one.names(),
        ),
        takes_s=0.2,
    ),
    "upload": Work(
        Round.volume, UPLOAD, _either(lambda one: one.content("cut") == IMAGE, lambda one: _image_of(one) == b""),
        takes_s=0.4,
    ),
    "snapshot": Work(
        Round.filled, post("/storage/ceph/snapshot", pool="vms", volume="cut", snapshot="s"),
        _either(
            lambda one: len(one.talk.get("/storage/ceph/snapshot", volume="cut")) == 1,
            lambda one: one.talk.get("/storage/ceph/snapshot", volume="cut") == [],
        ),
    ),
    "resize": Work(
        Round.volume, Request(method="PUT", path=f"{VOLUME}/vms/cut", form={"new_size": "64M"}),
        _either(lambda one: len(one.content("cut")) == 64 << 20, lambda one: len(one.content("cut")) == 32 << 20),
    ),
}  # fmt: skip


def _plan() -> list[tuple[str, str, int]]:
    """Pairs of work and victim, every work and every victim in turn, the rest by the seed."""
    rng = random.Random(SEED)
    works, victims = list(WORKS), list(VICTIMS)
    rng.shuffle(works)
    return [
        (works[i % len(works)], rng.choice(victims) if i >= 5 else victims[i], rng.randrange(10**6))
        for i in range(ROUNDS)
    ]


@pytest.mark.parametrize(("work", "victim", "seed"), _plan())
def test_a_daemon_dies_in_the_middle(own: RunningLab, witness: Witness, work: str, victim: str, seed: int) -> None:
    rng = random.Random(seed)
    talk = Talk(own)
    _clean(own, talk)
    before = everything(own, talk)
    one, todo = Round(own, talk, rng), WORKS[work]
    todo.before(one)
    delay_s = rng.uniform(0, 1.2 * todo.takes_s)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_asked, talk, todo.asks)
        time.sleep(delay_s)
        deaths = own.units("hv1")[victim]["restarts"]
        own.kill("hv1", victim)
        answer = asked.result(90)
    print(f"{work}, {victim} killed after {delay_s * 1000:.0f} ms: {answer and (answer.status, answer.body[:200])}")
    own.eventually(lambda: own.units("hv1")[victim]["restarts"] > deaths, "its death is noticed")
    healthy(own, talk)
    acknowledged = answer is not None and answer.status < 300
    if answer is not None and not acknowledged:
        assert answer.json["message"], answer
    own.eventually(lambda: todo.done(one, acknowledged), f"{work} done or not, acknowledged: {acknowledged}")
    for uuid in filter(None, (one.uuid,)):
        assert len(qemus(own, uuid)) <= 1
    records_equal_files(own, talk)
    witness.undisturbed()
    _clean(own, talk)
    own.eventually(lambda: everything(own, talk) == before, "as before when all of it is removed again")


def _asked(talk: Talk, request: Request) -> Answer | None:
    """The answer, or None where the line broke: nobody knows what became of it."""
    try:
        return talk.ask(request, timeout_s=80)
    except (OSError, http.client.HTTPException):
        return None


def _kill(lab: RunningLab, victim: str) -> None:
    """And wait until its death was noticed."""
    deaths = lab.units("hv1")[victim]["restarts"]
    lab.kill("hv1", victim)
    lab.eventually(lambda: lab.units("hv1")[victim]["restarts"] > deaths, "its death is noticed")


def healthy(lab: RunningLab, talk: Talk) -> None:
    """Every daemon is back by itself, the node works, no task hangs."""
    lab.eventually(lambda: all(u["state"] == "active" for u in lab.units("hv1").values()), "all daemons are back")
    lab.eventually(lambda: lab.api.answers(), "the API answers again", deadline_s=BACK_S)
    lab.eventually(lambda: _works(talk), "it writes, and reaches the node", deadline_s=BACK_S)
    lab.eventually(lambda: _quiet(talk.get("/tasks")), "no task hangs", deadline_s=BACK_S)
    lab.eventually(lambda: talk.get("/node")[0]["daemon_state"] == "run", "the node works", deadline_s=BACK_S)


def _works(talk: Talk) -> bool:
    """A write goes through to the store, a question to pvcnoded; the witness may be gone (400, 404)."""
    written = talk.ask(post("/vm/witness/meta", migration_max_downtime="300"))
    return written.status < 500 and talk.ask(Request(path="/vm/witness/console")).status < 500


def _quiet(tasks: dict[str, dict[str, list[object]]]) -> bool:
    return not any(waiting for kind in tasks.values() for waiting in kind.values())


def records_equal_files(lab: RunningLab, talk: Talk) -> None:
    """Each volume has its directory and its file, each directory its volume; nothing half-made is left in the pool."""
    top = pool_dir(lab) / "vms"

    def equal() -> bool:
        kept = {one["name"] for one in talk.get(VOLUME)}
        there = {path.name for path in top.iterdir() if not path.name.startswith(".")}
        return kept == there and not list(top.glob(".pvc/staging/*/*"))

    lab.eventually(equal, "records equal files, no debris")


def _clean(lab: RunningLab, talk: Talk) -> None:
    if talk.ask(Request(path="/vm/cut")).status == 200:
        talk.ok(Request(method="DELETE", path="/vm/cut", query={"delete_disks": "true"}))
    for volume in ("cut-copy", "cut"):
        answer = talk.ask(Request(method="DELETE", path=f"{VOLUME}/vms/{volume}"))
        assert answer.status in (200, 404), answer


# -- more than a death -------------------------------------------------------------------------------------------------


def test_libvirtd_hangs_while_a_start_is_asked(own: RunningLab, witness: Witness) -> None:
    talk = Talk(own)
    one = Round(own, talk, random.Random(0))
    one.defined()
    own.kill("hv1", "libvirtd", signal="SIGSTOP")
    try:
        began = time.monotonic()
        talk.ok(post("/vm/cut/state", state="start"))
        assert time.monotonic() - began < 5, "whoever asks does not wait for libvirtd"
        own.eventually(lambda: re.search("libvirt|answer|tell", talk.get("/vm/cut")[0]["status"]), "it says why not")
        time.sleep(max(0.0, began + 20 - time.monotonic()))
        assert talk.get("/node")[0]["daemon_state"] == "run"
    finally:
        own.kill("hv1", "libvirtd", signal="SIGCONT")
    own.eventually(one.running, "it runs after all", deadline_s=90)
    own.eventually(lambda: talk.get("/vm/cut/state")["status"] == "running on hv1", "and PVC knows", deadline_s=90)
    assert len(qemus(own, one.uuid)) == 1
    witness.undisturbed()
    _clean(own, talk)


def test_a_broken_pvc_yaml_while_a_guest_runs(own: RunningLab, witness: Witness) -> None:
    """In custody: the guest is kept, the reason told, nothing started; a mended file and all goes on."""
    talk = Talk(own)
    one = Round(own, talk, random.Random(0))
    one.defined()
    with Broken(own):
        _kill(own, "pvcnoded")
        own.eventually(lambda: "custody" in str(talk.get("/node")[0]), "custody is told")
        said = str(talk.get("/node")[0])
        assert "storage_teapot" in said, said
        talk.ok(post("/vm/cut/state", state="start"))
        time.sleep(5)
        assert qemus(own, one.uuid) == []
        witness.undisturbed()
        assert own.units("hv1")["pvcnoded"]["state"] == "active"
    _kill(own, "pvcnoded")
    healthy(own, talk)
    own.eventually(one.running, "what was asked meanwhile is done")
    witness.undisturbed()
    _clean(own, talk)


class Broken:
    """pvc.yaml names a plugin that is not there."""

    def __init__(self, lab: RunningLab) -> None:
        self._file = lab._lab.node_dir("hv1") / "etc/pvc/pvc.yaml"

    def __enter__(self) -> None:
        self._good = self._file.read_text()
        self._file.write_text(self._good.replace("  storage_dir:", "  storage_teapot: {}\n  storage_dir:"))

    def __exit__(self, *_: object) -> None:
        self._file.write_text(self._good)


def test_the_power_goes(own: RunningLab, witness: Witness) -> None:
    """What shall run runs again, once; what was off stays off; every record is there."""
    talk = Talk(own)
    one = Round(own, talk, random.Random(0))
    one.defined()
    before = {vm["name"]: vm["uuid"] for vm in talk.get("/vm")}
    own.power_off("hv1")
    assert not own.api.answers()
    own.power_on("hv1")
    own.eventually(own.api.answers, "the API answers", deadline_s=BACK_S)
    healthy(own, talk)
    assert {vm["name"]: vm["uuid"] for vm in talk.get("/vm")} == before
    own.eventually(lambda: len(qemus(own, witness.uuid)) == 1, "the guest is started again", deadline_s=BACK_S)
    own.eventually(lambda: own.ticks("witness") > 3, "and boots", deadline_s=120)
    assert len(qemus(own, witness.uuid)) == 1
    assert one.state() == "stop" and qemus(own, one.uuid) == []
    records_equal_files(own, talk)
    _clean(own, talk)


def test_a_broken_pvc_yaml_without_guests(own: RunningLab) -> None:
    """Refuses to start and names plugin, reason and what to do. Stands last: it removes the guest."""
    talk = Talk(own)
    own.remove_guest("witness")
    with Broken(own):
        _kill(own, "pvcnoded")
        before = len(own.logs("hv1", "pvcnoded"))
        own.eventually(lambda: "storage_teapot" in own.logs("hv1", "pvcnoded")[before:], "the refusal is told")
        done = run(own, "pvcnoded", "--config", "/etc/pvc/pvc.yaml", timeout_s=20)
        said = done.stdout + done.stderr
        assert done.returncode == 2, said
        assert "storage_teapot" in said and "/etc/pvc/pvc.yaml:" in said and "install" in said.lower(), said
        assert "Traceback" not in own.logs("hv1", "pvcnoded")[before:]
    healthy(own, talk)
