"""Text that all nodes of one cluster can read and nobody else: sealed with a key made of a secret only they have.

For what one node must tell the others through the store and the API must not learn (the password of a BMC); with a
passphrase: cluster/sealing.py. The key is HKDF-SHA256 (RFC 5869) of the nodes' store password, another one for each
purpose; the seal is AES-256-GCM (NIST SP 800-38D) with a random nonce. Once that password is changed, what was sealed
before cannot be opened and is made anew.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING

from pvc_core.errors import Permanent

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PREFIX = "sealed1."
_NONCE_BYTES = 12


def seal(secret: str, purpose: str, label: str, plain: str) -> str:
    """`plain` as text that `unseal` opens with the same secret, purpose and label only."""
    nonce = os.urandom(_NONCE_BYTES)
    packed = nonce + _cipher(secret, purpose).encrypt(nonce, plain.encode(), label.encode())
    return _PREFIX + base64.urlsafe_b64encode(packed).decode()


def unseal(secret: str, purpose: str, label: str, sealed: str) -> str:
    """Raises Permanent."""
    from cryptography.exceptions import InvalidTag

    try:
        if not sealed.startswith(_PREFIX):
            raise ValueError(sealed)
        packed = base64.urlsafe_b64decode(sealed.removeprefix(_PREFIX))
        nonce, rest = packed[:_NONCE_BYTES], packed[_NONCE_BYTES:]
        return _cipher(secret, purpose).decrypt(nonce, rest, label.encode()).decode()
    except (ValueError, binascii.Error, InvalidTag):
        raise Permanent(
            f"what was sealed for {label} cannot be opened here",
            help="was it sealed with another cluster's secret, or before the secret was changed?"
            " restart pvcnoded on the node it is about: it seals it anew",
        ) from None


def _cipher(secret: str, purpose: str) -> AESGCM:
    from cryptography.hazmat.primitives import hashes  # late, as in cluster/sealing.py
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"pvc seal 1 {purpose}".encode())
    return AESGCM(derived.derive(secret.encode()))
