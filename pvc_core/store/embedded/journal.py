"""The disk: one SQLite file in WAL mode with synchronous=FULL, one transaction for a whole batch of changes.

What write() has returned from survives kill -9 and loss of power. Ephemeral keys are not kept. The file is locked for
as long as it is open, so a second server on it is refused.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from pvc_core.errors import Permanent
from pvc_core.store.embedded import protocol, rights
from pvc_core.store.embedded.protocol import Reader
from pvc_core.store.embedded.tree import Node, Tree

SCHEMA = 1
_EPOCH_BITS = 32
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nodes (
    path TEXT PRIMARY KEY, data BLOB, acl BLOB NOT NULL,
    czxid INTEGER NOT NULL, mzxid INTEGER NOT NULL, pzxid INTEGER NOT NULL,
    ctime INTEGER NOT NULL, mtime INTEGER NOT NULL,
    version INTEGER NOT NULL, aversion INTEGER NOT NULL, creates INTEGER NOT NULL
);
"""
_STATS = ("czxid", "mzxid", "pzxid", "ctime", "mtime", "version", "aversion", "creates")
_PUT_ALL = f"INSERT OR REPLACE INTO nodes (path, data, acl, {', '.join(_STATS)}) VALUES ({', '.join('?' * 11)})"
_PUT_STATS = f"UPDATE nodes SET acl = ?, {', '.join(f'{name} = ?' for name in _STATS)} WHERE path = ?"
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE, sqlite3.SQLITE_READONLY}


class DiskFull(Exception):
    """Nothing of the batch was kept; writing something smaller, or later, may work."""


class Journal:
    """Opens and locks the file. Raises Permanent with a sentence if that cannot be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise Permanent(f"cannot open the store's file {path}: {error.strerror}") from error
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=0)
            self.epoch = self._begin()
        except sqlite3.Error as error:
            raise self._cannot_open(error) from error

    def load(self) -> Tree:
        """Everything kept, with a zxid above every one given before."""
        tree = Tree(self.epoch << _EPOCH_BITS)
        interned: dict[bytes, protocol.Acl] = {}
        for path, data, acl, *stats in self._db.execute(
            f"SELECT path, data, acl, {', '.join(_STATS)} FROM nodes ORDER BY path"
        ):
            node = Node(data, interned.setdefault(acl, Reader(acl).acl()), 0, 0)
            for name, value in zip(_STATS, stats, strict=True):
                setattr(node, name, value)
            tree.restore(path, node)
        return tree

    def write(self, changed: Mapping[str, bool], tree: Tree) -> None:
        """Keep the present state of the `changed` paths (value: whether the data is concerned), all or nothing.

        Raises DiskFull; any other sqlite3.Error means that what is on the disk is not known, and the server must end.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for path, with_data in changed.items():
                self._put(path, tree.peek(path), with_data)
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in _FULL:
                raise
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise DiskFull(str(error)) from error

    def close(self) -> None:
        self._db.close()

    def _put(self, path: str, node: Node | None, with_data: bool) -> None:
        if node is None or node.owner:
            self._db.execute("DELETE FROM nodes WHERE path = ?", (path,))
            return
        stats = [getattr(node, name) for name in _STATS]
        if with_data:
            self._db.execute(_PUT_ALL, (path, node.data, protocol.acl(node.acl), *stats))
        else:
            self._db.execute(_PUT_STATS, (protocol.acl(node.acl), *stats, path))

    def _begin(self) -> int:
        """Lock the file for good and count this start; zxids and session numbers of no two starts are the same."""
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("BEGIN EXCLUSIVE")
        (schema,) = self._db.execute("PRAGMA user_version").fetchone()
        if schema > SCHEMA:
            raise Permanent(
                f"the store's file {self._path} was written by a newer pvcstored (format {schema})",
                help="install that version again",
            )
        for statement in _TABLES.split(";"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {SCHEMA}")
        self._db.execute(
            "INSERT OR IGNORE INTO nodes VALUES ('/', x'', ?, 0, 0, 0, 0, 0, 0, 0, 0)", (protocol.acl(rights.OPEN),)
        )
        epoch = self._last_epoch() + 1
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
        self._db.execute("COMMIT")
        self._sync_directory()
        return epoch

    def _last_epoch(self) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
        (zxid,) = self._db.execute("SELECT max(max(mzxid), max(pzxid)) FROM nodes").fetchone()
        return int(max(row[0] if row else 0, zxid >> _EPOCH_BITS))

    def _sync_directory(self) -> None:
        """The names of the file and its WAL must survive a loss of power, too."""
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _cannot_open(self, error: sqlite3.Error) -> Permanent:
        code = getattr(error, "sqlite_errorcode", None)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Permanent(
                f"another pvcstored is using the store's file {self._path}", help="stop it, or name another --path"
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return Permanent(
                f"the store's file {self._path} is damaged or no store: {error}",
                help="bring back a backup, or move the file away to begin with an empty store",
            )
        help = f"free some space in {self._path.parent}" if code in _FULL else ""
        return Permanent(f"cannot open the store's file {self._path}: {error}", help=help)
