"""One node that does at once what is wanted: VMs start and stop, volumes come and go; and answers for bytes."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from pvc_core.clock import SystemClock
from pvc_core.cluster import layout
from pvc_core.cluster.layout import volume_id
from pvc_core.cluster.repository import Add, Drop, Repository, Set
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Conflict, NotFound, Refused, Retry
from pvc_core.model.network import Acl, AclDirection, Network, NetworkPhase
from pvc_core.model.storage import Snapshot, VolumePhase
from pvc_core.model.task import Task, TaskState
from pvc_core.model.view import Kept
from pvc_core.model.vm import Claim, GuestState, Phase, VmSeen, VmWanted, Want
from pvc_core.testing.context import FakeContext
from pvc_net_common.filters import Filters

NODE = "hv1"
MNTR = """zk_version\t3.8.0-, built on 2022
zk_server_state\tleader
zk_avg_latency\t0.5
zk_znode_count\t1234
zk_outstanding_requests\t0
zk_p50_readlatency\t1
zk_p999_readlatency\t7
zk_cnt_readlatency\t99
zk_sum_readlatency\t120
"""


@dataclass
class FakeReply:
    result: dict[str, Any] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    closed: threading.Event = field(default_factory=threading.Event)

    def ticking(self, tick_s: float) -> Iterator[bytes]:
        return iter(self.body)

    def close(self) -> None:
        self.closed.set()


class FakeNode:
    def __init__(self, repository: Repository, keeper: ViewKeeper) -> None:
        self.repository, self.keeper = repository, keeper
        self.uploads: dict[str, bytes] = {}
        self.broken_uploads: list[Exception] = []
        self.following: list[FakeReply] = []
        self.content = b"\0" * 3_000_000
        self.typed: list[bytes] = []
        self.keyboard_fault = ""
        self.screens: dict[str, FakeReply] = {}
        self.silent = False
        """True: screens say nothing."""
        self._said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.bmc_answers = True
        self.nodes_answer = True
        self.actions: dict[str, dict[str, Any]] = {}
        """Action of a plugin -> its result."""
        self.lazy = False
        """True: does nothing that is wanted."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._thread.join(5)

    def ask(
        self,
        node: str,
        question: str,
        args: Mapping[str, Any],
        *,
        body: Iterable[bytes] | None = None,
        deadline_s: float = 1,
    ) -> FakeReply:
        answer: Callable[..., FakeReply] | None = getattr(self, f"answer_{question}", None)
        if answer is None:
            raise NotFound(f"this node does not know the question {question}")
        return answer(args, body)

    def answer_console(self, args: Mapping[str, Any], body: None) -> FakeReply:
        return self._log(args)

    def answer_console_write(self, args: Mapping[str, Any], body: Iterable[bytes] | None) -> FakeReply:
        if args.get("open"):
            return FakeReply()
        if self.keyboard_fault:
            raise Refused(self.keyboard_fault)
        self._take(body or ())
        return FakeReply()

    def answer_screen(self, args: Mapping[str, Any], body: None) -> FakeReply:
        """A VNC server that greets, says back what it is told, and leaves at "bye"."""
        reply = FakeReply({"session": f"screen-{len(self.screens)}"})
        self.screens[reply.result["session"]] = reply
        reply.body = self._screen(reply)
        return reply

    def answer_screen_write(self, args: Mapping[str, Any], body: Iterable[bytes]) -> FakeReply:
        if args["session"] not in self.screens:
            raise NotFound("this screen was closed")
        self._take(body)
        return FakeReply()

    def _take(self, body: Iterable[bytes]) -> None:
        for data in body:
            self.typed.append(data)
            self._said.put(b"[" + data + b"]")

    def _screen(self, reply: FakeReply) -> Iterator[bytes]:
        try:
            yield b"" if self.silent else b"RFB 003.008\n"
            while not reply.closed.wait(0.02):
                said = b"" if self._said.empty() else self._said.get()
                if b"bye" in said:
                    return
                yield said
        finally:
            self.screens.pop(reply.result["session"], None)

    def answer_fence_test(self, args: Mapping[str, Any], body: None) -> FakeReply:
        steps = [{"name": "record", "passed": True, "said": f"{args['node']} is on record"}]
        steps.append({"name": "login", "passed": self.bmc_answers, "said": "its BMC answers, or not"})
        return FakeReply({"rungs": [{"rung": "fence_ipmi", "steps": steps}]})

    def answer_check_acl(self, args: Mapping[str, Any], body: None) -> FakeReply:
        """By the real nft, in a namespace of its own."""
        if not self.nodes_answer:
            raise Retry("the node does not answer")
        filters = Filters(FakeContext({}).run, SystemClock(), enter=("unshare", "-rn"))
        filters.check(Acl(name=args["name"], direction=AclDirection(args["direction"]), rule=args["rule"]))
        return FakeReply({})

    def answer_acl_counts(self, args: Mapping[str, Any], body: None) -> FakeReply:
        return FakeReply({"counts": [{"name": "web", "packets": 3, "bytes": 180}]})

    def answer_given_addresses(self, args: Mapping[str, Any], body: None) -> FakeReply:
        return FakeReply({"given": []})

    def answer_store_metrics(self, args: Mapping[str, Any], body: None) -> FakeReply:
        return FakeReply({"servers": {NODE: MNTR, "hv2": ""}})

    def answer_storage_metrics(self, args: Mapping[str, Any], body: None) -> FakeReply:
        if not self.nodes_answer:
            raise Refused("Ceph's manager tells Prometheus nothing: its module prometheus is off", help="enable it")
        return FakeReply({}, [b"# TYPE ceph_health_status untyped\nceph_health_", b"status 0.0\n"])

    def answer_node_log(self, args: Mapping[str, Any], body: None) -> FakeReply:
        return self._log(args)

    def _log(self, args: Mapping[str, Any]) -> FakeReply:
        lines = [f"line {number}" for number in range(args["lines"])]
        if not args.get("follow"):
            return FakeReply({"data": "\n".join(lines)})
        reply = FakeReply()
        reply.body = self._ticking(reply, lines)
        self.following.append(reply)
        return reply

    def _ticking(self, reply: FakeReply, lines: list[str]) -> Iterator[bytes]:
        yield ("\n".join(lines) + "\n").encode()
        count = 0
        while not reply.closed.wait(0.05):
            count += 1
            said = b"" if self._said.empty() else self._said.get()
            yield said + f"tick {count}\n".encode()
        raise Retry("the answer broke off: closed")

    def answer_export(self, args: Mapping[str, Any], body: None) -> FakeReply:
        return FakeReply(body=[self.content[start : start + 65536] for start in range(0, len(self.content), 65536)])

    def answer_upload(self, args: Mapping[str, Any], body: Iterable[bytes]) -> FakeReply:
        task = self.repository.get(layout.TASKS, args["task"])
        try:
            data = b"".join(body)
        except Exception as error:  # kept for the test, and raised on
            self.broken_uploads.append(error)
            failed = replace(task.value, state=TaskState.FAILURE, status="the upload broke off", error_code="retry")
            self.repository.set(layout.TASKS, task.value.id, failed, if_version=None)
            raise
        self.uploads[f"{task.value.args['pool']}/{task.value.args['name']}"] = data
        self._end(task, "uploaded")
        return FakeReply()

    # -- what is wanted ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            if not self.keeper.wait_until(lambda view: bool(self._todo()), timeout_s=0.1) or self.lazy:
                time.sleep(0.02)
                continue
            for step in self._todo():
                try:
                    step()
                except (Conflict, NotFound):
                    pass  # the picture was old
                self.keeper.settle()

    def _todo(self) -> list[Callable[[], None]]:
        view = self.keeper.view
        tasks = [kept for kept in view.tasks.values() if not kept.value.ended and kept.value.kind != "volume.upload"]
        found: list[Callable[[], None]] = [lambda task=task: self._do(task) for task in tasks if self._mine(task.value)]
        for kept in view.vm_wanted.values():
            if kept.value.want is Want.REMOVE or self._differs(kept.value):
                found.append(lambda vm=kept: self._settle(vm))
        gone = [kept for kept in view.networks.values() if kept.value.phase is NetworkPhase.REMOVING]
        return [*found, *(partial(self._forget, kept) for kept in gone)]

    def _forget(self, network: Kept[Network]) -> None:
        self.repository.commit([Drop(layout.NETWORKS, str(network.value.vni), network.version)])

    def _mine(self, task: Task) -> bool:
        mine = ("cluster.init", "cluster.restore")
        kind = task.kind.partition(".")[0]
        return kind in ("volume", "pool") or task.kind in mine or task.args.get("action") in self.actions

    def _differs(self, vm: VmWanted) -> bool:
        seen = self.keeper.view.vm_seen.get(vm.uuid)
        return (
            seen is None
            or (seen.value.guest is GuestState.RUNNING) != (vm.want is Want.START)
            or seen.value.restart_done != vm.restart
        )

    def _settle(self, kept: Kept[VmWanted]) -> None:
        vm, view = kept.value, self.keeper.view
        claim, seen = view.claims.get(vm.uuid), view.vm_seen.get(vm.uuid)
        if vm.want is Want.REMOVE:
            drops = [Drop(layout.CLAIMS, vm.uuid, None)] if claim else []
            drops += [Drop(layout.VM_SEEN, vm.uuid, None)] if seen else []
            index = Drop(layout.VM_NAMES, vm.name, None)
            self.repository.commit([*drops, index, Drop(layout.VM_WANTED, vm.uuid, kept.version)])
            return
        runs = vm.want is Want.START
        new_claim = Claim(uuid=vm.uuid, holder=NODE, phase=Phase.RUN if runs else Phase.FREE)
        new_seen = VmSeen(
            uuid=vm.uuid, node=NODE, guest=GuestState.RUNNING if runs else GuestState.OFF, restart_done=vm.restart,
            sentence="running" if runs else "off", vnc_listen="0.0.0.0", vnc_port=5900 if runs else 0,
        )  # fmt: skip
        self.repository.save(layout.CLAIMS, vm.uuid, new_claim, claim)
        self.repository.save(layout.VM_SEEN, vm.uuid, new_seen, seen)

    def _do(self, kept: Kept[Task]) -> None:
        task = kept.value
        if task.kind.startswith("cluster."):
            self._end(kept, "nothing is forgotten here")
            return
        args: dict[str, Any] = dict(task.args)
        if task.kind == "plugin.action":
            self._end(kept, f"{args['action']} is done", self.actions[args["action"]])
            return
        id = volume_id(args["pool"], args.get("name", ""))
        if task.kind == "pool.remove":
            self.repository.drop(layout.POOLS, args["pool"], if_version=None)
        elif task.kind == "volume.remove":
            self.repository.drop(layout.VOLUMES, id, if_version=None)
        elif task.kind.startswith("volume."):
            self._change_volume(task.kind, id, args)
        self._end(kept, f"{task.kind} is done")

    def _change_volume(self, kind: str, id: str, args: dict[str, Any]) -> None:
        kept = self.repository.get(layout.VOLUMES, id)
        volume = replace(kept.value, phase=VolumePhase.READY, task="")
        others = tuple(one for one in volume.snapshots if one.name != args.get("snapshot"))
        this = [one for one in volume.snapshots if one.name == args.get("snapshot")]
        match kind:
            case "volume.resize":
                volume = replace(volume, size_bytes=args["size_bytes"])
            case "volume.snapshot_create":
                new = Snapshot(name=args["snapshot"], id=args["id"], size_bytes=volume.size_bytes)
                volume = replace(volume, snapshots=(*others, new))
            case "volume.snapshot_remove":
                volume = replace(volume, snapshots=others)
            case "volume.snapshot_rename":
                volume = replace(volume, snapshots=(*others, replace(this[0], name=args["new_name"])))
            case "volume.rename":
                new_id = volume_id(volume.pool, args["new_name"])
                renamed = replace(volume, name=args["new_name"])
                writes = [Drop(layout.VOLUMES, id, kept.version), Add(layout.VOLUMES, new_id, renamed)]
                self.repository.commit(writes)
                return
        self.repository.set(layout.VOLUMES, id, volume, if_version=kept.version)

    def _end(self, kept: Kept[Task], status: str, result: Mapping[str, Any] = MappingProxyType({})) -> None:
        done = replace(kept.value, state=TaskState.SUCCESS, current=1, total=1, status=status, result=dict(result))
        self.repository.commit([Set(layout.TASKS, done.id, done, kept.version)])
