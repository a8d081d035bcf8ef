"""A child's connection to Ceph: monitor commands, a handle per pool, and notes by which a dead child is shut out.

A client that dies leaves its locks and watches behind for half a minute. Every child therefore notes its address in a
file that it holds locked: whoever finds such a file unlocked knows that its child is dead, and shuts that one address
out, so that its locks are free at once.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from contextlib import suppress
from typing import Any

from pvc_core.errors import NotFound, Permanent, Retry
from pvc_storage_ceph.bindings import load
from pvc_storage_ceph.faults import in_words

_MON_S = "20"
_OSD_S = "30"
_PING_EVERY_S, _PING_LIMIT_S = "2", "6"
"""A monitor that lost its power ends no connection: until it is missed, whatever is asked of it waits. Ceph's own
patience, 10 and 30 s, is longer than a fence may take.
"""
_SHUT_OUT_S = 3600.0
"""Its connections are closed: long enough for whatever is still on its way."""


class Cluster:
    """Everything in `config` is as Config in plugin.py says. Raises Permanent, Retry."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.rados, self.rbd = load()
        self.config = config
        self._pools: dict[str, Any] = {}
        self._note = -1
        self._note_path = ""
        self._handle = self._connected()
        self._leave_note()
        self._shut_out_the_dead()

    def pool(self, name: str) -> Any:
        """An Ioctx, of the pool that has this name now. Raises NotFound."""
        if name in self._pools and self._handle.pool_lookup(name) != self._pools[name].get_pool_id():
            self.forget_pool(name)  # another process removed it, and perhaps made it anew
        if name not in self._pools:
            try:
                io = self._handle.open_ioctx(name)
            except self.rados.ObjectNotFound:
                raise NotFound(f'Ceph has no pool "{name}"') from None
            # In a full pool a guest's writes wait; ours fail at once, and what makes room is done.
            io.set_osdmap_full_try()
            self._pools[name] = io
        return self._pools[name]

    def forget_pool(self, name: str) -> None:
        if name in self._pools:
            self._pools.pop(name).close()

    def has_pool(self, name: str) -> bool:
        """Asked of the newest map: ours may still show a pool that was removed since."""
        self.settle_map()
        return bool(self._handle.pool_exists(name))

    def pool_number(self, name: str) -> int:
        return int(self._handle.pool_lookup(name))

    def addresses(self) -> str:
        return str(self._handle.get_addrs())

    def client(self) -> int:
        """Our own number among Ceph's clients, as watchers are listed with it."""
        return int(self._handle.get_instance_id())

    def settle_map(self) -> None:
        """Our own map of OSDs is as new as what was just changed."""
        self._handle.wait_for_latest_osdmap()

    def command(self, prefix: str, **words: Any) -> Any:
        """A monitor's answer. Raises rados.Error, PermissionDenied in words."""
        code, out, said = self._handle.mon_command(json.dumps({"prefix": prefix, "format": "json", **words}), b"")
        if code:
            with in_words(f'the command "{prefix}" ({said})' if said else f'the command "{prefix}"'):
                raise OSError(-code, said)
        try:
            return _parsed(out)
        except ValueError:  # a manager that has only begun may answer with words
            raise Retry(f'Ceph answered the command "{prefix}" with no figures yet') from None

    def attempt(self, prefix: str, **words: Any) -> tuple[int, Any]:
        """(0 or a negative errno, a monitor's answer): for who knows what to do about a "no"."""
        asked = json.dumps({"prefix": prefix, "format": "json", **words})
        code, out, _said = self._handle.mon_command(asked, b"")
        return int(code), None if code else _parsed(out)

    def ask_osd(self, number: int, prefix: str, limit_s: int) -> Any:
        """An OSD's own answer, None when there is none. Raises rados.Error."""
        asked = json.dumps({"prefix": prefix, "format": "json"})
        code, out, _said = self._handle.osd_command(number, asked, b"", limit_s)
        return None if code else _parsed(out)

    def fsid(self) -> str:
        """The one that the monitors have."""
        return str(self._handle.get_fsid())

    def text(self, prefix: str, *, of_manager: bool = False) -> str:
        """The same for people's eyes."""
        ask = self._handle.mgr_command if of_manager else self._handle.mon_command
        code, out, said = ask(json.dumps({"prefix": prefix, "format": "plain"}), b"")
        if of_manager and abs(code) == errno.EOPNOTSUPP:
            raise Retry(f'the manager of Ceph has only begun, and does not know the command "{prefix}" yet')
        if code:
            with in_words(f'the command "{prefix}"'):
                raise OSError(abs(code), said)
        return str(out.decode("utf-8", "replace")).rstrip()

    def forget_note(self) -> None:
        """Nothing of ours is left behind in Ceph: nobody needs to shut us out."""
        with suppress(FileNotFoundError):
            os.unlink(self._note_path)

    def _connected(self) -> Any:
        limits = {
            "client_mount_timeout": _MON_S,
            "rados_mon_op_timeout": _MON_S,
            "rados_osd_op_timeout": _OSD_S,
            "mon_client_ping_interval": _PING_EVERY_S,
            "mon_client_ping_timeout": _PING_LIMIT_S,
            "rbd_default_clone_format": "2",
            "rbd_cache": "false",
            "rbd_skip_partial_discard": "false",
            "log_file": "",
            "err_to_stderr": "false",
            "admin_socket": "",
        }
        if self.config["keyring"]:
            limits["keyring"] = self.config["keyring"]
        who = f"client.{self.config['user']}"
        if not os.path.exists(self.config["conf"]):
            raise Permanent(
                f"{self.config['conf']} is missing, which says where Ceph is",
                help="put Ceph's configuration there, or name its place in plugins.storage_ceph.conf",
            )
        handle = self.rados.Rados(conffile=self.config["conf"], name=who, conf=limits)
        self._has_key(handle, who)
        try:
            handle.connect()
        except self.rados.ObjectNotFound:
            raise self._no_key(handle, who) from None
        except (self.rados.PermissionDeniedError, self.rados.PermissionError):
            raise Permanent(
                f"Ceph does not let {who} in", help="is its key still valid, and this the right Ceph?"
            ) from None
        except self.rados.TimedOut:
            raise Retry(f"no monitor of Ceph answered within {_MON_S} s", help="see `ceph status`") from None
        return handle

    def _has_key(self, handle: Any, who: str) -> None:
        """Looked for as Ceph does: without any it would try all the same, and say only that it may not."""
        files = [one.strip() for one in str(handle.conf_get("keyring")).split(",")]
        given = any(handle.conf_get(word) for word in ("key", "keyfile"))
        if not given and not any(os.path.exists(one) for one in files):
            raise self._no_key(handle, who)

    def _no_key(self, handle: Any, who: str) -> Permanent:
        return Permanent(
            f"Ceph was not asked: no key of {who} was found in {handle.conf_get('keyring')}",
            help=f"put the keyring file back (`ceph auth get {who}` prints it where Ceph lets you in), or name its "
            "place in plugins.storage_ceph.keyring",
        )

    def _leave_note(self) -> None:
        directory = os.path.join(self.config["state"], "calls")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._note_path = os.path.join(directory, f"{os.getpid()}-{os.urandom(4).hex()}")
        self._note = os.open(f"{self._note_path}.new", os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
        fcntl.flock(self._note, fcntl.LOCK_EX)
        os.write(self._note, self.addresses().encode())
        os.rename(f"{self._note_path}.new", self._note_path)

    def _shut_out_the_dead(self) -> None:
        directory = os.path.dirname(self._note_path)
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if name.endswith(".new") or path == self._note_path:
                continue
            try:
                fd = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                address = os.read(fd, 4096).decode().strip()
                if address:
                    self.command("osd blocklist", blocklistop="add", addr=address, expire=_SHUT_OUT_S)
                    self.settle_map()
                os.unlink(path)
            except BlockingIOError:
                continue  # alive
            finally:
                os.close(fd)


def _parsed(out: bytes) -> Any:
    """The first value: some answers of Ceph 16 ("osd blocklist ls") have an empty list behind it."""
    text = out.decode().strip()
    return json.JSONDecoder().raw_decode(text)[0] if text else None
