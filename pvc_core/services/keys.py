"""API keys: made once, shown once, kept as scrypt hashes (RFC 7914)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from pvc_core.clock import Clock
from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.cluster.view import ViewKeeper
from pvc_core.errors import Exists, Invalid, NotFound, StoreUnavailable
from pvc_core.ids import checked_name
from pvc_core.model.cluster import ApiKey
from pvc_core.model.view import ClusterView

ROLES = ("admin", "operator", "read-only")
_REMEMBERED_MAX = 1024


@dataclass(frozen=True, slots=True)
class KeyService:
    """A key reads NAME.SECRET, so that one hash is computed for it and not one for each key there is."""

    repository: Repository
    keeper: ViewKeeper
    clock: Clock
    settle: Callable[[str], None] = field(default=lambda key: None)
    """Have the picture show this record, where somebody keeps one."""
    _good: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    """SHA-256 of keys that were found right -> (name, stamp of the record then): scrypt costs 50 ms on purpose."""

    def add(self, name: str, role: str, *, description: str = "") -> str:
        """The new key, which cannot be shown again. Raises Exists, Invalid."""
        record, key = new_key(name, role, description=description, now_s=self.clock.wall_s())
        try:
            self.repository.add(layout.KEYS, name, record)
        except StoreUnavailable as error:
            raise _unknown(
                error, f"whether the key {name} was made", "it is not known what it reads: remove it"
            ) from None
        except Exists:
            raise Exists(
                f"a key called {name!r} exists already", help="remove it first, or choose another name"
            ) from None
        self.settle(layout.KEYS.key(name))
        return key

    def remove(self, name: str) -> None:
        try:
            self.repository.drop(layout.KEYS, name, if_version=None)
        except StoreUnavailable as error:
            raise _unknown(
                error, f"whether the key {name} was removed", "look with `pvc key list`, try again"
            ) from None
        except NotFound:
            raise NotFound(f"there is no key {name!r}", help="`pvc key list` shows those there are") from None
        self.settle(layout.KEYS.key(name))

    def list(self) -> list[ApiKey]:
        return [kept.value for _, kept in sorted(self.keeper.view.keys.items())]

    def remembered(self, key: str) -> ApiKey | None:
        """Whose key it is if that was found out before and its record has not changed since; costs next to nothing."""
        name = key.partition(".")[0]
        kept = self.keeper.view.keys.get(name)
        if kept is None or self._good.get(_print(key)) != (name, kept.stamp):
            return None
        return kept.value

    def who(self, key: str) -> ApiKey | None:
        """Whose key it is; None if it is nobody's. Compares in constant time.

        Raises StoreUnavailable when an unknown key may only be unknown because the store gives no answer.
        """
        name, _, secret = key.partition(".")
        view = self.keeper.view
        kept = view.keys.get(name)
        if kept is None and not view.fresh:
            raise StoreUnavailable("the store gives no answer, so the API key cannot be checked", help="try again soon")
        if kept is None or not secret or len(key) > 256:
            return None
        if self.remembered(key) is not None:
            return kept.value
        if not hmac.compare_digest(_scrypt(secret, bytes.fromhex(kept.value.salt)).hex(), kept.value.digest):
            return None
        if len(self._good) >= _REMEMBERED_MAX:
            self._good.clear()
        self._good[_print(key)] = (name, kept.stamp)
        return kept.value


def seal_of(view: ClusterView, name: str) -> str:
    """Changes when the key of this name is removed, replaced or given another role; "" for one that is no key."""
    kept = view.keys.get(name)
    return f"{kept.value.digest}{kept.value.role}" if kept is not None else ""


def new_key(name: str, role: str, *, description: str, now_s: float) -> tuple[ApiKey, str]:
    """(what is kept, the key itself). Raises Invalid."""
    checked_name(name, "key")
    if "." in name:
        raise Invalid(f"{name!r} cannot be the name of a key", help="leave out the dot")
    if role not in ROLES:
        raise Invalid(f"{role!r} is no role", help=f"roles: {', '.join(ROLES)}", fields={"role": "unknown"})
    secret, salt = secrets.token_urlsafe(32), secrets.token_bytes(16)
    record = ApiKey(
        name=name,
        role=role,
        salt=salt.hex(),
        digest=_scrypt(secret, salt).hex(),
        description=description,
        created_at_s=now_s,
    )
    return record, f"{name}.{secret}"


def _unknown(error: StoreUnavailable, what: str, help: str) -> StoreUnavailable:
    """The same for whoever asked, who has never heard of the store's keys."""
    if not error.maybe_written:
        return StoreUnavailable("nothing was changed: the store does not answer", help="try again when it does")
    return StoreUnavailable(f"the store gave no answer in time: {what} is not known", maybe_written=True, help=help)


def _print(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _scrypt(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode("utf-8", "surrogateescape"), salt=salt, n=2**14, r=8, p=1, dklen=32)
