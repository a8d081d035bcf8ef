"""Whether a BMC's system GUID is a machine's UUID. Pure.

IPMI 2.0 (section 22.14) sends the sixteen bytes last first; many boards send them as SMBIOS keeps them (the first three
fields little-endian, SMBIOS 7.2.1) or as the UUID is written (RFC 4122). A BMC does not say which, so each is tried:
that machine's UUID is another's in another order does not happen.
"""

from __future__ import annotations

from uuid import UUID


def readings(raw: bytes) -> tuple[UUID, ...]:
    """What sixteen bytes may mean: as IPMI has them, as SMBIOS, as written."""
    return UUID(bytes=raw[::-1]), UUID(bytes_le=raw), UUID(bytes=raw)


def is_guid_of(raw: bytes, uuid: UUID) -> bool:
    return uuid in readings(raw)


def says_nothing(raw: bytes) -> bool:
    """All bytes alike: never set by the maker."""
    return len(set(raw)) == 1
