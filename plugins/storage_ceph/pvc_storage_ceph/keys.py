"""The keys of this life of the node, in the daemon: made once at its start, kept in files that only root reads.

Whoever pvc.yaml names (`user`) is only asked to make them; all else is done, and all guests run, with the keys of this
life, which fencing revokes. A life that was shut out gets no second key; the next one gets its own, and its node is let
in again, when nothing of the earlier lives runs here.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import Conflict, NotFound, Permanent, Retry, StoreUnavailable
from pvc_storage_ceph.children import Child
from pvc_storage_ceph.keyring import guest_user, manager_user

_MAKE_S = 20.0
FSID = "fsid"


class NodeKeys:
    """Safe from any thread."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context
        self._lock = threading.Lock()

    @property
    def guest(self) -> str:
        """The user that this life's guests are to Ceph."""
        return guest_user(*self._life)

    @property
    def guest_key_file(self) -> str:
        return str(self._place("guest.key"))

    def config(self, deadline_s: float) -> Mapping[str, Any]:
        """The plugin's, with the daemon's own user of this life; made now if it never was, or if its files, or the
        guests', were lost: Ceph gives the same keys again. Raises Retry, Permanent.
        """
        if not self._are_kept():
            if not self._lock.acquire(timeout=max(0.0, deadline_s)):
                raise Retry("Ceph has not given this node its keys yet", help="is Ceph well? see `ceph status`")
            try:
                if not self._are_kept():
                    self._make(min(_MAKE_S, deadline_s))
            finally:
                self._lock.release()
        user, keyring = manager_user(*self._life), str(self._place("manager.keyring"))
        return {**self._context.config, "user": user, "keyring": keyring}

    def settle(self, deadline_s: float) -> None:
        """Entries that a fence of an earlier life made too late are taken back. Raises Retry, Permanent."""
        record = self._fence()
        if record is not None and record[0] != self._context.node.incarnation:
            with self._lock:
                self._make(deadline_s)

    # -- making --------------------------------------------------------------------------------------------------------

    def _make(self, deadline_s: float) -> None:
        """First let in, then given keys: a fence that comes later finds both (A6)."""
        self._none_of_old_lives_run()
        record = self._fence()
        if record is not None and record[0] == self._context.node.incarnation:
            raise self._shut_out()
        child = Child(self._context.config, self._context.clock, self._context.stopping)
        try:
            blocked = record[1] if record else []
            self._same_ceph(child.call("fsid", deadline_s=deadline_s))
            guest, manager = child.call("begin_life", *self._life, blocked, deadline_s=deadline_s)
            after = self._fence()
            if after is not None and after[0] == self._context.node.incarnation:
                child.call("revoke", *self._life, deadline_s=deadline_s)
                raise self._shut_out()
        finally:
            if child.alive:
                child.end()
        if record is not None:
            self._forget_fence(record[2])
        self._keep(guest, manager)

    def _shut_out(self) -> Retry:
        return Retry(
            f"node {self._context.node.name} was shut out of Ceph in this life of it, and gets no key",
            again_in_s=5.0,
            help="its next life gets one: restart the node",
        )

    def _none_of_old_lives_run(self) -> None:
        """A process that has an older user of this node on its command line. Raises Retry."""
        node, mine = self._context.node.name, os.readlink("/proc/self/ns/pid")
        begin = f'"user":"pvc.{node}.'.encode()
        for directory in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = directory.joinpath("cmdline").read_bytes()
                old = begin in words and f'"user":"{self.guest}"'.encode() not in words
                if old and os.readlink(directory / "ns/pid") == mine:
                    raise Retry(f"a guest of an earlier life of node {node} still runs: process {directory.name}")

    def _same_ceph(self, fsid: str) -> None:
        """Raises Permanent when the cluster's volumes are in another one."""
        try:
            self._context.state.put(FSID, fsid.encode(), if_version=-1)
        except Conflict:
            known = self._context.state.get(FSID)[0].decode()
            if known != fsid:
                raise Permanent(
                    f"this is another Ceph: its fsid is {fsid}, the cluster's volumes are in {known}",
                    help="look at plugins.storage_ceph.conf on this node",
                ) from None
        except StoreUnavailable as error:
            raise Retry(f"the store could not be asked which Ceph is the right one: {error.message}") from error

    def _fence(self) -> tuple[str, Sequence[str], int] | None:
        """(incarnation, addresses, version) of the last fence of this node."""
        try:
            value, version = self._context.state.get(fence_key(self._context.node.name))
        except NotFound:
            return None
        except (StoreUnavailable, Conflict) as error:
            raise Retry(f"the store could not be asked whether this node was shut out: {error.message}") from error
        record = json.loads(value)
        return str(record["incarnation"]), [str(one) for one in record["addresses"]], version

    def _forget_fence(self, version: int) -> None:
        try:
            self._context.state.delete(fence_key(self._context.node.name), if_version=version)
        except NotFound:
            return
        except (StoreUnavailable, Conflict) as error:
            raise Retry(f"it could not be written down that this node is let in again: {error.message}") from error

    # -- files ---------------------------------------------------------------------------------------------------------

    def _are_kept(self) -> bool:
        return self._place("manager.keyring").exists() and self._place("guest.key").exists()

    def _keep(self, guest: str, manager: str) -> None:
        """The manager's last: it says that all is there."""
        directory = self._place("").parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in [*directory.glob("*.guest.key"), *directory.glob("*.manager.keyring")]:
            if not old.name.startswith(f"{self._context.node.incarnation}."):
                old.unlink(missing_ok=True)
        _write_private(self._place("guest.key"), guest)
        user = manager_user(*self._life)
        _write_private(self._place("manager.keyring"), f"[client.{user}]\n\tkey = {manager}\n")

    def _place(self, name: str) -> Path:
        return Path(self._context.config["state"]) / f"{self._context.node.incarnation}.{name}"

    @property
    def _life(self) -> tuple[str, str, str]:
        return self._context.node.name, self._context.node.incarnation, str(self._context.config["pool_prefix"])


def fence_key(node: str) -> str:
    """In the plugin's subtree: the last fence of this node, {incarnation, addresses shut out as a whole}."""
    return f"fences/{node}"


def _write_private(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(new, path)
