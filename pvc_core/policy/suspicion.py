"""Who may be given up for dead. Pure: what one coordinator remembers, what it found in one tick, what follows.

Nothing here compares two machines' clocks: every time is the looking coordinator's own CLOCK_BOOTTIME. Each of them
looks, so that a new primary knows as much as the old one; only the primary condemns (reconcile/judge.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pvc_core.model.node import Heartbeat
from pvc_core.model.view import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The intervals, in seconds. docs/high-availability.md says which failure each of them covers."""

    silent_s: float = 5.0
    """S: a heartbeat that has not moved for so long makes a node suspect."""
    sick_s: float = 30.0
    """The same for a node whose guard answers directly: it lives, and cannot reach the store."""
    late_s: float = 2.0
    """Two ticks further apart than this are not consecutive: whoever slept begins to count anew (B4)."""
    asked_s: float = 3.0
    """A direct answer saves for so long."""
    questions: int = 3
    """So many direct questions must have gone unanswered."""
    boot_grace_s: float = 300.0
    quorum_lost_s: float = 60.0
    """A store away for longer than this has formed anew: nodes may be booting (B13)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Direct questions to one node's guard, on all networks."""

    unanswered: int = 0
    """Questions since the last answer, or since asking began."""
    answered_s: float | None = None
    incarnation: str = ""
    """Of the last answer."""
    condemned: bool = False


NOBODY_ASKED = Asked()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one coordinator found in one tick."""

    node: str
    """The coordinator that looks: it does not condemn itself."""
    now_s: float
    answered: bool
    """The store accepted its own commit, or answered its own read, in this very tick."""
    beats: Mapping[str, Kept[Heartbeat]]
    asked: Mapping[str, Asked] = field(default_factory=dict)
    maintenance: bool = False
    off: frozenset[str] = frozenset()
    """Nodes that left on purpose."""
    proven: frozenset[str] = frozenset()
    """Nodes of whose present incarnation it is proved that they are off: they count neither as heard nor as missing."""
    coordinators: tuple[str, ...] = ()
    serving: frozenset[str] | None = None
    """Coordinators whose store server answered lately; None: there is only one server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One node, as this coordinator saw it."""

    stamp: int
    beat: Heartbeat
    version: int
    seen_s: float
    """When the last heartbeat it sent was first seen, never before it was sent: o_k of the arithmetic."""
    since_s: float
    """The silence is counted from here: seen_s, or a later moment at which all clocks were begun anew."""
    moved: bool = False
    """It was seen to move since the quorum formed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is kept from tick to tick."""

    nodes: Mapping[str, Watched] = field(default_factory=dict)
    last_s: float | None = None
    """The last tick."""
    answered_s: float | None = None
    formed_s: float | None = None
    """When the quorum formed, as far as this coordinator knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    node: str
    beat: Heartbeat
    version: int
    """Of the heartbeat that the verdict must find unchanged."""
    seen_s: float
    why: str
    hindrance: str = ""
    """Why it must not be condemned now, in words; "" when it may be."""
    if_off: bool = False
    """With a hindrance: it may be condemned all the same once its power was read off, without anybody's acting."""


def looked(memory: Memory, look: Look, patience: Patience = Patience()) -> Memory:
    """What is remembered after this tick."""
    if not look.answered:
        return replace(memory, last_s=look.now_s)
    anew = _begins_anew(memory, look, patience)
    formed = _formed_s(memory, look, patience)
    forget = formed != memory.formed_s
    nodes = {
        name: _watched(memory.nodes.get(name), kept, look.now_s, anew=anew, forget=forget)
        for name, kept in look.beats.items()
    }
    return Memory(nodes=nodes, last_s=look.now_s, answered_s=look.now_s, formed_s=formed)


def suspects(memory: Memory, look: Look, patience: Patience = Patience()) -> tuple[Suspect, ...]:
    """Who is silent too long, each with what hinders its verdict. `memory` is what `looked` made of this look."""
    if not look.answered or look.maintenance:
        return ()
    found = (_suspicion(memory, look, name, patience) for name in sorted(memory.nodes))
    return tuple(one for one in found if one is not None)


def heard(memory: Memory, look: Look, name: str, patience: Patience = Patience()) -> bool:
    """By the store or directly, within the time that makes a node suspect."""
    node = memory.nodes.get(name)
    beats = node is not None and node.moved and look.now_s - node.seen_s < patience.silent_s
    return beats or _answers(look, name, patience)


def to_ask(memory: Memory, look: Look, patience: Patience = Patience()) -> tuple[str, ...]:
    """Nodes silent for long enough that they should be asked directly, early enough that three questions go out in
    time.
    """
    begin_s = patience.silent_s - patience.asked_s
    return tuple(
        name
        for name, node in sorted(memory.nodes.items())
        if name not in look.off and not node.beat.condemned and look.now_s - node.since_s >= begin_s
    )


