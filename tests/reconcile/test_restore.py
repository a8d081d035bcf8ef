"""A backup replaces what is wanted, and only when nobody's guest could be lost by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from marshmallow import Schema, fields

from pvc_core.clock import SystemClock
from pvc_core.cluster import backup as backups
from pvc_core.cluster import layout
from pvc_core.cluster.layout import Kind
from pvc_core.cluster.repository import Repository, Set, Unchanged
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Invalid, PvcError, Refused, Retry
from pvc_core.model.cluster import ApiKey, Era, Leader, Settings, Tombstone
from pvc_core.model.node import NodeSeen
from pvc_core.model.storage import Pool, Volume, VolumePhase
from pvc_core.model.task import Task, TaskState
from pvc_core.model.vm import Claim, Phase, VmSeen, VmWanted, Want
from pvc_core.reconcile.kinds.restore import NodeAccount, Restoring
from pvc_core.reconcile.task import Job
from pvc_core.services.backups import BackupService
from pvc_core.services.desk import Desk
from pvc_core.services.tasks import TaskService
from pvc_core.testing.clock import FakeClock
from pvc_core.testing.store import FakeStoreServer


@dataclass
class Cluster:
    """hv1 (primary) and hv2, with what a test says of them. Nodes show what the store says, as soon as asked."""

    guests: dict[str, dict[str, str]] = field(default_factory=lambda: {"hv1": {}, "hv2": {}})
    silent: set[str] = field(default_factory=set)
    busy: dict[str, tuple[str, ...]] = field(default_factory=dict)
    served: int = 1
    data: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        self.server = FakeStoreServer(auto=True)
        self.repository = Repository(self.server.client())
        self.keeper = ViewKeeper(self.server.client(), FakeClock())
        self.add(layout.ERA, "cluster", Era(era=1, cluster="c", id="first"))
        self.add(layout.LEADER, "cluster", Leader(node="hv1", incarnation="i", term=1))
        for name in self.guests:
            self.add(layout.NODE_SEEN, name, NodeSeen(name=name))
        self.log: list[str] = []
        self.dies_after = 10**6
        self.commits = 0

    def add(self, kind: Kind[Any], id: str, record: object) -> None:
        self.repository.add(kind, id, record)

    # -- the primary's ground ------------------------------------------------------------------------------------------

    @property
    def view(self) -> Any:
        self.keeper.settle(inline=True)
        return self.keeper.view

    def commit(self, *writes: Any) -> None:
        self.commits += 1
        if self.commits > self.dies_after:
            raise Died
        self.repository.commit(writes)

    def ground(self) -> Any:
        return SimpleNamespace(
            keeper=self.keeper, view=self.view, repository=self.repository, inline=True, coordinators=("hv1",),
            commit=self.commit, lead=lambda: Unchanged(layout.LEADER, layout.ONLY, 0),
        )  # fmt: skip

    # -- the daemon's part ---------------------------------------------------------------------------------------------

    def content(self, task_id: str) -> Mapping[str, Any] | None:
        return self.data

    def account(self, node: str) -> NodeAccount:
        if node in self.silent or node not in self.guests:
            raise Retry(f"cannot ask {node}")
        era = self.era
        return NodeAccount(
            node=node,
            guests=self.guests[node],
            shown=(era.era, era.restoring),
            served_era=self.served,
            busy=self.busy.get(node, ()),
        )

    def forget(self, task_id: str) -> None:
        self.data = None

    @property
    def era(self) -> Era:
        return self.repository.get(layout.ERA, layout.ONLY).value

    # -- an operator ---------------------------------------------------------------------------------------------------

    def service(self, storage: Mapping[str, Any] | None = None, ask: Any = None) -> BackupService:
        desk = Desk(
            keeper=self.keeper, repository=self.repository, clock=SystemClock(), compute=cast(Any, None),
            descriptions=cast(Any, None), storage=storage or {}, plugins={}, checks=cast(Any, None),
            ask=ask, inline=True,
        )  # fmt: skip
        self.view  # noqa: B018  # looks
        return BackupService(desk, TaskService(desk), "c", ("hv1",))

    def backup(self) -> dict[str, Any]:
        return through_a_file(self.service().backup(by="joe"))

    def restore(self, data: Mapping[str, Any] | None, *, kind: str = "cluster.restore", **args: Any) -> str:
        """The task, to its end; each Retry is one more step a little later."""
        self.data = data
        restoring = Restoring(cast(Any, self))
        for second in range(100):
            task = Task(id="t", kind=kind, args=args)
            job = Job(ground=self.ground(), task=task, progress=lambda *_: None, waited_s=float(second))
            try:
                done = (restoring.init if kind == "cluster.init" else restoring.restore)(job)
            except Retry:
                continue
            self.repository.commit(list(done.writes))
            return done.status
        raise AssertionError("it never ended")

    def records(self, kind: Kind[Any]) -> dict[str, Any]:
        return {id: kept.value for id, kept in self.repository.all(kind).items()}


class Died(BaseException):
    """The daemon was killed."""


def vm(name: str, **more: Any) -> VmWanted:
    return VmWanted(uuid=f"u-{name}", name=name, definition=f"<{name}/>", **more)


def through_a_file(data: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(data, sort_keys=True, indent=2))
    return found


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.add(layout.VM_WANTED, "u-db", vm("db", want=Want.START, autostart=True))
    made.add(layout.VM_WANTED, "u-web", vm("web"))
    for name in ("db", "web"):
        made.add(layout.VM_NAMES, name, layout.NameIndex(uuid=f"u-{name}"))
    made.add(layout.CLAIMS, "u-db", Claim(uuid="u-db", holder="hv2", phase=Phase.RUN, generation=9))
    made.add(layout.CLAIMS, "u-web", Claim(uuid="u-web", holder="hv1", generation=4))
    made.guests["hv2"] = {"u-db": "db"}
    made.add(layout.POOLS, "vms", Pool(name="vms", driver="dir"))
    made.add(layout.VOLUMES, "vms@root", Volume(id="v1", pool="vms", name="root", size_bytes=1, task="t9"))
    made.add(layout.KEYS, "joe", ApiKey(name="joe", role="admin", salt="00", digest="11"))
    made.add(layout.SETTINGS, "cluster", Settings())
    return made


def test_it_has_what_was_asked_for_and_not_who_runs_what(cluster: Cluster) -> None:
    data = cluster.backup()
    assert set(data["records"]) == {"settings", "node wanted", "vm wanted", "pool", "volume", "key", "network"}
    assert {id: one["schema"] for id, one in data["records"]["vm wanted"].items()} == {"u-db": 1, "u-web": 1}
    for word in ("claim", "hv2-boot", "lease", "leader", "incarnation", "generation"):
        assert word not in json.dumps(data["records"])
    assert "stay in /etc/pvc" in data["left_out"][0]
    assert cluster.records(layout.BACKUPS)["cluster"].by == "joe"


def test_what_changed_since_is_undone_and_the_running_guest_keeps_running(cluster: Cluster) -> None:
    data = cluster.backup()
    cluster.add(layout.VM_WANTED, "u-new", vm("new"))
    cluster.add(layout.VM_NAMES, "new", layout.NameIndex(uuid="u-new"))
    cluster.add(layout.CLAIMS, "u-new", Claim(uuid="u-new", holder="hv1"))
    cluster.repository.drop(layout.VM_WANTED, "u-web", if_version=None)
    cluster.repository.drop(layout.VM_NAMES, "web", if_version=None)
    cluster.repository.drop(layout.CLAIMS, "u-web", if_version=None)
    changed = replace(vm("db"), want=Want.START, asked=7)
    cluster.repository.set(layout.VM_WANTED, "u-db", changed, if_version=None)
    claim = cluster.repository.get(layout.CLAIMS, "u-db")
    assert "VMs restored: 2; the store is in its era 2" in cluster.restore(data)
    vms = cluster.records(layout.VM_WANTED)
    assert set(vms) == {"u-db", "u-web"} and vms["u-db"].autostart and vms["u-db"].want is Want.START
    assert vms["u-db"].asked > 7, "requests go on counting"
    assert set(cluster.records(layout.VM_NAMES)) == {"db", "web"}
    assert cluster.repository.get(layout.CLAIMS, "u-db") == claim, "who runs it was never touched"
    assert set(cluster.records(layout.CLAIMS)) == {"u-db"}
    assert (cluster.era.era, cluster.era.nodes, cluster.era.restoring) == (2, ("hv1", "hv2"), "")
    assert cluster.era.id != "first"


def test_a_guest_that_runs_is_not_stopped_by_a_backup_that_wanted_it_off(cluster: Cluster) -> None:
    data = cluster.backup()
    cluster.guests["hv1"] = {"u-web": "web"}
    cluster.repository.set(layout.CLAIMS, "u-web", Claim(uuid="u-web", holder="hv1", phase=Phase.RUN), if_version=None)
    cluster.restore(data)
    assert cluster.records(layout.VM_WANTED)["u-web"].want is Want.START


def test_answers_to_old_requests_are_no_answers_to_new_ones(cluster: Cluster) -> None:
    data = cluster.backup()
    cluster.add(layout.VM_SEEN, "u-db", VmSeen(uuid="u-db", node="hv2", restart_done=5, move_done=3))
    cluster.restore(data)
    db = cluster.records(layout.VM_WANTED)["u-db"]
    assert (db.restart, db.move) == (5, 3), "neither restarts nor moves it"


def test_what_says_where_bytes_are_and_whose_keys_are_good_stays(cluster: Cluster) -> None:
    data = cluster.backup()
    cluster.repository.set(
        layout.VOLUMES, "vms@root", Volume(id="v1", pool="vms", name="root", size_bytes=99), if_version=None
    )
    cluster.add(layout.VOLUMES, "vms@later", Volume(id="v2", pool="vms", name="later", size_bytes=1))
    cluster.add(layout.KEYS, "ann", ApiKey(name="ann", role="admin", salt="", digest=""))
    cluster.repository.drop(layout.POOLS, "vms", if_version=None)
    cluster.add(layout.TOMBSTONES, "u-web", Tombstone(uuid="u-web", name="web", why="removed by force"))
    cluster.restore(data)
    sizes = {id: one.size_bytes for id, one in cluster.records(layout.VOLUMES).items()}
    assert sizes == {"vms@root": 99, "vms@later": 1}
    assert set(cluster.records(layout.KEYS)) == {"joe", "ann"}
    assert set(cluster.records(layout.POOLS)) == {"vms"}
    assert cluster.records(layout.TOMBSTONES) == {}, "every node has said that it lives nowhere"


def test_half_made_volumes_are_not_restored_and_whole_ones_have_no_task(cluster: Cluster) -> None:
    half = Volume(id="v3", pool="vms", name="half", size_bytes=1, phase=VolumePhase.CREATING)
    cluster.add(layout.VOLUMES, "vms@half", half)
    data = cluster.backup()
    for id in ("vms@half", "vms@root"):
        cluster.repository.drop(layout.VOLUMES, id, if_version=None)
    cluster.restore(data)
    assert {id: one.task for id, one in cluster.records(layout.VOLUMES).items()} == {"vms@root": ""}


def objections(cluster: Cluster) -> dict[str, Any]:
    """What makes each refusal, by its words."""

    def running(cluster: Cluster, uuid: str, node: str) -> None:
        cluster.guests[node] = {**cluster.guests[node], uuid: uuid.removeprefix("u-")}

    def claim(cluster: Cluster, uuid: str, **more: Any) -> None:
        kept = cluster.repository.get(layout.CLAIMS, uuid)
        cluster.repository.commit([Set(layout.CLAIMS, uuid, replace(kept.value, **more), kept.version)])

    return {
        "node hv2 is silent (cannot ask hv2)": lambda: cluster.silent.add("hv2"),
        "guest stranger runs on hv1 and would be nobody's": lambda: running(cluster, "u-stranger", "hv1"),
        "guest db runs on hv1 and on hv2": lambda: running(cluster, "u-db", "hv1"),
        "guest web runs on hv2, but hv1 may run it": lambda: running(cluster, "u-web", "hv2"),
        "VM db is unaccounted for: hv2 may run it": lambda: cluster.guests["hv2"].clear(),
        "VM web is in the middle of something (task)": lambda: claim(cluster, "u-web", phase=Phase.TASK),
        "VM db is in the middle of something (migrating)": lambda: claim(cluster, "u-db", phase=Phase.MIGRATING),
        "task t8 (volume.clone) has not ended": lambda: cluster.add(
            layout.TASKS, "t8", Task(id="t8", kind="volume.clone")
        ),
        "a newer PVC wrote pool newer (schema 2": lambda: cluster.repository.store.create(
            "/pvc/state/pools/newer", b'{"schema":2,"name":"newer"}'
        ),
    }


@pytest.mark.parametrize("words", objections(Cluster()))
def test_it_is_refused_and_nothing_changes(cluster: Cluster, words: str) -> None:
    data = cluster.backup()
    objections(cluster)[words]()
    before = cluster.repository.store.tree(layout.ROOT)
    with pytest.raises(Refused) as refused:
        cluster.restore(data)
    assert words in refused.value.message and refused.value.message.startswith("nothing was changed: ")
    assert cluster.repository.store.tree(layout.ROOT) == before


def test_a_node_that_is_off_for_good_is_left_out_by_name(cluster: Cluster) -> None:
    data = cluster.backup()
    cluster.repository.drop(layout.CLAIMS, "u-db", if_version=None)
    cluster.silent.add("hv2")
    with pytest.raises(Refused, match="node hv2 is silent"):
        cluster.restore(data)
    cluster.restore(data, without=["hv2"])
    assert cluster.era.nodes == ("hv1",)


def test_members_of_that_time_are_asked_though_the_store_has_forgotten_them(cluster: Cluster) -> None:
    data = cluster.backup()
    empty = Cluster()
    empty.guests = {"hv1": {}, "hv2": {"u-db": "db"}}
    empty.repository.drop(layout.NODE_SEEN, "hv2", if_version=None)
    empty.silent.add("hv2")
    with pytest.raises(Refused, match="node hv2 is silent"):
        empty.restore(data)
    empty.silent.clear()
    empty.served = 7
    assert "era 8" in empty.restore(data), "later than any that a node has served"
    assert empty.records(layout.VM_WANTED)["u-db"].want is Want.START


def test_it_waits_until_everybody_stands_still_and_gives_up_in_the_end(cluster: Cluster) -> None:
    data = cluster.backup()
    cluster.busy["hv2"] = ("vm u-db",)
    with pytest.raises(Refused, match="hv2 did not stand still within 60 s"):
        cluster.restore(data)
    assert cluster.era == Era(era=1, cluster="c", id="first"), "all goes on as it was"


@pytest.mark.parametrize("commits", range(4))
def test_a_daemon_killed_in_the_middle_leaves_it_to_the_next_and_nothing_goes_on_meanwhile(
    cluster: Cluster, commits: int
) -> None:
    data = cluster.backup()
    for number in range(150):
        cluster.add(layout.VM_WANTED, f"u-x{number}", vm(f"x{number}"))
    cluster.dies_after = commits
    with pytest.raises(Died):
        cluster.restore(data)
    assert (cluster.era.restoring == "t") == (commits > 0)
    assert cluster.era.replacing == (commits > 1)
    cluster.dies_after = 10**6
    if commits > 1:  # the next daemon has not got the content: half a restore is not called off
        with pytest.raises(Refused, match="did not come within 30 s"):
            cluster.restore(None)
        assert cluster.era.restoring == "t"
    cluster.restore(data)
    assert set(cluster.records(layout.VM_WANTED)) == {"u-db", "u-web"}
    assert cluster.era.restoring == "" and not cluster.era.replacing


def test_content_lost_before_anything_was_written_lets_all_go_on(cluster: Cluster) -> None:
    data = cluster.backup()
    cluster.dies_after = 1
    with pytest.raises(Died):
        cluster.restore(data)
    cluster.dies_after = 10**6
    with pytest.raises(Refused, match="did not come within 30 s"):
        cluster.restore(None)
    assert cluster.era == Era(era=1, cluster="c", id="first")


def test_who_is_primary_next_or_has_begun_anew_is_given_the_content_too(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pvc_core.services.backups.LOOK_S", 0.05)
    data, given = cluster.backup(), []

    def ask(node: str, question: str, args: Mapping[str, Any], *, body: Any, deadline_s: float) -> Any:
        (id,) = cluster.records(layout.TASKS)
        task = cluster.records(layout.TASKS)[id]
        assert (question, args) == ("backup_content", {"task": id})
        assert json.loads(b"".join(body))["digest"] == data["digest"]
        given.append(node)
        if len(given) == 1:
            raise Retry("hv1 is no primary any more")
        if len(given) == 2:
            cluster.repository.set(layout.TASKS, id, replace(task, status=backups.AWAITED), if_version=None)
        if len(given) == 3:
            next_one = Leader(node="hv2", incarnation="i", term=2)
            cluster.repository.set(layout.LEADER, "cluster", next_one, if_version=None)
            cluster.repository.set(layout.TASKS, id, replace(task, status="replacing"), if_version=None)
        if len(given) == 4:
            ended = replace(task, state=TaskState.SUCCESS, status="VMs restored: 2")
            cluster.repository.set(layout.TASKS, id, ended, if_version=None)
        cluster.view  # noqa: B018  # looks
        return SimpleNamespace(close=lambda: None)

    assert cluster.service(ask=ask).restore(data, by="joe").status == "VMs restored: 2"
    assert given == ["hv1", "hv1", "hv1", "hv2"]


def test_a_new_beginning_forgets_all_but_keys_and_is_refused_while_a_guest_runs(cluster: Cluster) -> None:
    with pytest.raises(Refused, match="guest db runs on hv2 and would be nobody's"):
        cluster.restore(None, kind="cluster.init")
    cluster.guests["hv2"].clear()
    cluster.repository.set(layout.CLAIMS, "u-db", Claim(uuid="u-db", holder="hv2"), if_version=None)
    assert cluster.restore(None, kind="cluster.init").startswith("everything is forgotten")
    for kind in (layout.VM_WANTED, layout.VM_NAMES, layout.CLAIMS, layout.POOLS, layout.VOLUMES):
        assert cluster.records(kind) == {}
    assert set(cluster.records(layout.KEYS)) == {"joe"}
    assert cluster.era.era == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: {"/pvc/vms": "x"}, "is no backup of PVC"),
        (lambda data: {**data, "version": 9}, "has version 9, understood is 1"),
        (lambda data: {**data, "records": {}}, "is damaged"),
        (lambda data: {key: one for key, one in data.items() if key != "nodes"}, "cannot be read: KeyError 'nodes'"),
        (lambda data: rewritten(data, "vm wanted", "u-db", schema=2), "was written by a newer PVC"),
        (lambda data: rewritten(data, "vm wanted", "u-db", want="fly"), "vm wanted u-db of the backup cannot be read"),
        (lambda data: rewritten(data, "vm wanted", "../../era/cluster"), "has a vm wanted called"),
    ],
)
def test_what_is_no_whole_backup_is_refused_in_words(cluster: Cluster, change: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words.replace("(", r"\(")):
        backups.read(change(cluster.backup()))


def rewritten(data: dict[str, Any], kind: str, id: str, **more: Any) -> dict[str, Any]:
    records = data["records"]
    records[kind][id] = {**records[kind].get(id, {}), **more}
    return backups.written(records, **{k: data[k] for k in ("cluster", "era", "nodes", "taken_at")})


class Secretive(Schema):
    user = fields.String()
    password = fields.String(metadata={"secret": True})


def test_secrets_are_sealed_or_left_out_and_said_so(cluster: Cluster) -> None:
    options = {"user": "pvc", "password": "hunter2-hunter2"}
    cluster.add(layout.POOLS, "far", Pool(name="far", driver="iscsi", options=options))
    service = cluster.service({"iscsi": SimpleNamespace(pool_options=Secretive)})
    plain = through_a_file(service.backup(by="joe"))
    assert "hunter2" not in json.dumps(plain) and "secrets" not in plain
    assert "pool far, option password (no passphrase was given)" in plain["left_out"]
    sealed = through_a_file(service.backup(by="joe", passphrase="correct horse"))
    assert "hunter2" not in json.dumps(sealed) and len(sealed["left_out"]) == 1
    opened = service._with_secrets(sealed, "correct horse")
    assert backups.read(opened).of(layout.POOLS)["far"].options == options
    assert backups.read(service._with_secrets(sealed, "")).of(layout.POOLS)["far"].options == {"user": "pvc"}
    with pytest.raises(Invalid, match="passphrase is another one"):
        service._with_secrets(sealed, "wrong horse")
    with pytest.raises(PvcError, match="less than 8 characters"):
        service.backup(by="joe", passphrase="short")
