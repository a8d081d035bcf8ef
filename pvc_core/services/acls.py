"""ACLs of a network: what its guests may send and get. A rule is shown to the nodes before it is stored, because only
the nft and the kernel that will load it can say whether it is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Set
from pvc_core.errors import Exists, Invalid, NotFound, PvcError, Refused, Retry
from pvc_core.ids import checked_name
from pvc_core.model.network import Acl, AclDirection, Network, NetworkPhase
from pvc_core.model.node import DaemonState
from pvc_core.model.view import Kept
from pvc_core.services.desk import Desk
from pvc_core.services.filters import name_filter

ASK_S = 10.0
AT_ONCE = 16
RULE_MAX, ACLS_MAX = 1000, 2000
"""Characters of a rule, and ACLs of a network: its record must fit the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AclPicture:
    acl: Acl
    order: int
    """Among those of its direction, from 0."""
    packets: int | None = None
    """What it matched on all nodes since they loaded it; None where nobody asked."""
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class AclService:
    desk: Desk

    def list(
        self, ref: str, limit: str | None = None, *, direction: AclDirection | None = None, counted: bool = False
    ) -> Sequence[AclPicture]:
        """In first, each by order; `limit` is a regular expression for the name. `counted`: the nodes are asked what
        each has matched. Raises NotFound, and with `counted` Retry when a node does not answer.
        """
        network, matches = self._need(ref).value, name_filter(limit)
        shown = [AclPicture(acl=acl, order=at) for way in AclDirection for at, acl in enumerate(network.acls_of(way))]
        found = [one for one in shown if matches(one.acl.name) and direction in (None, one.acl.direction)]
        return self._counted(network, found) if counted and found else found

    def show(self, ref: str, name: str) -> AclPicture:
        """Raises NotFound."""
        for one in self.list(ref):
            if one.acl.name == name:
                return one
        raise _unknown(self._need(ref).value, name)

    def add(self, ref: str, acl: Acl, *, order: int | None = None, by: str) -> AclPicture:
        """At place `order` of its direction, those from there on move down; None, or beyond the last: at the end.

        Raises NotFound, Exists, Invalid (also with nft's own words), Refused; then nothing was changed.
        """
        network = self._need(ref).value
        self._check(network, acl, order)
        self._ask_nodes(network, acl)
        with self.desk.placing:
            kept = self._need(ref)
            self._check(kept.value, acl, order)
            same = list(kept.value.acls_of(acl.direction))
            at = len(same) if order is None else min(order, len(same))
            others = tuple(one for one in kept.value.acls if one.direction is not acl.direction)
            self._write(kept, (*others, *same[:at], acl, *same[at:]), by)
        return self.show(ref, acl.name)

    def remove(self, ref: str, name: str, *, by: str) -> None:
        """Those after it move up. Raises NotFound."""
        with self.desk.placing:
            kept = self._need(ref)
            left = tuple(acl for acl in kept.value.acls if acl.name != name)
            if len(left) == len(kept.value.acls):
                raise _unknown(kept.value, name)
            self._write(kept, left, by)

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _check(self, network: Network, acl: Acl, order: int | None) -> None:
        definitions = self.desk.networks.get(network.nettype)
        if definitions is None or not definitions.capabilities.acls:
            raise Refused(
                f"a {network.nettype} network cannot have ACLs: its driver lacks the capability acls",
                help="use a network of another type",
            )
        if network.phase is NetworkPhase.REMOVING:
            raise Refused(f"network {network.ref} is being removed", help="use another network")
        _checked_words(acl)
        if order is not None and order < 0:
            raise _invalid("order", f"{order} is no place", "0 is the first")
        if any(one.name == acl.name for one in network.acls):
            raise Exists(
                f"network {network.ref} has an ACL {acl.name!r} already", help="choose another name, or remove that one"
            )
        if len(network.acls) >= ACLS_MAX:
            raise Refused(
                f"network {network.ref} has {ACLS_MAX} ACLs, the most there may be",
                help="name many addresses or ports in one: { 22, 80 }",
            )

    def _ask_nodes(self, network: Network, acl: Acl) -> None:
        """Every node that runs and answers must take it, and at least one. Raises Invalid, Retry."""
        nodes = self._running()
        args = {"vni": str(network.vni), "name": acl.name, "direction": str(acl.direction), "rule": acl.rule}
        answered = 0
        for node, said in self._ask(nodes, "check_acl", args):
            if isinstance(said, (Retry, NotFound)):  # away, or of a version that does not know the question
                continue
            if isinstance(said, PvcError):
                raise _invalid("rule", f"node {node}: {said.message}", said.help or "see man nft")
            answered += 1
        if not answered:
            raise Retry(
                f"no node could be asked whether it takes the rule; tried: {', '.join(nodes) or 'none runs'}",
                help="try again when one of them runs",
            )

    def _counted(self, network: Network, found: Sequence[AclPicture]) -> Sequence[AclPicture]:
        sums: dict[str, tuple[int, int]] = {}
        for _node, said in self._ask(self._running(), "acl_counts", {"vni": str(network.vni)}):
            if isinstance(said, PvcError):
                raise said
            for one in said["counts"]:
                packets, size = sums.get(one["name"], (0, 0))
                sums[one["name"]] = (packets + one["packets"], size + one["bytes"])
        zero = (0, 0)
        return [
            replace(one, packets=sums.get(one.acl.name, zero)[0], bytes=sums.get(one.acl.name, zero)[1])
            for one in found
        ]

    def _ask(self, nodes: Sequence[str], question: str, args: dict[str, str]) -> Sequence[tuple[str, Any]]:
        """(node, answer or error), all asked at once."""

        def one(node: str) -> tuple[str, Any]:
            try:
                return node, self.desk.ask(node, question, args, deadline_s=ASK_S).result
            except PvcError as error:
                return node, error

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(one, nodes))

    def _running(self) -> Sequence[str]:
        nodes = self.desk.view.node_seen
        return sorted(name for name, kept in nodes.items() if kept.value.daemon_state is DaemonState.RUN)

    def _need(self, ref: str) -> Kept[Network]:
        kept = self.desk.view.network(ref)
        if kept is None:
            raise NotFound(f"there is no network {ref!r}", help="`pvc network list` shows those there are")
        return kept

    def _write(self, kept: Kept[Network], acls: tuple[Acl, ...], by: str) -> None:
        changed = replace(kept.value, acls=acls, asked_by=by)
        self.desk.commit(Set(layout.NETWORKS, str(changed.vni), changed, kept.version))


def _checked_words(acl: Acl) -> None:
    try:
        checked_name(acl.name, "ACL")
    except Invalid as error:
        raise Invalid(error.message, help=error.help, fields={"description": error.message}) from None
    if not acl.rule.strip() or len(acl.rule) > RULE_MAX:
        raise _invalid("rule", "this is no rule", f"1 to {RULE_MAX} characters, like: tcp dport 22 accept")
    if any(ord(sign) < 32 and sign not in "\t\r\n" for sign in acl.rule):
        raise _invalid("rule", "the rule has characters that are no text", "like: tcp dport 22 accept")


def _unknown(network: Network, name: str) -> NotFound:
    known = ", ".join(acl.name for acl in network.acls) or "none"
    return NotFound(f"network {network.ref} has no ACL {name!r}", help=f"its ACLs: {known[:400]}")


def _invalid(field: str, message: str, help: str) -> Invalid:
    return Invalid(message, help=help, fields={field: f"{message}; {help}"})
