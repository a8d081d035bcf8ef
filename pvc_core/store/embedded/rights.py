"""Who a connection is and what it may do: digest users, and the grants (ACL) of a key.

Protocol: org.apache.zookeeper.server.auth.DigestAuthenticationProvider, ZooDefs.Perms. A user whose password was found
right here is also `sasl:USER`, the name he has on an ensemble with SASL: grants mean the same after moving there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

from pvc_core.store.codes import Code
from pvc_core.store.embedded.protocol import Acl, Declined

READ, WRITE, CREATE, DELETE, ADMIN = 1, 2, 4, 8, 16
OPEN: Acl = ((31, "world", "anyone"),)
_SECRET_PREFIX = "store-"

Identities = set[tuple[str, str]]


class Door:
    """Decides who is let in. Without a directory of secrets everyone is, and any digest is taken at its word."""

    def __init__(self, secrets: Path | None) -> None:
        self._secrets = secrets

    @property
    def locked(self) -> bool:
        return self._secrets is not None

    def users(self) -> list[str]:
        """Those who have a secret. Raises OSError if the directory cannot be read."""
        if self._secrets is None:
            return []
        return sorted(path.name.removeprefix(_SECRET_PREFIX) for path in self._secrets.iterdir() if _is_secret(path))

    def identify(self, scheme: str, proof: bytes) -> Identities:
        """The names that `proof` ("user:password") earns; raises Declined(AUTH_FAILED)."""
        user, colon, password = proof.partition(b":")
        if scheme != "digest" or not colon:
            raise Declined(Code.AUTH_FAILED)
        try:
            name = user.decode()
        except UnicodeDecodeError:
            raise Declined(Code.AUTH_FAILED) from None
        names = {("digest", f"{name}:{_digest(proof)}")}
        if self._secrets is None:
            return names
        if not self._knows(name, password):
            raise Declined(Code.AUTH_FAILED)
        return names | {("sasl", name)}

    def _knows(self, user: str, password: bytes) -> bool:
        if self._secrets is None or not user or "/" in user or "\0" in user:
            return False
        try:
            secret = (self._secrets / f"{_SECRET_PREFIX}{user}").read_bytes().strip()
        except OSError:
            return False
        return bool(secret) and hmac.compare_digest(secret, password)


def is_allowed(grants: Acl, permission: int, identities: Identities) -> bool:
    return any(
        perms & permission and ((scheme, id_) == ("world", "anyone") or (scheme, id_) in identities)
        for perms, scheme, id_ in grants
    )


def demand(grants: Acl, permission: int, identities: Identities) -> None:
    if not is_allowed(grants, permission, identities):
        raise Declined(Code.NO_AUTH)


def settled(grants: Acl, identities: Identities) -> Acl:
    """Grants as they are kept: `auth` becomes the identities of who asks. Raises Declined(INVALID_ACL)."""
    kept: list[tuple[int, str, str]] = []
    for perms, scheme, id_ in grants:
        match scheme:
            case "world" if id_ == "anyone":
                kept.append((perms, scheme, id_))
            case "digest" if id_.count(":") == 1:
                kept.append((perms, scheme, id_))
            case "sasl" if id_:
                kept.append((perms, scheme, id_))
            case "auth" if identities:
                kept += [(perms, *identity) for identity in sorted(identities)]
            case _:
                raise Declined(Code.INVALID_ACL)
    if not kept:
        raise Declined(Code.INVALID_ACL)
    return tuple(dict.fromkeys(kept))


def _digest(proof: bytes) -> str:
    return base64.b64encode(hashlib.sha1(proof).digest()).decode()


def _is_secret(path: Path) -> bool:
    return path.name.startswith(_SECRET_PREFIX) and path.is_file()
