"""Which keys, values and commits a store takes at all. Checked before anything is sent, the same for every store.

The forbidden characters are those of ZooKeeper 3.8's PathUtils.validatePath (controls, the private use area, whatever
Java writes as a surrogate pair), so that a key accepted here is accepted by every server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pvc_core.errors import Invalid
from pvc_core.store.base import VALUE_MAX_BYTES, Check, Create, Delete, Op, Put

KEY_MAX_BYTES = 1024
COMMIT_MAX_BYTES = 1_020_000
"""Keys and values of one commit together; ZooKeeper's own limit for the packet is 1 MiB."""

_OP_OVERHEAD_BYTES = 128
_ORDINARY = re.compile(r"(?:/[\w@:-][\w.@:-]*)+", re.ASCII)
"""Most keys. It only spares them the questions below."""
_HOSTILE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]")


def checked_key(key: str) -> str:
    """Return `key` if it is an absolute, plain path; raises Invalid."""
    if len(key) <= KEY_MAX_BYTES and _ORDINARY.fullmatch(key):
        return key
    if not key.startswith("/"):
        raise _invalid(key, "does not begin with '/'")
    if key == "/":
        return key
    if any(part in ("", ".", "..") for part in key[1:].split("/")):
        raise _invalid(key, "has an empty, '.' or '..' segment")
    if _HOSTILE.search(key):
        raise _invalid(key, "has a control character or one the store cannot keep")
    if len(key.encode()) > KEY_MAX_BYTES:
        raise _invalid(key[:40] + "...", f"is longer than {KEY_MAX_BYTES} bytes")
    return key


def checked_value(key: str, value: bytes) -> bytes:
    """Return `value` if it fits; raises Invalid."""
    if len(value) > VALUE_MAX_BYTES:
        raise Invalid(
            f"the value for {key} has {len(value)} bytes, a key holds at most {VALUE_MAX_BYTES}",
            help="keep large things in a volume and their name in the store",
        )
    return value


def checked_ops(ops: Sequence[Op]) -> Sequence[Op]:
    """Return `ops` if each key, each value and the whole fit into one commit; raises Invalid."""
    size_bytes = 0
    for op in ops:
        checked_key(op.key)
        size_bytes += len(op.key.encode()) + _OP_OVERHEAD_BYTES
        match op:
            case Create() | Put():
                size_bytes += len(checked_value(op.key, op.value))
            case Delete() | Check():
                pass
    if size_bytes > COMMIT_MAX_BYTES:
        raise Invalid(
            f"the commit of {len(ops)} keys beginning with {ops[0].key} has {size_bytes} bytes, "
            f"at most {COMMIT_MAX_BYTES} go together",
            help="split it into commits that may succeed one by one",
        )
    return ops


def parent_of(key: str) -> str:
    return key.rpartition("/")[0] or "/"


def missing_first(key: str) -> Iterator[str]:
    """The keys above `key`, the topmost first, without the root."""
    parts = key[1:].split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/" + "/".join(parts[:count])


def is_at_or_below(key: str, prefix: str) -> bool:
    return key == prefix or prefix == "/" or key.startswith(prefix + "/")


def _invalid(key: str, why: str) -> Invalid:
    return Invalid(f"{key!r} cannot be a key: it {why}", help="keys look like /pvc/vms/db, without a '/' at the end")
