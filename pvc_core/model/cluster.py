# SPDX-License-Identifier: LGPL-3.0-or-later
"""What belongs to the cluster as a whole: its era, its settings, its primary, its keys, its tombstones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Era:
    """A restored, moved or re-initialised store has a new era; nothing starts or dies until every node has reported."""

    era: int
    cluster: str
    id: str = ""
    """Of this life of the store: an empty store made anew has another one."""
    nodes: tuple[str, ...] = ()
    """Who has to say what runs there before anything starts or dies."""
    restoring: str = ""
    """The task that is about to replace the records; "" when they are whole."""
    replacing: bool = False
    """That task, or one before it that did not get to its end, has begun to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollCall:
    """What a node said of itself in an era: the guests that run there, or are paused."""

    node: str
    incarnation: str
    era: int
    era_id: str = ""
    guests: tuple[str, ...] = ()
    """UUIDs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What every node understands (schema/records.py): records of a higher level are not written."""

    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupNote:
    """When the wanted records were last read as a backup."""

    at_s: float = 0.0
    """Wall time, for people."""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Maintenance: nothing new is fenced, nothing fences itself, no new fault is told."""

    maintenance: bool = False
    maintenance_asked: int = 0
    """Grows with each request, so that a longer one and the rest of an earlier one are told apart."""
    maintenance_left_s: float = 0.0
    """How long it still had when this was last written, about once a minute; 0: until it is switched off."""
    maintenance_since_s: float = 0.0
    """Wall time of the request, for people."""
    maintenance_reason: str = ""
    asked_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """The primary: one coordinator, for one `term`. Its writes carry the term."""

    node: str
    incarnation: str
    term: int
    asked: int = 0
    """The last request (PrimaryWanted) that was carried out, or found to be impossible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What keeps the primary primary: renewed about every second, by compare-and-set (cluster/leadership.py)."""

    node: str
    incarnation: str
    term: int
    beat: int
    """Grows with each renewal; 0: the role was handed to this node, which has not taken it up yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryWanted:
    """Which coordinator an operator asked to be primary. Each request has a greater `asked` and is met once."""

    node: str
    asked: int
    asked_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """Kept as a scrypt hash (RFC 7914); the key itself is shown once, when it is made."""

    name: str
    role: str
    salt: str
    digest: str
    created_at_s: float = 0.0
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """The guest with this UUID must not live anywhere: wherever it is found, it is killed."""

    uuid: str
    name: str
    why: str
    at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NameIndex:
    """A VM's name, taken: makes names unique in the same commit that uses them."""

    uuid: str
