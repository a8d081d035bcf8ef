"""Whether this node's certificate is what it should be, and how long it is good. Changes nothing; with pki.py and
revoked.py an importer of `cryptography`.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from pvc_core.errors import Permanent
from pvc_core.founding.pki import Place, names_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    faults: tuple[str, ...]
    ends: str
    """The day after which the certificate, or the authority's, is not good any more."""
    days_left: int


def standing(directory: Path, node: str) -> Standing:
    """Raises NotFound (there is none), Permanent (cannot be read), Invalid."""
    place, now = Place(directory), datetime.datetime.now(datetime.UTC)
    try:
        ca = x509.load_pem_x509_certificate(place.need(place.ca_crt).encode())
        own = x509.load_pem_x509_certificate(place.need(place.node_crt).encode())
        key = serialization.load_pem_private_key(place.need(place.node_key).encode(), None)
    except ValueError as error:
        raise Permanent(f"a file in {directory} is damaged: {error}", help="join the node anew") from None
    ends = min(own.not_valid_after_utc, ca.not_valid_after_utc)
    faults = list(_faults(own, ca, node, place.need(place.node_crt)))
    if own.public_key() != key.public_key():
        faults.append(f"{place.node_key} is not the key of {place.node_crt}")
    if own.not_valid_before_utc > now:
        faults.append(f"its certificate is not good before {own.not_valid_before_utc:%Y-%m-%d}: is the clock right?")
    if ends < now:
        faults.append(f"its certificate, or the authority's, has ended on {ends:%Y-%m-%d}")
    return Standing(faults=tuple(faults), ends=f"{ends:%Y-%m-%d}", days_left=(ends - now).days)


def _faults(own: x509.Certificate, ca: x509.Certificate, node: str, text: str) -> list[str]:
    found = []
    try:
        own.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        found.append("its certificate is not of the cluster's authority")
    name, _ = names_of(text)
    if name != node:
        found.append(f"its certificate is for {name or 'nobody'}, not for {node}")
    return found
