"""Files that must be there whole or not at all: keys, certificates, passwords, configuration.

Which files, and what stands in them, is the callers'.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pvc_core.errors import Permanent

PRIVATE, PUBLIC = 0o600, 0o644


@dataclass(frozen=True, slots=True)
class File:
    """`group` may read it besides root, if the machine has such a group (in tests it often has not)."""

    path: Path
    content: str
    mode: int = PRIVATE
    group: str | None = None


def write_all(files: Sequence[File]) -> None:
    """All of them, durable: first every new content beside its place, then each renamed into it, in this order.

    A fault or a crash while writing changes none of them; between two renames whoever was told fewer than all is the
    reader of the last file, so that goes last which says that the others are there. Raises Permanent.
    """
    staged = [(file.path.with_name(f".{file.path.name}.new"), file.path) for file in files]
    try:
        for file, (new, _) in zip(files, staged, strict=True):
            _stage(file, new)
        for new, path in staged:
            os.replace(new, path)
        for directory in {path.parent for _, path in staged}:
            _sync(directory)
    except OSError as error:
        raise Permanent(
            f"{error.filename or files[0].path} cannot be written: {error.strerror}", help="run it as root"
        ) from None
    finally:
        for new, _ in staged:
            with suppress(OSError):  # not there, in most cases
                new.unlink()


def differing(files: Sequence[File]) -> list[File]:
    """Those whose content or mode is not what stands there. Raises Permanent when one cannot be read."""
    return [file for file in files if not _equal(file)]


def group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def give_to(path: Path, user: str) -> None:
    """Make `user` the owner of a directory, if we are root and there is such a user. Raises OSError."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return
    if os.geteuid() == 0:
        os.chown(path, found.pw_uid, found.pw_gid)


def _stage(file: File, new: Path) -> None:
    file.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(descriptor, "w") as out:
        out.write(file.content)
        out.flush()
        gid = group_id(file.group) if file.group and os.geteuid() == 0 else None
        if gid is not None:
            os.fchown(descriptor, 0, gid)
        os.fchmod(descriptor, _mode(file))
        os.fsync(descriptor)


def _mode(file: File) -> int:
    """The group's right only where there is such a group: else it would be some other group's."""
    return file.mode | 0o040 if file.group and group_id(file.group) is not None else file.mode


def _equal(file: File) -> bool:
    try:
        return file.path.read_text() == file.content and file.path.stat().st_mode & 0o777 == _mode(file)
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError) as error:
        raise Permanent(f"{file.path} cannot be read: {error}", help="run it as root") from None


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
