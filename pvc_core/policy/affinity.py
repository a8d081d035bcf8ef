"""Which VMs shall live together and which apart, said by tags: `anti-affinity:db` keeps a VM apart from all that carry
the tag `db` or the same rule, `affinity:db` puts it with them. Either rule holds both ways.

Apart is demanded as long as another node fits, and given up rather than not running; together is a wish. What a node
must have besides is placement.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pvc_core.model.view import ClusterView
from pvc_core.model.vm import Phase, VmWanted, Want

APART, TOGETHER = "anti-affinity:", "affinity:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """`uuid`: whose they are. `tags`: its plain tags, by which the rules of others find it."""

    uuid: str = ""
    apart: frozenset[str] = frozenset()
    together: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()

    def parts(self, other: Rules) -> str:
        """The word by which the two shall live apart; "" when they need not."""
        return _common(self.apart, other.apart | other.tags) or _common(other.apart, self.tags)

    def joins(self, other: Rules) -> str:
        return _common(self.together, other.together | other.tags) or _common(other.together, self.tags)


def rules_of(vm: VmWanted) -> Rules:
    names = [tag.name for tag in vm.tags]
    return Rules(
        uuid=vm.uuid,
        apart=frozenset(name.removeprefix(APART) for name in names if name.startswith(APART)),
        together=frozenset(name.removeprefix(TOGETHER) for name in names if name.startswith(TOGETHER)),
        tags=frozenset(name for name in names if not name.startswith((APART, TOGETHER))),
    )


def preference(view: ClusterView, rules: Rules, node: str) -> tuple[int, int]:
    """Greater is better: first by how many it shall be apart from, then by how many it shall be together with.

    VMs that are off count too: they may start there.
    """
    if not matters(view, rules):
        return 0, 0
    others = [rules_of(view.vm_wanted[uuid].value) for uuid in _living(view, rules.uuid, node)]
    return -sum(1 for other in others if rules.parts(other)), sum(1 for other in others if rules.joins(other))


def clash(view: ClusterView, rules: Rules, node: str) -> str:
    """With which VM that runs on `node`, or is about to, it shall not share it, in words; "" with none.

    Of two that are both about to start there the one with the lesser UUID has the place.
    """
    if not matters(view, rules):
        return ""
    for uuid in _living(view, rules.uuid, node):
        vm, claim = view.vm_wanted[uuid].value, view.claims[uuid].value
        runs = claim.phase in (Phase.RUN, Phase.MIGRATING)
        if not runs and (vm.want is not Want.START or uuid > rules.uuid):
            continue
        if tag := rules.parts(rules_of(vm)):
            return f"VM {vm.name} is there, and the two shall be apart ({APART}{tag})"
    return ""


def matters(view: ClusterView, rules: Rules) -> bool:
    """Whether any rule concerns this VM. Most clusters have none, and then nothing is looked through."""
    return bool(rules.apart or rules.together or rules.tags)


def _living(view: ClusterView, besides: str, node: str) -> Iterator[str]:
    """Those that live on `node`, are on their way there, or shall go there."""
    for uuid, claim in view.claims.items():
        vm = view.vm_wanted.get(uuid)
        if vm is None or uuid == besides or not vm.value.tags:
            continue
        seen = view.vm_seen.get(uuid)
        pending = vm.value.move > (seen.value.move_done if seen else 0)
        if node in (claim.value.holder, claim.value.target, vm.value.target if pending else None):
            yield uuid


def _common(mine: frozenset[str], theirs: frozenset[str]) -> str:
    return min(mine & theirs, default="")
