"""Text that only who knows a passphrase can read: scrypt (RFC 7914) makes the key, AES-256-GCM (NIST SP 800-38D) seals.

What is sealed, and where it is kept, is the callers'.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping

from pvc_core.errors import Invalid

_N, _R, _P = 2**15, 8, 1
PASSPHRASE_MIN = 8


def seal(plain: bytes, passphrase: str) -> dict[str, str]:
    """Plain data for JSON. Raises Invalid (the passphrase is too short)."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # late: 20 ms and some MB, for few processes

    if len(passphrase) < PASSPHRASE_MIN:
        raise Invalid(
            f"the passphrase has less than {PASSPHRASE_MIN} characters", fields={"passphrase": "give a longer one"}
        )
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, plain, None)
    parts = {"salt": salt, "nonce": nonce, "data": sealed}
    return {"method": "scrypt-aes256gcm", **{name: base64.b64encode(part).decode() for name, part in parts.items()}}


def unseal(sealed: Mapping[str, str], passphrase: str) -> bytes:
    """Raises Invalid: another passphrase, or not what was sealed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        salt, nonce, data = (base64.b64decode(sealed[name], validate=True) for name in ("salt", "nonce", "data"))
        return AESGCM(_key(passphrase, salt)).decrypt(nonce, data, None)
    except (InvalidTag, KeyError, TypeError, ValueError, binascii.Error):
        raise Invalid(
            "the secrets of this backup cannot be unsealed: the passphrase is another one, or the file was changed",
            help="give the passphrase the backup was made with, or restore without its secrets",
            fields={"passphrase": "wrong"},
        ) from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=2**26, dklen=32)