def _begins_anew(memory: Memory, look: Look, patience: Patience) -> bool:
    """A late tick, a store outage, maintenance: the silence of before proves nothing (A8, B4, B16)."""
    late = memory.last_s is None or look.now_s - memory.last_s > patience.late_s
    missed = memory.answered_s is None or memory.answered_s != memory.last_s
    return late or missed or look.maintenance


def _formed_s(memory: Memory, look: Look, patience: Patience) -> float:
    if memory.formed_s is None or memory.answered_s is None:
        return look.now_s
    return look.now_s if look.now_s - memory.answered_s > patience.quorum_lost_s else memory.formed_s


def _watched(old: Watched | None, kept: Kept[Heartbeat], now_s: float, *, anew: bool, forget: bool) -> Watched:
    if old is None:
        return Watched(stamp=kept.stamp, beat=kept.value, version=kept.version, seen_s=now_s, since_s=now_s)
    moved = old.moved and not forget
    if old.stamp == kept.stamp:
        return replace(old, since_s=now_s if anew else old.since_s, moved=moved)
    same = (kept.value.incarnation, kept.value.beat) == (old.beat.incarnation, old.beat.beat)
    if kept.value.condemned and same:  # not the node's: the judge's mark on the heartbeat that was known already
        return replace(old, stamp=kept.stamp, beat=kept.value, version=kept.version, moved=moved)
    return Watched(
        stamp=kept.stamp,
        beat=kept.value,
        version=kept.version,
        seen_s=now_s,
        since_s=now_s,
        moved=moved or not kept.value.condemned,
    )


def _suspicion(memory: Memory, look: Look, name: str, patience: Patience) -> Suspect | None:
    node = memory.nodes[name]
    silent_s = look.now_s - node.since_s
    if node.beat.condemned or name in look.off or silent_s < patience.silent_s:
        return None
    answers = _answers(look, name, patience)
    if answers and silent_s < patience.sick_s:
        return None
    why = f"its heartbeat has not moved for {silent_s:.1f} s"
    why += " though its guard answers: it cannot reach the store" if answers else ", and it answers on no network"
    hindrance, if_off = _hindrance(memory, look, name, answers, patience)
    return Suspect(
        node=name, beat=node.beat, version=node.version, seen_s=node.seen_s, why=why, hindrance=hindrance, if_off=if_off
    )


def _hindrance(memory: Memory, look: Look, name: str, answers: bool, patience: Patience) -> tuple[str, bool]:
    if name == look.node:
        return "it is the judge itself", False
    asked = look.asked.get(name, NOBODY_ASKED)
    if not answers and asked.unanswered < patience.questions:
        return "it is being asked directly", False
    if why := _announced(memory.nodes[name], look.now_s, patience):
        return why, True
    if why := _brake(memory, look, patience):
        return why, False
    if why := _would_lose_majority(look, name):
        return why, False
    return _grace(memory, look, name, patience)


def _announced(node: Watched, now_s: float, patience: Patience) -> str:
    """An upgrade of the guard is no loss of its node: it said so with its last heartbeat (A13)."""
    back_in_s = min(node.beat.back_in_s, patience.boot_grace_s)
    if now_s - node.since_s >= back_in_s:
        return ""
    return f"its guard was stopped in order and means to be back within {back_in_s:g} s"


def _brake(memory: Memory, look: Look, patience: Patience) -> str:
    """A judge that hears few is more likely deaf than surrounded by dead (A7)."""
    known = [name for name in memory.nodes if name not in look.off and name not in look.proven]
    there = [name for name in known if heard(memory, look, name, patience)]
    if 2 * len(there) >= len(known):
        return ""
    return f"only {len(there)} of {len(known)} nodes are heard: nobody is given up while it is fewer than half"


def _would_lose_majority(look: Look, name: str) -> str:
    if name not in look.coordinators or look.serving is None:
        return ""
    left = [one for one in look.coordinators if one in look.serving and one != name]
    if 2 * len(left) > len(look.coordinators):
        return ""
    return f"without coordinator {name} the store would lose its majority (left: {', '.join(left) or 'none'})"


def _grace(memory: Memory, look: Look, name: str, patience: Patience) -> tuple[str, bool]:
    if memory.nodes[name].moved:
        return "", False
    formed_s = look.now_s if memory.formed_s is None else memory.formed_s
    if look.now_s - formed_s >= patience.boot_grace_s:
        return "", False
    return f"it was not heard since the quorum formed; it may be booting, for {patience.boot_grace_s:g} s at most", True


def _answers(look: Look, name: str, patience: Patience) -> bool:
    asked = look.asked.get(name, NOBODY_ASKED)
    return asked.answered_s is not None and not asked.condemned and look.now_s - asked.answered_s <= patience.asked_s
