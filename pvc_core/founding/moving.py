"""Moving the embedded store's content to ZooKeeper: sealed first, copied whole, compared, then declared a new era.

At every moment one store at most takes writes: the old one until it is sealed, the new one from the new era on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.errors import Exists, NotFound, Permanent, Refused
from pvc_core.ids import new_request_id
from pvc_core.store.base import Store
from pvc_core.store.embedded.requests import SEAL

_ERA = layout.ERA.key(layout.ONLY)


def move(source: Store, target: Store, *, where: str) -> int:
    """Copy every record, with the rights `target` gives new keys; returns how many. Begun again it goes on.

    `source` stays sealed, also when it fails half-way. `where` is noted in the seal. Raises Refused (the target is in
    use), Permanent (the copy differs), StoreUnavailable.
    """
    if Repository(target).find(layout.ERA, layout.ONLY) is not None:
        raise Refused(f"the store at {where} holds a cluster's records already", help="nothing was changed")
    era = Repository(source).get(layout.ERA, layout.ONLY).value
    _seal(source, where)
    wanted = _content(source)
    _copy(wanted, target)
    if _digest(_content(target)) != _digest(wanted):
        raise Permanent(
            f"what was copied to {where} is not what the old store holds",
            help="does something else write to it? Try again; `pvcnoded store unseal` goes back to the old store",
        )
    nodes = tuple(sorted(key.rpartition("/")[2] for key in wanted if key.startswith(f"{layout.NODE_SEEN.prefix}/")))
    new = replace(era, era=era.era + 1, id=new_request_id(), nodes=nodes)
    Repository(target).add(layout.ERA, layout.ONLY, new)
    return len(wanted)


def unseal(source: Store) -> None:
    """Let the embedded store be written again. Raises NotFound when it is not sealed, StoreUnavailable.

    Only while nothing has used the new one: what was written there is not brought back.
    """
    try:
        source.delete(SEAL, if_version=None)
    except NotFound:
        raise NotFound("the embedded store is not sealed") from None


def _seal(source: Store, where: str) -> None:
    try:
        source.create(SEAL, where.encode())
    except Exists:
        pass  # an earlier attempt did it


def _content(store: Store) -> dict[str, bytes]:
    entries = store.tree(layout.ROOT, deadline_s=120.0)
    return {
        key: entry.value for key, entry in sorted(entries.items()) if key not in (SEAL, _ERA) and not entry.ephemeral
    }


def _copy(wanted: Mapping[str, bytes], target: Store) -> None:
    there = _content(target)
    for key in sorted(there.keys() - wanted.keys(), reverse=True):
        target.delete(key, if_version=None)  # left by an earlier attempt, before something was removed
    for key, value in wanted.items():
        if key not in there:
            try:
                target.create(key, value)
                continue
            except Exists:
                pass  # made a moment ago as the parent of another
        if there.get(key) != value:
            target.put(key, value, if_version=None)


def _digest(content: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for key, value in content.items():
        digest.update(b"%d %d " % (len(key.encode()), len(value)) + key.encode() + value)
    return digest.hexdigest()
