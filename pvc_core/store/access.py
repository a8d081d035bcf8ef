"""Who a store's client is, and who may do what with a key: names of users only.

How a server spells them is zookeeper/packets.py's, which key gets which grants pvc_core/cluster/layout.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pvc_core.errors import Invalid

ANYONE = "anyone"
"""The user of a Grant that holds for every client the server lets in."""

_LETTERS = "rwcda"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Proof of being `user`. `digest` is for pvcstored, `sasl` (DIGEST-MD5) for a locked-down ensemble."""

    user: str
    password: str = field(repr=False)
    mechanism: Literal["digest", "sasl"] = "digest"


@dataclass(frozen=True, slots=True)
class Grant:
    """`user` may do on a key what the letters of `rights` say.

    r read, w write, c create children, d delete children, a change the grants. Raises Invalid for another letter.
    """

    user: str
    rights: str = _LETTERS

    def __post_init__(self) -> None:
        if not self.rights or set(self.rights) - set(_LETTERS):
            raise Invalid(f"{self.rights!r} are no rights", help=f"use letters out of {_LETTERS!r}")


GrantsFor = Callable[[str], Sequence[Grant]]
"""The grants a new key is made with, by its key."""
