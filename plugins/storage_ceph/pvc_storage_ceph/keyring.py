"""Keys of one life of a node, as Ceph keeps them: made, widened to a pool, revoked. In the child; when is keys.py's.

Each life of a node has two: the one its guests' disks use, which may do what an RBD client needs in PVC's pools, and
the one its daemon uses. Both carry the life's name, so that revoking them can never hit another life.
Caps: Ceph's docs/rados/operations/user-management ("profile rbd").
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pvc_core.errors import Permanent, Retry
from pvc_storage_ceph.cluster import Cluster

_MANAGER_CAPS = ["mon", "allow *", "mgr", "allow *", "osd", "allow *"]
"""It makes pools, gives and revokes other keys, shuts clients out."""


def guest_user(node: str, incarnation: str, prefix: str) -> str:
    """Without "client."."""
    return _user("pvc", node, incarnation, prefix)


def manager_user(node: str, incarnation: str, prefix: str) -> str:
    """Without "client."."""
    return _user("pvc-manager", node, incarnation, prefix)


def begin_life(cluster: Cluster, node: str, incarnation: str, prefix: str, blocked: Sequence[str]) -> tuple[str, str]:
    """(key of guests, key of the daemon). `blocked`: addresses that were shut out as a whole for an
    earlier life of this node, which may work again. Keys of earlier lives are gone afterwards.
    """
    for address in blocked:
        cluster.attempt("osd blocklist", blocklistop="rm", addr=address)
    ours = [guest_user(node, incarnation, prefix), manager_user(node, incarnation, prefix)]
    for entity in _others(cluster, ours, node, incarnation):
        cluster.command("auth rm", entity=entity)
    guest = _made(cluster, ours[0], ["mon", "profile rbd"])
    manager = _made(cluster, ours[1], _MANAGER_CAPS)
    return guest, manager


def let_in(cluster: Cluster, user: str, pool: str) -> None:
    """The guests' key stands, and is good for `pool` (Ceph's name). Raises Retry when it was revoked: it is never made
    again in the same life.
    """
    code, found = cluster.attempt("auth get", entity=f"client.{user}")
    if code == -errno.ENOENT:
        raise Retry(
            f"this node's key client.{user} was revoked: in this life it starts no guest in Ceph",
            again_in_s=5.0,
            help="restart the node: its next life gets a key of its own",
        )
    caps = found[0].get("caps", {})
    allowed = [one.strip() for one in str(caps.get("osd", "")).split(",") if one.strip()]
    wanted = f"profile rbd pool={pool}"
    if wanted not in allowed:
        osd = ", ".join(sorted({*allowed, wanted}))
        cluster.command("auth caps", entity=f"client.{user}", caps=["mon", "profile rbd", "osd", osd])


def revoke(cluster: Cluster, node: str, incarnation: str, prefix: str) -> list[str]:
    """Users of that life that still have a key afterwards: none, if Ceph obeys."""
    users = [guest_user(node, incarnation, prefix), manager_user(node, incarnation, prefix)]
    with ThreadPoolExecutor(len(users)) as together:  # one round of the monitors instead of two
        list(together.map(lambda user: cluster.command("auth rm", entity=f"client.{user}"), users))
    return [user for user in users if cluster.attempt("auth get", entity=f"client.{user}")[0] != -errno.ENOENT]


def _user(kind: str, node: str, incarnation: str, prefix: str) -> str:
    return ".".join(word for word in (kind, node, incarnation, prefix) if word)


def _made(cluster: Cluster, user: str, caps: Sequence[str]) -> str:
    code, answer = cluster.attempt("auth get-or-create", entity=f"client.{user}", caps=list(caps))
    if code == -errno.EINVAL:  # there with more rights: made before by this life, which then forgot it
        code, answer = cluster.attempt("auth get", entity=f"client.{user}")
    if code:
        raise Permanent(
            f"Ceph gives no key for client.{user}: error {-code}",
            help="the user of plugins.storage_ceph must be allowed to make keys (mon 'allow *')",
        )
    return str(answer[0]["key"])


def _others(cluster: Cluster, ours: Sequence[str], node: str, incarnation: str) -> list[str]:
    """Entities of earlier lives of this very node: of ours with another incarnation in its place."""
    found = []
    for one in cluster.command("auth ls")["auth_dump"]:
        user = str(one["entity"]).removeprefix("client.")
        for mine in ours:
            before, _, after = mine.partition(f".{node}.{incarnation}")
            begin = f"{before}.{node}."
            life = user[len(begin) : len(user) - len(after)] if user.startswith(begin) and user.endswith(after) else ""
            if life and "." not in life and life != incarnation:
                found.append(f"client.{user}")
    return found
