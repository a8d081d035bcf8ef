"""`pvc cluster check`: every node is asked about itself and its ways to the others, and the answers are compared.

What a node answers is daemon/checks; here is what they mean together. Nothing is changed anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.errors import PvcError
from pvc_core.model.check import CheckLine
from pvc_core.schema.records import LEVEL
from pvc_core.schema.typed import from_plain
from pvc_core.services.cluster import ClusterService
from pvc_core.services.desk import Desk

NODE_S, PATHS_S, CLOCK_S = 15.0, 20.0, 3.0
AT_ONCE = 16
SKEW_S = 0.5
"""Nothing of ours compares two clocks; logs, certificates and Ceph's monitors do."""
ORDER = ("nodes", "quorum", "clocks", "names", "MTU", "certificates", "pvc.yaml", "versions", "records")

Answers = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class CheckService:
    desk: Desk
    cluster: ClusterService
    coordinators: tuple[str, ...]

    def run(self) -> list[CheckLine]:
        """Every line, by topic. Takes some seconds, at most about a minute when nodes are silent."""
        names = sorted({*self.desk.view.node_seen, *self.coordinators})
        with ThreadPoolExecutor(AT_ONCE) as pool:
            offsets = dict(zip(names, pool.map(self._offset, names), strict=True))
            answers, silent = self._ask_all(pool, names, "check_node", lambda name: {}, NODE_S)
            where = {
                name: {net: one["address"] for net, one in answer["networks"].items()}
                for name, answer in answers.items()
            }
            others = {name: {"peers": {o: a for o, a in where.items() if o != name}} for name in where}
            paths, _ = self._ask_all(pool, list(where), "check_paths", others.__getitem__, PATHS_S)
        lines = [
            *_nodes(names, silent),
            *quorum(answers, self.coordinators),
            *clocks({name: found for name, found in offsets.items() if found is not None}),
            *mtu(answers, paths),
            *same_settings({name: answer["shared"] for name, answer in answers.items()}),
            *same_versions({name: answer["versions"] for name, answer in answers.items()}),
            *self._records(),
            *_own(answers),
        ]
        return sorted(lines, key=lambda line: (_rank(line.topic), line.topic, line.ok, line.node))

    def _ask_all(
        self, pool: ThreadPoolExecutor, names: list[str], question: str, args: Any, deadline_s: float
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """(answers, why there is none), by node."""

        def ask(name: str) -> Any:
            try:
                return self.desk.ask(name, question, args(name), deadline_s=deadline_s).result
            except PvcError as error:
                return error

        found = dict(zip(names, pool.map(ask, names), strict=True))
        silent = {name: str(one) for name, one in found.items() if isinstance(one, PvcError)}
        return {name: one for name, one in found.items() if name not in silent}, silent

    def _offset(self, name: str) -> tuple[float, float] | None:
        """(how far its clock is ahead of this machine's, the error that may have), from the quickest of three."""
        best: tuple[float, float] | None = None
        for _ in range(3):
            sent_s, began_s = self.desk.clock.wall_s(), self.desk.clock.boottime_s()
            try:
                wall_s = float(self.desk.ask(name, "check_clock", {}, deadline_s=CLOCK_S).result["wall_s"])
            except PvcError:
                return best
            took_s = self.desk.clock.boottime_s() - began_s
            if best is None or took_s / 2 < best[1]:
                best = (wall_s - (sent_s + took_s / 2), took_s / 2)
        return best

    def _records(self) -> Iterator[CheckLine]:
        view = self.desk.view
        if not view.fresh:
            yield CheckLine(
                topic="records", ok=False, text="the store gives no answer: what is known is old",
                remedy="mend the quorum",
            )  # fmt: skip
        behind = sorted(name for name, kept in view.node_seen.items() if kept.value.level < LEVEL)
        if behind:
            yield CheckLine(
                topic="records", ok=False, text=f"level {view.level}; level {LEVEL} waits for {', '.join(behind)}",
                remedy=f"upgrade PVC on {', '.join(behind)}",
            )  # fmt: skip
        else:
            text = f"every node understands level {LEVEL}; the cluster is at {view.level}"
            yield CheckLine(topic="records", text=text)
        if sentence := self.cluster.maintenance_sentence:
            yield CheckLine(
                topic="maintenance", ok=False, text=sentence, remedy="`pvc cluster maintenance off` when it is over"
            )
        kept = view.backups.get(layout.ONLY)
        age_s = self.desk.clock.wall_s() - kept.value.at_s if kept else 0.0
        text = f"the last one was read {max(0, age_s) / 86_400:.1f} days ago by {kept.value.by}" if kept else "none yet"
        yield CheckLine(topic="backup", text=f"{text} (`pvc cluster backup FILE`)")


def _rank(topic: str) -> int:
    return ORDER.index(topic) if topic in ORDER else len(ORDER)


def _nodes(names: Iterable[str], silent: Mapping[str, str]) -> Iterator[CheckLine]:
    for name in names:
        if name in silent:
            yield CheckLine(
                topic="nodes", node=name, ok=False, text=f"does not answer: {silent[name]}",
                remedy=f"is {name} up, on the cluster network, and pvcnoded running there? "
                "All lines about it are missing below",
            )  # fmt: skip
        else:
            yield CheckLine(topic="nodes", node=name, text="answers")


def _own(answers: Answers) -> Iterator[CheckLine]:
    """What nodes found themselves; what ought to be the same on all is compared."""
    same: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name, answer in answers.items():
        for line in from_plain(answer["lines"], list[CheckLine]):
            yield replace(line, node=name)
            if line.same:
                same[(line.topic, line.text.partition(" ")[0])][name] = line.same
    for (topic, what), values in same.items():
        if len(set(values.values())) > 1:
            yield CheckLine(
                topic=topic, ok=False, text=f"{what} differs: {told(values)}",
                remedy="upgrade the nodes one by one until all are the same",
            )  # fmt: skip


def quorum(answers: Answers, coordinators: Iterable[str]) -> Iterator[CheckLine]:
    """Each server, as everybody who could ask found it."""
    names = list(coordinators)
    found: dict[str, dict[str, Mapping[str, str]]] = {name: {} for name in names}
    for asker, answer in answers.items():
        for server, said in answer["servers"].items():
            found.setdefault(server, {})[asker] = said
    if not any(found.values()):
        return
    serving = [name for name, by in found.items() if any("mode" in said for said in by.values())]
    leaders = sorted({name for name in serving for said in found[name].values() if said.get("mode") == "leader"})
    for name, by in found.items():
        yield _server(name, by)
    majority = len(found) // 2 + 1
    text = f"{len(serving)} of {len(found)} servers serve, {majority} are needed"
    if len(serving) < majority:
        yield CheckLine(
            topic="quorum", ok=False, text=f"{text}: nothing can be written",
            remedy="start pvc-zookeeper where it is silent; guests run on meanwhile",
        )  # fmt: skip
    elif len(serving) == majority and len(found) > 1:
        yield CheckLine(
            topic="quorum", ok=False, text=f"{text}: the next one that fails takes the store with it",
            remedy="start pvc-zookeeper where it is silent",
        )  # fmt: skip
    else:
        yield CheckLine(topic="quorum", text=f"{text}; {', '.join(leaders) or 'the only one'} leads")


def _server(name: str, by: Mapping[str, Mapping[str, str]]) -> CheckLine:
    well = {asker: said for asker, said in by.items() if "mode" in said}
    deaf = {asker: said["error"] for asker, said in by.items() if "mode" not in said}
    if not well:
        why = next(iter(deaf.values()), "no node could ask it")
        return CheckLine(
            topic="quorum", node=name, ok=False, text=f"its ZooKeeper server is silent: {why}",
            remedy=f"systemctl start pvc-zookeeper on {name}; its log says why it ended",
        )  # fmt: skip
    said = next(iter(well.values()))
    if deaf:
        return CheckLine(
            topic="quorum", node=name, ok=False,
            text=f"its ZooKeeper server ({said['mode']}) is not reached by all: {told(deaf)}",
            remedy="look at the cluster network, and at the names, between them",
        )  # fmt: skip
    return CheckLine(topic="quorum", node=name, text=f"{said['mode']}, requests outstanding: {said['outstanding']}")


def clocks(offsets: Mapping[str, tuple[float, float]]) -> Iterator[CheckLine]:
    """`offsets`: (seconds ahead of the machine that asked, the error that may have), by node.

    What cannot be told from the way's own length is no finding.
    """
    if not offsets:
        return
    middle_s = sorted(ahead for ahead, _ in offsets.values())[len(offsets) // 2]
    wrong = 0
    for name, (ahead_s, error_s) in offsets.items():
        off_s = ahead_s - middle_s
        if abs(off_s) - error_s > SKEW_S:
            wrong += 1
            yield CheckLine(
                topic="clocks", node=name, ok=False,
                text=f"its clock is {abs(off_s):.1f} s {'ahead' if off_s > 0 else 'behind'} (± {error_s:.2f} s)",
                remedy=f"apt install chrony on {name}, and see `chronyc tracking`",
            )  # fmt: skip
    if not wrong:
        widest_s = max(abs(ahead - middle_s) for ahead, _ in offsets.values())
        error_s = max(error for _, error in offsets.values())
        yield CheckLine(topic="clocks", text=f"within {widest_s:.3f} s of each other (± {error_s:.3f} s)")


def mtu(answers: Answers, paths: Answers) -> Iterator[CheckLine]:
    sizes: dict[str, dict[str, str]] = defaultdict(dict)
    for name, answer in answers.items():
        for network, one in answer["networks"].items():
            sizes[network][name] = str(one["mtu"])
    for network, values in sizes.items():
        if len(set(values.values())) > 1:
            yield CheckLine(
                topic="MTU", ok=False, text=f"{network} has different MTUs: {told(values)}",
                remedy=f"the same host_networks.{network}.mtu in every pvc.yaml",
            )  # fmt: skip
    ways = 0
    for name, found in paths.items():
        ways += int(found["ways"])
        for network, peer, why in found["faults"]:
            yield CheckLine(
                topic="MTU", node=name, ok=False, text=f"to {peer} on {network}: {why}",
                remedy=f"the MTU of {network}'s NICs, cables and switch ports between {name} and {peer}",
            )  # fmt: skip
    faults = sum(len(found["faults"]) for found in paths.values())
    if ways > faults:
        text = f"packets of full size arrive on {ways - faults} of {ways} ways between nodes"
        yield CheckLine(topic="MTU", text=text)


def same_settings(shared: Mapping[str, Mapping[str, str]]) -> Iterator[CheckLine]:
    """What must be equal in every pvc.yaml: the values that differ, each with its nodes."""
    keys = dict.fromkeys(key for one in shared.values() for key in one)
    differ = 0
    for key in keys:
        values = {name: one.get(key, "nothing") for name, one in shared.items()}
        if len(set(values.values())) > 1:
            differ += 1
            yield CheckLine(
                topic="pvc.yaml", ok=False, text=f"{key} differs: {told(values)}",
                remedy="make it the same on all nodes, then restart pvcguard, pvcnoded and pvcapid one node at a time",
            )  # fmt: skip
    if keys and not differ:
        yield CheckLine(topic="pvc.yaml", text=f"what must be equal is equal on {len(shared)} nodes")


def same_versions(versions: Mapping[str, Mapping[str, str]]) -> Iterator[CheckLine]:
    parts = dict.fromkeys(part for one in versions.values() for part in one)
    differ = 0
    for part in parts:
        values = {name: one.get(part, "none") for name, one in versions.items()}
        if len(set(values.values())) > 1:
            differ += 1
            yield CheckLine(
                topic="versions", ok=False, text=f"{part} differs: {told(values)}",
                remedy="upgrade the nodes one by one until all are the same",
            )  # fmt: skip
    if parts and not differ:
        one = next(iter(versions.values()))
        text = ", ".join(f"{part} {one[part]}" for part in one)
        yield CheckLine(topic="versions", text=f"{text} on {len(versions)} nodes")


def told(values: Mapping[str, str]) -> str:
    """
    >>> told({"hv1": "9000", "hv2": "1500", "hv3": "9000"})
    '9000 (hv1, hv3); 1500 (hv2)'
    """
    by_value: dict[str, list[str]] = defaultdict(list)
    for name, value in values.items():
        by_value[value].append(name)
    ordered = sorted(by_value.items(), key=lambda one: -len(one[1]))
    return "; ".join(f"{value} ({', '.join(sorted(names))})" for value, names in ordered)
