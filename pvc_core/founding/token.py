"""One-time tokens that let a new node in: made by a coordinator's administrator, shown once, kept as a hash.

They are kept on the coordinator that made them, not in the store: the second and third coordinator join while the store
has no majority yet. The secret has 256 random bits, so a plain SHA-256 of it tells nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pvc_core.clock import Clock
from pvc_core.errors import Invalid, Permanent, Refused
from pvc_core.founding.files import File, write_all
from pvc_core.ids import checked_name
from pvc_core.schema.typed import from_json

_PREFIX = "pvc1."
KEPT_S = 7 * 86400.0
"""So long a token that was used or ran out is told from one that never was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What the new node is given."""

    cluster: str
    node: str
    """Name of the coordinator that made it, host and port its peer channel's."""
    host: str
    port: int
    fingerprint: str
    """SHA-256 of the certificate of the cluster's authority (pki.fingerprint)."""
    id: str
    secret: str

    def encode(self) -> str:
        return _PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What the coordinator remembers of it."""

    digest: str
    node: str
    """"" for any new node."""
    until_s: float
    used_by: str = ""
    coordinators: tuple[str, ...] = ()
    """What cluster.coordinators will be when the node is in; empty: as it is."""


def decode(text: str) -> Token:
    """Raises Invalid."""
    word = text.strip()
    try:
        if not word.startswith(_PREFIX) or len(word) > 4096:
            raise ValueError("it does not begin like one")
        raw = word[len(_PREFIX) :]
        return from_json(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)), Token)
    except (ValueError, msgspec.MsgspecError) as error:
        raise Invalid(
            f"this is no token: {error}", help="give it as `pvcnoded token` printed it, all of it, in one word"
        ) from None


class Tokens:
    """The tokens of this coordinator, one file each. Wall time is compared with this machine's own only."""

    def __init__(self, state: Path, clock: Clock) -> None:
        self._directory, self._clock = state / "tokens", clock

    def make(self, token: Token, *, node: str, minutes: float, coordinators: tuple[str, ...] = ()) -> Token:
        """`token` with an id and a secret of its own, good for `minutes`, for `node` ("" for any new one).

        `coordinators`: who they will be then, if not those of pvc.yaml.

        Raises Invalid, Permanent.
        """
        if node:
            checked_name(node, "node")
        if not 0 < minutes <= 7 * 24 * 60:
            raise Invalid(f"a token cannot be good for {minutes:g} minutes", help="at most a week, 10080")
        made = replace(token, id=secrets.token_hex(8), secret=secrets.token_urlsafe(32))
        until_s = self._clock.wall_s() + minutes * 60
        kept = _Kept(digest=_digest(made.secret), node=node, until_s=until_s, coordinators=coordinators)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        self._write(made.id, kept)
        return made

    def bound_to(self, id: str, secret: str) -> str:
        """The node this token is for, "" for any. Raises Refused: wrong, used, run out."""
        return self._good(id, secret).node

    def coordinators(self, id: str, secret: str) -> tuple[str, ...]:
        """Who they will be; empty: as they are. Raises Refused, as bound_to."""
        return self._good(id, secret).coordinators

    def use(self, id: str, secret: str, node: str) -> None:
        """Spend it: of several who show it at the same moment one is let in. Raises Refused, Permanent."""
        kept = self._good(id, secret)
        if kept.node and kept.node != node:
            raise Refused(
                f"this token is for node {kept.node}, not for {node}",
                help=f"make one with: pvcnoded token --for {node}",
            )
        try:
            self._path(id).rename(self._path(id, ".used"))
        except FileNotFoundError:
            raise _wrong("has just been used by another node") from None
        except OSError as error:
            raise Permanent(f"the token cannot be marked as used: {error.strerror}") from error
        self._write(id, replace(kept, used_by=node), ".used")

    def _good(self, id: str, secret: str) -> _Kept:
        if len(id) != 16 or not set(id) <= set("0123456789abcdef"):
            raise _wrong("is not one of this cluster's coordinator")
        kept, used = self._read(id), self._read(id, ".used")
        found = kept or used
        if found is None or not hmac.compare_digest(found.digest, _digest(secret)):
            raise _wrong("is not one that this coordinator made, or is long past")
        if used is not None or kept is None:
            raise _wrong(f"was used already, by {used.used_by or 'a node'}" if used else "was used already")
        if self._clock.wall_s() >= kept.until_s:
            raise _wrong("has run out")
        return kept

    def _read(self, id: str, suffix: str = "") -> _Kept | None:
        try:
            return from_json(self._path(id, suffix).read_bytes(), _Kept)
        except (OSError, msgspec.MsgspecError):
            return None

    def _write(self, id: str, kept: _Kept, suffix: str = "") -> None:
        write_all([File(self._path(id, suffix), msgspec.json.encode(kept).decode())])

    def _path(self, id: str, suffix: str = "") -> Path:
        return self._directory / f"{id}{suffix}"

    def _sweep(self) -> None:
        for path in self._directory.iterdir():
            kept = self._read(path.name)
            if kept is not None and self._clock.wall_s() > kept.until_s + KEPT_S:
                path.unlink(missing_ok=True)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _wrong(why: str) -> Refused:
    return Refused(f"this token {why}", help="make a new one on a coordinator with: pvcnoded token")
